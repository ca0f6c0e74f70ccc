//! Clients for the API server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use druid_core::operator::config::Client as Limits;
use kube::client::ClientBuilder;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use thiserror::Error;
use tower::limit::RateLimitLayer;

/// For a connection to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// Why there is none.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    #[error("--kubeconfig {}: {source}", path.display())]
    File {
        path: PathBuf,
        source: KubeconfigError,
    },
    #[error("KUBECONFIG: {0}")]
    Environment(KubeconfigError),
    #[error(
        "no API server is known ({0}): outside of a pod, name a kubeconfig with --kubeconfig or KUBECONFIG"
    )]
    NotInAPod(#[from] InClusterError),
    #[error("the API server's address or certificates cannot be used: {0}")]
    Unusable(#[from] kube::Error),
}

/// Two clients, so that what keeps the lease never waits for the rest.
pub(super) struct Clients {
    /// As fast as it is configured.
    pub(super) work: Client,
    /// Without a limit.
    pub(super) lease: Client,
}

/// By the flag, `KUBECONFIG`, or what a pod is given, in this order.
pub(super) async fn clients(
    kubeconfig: Option<&Path>,
    limits: Limits,
) -> Result<Clients, ClientError> {
    let mut config = config(kubeconfig).await?;
    config.connect_timeout = Some(CONNECT);
    Ok(Clients {
        lease: Client::try_from(config.clone())?,
        work: limited(config, limits)?,
    })
}

async fn config(kubeconfig: Option<&Path>) -> Result<Config, ClientError> {
    let default = KubeConfigOptions::default();
    if let Some(path) = kubeconfig {
        let wrong = |source| ClientError::File {
            path: path.to_owned(),
            source,
        };
        let file = Kubeconfig::read_from(path).map_err(wrong)?;
        let config = Config::from_custom_kubeconfig(file, &default).await;
        return config.map_err(wrong);
    }
    match Kubeconfig::from_env().map_err(ClientError::Environment)? {
        None => Ok(Config::incluster()?),
        Some(file) => Config::from_custom_kubeconfig(file, &default)
            .await
            .map_err(ClientError::Environment),
    }
}

/// So many requests at once, and no more in the time that they take at the given rate.
fn limited(config: Config, limits: Limits) -> Result<Client, ClientError> {
    let builder = ClientBuilder::try_from(config)?;
    #[cfg(debug_assertions)]
    let builder = builder.with_layer(&super::dying::Dying::as_told());
    let Some(per_second) = limits.per_second else {
        return Ok(builder.build());
    };
    let burst = f64::from(limits.burst);
    // A rate so small that its time is no length of time is one request in a very long one.
    let window = Duration::try_from_secs_f64(burst / per_second).unwrap_or(Duration::MAX);
    let layer = RateLimitLayer::new(limits.burst.into(), window);
    Ok(builder.with_layer(&layer).build())
}
