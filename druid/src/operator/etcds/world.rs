//! What there is of an Etcd at one moment: the API server's view, and what the members answer.

use std::collections::BTreeMap;
use std::time::Duration;

use druid_core::make::{Make, Template};
use druid_core::member::MemberName;
use druid_core::observed::{Answer, Answered, Etcd, Process};
use druid_core::reconcile::{self, Makes, endpoint, process};
use druid_core::render::Spec;
use druid_core::version::Version;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::apis::Apis;
use super::members::Clients;
use crate::observe::{self, Survey};
use crate::operator::known::Named;
use crate::operator::request::ApiError;

/// For one answer of a member.
pub(super) const DEADLINE: Duration = Duration::from_millis(1500);

/// The label of a pod that says of which revision of the StatefulSet it is.
const REVISION: &str = "controller-revision-hash";

/// The API server's view.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    /// The StatefulSet, if there is one and it is ours.
    pub(super) set: Option<StatefulSet>,
    /// Its pods.
    pub(super) pods: BTreeMap<String, Pod>,
    /// The addresses behind the Service for clients.
    pub(super) behind: Vec<String>,
}

/// Looks at the API server.
pub(super) async fn world(apis: &Apis, named: &Named, spec: &Spec) -> Result<World, ApiError> {
    let service = spec.identity.client_service();
    let (set, pods, behind) = tokio::try_join!(
        apis.stateful_set(named),
        apis.pods(named),
        apis.behind(&named.namespace, &service),
    )?;
    let ours = |owners: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference],
                uid: &str| owners.iter().any(|it| it.uid == uid);
    let set = set.filter(|it| {
        let owners = it.owner_references();
        // One without an owner is adopted.
        owners.is_empty() || ours(owners, &spec.identity.uid)
    });
    let uid = set
        .as_ref()
        .and_then(kube::ResourceExt::uid)
        .unwrap_or_default();
    let pods = pods
        .into_iter()
        .filter(|it| ours(it.owner_references(), &uid));
    Ok(World {
        set,
        pods: pods.map(|it| (it.name_any(), it)).collect(),
        behind,
    })
}

/// Of which revision a pod is.
pub(super) fn revision(pod: &Pod) -> Option<&str> {
    pod.labels().get(REVISION).map(String::as_str)
}

impl World {
    /// The revision that pods get that are created now; `None` as long as the StatefulSet's
    /// controller has not seen its newest template.
    pub(super) fn newest(&self) -> Option<&str> {
        let set = self.set.as_ref()?;
        let status = set.status.as_ref()?;
        let seen = status.observed_generation >= set.metadata.generation;
        status.update_revision.as_deref().filter(|_| seen)
    }

    /// How many pods the StatefulSet is to have.
    pub(super) fn wanted(&self) -> i32 {
        let spec = self.set.as_ref().and_then(|it| it.spec.as_ref());
        spec.and_then(|it| it.replicas).unwrap_or_default()
    }

    /// What a pod was made from. `template`: what the newest revision makes. Of a revision that
    /// nobody knows, the member says which release it runs, and the rest is another than is wanted.
    pub(super) fn make(
        &self,
        pod: &Pod,
        makes: &Makes,
        template: &Make,
        says: Option<Version>,
    ) -> Make {
        let revision = revision(pod).unwrap_or_default();
        if self.newest() == Some(revision) {
            return template.clone();
        }
        makes.0.get(revision).cloned().unwrap_or_else(|| Make {
            version: says.unwrap_or(template.version),
            template: Template("unknown".to_owned()),
        })
    }

    /// The pods, as the engine sees them.
    pub(super) fn processes(
        &self,
        spec: &Spec,
        etcd: &Etcd,
        makes: &Makes,
        template: &Make,
        enough: u32,
    ) -> BTreeMap<MemberName, Process> {
        let all = (0..spec.replicas).map(|ordinal| {
            let name = MemberName(spec.member(ordinal));
            let pod = self.pods.get(&spec.pod(ordinal));
            let says = etcd.members.get(&name).and_then(Answer::status);
            let says = says.map(|it| it.version);
            let make = pod.map(|it| self.make(it, makes, template, says));
            let make = make.unwrap_or_else(|| template.clone());
            (name, process(pod, make, enough))
        });
        all.collect()
    }

    /// Asks the members. One whose pod takes no traffic serves nobody, whatever it says.
    pub(super) async fn survey(
        &self,
        spec: &Spec,
        members: &[(MemberName, crate::etcd::Client)],
    ) -> Survey {
        let mut survey = observe::survey(members, DEADLINE).await;
        for ordinal in 0..spec.replicas {
            let name = MemberName(spec.member(ordinal));
            let pod = self.pods.get(&spec.pod(ordinal));
            match survey.etcd.members.get_mut(&name) {
                None => {
                    let why = match pod {
                        None => "it has no pod",
                        Some(_) => "its pod has no address",
                    };
                    let silent = Answer::Silent(why.to_owned());
                    survey.etcd.members.insert(name, silent);
                }
                Some(Answer::Status(status)) if status.ready.is_ok() => {
                    status.ready = self.takes_traffic(pod);
                }
                Some(Answer::Status(_) | Answer::Silent(_)) => {}
            }
        }
        survey
    }

    fn takes_traffic(&self, pod: Option<&Pod>) -> Result<(), String> {
        let Some(pod) = pod.filter(|it| reconcile::ready(it)) else {
            return Err("its pod is not ready".to_owned());
        };
        let address = endpoint(pod).unwrap_or_default();
        if self.behind.iter().any(|it| it == address) {
            Ok(())
        } else {
            Err("its pod is not behind the Service for clients yet".to_owned())
        }
    }
}

/// What nobody was asked.
pub(super) fn nobody(why: &str) -> Survey {
    Survey {
        etcd: Etcd {
            members: BTreeMap::new(),
            membership: Answered::Unknown(why.to_owned()),
            alarms: Answered::Unknown(why.to_owned()),
        },
        listed: Vec::new(),
    }
}

/// The clients of the members that have an address.
pub(super) fn clients(
    clients: &mut Clients,
    spec: &Spec,
    world: &World,
    certificates: &super::members::Certificates,
) -> Vec<(MemberName, crate::etcd::Client)> {
    clients.of(spec, &world.pods, certificates)
}
