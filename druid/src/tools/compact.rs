//! `druid compact`: the newest chain as one full snapshot.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgAction::Set;
use druid_core::backup::restorable::{Begin, Loss};
use serde::Serialize;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::at::{StoreAt, StoreAtError};
use super::output::{self, Format, Shown};
use crate::clock;
use crate::report::text;
use crate::restore::compact::{CompactError, Compacted, compact};
use crate::restore::database::{Progress, Source};
use crate::server::leases::Leases;
use crate::server::{self, ApiError};
use crate::store::StoreError;

/// Make one full snapshot of the newest one and the deltas after it.
///
/// It holds what etcd would hold after a compaction at the last revision and a defragmentation: the
/// last value of every key. No etcd is needed. A restore is quicker with it, and what it replaces
/// stays until garbage collection takes it. It is read back before the command says that it is there.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes: 0 the new full snapshot is in the store, 1 it is not, and the store is as it was. A lease
that cannot be renewed is told, and changes nothing.

Example:
  druid compact s3://bucket/etcd-main")]
pub(crate) struct Args {
    #[command(flatten)]
    at: StoreAt,
    /// Where there is room for the unpacked database, twice. The system's place for such things if
    /// not given.
    #[arg(long, alias = "restoration-temp-snapshots-dir", value_name = "DIR")]
    temp_dir: Option<PathBuf>,
    /// How to say it.
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
    /// Whether to tell of the new snapshot in its Kubernetes lease, where there is an API server
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", action = Set, value_name = "BOOL")]
    enable_snapshot_lease_renewal: bool,
    /// The lease of full snapshots, in the namespace `POD_NAMESPACE`
    #[arg(long, default_value = "full-snapshot-revisions", value_name = "NAME")]
    full_snapshot_lease_name: String,
    /// Accepted: the lease of deltas stays as it is
    #[arg(long, hide = true)]
    delta_snapshot_lease_name: Option<String>,
    /// Accepted: nothing is restored into a data directory
    #[arg(short, long, hide = true)]
    data_dir: Option<PathBuf>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    defragment: Option<String>,
    #[arg(long, hide = true)]
    metrics_scrape_wait_duration: Option<String>,
    #[arg(long, hide = true)]
    etcd_snapshot_timeout: Option<String>,
    #[arg(long, hide = true)]
    etcd_defrag_timeout: Option<String>,
    #[command(flatten)]
    embedded: super::restore::Embedded,
}

#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    At(#[from] StoreAtError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Compact(#[from] CompactError),
    #[error("--enable-snapshot-lease-renewal: {0}")]
    Api(#[from] ApiError),
    #[error("{}: {source}; give another --temp-dir", path.display())]
    Temporary {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("whoever compacts died: {0}")]
    Died(#[from] tokio::task::JoinError),
}

/// What was done, for programs.
#[derive(Serialize)]
struct Report {
    object: String,
    revision: i64,
    bytes: Option<u64>,
    unpacked: u64,
    base: String,
    deltas: usize,
    rows_before: u64,
    rows: u64,
    milliseconds: u64,
    lease_renewed: bool,
}

/// Compacts and says what came of it.
pub(crate) async fn run(args: Args) -> ExitCode {
    let began = Instant::now();
    let output = args.output;
    let lease = args
        .enable_snapshot_lease_renewal
        .then(|| args.full_snapshot_lease_name.clone());
    match compacted(args).await {
        Err(error) => output::fail("compact", &error),
        Ok((compacted, leases)) => {
            let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let lease_renewed = match &lease {
                Some(name) => renew(&leases, name, &compacted).await,
                None => false,
            };
            let report = report(&compacted, took, lease_renewed);
            match output {
                Format::Json => output::json(&report),
                Format::Text => output::say(&words(&report)),
            }
            ExitCode::SUCCESS
        }
    }
}

/// Whether the lease says it now. If not, says why.
async fn renew(leases: &Leases, name: &str, compacted: &Compacted) -> bool {
    let (last, created) = {
        let name = &compacted.object.key.name;
        (name.last(), name.created().time())
    };
    let why = match leases.tell_full(name, last, created).await {
        Ok(true) => return true,
        Ok(false) => {
            "there is no API server (set POD_NAME, POD_NAMESPACE and, outside of a pod, KUBECONFIG)"
                .to_owned()
        }
        Err(error) => error.to_string(),
    };
    let why = format!("the snapshot is in the store; lease {name} is not renewed: {why}");
    output::warn("compact", &why);
    false
}

async fn compacted(args: Args) -> Result<(Compacted, Leases), Error> {
    // One that cannot be reached is an error only once there is something to tell.
    let leases = if args.enable_snapshot_lease_renewal {
        server::leases()?
    } else {
        Leases::new(None)
    };
    let location = args.at.open()?;
    let listing = location.listing().await?;
    let runtime = Handle::current();
    let work = tokio::task::spawn_blocking(move || {
        let path = args.temp_dir.unwrap_or_else(std::env::temp_dir);
        if let Err(source) = std::fs::create_dir_all(&path) {
            return Err(Error::Temporary { path, source });
        }
        let source = Source {
            runtime: &runtime,
            location: &location,
            listing: &listing,
            begin: Begin::Newest,
            loss: Loss::Refused,
            spool: &path,
        };
        let mut shown = Shown::start();
        let now = clock::now();
        let compacted = compact(&source, now, &mut |what: Progress<'_>| shown.show(&what))?;
        shown.end();
        Ok(compacted)
    });
    Ok((work.await??, leases))
}

fn report(compacted: &Compacted, milliseconds: u64, lease_renewed: bool) -> Report {
    let Compacted {
        replayed,
        report,
        object,
        unpacked,
    } = compacted;
    Report {
        object: object.key.to_string(),
        revision: report.revision.get(),
        bytes: object.bytes,
        unpacked: *unpacked,
        base: replayed.chain.base.key.to_string(),
        deltas: replayed.chain.deltas.len(),
        rows_before: report.rows_before,
        rows: report.rows,
        milliseconds,
        lease_renewed,
    }
}

fn words(report: &Report) -> String {
    format!(
        "Compacted {} and {} into {}: revision {}, {} of {} rows are left, {}, packed {}, {}.",
        report.base.rsplit('/').next().unwrap_or(&report.base),
        text::counted(report.deltas as u64, "delta"),
        report.object,
        report.revision,
        text::grouped(report.rows),
        text::grouped(report.rows_before),
        text::bytes(report.unpacked),
        text::bytes(report.bytes.unwrap_or(0)),
        text::duration(report.milliseconds),
    )
}
