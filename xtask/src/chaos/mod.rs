//! `cargo xtask chaos`: everything at once, on a real node.
//!
//! This page is the whole run. What is planned follows from the seed (`druid_core::chaos`); `stage` is what
//! it is done to, `faults` and `wishes` do it, `seen` looks, `load` writes and reads meanwhile, `restored` is
//! what the backups give in the end, and what it all came to is judged by `druid_core::chaos` again.
#![expect(clippy::print_stdout, reason = "what a developer command says")]

mod faults;
mod load;
mod restored;
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

use druid_core::chaos::{self, Facts, FaultSeen, Finding, Plan, Roll, Task, judge};
use druid_core::demo::Account;
use serde::Serialize;
use thiserror::Error;

use crate::demo::now;
use crate::interrupts;
use crate::root;
use faults::Faults;
use load::Load;
use restored::Restored;
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
    /// What is planned follows from this number: a seed that found something is tried again with it
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
    /// What ended the run before its time, if it was no finding.
    ended_by: Option<String>,
    told: &'a [String],
    faults: &'a [FaultSeen],
    rolls: &'a [Roll],
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
    let mut facts = Facts::default();
    let held = hold(
        options,
        &plan,
        &directory,
        &interrupted,
        &mut told,
        &mut facts,
    );
    let findings = judge(&plan, &facts);
    let written = Written {
        plan: &plan,
        ended_by: held.as_ref().err().map(ToString::to_string),
        told: &told.lines,
        faults: &facts.faults,
        rolls: &facts.rolls,
        account: &facts.account,
        findings: &findings,
    };
    let path = directory.join("chaos.json");
    std::fs::write(&path, serde_json::to_string_pretty(&written)?)?;
    match held {
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("xtask: interrupted");
            return Ok(ExitCode::from(130));
        }
        held => held?,
    }
    summarize(options, &facts, &findings);
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
    facts: &mut Facts,
) -> Result<(), Box<dyn Error>> {
    told.say("making a node, the operator, an object store and an Etcd");
    let mut stage = Stage::start(options.druid.as_deref(), options.debug)?;
    let check = || {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Box::<dyn Error>::from(Interrupted));
        }
        Ok(())
    };
    let held = live(plan, &mut stage, directory, &check, told, facts);
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
    /// All tasks that there ever were.
    ever: chaos::Tasks,
}

impl Lanes {
    fn new(plan: &Plan, stage: &Stage) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            faults: Faults::new(plan),
            rolls: Rolls::new(plan),
            tasks: Tasks::new(plan),
            seen: stage.look()?,
            looked: Instant::now(),
            ever: chaos::Tasks::default(),
        })
    }

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
            ever,
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
            ever.look(seen.tasks());
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

/// Whether to go on: an error if a person wants an end.
type Check<'a> = &'a dyn Fn() -> Result<(), Box<dyn Error>>;

/// All that is done. `facts` has what is known of it, however it ends.
fn live(
    plan: &Plan,
    stage: &mut Stage,
    directory: &Path,
    check: Check<'_>,
    told: &mut Told,
    facts: &mut Facts,
) -> Result<(), Box<dyn Error>> {
    stage.make()?;
    let names = stage.node.address();
    let mut load = Load::start(&stage.druid, MEMBERS, plan.seed, now(), names, directory)?;
    told.say("the load runs");
    let mut lanes = Lanes::new(plan, stage)?;
    let lasted = rage(plan, stage, &mut lanes, &load, check, told);
    let lasted = lasted.and_then(|()| settle(stage, &mut lanes, check, told, facts));
    // Whoever wants an end does not wait for what it all came to.
    if check().is_ok() {
        facts.account = load.stop();
    }
    let snapshot = match &lasted {
        Ok(()) => last_snapshot(&mut lanes, stage, told),
        Err(_) => Ok(()),
    };
    facts.faults.clone_from(&lanes.faults.seen);
    facts.rolls.clone_from(&lanes.rolls.done);
    facts.tasks = lanes.ever.all();
    lasted?;
    let backups = snapshot.and_then(|()| stage.verify().map_err(|it| it.to_string()));
    facts.backups = backups.err();
    told.say("the backups are restored");
    let restored = Restored::start(stage, directory);
    let reread = restored.and_then(|it| load.reread(&it.url()));
    facts.restored = reread.unwrap_or_else(|why| vec![why.to_string()]);
    Ok(())
}

/// Everything at once, for as long as it was asked for, or as long as there is a load.
fn rage(
    plan: &Plan,
    stage: &mut Stage,
    lanes: &mut Lanes,
    load: &Load,
    check: Check<'_>,
    told: &mut Told,
) -> Result<(), Box<dyn Error>> {
    let until = Instant::now() + Duration::from_secs(u64::from(plan.minutes) * 60);
    while Instant::now() < until {
        check()?;
        if let Some(why) = load.failed() {
            told.say(&format!("the load: {why}"));
            break;
        }
        lanes.go_on(true, stage, told)?;
    }
    lanes.faults.end(stage, told)
}

/// Waits until all is well again, or for so long that it is a finding.
fn settle(
    stage: &mut Stage,
    lanes: &mut Lanes,
    check: Check<'_>,
    told: &mut Told,
    facts: &mut Facts,
) -> Result<(), Box<dyn Error>> {
    told.say("no more faults; waiting until all is well");
    let last = lanes.faults.last();
    loop {
        check()?;
        lanes.go_on(false, stage, told)?;
        let seconds = last.elapsed().as_secs();
        match lanes.missing() {
            None => {
                told.say(&format!("all is well {seconds} s after the last fault"));
                return Ok(());
            }
            Some(what) if last.elapsed() > WHOLE => {
                facts.not_whole = Some((seconds, what));
                return Ok(());
            }
            Some(_) => {}
        }
    }
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

fn summarize(options: &Chaos, facts: &Facts, findings: &[Finding]) {
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
    let (skipped, done): (Vec<_>, Vec<_>) =
        facts.faults.iter().partition(|it| it.skipped.is_some());
    println!("  faults    {}, {} skipped", done.len(), skipped.len());
    let rolls = |kind: &dyn Fn(&Roll) -> bool| facts.rolls.iter().filter(|it| kind(it)).count();
    println!(
        "  rolls     {} upgrades, {} ways back, {} scalings",
        rolls(&|it| *it == Roll::Upgrade),
        rolls(&|it| *it == Roll::Rollback),
        rolls(&|it| matches!(it, Roll::Scale(_)))
    );
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
