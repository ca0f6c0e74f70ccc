//! What a member does that its lease tells to hold, to go on alone, to restore or to join.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::common_agent::backed::{ask, await_based, call, put, with_store};
use super::common_agent::{Pod, get};
use super::common_preflight::Release::V3_5_27;
use super::common_preflight::until;
use super::{FLAGS, Namespace, kubeconfig, leads, three_with_one_store};

const INSTRUCTION: &str = "druid.gardener.cloud/recovery";
const REPORT: &str = "druid.gardener.cloud/recovery-report";

impl Namespace {
    /// Tells a member something, as the operator does.
    fn tell(&self, member: &str, order: &str) {
        let told = json!({ "task": "t", "order": order }).to_string();
        let annotation = format!("{INSTRUCTION}={told}");
        let words = [
            "annotate",
            "--overwrite",
            "lease",
            member,
            &annotation,
            "-n",
            self.name,
        ];
        self.cluster.kubectl(&words);
    }

    fn report(&self, member: &str) -> Value {
        let lease = self.leases().remove(member).unwrap_or_default();
        let text = lease["metadata"]["annotations"][REPORT].as_str();
        text.map_or(Value::Null, |it| serde_json::from_str(it).unwrap())
    }

    fn await_report(&self, member: &str, order: &str, state: &str) -> Value {
        let mut report = Value::Null;
        until(&format!("{member} reports {state} of {order}"), || {
            report = self.report(member);
            report["order"] == order && report["state"] == state
        });
        report
    }
}

fn starts(member: &Pod) -> usize {
    member.log("etcd").matches("etcd was started").count()
}

fn members(of: &Pod) -> usize {
    let list = call(of, "/v3/cluster/member/list", &json!({}));
    list["members"].as_array().unwrap().len()
}

fn has(member: &Pod, key: &str) -> bool {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::STANDARD.encode(key);
    !call(member, "/v3/kv/range", &json!({ "key": key }))["kvs"].is_null()
}

/// Directories that were moved aside.
fn aside(member: &Pod) -> usize {
    let parent = member.data_dir().parent().unwrap().to_owned();
    let names = fs::read_dir(parent).unwrap();
    let names = names.map(|it| it.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|it| it.contains(".before-")).count()
}

fn again(member: &mut Pod) {
    member.signal_etcd(Signal::SIGTERM);
    member.etcd_ended();
    member.start_etcd();
    member.await_ready();
}

#[test]
fn a_member_that_is_told_to_hold_waits_and_then_does_as_it_is_told_once() {
    let namespace = Namespace::new("recovery");
    let mut pods = three_with_one_store(&namespace);
    let all = ["a-0", "a-1", "a-2", "a-full-snap", "a-delta-snap"];
    namespace.make(&all, pods.dir.path());
    pods.members.iter_mut().for_each(Pod::start);
    pods.members.iter().for_each(Pod::await_ready);
    let first = leads(&pods);
    let leader = &pods.members[first];
    put(leader, "a", "1");
    let covered = ask(leader, "/snapshot/full")["lastRevision"].clone();
    put(leader, "b", "2");
    let others: Vec<usize> = (0..3).filter(|it| *it != first).collect();
    pods.members.iter_mut().for_each(Pod::kill);
    // One has lost its volume, the other one has the data of before.
    fs::remove_dir_all(pods.members[others[0]].data_dir()).unwrap();

    let started: Vec<usize> = pods.members.iter().map(starts).collect();
    for name in &all[..3] {
        namespace.tell(name, "Hold");
    }
    pods.members.iter_mut().for_each(Pod::start);
    let of = |at: usize| namespace.await_report(all[at], "Hold", "holds")["data"].clone();
    assert_eq!(of(others[0])["is"], "nothing");
    let (survivor, behind) = (of(first), of(others[1]));
    assert_eq!(survivor["is"], "data", "{survivor}");
    assert_eq!(survivor["cluster"], behind["cluster"]);
    assert!(survivor["index"].as_u64() >= behind["index"].as_u64());
    assert!(survivor["revision"].as_i64() > covered.as_i64());
    // No etcd runs, and whoever is asked can tell what the backup is good for.
    let now: Vec<usize> = pods.members.iter().map(starts).collect();
    assert_eq!(now, started);
    let said = get(pods.members[others[0]].sidecar, "/backup/restorable").unwrap();
    let restorable: Value = serde_json::from_str(&said.body).unwrap();
    assert_eq!(restorable["revision"], covered, "{restorable}");
    assert_eq!(restorable["deltas"], 0);
    let said = get(pods.members[others[0]].sidecar, "/snapshot/latest").unwrap();
    assert!(said.body.contains(&format!("\"lastRevision\":{covered}")));

    namespace.tell(all[first], "Alone");
    pods.members[first].await_ready();
    namespace.await_report(all[first], "Alone", "done");
    assert_eq!(members(&pods.members[first]), 1);
    assert!(has(&pods.members[first], "b"));
    put(&pods.members[first], "c", "3");
    for at in others.clone() {
        namespace.tell(all[at], "Join");
        pods.members[at].await_ready();
        namespace.await_report(all[at], "Join", "done");
        assert!(has(&pods.members[at], "c"));
    }
    assert_eq!(members(&pods.members[first]), 3);
    // What the one held is on its volume; the survivor's was not moved.
    let moved = |pods: &super::Pods| pods.members.iter().map(aside).collect::<Vec<_>>();
    let before = moved(&pods);
    assert_eq!(
        (before[first], before[others[0]], before[others[1]]),
        (0, 0, 1)
    );

    // Told once, done once: another start changes nothing, whoever is told what still.
    for at in 0..3 {
        let member = &mut pods.members[at];
        again(member);
        assert!(has(member, "c"), "{}", member.name);
    }
    assert_eq!(members(&pods.members[first]), 3);
    assert_eq!(moved(&pods), before);

    // On a new volume it is done again.
    let member = &mut pods.members[others[1]];
    member.signal_etcd(Signal::SIGTERM);
    member.etcd_ended();
    let data = member.data_dir().parent().unwrap().to_owned();
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    member.start_etcd();
    member.await_ready();
    assert!(has(member, "c"));
    assert_eq!(members(&pods.members[first]), 3);
}

#[test]
fn a_member_restores_the_backup_when_it_is_told_so_and_puts_its_own_data_aside() {
    let namespace = Namespace::new("told-restore");
    let mut pods = three_with_one_store(&namespace);
    let all = ["a-0", "a-1", "a-2", "a-full-snap", "a-delta-snap"];
    namespace.make(&all, pods.dir.path());
    pods.members.iter_mut().for_each(Pod::start);
    pods.members.iter().for_each(Pod::await_ready);
    let first = leads(&pods);
    put(&pods.members[first], "a", "1");
    ask(&pods.members[first], "/snapshot/full");
    put(&pods.members[first], "b", "2");
    pods.members.iter_mut().for_each(Pod::kill);
    // What cannot be read is no instruction, and holds up nobody.
    let broken = format!("{INSTRUCTION}=?");
    namespace
        .cluster
        .kubectl(&["annotate", "lease", "a-1", &broken, "-n", namespace.name]);
    namespace.tell("a-0", "Restore");
    let member = &mut pods.members[0];
    member.start();
    member.await_ready();
    namespace.await_report("a-0", "Restore", "done");
    assert_eq!(members(member), 1);
    assert!(has(member, "a") && !has(member, "b"));
    assert_eq!(aside(member), 1);
    let member = &mut pods.members[1];
    let before = starts(member);
    member.start();
    until("it starts as always", || starts(member) > before);
    assert!(
        member
            .log("server")
            .contains("it is not known whether the cluster is being recovered")
    );
}

#[test]
fn what_a_member_has_done_is_reported_until_it_is_heard() {
    let namespace = Namespace::new("unheard");
    let mut pods = with_store(V3_5_27, &FLAGS);
    let dir = pods.dir.path().to_owned();
    let member = &mut pods.members[0];
    member.namespace = namespace.name.to_owned();
    let (cluster, server) = (&namespace.cluster, namespace.cluster.server());
    fs::write(dir.join("token"), cluster.token(namespace.name, "agent")).unwrap();
    let user = json!({ "tokenFile": "token" });
    member.kubeconfig = Some(kubeconfig(cluster, &dir, server, &user));
    namespace.make(&["a-0"], &dir);
    namespace.allow("agent", "get");
    member.start();
    member.await_ready();
    await_based(member);
    put(member, "a", "1");
    ask(member, "/snapshot/full");
    put(member, "b", "2");
    member.kill();

    namespace.tell("a-0", "Restore");
    member.start();
    member.await_ready();
    assert!(has(member, "a") && !has(member, "b"));
    let log = member.log("server");
    assert!(log.contains("the operator cannot be told"), "{log}");
    assert_eq!(namespace.report("a-0"), Value::Null);
    namespace.allow("agent", "patch");
    namespace.await_report("a-0", "Restore", "done");
}
