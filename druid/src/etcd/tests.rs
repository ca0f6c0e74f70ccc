use std::net::TcpListener;
use std::path::Path;
use std::time::Instant;

use druid_core::observed::AlarmKind;
use druid_core::version::{Minor, Version};
use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;

#[path = "../../tests/common_preflight/mod.rs"]
pub(crate) mod common;

use common::{Cluster, Release};

const D: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(400);

fn client(url: &str) -> Client {
    Client::new(url.parse().unwrap(), None).unwrap()
}

fn one(release: Release) -> (Cluster, Client) {
    let cluster = Cluster::start(&[release]);
    let client = client(&cluster.nodes[0].client_url);
    (cluster, client)
}

async fn keys_can_be_written_read_and_deleted(etcd: &Client) {
    let first = etcd.put(b"k/a", b"1", None, D).await.unwrap();
    let second = etcd.put(b"k/b", b"2", None, D).await.unwrap();
    assert_eq!(second, first + 1);
    for linearizable in [true, false] {
        let (kv, revision) = etcd.get(b"k/a", linearizable, D).await.unwrap();
        let kv = kv.unwrap();
        assert_eq!((kv.value.as_slice(), kv.mod_revision), (&b"1"[..], first));
        assert_eq!((kv.version, kv.lease, revision), (1, 0, second));
    }
    assert_eq!(etcd.get(b"k/none", true, D).await.unwrap().0, None);

    let all = RangeOptions::default();
    let range = etcd.range(Keys::Prefix(b"k/"), all, D).await.unwrap();
    assert_eq!((range.kvs.len(), range.count, range.more), (2, 2, false));
    let limited = RangeOptions {
        limit: 1,
        keys_only: true,
        ..all
    };
    let range = etcd.range(Keys::Prefix(b"k/"), limited, D).await.unwrap();
    assert!(range.more && range.kvs[0].key == b"k/a" && range.kvs[0].value.is_empty());
    let counted = RangeOptions {
        count_only: true,
        revision: first,
        serializable: true,
        ..all
    };
    let range = etcd.range(Keys::Prefix(b""), counted, D).await.unwrap();
    assert_eq!((range.kvs.len(), range.count), (0, 1));
    let half_open = Keys::Range(b"k/a", b"k/b");
    assert_eq!(etcd.range(half_open, all, D).await.unwrap().count, 1);

    let (deleted, revision) = etcd.delete(Keys::Prefix(b"k/"), D).await.unwrap();
    assert_eq!((deleted, revision), (2, second + 1));
}

async fn a_compare_and_set_says_what_was_there(etcd: &Client) {
    let created = etcd.txn_cas(b"reg", None, b"1", D).await.unwrap();
    assert!(created.succeeded && created.current.is_none());
    let swapped = etcd.txn_cas(b"reg", Some(b"1"), b"2", D).await.unwrap();
    assert!(swapped.succeeded && swapped.revision == created.revision + 1);
    let failed = etcd.txn_cas(b"reg", Some(b"1"), b"3", D).await.unwrap();
    assert!(!failed.succeeded && failed.revision == swapped.revision);
    assert_eq!(failed.current.as_deref(), Some(&b"2"[..]));

    let pairs = [
        (b"t/1".to_vec(), b"x".to_vec()),
        (b"t/2".to_vec(), b"y".to_vec()),
    ];
    let revision = etcd.txn_put(&pairs, D).await.unwrap();
    let (kv, _) = etcd.get(b"t/2", true, D).await.unwrap();
    assert_eq!(kv.unwrap().mod_revision, revision);
}

async fn a_lease_takes_its_keys_with_it(etcd: &Client) {
    let lease = etcd.lease_grant(60, D).await.unwrap();
    etcd.put(b"leased", b"x", Some(lease), D).await.unwrap();
    let (kv, _) = etcd.get(b"leased", true, D).await.unwrap();
    assert_eq!(kv.unwrap().lease, lease);
    assert_eq!(etcd.lease_keep_alive_once(lease, D).await.unwrap(), 60);
    etcd.lease_revoke(lease, D).await.unwrap();
    assert_eq!(etcd.get(b"leased", true, D).await.unwrap().0, None);
    assert!(etcd.lease_keep_alive_once(lease, D).await.unwrap() <= 0);
    let error = etcd.lease_revoke(lease, D).await.unwrap_err();
    assert!(!error.is_ambiguous() && !error.is_retryable(), "{error}");
}

async fn a_watch_delivers_in_order_and_reports_progress(etcd: &Client) {
    let start = etcd.put(b"w/1", b"a", None, D).await.unwrap();
    etcd.put(b"elsewhere", b"a", None, D).await.unwrap();
    let mut watch = etcd.watch(b"w/", start, D).await.unwrap();
    let last = etcd.delete(Keys::One(b"w/1"), D).await.unwrap().1;
    let mut events = Vec::new();
    while events.len() < 2 {
        events.extend(watch.next(D).await.unwrap().events);
    }
    assert!(matches!(&events[0], Event::Put(kv) if kv.value == b"a"));
    assert!(matches!(&events[1], Event::Delete { .. }));
    let seen: Vec<_> = events.iter().map(|e| (e.key(), e.mod_revision())).collect();
    assert_eq!(seen, [(&b"w/1"[..], start), (&b"w/1"[..], last)]);

    let quiet = watch.next(SHORT).await.unwrap_err();
    assert_eq!(quiet.kind, Kind::DeadlineExceeded(SHORT));
    watch.progress().await.unwrap();
    let progress = watch.next(D).await.unwrap();
    assert!(progress.events.is_empty() && progress.revision >= last);

    etcd.compact(last, true, D).await.unwrap();
    let mut late = etcd.watch(b"w/", start, D).await.unwrap();
    let gone = late.next(D).await.unwrap_err();
    assert_eq!(gone.kind, Kind::Compacted(Some(last)));
}

async fn revisions_that_are_not_there_are_told_apart(etcd: &Client) {
    let now = etcd.put(b"r", b"1", None, D).await.unwrap();
    etcd.put(b"r", b"2", None, D).await.unwrap();
    etcd.compact(now + 1, true, D).await.unwrap();
    let at = |revision| RangeOptions {
        revision,
        ..RangeOptions::default()
    };
    let error = etcd.range(Keys::One(b"r"), at(now), D).await.unwrap_err();
    assert_eq!(error.kind, Kind::Compacted(None));
    let error = etcd
        .range(Keys::One(b"r"), at(now + 9), D)
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::FutureRevision);
    assert!(!error.is_ambiguous() && error.is_retryable());

    let later = etcd.put(b"r", b"3", None, D).await.unwrap();
    let hash = etcd.hash_kv(later, D).await.unwrap();
    assert_eq!((hash.compact_revision, hash.revision), (now + 1, later));
    assert_eq!(etcd.hash_kv(later, D).await.unwrap().hash, hash.hash);
    etcd.put(b"r", b"4", None, D).await.unwrap();
    assert_ne!(etcd.hash_kv(later + 1, D).await.unwrap().hash, hash.hash);
}

async fn a_member_says_what_it_is(etcd: &Client, version: Version) {
    let status = etcd.status(D).await.unwrap();
    assert_eq!(status.version, version.to_string());
    assert!(status.id == status.leader && status.term >= 2 && !status.learner);
    assert!(status.raft_index >= status.raft_applied_index && status.raft_applied_index > 3);
    assert!(status.db_size >= status.db_size_in_use && status.db_size_in_use > 0);
    assert_eq!(status.revision, etcd.get(b"x", true, D).await.unwrap().1);

    let members = etcd.member_list(D).await.unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(
        (members[0].id, members[0].name.0.as_str()),
        (status.id, "m0")
    );
    assert_eq!(members[0].client_urls, [etcd.endpoint().as_str()]);

    let versions = etcd.http().version(D).await.unwrap();
    let agreed = Some(version.minor);
    assert_eq!((versions.server, versions.cluster), (version, agreed));
    assert_eq!(etcd.http().readyz(D).await.unwrap(), Ok(()));
    assert_eq!(etcd.quota(D).await.unwrap(), Some(2 << 30));
    if version.minor >= Minor::new(3, 5) {
        assert_eq!(etcd.downgrade_job(version.minor, D).await, Ok(Switch::Off));
    }
}

async fn alarms_go_up_and_down(etcd: &Client) {
    assert_eq!(etcd.alarms(D).await.unwrap(), []);
    let id = etcd.status(D).await.unwrap().id;
    etcd.alarm_raise(id, D).await.unwrap();
    let raised = Alarm {
        member: id,
        kind: AlarmKind::NoSpace,
    };
    assert_eq!(etcd.alarms(D).await.unwrap(), [raised]);
    assert_eq!(etcd.status(D).await.unwrap().errors.len(), 1);
    let error = etcd.put(b"a", b"b", None, D).await.unwrap_err();
    assert_eq!(error.kind, Kind::NoSpace);
    assert!(!error.is_ambiguous());
    etcd.alarm_disarm(id, D).await.unwrap();
    assert_eq!(etcd.alarms(D).await.unwrap(), []);
}

async fn a_snapshot_ends_with_its_own_digest(etcd: &Client) {
    use sha2::{Digest, Sha256};
    etcd.defragment(D).await.unwrap();
    let mut snapshot = etcd.snapshot(D).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = snapshot.next(D).await.unwrap() {
        bytes.extend(chunk);
    }
    let (database, digest) = bytes.split_at(bytes.len() - 32);
    assert_eq!(Sha256::digest(database).as_slice(), digest);
}

async fn authentication_is_noticed(etcd: &Client) {
    assert_eq!(etcd.auth_probe(D).await.unwrap(), Switch::Off);
    etcd.auth_enable("secret", D).await.unwrap();
    assert_eq!(etcd.auth_probe(D).await.unwrap(), Switch::On);
    let error = etcd.put(b"a", b"b", None, D).await.unwrap_err();
    assert!(
        error.to_string().contains("authentication is enabled"),
        "{error}"
    );
    assert!(!error.is_ambiguous());
}

/// Each with a client that has not logged in yet.
async fn calls_in_the_name_of_a_user_log_in(etcd: &Client) {
    let named = |password: &str| {
        let client = Client::new(etcd.endpoint().clone(), None).unwrap();
        client.with_login(Some(&Login::new("root".to_owned(), password.to_owned())))
    };
    let fresh = || named("secret");
    fresh().watch(b"", 1, D).await.unwrap();
    fresh().snapshot(D).await.unwrap();
    fresh().defragment(D).await.unwrap();
    fresh().hash_kv(0, D).await.unwrap();
    fresh().alarms(D).await.unwrap();
    fresh().revision(D).await.unwrap();
    assert_eq!(fresh().lease_granted_ttl(1, D).await.unwrap(), None);
    let own = fresh().member_list(D).await.unwrap().remove(0);
    let updated = fresh().member_update(own.id, &own.peer_urls, D).await;
    updated.unwrap();
    let url = ["http://127.0.0.1:1".to_owned()];
    let learner = fresh().member_add_learner(&url, D).await.unwrap();
    let early = fresh().member_promote(learner, D).await.unwrap_err().kind;
    assert!(matches!(early, Kind::Refused(_)), "{early}");
    let why = early.to_string();
    assert!(why.contains("in sync with leader"), "{why}");
    fresh().member_remove(learner, D).await.unwrap();
    let etcd = fresh();
    etcd.revision(D).await.unwrap();
    etcd.put(b"a", b"b", None, D).await.unwrap();
    let error = named("wrong").revision(D).await.unwrap_err().to_string();
    assert!(error.contains("invalid user ID or password"), "{error}");
    let error = named("wrong")
        .watch(b"", 1, D)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("invalid user ID or password"), "{error}");
}

async fn every_call_works(release: Release, version: Version) {
    let (cluster, etcd) = one(release);
    cluster.await_cluster_version(&version.minor.to_string());
    a_member_says_what_it_is(&etcd, version).await;
    keys_can_be_written_read_and_deleted(&etcd).await;
    a_compare_and_set_says_what_was_there(&etcd).await;
    a_lease_takes_its_keys_with_it(&etcd).await;
    a_watch_delivers_in_order_and_reports_progress(&etcd).await;
    revisions_that_are_not_there_are_told_apart(&etcd).await;
    alarms_go_up_and_down(&etcd).await;
    a_snapshot_ends_with_its_own_digest(&etcd).await;
    authentication_is_noticed(&etcd).await;
    calls_in_the_name_of_a_user_log_in(&etcd).await;
}

#[tokio::test]
async fn every_call_works_on_3_4() {
    every_call_works(Release::V3_4_34, Version::new(3, 4, 34)).await;
}

#[tokio::test]
async fn every_call_works_on_3_5() {
    every_call_works(Release::V3_5_27, Version::new(3, 5, 27)).await;
}

#[tokio::test]
async fn membership_and_leadership_change_hands() {
    let mut cluster = Cluster::start(&[Release::V3_4_34; 2]);
    let clients: Vec<_> = cluster
        .nodes
        .iter()
        .map(|n| client(&n.client_url))
        .collect();
    let spare = cluster.spare(Release::V3_4_34);
    let urls = [spare.peer_url.clone()];
    let start = Instant::now();
    let learner = loop {
        match clients[0].member_add_learner(&urls, D).await {
            Ok(id) => break id,
            // Members have to know each other for 5 s before etcd adds one.
            Err(error) => assert_eq!(error.kind, Kind::Refused("unhealthy cluster".into())),
        }
        assert!(start.elapsed() < Duration::from_secs(15));
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let early = clients[0].member_promote(learner, D).await.unwrap_err();
    assert!(!early.is_ambiguous(), "{early}");
    cluster.join(spare);
    let third = client(&cluster.nodes[2].client_url);
    let start = Instant::now();
    while let Err(error) = clients[0].member_promote(learner, D).await {
        assert!(start.elapsed() < Duration::from_secs(15), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It refuses to read until it has heard of its own promotion.
    let listed = loop {
        match third.member_list(D).await {
            Ok(listed) => break listed,
            Err(error) => assert!(matches!(error.kind, Kind::Refused(_)), "{error}"),
        }
    };
    assert!(listed.iter().all(|member| !member.learner));

    let leader = clients[0].status(D).await.unwrap().leader;
    let mut follower = &clients[0];
    let mut leading = &clients[1];
    if clients[0].status(D).await.unwrap().id == leader {
        (follower, leading) = (leading, follower);
    }
    let refused = follower.move_leader(learner, D).await.unwrap_err();
    assert_eq!(refused.kind, Kind::NotLeader);
    leading.move_leader(learner, D).await.unwrap();
    assert_eq!(third.status(D).await.unwrap().leader, learner);

    while let Err(error) = clients[0].member_remove(learner, D).await {
        assert!(start.elapsed() < Duration::from_secs(30), "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // It led, so somebody else has to be elected first.
    let left = loop {
        match clients[1].member_list(D).await {
            Ok(members) => break members.len(),
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    };
    assert_eq!(left, 2);
}

/// The answer lies, as etcd 3.5 does: it was applied.
#[tokio::test]
async fn a_downgrade_job_is_seen_and_none_is_begun_by_asking() {
    let cluster = Cluster::start(&[Release::V3_5_27]);
    cluster.await_cluster_version("3.5");
    let etcd = client(&cluster.nodes[0].client_url);
    for _ in 0..2 {
        let job = etcd.downgrade_job(Minor::new(3, 5), D).await;
        assert_eq!(job, Ok(Switch::Off));
    }
    let answer = etcd.downgrade_enable("3.4", Duration::from_secs(15)).await;
    assert!(
        answer.as_ref().is_ok() || answer.as_ref().unwrap_err().is_ambiguous(),
        "{answer:?}"
    );
    let job = etcd.downgrade_job(Minor::new(3, 5), D).await;
    assert_eq!(job, Ok(Switch::On));
}

#[tokio::test]
async fn a_half_open_endpoint_costs_its_deadline_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let etcd = client(&format!("http://{}", listener.local_addr().unwrap()));
    let start = Instant::now();
    for _ in 0..2 {
        let error = etcd.status(SHORT).await.unwrap_err();
        assert_eq!(error.kind, Kind::DeadlineExceeded(SHORT));
        assert!(error.is_ambiguous());
    }
    let error = etcd.http().version(SHORT).await.unwrap_err();
    assert_eq!(error.kind, Kind::DeadlineExceeded(SHORT));
    assert!(error.to_string().contains(etcd.endpoint().as_str()));
    assert!(start.elapsed() < SHORT * 3 + D);
}

#[tokio::test]
async fn nobody_there_is_not_ambiguous() {
    let port = common::free_ports(1)[0];
    let etcd = client(&format!("http://127.0.0.1:{port}"));
    let error = etcd.put(b"a", b"b", None, D).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Unreachable(_)), "{error:?}");
    assert!(!error.is_ambiguous() && error.is_retryable());
    let error = etcd.http().version(D).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_member_that_dies_with_a_write_in_hand_is_ambiguous_and_can_come_back() {
    let (mut cluster, etcd) = one(Release::V3_5_27);
    etcd.put(b"a", b"b", None, D).await.unwrap();
    cluster.nodes[0].signal(Signal::SIGSTOP);
    let writing = tokio::spawn({
        let etcd = etcd.clone();
        async move { etcd.put(b"a", b"c", None, D).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    cluster.nodes[0].kill();
    let error = writing.await.unwrap().unwrap_err();
    assert!(matches!(error.kind, Kind::Unavailable(_)), "{error:?}");
    assert!(error.is_ambiguous());
    cluster.restart(0, Release::V3_5_27);
    etcd.put(b"a", b"d", None, D).await.unwrap();
}

/// etcd without TLS, asked to stop, waits for ever for a connection on which nothing was said yet.
/// Two requests at once are two connections, of which the second is not needed if the first is free
/// before it is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_was_asked_by_http_waits_for_us_when_it_is_to_stop() {
    let (mut cluster, _) = one(Release::V3_5_27);
    let url = cluster.nodes[0].client_url.clone();
    let clients: Vec<_> = (0..200).map(|_| client(&url)).collect();
    for client in &clients {
        let (version, ready) = tokio::join!(client.http().version(D), client.http().readyz(D));
        assert!(version.is_ok() && ready.unwrap().is_ok());
    }
    cluster.nodes[0].signal(Signal::SIGTERM);
    let start = Instant::now();
    cluster.nodes[0].await_end();
    assert!(start.elapsed() < D, "{:?}", start.elapsed());
}

struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(&self, dir: &Path, name: &str) -> Tls {
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        let write = |suffix: &str, text: &str| {
            let path = dir.join(format!("{name}-{suffix}.pem"));
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        Tls {
            ca: write("ca", &self.pem),
            cert: write("cert", &cert),
            key: write("key", &key.serialize_pem()),
        }
    }
}

async fn mutual_tls_works(release: Release) {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new();
    let ours = ca.issue(dir.path(), "ours");
    let theirs = Ca::new().issue(dir.path(), "theirs");
    let file = |path: &Option<std::path::PathBuf>| path.as_ref().unwrap().display().to_string();
    let flags = [
        format!("--cert-file={}", file(&ours.cert)),
        format!("--key-file={}", file(&ours.key)),
        format!("--trusted-ca-file={}", file(&ours.ca)),
        "--client-cert-auth".to_owned(),
    ];
    let cluster = Cluster::start_with(&[release], "https", &flags);
    let url = &cluster.nodes[0].client_url;
    let with = |tls: &Tls| {
        let tls = tls.read().unwrap();
        Client::new(url.parse().unwrap(), tls.as_ref()).unwrap()
    };
    let good = with(&ours);
    let start = Instant::now();
    while good.put(b"a", b"b", None, D).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let expected = match release {
        Release::V3_4_34 => Minor::new(3, 4),
        Release::V3_5_27 => Minor::new(3, 5),
        Release::V3_6_15 => Minor::new(3, 6),
    };
    assert_eq!(good.http().version(D).await.unwrap().server.minor, expected);

    let wrong_ca = with(&Tls {
        ca: theirs.ca.clone(),
        ..ours.clone()
    });
    let no_cert = with(&Tls {
        cert: None,
        key: None,
        ..ours.clone()
    });
    for (etcd, flag) in [(wrong_ca, "--cacert"), (no_cert, "--cert")] {
        let error = etcd.put(b"a", b"c", None, D).await.unwrap_err();
        assert!(error.to_string().contains(flag), "{error:?}");
    }
    let error = with(&Tls {
        ca: theirs.ca,
        ..ours
    })
    .http()
    .version(D)
    .await
    .unwrap_err();
    assert!(
        matches!(&error.kind, Kind::Tls(why) if why.contains("--cacert")),
        "{error:?}"
    );

    let error = Client::new(url.parse().unwrap(), None).unwrap_err();
    assert!(error.to_string().contains("--cacert"), "{error}");
    let plain = client(&url.replace("https", "http"));
    assert!(plain.status(D).await.is_err());
}

#[tokio::test]
async fn mutual_tls_works_on_3_4() {
    mutual_tls_works(Release::V3_4_34).await;
}

#[tokio::test]
async fn mutual_tls_works_on_3_5() {
    mutual_tls_works(Release::V3_5_27).await;
}

#[tokio::test]
async fn https_to_a_member_without_tls_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let tls = Ca::new().issue(dir.path(), "any").read().unwrap();
    let cluster = Cluster::start(&[Release::V3_5_27]);
    let url = cluster.nodes[0].client_url.replace("http", "https");
    let etcd = Client::new(url.parse().unwrap(), tls.as_ref()).unwrap();
    let error = etcd.status(D).await.unwrap_err();
    assert!(
        matches!(&error.kind, Kind::Tls(why) if why.contains("http://")),
        "{error:?}"
    );
}

#[test]
fn flags_that_do_not_fit_together_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let tls = Ca::new().issue(dir.path(), "a");
    assert!(Tls::default().read().unwrap().is_none());
    let junk = dir.path().join("junk");
    std::fs::write(&junk, "junk").unwrap();
    let absent = Some(dir.path().join("absent"));
    let cases = [
        (
            Tls {
                key: None,
                ..tls.clone()
            },
            "--cert is given without --key",
        ),
        (
            Tls {
                cert: None,
                ..tls.clone()
            },
            "--key is given without --cert",
        ),
        (
            Tls {
                ca: None,
                ..tls.clone()
            },
            "without --cacert",
        ),
        (
            Tls {
                ca: absent,
                ..tls.clone()
            },
            "cannot be read",
        ),
        (
            Tls {
                ca: Some(junk.clone()),
                ..tls.clone()
            },
            "it has no certificate",
        ),
        (
            Tls {
                key: Some(junk),
                ..tls
            },
            "--key",
        ),
    ];
    for (tls, expected) in cases {
        let error = tls.read().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_prefix_ends_where_the_next_begins() {
    assert_eq!(
        Keys::Prefix(b"a/").bounds(),
        (b"a/".to_vec(), b"a0".to_vec())
    );
    assert_eq!(
        Keys::Prefix(b"a\xff").bounds(),
        (b"a\xff".to_vec(), b"b".to_vec())
    );
    assert_eq!(Keys::Prefix(b"\xff").bounds(), (b"\xff".to_vec(), vec![0]));
    assert_eq!(Keys::Prefix(b"").bounds(), (vec![0], vec![0]));
}
