//! Runs `druid rehearse` and reads what it says.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test helper: whatever goes wrong fails the test"
)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use druid_core::report::Report;
use tempfile::TempDir;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn old() -> String {
    etcd34::etcd_bin_path().unwrap().display().to_string()
}

pub(crate) fn new() -> String {
    etcd35::etcd_bin_path().unwrap().display().to_string()
}

/// A rehearsal that has been held.
pub(crate) struct Held {
    pub(crate) code: i32,
    /// Everything that it said.
    pub(crate) text: String,
    reports: TempDir,
}

/// Holds one with these words, and checks that nothing is left of it.
pub(crate) fn rehearse(words: &[&str]) -> Held {
    rehearse_in(
        None,
        words,
        &format!("3.4.34={}", old()),
        &format!("3.5.27={}", new()),
    )
}

pub(crate) fn rehearse_in(dir: Option<&Path>, words: &[&str], old: &str, new: &str) -> Held {
    let _turn = turn();
    let reports = tempfile::tempdir().unwrap();
    let labs = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_druid"));
    command
        .arg("rehearse")
        .args(["--etcd", old, "--etcd", new])
        .arg("--report")
        .arg(reports.path());
    if !words.contains(&"--dir") {
        command.arg("--dir").arg(dir.unwrap_or(labs.path()));
    }
    let output = command.args(words).stdin(Stdio::null()).output().unwrap();
    no_orphans(labs.path());
    let left: Vec<_> = std::fs::read_dir(labs.path()).unwrap().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let text = [output.stderr, output.stdout].map(|said| String::from_utf8(said).unwrap());
    Held {
        code: output.status.code().unwrap(),
        text: text.concat(),
        reports,
    }
}

impl Held {
    pub(crate) fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.reports.path().join(name)).unwrap_or_else(|error| {
            panic!("{name}: {error}; it said:\n{}", self.text);
        })
    }

    pub(crate) fn report(&self) -> Report {
        serde_json::from_str(&self.file("report.json")).unwrap()
    }

    /// How many lines have these words in them.
    pub(crate) fn count(&self, words: &str) -> usize {
        self.text
            .lines()
            .filter(|line| line.contains(words))
            .count()
    }

    /// Every act, once.
    pub(crate) fn acts(&self) -> Vec<String> {
        let log = self.report().log.into_iter().map(|line| line.text);
        let acts: std::collections::BTreeSet<String> = log.filter(|text| is_act(text)).collect();
        acts.into_iter().collect()
    }

    /// The acts of each step, with the members named by the order in which the step restarts them:
    /// that depends on who leads, and nothing else does.
    pub(crate) fn transcript(&self) -> String {
        let report = self.report();
        let mut lines: Vec<(u64, String)> = report
            .timeline
            .marks
            .iter()
            .map(|mark| (mark.at_ms, mark.label.clone()))
            .collect();
        let acts = report.log.iter().filter(|line| is_act(&line.text));
        lines.extend(acts.map(|line| (line.at_ms, format!("  {}", line.text))));
        lines.sort_by_key(|(at, _)| *at);
        let mut text = String::new();
        let mut names: Vec<String> = Vec::new();
        // From the end, so that the names of a pass are known when its leader moves.
        for (_, line) in lines.into_iter().rev() {
            if !line.starts_with("  ") {
                for (name, new) in names.drain(..).rev().zip(["first", "second", "third"]) {
                    text = text.replace(&name, new);
                }
            }
            names.extend(line.strip_prefix("  restart ").map(str::to_owned));
            text = format!("{line}\n{text}");
        }
        text
    }
}

fn is_act(text: &str) -> bool {
    const ACTS: &[&str] = &[
        "take full snapshot",
        "verify snapshot",
        "let restarted",
        "restart etcd-",
        "move the",
    ];
    ACTS.iter().any(|act| text.starts_with(act))
}

/// A rehearsal under way.
pub(crate) struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
    _turn: MutexGuard<'static, ()>,
}

pub(crate) fn start(dir: &Path, words: &[&str]) -> Running {
    let turn = turn();
    let mut child = Command::new(env!("CARGO_BIN_EXE_druid"))
        .arg("rehearse")
        .args([
            "--etcd",
            &format!("3.4.34={}", old()),
            "--etcd",
            &format!("3.5.27={}", new()),
        ])
        .arg("--dir")
        .arg(dir)
        .args(words)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    Running {
        child,
        lines,
        _turn: turn,
    }
}

impl Running {
    pub(crate) fn wait_for(&mut self, words: &str) {
        for line in self.lines.by_ref() {
            if line.unwrap().contains(words) {
                return;
            }
        }
        panic!("it never said `{words}`");
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Its exit code; `None` if a signal ended it.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// No process has anything to do with this directory, soon.
pub(crate) fn no_orphans(dir: &Path) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = users_of(dir);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left behind: {left:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The command lines of the processes that name a directory, `druid` itself aside.
fn users_of(dir: &Path) -> Vec<String> {
    let dir = dir.display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let command = |process: std::fs::DirEntry| {
        let bytes = std::fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
    };
    processes
        .filter_map(command)
        .filter(|command| command.contains(&dir))
        .collect()
}
