//! What is seen of the cluster: what the API server says, and what members say themselves.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use druid_core::chaos::{Health, TaskSeen};
use serde_json::Value;

use super::stage::{ETCD, NAMESPACE};

/// How long a member may take to say how it is.
const PATIENCE: Duration = Duration::from_millis(700);
/// So many entries are on their way to a member that is well.
const ON_THEIR_WAY: f64 = 2_000.0;
/// Where clients go.
const CLIENT_PORT: u16 = 2379;

/// Objects at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) etcd: Value,
    pub(super) tasks: Vec<Value>,
    pods: Vec<Value>,
}

/// A pod of a member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) ordinal: u32,
    pub(super) uid: String,
    pub(super) ip: Option<IpAddr>,
}

impl Member {
    /// The name of its pod.
    pub(super) fn name(&self) -> String {
        format!("{ETCD}-{}", self.ordinal)
    }
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Seen {
    /// From a list of objects of several kinds and namespaces.
    pub(super) fn of(list: &Value) -> Self {
        let mut seen = Self::default();
        for item in list["items"].as_array().into_iter().flatten() {
            match text(&item["kind"]) {
                "Etcd" => seen.etcd = item.clone(),
                "EtcdOpsTask" => seen.tasks.push(item.clone()),
                "Pod" => seen.pods.push(item.clone()),
                _ => {}
            }
        }
        seen
    }

    /// How many members somebody has asked for.
    pub(super) fn replicas(&self) -> u32 {
        let replicas = self.etcd["spec"]["replicas"].as_u64();
        replicas.and_then(|it| u32::try_from(it).ok()).unwrap_or(0)
    }

    /// The members that have a pod, in order.
    pub(super) fn members(&self) -> Vec<Member> {
        let its = |pod: &&Value| text(&pod["metadata"]["namespace"]) == NAMESPACE;
        let mut members: Vec<_> = self
            .pods
            .iter()
            .filter(its)
            .filter_map(|pod| {
                let name = text(&pod["metadata"]["name"]);
                let ordinal = name.strip_prefix(ETCD)?.strip_prefix('-')?;
                Some(Member {
                    ordinal: ordinal.parse().ok()?,
                    uid: text(&pod["metadata"]["uid"]).to_owned(),
                    ip: text(&pod["status"]["podIP"]).parse().ok(),
                })
            })
            .collect();
        members.sort_by_key(|it| it.ordinal);
        members
    }

    /// The member that a plan means, if it has a pod.
    pub(super) fn member(&self, number: u32) -> Option<Member> {
        let ordinal = number % self.replicas().max(1);
        self.members().into_iter().find(|it| it.ordinal == ordinal)
    }

    /// The operator's pods.
    pub(super) fn operators(&self) -> Vec<String> {
        let its = |pod: &&Value| {
            text(&pod["metadata"]["namespace"]) == xtask::deploy::NAMESPACE
                && pod["metadata"]["deletionTimestamp"].is_null()
        };
        let uid = |pod: &Value| text(&pod["metadata"]["uid"]).to_owned();
        self.pods.iter().filter(its).map(uid).collect()
    }

    /// Asks the members themselves.
    pub(super) fn health(&self) -> Vec<(u32, Health)> {
        let members = self.members();
        let answers: Vec<_> = members.iter().map(|it| it.ip.and_then(ask)).collect();
        let applied = answers.iter().flatten().map(|it| it.applied);
        let farthest = applied.fold(0.0, f64::max);
        let judged = members.iter().zip(&answers).map(|(member, answer)| {
            let well = answer
                .as_ref()
                .is_some_and(|it| it.led && it.votes && it.applied + ON_THEIR_WAY >= farthest);
            let health = if well { Health::Well } else { Health::Unwell };
            (member.ordinal, health)
        });
        judged.collect()
    }

    fn condition(&self, kind: &str) -> &str {
        let all = self.etcd["status"]["conditions"].as_array();
        let mut all = all.into_iter().flatten();
        all.find(|it| it["type"] == kind)
            .map_or("", |it| text(&it["status"]))
    }

    /// Why not all is as it should be, by what the operator says.
    pub(super) fn missing(&self) -> Option<String> {
        let status = &self.etcd["status"];
        if status["observedGeneration"] != self.etcd["metadata"]["generation"] {
            return Some("the operator has not seen what is asked for".to_owned());
        }
        let wanted = self.replicas();
        if status["readyReplicas"].as_u64() != Some(wanted.into()) {
            let ready = &status["readyReplicas"];
            return Some(format!("{ready} of {wanted} members are ready"));
        }
        let unmet = ["AllMembersReady", "Ready"]
            .into_iter()
            .find(|it| self.condition(it) != "True");
        if let Some(kind) = unmet {
            let is = self.condition(kind);
            return Some(format!("the condition {kind} is `{is}`"));
        }
        None
    }

    /// Everything about tasks that a verdict is made of.
    pub(super) fn tasks(&self) -> Vec<TaskSeen> {
        self.tasks.iter().map(task).collect()
    }

    /// The state of a task; nothing if it is not there.
    pub(super) fn state(&self, name: &str) -> Option<&str> {
        let mut all = self.tasks.iter();
        let task = all.find(|it| it["metadata"]["name"] == name)?;
        Some(text(&task["status"]["state"]))
    }
}

fn task(task: &Value) -> TaskSeen {
    let status = &task["status"];
    let errors = status["lastErrors"].as_array();
    let error = errors.and_then(|it| it.last()).map(|it| &it["description"]);
    let operation = &status["lastOperation"]["description"];
    let reasons = error.into_iter().chain([operation]);
    let mut reasons = reasons
        .filter_map(Value::as_str)
        .filter(|it| !it.is_empty());
    TaskSeen {
        name: text(&task["metadata"]["name"]).to_owned(),
        state: text(&status["state"]).to_owned(),
        reason: reasons.next().map(str::to_owned),
        gone: false,
    }
}

/// Whether a task has come to its end.
pub(super) fn is_over(state: &str) -> bool {
    ["Succeeded", "Failed", "Rejected"].contains(&state)
}

/// What a member says of itself.
struct Answer {
    led: bool,
    votes: bool,
    applied: f64,
}

/// By its metrics: an etcd with a configuration file has no gateway for JSON.
fn ask(ip: IpAddr) -> Option<Answer> {
    let address = SocketAddr::new(ip, CLIENT_PORT);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut all = std::collections::BTreeMap::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if let Some((name, value)) = line.split_once(' ') {
            all.insert(name.to_owned(), value.parse::<f64>().unwrap_or(f64::NAN));
        }
        // The last one that is asked for, in the order of names; the connection may stay open.
        if line.starts_with("etcd_server_proposals_applied_total ") {
            break;
        }
    }
    let is = |name: &str| all.get(name).map(|value| *value > 0.5);
    Some(Answer {
        led: is("etcd_server_has_leader")?,
        votes: !is("etcd_server_is_learner")?,
        applied: *all.get("etcd_server_proposals_applied_total")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_task_says_its_last_error_or_what_it_does() {
        let with = |status: Value| task(&json!({ "metadata": { "name": "t" }, "status": status }));
        let failed = with(json!({
            "state": "Failed",
            "lastErrors": [{ "description": "one" }, { "description": "two" }],
            "lastOperation": { "description": "did" },
        }));
        assert_eq!(failed.reason.as_deref(), Some("two"));
        let running = with(json!({
            "state": "InProgress", "lastOperation": { "description": "does" },
        }));
        assert_eq!(running.reason.as_deref(), Some("does"));
        assert_eq!(with(json!({})).reason, None);
    }

    /// One member of each release, killed when dropped.
    struct Etcd {
        child: std::process::Child,
        _directory: tempfile::TempDir,
    }

    impl Drop for Etcd {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    #[test]
    fn a_member_says_how_it_is() {
        let programs = crate::etcd::of_the_graph().unwrap();
        for (index, (_, program)) in programs.into_iter().enumerate() {
            let directory = tempfile::tempdir().unwrap();
            // Addresses that nobody else has.
            let own = std::process::id().to_be_bytes();
            let ip = format!("127.{}.{}.{}", own[2] | 1, own[3], index + 2);
            let urls = [format!("http://{ip}:2379"), format!("http://{ip}:2380")];
            let config = directory.path().join("config");
            let text = json!({
                "name": "default", "data-dir": directory.path().join("data"),
                "listen-client-urls": urls[0], "advertise-client-urls": urls[0],
                "listen-peer-urls": urls[1], "initial-advertise-peer-urls": urls[1],
                "initial-cluster": format!("default={}", urls[1]),
            });
            std::fs::write(&config, text.to_string()).unwrap();
            let child = std::process::Command::new(program)
                .arg("--config-file")
                .arg(config)
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            let _etcd = Etcd {
                child,
                _directory: directory,
            };
            let start = std::time::Instant::now();
            let answer = loop {
                match ask(ip.parse().unwrap()) {
                    Some(answer) if answer.led => break answer,
                    _ => assert!(start.elapsed() < Duration::from_secs(20)),
                }
            };
            assert!(answer.votes && answer.applied > 0.0);
        }
    }

    #[test]
    fn a_plan_counts_members_around() {
        let pod = |name: &str| json!({ "kind": "Pod", "metadata": { "name": name, "namespace": NAMESPACE, "uid": name } });
        let seen = Seen::of(&json!({ "items": [
            { "kind": "Etcd", "metadata": { "name": ETCD }, "spec": { "replicas": 3 } },
            pod("main-2"), pod("main-0"), pod("load"),
        ] }));
        assert_eq!(seen.member(5).unwrap().uid, "main-2");
        assert_eq!(seen.member(3).unwrap().uid, "main-0");
        assert!(seen.member(4).is_none());
    }
}
