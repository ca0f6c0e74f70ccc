//! From the start of the operator to its end.

use std::num::NonZeroU16;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use druid_core::duration::GoDuration;
use druid_core::images::{ImageVector, ImageVectorError};
use druid_core::operator::Config;
use druid_core::operator::config::{Election, Listen};
use druid_core::operator::definitions::DefinitionProblem;
use druid_core::ops_task::Limits;
use druid_core::render::Release;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::args::Args;
use super::client::{ClientError, Clients, clients};
use super::health::{Asked, Health, Stage};
use super::leading::Sidecars;
use super::place::Place;
use super::settings::{self, Configured};
use super::{compaction, copy_task, defined, election, etcds, ops_task, secrets, webhook};
use crate::serve;

/// The exit code of a configuration that cannot be used.
const CONFIGURATION: u8 = 2;
/// How long the controllers may take to end, and the lease to be given back.
const END: Duration = Duration::from_secs(5);
const GIVE_BACK: Duration = Duration::from_secs(9);
/// How long Kubernetes may take to send nobody to the webhook of a pod that ends.
const LEAVE: Duration = Duration::from_secs(3);

/// Why the operator ends without being asked to.
#[derive(Debug, Error)]
enum OperatorError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{field} {port}: {source}")]
    Listen {
        field: &'static str,
        port: u16,
        source: std::io::Error,
    },
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Images(#[from] ImageVectorError),
    #[error(transparent)]
    Undefined(#[from] DefinitionProblem),
    #[error("the lease {lease} was lost: another operator may lead now")]
    Lost { lease: String },
    #[error("the controller of {of} ended by itself")]
    Ended { of: &'static str },
    #[error("a controller died: {0}")]
    Died(#[from] tokio::task::JoinError),
}

/// Runs until it is told to stop.
pub(crate) async fn run(args: Args) -> ExitCode {
    let configured = match settings::read(&args) {
        Ok(configured) => configured,
        Err(errors) => {
            for error in errors {
                crate::fail(&format!("operator: {error}"));
            }
            return CONFIGURATION.into();
        }
    };
    crate::logging::start_as(configured.config.logging);
    for warning in &configured.warnings {
        tracing::warn!("{warning}");
    }
    match Box::pin(operate(&args, configured)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let OperatorError::Lost { .. } = error {
                tracing::error!(%error, "the operator begins anew");
                let error = begin_anew();
                tracing::error!(%error, "it cannot");
            } else {
                tracing::error!(%error, "the operator ends");
            }
            std::process::exit(1);
        }
    }
}

/// Nothing that this process does goes on after that, as if it had ended: whoever lost the lease may not
/// act any more. But to kubelet, which keeps a container that ends often away for up to five minutes, it
/// has not ended. Returns only if it cannot be done.
fn begin_anew() -> std::io::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut again = Command::new(program);
    let mut args = std::env::args_os();
    if let Some(name) = args.next() {
        again.arg0(name);
    }
    again.args(args).exec()
}

async fn operate(args: &Args, configured: Configured) -> Result<(), OperatorError> {
    let stopped = until_stopped()?;
    let place = Place::find(args.namespace.as_deref());
    let Configured { config, images, .. } = configured;
    let clients = clients(args.kubeconfig.as_deref(), config.client).await?;
    let (tell, stage) = watch::channel(Stage::Begins);
    let (end, ended) = watch::channel(false);
    let (webhook, asked) =
        webhook_of(&config, &clients.lease, &place, &stopped, ended.clone()).await?;
    let health = Arc::new(Health {
        stage,
        gates: config.gates,
        lease: config.election.as_ref().map(|it| it.lease.clone()),
        etcds: etcds::Counts::default(),
        tasks: ops_task::Counts::default(),
        compaction: compaction::Counts::default(),
        webhook: asked,
    });
    let port = config.metrics.port;
    let listener = listen("server.metrics.port", config.metrics).await?;
    let server = tokio::spawn(serve::serve(
        listener,
        None,
        Arc::new(Arc::clone(&health)),
        ended,
    ));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        gates = %config.gates,
        etcd = images.etcd_version(Release::Base).map(tracing::field::display),
        etcd_next = images.etcd_version(Release::Next).map(tracing::field::display),
        namespace = args.namespace.as_deref().unwrap_or("all"),
        identity = place.identity,
        auto_reconcile = config.etcd.auto_reconcile,
        port,
        "the operator starts"
    );
    let operator = Operator {
        copies: copies(&config, &images, args, &place)?,
        secrets: secrets::Settings {
            workers: config.secret_workers,
            namespace: args.namespace.clone(),
        },
        etcds: etcds::Settings {
            config: config.etcd,
            gates: config.gates,
            images,
            namespace: args.namespace.clone(),
            instance: place.pod.clone(),
            numbers: health.etcds.clone(),
        },
        tasks: tasks(&config, args, &place, health.tasks.clone()),
        compaction: compaction_of(&config, args, &place, health.compaction.clone()),
        client: clients.work.clone(),
        tell,
        stopped,
    };
    let leaves = leaving(&operator.stopped);
    operator.run(clients, place, config.election).await?;
    if webhook.is_some() {
        leaves.await?;
    }
    end.send_replace(true);
    // They have a grace of their own.
    server.await?;
    if let Some(webhook) = webhook {
        webhook.await?;
    }
    tracing::info!("the operator has ended as asked");
    Ok(())
}

async fn listen(field: &'static str, at: Listen) -> Result<TcpListener, OperatorError> {
    let (address, port) = (at.address, at.port);
    let listener = serve::listen_at(address, port).await;
    listener.map_err(|source| OperatorError::Listen {
        field,
        port,
        source,
    })
}

/// Nothing if it is switched off. It runs whoever leads, until `end` is true; from `stopped` on, whoever asks
/// is sent elsewhere. The API server has to wait for nobody but itself: the webhook is not as slow as the rest
/// is configured to be.
async fn webhook_of(
    config: &Config,
    client: &Client,
    place: &Place,
    stopped: &watch::Receiver<bool>,
    end: watch::Receiver<bool>,
) -> Result<(Option<JoinHandle<()>>, Option<Asked>), OperatorError> {
    let Some(rules) = config.protection.clone() else {
        return Ok((None, None));
    };
    let server = config.webhook_server.clone();
    let listener = listen("server.webhooks.port", server.listen).await?;
    let numbers = webhook::Counts::default();
    let namespace = place.namespace.clone();
    let settings = webhook::Settings::new(rules, server, namespace, numbers.clone());
    let (tell, ready) = watch::channel(false);
    let end = webhook::End {
        leaves: stopped.clone(),
        stop: end,
    };
    let running = tokio::spawn(webhook::run(client.clone(), settings, listener, tell, end));
    Ok((Some(running), Some(Asked { ready, numbers })))
}

/// Ends so long after it was told to that nobody is sent here any more.
fn leaving(stopped: &watch::Receiver<bool>) -> JoinHandle<()> {
    let mut stopped = stopped.clone();
    tokio::spawn(async move {
        told(&mut stopped).await;
        tokio::time::sleep(LEAVE).await;
    })
}

fn tasks(
    config: &Config,
    args: &Args,
    place: &Place,
    numbers: ops_task::Counts,
) -> ops_task::Settings {
    let workers = config.ops_task.workers;
    let metrics_wait = config.compaction.map(|it| it.metrics_wait);
    ops_task::Settings {
        concurrent_syncs: NonZeroU16::try_from(workers).unwrap_or(NonZeroU16::MAX),
        limits: Limits::default(),
        namespace: args.namespace.clone(),
        instance: place.pod.clone(),
        metrics_wait: GoDuration(metrics_wait.unwrap_or_default().unsigned_abs()),
        sidecars: Sidecars::Pods,
        numbers,
    }
}

/// Nothing if it is switched off.
fn compaction_of(
    config: &Config,
    args: &Args,
    place: &Place,
    numbers: compaction::Counts,
) -> Option<compaction::Settings> {
    Some(compaction::Settings {
        config: config.compaction?,
        limits: druid_core::compaction::Limits::default(),
        namespace: args.namespace.clone(),
        instance: place.pod.clone(),
        sidecars: Sidecars::Pods,
        numbers,
    })
}

/// Nothing if it is switched off.
fn copies(
    config: &Config,
    images: &ImageVector,
    args: &Args,
    place: &Place,
) -> Result<Option<copy_task::Settings>, OperatorError> {
    let Some(workers) = config.copy_task_workers else {
        return Ok(None);
    };
    Ok(Some(copy_task::Settings {
        workers,
        images: images.images(config.gates.release(None))?,
        namespace: args.namespace.clone(),
        instance: place.pod.clone(),
    }))
}

/// What is needed to work.
struct Operator {
    etcds: etcds::Settings,
    tasks: ops_task::Settings,
    compaction: Option<compaction::Settings>,
    copies: Option<copy_task::Settings>,
    secrets: secrets::Settings,
    client: Client,
    tell: watch::Sender<Stage>,
    stopped: watch::Receiver<bool>,
}

impl Operator {
    /// Waits until it may work, works, and ends in order.
    async fn run(
        self,
        clients: Clients,
        place: Place,
        election: Option<Election>,
    ) -> Result<(), OperatorError> {
        let mut stopped = self.stopped.clone();
        tokio::select! {
            defined = defined::until_defined(&clients.lease, self.copies.is_some()) => defined?,
            () = told(&mut stopped) => return Ok(()),
        }
        match election {
            None => self.work().await,
            Some(Election { terms, lease }) => {
                let (give_back, given_back) = watch::channel(false);
                let api: Api<Lease> = Api::namespaced(clients.lease, &place.namespace);
                tracing::info!(lease, namespace = place.namespace, "waiting for the lease");
                let running =
                    election::start(api, lease.clone(), place.identity, terms, given_back);
                self.elected(running, lease, give_back).await
            }
        }
    }

    async fn elected(
        self,
        mut running: election::Election,
        lease: String,
        give_back: watch::Sender<bool>,
    ) -> Result<(), OperatorError> {
        self.tell.send_replace(Stage::StandsBy);
        let mut stopped = self.stopped.clone();
        let working = async {
            tokio::select! {
                // Whoever tells it is gone only with the election, which is seen below.
                led = running.leads.wait_for(|it| *it) => match led {
                    Ok(_) => {}
                    Err(_) => std::future::pending().await,
                },
                () = told(&mut stopped) => {
                    self.tell.send_replace(Stage::Ends);
                    return Ok(());
                }
            }
            self.work().await
        };
        tokio::select! {
            biased;
            _ = &mut running.task => return Err(OperatorError::Lost { lease }),
            worked = working => worked?,
        }
        give_back.send_replace(true);
        if tokio::time::timeout(GIVE_BACK, running.task).await.is_err() {
            tracing::warn!(lease, "the lease was not given back in time");
        }
        Ok(())
    }

    /// Until it is told to stop.
    async fn work(self) -> Result<(), OperatorError> {
        self.tell.send_replace(Stage::Leads);
        let mut controllers = JoinSet::new();
        let (client, mut stopped) = (self.client.clone(), self.stopped.clone());
        controllers.spawn(async move {
            ops_task::run(client, self.tasks, told(&mut stopped)).await;
            "EtcdOpsTasks"
        });
        if let Some(settings) = self.compaction {
            let (client, mut stopped) = (self.client.clone(), self.stopped.clone());
            controllers.spawn(async move {
                compaction::run(client, settings, told(&mut stopped)).await;
                "snapshot compaction"
            });
        }
        if let Some(settings) = self.copies {
            let (client, mut stopped) = (self.client.clone(), self.stopped.clone());
            controllers.spawn(async move {
                copy_task::run(client, settings, told(&mut stopped)).await;
                "EtcdCopyBackupsTasks"
            });
        }
        let (client, mut stopped) = (self.client.clone(), self.stopped.clone());
        controllers.spawn(async move {
            secrets::run(client, self.secrets, told(&mut stopped)).await;
            "the finalizers of Secrets"
        });
        let (client, mut stopped) = (self.client, self.stopped.clone());
        controllers.spawn(async move {
            etcds::run(client, self.etcds, told(&mut stopped)).await;
            "Etcds"
        });
        let mut stopped = self.stopped.clone();
        tokio::select! {
            biased;
            () = told(&mut stopped) => {}
            Some(ended) = controllers.join_next() => {
                let of = ended?;
                // It may have been told to stop since the line above was looked at.
                if !*self.stopped.borrow() {
                    return Err(OperatorError::Ended { of });
                }
            }
        }
        self.tell.send_replace(Stage::Ends);
        let all = async { while controllers.join_next().await.is_some() {} };
        if tokio::time::timeout(END, all).await.is_err() {
            tracing::warn!("a controller did not end in time and is left");
        }
        controllers.shutdown().await;
        Ok(())
    }
}

/// Until it is told to stop, or nobody is left to tell it.
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|it| *it).await;
}

/// Turns true with the first signal; the second one ends the process at once.
fn until_stopped() -> Result<watch::Receiver<bool>, OperatorError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(OperatorError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(OperatorError::Signals)?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        one(&mut terminate, &mut interrupt).await;
        tracing::info!("asked to stop");
        stop.send_replace(true);
        one(&mut terminate, &mut interrupt).await;
        std::process::exit(1);
    });
    Ok(stopped)
}

async fn one(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
