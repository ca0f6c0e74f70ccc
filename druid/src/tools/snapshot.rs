//! `druid snapshot`: backups of a running etcd, once or until it is stopped.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use druid_core::backup::Revision;
use druid_core::backup::listing::Object;
use druid_core::backup::snapshotter::{Answer, Denial, StoreView};
use serde::Serialize;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::at::{StoreAt, StoreAtError};
use super::output::{self, Format};
use crate::backup::full::{self, FullError, Request};
use crate::backup::snapshots::{self, Leadership, Notice, Options};
use crate::clock;
use crate::etcd::{Client, Endpoint, Login, Tls, TlsError};
use crate::server::snapshot_args::{SnapshotArgs, SnapshotArgsError};
use crate::store::StoreError;
use crate::store::credentials::Env;
use crate::store::location::Location;

/// Back up a running etcd into a store: once, or until it is stopped.
///
/// Without --once it takes full snapshots on --schedule and deltas in between, collects what is too
/// old, and stores what is left when it is told to stop (SIGTERM). Only one such program may write a
/// store.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes: 0 done, or stopped in good order, 1 not.

Examples:
  druid snapshot --once full /backups/etcd-main --endpoints http://127.0.0.1:2379
  druid snapshot s3://bucket/etcd-main --endpoints https://10.0.0.1:2379 \\
      --cacert ca.crt --cert client.crt --key client.key --delta-snapshot-period 1m")]
pub(crate) struct Args {
    #[command(flatten)]
    at: StoreAt,
    /// Take one, say what it is, and end.
    #[arg(long, value_enum, value_name = "KIND")]
    once: Option<Once>,
    /// Mark a full snapshot as the last one before the cluster moves elsewhere.
    #[arg(long, requires = "once")]
    r#final: bool,
    /// The client URL of a member.
    #[arg(
        short,
        long,
        default_value = "http://127.0.0.1:2379",
        value_name = "URL"
    )]
    endpoints: Endpoint,
    /// The CA of the member, PEM.
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Our certificate for it, PEM.
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The user of etcd, if authentication is on.
    #[arg(long, value_name = "NAME", requires = "etcd_password")]
    etcd_username: Option<String>,
    /// Its password.
    #[arg(
        long,
        value_name = "WORD",
        requires = "etcd_username",
        env = "ETCD_PASSWORD",
        hide_env_values = true
    )]
    etcd_password: Option<String>,
    #[command(flatten)]
    snapshots: SnapshotArgs,
    /// How to say it.
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// `--once`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Once {
    /// All of it.
    Full,
    /// What changed since the last snapshot; a full one if there is none.
    Delta,
}

#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    At(#[from] StoreAtError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Etcd(#[from] crate::etcd::Error),
    #[error(transparent)]
    Options(#[from] SnapshotArgsError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Full(#[from] FullError),
    #[error("{0}")]
    Denied(#[from] Denial),
    #[error("no snapshot within {within:?}, see --etcd-snapshot-timeout{last_failure}")]
    TimedOut {
        within: Duration,
        last_failure: String,
    },
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
    #[error("the snapshotter died: {0}")]
    Died(#[from] tokio::task::JoinError),
}

/// What was taken, for programs.
#[derive(Serialize)]
struct Taken {
    object: Option<String>,
    last: Option<i64>,
    bytes: Option<u64>,
}

/// How long the last upload may take after a signal.
const FLUSH: Duration = Duration::from_mins(1);

/// Takes them.
pub(crate) async fn run(args: Args) -> ExitCode {
    let output = args.output;
    let taken = match args.once {
        Some(once) => one(&args, once).await,
        None => match until_stopped(&args).await {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => Err(error),
        },
    };
    match taken {
        Err(error) => output::fail("snapshot", &error),
        Ok(object) => {
            let taken = Taken {
                object: object.as_ref().map(|it| it.key.to_string()),
                last: object.as_ref().map(|it| it.key.name.last().get()),
                bytes: object.and_then(|it| it.bytes),
            };
            match output {
                Format::Json => output::json(&taken),
                Format::Text => output::say(taken.object.as_deref().unwrap_or("nothing happened")),
            }
            ExitCode::SUCCESS
        }
    }
}

/// What all of it needs.
fn parts(args: &Args) -> Result<(Client, Location, Options), Error> {
    let flags = args.at.flags()?;
    let location = flags.open(&Env::of_process()).map_err(StoreAtError::from)?;
    let tls = Tls {
        ca: args.cacert.clone(),
        cert: args.cert.clone(),
        key: args.key.clone(),
    };
    let login = args.etcd_username.clone().zip(args.etcd_password.clone());
    let login = login.map(|(name, password)| Login::new(name, password));
    let client = Client::new(args.endpoints.clone(), tls.read()?.as_ref())?;
    let client = client.with_login(login.as_ref());
    let temporary = args.at.temporary().to_owned();
    let prefix = location.prefix.clone();
    let now = clock::now();
    let provider = flags.provider.ok_or(StoreAtError::Missing)?;
    let snapshots = &args.snapshots;
    let options = snapshots.options(provider, prefix, temporary, now)?;
    Ok((client, location, options))
}

async fn one(args: &Args, once: Once) -> Result<Option<Object>, Error> {
    let (client, location, options) = parts(args)?;
    match once {
        Once::Full => {
            not_behind(&client, &location).await?;
            let request = Request {
                prefix: options.prefix,
                packing: options.packing,
                threads: options.threads,
                is_final: args.r#final,
                unless: None,
                timeout: options.snapshot_timeout,
            };
            // Held to the end: what is dropped is a wish to stop.
            let (_stop, cancel) = oneshot::channel();
            let (say, mut heard) = mpsc::channel(4);
            let listener = tokio::spawn(async move { while heard.recv().await.is_some() {} });
            let taken = full::take(&request, &client, &location.store, &say, cancel).await;
            drop(say);
            listener.await?;
            Ok(taken?)
        }
        Once::Delta => {
            let within = options.snapshot_timeout;
            let (handle, task) = snapshots::start(options, always(client), location.store);
            let notices = handle.notices();
            handle.lead(Leadership::Led).await;
            let answer = handle.delta(within).await;
            handle.stop(FLUSH).await;
            task.await?;
            match answer {
                Answer::Taken(object) => Ok(Some(*object)),
                // It may have been taken before it was asked for.
                Answer::Nothing => Ok(last_of(notices)),
                Answer::Refused(Denial::TimedOut { last_failure }) => Err(Error::TimedOut {
                    within,
                    last_failure,
                }),
                Answer::Refused(denial) => Err(denial.into()),
            }
        }
    }
}

/// The last snapshot that was taken.
fn last_of(mut notices: broadcast::Receiver<Notice>) -> Option<Object> {
    let notices = std::iter::from_fn(|| notices.try_recv().ok());
    let taken = notices.filter_map(|it| match it {
        Notice::Full { outcome, .. } => outcome.ok().flatten(),
        Notice::Delta { outcome, .. } => outcome.ok(),
        Notice::Surveyed { .. } | Notice::SpoolLost | Notice::Collected(_) => None,
    });
    taken.last()
}

/// An etcd that lacks what the store has is of another history: its snapshot does not belong there.
async fn not_behind(client: &Client, location: &Location) -> Result<(), Error> {
    let store = StoreView::of(&location.listing().await?);
    let etcd = Revision::new(client.revision(CALL).await?).unwrap_or(Revision::FIRST);
    match store.ahead_of(etcd) {
        None => Ok(()),
        Some(diverged) => Err(Denial::Diverged(diverged).into()),
    }
}

/// How long one call of etcd may take.
const CALL: Duration = Duration::from_secs(30);

/// The certificates of a command are those that it began with.
fn always(client: Client) -> Arc<dyn Fn() -> Client + Send + Sync> {
    Arc::new(move || client.clone())
}

async fn until_stopped(args: &Args) -> Result<(), Error> {
    crate::logging::start();
    let (client, location, options) = parts(args)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    tracing::info!(store = location.address, "taking snapshots");
    let (handle, task) = snapshots::start(options, always(client), location.store);
    handle.lead(Leadership::Led).await;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("asked to stop");
    handle.stop(FLUSH).await;
    task.await?;
    Ok(())
}
