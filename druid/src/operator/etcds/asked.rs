//! The members of an Etcd, for whoever works on them beside its controller.

use druid_core::member::MemberName;
use druid_core::observed::Etcd;
use druid_core::ops_task::{self, Sidecar, Trouble};
use druid_core::render::Spec;

use super::apis::Apis;
use super::members::{self, Clients};
use super::world;
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
            apis: Apis::new(client, None),
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
        let missing = || Trouble::EtcdMissing {
            namespace: self.named.namespace.clone(),
            name: self.named.name.clone(),
        };
        let failed = |error: &dyn std::error::Error| Trouble::Members(error.to_string());
        let found = self.apis.etcd(&self.named).await;
        let etcd = found
            .map_err(|error| failed(&error))?
            .ok_or_else(missing)?
            .0
            .map_err(|invalid| Trouble::EtcdUnreadable(invalid.error))?;
        if ops_task::Cluster::of(&etcd).rolling {
            return Err(Trouble::Rolling);
        }
        let spec = Spec::parse(&etcd);
        let spec = spec.map_err(|problems| Trouble::EtcdUnreadable(problems.to_string()))?;
        let world = world::world(&self.apis, &self.named, &spec).await;
        let world = world.map_err(|error| failed(&error))?;
        let certificates = members::certificates(&self.apis, &spec).await;
        let certificates = match certificates {
            Ok(certificates) => certificates,
            Err(error) => {
                self.clients.forget();
                return Err(failed(&error));
            }
        };
        let members = world::clients(&mut self.clients, &spec, &world, &certificates);
        let survey = world.survey(&spec, &members).await;
        Ok((members, survey.etcd))
    }
}
