//! Finds the sidecar beside the leading member of an Etcd, and a client that trusts it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use druid_core::ops_task::{
    Done, Says, Sidecar, Take, Trouble, ca_certificates, ca_secret, leading, places, taken,
};
use druid_core::render::owner_labels;
use futures_util::future::join_all;
use http::Request;
use http::header::CONTENT_LENGTH;
use http_body_util::Full;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Client;
use kube::api::{Api, ListParams};

use super::request::{ApiError, within};
use crate::web::{Answer, Trust, Web, WebError};

/// For a look at the newest snapshots.
pub(super) const LISTING: Duration = Duration::from_secs(15);
/// So much later than what is tried the request for it would end by itself: the end of what is tried is
/// the one that is told.
pub(super) const MARGIN: Duration = Duration::from_secs(1);
/// For a sidecar to say whether it leads.
const HEALTH: Duration = Duration::from_secs(3);

/// Where the sidecars of an Etcd are.
#[derive(Clone, Debug)]
pub(crate) enum Sidecars {
    /// In its pods.
    Pods,
    /// On ports of this machine, by namespace and Etcd.
    #[cfg(test)]
    Loopback(super::ops_task::tests::Ports),
}

/// A sidecar: the one beside the leading member, unless somebody says otherwise.
#[derive(Debug)]
pub(super) struct Leading {
    /// Trusts it.
    pub(super) web: Web,
    /// What paths are appended to.
    pub(super) base: String,
}

impl Leading {
    /// What it answers at `/snapshot/latest`. It lists the store for that.
    pub(super) async fn latest(&self, deadline: Duration) -> Result<Answer, Trouble> {
        let url = format!("{}/snapshot/latest", self.base);
        let answer = self.web.get(&url, deadline).await;
        answer.map_err(|error| unanswered(&error))
    }

    /// Asks it for a snapshot. Whoever asks has a deadline of its own, [`MARGIN`] before this one.
    pub(super) async fn take(&self, take: Take, deadline: Duration) -> Result<Done, Trouble> {
        let request = Request::post(format!("{}{}", self.base, take.path()))
            .header(CONTENT_LENGTH, 0)
            .body(Full::default())
            .map_err(|error| Trouble::Request(error.to_string()))?;
        let answer = self.web.send(request, deadline).await;
        let answer = answer.map_err(|error| unanswered(&error))?;
        taken(take, answer.status.as_u16(), &answer.body)
    }
}

/// Finds it now; no copy of who leads is kept.
pub(super) async fn find(
    client: &Client,
    sidecars: &Sidecars,
    sidecar: &Sidecar,
) -> Result<Leading, Trouble> {
    let (web, bases) = all(client, sidecars, sidecar).await?;
    let asked = bases
        .iter()
        .map(|(pod, base)| async { (pod.clone(), says(&web, base.as_deref()).await) });
    let said: BTreeMap<_, _> = join_all(asked).await.into_iter().collect();
    let base = bases.get(leading(&said)?).cloned().flatten();
    let base = base.unwrap_or_default();
    Ok(Leading { web, base })
}

/// What the paths of each sidecar are appended to, by pod; `None` for one without an address.
pub(super) type Bases = BTreeMap<String, Option<String>>;

/// All of them, and a client that trusts them.
pub(super) async fn all(
    client: &Client,
    sidecars: &Sidecars,
    sidecar: &Sidecar,
) -> Result<(Web, Bases), Trouble> {
    let (namespace, etcd) = (&sidecar.namespace, &sidecar.etcd);
    let of_pods = matches!(sidecars, Sidecars::Pods);
    let set = if of_pods || sidecar.ca_keys.is_some() {
        Some(stateful_set(client, namespace, etcd).await?)
    } else {
        None
    };
    let web = match (&sidecar.ca_keys, &set) {
        (Some(keys), Some(set)) => trusting(client, sidecar, keys, set).await?,
        (Some(_) | None, _) => Web::new(&Trust::default()).map_err(|error| unanswered(&error))?,
    };
    let places = match (sidecars, &set) {
        (Sidecars::Pods, Some(set)) => in_pods(client, sidecar, set).await?,
        (Sidecars::Pods, None) => BTreeMap::new(),
        #[cfg(test)]
        (Sidecars::Loopback(ports), _) => ports.of(namespace, etcd),
    };
    let scheme = match sidecar.ca_keys {
        Some(_) => "https",
        None => "http",
    };
    let based = |(pod, at): (String, Option<SocketAddr>)| {
        let base = at.map(|at| format!("{scheme}://{at}"));
        (pod, base)
    };
    Ok((web, places.into_iter().map(based).collect()))
}

async fn says(web: &Web, base: Option<&str>) -> Says {
    let Some(base) = base else {
        return Says::Unknown("it has no address".to_owned());
    };
    match web.get(&format!("{base}/healthz"), HEALTH).await {
        Ok(answer) => Says::of(answer.status.as_u16()),
        Err(error) => Says::Unknown(error.to_string()),
    }
}

async fn stateful_set(
    client: &Client,
    namespace: &str,
    etcd: &str,
) -> Result<StatefulSet, Trouble> {
    let api = Api::<StatefulSet>::namespaced(client.clone(), namespace);
    let found = within("get the StatefulSet", api.get_opt(etcd)).await;
    let found = found.map_err(|error| refused("StatefulSets", &error, Trouble::PodsUnknown))?;
    found.ok_or_else(|| Trouble::PodsUnknown(format!("there is no StatefulSet {namespace}/{etcd}")))
}

async fn in_pods(
    client: &Client,
    sidecar: &Sidecar,
    set: &StatefulSet,
) -> Result<BTreeMap<String, Option<SocketAddr>>, Trouble> {
    let labels = owner_labels(&sidecar.etcd);
    let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let params = ListParams::default().labels(&labels.join(","));
    let api = Api::<Pod>::namespaced(client.clone(), &sidecar.namespace);
    let pods = within("list the pods", api.list(&params)).await;
    let pods = pods.map_err(|error| refused("pods", &error, Trouble::PodsUnknown))?;
    let at = |address| SocketAddr::new(address, sidecar.port);
    let all = places(set, &pods.items).into_iter();
    Ok(all.map(|(pod, it)| (pod, it.map(at))).collect())
}

/// A client that trusts whoever signed the certificate of the sidecars that run.
async fn trusting(
    client: &Client,
    sidecar: &Sidecar,
    keys: &[String],
    set: &StatefulSet,
) -> Result<Web, Trouble> {
    let namespace = &sidecar.namespace;
    let name = ca_secret(set)?;
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    let secret = within("get the Secret", api.get_opt(&name)).await;
    let secret = secret.map_err(|error| refused("Secrets", &error, Trouble::CaUnknown))?;
    let secret = secret.ok_or_else(|| Trouble::CaSecret {
        secret: format!("{namespace}/{name}"),
        why: "it does not exist".to_owned(),
    })?;
    let ca = ca_certificates(&secret, keys)?;
    let unusable = |why: String| Trouble::CaCertificate {
        secret: format!("{namespace}/{name}"),
        why,
    };
    let trust = Trust { ca, pair: None };
    if !trust.is_any() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    let web = Web::for_server(&trust, &sidecar.server_name());
    web.map_err(|error| unusable(error.to_string()))
}

fn refused(what: &str, error: &ApiError, other: fn(String) -> Trouble) -> Trouble {
    match error.status() {
        Some(401 | 403) => Trouble::Forbidden {
            what: what.to_owned(),
            why: error.to_string(),
        },
        Some(_) | None => other(error.to_string()),
    }
}

/// Why a sidecar did not answer.
pub(super) fn unanswered(error: &WebError) -> Trouble {
    match error {
        WebError::Deadline { .. } | WebError::Failed { .. } => {
            Trouble::Unreached(error.to_string())
        }
        WebError::Pem { .. }
        | WebError::Read { .. }
        | WebError::Tls(_)
        | WebError::Name { .. }
        | WebError::Http(_) => Trouble::Request(error.to_string()),
    }
}
