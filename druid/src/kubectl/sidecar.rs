//! The sidecars in the pods of an Etcd, asked through the API server (the subresource `pods/proxy`): it needs
//! no way to the pods, and looks at no certificate of theirs
//! (<https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/>).

use std::collections::BTreeMap;
use std::time::Duration;

use druid_core::agent::member::{joined, told};
use druid_core::cli::Found;
use druid_core::member::MemberName;
use druid_core::observed::Etcd as Live;
use druid_core::ops_task::{Latest, Says, Trouble, answering, chain, leading, restorable};
use druid_core::render::Spec;
use druid_core::restore_plan::Heard;
use futures_util::future::join_all;
use http::Request;
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;

use super::connect::Cluster;
use super::output::tell;
use crate::members::Members;

/// For a sidecar to say whether it leads.
const HEALTH: Duration = Duration::from_secs(5);
/// For it to ask its member.
const MEMBER: Duration = Duration::from_secs(8);
/// For it to list the store.
const LISTING: Duration = Duration::from_secs(15);
/// For the largest backup to be restored on trial.
const TRIAL: Duration = Duration::from_mins(30);

/// What members answered, asked in one way or another.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Those that could be asked.
    pub(super) live: Option<Live>,
    /// The others, and why not.
    pub(super) unasked: BTreeMap<MemberName, String>,
}

impl Cluster {
    /// What the members answer: at the addresses that were given, or else through their sidecars.
    pub(super) async fn asked(&self, named: Members, deadline: Duration, etcd: &Found) -> Asked {
        if let Some(live) = named.asked(deadline).await {
            return Asked {
                live: Some(live),
                unasked: BTreeMap::new(),
            };
        }
        let etcd = etcd.etcd.as_ref().ok();
        // What is wrong with the spec is told by itself.
        match etcd.and_then(|it| Spec::parse(it).ok()) {
            Some(spec) => self.members(&spec).await,
            None => Asked::default(),
        }
    }

    async fn members(&self, spec: &Spec) -> Asked {
        let client = self.direct().await.map_err(|error| error.to_string());
        let each = (0..spec.running()).map(async |at| {
            let told = async {
                let client = client.as_ref().map_err(Clone::clone)?;
                let pod = spec.pod(at);
                let said = self.ask(client, spec, &pod, "member", MEMBER);
                said.await.and_then(|(status, body)| told(status, &body))
            };
            (MemberName(spec.member(at)), told.await)
        });
        let mut said = BTreeMap::new();
        let mut unasked = BTreeMap::new();
        for (name, told) in join_all(each).await {
            match told {
                Ok(told) => {
                    said.insert(name, told);
                }
                Err(why) => {
                    unasked.insert(name, why);
                }
            }
        }
        Asked {
            live: joined(said),
            unasked,
        }
    }

    /// What sidecars say of the store: the one beside the leading member, or else the first that restores the
    /// newest backup on trial.
    pub(super) async fn heard(&self, spec: &Spec) -> Heard {
        let client = match self.direct().await {
            Ok(client) => client,
            Err(error) => return Heard::Silent(error.to_string()),
        };
        let pods = (0..spec.replicas).map(|at| spec.pod(at));
        let asked = pods.map(async |pod| {
            let says = match self.ask(&client, spec, &pod, "healthz", HEALTH).await {
                Ok((status, body)) => Says::through(status, &body),
                Err(why) => Says::Unknown(why),
            };
            (pod, says)
        });
        let said: BTreeMap<_, _> = join_all(asked).await.into_iter().collect();
        let why = match self.listed_by(&client, spec, leading(&said)).await {
            Ok(latest) => return Heard::Listed(latest),
            Err(trouble) => trouble.to_string(),
        };
        let mut all = why.clone();
        for pod in answering(&said) {
            tell(&format!(
                "no leading sidecar has listed the store; that of {pod} restores the newest backup on trial"
            ));
            let answer = self.ask(&client, spec, pod, "backup/restorable", TRIAL);
            match answer
                .await
                .and_then(|(status, body)| restorable(status, &body).map_err(|it| it.to_string()))
            {
                Ok(covered) => {
                    let pod = pod.to_owned();
                    return Heard::Tried { pod, covered, why };
                }
                Err(error) => all = format!("{all}; a restore on trial: {pod}: {error}"),
            }
        }
        Heard::Silent(all)
    }

    async fn listed_by(
        &self,
        client: &Client,
        spec: &Spec,
        leader: Result<&str, Trouble>,
    ) -> Result<Latest, Trouble> {
        let listed = self.ask(client, spec, leader?, "snapshot/latest", LISTING);
        let (status, body) = listed.await.map_err(Trouble::BackupsUnknown)?;
        chain(status, &body)
    }

    async fn ask(
        &self,
        client: &Client,
        spec: &Spec,
        pod: &str,
        path: &str,
        deadline: Duration,
    ) -> Result<(u16, Vec<u8>), String> {
        let tls = spec.pods.as_ref().is_ok_and(|it| it.backup_tls.is_some());
        let scheme = if tls { "https:" } else { "" };
        let (namespace, port) = (&self.namespace, spec.ports.backup);
        let url = format!("/api/v1/namespaces/{namespace}/pods/{scheme}{pod}:{port}/proxy/{path}");
        let request = Request::get(url).body(Body::empty());
        let request = request.map_err(|it| it.to_string())?;
        let answered = tokio::time::timeout(deadline, async {
            let response = client.send(request).await;
            let response = response.map_err(|it| it.to_string())?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await;
            Ok((
                status,
                body.map_err(|it| it.to_string())?.to_bytes().to_vec(),
            ))
        });
        answered
            .await
            .map_err(|_| format!("no answer within {} s", deadline.as_secs()))?
    }
}
