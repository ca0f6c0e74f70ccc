//! The lab: a throwaway cluster of real etcd processes on this machine, which behaves like a
//! platform. What ends by itself is started again as the same release; a member gets the
//! template's release only when told to restart (a `StatefulSet` with `OnDelete` and its kubelet).
//!
//! [`cluster`] is the whole; [`supervisor`] runs one member; [`process`] and [`shim`] see to it
//! that no etcd outlives this program; [`snapshot`] keeps full snapshots; [`seed`] is what it
//! begins with if not with nothing; the rest are details.

pub(crate) mod binaries;
pub(crate) mod cluster;
pub(crate) mod config;
pub(crate) mod events;
pub(crate) mod flip;
pub(crate) mod ports;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod seed;
pub(crate) mod shim;
pub(crate) mod snapshot;
pub(crate) mod supervisor;
pub(crate) mod workdir;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A panic elsewhere leaves plain values behind, which are still true.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
