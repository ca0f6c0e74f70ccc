//! `cargo xtask demo upgrade`: the operator takes a cluster under load from etcd 3.4.34 to 3.5.27 and
//! back, for everybody to see.
//!
//! This page is the whole demo. `stage` is what it makes and removes again, `witnesses` are those who
//! tell what happens (the API server, and the load in a pod of its own), `audit` counts what the
//! operator wrote, `told` is how all that reads. What it adds up to is decided in `druid_core::demo`.
#![expect(clippy::print_stdout, reason = "what a developer command says")]

mod audit;
mod stage;
mod told;
mod witnesses;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use druid_core::demo::{Account, Ask, Facts, Passed, Said, Witnessed, report};
use druid_core::report::{Mark, Pass, Report, Snapshot, Step, StepResult};
use jiff::Timestamp;
use serde_json::Value;
use thiserror::Error;

use crate::install::By;
use crate::target;
use stage::Stage;
use witnesses::{Load, Witnesses};

/// The members of `deploy/example.yaml`.
const MEMBERS: usize = 3;
/// How long a pass may take, from the switch of the gate on.
const PASS: Duration = Duration::from_mins(4);
/// How long members may take to be there.
const CREATION: Duration = Duration::from_mins(2);
/// How long the load may take to answer.
const ANSWER: Duration = Duration::from_secs(90);
/// How long the load runs before, between and after the passes, so that there is something to compare
/// with.
const REST: Duration = Duration::from_secs(2);

/// What to show.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Demo {
    /// A cluster of three members under load goes from etcd 3.4.34 to 3.5.27 and back
    ///
    /// In the cluster that is up (`cargo xtask cluster up`), or in your own (--kubeconfig). Installs the operator and makes its images
    /// first if they are not there, and removes what it made in the end, in whatever way it ends.
    /// Exits with 0 only if no acknowledged write was lost, all members ended up with the same data,
    /// each was restarted once per direction, and the leader changed once per direction; with 2 if a
    /// promise was broken, 1 if it could not be held, 130 if it was interrupted.
    Upgrade(Upgrade),
}

/// How to show it.
#[derive(Debug, clap::Args)]
pub(crate) struct Upgrade {
    /// Write report.json, in the shape of that of a rehearsal, into this directory
    #[arg(long, value_name = "DIRECTORY")]
    report: Option<PathBuf>,
    #[command(flatten)]
    cluster: target::Options,
    /// Show it with this Etcd in place of deploy/example.yaml
    ///
    /// For instance with a bucket, which a cluster of several nodes needs. It has three members, a store and no TLS.
    /// Its Secrets can be in the same file, as other documents.
    #[arg(long, value_name = "FILE")]
    etcd: Option<PathBuf>,
    /// Install the operator with Helm, from charts/druid, if it is not there
    #[arg(long)]
    chart: bool,
    /// Build druid without optimisation if there is no image yet
    #[arg(long)]
    debug: bool,
    /// Make the images of this druid instead, wherever it was built
    #[arg(long, value_name = "FILE", hide = true)]
    druid: Option<PathBuf>,
}

/// Why it could not be held.
#[derive(Debug, Error)]
enum DemoError {
    #[error("interrupted")]
    Interrupted,
    #[error("{what} after {}: {last}", seconds(*within))]
    Late {
        what: &'static str,
        within: Duration,
        last: String,
    },
    #[error("{direction}: {phase}: {message}")]
    Stopped {
        direction: Pass,
        phase: String,
        message: String,
    },
    #[error("the load: {0}")]
    Load(String),
    #[error("{0} ended; is the cluster still up (`cargo xtask cluster status`)?")]
    Silent(&'static str),
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

/// Shows it.
pub(crate) fn run(demo: &Demo) -> Result<ExitCode, Box<dyn Error>> {
    let Demo::Upgrade(options) = demo;
    let mut witnesses = Witnesses::new(now())?;
    let mut stage = Stage::new(options.cluster.target(), By::chart(options.chart))?;
    let held = hold(options, &mut stage, &mut witnesses);
    println!("removing what was made");
    let removed = stage.remove();
    let report = match held {
        Ok(report) => report,
        Err(error) => {
            if let Err(error) = removed {
                eprintln!("xtask: {error}");
            }
            if matches!(error.downcast_ref(), Some(DemoError::Interrupted)) {
                eprintln!("xtask: interrupted");
                return Ok(ExitCode::from(130));
            }
            return Err(error);
        }
    };
    println!("\n{}", told::summary(&report));
    if let Some(directory) = &options.report {
        std::fs::create_dir_all(directory)?;
        let path = directory.join("report.json");
        std::fs::write(&path, serde_json::to_string_pretty(&report)? + "\n")?;
        println!("\n  report    {}", path.display());
    }
    removed?;
    Ok(ExitCode::from(report.outcome.exit_code()))
}

fn say(line: &str) {
    println!("{line}");
}

/// The time now.
#[expect(clippy::disallowed_methods, reason = "the clock of developer commands")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// What was done so far.
struct Story {
    started: Timestamp,
    steps: Vec<Step>,
    marks: Vec<Mark>,
}

impl Story {
    /// A step that began at some moment has ended well.
    fn passed(&mut self, name: &str, began: Timestamp, detail: String) {
        let at_ms = since(self.started, began);
        let line = told::line(since(self.started, now()), name);
        println!("{line}: {detail}");
        let label = name.to_owned();
        self.marks.push(Mark { at_ms, label });
        self.steps.push(Step {
            name: name.to_owned(),
            result: StepResult::Passed,
            started: began,
            ended: now(),
            detail,
        });
    }
}

fn since(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or(0)
}

/// Everything, up to the report.
fn hold(
    options: &Upgrade,
    stage: &mut Stage,
    witnesses: &mut Witnesses,
) -> Result<Report, Box<dyn Error>> {
    let mut story = Story {
        started: witnesses.started,
        steps: Vec::new(),
        marks: Vec::new(),
    };
    let began = now();
    stage.install(options.druid.as_deref(), options.debug)?;
    stage.make_namespace()?;
    let detail = "UpgradeEtcdVersion is off".to_owned();
    story.passed("operator", began, detail);

    witnesses.watch(stage)?;
    let began = now();
    stage.make_etcd(options.etcd.as_deref(), story.started)?;
    let create_ms = witnesses.until_ready(began, MEMBERS, CREATION)?;
    let detail = format!("{MEMBERS} members ready after {}", told::seconds(create_ms));
    story.passed("create", began, detail);

    let began = now();
    let mut load = Load::start(stage, witnesses)?;
    witnesses.rest(REST)?;
    let detail = "that of a rehearsal, from a pod".to_owned();
    story.passed("load", began, detail);

    let mut passes = Vec::new();
    let mut snapshot = None;
    for (pass, gate) in [(Pass::Upgrade, true), (Pass::Rollback, false)] {
        let began = now();
        let done = one_pass(pass, gate, stage, witnesses, &mut load)?;
        let took = told::seconds(since(done.switched, done.done));
        let detail = format!("{} -> {} in {took}", done.from, done.to);
        story.passed(&pass.to_string(), began, detail);
        snapshot = snapshot.or_else(|| snapshot_of(witnesses.etcd()));
        passes.push(done);
        witnesses.rest(REST)?;
    }
    let began = now();
    let account = end(&mut load, witnesses)?;
    let writes = account.writes.acknowledged;
    story.passed("check", began, format!("{writes} writes"));
    let ends = passes.iter().skip(1).map(|it| it.switched).chain([now()]);
    let windows: Vec<_> = passes.iter().map(|it| it.switched).zip(ends).collect();
    let writes = stage.audited(&windows)?;
    for (passed, writes) in passes.iter_mut().zip(writes.into_iter().flatten()) {
        passed.operator_writes = Some(writes);
    }
    Ok(report(Facts {
        druid: env!("CARGO_PKG_VERSION").to_owned(),
        command: "cargo xtask demo upgrade".to_owned(),
        started: story.started,
        ended: now(),
        create_ms,
        passes,
        snapshot,
        account,
        steps: story.steps,
        marks: story.marks,
        log: witnesses.log().to_vec(),
    }))
}

/// Switches the gate, and waits until the operator says that it is done.
fn one_pass(
    pass: Pass,
    gate: bool,
    stage: &Stage,
    witnesses: &mut Witnesses,
    load: &mut Load,
) -> Result<Passed, Box<dyn Error>> {
    let restarts_before = witnesses.restarts();
    let snapshots_before = witnesses.snapshots();
    let [old, new] = stage::releases()?;
    let (from, to) = if gate { (old, new) } else { (new, old) };
    println!(
        "{}",
        told::line(
            since(witnesses.started, now()),
            &format!(
                "the gate UpgradeEtcdVersion goes {}",
                if gate { "on" } else { "off" }
            )
        )
    );
    let switched = now();
    stage.switch(gate)?;
    let done = witnesses.until_upgraded(pass, to, PASS)?;
    let ask = Ask::Pass {
        from: switched,
        to: done,
        runs: to,
    };
    let seen = match load.ask(&ask, witnesses, ANSWER)? {
        Said::Passed(seen) => *seen,
        said @ (Said::Started | Said::Ended(_) | Said::Reread(_) | Said::Failed(_)) => {
            return Err(unexpected(&said).into());
        }
    };
    tell(&seen, pass);
    let restarts = witnesses.restarts();
    let more = |(name, now): (&String, &u64)| {
        let before = restarts_before.get(name).copied().unwrap_or(0);
        (name.clone(), now.saturating_sub(before))
    };
    Ok(Passed {
        pass,
        from,
        to,
        switched,
        done,
        seen,
        restarts: restarts.iter().map(more).collect(),
        operator_writes: None,
        snapshots: witnesses.snapshots() - snapshots_before,
    })
}

fn tell(seen: &Witnessed, pass: Pass) {
    for fault in &seen.broken {
        println!("  {pass}: {fault}");
    }
}

fn end(load: &mut Load, witnesses: &mut Witnesses) -> Result<Account, DemoError> {
    match load.ask(&Ask::End, witnesses, ANSWER)? {
        Said::Ended(account) => Ok(*account),
        said @ (Said::Started | Said::Passed(_) | Said::Reread(_) | Said::Failed(_)) => {
            Err(unexpected(&said))
        }
    }
}

fn unexpected(said: &Said) -> DemoError {
    DemoError::Load(match said {
        Said::Failed(why) => why.clone(),
        Said::Started | Said::Passed(_) | Said::Ended(_) | Said::Reread(_) => {
            "it answered another question; please report this".to_owned()
        }
    })
}

/// The snapshot that the status tells of.
fn snapshot_of(etcd: &Value) -> Option<Snapshot> {
    let it = &etcd["status"]["upgrade"]["snapshot"];
    Some(Snapshot {
        revision: it["revision"].as_i64()?,
        bytes: it["size"].as_u64()?,
        sha256: it["sha256"].as_str()?.to_owned(),
    })
}
