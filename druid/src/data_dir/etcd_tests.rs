//! Genuine etcd is the judge: of what is written, whether it starts and has the data; of what is
//! read, whether it is so.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use druid_core::backup::initialize::{Data, Looked, Probe};
use druid_core::bolt::{PageSize, Sink as _, Writer, walk};
use druid_core::data_dir::wal_read::End;
use druid_core::data_dir::{Identity, InitialCluster, members};
use druid_core::mvcc::{bucket, meta};
use nix::sys::signal::Signal;

use super::tests::now;
use super::*;
use crate::etcd::tests::common::{Cluster, Node, Release};
use crate::etcd::{Client, HashKv, Keys};

const D: Duration = Duration::from_secs(10);
const ALL: [Release; 3] = [Release::V3_4_34, Release::V3_5_27, Release::V3_6_15];

fn client(node: &Node) -> Client {
    Client::new(node.client_url.parse().unwrap(), None).unwrap()
}

/// A database and what it has to give.
struct Source {
    database: Vec<u8>,
    hash: HashKv,
    lease: i64,
}

async fn source(release: Release) -> Source {
    let cluster = Cluster::start(&[release]);
    let etcd = client(&cluster.nodes[0]);
    for n in 0..300 {
        let (key, value) = (format!("k{}", n % 50), vec![b'v'; n * 7]);
        etcd.put(key.as_bytes(), &value, None, D).await.unwrap();
    }
    etcd.delete(Keys::Prefix(b"k1"), D).await.unwrap();
    let pairs = [
        (b"t1".to_vec(), b"a".to_vec()),
        (b"t2".to_vec(), b"b".to_vec()),
    ];
    etcd.txn_put(&pairs, D).await.unwrap();
    etcd.compact(100, true, D).await.unwrap();
    let lease = etcd.lease_grant(600, D).await.unwrap();
    let last = etcd.put(b"leased", b"x", Some(lease), D).await.unwrap();
    let hash = etcd.hash_kv(last, D).await.unwrap();
    let mut database = Vec::new();
    let mut snapshot = etcd.snapshot(D).await.unwrap();
    while let Some(chunk) = snapshot.next(D).await.unwrap() {
        database.extend(chunk);
    }
    // Its digest.
    database.truncate(database.len() - 32);
    Source {
        database,
        hash,
        lease,
    }
}

/// What is in a database, with the members of another cluster.
fn restored_database(database: &[u8], identity: &Identity) -> Vec<u8> {
    let mut buckets: std::collections::BTreeMap<Vec<u8>, Vec<members::Row>> = bucket::ALL
        .iter()
        .map(|name| (name.to_vec(), Vec::new()))
        .collect();
    walk(database, |row| {
        let dropped = match row.bucket {
            bucket::MEMBERS | bucket::MEMBERS_REMOVED | bucket::CLUSTER | bucket::ALARM => true,
            bucket::META => [
                meta::CONSISTENT_INDEX,
                meta::TERM,
                meta::CONF_STATE,
                meta::STORAGE_VERSION,
            ]
            .contains(&row.key),
            _ => false,
        };
        if !dropped {
            let rows = buckets.entry(row.bucket.to_vec()).or_default();
            rows.push((row.key.to_vec(), row.value.to_vec()));
        }
        Ok::<(), ()>(())
    })
    .unwrap();
    let own = buckets.get_mut(bucket::META).unwrap();
    own.extend(members::meta_rows(identity.cluster()));
    own.sort();
    buckets.insert(bucket::MEMBERS.to_vec(), members::rows(identity.cluster()));
    let mut writer = Writer::new(PageSize::DEFAULT);
    for (name, rows) in buckets {
        writer.bucket(&name).unwrap();
        for (key, value) in rows {
            writer.row(&key, &value).unwrap();
        }
    }
    let finish = writer.finish();
    [&finish.metas[..], writer.out().as_slice()].concat()
}

fn restore(cluster: &Cluster, node: &Node, source: &Source) -> DataDir {
    let whole = InitialCluster::parse(&cluster.initial(), cluster.token()).unwrap();
    let identity = whole
        .member(&node.name.as_str().into(), &node.peer_url)
        .unwrap();
    let dir = DataDir::new(&node.data).unwrap();
    let building = dir.begin().unwrap();
    let database = restored_database(&source.database, &identity);
    building.database().write_all(&database).unwrap();
    building.finish(&identity).unwrap().swap_in(now()).unwrap();

    let inspection = dir.inspect(&[Probe::Log, Probe::Deep]).unwrap();
    let Data::Readable {
        database,
        log,
        deep,
    } = inspection.data
    else {
        panic!("{inspection:?}");
    };
    assert_eq!(database.get(), source.hash.revision);
    assert_eq!((log, deep), (Looked::Found(database), Looked::Found(())));
    let log = inspection.log.unwrap();
    assert_eq!(log.member, identity.own().id);
    assert_eq!((log.end, log.pending.entries), (End::Clean, 0));
    dir
}

/// Restores every member apart from the others, starts them, and checks what they say.
async fn they_start(release: Release, count: usize, source: &Source) {
    let mut cluster = Cluster::prepare(&vec![release; count], "http", &[]);
    let dirs: Vec<_> = cluster
        .nodes
        .iter()
        .map(|node| restore(&cluster, node, source))
        .collect();
    cluster.spawn_all();
    cluster.await_health();
    let clients: Vec<_> = cluster.nodes.iter().map(client).collect();
    for (etcd, dir) in clients.iter().zip(&dirs) {
        let hash = etcd.hash_kv(source.hash.revision, D).await.unwrap();
        assert_eq!(hash, source.hash, "{release:?} of {count}");
        assert!(etcd.lease_keep_alive_once(source.lease, D).await.unwrap() > 0);
        assert_eq!(dir.inspect(&[]).unwrap().data, Data::Locked);
    }
    let initial = InitialCluster::parse(&cluster.initial(), cluster.token()).unwrap();
    let expected: Vec<_> = initial
        .members()
        .iter()
        .map(|it| (it.id, it.name.clone(), it.peer_urls.clone()))
        .collect();
    let mut listed = clients[0].member_list(D).await.unwrap();
    listed.sort_by_key(|it| it.id);
    let listed: Vec<_> = listed
        .into_iter()
        .map(|it| (it.id, it.name, it.peer_urls))
        .collect();
    assert_eq!(listed, expected, "{release:?} of {count}");

    // What is written after that goes in, and is there after a crash of all.
    let mut last = 0;
    for n in 0..20 {
        last = clients[n % count]
            .put(b"new", &[b'n'; 100], None, D)
            .await
            .unwrap();
    }
    assert_eq!(last, source.hash.revision + 20);
    for node in &mut cluster.nodes {
        node.signal(Signal::SIGKILL);
        node.kill();
    }
    for dir in &dirs {
        let inspection = dir.inspect(&[Probe::Log, Probe::Deep]).unwrap();
        let Data::Readable {
            log: Looked::Found(newest),
            deep,
            ..
        } = inspection.data
        else {
            panic!("{release:?} of {count}: {inspection:?}");
        };
        // A follower that was behind may lack the last ones.
        assert!(newest.get() <= last && newest.get() > source.hash.revision);
        assert!(count > 1 || newest.get() == last, "{release:?}: {newest}");
        assert_eq!(deep, Looked::Found(()));
    }
    cluster.spawn_all();
    cluster.await_health();
    for node in &cluster.nodes {
        let (kv, revision) = client(node).get(b"new", true, D).await.unwrap();
        assert_eq!((kv.unwrap().mod_revision, revision), (last, last));
    }
}

#[tokio::test]
async fn a_restored_member_starts_on_every_release() {
    for from in [Release::V3_4_34, Release::V3_6_15] {
        let source = source(from).await;
        for release in ALL {
            they_start(release, 1, &source).await;
        }
    }
}

#[tokio::test]
async fn three_members_restored_apart_find_together_on_every_release() {
    let source = source(Release::V3_5_27).await;
    for release in ALL {
        they_start(release, 3, &source).await;
    }
}

/// The last segment of a member's log.
fn last_segment(dir: &DataDir) -> PathBuf {
    let names = fs::read_dir(wal_dir(&dir.path)).unwrap();
    let paths = names.map(|entry| entry.unwrap().path());
    let segments = paths.filter(|path| path.extension().is_some_and(|it| it == "wal"));
    segments.max().unwrap()
}

/// How many bytes of a segment are in use.
fn used(path: &Path) -> usize {
    let bytes = fs::read(path).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

fn newest(dir: &DataDir) -> Looked<i64> {
    let data = dir.inspect(&[Probe::Log]).unwrap().data;
    let Data::Readable { log, .. } = data else {
        panic!("{data:?}");
    };
    match log {
        Looked::Found(newest) => Looked::Found(newest.get()),
        Looked::Broken(why) => Looked::Broken(why),
        Looked::NotYet => Looked::NotYet,
    }
}

#[tokio::test]
async fn a_log_is_torn_or_broken_where_etcd_says_so() {
    let mut cluster = Cluster::start(&[Release::V3_5_27]);
    let etcd = client(&cluster.nodes[0]);
    let mut last = 0;
    for n in 0..10_u8 {
        last = etcd.put(&[b'k', n], &[b'v'; 2_000], None, D).await.unwrap();
    }
    cluster.nodes[0].kill();
    let dir = DataDir::new(&cluster.nodes[0].data).unwrap();
    assert_eq!(newest(&dir), Looked::Found(last));

    // The record of the last put.
    let segment = last_segment(&dir);
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&segment)
        .unwrap();
    let whole = fs::read(&segment).unwrap();
    let end = used(&segment);
    let value = whole[..end]
        .windows(2_000)
        .rposition(|it| it == [b'v'; 2_000])
        .unwrap();
    let (from, to) = (
        value.next_multiple_of(512),
        value.next_multiple_of(512) + 512,
    );

    // One byte of the value: damage.
    file.write_all_at(b"w", value as u64 + 7).unwrap();
    let Looked::Broken(why) = newest(&dir) else {
        panic!();
    };
    assert!(why.contains("does not match its checksum"), "{why}");
    cluster.spawn_all();
    cluster.nodes[0].await_end();
    cluster.nodes[0].kill();
    let Looked::Broken(_) = newest(&dir) else {
        panic!();
    };

    // A sector that never reached the disk: torn.
    file.write_all_at(&whole[value..value + 2_000], value as u64)
        .unwrap();
    assert_eq!(newest(&dir), Looked::Found(last));
    file.write_all_at(&vec![0; to - from], from as u64).unwrap();
    let inspection = dir.inspect(&[Probe::Log]).unwrap();
    let Data::Readable { database, log, .. } = inspection.data else {
        panic!("{inspection:?}");
    };
    match log {
        Looked::Found(newest) => {
            assert!(matches!(inspection.log.unwrap().end, End::Torn { .. }));
            assert!(database <= newest && newest.get() == last - 1);
            cluster.spawn_all();
            cluster.await_health();
            let again = client(&cluster.nodes[0]);
            let (_, revision) = again.get(b"k", true, D).await.unwrap();
            assert_eq!(revision, newest.get());
            assert!(segment.with_extension("wal.broken").exists());
        }
        // The database had been committed in the moment before the kill.
        Looked::Broken(why) => {
            assert_eq!(database.get(), last);
            assert!(why.contains("it is cut"), "{why}");
        }
        Looked::NotYet => panic!("the log was asked for"),
    }
}

/// The others are lost while a write is on its way: the log has it, and it is not known to be
/// committed. It may have been acknowledged, so it stays; etcd's own `--force-new-cluster` drops it.
#[tokio::test]
async fn a_survivor_goes_on_alone_with_all_that_its_log_has() {
    for release in ALL {
        let mut cluster = Cluster::start(&[release; 3]);
        cluster.await_health();
        let first = client(&cluster.nodes[0]).status(D).await.unwrap();
        let (mut leader, mut ids) = (0, Vec::new());
        for (at, node) in cluster.nodes.iter().enumerate() {
            let own = client(node).status(D).await.unwrap().id;
            ids.push(own);
            if own == first.leader {
                leader = at;
            }
        }
        let etcd = client(&cluster.nodes[leader]);
        for n in 0..30 {
            let key = format!("k{n}");
            etcd.put(key.as_bytes(), b"v", None, D).await.unwrap();
        }
        let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
        for at in &others {
            cluster.nodes[*at].signal(Signal::SIGSTOP);
        }
        let late = etcd.put(b"late", b"x", None, Duration::from_secs(1)).await;
        assert!(late.is_err(), "nobody has acknowledged it");
        cluster.nodes.iter_mut().for_each(Node::kill);

        let dir = DataDir::new(&cluster.nodes[leader].data).unwrap();
        let standing = dir.standing().unwrap().unwrap();
        assert_eq!(standing.member, ids[leader]);
        let mut expected: Vec<_> = others.iter().map(|at| ids[*at]).collect();
        expected.sort_unstable();
        assert_eq!(dir.make_alone().unwrap(), expected, "{release:?}");
        // Done again, it changes nothing.
        assert_eq!(dir.make_alone().unwrap(), expected);
        cluster.restart(leader, release);
        let etcd = client(&cluster.nodes[leader]);
        let listed = etcd.member_list(D).await.unwrap();
        assert_eq!(listed.len(), 1, "{release:?}: {listed:?}");
        assert_eq!(listed[0].id, ids[leader]);
        for key in ["k0", "k29", "late"] {
            let (found, _) = etcd.get(key.as_bytes(), true, D).await.unwrap();
            assert!(found.is_some(), "{release:?}: {key}");
        }
        etcd.put(b"after", b"y", None, D).await.unwrap();
        // One of the old ones is not let in again.
        let old = others[0];
        let (initial, token) = (cluster.initial(), cluster.token().to_owned());
        cluster.nodes[old].begin(&initial, "existing", &token);
        cluster.nodes[old].await_end();
        // A new one is, and has everything.
        let mut spare = cluster.spare(release);
        let urls = [spare.peer_url.clone()];
        etcd.member_add_learner(&urls, D).await.unwrap();
        let own = &cluster.nodes[leader];
        let initial = format!(
            "{}={},{}={}",
            own.name, own.peer_url, spare.name, spare.peer_url
        );
        spare.begin(&initial, "existing", cluster.token());
        let joined = client(&spare);
        let mut has = false;
        for _ in 0..200 {
            has = joined
                .get(b"after", false, D)
                .await
                .is_ok_and(|it| it.0.is_some());
            if has {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(has, "{release:?}");
    }
}

/// A record that was being written when the machine stopped makes no difference.
#[tokio::test]
async fn a_survivor_whose_log_is_torn_goes_on_alone() {
    let mut cluster = Cluster::start(&[Release::V3_5_27; 3]);
    cluster.await_health();
    let etcd = client(&cluster.nodes[1]);
    etcd.put(b"k", b"v", None, D).await.unwrap();
    cluster.nodes.iter_mut().for_each(Node::kill);
    let data = &cluster.nodes[1].data;
    let dir = DataDir::new(data).unwrap();
    let clean = dir.standing().unwrap().unwrap().alone().unwrap();
    let segment = data.join("member/wal").join(clean.segment.to_string());
    let file = fs::OpenOptions::new().write(true).open(segment).unwrap();
    file.set_len(clean.offset).unwrap();
    file.write_all_at(&[0x55, 1, 0, 0, 0, 0, 0, 0, 8], clean.offset)
        .unwrap();
    let removed = dir.make_alone().unwrap();
    assert_eq!(removed.len(), 2);
    cluster.restart(1, Release::V3_5_27);
    let (found, _) = client(&cluster.nodes[1]).get(b"k", true, D).await.unwrap();
    assert!(found.is_some());
}
