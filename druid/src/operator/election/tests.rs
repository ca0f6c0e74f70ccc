//! Against a real API server.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::operator::common_cluster::Cluster;
use crate::operator::common_kube;

const TERMS: Terms = Terms {
    lease: SignedDuration::from_secs(3),
    deadline: SignedDuration::from_secs(2),
    retry: SignedDuration::from_millis(200),
};
const PATIENCE: Duration = Duration::from_secs(20);

struct One {
    election: Election,
    stop: watch::Sender<bool>,
}

async fn one(cluster: &Cluster, lease: &str, me: &str) -> One {
    let api = Api::namespaced(common_kube::client(cluster).await, "default");
    let (stop, stopped) = watch::channel(false);
    let election = start(api, lease.to_owned(), me.to_owned(), TERMS, stopped);
    One { election, stop }
}

impl One {
    fn leads(&self) -> bool {
        *self.election.leads.borrow()
    }

    async fn until_it_leads(&mut self) -> Duration {
        let began = Instant::now();
        let leads = self.election.leads.wait_for(|it| *it);
        tokio::time::timeout(PATIENCE, leads)
            .await
            .unwrap()
            .unwrap();
        began.elapsed()
    }

    async fn ended(self) -> Ended {
        tokio::time::timeout(PATIENCE, self.election.task)
            .await
            .unwrap()
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_until_it_ends_and_then_another() {
    let cluster = Cluster::shared();
    let mut a = one(&cluster, "handed-over", "a").await;
    a.until_it_leads().await;
    let mut b = one(&cluster, "handed-over", "b").await;
    // Longer than the lease lasts: it is renewed.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(a.leads() && !b.leads() && !a.election.task.is_finished());
    a.stop.send_replace(true);
    assert_eq!(a.ended().await, Ended::Stopped);
    // It was given back; nobody waits for it to run out.
    assert!(b.until_it_leads().await < Duration::from_millis(2500));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_one_that_was_killed_is_taken_when_it_has_run_out() {
    let cluster = Cluster::shared();
    let mut a = one(&cluster, "killed", "a").await;
    a.until_it_leads().await;
    let mut b = one(&cluster, "killed", "b").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    a.election.task.abort();
    assert!(b.until_it_leads().await > Duration::from_secs(2));
    let api = Api::<Lease>::namespaced(common_kube::client(&cluster).await, "default");
    let spec = api.get("killed").await.unwrap().spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("b"));
    assert_eq!(spec.lease_transitions, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_lease_was_taken_ends() {
    let cluster = Cluster::shared();
    let mut a = one(&cluster, "taken", "a").await;
    a.until_it_leads().await;
    let api = Api::<Lease>::namespaced(common_kube::client(&cluster).await, "default");
    let other = kube::api::Patch::Merge(json!({"spec": {"holderIdentity": "x"}}));
    api.patch("taken", &kube::api::PatchParams::default(), &other)
        .await
        .unwrap();
    assert_eq!(a.ended().await, Ended::Lost);
    let spec = api.get("taken").await.unwrap().spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_reach_the_api_server_ends_before_its_lease_does() {
    let cluster = Cluster::start();
    let mut a = one(&cluster, "lost", "a").await;
    a.until_it_leads().await;
    let began = Instant::now();
    drop(cluster);
    assert_eq!(a.ended().await, Ended::Lost);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
}
