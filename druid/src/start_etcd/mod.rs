//! `druid start-etcd`: the first process of the etcd container. Asks the backup sidecar whether the
//! data is in order and what to start with, runs the real etcd as its child, and tells whether it
//! serves. Compatible with etcd-wrapper.

mod args;
mod child;
mod files;
mod ready;
mod settings;
mod sidecar;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use druid_core::agent::marker::{self, End, Signal};
use nix::sys::signal::Signal as Kill;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

pub(crate) use args::Args;

use crate::serve;
use crate::serve::tls::{CertificateError, Certificates};
use crate::web::WebError;
use child::Child;
use files::{FileError, Files};
use ready::Probe;
use settings::{Settings, SettingsError};
use sidecar::Sidecar;

/// Why etcd was not started.
#[derive(Debug, Error)]
enum StartError {
    #[error(transparent)]
    Web(#[from] WebError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the configuration that the sidecar gave: {0}")]
    Settings(#[from] SettingsError),
    #[error("the server certificate of /readyz: {0}")]
    Certificate(#[from] CertificateError),
    #[error("port {port}: {source}; give a free one with --etcd-wrapper-port")]
    Listen { port: u16, source: std::io::Error },
    #[error("{binary:?} cannot be started: {source}; give the etcd binary with --etcd-binary")]
    Spawn {
        binary: std::path::PathBuf,
        source: std::io::Error,
    },
    #[error("this process cannot be set up: {0}")]
    Process(std::io::Error),
}

/// What came from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A signal.
    Signal(Signal),
    /// `POST /stop`.
    Stop,
}

/// Brings a command line of Go's `flag` package to ours.
pub(crate) fn argv(args: Vec<OsString>) -> Vec<OsString> {
    druid_core::agent::argv::two_dashes(args)
}

/// Runs until etcd has ended. Its exit code is ours.
pub(crate) async fn run(args: Args) -> ExitCode {
    crate::logging::start();
    match start(&args).await {
        Ok(code) => code.into(),
        Err(error) => {
            tracing::error!(%error, "etcd was not started");
            ExitCode::FAILURE
        }
    }
}

async fn start(args: &Args) -> Result<u8, StartError> {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    // What etcd might leave behind is ours to bury, also when we are not process 1.
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|error| StartError::Process(error.into()))?;
    let (asks, mut asked) = mpsc::channel(8);
    listen_to_signals(asks.clone()).map_err(StartError::Process)?;
    let files = Files::new(args)?;
    let mode = marker::mode(files.marker()?.as_deref());
    let sidecar = Sidecar::new(args)?;
    let prepared = tokio::select! {
        config = sidecar.prepare(mode) => config,
        Some(ask) = asked.recv() => {
            tracing::info!(?ask, "asked to stop before etcd was started");
            return Ok(0);
        }
    };
    let settings = Settings::parse(&prepared)?;
    let config = files.write_config(&prepared)?;
    files::protect_data(&settings.data_dir)?;
    files.forget_marker()?;
    let certificates = settings
        .server_pair
        .as_ref()
        .map(|(cert, key)| Certificates::read(cert, key))
        .transpose()?;
    let listener = serve::listen(args.etcd_wrapper_port)
        .await
        .map_err(|source| StartError::Listen {
            port: args.etcd_wrapper_port,
            source,
        })?;
    let binary = args.etcd_binary.clone();
    let child =
        Child::start(&binary, &config).map_err(|source| StartError::Spawn { binary, source })?;
    tracing::info!(pid = child.pid, "etcd was started");
    let probe = Probe::start(args, &settings);
    let serving = Serving {
        listener,
        certificates,
        asks,
    };
    attend(args, &files, &child, probe, serving, asked).await
}

struct Serving {
    listener: TcpListener,
    certificates: Option<Certificates>,
    asks: mpsc::Sender<Ask>,
}

/// Until etcd has ended.
async fn attend(
    args: &Args,
    files: &Files,
    child: &Child,
    probe: Arc<Probe>,
    serving: Serving,
    mut asked: mpsc::Receiver<Ask>,
) -> Result<u8, StartError> {
    let (stop, stopped) = watch::channel(false);
    let service = ready::Answers::new(Arc::clone(&probe), serving.asks);
    let server = tokio::spawn(serve::serve(
        serving.listener,
        serving.certificates,
        Arc::new(service),
        stopped,
    ));
    let mut how = None;
    let patience = args.etcd_ready_timeout.0;
    let mut late = std::pin::pin!(tokio::time::sleep(patience));
    let mut waiting = !patience.is_zero();
    let end = loop {
        tokio::select! {
            end = child.ended() => break end,
            () = &mut late, if waiting => {
                waiting = false;
                if !probe.was_ready() {
                    tracing::error!(?patience, "etcd is not ready; it is waited for further");
                }
            }
            Some(ask) = asked.recv() => match (how, ask) {
                (None, ask) => {
                    tracing::info!(?ask, "etcd is asked to stop");
                    how = Some(ask);
                    child.signal(Kill::SIGTERM);
                }
                (Some(_), Ask::Stop) => {}
                (Some(_), Ask::Signal(_)) => {
                    tracing::warn!("asked a second time: etcd is killed");
                    child.signal(Kill::SIGKILL);
                    child.ended().await;
                    return Ok(1);
                }
            }
        }
    };
    stop.send_replace(true);
    let _ = tokio::time::timeout(Duration::from_secs(1), server).await;
    Ok(finish(files, end, how, probe.was_ready())?)
}

fn finish(files: &Files, end: End, how: Option<Ask>, ready: bool) -> Result<u8, FileError> {
    let asked = how.map(|ask| match ask {
        Ask::Signal(signal) => signal,
        Ask::Stop => Signal::Terminate,
    });
    let farewell = marker::farewell(end, asked, ready);
    if let Some(signal) = farewell.marker {
        files.write_marker(signal)?;
    }
    tracing::info!(?end, code = farewell.code, "etcd has ended");
    Ok(farewell.code)
}

fn listen_to_signals(asks: mpsc::Sender<Ask>) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            let signal = tokio::select! {
                _ = terminate.recv() => Signal::Terminate,
                _ = interrupt.recv() => Signal::Interrupt,
            };
            if asks.send(Ask::Signal(signal)).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}
