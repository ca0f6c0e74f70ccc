//! `cargo xtask chaos`: everything at once, on a real node.
//!
//! This page is the whole run. What is done follows from the seed (`druid_core::chaos`); `stage` is what
//! it is done to, `faults` and `wishes` do it, `seen` looks, `load` writes and reads meanwhile, and what
//! it all came to is judged by `druid_core::chaos` again.
#![expect(clippy::print_stdout, reason = "what a developer command says")]

mod faults;
mod load;
mod seen;
mod stage;
mod store;
mod wishes;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use druid_core::chaos::{Facts, Finding, Plan, Task, judge};
use druid_core::demo::Account;
use serde::Serialize;
use thiserror::Error;

use crate::demo::now;
use crate::interrupts;
use crate::root;
use faults::Faults;
use load::Load;
use seen::{Seen, is_over};
use stage::{MEMBERS, Stage};
use wishes::{Rolls, Tasks};

/// How often it is looked whether there is something to do.
const TICK: Duration = Duration::from_millis(100);
/// How often the API server is asked for everything.
const LOOK: Duration = Duration::from_secs(1);
/// How long it may take to be whole again, after the last fault: a roll of five members may have begun, of
/// which one has to be restored.
const WHOLE: Duration = Duration::from_mins(8);
/// How long the last snapshot may take.
const SNAPSHOT: Duration = Duration::from_mins(2);

/// What to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Chaos {
    /// What is done follows from this number: a seed that found something is tried again with it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how long, without what is made before and looked at after
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    minutes: u32,
    /// Say what would be done, and do nothing
    #[arg(long)]
    plan: bool,
    /// Where to write what was done and seen [default: target/chaos/seed-SEED]
    #[arg(long, value_name = "DIRECTORY")]
    report: Option<PathBuf>,
    /// Build druid without optimisation
    #[arg(long)]
    debug: bool,
    /// This druid instead, wherever it was built
    #[arg(long, value_name = "FILE", hide = true)]
    druid: Option<PathBuf>,
}

/// A person wants it to end.
#[derive(Debug, Error)]
#[error("interrupted")]
struct Interrupted;

/// What was said, and when.
struct Told {
    started: Instant,
    lines: Vec<String>,
}

impl Told {
    fn say(&mut self, what: &str) {
        let at = self.started.elapsed().as_secs_f64();
        let line = format!("[{at:>7.1} s] {what}");
        println!("{line}");
        self.lines.push(line);
    }
}

/// What is written down.
#[derive(Serialize)]
struct Written<'a> {
    plan: &'a Plan,
    minutes: u32,
    rolls: u32,
    told: &'a [String],
    account: &'a Account,
    findings: &'a [Finding],
}

/// Does it.
pub(crate) fn run(options: &Chaos) -> Result<ExitCode, Box<dyn Error>> {
    let plan = Plan::new(options.seed, options.minutes);
    if options.plan {
        show(&plan);
        return Ok(ExitCode::SUCCESS);
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&interrupted);
    interrupts::hear(move || {
        heard.store(true, Ordering::Relaxed);
        true
    })?;
    let directory = options.report.clone();
    let directory =
        directory.unwrap_or_else(|| root().join(format!("target/chaos/seed-{}", options.seed)));
    std::fs::create_dir_all(&directory)?;
    let mut told = Told {
        started: Instant::now(),
        lines: Vec::new(),
    };
    let held = hold(options, &plan, &directory, &interrupted, &mut told);
    let (facts, rolls) = match held {
        Ok(held) => held,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("xtask: interrupted");
            return Ok(ExitCode::from(130));
        }
        Err(error) => return Err(error),
    };
    let findings = judge(&facts);
    let written = Written {
        plan: &plan,
        minutes: options.minutes,
        rolls,
        told: &told.lines,
        account: &facts.account,
        findings: &findings,
    };
    let path = directory.join("chaos.json");
    std::fs::write(&path, serde_json::to_string_pretty(&written)?)?;
    summarize(options, &facts, rolls, &findings);
    println!("  report    {}", path.display());
    Ok(if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}

/// Everything, up to the verdict.
fn hold(
    options: &Chaos,
    plan: &Plan,
    directory: &Path,
    interrupted: &AtomicBool,
    told: &mut Told,
) -> Result<(Facts, u32), Box<dyn Error>> {
    told.say("making a node, the operator, an object store and an Etcd");
    let mut stage = Stage::start(options.druid.as_deref(), options.debug)?;
    let held = live(options, plan, &mut stage, directory, interrupted, told);
    stage.collect(directory);
    held
}

/// The three lanes, and what was seen last.
struct Lanes {
    faults: Faults,
    rolls: Rolls,
    tasks: Tasks,
    seen: Seen,
    looked: Instant,
}

impl Lanes {
    /// One round of everything. `more`: there is to be something new.
    fn go_on(
        &mut self,
        more: bool,
        stage: &mut Stage,
        told: &mut Told,
    ) -> Result<(), Box<dyn Error>> {
        let Self {
            faults,
            rolls,
            tasks,
            seen,
            looked,
        } = self;
        if more {
            faults.go_on(stage, seen, told)?;
        }
        if faults.hides_api_server() || looked.elapsed() < LOOK {
            std::thread::sleep(TICK);
            return Ok(());
        }
        *looked = Instant::now();
        // Between two faults it may still be on its way up.
        if let Ok(now) = stage.look() {
            *seen = now;
            rolls.go_on(more, stage, seen, told);
            tasks.go_on(more, stage, seen, told);
        }
        Ok(())
    }

    /// What is not as it should be when all is over.
    fn missing(&self) -> Option<String> {
        let running = || {
            let mut tasks = self.seen.tasks().into_iter();
            let task = tasks.find(|it| !is_over(&it.state))?;
            Some(format!("the task {} is `{}`", task.name, task.state))
        };
        self.seen
            .missing()
            .or_else(|| self.rolls.missing(&self.seen))
            .or_else(running)
    }
}

/// What can be read is written down after this, however it ends.
fn live(
    options: &Chaos,
    plan: &Plan,
    stage: &mut Stage,
    directory: &Path,
    interrupted: &AtomicBool,
    told: &mut Told,
) -> Result<(Facts, u32), Box<dyn Error>> {
    stage.make()?;
    let origin = now();
    let names = stage.node.address();
    let mut load = Load::start(&stage.druid, MEMBERS, plan.seed, origin, names, directory)?;
    told.say("the load runs");
    let mut lanes = Lanes {
        faults: Faults::new(plan),
        rolls: Rolls::new(plan),
        tasks: Tasks::new(plan),
        seen: stage.look()?,
        looked: Instant::now(),
    };
    let until = Instant::now() + Duration::from_secs(u64::from(options.minutes) * 60);
    let check = || {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Box::<dyn Error>::from(Interrupted));
        }
        Ok(())
    };
    while Instant::now() < until {
        check()?;
        if let Some(why) = load.failed() {
            return Err(format!("the load: {why}").into());
        }
        lanes.go_on(true, stage, told)?;
    }
    lanes.faults.end(stage, told)?;
    told.say("no more faults; waiting until all is well");
    let last = lanes.faults.last();
    let mut not_whole = None;
    loop {
        check()?;
        lanes.go_on(false, stage, told)?;
        match lanes.missing() {
            None => break,
            Some(what) if last.elapsed() > WHOLE => {
                not_whole = Some((last.elapsed().as_secs(), what));
                break;
            }
            Some(_) => {}
        }
    }
    let whole = last.elapsed().as_secs();
    told.say(&format!(
        "{whole} s after the last fault: the last snapshot"
    ));
    let snapshot = last_snapshot(&mut lanes, stage, told);
    let account = load.end()?;
    let backups = snapshot.and_then(|()| stage.verify().map_err(|it| it.to_string()));
    let facts = Facts {
        account,
        not_whole,
        tasks: lanes.seen.tasks(),
        backups: backups.err(),
    };
    Ok((facts, lanes.rolls.done))
}

/// After everything a snapshot is taken at the first attempt.
fn last_snapshot(lanes: &mut Lanes, stage: &mut Stage, told: &mut Told) -> Result<(), String> {
    const NAME: &str = "last";
    stage
        .apply(&[wishes::object(Task::FullSnapshot, NAME)])
        .map_err(|it| it.to_string())?;
    let start = Instant::now();
    while start.elapsed() < SNAPSHOT {
        lanes
            .go_on(false, stage, told)
            .map_err(|it| it.to_string())?;
        match lanes.seen.state(NAME) {
            Some("Succeeded") => return Ok(()),
            Some(state) if is_over(state) => return Err(format!("the last snapshot is {state}")),
            Some(_) | None => {}
        }
    }
    Err(format!(
        "the last snapshot was not taken within {} s",
        SNAPSHOT.as_secs()
    ))
}

fn show(plan: &Plan) {
    println!("faults");
    for turn in &plan.faults {
        println!("  after {:>2} s  {}", turn.rest, turn.what);
    }
    println!("rolls");
    for turn in &plan.rolls {
        println!("  after {:>2} s  {}", turn.rest, turn.what);
    }
    println!("tasks");
    for turn in &plan.tasks {
        println!("  after {:>2} s  {}", turn.rest, turn.what);
    }
}

fn summarize(options: &Chaos, facts: &Facts, rolls: u32, findings: &[Finding]) {
    let Chaos { seed, minutes, .. } = options;
    let word = if findings.is_empty() {
        "PASSED"
    } else {
        "FAILED"
    };
    println!("\n{word}: chaos of seed {seed}, {minutes} min\n");
    for finding in findings {
        println!("  because   {finding}");
    }
    let account = &facts.account;
    let writes = &account.writes;
    println!(
        "  writes    {} acknowledged, {} lost",
        writes.acknowledged, writes.lost
    );
    println!("  rolls     {rolls} done");
    let ended = |state: &str| facts.tasks.iter().filter(|it| it.state == state).count();
    println!(
        "  tasks     {} succeeded, {} failed, {} rejected, {} in all",
        ended("Succeeded"),
        ended("Failed"),
        ended("Rejected"),
        facts.tasks.len()
    );
    println!("  leaders   {} elections", account.leaders.len());
    if !findings.is_empty() {
        println!("  again     cargo xtask chaos --seed {seed} --minutes {minutes}");
    }
}
