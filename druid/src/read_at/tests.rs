//! What is made of genuine databases without an etcd, against what etcd makes of them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use druid_core::backup::Revision;
use druid_core::backup::compaction::compact;
use druid_core::backup::delta::{Change, Decoder, Encoder, Event};
use druid_core::backup::replay::{Plan, Replay};
use druid_core::bolt::{PageSize, Writer, walk};
use druid_core::mvcc::{KeyValue, RowKey};
use jiff::Timestamp;

use super::FileAt;
use crate::etcd::tests::common::{Cluster, Release};
use crate::etcd::{Client, Keys};

const D: Duration = Duration::from_secs(10);

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// The rows of a bucket.
fn rows(database: &FileAt, bucket: &str) -> Rows {
    let mut rows = Rows::new();
    walk(database, |row| {
        if row.bucket == bucket.as_bytes() {
            rows.insert(row.key.to_vec(), row.value.to_vec());
        }
        Ok::<(), Infallible>(())
    })
    .unwrap();
    rows
}

/// One member and its database.
struct One {
    cluster: Cluster,
    release: Release,
}

impl One {
    fn start(release: Release) -> Self {
        let cluster = Cluster::start(&[release]);
        Self { cluster, release }
    }

    /// For the moment: a member that stops waits for its connections.
    fn client(&self) -> Client {
        let url = self.cluster.nodes[0].client_url.parse().unwrap();
        Client::new(url, None).unwrap()
    }

    fn path(&self) -> PathBuf {
        self.cluster.nodes[0].data.join("member/snap/db")
    }

    /// Stops it and copies its database.
    fn stop(&mut self, copy: &str) -> FileAt {
        self.cluster.nodes[0].stop();
        let path = self.cluster.nodes[0].data.join(copy);
        fs::copy(self.path(), &path).unwrap();
        FileAt::open(&path).unwrap()
    }

    fn restart(&mut self) {
        self.cluster.restart(0, self.release);
    }

    /// Starts it on another database.
    fn restart_with(&mut self, mut writer: Writer) {
        let end = writer.finish();
        fs::write(self.path(), [&end.metas[..], writer.out()].concat()).unwrap();
        self.restart();
    }

    /// Puts, deletions, transactions and leases. Returns the revision.
    async fn load(&self, round: u8) -> i64 {
        let etcd = self.client();
        let lease = etcd.lease_grant(600, D).await.unwrap();
        let ended = etcd.lease_grant(600, D).await.unwrap();
        for number in 0..40_u8 {
            let key = format!("key/{}", number % 15);
            let value = vec![round ^ number; usize::from(number) * 200];
            let lease = [None, Some(lease), Some(ended)][usize::from(number) % 3];
            etcd.put(key.as_bytes(), &value, lease, D).await.unwrap();
        }
        let pair = |number| (vec![b'p', number], vec![round]);
        let pairs: Vec<_> = (0..20).map(pair).collect();
        etcd.txn_put(&pairs, D).await.unwrap();
        etcd.delete(Keys::Range(b"key/1", b"key/13"), D)
            .await
            .unwrap();
        etcd.put(b"key/12", b"again", None, D).await.unwrap();
        etcd.lease_revoke(ended, D).await.unwrap();
        etcd.delete(Keys::Range(&[b'p', 3], &[b'p', 6]), D)
            .await
            .unwrap()
            .1
    }

    async fn hash(&self, at: i64) -> u32 {
        self.client().hash_kv(at, D).await.unwrap().hash
    }
}

async fn compaction_without_etcd(release: Release, ends_with_a_deletion: bool) {
    let mut one = One::start(release);
    let mut revision = one.load(1).await;
    if !ends_with_a_deletion {
        revision = one.client().put(b"last", b"x", None, D).await.unwrap();
    }
    let before = one.stop("before");
    let mut writer = Writer::new(PageSize::DEFAULT);
    let report = compact(&before, &mut writer).unwrap();
    assert_eq!(report.revision.get(), revision);
    assert!(report.rows < report.rows_before);

    one.restart();
    one.client().compact(revision, true, D).await.unwrap();
    one.client().defragment(D).await.unwrap();
    let of_etcd = rows(&one.stop("after"), "key");
    // Until then 3.5 gives the hash that it took before it compacted.
    one.restart();
    let hash = one.hash(revision).await;
    one.stop("again");
    one.restart_with(writer);
    assert_eq!(one.hash(revision).await, hash, "{release:?}");
    let of_ours = rows(&FileAt::open(&one.path()).unwrap(), "key");
    let at_the_end = |row: &[u8]| {
        let row = RowKey::parse(row).unwrap();
        row.is_tombstone() && row.main().get() == revision
    };
    let kept = of_etcd.keys().filter(|row| at_the_end(row)).count();
    assert_eq!(kept, if ends_with_a_deletion { 3 } else { 0 });
    assert_eq!(of_ours, of_etcd, "{release:?}");
    let next = one.client().put(b"next", b"x", None, D).await.unwrap();
    assert_eq!(next, revision + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_without_etcd_keeps_what_etcd_keeps() {
    for release in [Release::V3_4_34, Release::V3_5_27] {
        for ends_with_a_deletion in [true, false] {
            compaction_without_etcd(release, ends_with_a_deletion).await;
        }
    }
}

/// The rows after a revision, as a delta of the events that they are.
fn delta(history: &Rows, after: i64) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(), Vec::new());
    for (row, record) in history {
        let row = RowKey::parse(row).unwrap();
        let kv = KeyValue::decode(record).unwrap();
        if row.main().get() <= after {
            continue;
        }
        let change = if row.is_tombstone() {
            Change::Delete
        } else {
            Change::Put {
                created: Revision::new(kv.create_revision).unwrap(),
                version: kv.version,
                value: kv.value,
                lease: kv.lease,
                lease_ttl: (kv.lease != 0).then_some(600),
            }
        };
        let event = Event {
            key: kv.key,
            revision: row.main(),
            change,
            time: Timestamp::UNIX_EPOCH,
        };
        encoder.push(&event, &mut out).unwrap();
    }
    encoder.finish(&mut out).unwrap();
    out
}

async fn replay_without_etcd(release: Release) {
    let mut one = One::start(release);
    let base_revision = one.load(1).await;
    let base = one.stop("base");
    one.restart();
    let revision = one.load(2).await;
    let hash = one.hash(revision).await;
    let live = one.stop("live");

    let history = rows(&live, "key");
    let mut plan = Plan {
        members: rows(&live, "members"),
        consistent_index: 0,
        unknown_ttl: Plan::UNKNOWN_TTL,
        bump: None,
    };
    let index = &rows(&live, "meta")[&b"consistent_index"[..]];
    plan.consistent_index = u64::from_be_bytes(index.as_slice().try_into().unwrap());
    let mut writer = Writer::new(PageSize::DEFAULT);
    let mut replay = Replay::begin(&base, plan, &mut writer).unwrap();
    assert_eq!(replay.revision().get(), base_revision);
    // The delta is of older events too.
    let mut decoder = Decoder::new(Decoder::LIMIT);
    decoder.feed(&delta(&history, base_revision - 5));
    replay.delta();
    while let Some(event) = decoder.next_event().unwrap() {
        replay.event(&event, &mut writer).unwrap();
    }
    decoder.finish().unwrap();
    let report = replay.finish(&mut writer).unwrap();
    assert_eq!(report.revision.get(), revision);
    assert!(report.skipped >= 5);

    let leases_of_base = rows(&base, "lease").len() as u64;
    one.restart_with(writer);
    assert_eq!(one.hash(revision).await, hash, "{release:?}");
    let restored = one.stop("restored");
    assert_eq!(rows(&restored, "key"), history);
    // The lease of the second load is there as etcd has it; the one that was revoked too.
    let leases = rows(&restored, "lease");
    for (id, lease) in rows(&live, "lease") {
        assert_eq!(leases.get(&id), Some(&lease));
    }
    assert_eq!(leases.len() as u64, leases_of_base + report.leases_added);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_without_etcd_makes_the_rows_that_etcd_made() {
    for release in [Release::V3_4_34, Release::V3_5_27] {
        replay_without_etcd(release).await;
    }
}
