//! What is counted, for `/metrics`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use druid_core::status::numbers::{Expiries, Numbers, OfEtcd};

use crate::operator::known::Named;

/// Numbers that are counted here and shown elsewhere. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(Arc<Mutex<Numbers>>);

impl Counts {
    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn looked(&self, failed: bool) {
        self.numbers().looked(failed);
    }

    /// This is so of an Etcd now. `certificates`: nothing if they were not looked at.
    pub(super) fn tell(&self, named: &Named, told: OfEtcd, certificates: Option<Expiries>) {
        self.numbers()
            .tell(&named.namespace, &named.name, told, certificates);
    }

    pub(super) fn forget(&self, named: &Named) {
        self.numbers().forget(&named.namespace, &named.name);
    }

    /// The text of now.
    pub(crate) fn text(&self) -> String {
        self.numbers().text()
    }
}
