//! The sidecars in the pods of an Etcd, asked through the API server (the subresource `pods/proxy`): it needs
//! no way to the pods, and looks at no certificate of theirs
//! (<https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/>).

use std::collections::BTreeMap;
use std::time::Duration;

use druid_core::ops_task::{Latest, Says, chain, leading};
use druid_core::render::Spec;
use futures_util::future::join_all;
use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;

use super::connect::Cluster;

/// For a sidecar to say whether it leads.
const HEALTH: Duration = Duration::from_secs(5);
/// For it to list the store.
const LISTING: Duration = Duration::from_secs(15);

impl Cluster {
    /// What the sidecar beside the leading member says of the store, or why none was heard.
    pub(super) async fn latest(&self, spec: &Spec) -> Result<Latest, String> {
        let pods = (0..spec.replicas).map(|at| spec.pod(at));
        let asked = pods.map(async |pod| {
            let says = match self.ask(spec, &pod, "healthz", HEALTH).await {
                Ok((status, body)) => Says::through(status, &body),
                Err(why) => Says::Unknown(why),
            };
            (pod, says)
        });
        let said: BTreeMap<_, _> = join_all(asked).await.into_iter().collect();
        let leader = leading(&said).map_err(|it| it.to_string())?;
        let (status, body) = self.ask(spec, leader, "snapshot/latest", LISTING).await?;
        chain(status, &body).map_err(|it| it.to_string())
    }

    async fn ask(
        &self,
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
            let response = self.client.send(request).await;
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
