//! `druid server`: looks after the data of one etcd member. Checks it before etcd starts and gives etcd
//! its configuration, follows who leads, defragments, tells the operator through leases, serves
//! numbers. Compatible with etcd-backup-restore.

mod api;
mod api_server;
mod args;
mod backups;
mod clients;
mod counting;
mod data;
mod defragment;
mod delegate;
mod initialization;
mod leadership;
pub(crate) mod leases;
mod members;
mod metrics;
mod mounted;
mod parts;
mod peer_urls;
mod recovery;
pub(crate) mod snapshot_args;
mod snapshots;
mod stored;
mod verifier;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub(crate) use api_server::ApiError;
pub(crate) use args::Args;

use crate::data_dir::{DataDir, DataDirError};
use crate::etcd::{Endpoint, Login, Tls};
use crate::serve;
use crate::serve::tls::{CertificateError, Certificates};
use api::Api;
use api_server::ApiServer;
use clients::{Clients, ClientsError};
use defragment::{Defragmenter, Schedule, ScheduleError};
use delegate::Delegate;
use initialization::{Initialization, Parts};
use leadership::{Follow, Leadership};
use leases::Leases;
use members::Members;
use metrics::Numbers;
use mounted::Source;
use parts::Snapshots;
use stored::StoredError;

/// How long the last delta may take; a pod is given 30 s in all.
const FLUSH: Duration = Duration::from_secs(24);
/// When it is no longer waited for.
const FLUSHED: Duration = Duration::from_secs(26);
/// How long the leases may take to tell of it.
const TOLD: Duration = Duration::from_secs(2);

/// So much longer a delegated snapshot is waited for than its sidecar waits.
const GRACE: Duration = Duration::from_secs(10);

/// Why the server does not start.
#[derive(Debug, Error)]
pub(crate) enum ServerError {
    #[error(transparent)]
    Clients(#[from] ClientsError),
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    #[error("--server-cert, --server-key: {0}")]
    Certificate(#[from] CertificateError),
    #[error("--data-dir: {0}")]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Stored(#[from] StoredError),
    #[error("the Kubernetes API: {0}")]
    Api(#[from] ApiError),
    #[error("--server-port {port}: {source}")]
    Listen { port: u16, source: std::io::Error },
    #[error("{flag} must be longer than 1 s")]
    TooShort { flag: &'static str },
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
}

/// Takes out the flags that have no effect here. Returns their names too.
pub(crate) fn argv(all: Vec<OsString>) -> (Vec<OsString>, Vec<&'static str>) {
    let sifted = druid_core::agent::argv::sift(all, &args::IGNORED);
    (sifted.kept, sifted.ignored)
}

/// Runs until it is told to stop.
pub(crate) async fn run(args: Args, ignored: Vec<&'static str>) -> ExitCode {
    crate::logging::start();
    for flag in ignored {
        tracing::info!("--{flag} has no effect here and is ignored");
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    match serve(&args).await {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(%error, "the server does not run");
            ExitCode::FAILURE
        }
    }
}

/// Runs until it is told to stop. Dropped before, all of it ends.
pub(crate) async fn serve(args: &Args) -> Result<ExitCode, ServerError> {
    check(args)?;
    let schedule = Schedule::parse(&args.defragmentation_schedule)?;
    let environment = Environment::read();
    let source = Source::new(environment.etcd_conf.clone(), environment.pod.clone());
    let clients = Arc::new(clients(args, &source)?);
    let (tell, leadership) = watch::channel(Leadership::default());
    let shared = Shared {
        source,
        leases: Arc::new(Leases::new(environment.api_server()?)),
        numbers: Numbers::new([clients.local_endpoint().as_str()]),
        clients,
        members: Arc::new(Members::default()),
        leadership,
    };
    let dir = DataDir::new(&args.data_dir)?;
    let certificates = certificates(args)?;
    let listener = serve::listen(args.server_port)
        .await
        .map_err(|source| ServerError::Listen {
            port: args.server_port,
            source,
        })?;
    let mut tasks = JoinSet::new();
    let stored = stored::open(args, &shared, dir.clone(), FLUSH, &mut tasks)?;
    let snapshots = stored.snapshots;
    let initialization = Arc::new(Initialization::new(Parts {
        source: shared.source.clone(),
        clients: Arc::clone(&shared.clients),
        members: Arc::clone(&shared.members),
        leases: Arc::clone(&shared.leases),
        numbers: shared.numbers.clone(),
        data: Arc::new(data::OnDisk::new(dir, environment.namespace)),
        backups: stored.backups,
        accept_empty_store: args.accept_empty_store,
    }));
    let (stop, stopped) = watch::channel(false);
    let follow = Follow {
        clients: Arc::clone(&shared.clients),
        numbers: shared.numbers.clone(),
        initialization: Arc::clone(&initialization),
        period: args.reelection_period.0,
        deadline: args.etcd_connection_timeout_leader_election.0,
    };
    tasks.spawn(follow.run(tell, stopped.clone()));
    shared.start(args, schedule, &mut tasks);
    let telling = shared.tell_snapshots(args, snapshots.as_ref());
    let api = shared.api(args, initialization, snapshots.clone());
    tracing::info!(port = args.server_port, "serving");
    let server = tokio::spawn(serve::serve(listener, certificates, Arc::new(api), stopped));
    until_stopped(&stop).await?;
    if let Some(snapshots) = snapshots {
        flush(snapshots.as_ref()).await;
    }
    if let Some(telling) = telling
        && tokio::time::timeout(TOLD, telling).await.is_err()
    {
        tracing::warn!("the leases of snapshots do not say what was taken last");
    }
    tasks.abort_all();
    let _ = server.await;
    Ok(ExitCode::SUCCESS)
}

/// What the parts have in common.
#[derive(Clone, Debug)]
struct Shared {
    source: Source,
    clients: Arc<Clients>,
    leases: Arc<Leases>,
    numbers: Numbers,
    members: Arc<Members>,
    leadership: watch::Receiver<Leadership>,
}

impl Shared {
    fn api(
        &self,
        args: &Args,
        initialization: Arc<Initialization>,
        snapshots: Option<Arc<dyn Snapshots>>,
    ) -> Api {
        Api {
            source: self.source.clone(),
            clients: Arc::clone(&self.clients),
            members: Arc::clone(&self.members),
            initialization,
            leadership: self.leadership.clone(),
            snapshots,
            delegate: Delegate {
                clients: Arc::clone(&self.clients),
                port: args.server_port,
                certificate: args.server_cert.clone(),
                deadline: stored::full_deadline(args) + GRACE,
            },
            numbers: self.numbers.clone(),
        }
    }

    /// What goes on beside the answers.
    fn start(&self, args: &Args, schedule: Schedule, tasks: &mut JoinSet<()>) {
        let clients = || Arc::clone(&self.clients);
        let defragmenter = Defragmenter {
            clients: clients(),
            numbers: self.numbers.clone(),
            schedule,
            deadline: args.etcd_defrag_timeout.0,
        };
        tasks.spawn(defragmenter.run(self.leadership.clone()));
        tasks.spawn(peer_urls::correct(
            clients(),
            self.source.clone(),
            args.use_etcd_wrapper,
            self.leadership.clone(),
        ));
        if args.enable_member_lease_renewal {
            tasks.spawn(leases::heartbeat(
                Arc::clone(&self.leases),
                clients(),
                self.source.clone(),
                args.k8s_heartbeat_duration.0,
                self.leadership.clone(),
            ));
        }
    }

    /// Ends once nobody takes snapshots any more and the last is told.
    fn tell_snapshots(
        &self,
        args: &Args,
        snapshots: Option<&Arc<dyn Snapshots>>,
    ) -> Option<JoinHandle<()>> {
        let snapshots = snapshots.filter(|_| args.enable_snapshot_lease_renewal)?;
        let names = leases::Names {
            full: args.full_snapshot_lease_name.clone(),
            delta: args.delta_snapshot_lease_name.clone(),
        };
        let (leases, progress) = (Arc::clone(&self.leases), snapshots.progress());
        Some(tokio::spawn(leases::follow_snapshots(
            leases, names, progress,
        )))
    }
}

fn certificates(args: &Args) -> Result<Option<Certificates>, CertificateError> {
    match (&args.server_cert, &args.server_key) {
        (Some(cert), Some(key)) => Ok(Some(Certificates::read(cert, key)?)),
        (Some(_) | None, _) => Ok(None),
    }
}

async fn flush(snapshots: &dyn Snapshots) {
    let finished = tokio::time::timeout(FLUSHED, snapshots.finish()).await;
    if finished.is_err() {
        tracing::error!("what was not in the store yet did not get there in time");
    }
}

/// The first signal ends it in order, the second at once.
async fn until_stopped(stop: &watch::Sender<bool>) -> Result<(), ServerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServerError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServerError::Signals)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("asked to stop");
    stop.send_replace(true);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(1);
    });
    Ok(())
}

fn check(args: &Args) -> Result<(), ServerError> {
    for (flag, length) in [
        ("--reelection-period", args.reelection_period),
        (
            "--etcd-connection-timeout-leader-election",
            args.etcd_connection_timeout_leader_election,
        ),
    ] {
        if length.0 < Duration::from_secs(1) {
            return Err(ServerError::TooShort { flag });
        }
    }
    if args.insecure_skip_tls_verify {
        tracing::info!("--insecure-skip-tls-verify has no effect: certificates are verified");
    }
    Ok(())
}

/// The local member, and the cluster: by flag, or by the mounted configuration.
fn clients(args: &Args, source: &Source) -> Result<Clients, ClientsError> {
    let parse = |flag, url: &String| -> Result<Endpoint, ClientsError> {
        url.parse()
            .map_err(|source| ClientsError::Endpoint { flag, source })
    };
    let local = args.endpoints.first().ok_or(ClientsError::None)?;
    let local = parse("--endpoints", local)?;
    let service = if args.service_endpoints.is_empty() {
        let mounted = source.read().map(|file| file.all_client_urls());
        let urls = mounted.unwrap_or_default();
        urls.iter().filter_map(|url| url.parse().ok()).collect()
    } else {
        args.service_endpoints
            .iter()
            .map(|url| parse("--service-endpoints", url))
            .collect::<Result<_, _>>()?
    };
    let tls = Tls {
        ca: args.cacert.clone(),
        cert: args.cert.clone(),
        key: args.key.clone(),
    };
    let login = match (&args.etcd_username, &args.etcd_password) {
        (Some(name), Some(password)) => Some(Login::new(name.clone(), password.clone())),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(ClientsError::Login),
    };
    Clients::new(local, service, tls, login)
}

/// The leases that the environment gives us, for commands too.
pub(crate) fn leases() -> Result<Leases, ApiError> {
    Ok(Leases::new(Environment::read().api_server()?))
}

/// What is not given by flags.
#[derive(Debug)]
struct Environment {
    etcd_conf: Option<PathBuf>,
    pod: Option<String>,
    namespace: Option<String>,
    kubeconfig: Option<PathBuf>,
}

impl Environment {
    fn read() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        Self {
            etcd_conf: text("ETCD_CONF").map(PathBuf::from),
            pod: text("POD_NAME"),
            namespace: text("POD_NAMESPACE"),
            kubeconfig: text("KUBECONFIG").map(PathBuf::from),
        }
    }

    fn api_server(&self) -> Result<Option<ApiServer>, ApiError> {
        let (Some(namespace), Some(_)) = (self.namespace.clone(), &self.pod) else {
            tracing::info!("no leases are kept: POD_NAME or POD_NAMESPACE is not set");
            return Ok(None);
        };
        let found = ApiServer::find(self.kubeconfig.clone(), namespace)?;
        if found.is_none() {
            tracing::info!("no leases are kept: there is no API server (set KUBECONFIG)");
        }
        Ok(found)
    }
}
