//! Which tasks are looked at: those that have changed, those of which work says something, and those
//! whose turn may have come.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::Poll;

use druid_core::ops_task::{Queue, Task, next_in_line};
use futures_util::{Stream, StreamExt as _, stream};
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource as _, ResourceExt as _};
use tokio::sync::mpsc;

use super::Object;
use super::works::Works;

/// Parses what a watch gives.
pub(super) fn parse(object: &Object) -> Task {
    match &object.0 {
        Ok(task) => Task::of(task),
        Err(invalid) => Task::unreadable(&invalid.metadata, &invalid.error),
    }
}

/// Keeps the copy up to date, and says what to look at.
pub(super) fn queue(
    api: Api<Object>,
    writer: reflector::store::Writer<Object>,
    store: Store<Object>,
    works: Arc<Works>,
    mut woken: mpsc::UnboundedReceiver<ObjectRef<Object>>,
) -> impl Stream<Item = ObjectRef<Object>> {
    let watched = watcher(api, watcher::Config::default())
        .default_backoff()
        // Nobody reads it, and it is half of an object.
        .modify(|object| object.meta_mut().managed_fields = None);
    let changed = reflector::reflector(writer, watched).flat_map(move |event| {
        let refs = match event {
            Ok(event) => touched(&event, &store, &works),
            Err(error) => {
                tracing::warn!(%error, "the watch of EtcdOpsTasks is begun again");
                Vec::new()
            }
        };
        stream::iter(refs)
    });
    let woken = stream::poll_fn(move |context| match woken.poll_recv(context) {
        // Its sender lives as long as whoever looks.
        Poll::Ready(None) => Poll::Pending,
        heard @ (Poll::Ready(Some(_)) | Poll::Pending) => heard,
    });
    stream::select(changed, woken)
}

fn touched(event: &Event<Object>, store: &Store<Object>, works: &Works) -> Vec<ObjectRef<Object>> {
    match event {
        Event::Apply(object) => {
            let task = parse(object);
            let mut refs = vec![ObjectRef::from_obj(object)];
            if task.queued(false).queue == Queue::Out {
                refs.extend(heirs(&task, store));
            }
            refs
        }
        Event::Delete(object) => {
            works.gone(object.meta().uid.as_deref().unwrap_or_default());
            heirs(&parse(object), store)
        }
        Event::Init | Event::InitApply(_) => Vec::new(),
        // The copy is whole now, and what was missed is not in it.
        Event::InitDone => {
            let all = store.state();
            works.retain(
                &all.iter()
                    .filter_map(|it| it.uid())
                    .collect::<BTreeSet<_>>(),
            );
            all.iter()
                .map(|it| ObjectRef::from_obj(it.as_ref()))
                .collect()
        }
    }
}

/// Whose turn may have come, or who waits behind another now, because of this one.
pub(super) fn heirs(task: &Task, store: &Store<Object>) -> Vec<ObjectRef<Object>> {
    let others = others(task, store);
    let queued: Vec<_> = others.iter().map(|it| it.queued(false)).collect();
    let heirs = next_in_line(task, &queued).into_iter();
    heirs
        .map(|it| ObjectRef::new(&it.name).within(&task.namespace))
        .collect()
}

/// The other tasks of the same Etcd.
pub(super) fn others(task: &Task, store: &Store<Object>) -> Vec<Task> {
    let of_same = |object: &Object| {
        let etcd = object
            .0
            .as_ref()
            .ok()
            .map(|it| it.spec.etcd_name.as_deref());
        task.etcd.is_some()
            && etcd == Some(task.etcd.as_deref())
            && object.meta().namespace.as_deref() == Some(&task.namespace)
            && object.meta().uid.as_deref() != Some(&task.uid)
    };
    let found = store.state_filter(of_same);
    found.iter().map(|it| parse(it)).collect()
}
