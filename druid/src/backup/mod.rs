//! Taking snapshots of a live etcd into a store. What is decided is in
//! [`druid_core::backup::snapshotter`]; here it is done.

pub(crate) mod capture;
pub(crate) mod codec;
pub(crate) mod collect;
pub(crate) mod full;
pub(crate) mod schedule;
pub(crate) mod snapshots;
pub(crate) mod upload;

#[cfg(test)]
pub(crate) mod tests;
