//! Keeps a Lease, or waits for one. The rules are in [`druid_core::election`].

use std::time::{Duration, Instant};

use druid_core::election::{Campaign, Held, Moment, Step, Terms};
use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock;

/// How long one request may take; a leader has time for two before its deadline.
const ANSWER: Duration = Duration::from_secs(4);

/// How often one that does not lead looks at least: nobody works between the end of one and the beginning
/// of another.
const LOOK: Duration = Duration::from_millis(500);

/// One operator's election.
#[derive(Debug)]
pub(crate) struct Election {
    /// Whether this one leads. It turns true once, and never false: who loses the lease begins anew.
    pub(crate) leads: watch::Receiver<bool>,
    /// Ends when it is no longer to lead.
    pub(crate) task: JoinHandle<Ended>,
}

/// Why an election is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// As asked; the lease was given back.
    Stopped,
    /// The lease is another's, or could not be renewed in time.
    Lost,
}

/// Begins. `me` differs from the names of all other processes.
pub(crate) fn start(
    api: Api<Lease>,
    name: String,
    me: String,
    terms: Terms,
    stop: watch::Receiver<bool>,
) -> Election {
    let (tell, leads) = watch::channel(false);
    let candidate = Candidate {
        api,
        name,
        campaign: Campaign::new(me, terms),
        began: Instant::now(),
        tell,
    };
    let task = tokio::spawn(candidate.run(terms.retry, stop));
    Election { leads, task }
}

struct Candidate {
    api: Api<Lease>,
    name: String,
    campaign: Campaign,
    began: Instant,
    tell: watch::Sender<bool>,
}

impl Candidate {
    async fn run(mut self, retry: SignedDuration, mut stop: watch::Receiver<bool>) -> Ended {
        let retry = Duration::try_from(retry).unwrap_or(ANSWER);
        loop {
            if self.round().await == Step::Lost {
                return Ended::Lost;
            }
            let wait = if self.campaign.leads() {
                retry
            } else {
                retry.min(LOOK)
            };
            let stopped = tokio::select! {
                () = tokio::time::sleep(wait) => false,
                _ = stop.wait_for(|it| *it) => true,
            };
            if stopped {
                self.release().await;
                return Ended::Stopped;
            }
        }
    }

    async fn round(&mut self) -> Step {
        let begun = self.moment();
        let read = match within(self.api.get_opt(&self.name)).await {
            Ok(read) => read,
            Err(why) => return self.failed(&why),
        };
        let version = read
            .as_ref()
            .and_then(|it| it.metadata.resource_version.clone());
        let step = self.campaign.read(read.map(held), begun);
        let Step::Write(lease) = &step else {
            return step;
        };
        match self.write(lease, version).await {
            Ok(()) => {
                self.campaign.written(lease.clone(), begun);
                if !self.tell.send_replace(true) {
                    tracing::info!(lease = %self.name, "this operator leads");
                }
                step
            }
            Err(why) => self.failed(&why),
        }
    }

    fn failed(&self, why: &str) -> Step {
        tracing::warn!(lease = %self.name, why, "the lease was not renewed");
        let over = self.campaign.failed(self.moment());
        over.unwrap_or(Step::Stand)
    }

    /// Creates it, or replaces what was read and nothing else.
    async fn write(&self, held: &Held, version: Option<String>) -> Result<(), String> {
        let lease = lease(&self.name, held, version);
        let params = PostParams::default();
        if lease.metadata.resource_version.is_some() {
            within(self.api.replace(&self.name, &params, &lease)).await
        } else {
            within(self.api.create(&params, &lease)).await
        }
        .map(drop)
    }

    async fn release(&self) {
        let Some(free) = self.campaign.released(self.moment()) else {
            return;
        };
        let read = within(self.api.get_opt(&self.name)).await;
        let version = match read {
            Ok(Some(lease)) => {
                let version = lease.metadata.resource_version.clone();
                if !self.campaign.is_ours(&held(lease)) {
                    return;
                }
                version
            }
            Ok(None) => return,
            Err(why) => return tracing::warn!(why, "the lease was not given back"),
        };
        if let Err(why) = self.write(&free, version).await {
            tracing::warn!(why, "the lease was not given back");
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            wall: clock::now(),
            steady: SignedDuration::try_from(self.began.elapsed()).unwrap_or(SignedDuration::MAX),
        }
    }
}

async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(ANSWER, call).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
    }
}

fn held(lease: Lease) -> Held {
    let spec = lease.spec.unwrap_or_default();
    let at = |time: Option<MicroTime>| time.map_or(jiff::Timestamp::UNIX_EPOCH, |it| it.0);
    Held {
        holder: spec.holder_identity.unwrap_or_default(),
        acquired: at(spec.acquire_time),
        renewed: at(spec.renew_time),
        transitions: spec.lease_transitions.unwrap_or(0),
        lease: SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(0).into()),
    }
}

fn lease(name: &str, held: &Held, version: Option<String>) -> Lease {
    let seconds = i32::try_from(held.lease.as_secs()).unwrap_or(i32::MAX);
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: version,
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(held.holder.clone()),
            acquire_time: Some(MicroTime(held.acquired)),
            renew_time: Some(MicroTime(held.renewed)),
            lease_transitions: Some(held.transitions),
            lease_duration_seconds: Some(seconds),
            ..LeaseSpec::default()
        }),
    }
}

#[cfg(test)]
mod tests;
