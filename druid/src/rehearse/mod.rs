//! `druid rehearse`: the upgrade and the way back, on a throwaway cluster of real processes.
//!
//! [`Rehearsal`] is the whole run on one screen; [`pass`] is one pass over the members, [`host`]
//! and [`worker`] are the two sides of the engine's process, [`verdict`] makes the report.

mod args;
mod error;
mod faults;
mod host;
mod pass;
mod sampler;
mod source;
mod story;
mod verdict;
mod wire;
pub(crate) mod worker;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use druid_core::linearizability;
use druid_core::member::MemberName;
use druid_core::oracle::fill::{FillSpec, Filled};
use druid_core::oracle::findings::{Evidence, Findings};
use druid_core::report::{self, Pass, Report, StepResult};
use druid_core::upgrade::{Limits, Record, SnapshotState};
use druid_core::version::Version;
use jiff::SignedDuration;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use args::Args;
use args::StopAfter;
use error::RehearseError;
use faults::Fault;
use host::Host;
use pass::PassEnd;
use story::Story;
use wire::Kind;

use crate::clock;
use crate::etcd::{Client, Endpoint};
use crate::lab::binaries::Binaries;
use crate::lab::cluster::{Lab, Spec};
use crate::lab::config::Tuning;
use crate::lab::seed::Seed;
use crate::lab::shim::Shim;
use crate::load::{self, Load, LoadSpec};
use crate::report::terminal::{self, Counters, Mode, Ui};
use crate::report::text::{counted, duration};
use crate::witness::check::check;
use crate::witness::seen::Looking;

/// Less free space than this, bytes, and a member cannot go on: its next WAL file takes as much.
const DISK_RESERVE: u64 = 64 << 20;
/// How long the load runs before the first pass, so that there is something to compare with.
const WARM_UP: Duration = Duration::from_secs(1);

/// The engine's limits here. A lab's members are up within a second or two, and stopped by force
/// after 8 s; a backup may be of any size.
pub(super) fn limits() -> Limits {
    Limits {
        member: SignedDuration::from_secs(45),
        snapshot: SignedDuration::from_mins(10),
        ..Limits::default()
    }
}

/// A rehearsal under way.
pub(super) struct Rehearsal {
    args: Args,
    seed: u64,
    story: Story,
    ui: Arc<Ui>,
    /// The longest time without a write that was seen so far, milliseconds.
    longest_gap: u64,
    host: Arc<Host>,
    sampler: Looking,
    /// The load, until it is over; then there is `evidence`.
    load: Option<Load>,
    evidence: Option<Evidence>,
    /// What it was filled with, if it was.
    filled: Option<Filled>,
    /// The backup that it is held on, if it is.
    source: Option<report::Source>,
    warnings: Vec<report::Warning>,
    /// What the cluster runs now.
    runs: Version,
    passes: Vec<(Pass, Version, PassEnd)>,
    snapshot: Option<report::Snapshot>,
    hash_kv: report::HashKv,
    broken: Vec<String>,
}

/// Holds a rehearsal and says how it went. The exit code is that of [`report::Outcome`], 1 if it
/// could not be held, 130 if it was interrupted.
pub(crate) async fn run(args: Args) -> u8 {
    let mode = if args.quiet {
        Mode::Quiet
    } else {
        Mode::detect()
    };
    let ui = Arc::new(Ui::new(mode));
    let (mut terminated, mut hung_up) = match signals() {
        Ok(signals) => signals,
        Err(error) => return fail(&RehearseError::Signals(error)),
    };
    let held = tokio::select! {
        held = hold(args.clone(), ui.clone()) => held,
        _ = tokio::signal::ctrl_c() => Err(RehearseError::Interrupted),
        _ = terminated.recv() => Err(RehearseError::Interrupted),
        _ = hung_up.recv() => Err(RehearseError::Interrupted),
    };
    ui.finish();
    let written = held.and_then(|report| {
        if let Some(directory) = &args.report {
            crate::report::write(&report, directory)?;
        }
        Ok(report)
    });
    match written {
        Ok(report) => {
            let text = terminal::summary(&report, args.report.as_deref());
            // Nobody reads any more: the exit code still tells.
            let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
            report.outcome.exit_code()
        }
        Err(error) => fail(&error),
    }
}

fn signals() -> std::io::Result<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)> {
    Ok((
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    ))
}

fn fail(error: &RehearseError) -> u8 {
    let _ = writeln!(std::io::stderr(), "druid rehearse: {error}");
    error.exit_code()
}

async fn hold(args: Args, ui: Arc<Ui>) -> Result<Report, RehearseError> {
    let needed = args
        .fault
        .iter()
        .map(|fault| (fault.needs_members(), *fault))
        .max();
    if let Some((needed, fault)) = needed.filter(|(needed, _)| *needed > args.members.count()) {
        return Err(faults::FaultError::TooFewMembers {
            fault: fault.name(),
            needed,
        }
        .into());
    }
    let mut story = Story::new(ui.clone());
    story.begin("start", None);
    let runs = if args.has(Fault::DowngradeEnabled) {
        args.to
    } else {
        args.from
    };
    let seed = source::open(&args).await?;
    let lab = Arc::new(start_lab(&args, runs, seed).await?);
    match hold_on(lab.clone(), args, ui, story, runs).await {
        // Whatever went wrong, it went wrong because of this.
        Err(error) if disk_is_full(lab.dir()) => {
            let dir = lab.dir().to_owned();
            Err(RehearseError::DiskFull {
                dir,
                error: Box::new(error),
            })
        }
        held => held,
    }
}

/// Whether hardly anything is left of a disk.
fn disk_is_full(dir: &Path) -> bool {
    let free = nix::sys::statvfs::statvfs(dir)
        .map(|disk| disk.blocks_available().saturating_mul(disk.fragment_size()));
    free.is_ok_and(|free| free < DISK_RESERVE)
}

/// Everything, once there is a lab.
async fn hold_on(
    lab: Arc<Lab>,
    args: Args,
    ui: Arc<Ui>,
    story: Story,
    runs: Version,
) -> Result<Report, RehearseError> {
    let mut rehearsal = prepare(lab, args, ui, story, runs).await?;
    for (pass, to) in rehearsal.plan() {
        if !rehearsal.do_pass(pass, to).await? {
            break;
        }
    }
    let evidence = rehearsal.stop_load().await?;
    let findings = judge(evidence.clone()).await?;
    rehearsal.story.end(StepResult::Passed);
    let report = rehearsal.report(&findings, &evidence.record);
    rehearsal.close().await;
    Ok(report)
}

/// A second or so of pure work.
async fn judge(evidence: Evidence) -> Result<Findings, RehearseError> {
    let judged = tokio::task::spawn_blocking(move || evidence.judge(linearizability::BOUND));
    judged.await.map_err(|_| RehearseError::NoEvidence)
}

/// Everything up to the first pass.
async fn prepare(
    lab: Arc<Lab>,
    args: Args,
    ui: Arc<Ui>,
    mut story: Story,
    runs: Version,
) -> Result<Rehearsal, RehearseError> {
    let seed = args
        .seed
        .unwrap_or_else(|| clock::now().subsec_nanosecond().unsigned_abs().into());
    story.found(format!("{} on {runs}", members(args.members.count())));
    let clients = clients(&lab)?;
    let sampler = sampler::start(lab.clone(), clients.clone(), ui.clone());
    let program = std::env::current_exe().map_err(RehearseError::Program)?;
    let kill_engine = args.has(Fault::KillEngine);
    let host = Arc::new(Host {
        lab,
        clients,
        program,
        kill_engine,
    });

    let (source, warnings) = look_at_source(&args, &host, &mut story).await?;
    let filled = match args.keys() {
        Some(keys) => {
            let spec = FillSpec {
                keys,
                value_size: args.value_size as usize,
                seed,
            };
            Some(fill(&host.clients, spec, &mut story, &ui).await?)
        }
        None => None,
    };
    story.begin("load", None);
    let load = Load::start(
        host.clients.clone(),
        LoadSpec::with_seed(seed),
        story.origin,
    )
    .await?;
    tokio::time::sleep(WARM_UP).await;
    let mut rehearsal = Rehearsal {
        args,
        seed,
        story,
        ui,
        longest_gap: 0,
        host,
        sampler,
        load: Some(load),
        evidence: None,
        filled,
        source,
        warnings,
        runs,
        passes: Vec::new(),
        snapshot: None,
        hash_kv: report::HashKv::default(),
        broken: Vec::new(),
    };
    rehearsal.make_faults().await?;
    Ok(rehearsal)
}

/// What the cluster was restored from, if it was.
async fn look_at_source(
    args: &Args,
    host: &Host,
    story: &mut Story,
) -> Result<(Option<report::Source>, Vec<report::Warning>), RehearseError> {
    let (Some(seeded), Some(store)) = (host.lab.seeded(), &args.from_store) else {
        return Ok((None, Vec::new()));
    };
    story.begin("look at the backup", None);
    let source = source::look(store, seeded, &host.clients).await?;
    let warnings = source::warn(seeded, args.quota(), args.from, args.to);
    story.found(format!(
        "revision {}, {}, {} and {}, restored in {}",
        source.revision,
        counted(source.keys, "key"),
        source.base,
        counted(source.deltas, "delta"),
        duration(source.restore_ms)
    ));
    Ok((Some(source), warnings))
}

async fn fill(
    clients: &[(MemberName, Client)],
    spec: FillSpec,
    story: &mut Story,
    ui: &Ui,
) -> Result<Filled, RehearseError> {
    story.begin("fill", Some(u64::from(spec.keys)));
    let each: Vec<Client> = clients.iter().map(|(_, client)| client.clone()).collect();
    let filled = load::fill(&each, spec, |done, _| ui.step_progress(done)).await?;
    story.found(format!(
        "{} keys of {} bytes, {} leases",
        spec.keys,
        spec.value_size,
        filled.leases.len()
    ));
    Ok(filled)
}

fn members(count: usize) -> String {
    format!("{count} member{}", if count == 1 { "" } else { "s" })
}

async fn start_lab(args: &Args, runs: Version, seed: Option<Seed>) -> Result<Lab, RehearseError> {
    let binaries = Binaries::from_flags(args.etcd.clone(), args.etcd_dir.clone());
    for version in [args.from, args.to] {
        binaries.resolve(version).await?;
    }
    let spec = Spec {
        members: args.members,
        version: runs,
        binaries,
        shim: Shim::of_this_binary().map_err(RehearseError::Program)?,
        parent: args.dir.clone(),
        broken: args.has(Fault::BadImage).then_some(args.to),
        tuning: Tuning {
            quota_backend_bytes: args.quota(),
            ..Tuning::default()
        },
        seed,
    };
    let mut lab = Lab::start(spec).await?;
    if args.keep {
        lab.keep();
    }
    Ok(lab)
}

fn clients(lab: &Lab) -> Result<Vec<(MemberName, Client)>, RehearseError> {
    let client = |(name, url): (MemberName, String)| {
        let endpoint: Endpoint = url.parse()?;
        Ok((name, Client::new(endpoint, None)?))
    };
    lab.client_urls().into_iter().map(client).collect()
}

impl Rehearsal {
    /// The passes that were asked for.
    fn plan(&self) -> Vec<(Pass, Version)> {
        let Args {
            from,
            to,
            stop_after,
            ..
        } = self.args;
        if self.args.has(Fault::DowngradeEnabled) {
            return vec![(Pass::Rollback, from)];
        }
        let all = vec![
            (Pass::Upgrade, to),
            (Pass::Rollback, from),
            (Pass::UpgradeAgain, to),
        ];
        let passes = match stop_after {
            Some(StopAfter::Upgrade) => 1,
            Some(StopAfter::Rollback) => 2,
            None => 3,
        };
        all.into_iter().take(passes).collect()
    }

    /// Makes the faults that are there before the first pass. Clients cannot work under most of
    /// them, so the load is over before.
    async fn make_faults(&mut self) -> Result<(), RehearseError> {
        for fault in self.args.fault.clone() {
            if fault.ends_the_load() {
                self.stop_load().await?;
            }
            self.story.say(&format!("fault: {}", fault.name()));
            faults::make(fault, &self.host.lab, &self.host.clients).await?;
        }
        Ok(())
    }

    fn show_counters(&mut self) {
        let Some(load) = &self.load else { return };
        let now = load.progress();
        self.longest_gap = self.longest_gap.max(now.since_last_write_us / 1000);
        self.ui.counters(Counters {
            acknowledged: now.acknowledged,
            longest_gap_ms: self.longest_gap,
            events: now.events,
        });
    }

    /// Ends the load if it still goes on; what it left behind.
    async fn stop_load(&mut self) -> Result<Evidence, RehearseError> {
        if let Some(load) = self.load.take() {
            self.story.begin("check the load", None);
            self.evidence = Some(load.stop(self.filled.as_ref()).await?);
        }
        self.evidence.clone().ok_or(RehearseError::NoEvidence)
    }

    /// One pass and its verification; false if there is to be no other.
    async fn do_pass(&mut self, pass: Pass, to: Version) -> Result<bool, RehearseError> {
        let end = if self.args.naive_roll {
            self.naive_pass(pass, to).await?
        } else {
            self.pass(pass, to).await?
        };
        if end.kind != Kind::Done {
            self.story.found(end.words.clone());
        }
        self.story.end(pass::result(&end.kind));
        let arrived = end.kind == Kind::Done;
        let goes_on = matches!(end.kind, Kind::Done | Kind::Waits { .. });
        self.passes.push((pass, self.runs, end));
        if arrived {
            self.runs = to;
        }
        if goes_on {
            self.story.begin(&format!("verify {pass}"), None);
            self.verify(arrived.then_some(to)).await?;
            let result = if self.broken.is_empty() {
                StepResult::Passed
            } else {
                StepResult::Failed
            };
            if !self.broken.is_empty() {
                self.story.found(self.broken.join("; "));
            }
            self.story.end(result);
        }
        Ok(goes_on && self.broken.is_empty())
    }

    /// What can be checked while the load goes on: all are well, on the release and the cluster
    /// version that they should be on, hold the same data, and every write so far is there.
    async fn verify(&mut self, version: Option<Version>) -> Result<(), RehearseError> {
        let checked = check(&self.host.clients, version, Duration::ZERO).await;
        self.broken.extend(checked.broken);
        self.hash_kv = checked.hash_kv;
        if let Some(source) = &mut self.source {
            let differ = source::compare(source, &self.host.clients).await?;
            self.broken.extend(differ);
        }
        if let Some(load) = &self.load {
            let evidence = load.checkpoint(self.filled.as_ref()).await?;
            let findings = judge(evidence).await?;
            self.broken.extend(findings.faults());
            let backup = self.source.as_ref().map_or_else(String::new, |source| {
                format!(", {} keys of the backup as they were", source.survived.keys)
            });
            self.story.found(format!(
                "{} writes there on every member, HashKV equal{backup}",
                findings.writes.acknowledged
            ));
        }
        Ok(())
    }

    /// Keeps what the report says of the snapshot.
    fn note_snapshot(&mut self, record: &Record) {
        use druid_core::observed::SnapshotWork;
        let SnapshotState::Verified { .. } = &record.snapshot.state else {
            return;
        };
        let work = self.host.lab.snapshots().work(&record.snapshot_name());
        if let SnapshotWork::Verified {
            revision,
            bytes,
            sha256,
        } = work
        {
            if self
                .story
                .current()
                .is_some_and(|step| step.starts_with("snapshot"))
            {
                self.story.found(format!(
                    "revision {revision}, {bytes} bytes, digest verified"
                ));
            }
            self.snapshot.get_or_insert(report::Snapshot {
                revision,
                bytes,
                sha256,
            });
        }
    }

    async fn close(self) {
        let Self { host, sampler, .. } = self;
        drop(sampler);
        // Whoever still has a hand on it lets go of it soon; dropping it cleans up as well.
        if let Some(host) = Arc::into_inner(host)
            && let Some(lab) = Arc::into_inner(host.lab)
        {
            lab.shutdown().await;
        }
    }
}
