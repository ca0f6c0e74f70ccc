//! The members of an Etcd, for whoever works on them beside its controller.

use druid_core::member::MemberName;
use druid_core::observed::Etcd;
use druid_core::ops_task::{self, Sidecar, Trouble};
use druid_core::render::{HostPaths, Provider, Settings, Spec};
use druid_core::{api, compaction};
use k8s_openapi::api::batch::v1::Job;

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
        Self {
            apis: Apis::new(client, super::CONTROLLER, None),
            named: Named {
                namespace: of.namespace.clone(),
                name: of.etcd.clone(),
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

fn failed(error: &dyn std::error::Error) -> Trouble {
    Trouble::Members(error.to_string())
}
