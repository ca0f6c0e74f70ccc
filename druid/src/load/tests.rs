//! The load on genuine etcd, and proof that its judges are not blind.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use druid_core::linearizability::{Action, BOUND, End, Verdict};
use druid_core::oracle::fill::{FillSpec, Wrong};
use druid_core::oracle::findings::Findings;
use druid_core::oracle::gaps::Window;
use druid_core::oracle::{Change, Key, Tag};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tempfile::TempDir;

use super::*;
use crate::etcd::Keys;
use crate::etcd::tests::common::free_ports;

static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const SECOND: Duration = Duration::from_secs(1);

/// Members that run 3.4.34 until told otherwise; gone when dropped.
struct Cluster {
    /// Two processors carry one cluster, not four.
    _turn: tokio::sync::MutexGuard<'static, ()>,
    children: Vec<Option<Child>>,
    arguments: Vec<Vec<String>>,
    clients: Vec<Client>,
    data: TempDir,
}

impl Cluster {
    async fn start(size: usize) -> Self {
        let turn = TURN.lock().await;
        let data = TempDir::new().unwrap();
        let urls: Vec<String> = free_ports(2 * size)
            .iter()
            .map(|port| format!("http://127.0.0.1:{port}"))
            .collect();
        let (client_urls, peer_urls) = urls.split_at(size);
        let initial: Vec<_> = (0..size)
            .map(|at| format!("m{at}={}", peer_urls[at]))
            .collect();
        let arguments = |at: usize| {
            let flag = |name: &str, value: &str| format!("--{name}={value}");
            let dir = data.path().join(at.to_string());
            vec![
                flag("name", &format!("m{at}")),
                flag("data-dir", dir.to_str().unwrap()),
                flag("listen-client-urls", &client_urls[at]),
                flag("advertise-client-urls", &client_urls[at]),
                flag("listen-peer-urls", &peer_urls[at]),
                flag("initial-advertise-peer-urls", &peer_urls[at]),
                flag("initial-cluster", &initial.join(",")),
                flag("logger", "zap"),
                flag("pre-vote", "true"),
            ]
        };
        let client = |url: &String| Client::new(url.parse().unwrap(), None).unwrap();
        let mut cluster = Self {
            _turn: turn,
            children: (0..size).map(|_| None).collect(),
            arguments: (0..size).map(arguments).collect(),
            clients: client_urls.iter().map(client).collect(),
            data,
        };
        let old = etcd34::etcd_bin_path().unwrap();
        (0..size).for_each(|at| cluster.run(at, old));
        for at in 0..size {
            cluster.answers(at).await;
        }
        cluster
    }

    fn run(&mut self, at: usize, etcd: &Path) {
        let mut command = Command::new(etcd);
        command.args(&self.arguments[at]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.children[at] = Some(command.stderr(Stdio::null()).spawn().unwrap());
    }

    async fn answers(&self, at: usize) {
        while self.clients[at].get(b"x", true, SECOND).await.is_err() {
            tokio::time::sleep(SECOND / 20).await;
        }
    }

    fn signal(&self, at: usize, signal: Signal) {
        let id = self.children[at].as_ref().unwrap().id();
        let pid = Pid::from_raw(i32::try_from(id).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    fn end(&mut self, at: usize, signal: Signal) {
        self.signal(at, signal);
        self.children[at].take().unwrap().wait().unwrap();
    }

    async fn leader(&self) -> usize {
        for (at, client) in self.clients.iter().enumerate() {
            let status = client.status(SECOND).await.unwrap();
            if status.leader == status.id {
                return at;
            }
        }
        panic!("no leader");
    }

    fn members(&self) -> Vec<(MemberName, Client)> {
        let name = |at| MemberName(format!("m{at}"));
        let clients = self.clients.iter().cloned().enumerate();
        clients.map(|(at, client)| (name(at), client)).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn for_a_while(duration: Duration) {
    tokio::time::sleep(duration).await;
}

fn unblemished(findings: &Findings) {
    assert_eq!(findings.faults(), [""; 0]);
    assert_eq!(findings.linearizable, Verdict::Linearizable);
    assert!(findings.members_unread.is_empty());
    assert!(findings.reads.answered > 100, "{}", findings.reads.answered);
    assert!(findings.operations > 100, "{}", findings.operations);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undisturbed_load_is_clean_and_its_judges_are_not_blind() {
    let cluster = Cluster::start(3).await;
    let origin = Instant::now();
    let spec = FillSpec {
        keys: 10_000,
        value_size: 256,
        seed: 1,
    };
    let last = std::sync::Mutex::new((0, 0));
    let count = |done, total| *last.lock().unwrap() = (done, total);
    let filled = fill(&cluster.clients, spec, count).await.unwrap();
    let (done, total) = last.into_inner().unwrap();
    assert_eq!(done, total);
    println!("filled {total} writes in {:?}", origin.elapsed());

    let load = Load::start(cluster.members(), LoadSpec::with_seed(1), origin)
        .await
        .unwrap();
    let from = load.now();
    for_a_while(3 * SECOND).await;
    let window = Window {
        from,
        to: load.now(),
    };
    let counters = load.progress();
    let asked = Instant::now();
    let evidence = load.checkpoint(Some(&filled)).await.unwrap();
    println!("checkpoint took {:?}; {counters:?}", asked.elapsed());
    let findings = evidence.judge(BOUND);
    unblemished(&findings);
    assert!(findings.writes.acknowledged > 500);
    assert!(findings.watch.events >= 3 * counters.acknowledged);
    assert_eq!(findings.fill.as_ref().unwrap().keys, 9_500);
    let gaps = evidence.record.gaps(window);
    println!("{gaps:?}");
    assert!(gaps.acknowledged > 500 && gaps.longest_gap_ms < 1_000);
    assert!(counters.write_latency_us > 0);

    blind_to_nothing(&evidence);
    behind_its_back(&cluster, load, &evidence, &filled).await;
}

/// What is altered in a clean record is found.
fn blind_to_nothing(clean: &Evidence) {
    let mut evidence = clean.clone();
    let removed = evidence.record.watchers[1].events.remove(100);
    let found = evidence.judge(BOUND);
    assert_eq!((found.watch.missing, found.watch.duplicated), (1, 0));
    let told = format!("at revision {} never came", removed.revision);
    assert!(found.watch.faults[0].ends_with(&told));

    let mut evidence = clean.clone();
    let events = &mut evidence.record.watchers[0].events;
    events.insert(51, events[50].clone());
    assert_eq!(evidence.judge(BOUND).watch.duplicated, 1);

    let mut evidence = clean.clone();
    evidence.record.watchers[2].events.swap(60, 61);
    assert_eq!(evidence.judge(BOUND).watch.out_of_order, 1);

    // A read that comes after an acknowledged write and finds nothing.
    let mut evidence = clean.clone();
    let history = &mut evidence.record.history;
    let (register, written) = history
        .iter()
        .find_map(|operation| match operation.end {
            End::Known {
                action: Action::Write(_),
                returned,
            } => Some((operation.register, returned)),
            End::Known { .. } | End::Unknown(_) => None,
        })
        .unwrap();
    let (at, returned) = (0..history.len())
        .rev()
        .find_map(|at| match history[at].end {
            End::Known {
                action: Action::Read(_),
                returned,
            } if history[at].register == register => Some((at, returned)),
            End::Known { .. } | End::Unknown(_) => None,
        })
        .unwrap();
    assert!(history[at].call > written);
    let action = Action::Read(None);
    history[at].end = End::Known { returned, action };
    let Verdict::NotLinearizable(witness) = evidence.judge(BOUND).linearizable else {
        panic!("the stale read passed");
    };
    assert_eq!(witness.culprit, evidence.record.history[at]);
}

/// What is done to the store without the load's knowledge is found.
async fn behind_its_back(cluster: &Cluster, load: Load, clean: &Evidence, filled: &Filled) {
    let acknowledged = &clean.record.ledger.acknowledged;
    let (victim, name) = acknowledged
        .iter()
        .find_map(|write| match (&write.key, write.change) {
            (Key::Unique(Tag { seq: 1, .. }), Change::Put(_)) => {
                Some((&write.key, write.key.to_string()))
            }
            (Key::Unique(_) | Key::Register(_) | Key::Foreign(_), _) => None,
        })
        .unwrap();
    let client = &cluster.clients[0];
    let gone = client.delete(Keys::One(name.as_bytes()), SECOND).await;
    assert_eq!(gone.unwrap().0, 1);
    let foreign = format!("{}stranger", druid_core::oracle::LOAD_PREFIX);
    client
        .put(foreign.as_bytes(), b"x", None, SECOND)
        .await
        .unwrap();
    let fill_key = filled.spec.key(5);
    let value = filled.spec.value(5, 0);
    client
        .put(fill_key.as_bytes(), &value, None, SECOND)
        .await
        .unwrap();
    client.lease_revoke(filled.leases[1], SECOND).await.unwrap();

    let findings = load.stop(Some(filled)).await.unwrap().judge(BOUND);
    assert_eq!(findings.writes.lost, 1);
    assert_eq!(findings.writes.losses.len(), 3, "on each member");
    assert_eq!(&findings.writes.losses[0].key, victim);
    assert_eq!(findings.writes.unwritten.len(), 1);
    assert_eq!(findings.watch.unwritten, 6, "both, to each watcher");
    let fill = findings.fill.unwrap();
    assert_eq!(fill.leases_gone, [filled.leases[1]]);
    assert_eq!(fill.wrong[&fill_key], Wrong::Revision);
    assert_eq!(fill.wrong[&filled.spec.key(15)], Wrong::Gone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_costs_time_and_nothing_else() {
    let mut cluster = Cluster::start(3).await;
    let load = Load::start(cluster.members(), LoadSpec::with_seed(2), Instant::now())
        .await
        .unwrap();
    for_a_while(SECOND).await;
    let leader = cluster.leader().await;
    let from = load.now();
    cluster.end(leader, Signal::SIGKILL);
    for_a_while(4 * SECOND).await;
    let to = load.now();
    let without = load.progress();
    assert_eq!(without.members_up, 2);
    cluster.run(leader, etcd34::etcd_bin_path().unwrap());
    cluster.answers(leader).await;
    for_a_while(SECOND).await;
    assert_eq!(load.progress().members_up, 3);
    let evidence = load.stop(None).await.unwrap();
    let findings = evidence.judge(BOUND);
    unblemished(&findings);
    let gaps = evidence.record.gaps(Window { from, to });
    println!("{gaps:?} {without:?} {:?}", findings.watch);
    assert!(gaps.longest_gap_ms > 500, "no election takes less");
    assert!(gaps.longest_stall_ms >= gaps.longest_gap_ms);
    assert!(gaps.acknowledged > 100, "the others went on");
    assert!(findings.writes.ambiguous > 0, "what was under way");
    assert!(findings.watch.reconnects > 0);
    assert!(findings.writes.acknowledged > without.acknowledged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roll_to_the_next_series_and_back_is_clean() {
    let mut cluster = Cluster::start(3).await;
    for at in 0..3 {
        cluster.arguments[at].push("--initial-cluster-state=existing".to_owned());
    }
    let load = Load::start(cluster.members(), LoadSpec::with_seed(3), Instant::now())
        .await
        .unwrap();
    for_a_while(SECOND).await;
    let (old, new) = (
        etcd34::etcd_bin_path().unwrap(),
        etcd35::etcd_bin_path().unwrap(),
    );
    // The third stays behind, so that the cluster version does and the way back is a plain swap.
    for (etcd, at) in [(&new, 0), (&new, 1), (&old, 0)] {
        let from = load.now();
        cluster.end(at, Signal::SIGTERM);
        cluster.run(at, etcd);
        cluster.answers(at).await;
        for_a_while(SECOND / 2).await;
        let window = Window {
            from,
            to: load.now(),
        };
        let evidence = load.checkpoint(None).await.unwrap();
        println!("{:?}", evidence.record.gaps(window));
        assert_eq!(evidence.judge(BOUND).faults(), [""; 0]);
    }
    let findings = load.stop(None).await.unwrap().judge(BOUND);
    unblemished(&findings);
    assert!(findings.watch.reconnects >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_follower_of_five_is_left_and_taken_back() {
    let cluster = Cluster::start(5).await;
    let load = Load::start(cluster.members(), LoadSpec::with_seed(5), Instant::now())
        .await
        .unwrap();
    for_a_while(SECOND).await;
    let follower = usize::from(cluster.leader().await == 0);
    let from = load.now();
    cluster.signal(follower, Signal::SIGSTOP);
    for_a_while(3 * SECOND).await;
    let window = Window {
        from,
        to: load.now(),
    };
    assert_eq!(load.progress().members_up, 4);
    cluster.signal(follower, Signal::SIGCONT);
    cluster.answers(follower).await;
    for_a_while(SECOND).await;
    assert_eq!(load.progress().members_up, 5);
    let evidence = load.stop(None).await.unwrap();
    let findings = evidence.judge(BOUND);
    unblemished(&findings);
    let gaps = evidence.record.gaps(window);
    println!("{gaps:?} {:?}", findings.watch);
    assert!(gaps.longest_gap_ms < 900, "the others went on");
    assert!(gaps.longest_stall_ms >= 1_000, "its own clients waited");
    assert!(findings.writes.ambiguous > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_member_that_is_killed_keeps_what_it_acknowledged() {
    let mut cluster = Cluster::start(1).await;
    let spec = LoadSpec::with_seed(4);
    let load = Load::start(cluster.members(), spec, Instant::now())
        .await
        .unwrap();
    for_a_while(SECOND).await;
    cluster.end(0, Signal::SIGKILL);
    for_a_while(SECOND / 2).await;
    let failing = load.progress();
    cluster.run(0, etcd34::etcd_bin_path().unwrap());
    cluster.answers(0).await;
    for_a_while(SECOND).await;
    let findings = load.stop(None).await.unwrap().judge(BOUND);
    unblemished(&findings);
    assert!(failing.failed > 0 && failing.since_last_write_us > 300_000);
    assert!(findings.writes.acknowledged > failing.acknowledged);
    assert!(findings.writes.gaps.longest_gap_ms > 500);

    let again = Load::start(cluster.members(), spec, Instant::now()).await;
    assert!(matches!(again, Err(Error::NotEmpty { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_looked_for_in_another_etcd() {
    let mut cluster = Cluster::start(1).await;
    let spec = LoadSpec::with_seed(5);
    let load = Load::start(cluster.members(), spec, Instant::now())
        .await
        .unwrap();
    for_a_while(SECOND).await;
    let stopped = command::Stopped {
        evidence: load.stop(None).await.unwrap(),
        broken: Vec::new(),
        value_size: spec.value_size,
    };
    let (broken, stopped) = stopped.reread(&cluster.clients[0]).await.unwrap();
    assert_eq!(broken, [""; 0]);

    // One that has nothing of it, and is not so far.
    cluster.end(0, Signal::SIGKILL);
    std::fs::remove_dir_all(cluster.data.path().join("0")).unwrap();
    cluster.run(0, etcd34::etcd_bin_path().unwrap());
    cluster.answers(0).await;
    let (broken, stopped) = stopped.reread(&cluster.clients[0]).await.unwrap();
    let unread = |it: &String| it.starts_with("it could not be read: ");
    assert!(broken.iter().any(unread), "{broken:?}");

    for _ in 0..stopped.evidence.until {
        let other = &cluster.clients[0];
        other.put(b"other", b"x", None, SECOND).await.unwrap();
    }
    let (broken, _) = stopped.reread(&cluster.clients[0]).await.unwrap();
    let lost = broken.iter().filter(|it| it.starts_with("lost: ")).count();
    assert!(lost > 100, "{broken:?}");
}

#[tokio::test]
async fn a_load_with_nobody_to_talk_to_does_not_start() {
    let spec = LoadSpec::with_seed(1);
    let none = Load::start(Vec::new(), spec, Instant::now()).await;
    assert!(matches!(none, Err(Error::NoMembers)));
}
