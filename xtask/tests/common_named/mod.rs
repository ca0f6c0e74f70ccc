//! Clusters as a person names them, for tests.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot ask fails")]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use xtask::cluster::Traces;

/// What `up` exits with where containers cannot run.
pub(crate) const UNABLE: i32 = 3;

/// A cluster that only this test knows. It is taken down when the test ends, in whatever way.
pub(crate) struct Named(pub(crate) String);

impl Named {
    pub(crate) fn new(what: &str) -> Self {
        Self(format!("{what}-{}", std::process::id()))
    }

    pub(crate) fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(["cluster", verb, "--name", &self.0])
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, verb: &str) -> Output {
        self.command(verb).output().unwrap()
    }

    pub(crate) fn says(&self, verb: &str) -> String {
        let output = self.run(verb);
        assert!(output.status.success(), "{verb}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn directory(&self) -> PathBuf {
        xtask::root().join("target/cluster").join(&self.0)
    }

    pub(crate) fn record(&self) -> Option<Value> {
        let text = std::fs::read(self.directory().join("cluster.json")).ok()?;
        serde_json::from_slice(&text).unwrap()
    }

    pub(crate) fn pid(&self, process: &str) -> Option<i32> {
        let record = self.record()?;
        let processes = record["processes"].as_array()?;
        let it = processes.iter().find(|it| it["name"] == process)?;
        i32::try_from(it["pid"].as_i64()?).ok()
    }

    pub(crate) fn traces(&self) -> Traces {
        let network = &self.record().unwrap()["network"];
        let device = network["index"].as_u64().map(|it| format!("druid{it}"));
        let init = self.pid("init").unwrap();
        Traces::of(init, device.as_deref(), &self.directory()).unwrap()
    }

    /// False, with the reason printed, where containers cannot run.
    pub(crate) fn up(&self) -> bool {
        let output = self.run("up");
        if output.status.code() == Some(UNABLE) {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            // Not captured as what tests print is.
            let line = format!("skipped: {}\n", why.trim());
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            return false;
        }
        assert!(output.status.success(), "{output:?}");
        true
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.run("down");
    }
}
