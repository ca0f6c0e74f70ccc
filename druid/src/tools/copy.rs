//! `druid copy`: from one store into another, each object checked on its way.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use druid_core::backup::copying::{self, Copy, Limits, Plan};
use druid_core::backup::listing::Listing;
use druid_core::duration::GoDuration;
use jiff::SignedDuration;
use serde::Serialize;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::at::{self, StoreAtError};
use super::output::{self, Format};
use crate::clock;
use crate::report::text;
use crate::restore::carry::{CarryError, carry};
use crate::store::StoreError;
use crate::store::credentials::Env;
use crate::store::flags::{SourceStoreArgs, StoreArgs};
use crate::store::location::{Location, OpenError};

/// Copy the snapshots of one store into another.
///
/// Objects go as they are, packed, and are unpacked on the way to check their digests: what is
/// damaged is not copied. The newest full snapshot and its deltas go first. What is there already is
/// left alone, so that an interrupted copy goes on where it was.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes: 0 all is there, 1 something could not be copied; what was, is whole.

Example:
  druid copy --source-storage-provider=S3 --source-store-container=old --source-store-prefix=etcd-main \\
      --storage-provider=Local --store-container=/backups --store-prefix=etcd-main")]
pub(crate) struct Args {
    #[command(flatten)]
    from: SourceStoreArgs,
    #[command(flatten)]
    to: StoreArgs,
    /// How many full snapshots, with their deltas, the newest first; all if less than 0
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    max_backups_to_copy: i64,
    /// Nothing older than so many days; everything if less than 0
    #[arg(long, value_name = "DAYS", default_value_t = -1, allow_negative_numbers = true)]
    max_backup_age: i64,
    /// How many full snapshots, with their deltas, at a time
    #[arg(long, value_name = "N", default_value_t = 10)]
    max_parallel_copy_operations: usize,
    /// Wait until the source has a final full snapshot
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    wait_for_final_snapshot: bool,
    /// For how long; 0 is for ever
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    wait_for_final_snapshot_timeout: GoDuration,
    /// How to say it
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Error)]
enum Error {
    #[error("--max-parallel-copy-operations is 0; give 1 or more")]
    NoneAtATime,
    #[error("source: {0}")]
    OpenSource(StoreAtError),
    #[error("destination: {0}")]
    OpenDestination(OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the source has no final full snapshot after {0}; it may come later, try again")]
    NoFinal(GoDuration),
    #[error(transparent)]
    Carry(#[from] CarryError),
    #[error("whoever copies died: {0}")]
    Died(#[from] tokio::task::JoinError),
}

/// What was done, for programs.
#[derive(Debug, Default, Serialize)]
struct Report {
    copied: Vec<String>,
    bytes: u64,
    present: usize,
    left_out: usize,
    failed: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

/// Between two looks for a final snapshot.
const LOOK: Duration = Duration::from_secs(5);

/// Copies and says what came of it.
pub(crate) async fn run(args: Args) -> ExitCode {
    match copied(&args).await {
        Err(error) => output::fail("copy", &error),
        Ok(report) => {
            match args.output {
                Format::Json => output::json(&report),
                Format::Text => output::say(&words(&report)),
            }
            if report.failed.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

async fn copied(args: &Args) -> Result<Report, Error> {
    if args.max_parallel_copy_operations == 0 {
        return Err(Error::NoneAtATime);
    }
    let to_flags = args.to.flags();
    let from = at::to_read(&args.from.flags_beside(&to_flags)).map_err(Error::OpenSource)?;
    let to = to_flags.open(&Env::of_process());
    let to = to.map_err(Error::OpenDestination)?;
    let source = listing(&from, args).await?;
    let destination = to.listing().await?;
    let limits = Limits {
        streams: usize::try_from(args.max_backups_to_copy).ok(),
        age: u32::try_from(args.max_backup_age)
            .ok()
            .map(|days| SignedDuration::from_hours(24 * i64::from(days))),
    };
    let plan = copying::plan(&source, &destination, &to.prefix, limits, clock::now());
    let at_once = args.max_parallel_copy_operations;
    let mut report = all(plan, &Arc::new(from), &Arc::new(to), at_once).await?;
    if source.snapshots().is_empty() {
        report.warning = Some(EMPTY.to_owned());
    }
    Ok(report)
}

/// What a misspelled source looks like, too.
const EMPTY: &str =
    "the source has no snapshots: check --source-store-container and --source-store-prefix";

/// The source, once it has what is waited for.
async fn listing(from: &Location, args: &Args) -> Result<Listing, Error> {
    let began = Instant::now();
    let limit = args.wait_for_final_snapshot_timeout;
    loop {
        let listing = from.listing().await?;
        let newest = listing.bases().next();
        let has_final = newest.is_some_and(|it| it.key.name.is_final());
        if has_final || !args.wait_for_final_snapshot {
            return Ok(listing);
        }
        let left = limit.0.saturating_sub(began.elapsed());
        let wait = match (limit.0.is_zero(), left.is_zero()) {
            (true, _) => LOOK,
            (false, true) => return Err(Error::NoFinal(limit)),
            (false, false) => LOOK.min(left),
        };
        tokio::time::sleep(wait).await;
    }
}

async fn all(
    plan: Plan,
    from: &Arc<Location>,
    to: &Arc<Location>,
    at_once: usize,
) -> Result<Report, Error> {
    let mut report = Report {
        present: plan.present,
        left_out: plan.left_out,
        ..Report::default()
    };
    let mut running = JoinSet::new();
    let mut streams = plan.streams.into_iter();
    loop {
        while running.len() < at_once
            && let Some(stream) = streams.next()
        {
            let (from, to, runtime) = (Arc::clone(from), Arc::clone(to), Handle::current());
            running.spawn_blocking(move || one(&runtime, &from, &to, stream));
        }
        let Some(done) = running.join_next().await else {
            return Ok(report);
        };
        let done = done?;
        report.copied.extend(done.copied);
        report.bytes += done.bytes;
        report.failed.extend(done.failed);
    }
}

/// One stream, in its order. What comes after an object that cannot be copied is copied all the
/// same: it may be needed, and a hole is found by whoever restores.
fn one(runtime: &Handle, from: &Location, to: &Location, stream: Vec<Copy>) -> Report {
    let mut report = Report::default();
    for copy in stream {
        match carry(runtime, from, &copy.from, to, &copy.to) {
            Ok(bytes) => {
                report.bytes += bytes;
                report.copied.push(copy.to.to_string());
            }
            Err(error) => report.failed.push(format!("{}: {error}", copy.from.key)),
        }
    }
    report
}

fn words(report: &Report) -> String {
    let mut text = format!(
        "Copied {}, {}; {} there already, {} left out.\n",
        text::counted(report.copied.len() as u64, "object"),
        text::bytes(report.bytes),
        report.present,
        report.left_out,
    );
    if let Some(warning) = &report.warning {
        let _ = writeln!(text, "warning: {warning}");
    }
    for failed in &report.failed {
        let _ = writeln!(text, "NOT COPIED: {failed}");
    }
    text
}
