//! Two snapshotters that write to one store at once, as two members do that believe to lead.

use std::time::Duration;

use druid_core::backup::snapshotter::{Answer, Denial};
use druid_core::data_dir::InitialCluster;
use jiff::SignedDuration;
use tokio::task::JoinHandle;

use super::super::data_dir::{Options, restore};
use super::etcd::{D, PATIENCE, always, client, keys};
use super::*;
use crate::backup::snapshots::{self, Handle, Leadership};
use crate::backup::tests::options;
use crate::data_dir::DataDir;
use crate::etcd::tests::common::{Cluster, Node, Release};
use crate::etcd::{Client, Keys};

/// One that leads, or believes to.
async fn writer(etcd: &Client, root: &TempDir, name: &str) -> (Handle, JoinHandle<()>) {
    let temporary = root.path().join(name);
    fs::create_dir_all(&temporary).unwrap();
    let mut options = options(&temporary);
    options.config.delta_limit = 3000;
    options.config.collection_period = Some(SignedDuration::from_millis(300));
    let store = Arc::new(Local::new(root.path().join("store")));
    let (handle, task) = snapshots::start(options, always(etcd), store);
    handle.lead(Leadership::Led).await;
    (handle, task)
}

fn not_refused(answer: &Answer) {
    match answer {
        Answer::Taken(_) | Answer::Nothing | Answer::Refused(Denial::NotLeading) => {}
        Answer::Refused(denial) => panic!("{denial}"),
    }
}

async fn write(etcd: &Client, round: usize) {
    for n in 0..150 {
        let (key, value) = (format!("k{}", n % 30), vec![b'v'; round + n]);
        etcd.put(key.as_bytes(), &value, None, D).await.unwrap();
    }
    etcd.delete(Keys::Prefix(b"k1"), D).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_write_at_once_leave_a_store_with_everything() {
    let mut cluster = Cluster::start(&[Release::V3_5_27; 3]);
    let (first, second) = (client(&cluster.nodes[0]), client(&cluster.nodes[1]));
    let root = tempfile::tempdir().unwrap();
    let (old, old_task) = writer(&first, &root, "old").await;
    let (new, new_task) = writer(&second, &root, "new").await;
    let both = async |handle: &Handle| {
        for round in 0..4 {
            not_refused(&handle.delta(PATIENCE).await);
            if round % 2 == 0 {
                not_refused(&handle.full(false, PATIENCE).await);
            }
        }
    };
    tokio::join!(
        write(&first, 0),
        write(&second, 200),
        both(&old),
        both(&new)
    );
    // The first learns that it leads no more while it takes a full snapshot.
    let deposed = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        old.lead(Leadership::Deposed).await;
    };
    let (answer, ()) = tokio::join!(old.full(false, PATIENCE), deposed);
    not_refused(&answer);
    write(&second, 400).await;
    let last = second.put(b"last", b"1", None, D).await.unwrap();
    for (handle, task) in [(old, old_task), (new, new_task)] {
        handle.stop(PATIENCE).await;
        tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
    }
    let (expected, hash) = (keys(&second).await, second.hash_kv(last, D).await.unwrap());
    cluster.nodes.iter_mut().for_each(Node::kill);

    let mut again = Cluster::prepare(&[Release::V3_5_27], "http", &[]);
    let known = tokio::task::block_in_place(|| restored(&root, &again));
    assert_eq!(known.damaged, BTreeMap::new());
    again.spawn_all();
    again.await_health();
    let etcd = client(&again.nodes[0]);
    assert!(keys(&etcd).await == expected);
    assert_eq!(etcd.hash_kv(last, D).await.unwrap().hash, hash.hash);
}

/// Restores for the one member, and reads everything once more.
fn restored(root: &TempDir, cluster: &Cluster) -> Known {
    let location = Location {
        store: Arc::new(Local::new(root.path().join("store"))),
        prefix: Prefix::parse("etcd-main").unwrap(),
        address: "the test's".to_owned(),
    };
    let runtime = tokio::runtime::Handle::current();
    let listing = runtime.block_on(location.listing()).unwrap();
    let source = Source {
        runtime: &runtime,
        location: &location,
        listing: &listing,
        begin: Begin::Newest,
        loss: Loss::Refused,
        spool: root.path(),
    };
    let node = &cluster.nodes[0];
    let whole = InitialCluster::parse(&cluster.initial(), cluster.token()).unwrap();
    let identity = whole.member(&node.name.as_str().into(), &node.peer_url);
    let dir = DataDir::new(&node.data).unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let options = Options::default();
    let made = restore(&source, &identity.unwrap(), options, &dir, now, &mut |_| ());
    made.map_err(|it| it.to_string()).unwrap();
    survey::survey(&runtime, &location, &listing, root.path(), &|_| ()).unwrap()
}
