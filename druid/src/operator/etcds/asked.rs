//! The members of an Etcd, for whoever works on them beside its controller.

use std::collections::BTreeMap;

use druid_core::agent::recovery::Instruction;
use druid_core::member::MemberName;
use druid_core::observed::Etcd;
use druid_core::ops_task::{self, Deletion, Owner, Place, Sidecar, Trouble};
use druid_core::render::{HostPaths, Provider, Settings, Spec};
use druid_core::{api, compaction};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt as _;
use kube::api::{ApiResource, DynamicObject};

use super::apis::Apis;
use super::members::{self, Clients};
use super::world::{self, World};
use crate::etcd::Client;
use crate::operator::known::Named;

/// An Etcd that is asked again and again.
pub(in crate::operator) struct Cluster {
    apis: Apis,
    named: Named,
    clients: Clients,
}

impl Cluster {
    /// The one whose sidecars these are.
    pub(in crate::operator) fn new(client: kube::Client, of: &Sidecar) -> Self {
        Self::named(client, &of.namespace, &of.etcd)
    }

    /// The one of that name.
    pub(in crate::operator) fn named(client: kube::Client, namespace: &str, name: &str) -> Self {
        Self {
            apis: Apis::new(client, super::CONTROLLER, None),
            named: Named {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
            clients: Clients::default(),
        }
    }

    /// Its members as they are now, and what they answer.
    ///
    /// # Errors
    /// If they cannot be asked, or are being restarted for an upgrade.
    pub(in crate::operator) async fn ask(
        &mut self,
    ) -> Result<(Vec<(MemberName, Client)>, Etcd), Trouble> {
        let etcd = self.etcd().await?;
        if ops_task::Cluster::of(&etcd).rolling {
            return Err(Trouble::Rolling);
        }
        let (spec, world) = self.world(&etcd).await?;
        let certificates = Box::pin(members::certificates(&self.apis, &spec)).await;
        let certificates = match certificates {
            Ok(certificates) => certificates,
            Err(error) => {
                self.clients.forget();
                return Err(failed(&error));
            }
        };
        let members = world::clients(&mut self.clients, &spec, &world, &certificates);
        let survey = Box::pin(world.survey(&spec, &members)).await;
        Ok((members, survey.etcd))
    }

    /// The places of its members as they are now, and what they answer.
    ///
    /// # Errors
    /// If the API server does not tell.
    pub(in crate::operator) async fn survivors(&mut self) -> Result<Survivors, Trouble> {
        let etcd = self.etcd().await?;
        let (spec, world) = self.world(&etcd).await?;
        let leases = self.apis.leases(&self.named).await;
        let leases = leases.map_err(|error| failed(&error))?;
        let mut places = BTreeMap::new();
        for ordinal in 0..spec.replicas {
            let (member, pod) = (spec.member(ordinal), spec.pod(ordinal));
            let claim = match claim_of(&world, &pod) {
                Some(name) => {
                    let claim = self.apis.claim(&self.named.namespace, &name).await;
                    claim.map_err(|error| failed(&error))?
                }
                None => None,
            };
            let lease = leases.iter().find(|it| it.name_any() == member);
            let place = Place::of(world.pods.get(&pod), claim.as_ref(), lease);
            places.insert(MemberName(member), place);
        }
        let certificates = Box::pin(members::certificates(&self.apis, &spec)).await;
        let certificates = certificates.map_err(|error| failed(&error))?;
        let members = world::clients(&mut self.clients, &spec, &world, &certificates);
        let survey = Box::pin(world.survey(&spec, &members)).await;
        Ok(Survivors {
            places,
            members,
            etcd: survey.etcd,
        })
    }

    /// Writes what members are told into their leases, or takes it away. `found`: as they were when that was
    /// decided.
    ///
    /// # Errors
    /// If the API server does not take it, or a lease has changed since.
    pub(in crate::operator) async fn tell(
        &self,
        found: &Survivors,
        all: &BTreeMap<MemberName, Option<Instruction>>,
    ) -> Result<(), Trouble> {
        let lease = ApiResource::erase::<Lease>(&());
        let namespace = &self.named.namespace;
        for (member, told) in all {
            let place = found.places.get(member);
            let version = place.and_then(|it| it.version.as_deref());
            let patch = Instruction::patch(told.as_ref(), version);
            let changed = self.apis.change(namespace, &lease, &member.0, &patch);
            changed.await.map_err(|error| Trouble::Object {
                what: format!("changing Lease {member}"),
                why: error.to_string(),
            })?;
        }
        Ok(())
    }

    /// Deletes the pod or the claim of a member, and no other of its name.
    ///
    /// # Errors
    /// If the API server does not.
    pub(in crate::operator) async fn delete(&self, what: &Deletion) -> Result<(), Trouble> {
        let etcd = self.etcd().await?;
        let (spec, world) = self.world(&etcd).await?;
        let (Deletion::Pod(member, uid) | Deletion::Claim(member, uid)) = what;
        let pods = (0..spec.replicas).map(|it| (spec.member(it), spec.pod(it)));
        let pod = pods.into_iter().find(|(name, _)| *name == member.0);
        let Some((_, pod)) = pod else { return Ok(()) };
        let (kind, name) = match what {
            Deletion::Pod(..) => (ApiResource::erase::<Pod>(&()), pod),
            Deletion::Claim(..) => match claim_of(&world, &pod) {
                Some(claim) => (ApiResource::erase::<PersistentVolumeClaim>(&()), claim),
                None => return Ok(()),
            },
        };
        let mut object = DynamicObject::new(&name, &kind);
        object.metadata.uid = Some(uid.clone());
        let deleted = self
            .apis
            .delete_child(&self.named.namespace, &kind, &object);
        deleted.await.map_err(|error| Trouble::Object {
            what: format!("deleting {} {name}", kind.kind),
            why: error.to_string(),
        })
    }

    /// What the status of a task says of its result; `None` if there is no such task any more.
    ///
    /// # Errors
    /// If the API server does not tell.
    pub(in crate::operator) async fn result(
        &self,
        task: &Owner,
    ) -> Result<Option<api::TaskResult>, Trouble> {
        let found = self.apis.task(&self.named.namespace, &task.name).await;
        let found = found.map_err(|error| failed(&error))?;
        let found = found.filter(|it| it.metadata.uid.as_ref() == Some(&task.uid));
        Ok(found.map(|it| it.status.and_then(|it| it.result).unwrap_or_default()))
    }

    /// The Job that compacts its snapshots. It belongs to the Etcd.
    ///
    /// # Errors
    /// If it cannot be made of the Etcd as it is.
    pub(in crate::operator) async fn compaction_job(
        &self,
        settings: &Settings,
    ) -> Result<Job, Trouble> {
        let etcd = self.etcd().await?;
        let (spec, world) = self.world(&etcd).await?;
        let set = world.set.ok_or_else(|| {
            Trouble::PodsUnknown(format!("Etcd {} has no StatefulSet", self.named.name))
        })?;
        let mut paths = HostPaths::default();
        let store = spec.pods.as_ref().ok().and_then(|it| it.store.as_ref());
        if let Some(Provider::Local { secret: Some(name) }) = store.map(|it| &it.provider) {
            let secret = self.apis.secret(&self.named.namespace, name).await;
            if let Some(secret) = secret.map_err(|error| failed(&error))? {
                paths.add(name, &secret);
            }
        }
        compaction::job(&spec, &set, settings, &paths)
    }

    async fn etcd(&self) -> Result<api::Etcd, Trouble> {
        let missing = || Trouble::EtcdMissing {
            namespace: self.named.namespace.clone(),
            name: self.named.name.clone(),
        };
        let found = Box::pin(self.apis.etcd(&self.named)).await;
        let found = found.map_err(|error| failed(&error))?;
        let read = found.ok_or_else(missing)?.0;
        read.map_err(|invalid| Trouble::EtcdUnreadable(invalid.error))
    }

    async fn world(&self, etcd: &api::Etcd) -> Result<(Spec, World), Trouble> {
        let spec = Spec::parse(etcd);
        let spec = spec.map_err(|problems| Trouble::EtcdUnreadable(problems.to_string()))?;
        let world = Box::pin(world::world(&self.apis, &self.named, &spec)).await;
        Ok((spec, world.map_err(|error| failed(&error))?))
    }
}

/// The claim of a pod, by the name that its StatefulSet gives it.
fn claim_of(world: &World, pod: &str) -> Option<String> {
    let spec = world.set.as_ref()?.spec.as_ref()?;
    let template = spec.volume_claim_templates.as_ref()?.first()?;
    Some(format!("{}-{pod}", template.metadata.name.as_ref()?))
}

/// What is there while a cluster is recovered.
pub(in crate::operator) struct Survivors {
    /// By member.
    pub(in crate::operator) places: BTreeMap<MemberName, Place>,
    /// Those that have an address.
    pub(in crate::operator) members: Vec<(MemberName, Client)>,
    /// What they answer.
    pub(in crate::operator) etcd: Etcd,
}

fn failed(error: &dyn std::error::Error) -> Trouble {
    Trouble::Members(error.to_string())
}
