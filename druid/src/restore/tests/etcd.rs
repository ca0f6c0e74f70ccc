//! Genuine etcd is the judge: what a live cluster acknowledged and the store covers is there again,
//! with the same hash, on the same release and on another one.

use std::num::NonZeroU32;
use std::time::Duration;

use druid_core::backup::snapshotter::Answer;
use druid_core::data_dir::InitialCluster;

use super::super::data_dir::{Options, Restored, restore};
use super::*;
use crate::backup::snapshots::{self, Leadership};
use crate::backup::tests::options;
use crate::data_dir::DataDir;
use crate::etcd::tests::common::{Cluster, Node, Release};
use crate::etcd::{Client, HashKv, Keys, Kind, Login, RangeOptions};

pub(super) const D: Duration = Duration::from_secs(10);
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than writing and backing up takes, and short enough to wait for.
const SHORT_LEASE: i64 = 8;

pub(super) fn client(node: &Node) -> Client {
    Client::new(node.client_url.parse().unwrap(), None).unwrap()
}

type Keyed = BTreeMap<Vec<u8>, (Vec<u8>, i64)>;

pub(super) async fn keys(etcd: &Client) -> Keyed {
    let all = etcd.range(Keys::Prefix(b""), RangeOptions::default(), D);
    let kvs = all.await.unwrap().kvs;
    kvs.into_iter()
        .map(|kv| (kv.key, (kv.value, kv.mod_revision)))
        .collect()
}

/// A store and what it covers.
struct Backup {
    root: TempDir,
    hash: HashKv,
    keys: Keyed,
    long_lease: i64,
}

async fn write(etcd: &Client, round: usize) {
    for n in 0..60 {
        let (key, value) = (format!("k{}", n % 25), vec![b'v'; round + n * 9]);
        etcd.put(key.as_bytes(), &value, None, D).await.unwrap();
    }
    etcd.delete(Keys::Prefix(b"k1"), D).await.unwrap();
    let pairs = [0, 1, 2].map(|n| (format!("t{round}{n}").into_bytes(), b"x".to_vec()));
    etcd.txn_put(&pairs, D).await.unwrap();
}

/// Writes, backs up meanwhile, and kills the cluster.
async fn back_up(release: Release) -> Backup {
    let mut cluster = Cluster::start(&[release]);
    let etcd = client(&cluster.nodes[0]);
    let root = tempfile::tempdir().unwrap();
    let store = root.path().join("store");
    fs::create_dir_all(&store).unwrap();
    let store = Arc::new(Local::new(store));
    let (handle, task) = snapshots::start(options(root.path()), always(&etcd), store);
    write(&etcd, 0).await;
    handle.lead(Leadership::Led).await;
    let mut state = handle.state();
    let based = state.wait_for(|it| it.base.is_some());
    tokio::time::timeout(PATIENCE, based)
        .await
        .unwrap()
        .unwrap();
    write(&etcd, 1).await;
    let taken = |it| assert!(matches!(it, Answer::Taken(_)), "{it:?}");
    taken(handle.delta(PATIENCE).await);
    // A delta does not tell of compactions: it has to be in the full one.
    etcd.compact(50, true, D).await.unwrap();
    let long_lease = etcd.lease_grant(600, D).await.unwrap();
    etcd.put(b"long", b"1", Some(long_lease), D).await.unwrap();
    taken(handle.full(false, PATIENCE).await);
    write(&etcd, 2).await;
    taken(handle.delta(PATIENCE).await);
    let short = etcd.lease_grant(SHORT_LEASE, D).await.unwrap();
    etcd.put(b"long", b"2", Some(long_lease), D).await.unwrap();
    etcd.put(b"short/1", b"1", Some(short), D).await.unwrap();
    let last = etcd.put(b"short/2", b"2", Some(short), D).await.unwrap();
    taken(handle.delta(PATIENCE).await);
    let hash = etcd.hash_kv(last, D).await.unwrap();
    assert_eq!(hash.revision, last, "the lease lived too short");
    let keys = keys(&etcd).await;
    cluster.nodes[0].kill();
    task.abort();
    Backup {
        root,
        hash,
        keys,
        long_lease,
    }
}

/// Restores the data directory of a member that has none yet.
fn restored(root: &TempDir, cluster: &Cluster, node: &Node, options: Options) -> Restored {
    let location = Location {
        store: Arc::new(Local::new(root.path().join("store"))),
        prefix: Prefix::parse("etcd-main").unwrap(),
        address: "the test's".to_owned(),
    };
    tokio::task::block_in_place(|| {
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
        let whole = InitialCluster::parse(&cluster.initial(), cluster.token()).unwrap();
        let identity = whole.member(&node.name.as_str().into(), &node.peer_url);
        let dir = DataDir::new(&node.data).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let made = restore(&source, &identity.unwrap(), options, &dir, now, &mut |_| ());
        let made = made.map_err(|it| it.to_string()).unwrap();
        assert_eq!(made.aside, None);
        made
    })
}

/// The same for a [`Backup`]. Returns the revision.
fn restored_backup(backup: &Backup, cluster: &Cluster, node: &Node, options: Options) -> i64 {
    let made = restored(&backup.root, cluster, node, options);
    assert_eq!(made.replayed.report.leases_added, 1);
    assert_eq!(made.replayed.chain.deltas.len(), 2);
    made.replayed.report.revision.get()
}

async fn everything_is_there(backup: &Backup, release: Release, count: usize) {
    let mut cluster = Cluster::prepare(&vec![release; count], "http", &[]);
    for node in &cluster.nodes {
        let revision = restored_backup(backup, &cluster, node, Options::default());
        assert_eq!(revision, backup.hash.revision);
    }
    cluster.spawn_all();
    cluster.await_health();
    let etcd = client(&cluster.nodes[0]);
    assert!(keys(&etcd).await == backup.keys, "{release:?}");
    for node in &cluster.nodes {
        let hash = client(node).hash_kv(backup.hash.revision, D).await.unwrap();
        assert_eq!(hash, backup.hash, "{release:?}");
    }
    assert!(
        etcd.lease_keep_alive_once(backup.long_lease, D)
            .await
            .unwrap()
            > 60
    );
    let expired = async {
        while etcd.get(b"short/1", true, D).await.unwrap().0.is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, expired).await.unwrap();
    let left = keys(&etcd).await;
    assert!(left.contains_key(b"long".as_slice()) && !left.contains_key(b"short/2".as_slice()));
    let last = etcd.put(b"after", b"1", None, D).await.unwrap();
    // The end of the lease is one revision.
    assert_eq!(last, backup.hash.revision + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_3_4_starts_as_3_4_and_as_3_5() {
    let backup = back_up(Release::V3_4_34).await;
    tokio::join!(
        everything_is_there(&backup, Release::V3_4_34, 1),
        everything_is_there(&backup, Release::V3_5_27, 1),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_3_5_starts_as_3_5_and_as_3_4() {
    let backup = back_up(Release::V3_5_27).await;
    tokio::join!(
        everything_is_there(&backup, Release::V3_5_27, 1),
        everything_is_there(&backup, Release::V3_4_34, 1),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_3_6_starts_as_3_6_and_as_three_members() {
    let backup = back_up(Release::V3_6_15).await;
    tokio::join!(
        everything_is_there(&backup, Release::V3_6_15, 1),
        everything_is_there(&backup, Release::V3_6_15, 3),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_are_restored_apart_and_form_one_cluster() {
    let backup = back_up(Release::V3_4_34).await;
    everything_is_there(&backup, Release::V3_5_27, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raised_revision_leaves_no_client_on_a_lost_one() {
    let backup = back_up(Release::V3_5_27).await;
    for release in [Release::V3_4_34, Release::V3_5_27] {
        let mut cluster = Cluster::prepare(&[release], "http", &[]);
        let options = Options {
            bump: NonZeroU32::new(1000),
            ..Options::default()
        };
        let raised = restored_backup(&backup, &cluster, &cluster.nodes[0], options);
        assert_eq!(raised, backup.hash.revision + 1000);
        cluster.spawn_all();
        cluster.await_health();
        let etcd = client(&cluster.nodes[0]);
        assert_eq!(etcd.revision(D).await.unwrap(), raised);
        assert!(keys(&etcd).await == backup.keys, "{release:?}");
        for lost in [2, backup.hash.revision, backup.hash.revision + 500] {
            let mut watch = etcd.watch(b"", lost, D).await.unwrap();
            let gone = watch.next(D).await.unwrap_err();
            assert!(matches!(gone.kind, Kind::Compacted(_)), "{gone:?}");
        }
        let next = etcd.put(b"after", b"1", None, D).await.unwrap();
        assert_eq!(next, raised + 1);
    }
}

async fn authentication_stays_on(release: Release) {
    let mut cluster = Cluster::start(&[release]);
    let etcd = client(&cluster.nodes[0]);
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("store")).unwrap();
    etcd.put(b"before", b"1", None, D).await.unwrap();
    etcd.auth_enable("secret", D).await.unwrap();
    let login = Login::new("root".to_owned(), "secret".to_owned());
    let etcd = etcd.with_login(Some(&login));
    let options = options(root.path());
    let store = Arc::new(Local::new(root.path().join("store")));
    let (handle, task) = snapshots::start(options, always(&etcd), store);
    handle.lead(Leadership::Led).await;
    let full = handle.full(false, PATIENCE).await;
    assert!(matches!(full, Answer::Taken(_)), "{full:?}");
    let last = etcd.put(b"after", b"2", None, D).await.unwrap();
    let delta = handle.delta(PATIENCE).await;
    assert!(matches!(delta, Answer::Taken(_)), "{delta:?}");
    let hash = etcd.hash_kv(last, D).await.unwrap();
    cluster.nodes[0].kill();
    task.abort();

    let mut cluster = Cluster::prepare(&[release], "http", &[]);
    let made = restored(&root, &cluster, &cluster.nodes[0], Options::default());
    assert_eq!(made.replayed.report.revision.get(), last);
    cluster.spawn_all();
    cluster.await_health();
    let etcd = client(&cluster.nodes[0]);
    let refused = etcd.get(b"before", true, D).await.unwrap_err();
    assert!(
        matches!(refused.kind, Kind::Unauthenticated(_)),
        "{refused:?}"
    );
    let etcd = etcd.with_login(Some(&login));
    // The token of the old cluster is good for nothing, and is not used for ever.
    let _ = etcd.get(b"before", true, Duration::from_secs(1)).await;
    let values = keys(&etcd).await.into_values().map(|(value, _)| value);
    assert_eq!(values.collect::<Vec<_>>(), [b"2", b"1"]);
    assert_eq!(etcd.hash_kv(last, D).await.unwrap(), hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_restored_and_still_asked_for_their_password() {
    tokio::join!(
        authentication_stays_on(Release::V3_4_34),
        authentication_stays_on(Release::V3_5_27),
    );
}

pub(super) fn always(client: &Client) -> Arc<dyn Fn() -> Client + Send + Sync> {
    let client = client.clone();
    Arc::new(move || client.clone())
}
