//! Where the API server is and who asks it, as kubectl finds out: `--kubeconfig`, else the files of
//! `KUBECONFIG`, else `~/.kube/config`, else the service account of the pod.

use std::path::{Path, PathBuf};
use std::time::Duration;

use druid_core::cli::Name;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::args::One;
use super::error::KubectlError;

/// For one answer.
pub(super) const DEADLINE: Duration = Duration::from_secs(15);
/// For the kubeconfig and the program that it may name for the login: that may ask a person.
const LOGIN: Duration = Duration::from_mins(3);
/// When nothing at all has come for so long, the connection is dead. Watches end before that.
pub(super) const SILENCE: Duration = Duration::from_secs(40);

/// The API server, and the namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct Connection {
    /// The kubeconfig; without it the files in KUBECONFIG, or ~/.kube/config.
    #[arg(long, value_name = "FILE", global = true)]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; without it the current one.
    #[arg(long, global = true)]
    pub(super) context: Option<String>,
    /// The namespace; without it that of the context, or `default`.
    #[arg(long, short, global = true)]
    pub(super) namespace: Option<String>,
}

/// An API server that can be asked.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) client: Client,
    /// Its address.
    pub(super) server: String,
    /// The namespace that was chosen.
    pub(super) namespace: String,
    /// How it is asked.
    config: Config,
}

impl Cluster {
    /// The same in another namespace.
    pub(super) fn at(&self, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..self.clone()
        }
    }

    /// The same where an Etcd is, and the name of that.
    pub(super) fn of_one(&self, etcd: &One) -> (Self, String) {
        let Name { namespace, name } = &etcd.name;
        let namespace = namespace.as_ref().unwrap_or(&self.namespace);
        (self.at(namespace), name.clone())
    }

    /// One that takes what others answer through the API server as it is: 503 is the answer of a sidecar
    /// whose member does not lead, and nothing to try again. Whoever asks sets the deadline.
    pub(super) async fn direct(&self) -> Result<Client, KubectlError> {
        let mut config = self.config.clone();
        config.default_retry = false;
        config.read_timeout = None;
        login(config, &self.server).await
    }
}

/// It may run a program, and blocks until that is done.
async fn login(config: Config, server: &str) -> Result<Client, KubectlError> {
    let login = tokio::task::spawn_blocking(|| Client::try_from(config));
    match tokio::time::timeout(LOGIN, login).await {
        Ok(Ok(Ok(client))) => Ok(client),
        Ok(Ok(Err(source))) => Err(KubectlError::Login {
            server: server.to_owned(),
            source: Box::new(source),
        }),
        Ok(Err(_)) | Err(_) => Err(KubectlError::LoginDeadline(LOGIN)),
    }
}

impl Connection {
    /// Takes the value of one of its flags, by the name of that; another one is not its own.
    pub(super) fn set(&mut self, flag: &str, value: &str) {
        match flag {
            "kubeconfig" => self.kubeconfig = Some(value.into()),
            "context" => self.context = Some(value.to_owned()),
            "namespace" => self.namespace = Some(value.to_owned()),
            _ => {}
        }
    }

    /// Reads the kubeconfig and logs in.
    pub(super) async fn open(&self) -> Result<Cluster, KubectlError> {
        let mut config = tokio::time::timeout(LOGIN, self.config())
            .await
            .map_err(|_| KubectlError::LoginDeadline(LOGIN))??;
        config.connect_timeout = Some(DEADLINE);
        config.read_timeout = Some(SILENCE);
        config.write_timeout = Some(SILENCE);
        config.reset_reader_on_write = true;
        let server = config.cluster_url.to_string();
        let server = server.trim_end_matches('/').to_owned();
        let chosen = self.namespace.clone().filter(|it| !it.is_empty());
        let namespace = chosen.unwrap_or_else(|| config.default_namespace.clone());
        let client = login(config.clone(), &server).await?;
        Ok(Cluster {
            client,
            server,
            namespace,
            config,
        })
    }

    async fn config(&self) -> Result<Config, KubectlError> {
        let named = self.kubeconfig.clone();
        let read = tokio::task::spawn_blocking(move || read(named.as_deref()));
        let read = read.await.map_err(|_| KubectlError::LoginDeadline(LOGIN))?;
        let mut kubeconfig = match read? {
            Read::Kubeconfig(kubeconfig) => *kubeconfig,
            Read::Nothing(looked) => {
                if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
                    return Err(KubectlError::NoKubeconfig { looked });
                }
                return Config::incluster().map_err(KubectlError::InCluster);
            }
        };
        let contexts = kubeconfig.contexts.iter().map(|it| it.name.clone());
        let contexts: Vec<_> = contexts.collect();
        let chosen = self.context.clone().or(kubeconfig.current_context.take());
        let Some(name) = chosen.filter(|it| !it.is_empty()) else {
            return Err(KubectlError::NoCurrentContext { contexts });
        };
        if !contexts.contains(&name) {
            return Err(KubectlError::NoContext { name, contexts });
        }
        kubeconfig.current_context = Some(name);
        let options = KubeConfigOptions::default();
        let found = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let mut config = found.map_err(KubectlError::Kubeconfig)?;
        if config.default_namespace.is_empty() {
            "default".clone_into(&mut config.default_namespace);
        }
        Ok(config)
    }
}

enum Read {
    Kubeconfig(Box<Kubeconfig>),
    /// None of these is there.
    Nothing(Vec<PathBuf>),
}

/// The file that was named has to be there; of the others, those count that are.
fn read(named: Option<&Path>) -> Result<Read, KubectlError> {
    let files = match named {
        Some(file) => vec![file.to_owned()],
        None => usual(),
    };
    let there = files
        .iter()
        .filter(|it| named.is_some() || it.exists())
        .collect::<Vec<_>>();
    if there.is_empty() {
        return Ok(Read::Nothing(files));
    }
    let merged = there
        .into_iter()
        .try_fold(Kubeconfig::default(), |all, file| {
            all.merge(Kubeconfig::read_from(file)?)
        });
    let merged = merged.map_err(KubectlError::Kubeconfig)?;
    Ok(Read::Kubeconfig(Box::new(merged)))
}

fn usual() -> Vec<PathBuf> {
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let listed: Vec<_> = std::env::split_paths(&listed)
        .filter(|it| !it.as_os_str().is_empty())
        .collect();
    if !listed.is_empty() {
        return listed;
    }
    let home = std::env::home_dir();
    home.map(|home| home.join(".kube/config"))
        .into_iter()
        .collect()
}
