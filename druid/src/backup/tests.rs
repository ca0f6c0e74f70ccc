mod bucket;
mod collecting;
mod measure;
pub(crate) mod store;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use druid_core::backup::Revision;
use druid_core::backup::codec::Codec;
use druid_core::backup::delta::{Change, Decoder};
use druid_core::backup::leftovers::Parts;
use druid_core::backup::listing::Listing;
use druid_core::backup::names::{Key, Kind, Prefix};
use druid_core::backup::retention::{Fulls, Policy};
use druid_core::backup::snapshotter::{Answer, Backoff, Config, Denial, Health};
use druid_core::snapshot_file;
use jiff::SignedDuration;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::codec::{Limit, Packing, unpack};
use super::schedule::CronSchedule;
use super::snapshots::{Etcd, Handle, Leadership, Options, start};
use crate::etcd::tests::common::{Cluster, Release};
use crate::etcd::{Client, Keys, Login};
use crate::store::Store;
use crate::store::local::Local;
use store::Failing;

const D: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);

struct Bed {
    cluster: Cluster,
    etcd: Client,
    failing: Failing,
    handle: Handle,
    task: JoinHandle<()>,
    root: TempDir,
}

pub(crate) fn options(temporary: &Path) -> Options {
    Options {
        config: Config {
            delta_period: Some(SignedDuration::from_hours(1)),
            delta_limit: 10 << 20,
            collection_period: None,
            backoff: Backoff {
                first: SignedDuration::from_millis(200),
                limit: SignedDuration::from_secs(1),
            },
        },
        schedule: CronSchedule::parse("0 0 1 1 *", crate::clock::now()).unwrap(),
        prefix: Prefix::parse("etcd-main").unwrap(),
        packing: Packing::Gzip,
        threads: 2,
        temporary: temporary.to_owned(),
        snapshot_timeout: Duration::from_mins(1),
        retention: Policy {
            fulls: Fulls::Exponential,
            deltas: SignedDuration::ZERO,
        },
        parts: Parts::Copied,
    }
}

fn always(etcd: &Client) -> Etcd {
    let etcd = etcd.clone();
    Arc::new(move || etcd.clone())
}

impl Bed {
    async fn new(release: Release, change: impl FnOnce(&mut Options)) -> Self {
        let cluster = Cluster::start(&[release]);
        Self::on(cluster, tempfile::tempdir().unwrap(), change).await
    }

    async fn on(cluster: Cluster, root: TempDir, change: impl FnOnce(&mut Options)) -> Self {
        let etcd = Client::new(cluster.nodes[0].client_url.parse().unwrap(), None).unwrap();
        Self::through(cluster, etcd, root, change).await
    }

    async fn through(
        cluster: Cluster,
        etcd: Client,
        root: TempDir,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let inner = Local::new(root.path().join("store"));
        let failing = Failing::new(Arc::new(inner));
        let mut options = options(root.path());
        change(&mut options);
        let (handle, task) = start(options, always(&etcd), Arc::new(failing.clone()));
        handle.lead(Leadership::Led).await;
        Self {
            cluster,
            etcd,
            failing,
            handle,
            task,
            root,
        }
    }

    async fn listing(&self) -> Listing {
        self.handle.latest().await.unwrap().0
    }

    /// Until the first full snapshot is there.
    async fn based(&self) {
        let mut state = self.handle.state();
        let based = state.wait_for(|it| it.base.is_some());
        tokio::time::timeout(PATIENCE, based)
            .await
            .unwrap()
            .unwrap();
    }

    async fn stop(self) -> (Cluster, TempDir, Listing) {
        self.handle.stop(PATIENCE).await;
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap();
        let listed = self.failing.list("etcd-main/").await.unwrap();
        let listed = listed.iter().map(|it| (it.key.as_str(), it.bytes));
        let listing = Listing::read(&Prefix::parse("etcd-main").unwrap(), listed);
        (self.cluster, self.root, listing)
    }
}

/// What a chain holds of the writes after its base: the last value of each key.
fn replay(root: &TempDir, listing: &Listing) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let chain = listing.newest().unwrap();
    let mut keys = BTreeMap::new();
    let base = content(root, &chain.base.key);
    let facts = snapshot_file::verify(base.as_slice()).unwrap();
    assert!(facts.revision >= chain.base.key.name.last().get());
    for delta in &chain.deltas {
        let bytes = content(root, &delta.object.key);
        let mut decoder = Decoder::new(Decoder::LIMIT);
        decoder.feed(&bytes);
        while let Some(event) = decoder.next_event().unwrap() {
            let value = match event.change {
                Change::Put { value, .. } => Some(value.to_vec()),
                Change::Delete => None,
            };
            keys.insert(event.key.to_vec(), value);
        }
        let Kind::Delta { start } = delta.object.key.name.kind() else {
            panic!("a delta");
        };
        let last = delta.object.key.name.last();
        decoder.finish().unwrap().check(start, last).unwrap();
    }
    keys
}

fn content(root: &TempDir, key: &Key) -> Vec<u8> {
    let packed = std::fs::read(root.path().join("store").join(key.to_string())).unwrap();
    let limit = Limit {
        bytes: 1 << 30,
        ratio: 2000,
    };
    let mut bytes = Vec::new();
    let mut unpacked = unpack(Codec::Gzip, packed.as_slice(), limit);
    unpacked.read_to_end(&mut bytes).unwrap();
    bytes
}

fn taken(answer: Answer) -> Key {
    match answer {
        Answer::Taken(object) => object.key,
        other @ (Answer::Nothing | Answer::Refused(_)) => panic!("{other:?}"),
    }
}

async fn put(etcd: &Client, key: &str, value: &str) -> i64 {
    etcd.put(key.as_bytes(), value.as_bytes(), None, D)
        .await
        .unwrap()
}

async fn everything_acknowledged_is_in_the_chain(release: Release) {
    let bed = Bed::new(release, |_| {}).await;
    put(&bed.etcd, "before", "1").await;
    bed.based().await;
    let lease = bed.etcd.lease_grant(60, D).await.unwrap();
    for i in 0..50 {
        let key = format!("k{}", i % 20);
        bed.etcd
            .put(key.as_bytes(), b"v", Some(lease), D)
            .await
            .unwrap();
    }
    let first = taken(bed.handle.delta(PATIENCE).await);
    assert_eq!(bed.handle.delta(PATIENCE).await, Answer::Nothing);
    bed.etcd.delete(Keys::Prefix(b"k1"), D).await.unwrap();
    let pairs = [
        (b"t1".to_vec(), b"x".to_vec()),
        (b"t2".to_vec(), b"y".to_vec()),
    ];
    let last = bed.etcd.txn_put(&pairs, D).await.unwrap();
    let second = taken(bed.handle.delta(PATIENCE).await);
    assert_eq!(second.name.last().get(), last);
    assert_eq!(
        second.name.kind(),
        Kind::Delta {
            start: first.name.last().next()
        }
    );

    // A full one while writes go on; the chain goes on from it.
    let (full, ()) = tokio::join!(bed.handle.full(false, PATIENCE), async {
        for i in 0..40 {
            put(&bed.etcd, "during", &i.to_string()).await;
        }
    });
    let full = taken(full);
    let last = put(&bed.etcd, "after", "2").await;
    let (_cluster, root, listing) = bed.stop().await;
    let chain = listing.newest().unwrap();
    assert_eq!((chain.base.key, chain.to.get()), (full, last));
    let keys = replay(&root, &listing);
    assert_eq!(keys[b"after".as_slice()].as_deref(), Some(&b"2"[..]));
    // The older base is a chain to the end, too.
    let oldest = listing.bases().last().unwrap();
    let chain = listing.chain(oldest, oldest.key.name.last()).unwrap();
    assert_eq!(chain.to.get(), last);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_acknowledged_is_in_the_chain_on_3_4() {
    everything_acknowledged_is_in_the_chain(Release::V3_4_34).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_acknowledged_is_in_the_chain_on_3_5() {
    everything_acknowledged_is_in_the_chain(Release::V3_5_27).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_last_is_uploaded_at_the_end() {
    let bed = Bed::new(Release::V3_5_27, |_| {}).await;
    bed.based().await;
    let mut last = 0;
    for i in 0..200 {
        last = put(&bed.etcd, &format!("k{i}"), "x").await;
    }
    let (_cluster, root, listing) = bed.stop().await;
    assert_eq!(listing.newest().unwrap().to.get(), last);
    assert_eq!(replay(&root, &listing).len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_loses_nothing_and_is_not_hammered() {
    let bed = Bed::new(Release::V3_5_27, |options| {
        options.config.delta_limit = 4000;
    })
    .await;
    bed.based().await;
    bed.failing.writes.store(-1, Ordering::SeqCst);
    let before = bed.failing.attempts.load(Ordering::SeqCst);
    let mut last = 0;
    for i in 0..300 {
        last = put(&bed.etcd, &format!("k{i}"), &"x".repeat(100)).await;
    }
    match bed.handle.delta(PATIENCE).await {
        Answer::Refused(Denial::Failed(why)) => assert!(why.contains("503"), "{why}"),
        other @ (Answer::Taken(_) | Answer::Nothing | Answer::Refused(_)) => panic!("{other:?}"),
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let tries = bed.failing.attempts.load(Ordering::SeqCst) - before;
    assert!((2..12).contains(&tries), "{tries}");
    let state = bed.handle.state().borrow().clone();
    assert!(
        matches!(&state.health, Health::Failing { why } if why.contains("503")),
        "{state:?}"
    );
    bed.failing.writes.store(0, Ordering::SeqCst);
    let (_cluster, root, listing) = bed.stop().await;
    assert_eq!(listing.newest().unwrap().to.get(), last);
    assert_eq!(replay(&root, &listing).len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_snapshot_that_fails_is_tried_again_later_and_leaves_nothing() {
    let bed = Bed::new(Release::V3_5_27, |_| {}).await;
    bed.based().await;
    put(&bed.etcd, "a", "1").await;
    bed.failing.writes.store(1, Ordering::SeqCst);
    match bed.handle.full(false, PATIENCE).await {
        Answer::Refused(Denial::Failed(why)) => assert!(why.contains("503"), "{why}"),
        other @ (Answer::Taken(_) | Answer::Nothing | Answer::Refused(_)) => panic!("{other:?}"),
    }
    assert_eq!(bed.listing().await.bases().count(), 1);
    let full = taken(bed.handle.full(false, PATIENCE).await);
    assert_eq!(full.name.last().get(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_snapshot_is_not_repeated_at_the_same_revision() {
    let bed = Bed::new(Release::V3_5_27, |_| {}).await;
    bed.based().await;
    put(&bed.etcd, "a", "1").await;
    let first = taken(bed.handle.full(true, PATIENCE).await);
    assert!(first.name.is_final());
    assert_eq!(taken(bed.handle.full(true, PATIENCE).await), first);
    // The watch goes on after one that was not needed.
    put(&bed.etcd, "a", "2").await;
    let delta = taken(bed.handle.delta(PATIENCE).await);
    assert_eq!(delta.name.last().get(), 3);
    put(&bed.etcd, "a", "3").await;
    let second = taken(bed.handle.full(true, PATIENCE).await);
    assert_eq!(second.name.last().get(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_was_compacted_away_is_followed_by_a_full_snapshot() {
    let bed = Bed::new(Release::V3_5_27, |_| {}).await;
    bed.based().await;
    put(&bed.etcd, "a", "1").await;
    let (cluster, root, _) = bed.stop().await;
    let etcd = Client::new(cluster.nodes[0].client_url.parse().unwrap(), None).unwrap();
    for i in 0..10 {
        put(&etcd, "b", &i.to_string()).await;
    }
    let last = put(&etcd, "c", "1").await;
    etcd.compact(last, true, D).await.unwrap();
    let bed = Bed::on(cluster, root, |_| {}).await;
    let mut state = bed.handle.state();
    let again = state.wait_for(|it| it.covered.is_some_and(|it| it.get() >= last));
    tokio::time::timeout(PATIENCE, again)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(bed.listing().await.bases().count(), 2);
    let last = put(&bed.etcd, "d", "1").await;
    let (_cluster, _root, listing) = bed.stop().await;
    let chain = listing.newest().unwrap();
    assert_eq!((chain.to.get(), chain.deltas.len()), (last, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_that_restarts_is_watched_on_without_a_hole() {
    let mut bed = Bed::new(Release::V3_5_27, |_| {}).await;
    bed.based().await;
    put(&bed.etcd, "a", "1").await;
    taken(bed.handle.delta(PATIENCE).await);
    put(&bed.etcd, "a", "2").await;
    bed.cluster.nodes[0].kill();
    match bed.handle.delta(Duration::from_secs(2)).await {
        Answer::Refused(Denial::TimedOut { .. } | Denial::Failed(_)) => {}
        other @ (Answer::Taken(_) | Answer::Nothing | Answer::Refused(_)) => panic!("{other:?}"),
    }
    bed.cluster.restart(0, Release::V3_5_27);
    let last = put(&bed.etcd, "a", "3").await;
    let delta = taken(bed.handle.delta(PATIENCE).await);
    assert_eq!(delta.name.last().get(), last);
    let (_cluster, root, listing) = bed.stop().await;
    assert_eq!(listing.bases().count(), 1);
    assert_eq!(
        replay(&root, &listing)[b"a".as_slice()].as_deref(),
        Some(&b"3"[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_behind_the_store_writes_nothing_and_says_why() {
    let bed = Bed::new(Release::V3_5_27, |_| {}).await;
    bed.based().await;
    for _ in 0..5 {
        put(&bed.etcd, "a", "1").await;
    }
    let (_, root, before) = bed.stop().await;
    let bed = Bed::on(Cluster::start(&[Release::V3_5_27]), root, |_| {}).await;
    let mut state = bed.handle.state();
    let diverged = state.wait_for(|it| matches!(it.health, Health::Diverged(_)));
    tokio::time::timeout(PATIENCE, diverged)
        .await
        .unwrap()
        .unwrap();
    for answer in [
        bed.handle.full(false, PATIENCE).await,
        bed.handle.delta(PATIENCE).await,
    ] {
        match answer {
            Answer::Refused(denial @ Denial::Diverged(_)) => {
                let text = denial.to_string();
                assert!(
                    text.contains("etcd is at revision 1 and the store has 6"),
                    "{text}"
                );
            }
            other @ (Answer::Taken(_) | Answer::Nothing | Answer::Refused(_)) => {
                panic!("{other:?}")
            }
        }
    }
    assert_eq!(bed.listing().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_takes_nothing() {
    let bed = Bed::new(Release::V3_5_27, |_| {}).await;
    bed.based().await;
    bed.handle.lead(Leadership::Deposed).await;
    let answer = bed.handle.full(false, PATIENCE).await;
    assert_eq!(answer, Answer::Refused(Denial::NotLeading));
    let (_cluster, _root, listing) = bed.stop().await;
    assert_eq!(listing.snapshots().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_with_users_is_backed_up_with_name_and_password() {
    let cluster = Cluster::start(&[Release::V3_5_27]);
    let etcd = Client::new(cluster.nodes[0].client_url.parse().unwrap(), None).unwrap();
    put(&etcd, "a", "1").await;
    etcd.auth_enable("secret", D).await.unwrap();
    let login = Login::new("root".to_owned(), "secret".to_owned());
    let etcd = etcd.with_login(Some(&login));
    let bed = Bed::through(cluster, etcd, tempfile::tempdir().unwrap(), |_| {}).await;
    bed.based().await;
    // The driver's client and this one share what they were given.
    put(&bed.etcd, "a", "2").await;
    let delta = taken(bed.handle.delta(PATIENCE).await);
    assert_eq!(delta.name.last().get(), 3);
}
