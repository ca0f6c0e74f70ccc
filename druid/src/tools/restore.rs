//! `druid restore`: the newest chain of a store as the data directory of a member.

use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use druid_core::backup::restorable::{Begin, Loss};
use druid_core::data_dir::{IdentityError, InitialCluster};
use druid_core::member::MemberName;
use serde::Serialize;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::at::{StoreAt, StoreAtError};
use super::output::{self, Format, Shown};
use crate::clock;
use crate::data_dir::{DataDir, DataDirError};
use crate::report::text;
use crate::restore::data_dir::{Options, RestoreDirError, Restored, restore};
use crate::restore::database::Source;
use crate::store::StoreError;

/// Restore the newest backup of a store into the data directory of an etcd member.
///
/// Reads the newest full snapshot and the deltas after it, checks each, and writes the database and
/// the write-ahead log that etcd 3.4, 3.5 and 3.6 start from; no etcd is needed. Every member of a
/// cluster is restored by itself, with the same --initial-cluster and --initial-cluster-token. A
/// data directory that is there is moved aside, and only when the new one is whole.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes: 0 restored, 1 not, and the data directory is as it was.

Examples:
  druid restore /backups/etcd-main --data-dir /var/lib/etcd
  druid restore s3://bucket/etcd-main --data-dir m0.etcd --name m0 \\
      --initial-cluster m0=https://10.0.0.1:2380,m1=https://10.0.0.2:2380,m2=https://10.0.0.3:2380 \\
      --initial-advertise-peer-urls https://10.0.0.1:2380 --initial-cluster-token after-the-fire")]
pub(crate) struct Args {
    #[command(flatten)]
    at: StoreAt,
    /// The data directory.
    #[arg(short, long, value_name = "DIR", default_value = "default.etcd")]
    data_dir: PathBuf,
    /// The name of the member.
    #[arg(long, value_name = "NAME", default_value = "default")]
    name: String,
    /// All members of the new cluster, `NAME=PEER_URL`,...
    #[arg(
        long,
        value_name = "LIST",
        default_value = "default=http://localhost:2380"
    )]
    initial_cluster: String,
    /// A word that members of another cluster do not have; give a new one at each restore.
    #[arg(long, value_name = "WORD", default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// The peer URLs of this member, as in --initial-cluster.
    #[arg(long, value_name = "LIST", default_value = "http://localhost:2380")]
    initial_advertise_peer_urls: String,
    /// Where there is room for one unpacked full snapshot. Beside the data directory if not given.
    #[arg(long, alias = "temp-dir", value_name = "DIR")]
    restoration_temp_snapshots_dir: Option<PathBuf>,
    /// Raise the revision by so much, so that no client goes on from a revision that was lost.
    #[arg(long, value_name = "N", requires = "mark_compacted")]
    bump_revision: Option<NonZeroU32>,
    /// Mark all revisions before as compacted; goes with --bump-revision.
    #[arg(long, requires = "bump_revision")]
    mark_compacted: bool,
    /// How long a lease lives of which the backup does not tell it, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = Options::default().unknown_ttl)]
    lease_ttl: NonZeroU32,
    /// Restore as much as there is when something newer is damaged or missing.
    #[arg(long)]
    accept_loss: bool,
    /// Begin with this full snapshot and not with the newest.
    #[arg(long, value_name = "NAME")]
    base: Option<String>,
    /// How to say it.
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
    /// Accepted; digests are always checked.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    skip_hash_check: Option<String>,
    #[command(flatten)]
    embedded: Embedded,
}

/// Flags of etcdbrctl that tune the etcd inside it; there is none here.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_field_names, reason = "flags of another program")]
pub(super) struct Embedded {
    #[arg(long, hide = true)]
    max_fetchers: Option<String>,
    #[arg(long, hide = true)]
    max_call_send_message_size: Option<String>,
    #[arg(long, hide = true)]
    max_request_bytes: Option<String>,
    #[arg(long, hide = true)]
    max_txn_ops: Option<String>,
    #[arg(long, hide = true)]
    embedded_etcd_quota_bytes: Option<String>,
    #[arg(long, hide = true)]
    auto_compaction_mode: Option<String>,
    #[arg(long, hide = true)]
    auto_compaction_retention: Option<String>,
}

/// Why nothing was restored.
#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    At(#[from] StoreAtError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("--data-dir: {0}")]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Restore(#[from] RestoreDirError),
    #[error("{}: {source}; give another --restoration-temp-snapshots-dir", path.display())]
    Temporary {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("whoever restores died: {0}")]
    Died(#[from] tokio::task::JoinError),
}

/// What was restored, for programs.
#[derive(Serialize)]
struct Report {
    revision: i64,
    base: String,
    deltas: usize,
    rows: u64,
    events: u64,
    skipped_events: u64,
    leases_added: u64,
    bytes: u64,
    milliseconds: u64,
    data_dir: PathBuf,
    moved_aside: Option<PathBuf>,
    lost: Option<String>,
    alarms: Vec<String>,
}

/// Restores and says what came of it.
pub(crate) async fn run(args: Args) -> ExitCode {
    let began = Instant::now();
    let output = args.output;
    let data_dir = args.data_dir.clone();
    match restored(args).await {
        Err(error) => output::fail("restore", &error),
        Ok(restored) => {
            let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let report = report(data_dir, &restored, took);
            match output {
                Format::Json => output::json(&report),
                Format::Text => output::say(&words(&report)),
            }
            ExitCode::SUCCESS
        }
    }
}

async fn restored(args: Args) -> Result<Restored, Error> {
    let cluster = InitialCluster::parse(&args.initial_cluster, &args.initial_cluster_token)?;
    let name = MemberName(args.name.clone());
    let identity = cluster.member(&name, &args.initial_advertise_peer_urls)?;
    let dir = DataDir::new(&args.data_dir)?;
    let location = args.at.open()?;
    let listing = location.listing().await?;
    let runtime = Handle::current();
    let work = tokio::task::spawn_blocking(move || {
        let spool = spool(&args, &dir)?;
        let source = Source {
            runtime: &runtime,
            location: &location,
            listing: &listing,
            begin: args.base.map_or(Begin::Newest, Begin::At),
            loss: if args.accept_loss {
                Loss::Accepted
            } else {
                Loss::Refused
            },
            spool: &spool,
        };
        let options = Options {
            unknown_ttl: args.lease_ttl,
            bump: args.bump_revision,
        };
        let mut shown = Shown::start();
        let now = clock::now();
        let progress = &mut |what: crate::restore::database::Progress<'_>| shown.show(&what);
        let restored = restore(&source, &identity, options, &dir, now, progress)?;
        shown.end();
        Ok(restored)
    });
    work.await?
}

/// Where the base is unpacked; made if it is not there.
fn spool(args: &Args, dir: &DataDir) -> Result<PathBuf, Error> {
    let beside = || dir.path().parent().map(PathBuf::from);
    let given = args.restoration_temp_snapshots_dir.clone();
    let path = given.or_else(beside).unwrap_or_else(std::env::temp_dir);
    match std::fs::create_dir_all(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(Error::Temporary { path, source }),
    }
}

fn report(data_dir: PathBuf, restored: &Restored, milliseconds: u64) -> Report {
    let replayed = &restored.replayed;
    Report {
        revision: replayed.report.revision.get(),
        base: replayed.chain.base.key.to_string(),
        deltas: replayed.chain.deltas.len(),
        rows: replayed.report.rows,
        events: replayed.report.events,
        skipped_events: replayed.report.skipped,
        leases_added: replayed.report.leases_added,
        bytes: replayed.bytes,
        milliseconds,
        data_dir,
        moved_aside: restored.aside.clone(),
        lost: replayed.lost.as_ref().map(ToString::to_string),
        alarms: replayed
            .report
            .alarms
            .iter()
            .map(|it| format!("{it:?}"))
            .collect(),
    }
}

fn words(report: &Report) -> String {
    let mut text = format!(
        "Restored revision {} into {}: {} and {}, {}, {}, {}.\n",
        report.revision,
        report.data_dir.display(),
        report.base.rsplit('/').next().unwrap_or(&report.base),
        text::counted(report.deltas as u64, "delta"),
        text::counted(report.events, "event"),
        text::bytes(report.bytes),
        text::duration(report.milliseconds),
    );
    if let Some(aside) = &report.moved_aside {
        let _ = writeln!(text, "The former data directory is {}.", aside.display());
    }
    if report.leases_added > 0 {
        let leases = text::counted(report.leases_added, "lease");
        let _ = writeln!(
            text,
            "{leases} younger than the full snapshot got a record and will expire."
        );
    }
    for alarm in &report.alarms {
        let _ = writeln!(
            text,
            "warning: the backup was taken under an alarm: {alarm}"
        );
    }
    if let Some(lost) = &report.lost {
        let _ = writeln!(text, "LOST, as was accepted: {lost}");
    }
    text
}
