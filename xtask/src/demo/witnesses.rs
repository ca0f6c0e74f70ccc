//! Those who tell what happens: the API server, asked by kubectl to say each change, and the load, a
//! pod of our image that is asked and answers in lines of JSON. All they say comes in one after the
//! other, and every wait has an end.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use druid_core::api::UpgradeStatus;
use druid_core::demo::{Ask, Said};
use druid_core::report::{LogLine, Pass};
use druid_core::version::Version;
use jiff::Timestamp;
use serde_json::Value;

use super::stage::{ETCD, Stage};
use super::{ANSWER, DemoError, now, since, told};
use crate::interrupts;

/// What is heard.
enum Heard {
    /// An object changed.
    Object(What, Value),
    /// The load said something.
    Load(Said),
    /// Somebody says nothing any more.
    Silent(&'static str),
    /// A person wants it to end.
    Interrupted,
}

/// What came of listening.
enum Next {
    /// An object changed.
    Object,
    /// The load said something.
    Load(Said),
    /// Nothing, and it is time.
    Late,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Etcd,
    Pod,
    Task,
}

/// A program that talks until it is dropped.
struct Talker(Child);

impl Drop for Talker {
    fn drop(&mut self) {
        // If it has ended, that is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What has been heard so far.
pub(super) struct Witnesses {
    pub(super) started: Timestamp,
    tell: Sender<Heard>,
    hear: Receiver<Heard>,
    talkers: Vec<Talker>,
    etcd: Value,
    /// The pods of each member, by uid, and how often a container of each was started again.
    pods: BTreeMap<String, BTreeMap<String, u64>>,
    /// Tasks that took a full snapshot.
    snapshots: BTreeSet<String>,
    told: String,
    log: Vec<LogLine>,
}

impl Witnesses {
    /// Nobody yet but a person at the keyboard: from now on an interrupt is heard, and does not end
    /// this process.
    pub(super) fn new(started: Timestamp) -> Result<Self, Box<dyn Error>> {
        let (tell, hear) = channel();
        let interrupted = tell.clone();
        interrupts::hear(move || interrupted.send(Heard::Interrupted).is_ok())?;
        Ok(Self {
            started,
            tell,
            hear,
            talkers: Vec::new(),
            etcd: Value::Null,
            pods: BTreeMap::new(),
            snapshots: BTreeSet::new(),
            told: "nothing was heard of it".to_owned(),
            log: Vec::new(),
        })
    }

    /// Begins to listen to the API server.
    pub(super) fn watch(&mut self, stage: &Stage) -> Result<(), Box<dyn Error>> {
        for (what, kind) in [
            (What::Etcd, "etcds"),
            (What::Pod, "pods"),
            (What::Task, "etcdopstasks"),
        ] {
            let mut kubectl = stage.kubectl()?;
            kubectl.args([
                "get",
                kind,
                "--watch",
                "--output-watch-events",
                "--output=json",
            ]);
            let mut child = spawn(&mut kubectl)?;
            let output = child.stdout.take();
            self.talkers.push(Talker(child));
            let tell = self.tell.clone();
            std::thread::spawn(move || {
                let events = output.map(|it| {
                    serde_json::Deserializer::from_reader(BufReader::new(it)).into_iter::<Value>()
                });
                for event in events.into_iter().flatten().map_while(Result::ok) {
                    if tell.send(Heard::Object(what, event)).is_err() {
                        return;
                    }
                }
                // Nobody listens any more, or is told.
                let _ = tell.send(Heard::Silent("the API server"));
            });
        }
        Ok(())
    }

    /// The Etcd as it was seen last.
    pub(super) fn etcd(&self) -> &Value {
        &self.etcd
    }

    /// What was said.
    pub(super) fn log(&self) -> &[LogLine] {
        &self.log
    }

    /// How often each member's pod was replaced, or a container in it started again.
    pub(super) fn restarts(&self) -> BTreeMap<String, u64> {
        let restarts = |pods: &BTreeMap<String, u64>| {
            let replaced = pods.len().saturating_sub(1) as u64;
            replaced + pods.values().sum::<u64>()
        };
        let each = self.pods.iter();
        each.map(|(name, pods)| (name.clone(), restarts(pods)))
            .collect()
    }

    /// How many full snapshots were taken.
    pub(super) fn snapshots(&self) -> u64 {
        self.snapshots.len() as u64
    }

    /// Listens for a while.
    pub(super) fn rest(&mut self, time: Duration) -> Result<(), DemoError> {
        let until = Instant::now() + time;
        while !matches!(self.next(until)?, Next::Late) {}
        Ok(())
    }

    /// Waits until all members are ready. Returns how long that took from the Etcd's creation on,
    /// milliseconds.
    pub(super) fn until_ready(
        &mut self,
        began: Timestamp,
        members: usize,
        within: Duration,
    ) -> Result<u64, DemoError> {
        self.until("the members are not ready", within, |it, _| {
            let ready = it.etcd["status"]["readyReplicas"].as_u64();
            let all = ready == Some(members as u64) && it.etcd["status"]["ready"] == true;
            all.then(|| since(began, now()))
        })
    }

    /// Waits until the status says that a pass is over. Returns the moment.
    pub(super) fn until_upgraded(
        &mut self,
        pass: Pass,
        to: Version,
        within: Duration,
    ) -> Result<Timestamp, DemoError> {
        let mut stopped = None;
        let to = to.to_string();
        let done = self.until("the operator is not done", within, |it, _| {
            let status = it.upgrade().filter(|it| it.to.as_deref() == Some(&to))?;
            match status.phase.as_deref() {
                Some("Succeeded") => Some(now()),
                Some(phase @ ("Blocked" | "RolledBack")) => {
                    stopped = Some((phase.to_owned(), status.message.unwrap_or_default()));
                    Some(now())
                }
                Some(_) | None => None,
            }
        })?;
        match stopped {
            None => Ok(done),
            Some((phase, message)) => Err(DemoError::Stopped {
                direction: pass,
                phase,
                message,
            }),
        }
    }

    /// Waits until something is so, which is asked now and whenever something was heard.
    fn until<T>(
        &mut self,
        what: &'static str,
        within: Duration,
        mut done: impl FnMut(&Self, Option<&Said>) -> Option<T>,
    ) -> Result<T, DemoError> {
        let until = Instant::now() + within;
        let mut said = None;
        loop {
            if let Some(done) = done(self, said.as_ref()) {
                return Ok(done);
            }
            said = match self.next(until)? {
                Next::Object => None,
                Next::Load(said) => Some(said),
                Next::Late => {
                    let last = self.told.clone();
                    return Err(DemoError::Late { what, within, last });
                }
            };
        }
    }

    /// The next thing that is heard, unless nothing is until a moment.
    fn next(&mut self, until: Instant) -> Result<Next, DemoError> {
        let time = until.saturating_duration_since(Instant::now());
        match self.hear.recv_timeout(time) {
            Ok(Heard::Object(what, event)) => {
                self.note(what, &event);
                Ok(Next::Object)
            }
            Ok(Heard::Load(Said::Failed(why))) => Err(DemoError::Load(why)),
            Ok(Heard::Load(said)) => Ok(Next::Load(said)),
            Ok(Heard::Silent(who)) => Err(DemoError::Silent(who)),
            Ok(Heard::Interrupted) => Err(DemoError::Interrupted),
            Err(RecvTimeoutError::Timeout) => Ok(Next::Late),
            Err(RecvTimeoutError::Disconnected) => Err(DemoError::Silent("everybody")),
        }
    }

    fn note(&mut self, what: What, event: &Value) {
        let object = &event["object"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (name, uid) = (
            text(&object["metadata"]["name"]),
            text(&object["metadata"]["uid"]),
        );
        match what {
            What::Etcd if name == ETCD => {
                self.etcd = object.clone();
                self.show();
            }
            What::Etcd => {}
            What::Pod => {
                if member(&name).is_none() {
                    return;
                }
                let containers = object["status"]["containerStatuses"].as_array();
                let restarts = containers.into_iter().flatten();
                let restarts = restarts.filter_map(|it| it["restartCount"].as_u64()).sum();
                let known = self.pods.entry(name).or_default().entry(uid).or_default();
                *known = (*known).max(restarts);
            }
            What::Task => {
                let full = object["spec"]["config"]["onDemandSnapshot"]["type"] == "full";
                if full && object["status"]["state"] == "Succeeded" {
                    self.snapshots.insert(uid);
                }
            }
        }
    }

    fn upgrade(&self) -> Option<UpgradeStatus> {
        serde_json::from_value(self.etcd["status"]["upgrade"].clone()).ok()
    }

    /// Says how far it is, if that is news.
    fn show(&mut self) {
        let Some(text) = told::upgrade(&self.etcd) else {
            return;
        };
        if text == self.told {
            return;
        }
        let at_ms = since(self.started, now());
        super::say(&told::line(at_ms, &text));
        self.log.push(LogLine {
            at_ms,
            text: text.clone(),
        });
        self.told = text;
    }
}

/// The number of a member, from the name of its pod.
fn member(pod: &str) -> Option<u32> {
    pod.strip_prefix(ETCD)?.strip_prefix('-')?.parse().ok()
}

fn spawn(kubectl: &mut Command) -> std::io::Result<Child> {
    kubectl
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .spawn()
}

/// The load, in its pod. It ends when it is told to, and when this is dropped.
pub(super) struct Load {
    ask: ChildStdin,
    _talker: Talker,
}

impl Load {
    /// Lets it begin.
    pub(super) fn start(
        stage: &mut Stage,
        witnesses: &mut Witnesses,
    ) -> Result<Self, Box<dyn Error>> {
        let mut attach = stage.make_load(witnesses.started)?;
        let mut child = attach
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let talker = Talker(child);
        let Some((ask, output)) = input.zip(output) else {
            return Err(DemoError::Silent("the load").into());
        };
        let tell = witnesses.tell.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let said = match serde_json::from_str::<Said>(&line) {
                    Ok(said) => said,
                    Err(_) if line.trim().is_empty() => continue,
                    Err(error) => Said::Failed(format!("{error}: {line}")),
                };
                let last = matches!(said, Said::Ended(_));
                if tell.send(Heard::Load(said)).is_err() || last {
                    return;
                }
            }
            // Nobody listens any more, or is told.
            let _ = tell.send(Heard::Silent("the load"));
        });
        let mut load = Self {
            ask,
            _talker: talker,
        };
        match load.ask(&Ask::Start, witnesses, ANSWER)? {
            Said::Started => Ok(load),
            said @ (Said::Passed(_) | Said::Ended(_) | Said::Reread(_) | Said::Failed(_)) => {
                Err(super::unexpected(&said).into())
            }
        }
    }

    /// Asks it, and waits for the answer.
    pub(super) fn ask(
        &mut self,
        ask: &Ask,
        witnesses: &mut Witnesses,
        within: Duration,
    ) -> Result<Said, DemoError> {
        let line = serde_json::to_string(ask).map_err(|it| DemoError::Load(it.to_string()))?;
        writeln!(self.ask, "{line}")
            .and_then(|()| self.ask.flush())
            .map_err(|error| DemoError::Load(error.to_string()))?;
        witnesses.until("the load does not answer", within, |_, said| said.cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_is_replaced_or_started_again_was_restarted() {
        let mut witnesses = Witnesses::new(now()).unwrap();
        let mut pod = |name: &str, uid: &str, restarts: u64| {
            let event = serde_json::json!({ "type": "MODIFIED", "object": {
                "metadata": { "name": name, "uid": uid },
                "status": { "containerStatuses": [{ "restartCount": restarts }, { "restartCount": 0 }] },
            } });
            witnesses.note(What::Pod, &event);
            witnesses.restarts()
        };
        assert_eq!(pod("load", "l", 0), BTreeMap::new());
        assert_eq!(pod("main-0", "a", 0)["main-0"], 0);
        assert_eq!(pod("main-0", "b", 0)["main-0"], 1);
        assert_eq!(pod("main-0", "a", 0)["main-0"], 1);
        assert_eq!(pod("main-0", "b", 2)["main-0"], 3);
    }
}
