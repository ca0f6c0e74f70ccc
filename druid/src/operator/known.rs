//! What is known of the objects of one kind: of each only what decisions are made from, so that
//! thousands fit into little memory.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use druid_core::api::names;
use futures_util::{Stream, StreamExt as _};
use kube::api::{Api, ObjectMeta};
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource};
use tokio::sync::mpsc;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Named {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Named {
    /// That of an object.
    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }

    /// Another one of the same namespace.
    pub(crate) fn sibling(&self, name: &str) -> Self {
        Self {
            namespace: self.namespace.clone(),
            name: name.to_owned(),
        }
    }
}

/// The objects of a kind in a namespace; `None` for all.
pub(crate) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The Etcd that an object is labelled to be part of.
pub(crate) fn part_of(metadata: &ObjectMeta) -> Option<Box<str>> {
    let labels = metadata.labels.as_ref()?;
    labels.get(names::PART_OF).map(|it| it.as_str().into())
}

/// What is kept of an object.
pub(crate) trait Facts: Clone + Send + Sync + 'static {
    /// What it is made of.
    type Object: Send;

    /// Nothing for an object that does not concern us.
    fn of(object: Self::Object) -> Option<(Named, Self)>;

    /// The Etcd that it belongs to.
    fn etcd(&self, named: &Named) -> Named;

    /// Whether somebody has to look again now that the one has become the other.
    fn matters(&self, next: &Self) -> bool;
}

/// The objects of one kind, as they were last heard of.
#[derive(Debug)]
pub(crate) struct Known<F> {
    objects: Arc<RwLock<HashMap<Named, F>>>,
}

impl<F> Clone for Known<F> {
    fn clone(&self) -> Self {
        Self {
            objects: Arc::clone(&self.objects),
        }
    }
}

impl<F: Facts> Known<F> {
    /// What is known of one.
    pub(crate) fn get(&self, named: &Named) -> Option<F> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.get(named).cloned()
    }
}

/// Listens until the stream ends or nobody reads what changes. Tells which Etcds are to be looked at
/// again.
pub(crate) fn listen<F: Facts>(
    events: impl Stream<Item = watcher::Result<Event<F::Object>>> + Send + 'static,
    changed: mpsc::UnboundedSender<Named>,
) -> Known<F> {
    let objects = Arc::new(RwLock::new(HashMap::new()));
    let listener = Listener {
        objects: Arc::clone(&objects),
        listed: HashMap::new(),
        changed,
    };
    tokio::spawn(listener.run(events));
    Known { objects }
}

struct Listener<F> {
    objects: Arc<RwLock<HashMap<Named, F>>>,
    /// What a listing under way has brought so far.
    listed: HashMap<Named, F>,
    changed: mpsc::UnboundedSender<Named>,
}

impl<F: Facts> Listener<F> {
    async fn run(mut self, events: impl Stream<Item = watcher::Result<Event<F::Object>>>) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                // What is known stays until the next listing is complete.
                Err(error) => tracing::warn!(%error, "a watch ended and begins anew"),
                Ok(event) => self.heard(event),
            }
            if self.changed.is_closed() {
                return;
            }
        }
    }

    fn heard(&mut self, event: Event<F::Object>) {
        match event {
            Event::Init => self.listed = HashMap::new(),
            Event::InitApply(object) => self.listed.extend(F::of(object)),
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let gone: Vec<_> = self.missing(&listed);
                for (named, facts) in listed {
                    self.set(&named, Some(facts));
                }
                for named in gone {
                    self.set(&named, None);
                }
            }
            Event::Apply(object) => {
                if let Some((named, facts)) = F::of(object) {
                    self.set(&named, Some(facts));
                }
            }
            Event::Delete(object) => {
                if let Some((named, _)) = F::of(object) {
                    self.set(&named, None);
                }
            }
        }
    }

    /// What is known and not listed any more.
    fn missing(&self, listed: &HashMap<Named, F>) -> Vec<Named> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let missing = objects.keys().filter(|it| !listed.contains_key(it));
        missing.cloned().collect()
    }

    fn set(&self, named: &Named, next: Option<F>) {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let before = match &next {
            Some(facts) => objects.insert(named.clone(), facts.clone()),
            None => objects.remove(named),
        };
        drop(objects);
        let matters = match (&before, &next) {
            (Some(before), Some(next)) => before.matters(next),
            (None, None) => false,
            (Some(_), None) | (None, Some(_)) => true,
        };
        if !matters {
            return;
        }
        // An object may go from one Etcd to another.
        let mut etcds: Vec<_> = [before, next]
            .iter()
            .flatten()
            .map(|it| it.etcd(named))
            .collect();
        etcds.dedup();
        for etcd in etcds {
            // Nobody listens any more at the end of the process.
            let _ = self.changed.send(etcd);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    /// A number that matters if it is even.
    #[derive(Clone, Debug, PartialEq)]
    struct Number(i32);

    impl Facts for Number {
        type Object = (&'static str, i32);

        fn of((name, number): Self::Object) -> Option<(Named, Self)> {
            (number >= 0).then(|| (named(name), Self(number)))
        }

        fn etcd(&self, named: &Named) -> Named {
            named.clone()
        }

        fn matters(&self, next: &Self) -> bool {
            self != next && next.0 % 2 == 0
        }
    }

    fn named(name: &str) -> Named {
        Named {
            namespace: "n".to_owned(),
            name: name.to_owned(),
        }
    }

    async fn after(events: Vec<Event<(&'static str, i32)>>) -> (Known<Number>, Vec<String>) {
        let (changed, mut told) = mpsc::unbounded_channel();
        let known = listen(stream::iter(events.into_iter().map(Ok)), changed);
        let mut names = Vec::new();
        while let Some(etcd) = told.recv().await {
            names.push(etcd.name);
        }
        (known, names)
    }

    #[tokio::test]
    async fn what_changes_is_kept_and_what_matters_is_told() {
        let (known, told) = after(vec![
            Event::Init,
            Event::InitApply(("a", 1)),
            Event::InitApply(("b", 2)),
            Event::InitApply(("c", -1)),
            Event::InitDone,
            Event::Apply(("a", 3)),
            Event::Apply(("a", 4)),
            Event::Delete(("b", 2)),
            Event::Delete(("b", 2)),
        ])
        .await;
        assert_eq!(known.get(&named("a")), Some(Number(4)));
        assert_eq!(
            (known.get(&named("b")), known.get(&named("c"))),
            (None, None)
        );
        let mut first = told[..2].to_vec();
        first.sort();
        assert_eq!(
            (first.join(""), told[2..].join("")),
            ("ab".to_owned(), "ab".to_owned())
        );
    }

    #[tokio::test]
    async fn a_second_listing_tells_what_was_missed_and_nothing_else() {
        let (known, told) = after(vec![
            Event::Init,
            Event::InitApply(("same", 2)),
            Event::InitApply(("gone", 2)),
            Event::InitApply(("other", 2)),
            Event::InitDone,
            Event::Init,
            Event::InitApply(("same", 2)),
            Event::InitApply(("other", 4)),
            Event::InitApply(("new", 6)),
            Event::InitDone,
        ])
        .await;
        let mut second = told[3..].to_vec();
        second.sort();
        assert_eq!(second, ["gone", "new", "other"]);
        assert_eq!(known.get(&named("gone")), None);
    }

    #[tokio::test]
    async fn a_listing_that_breaks_off_changes_nothing() {
        let (known, told) = after(vec![
            Event::Init,
            Event::InitApply(("a", 2)),
            Event::InitDone,
            Event::Init,
        ])
        .await;
        assert_eq!((known.get(&named("a")), told.len()), (Some(Number(2)), 1));
    }
}
