//! The controller against a genuine API server, and sidecars on loopback: `druid server` beside
//! genuine etcd, and scripts of what a sidecar may do.

pub(in crate::operator) mod bed;
mod compaction;
mod kinds;
mod queueing;
mod recovery;
mod restarts;
pub(in crate::operator) mod scripted;
mod sidecar;
mod snapshots;
mod tls;
mod trouble;

pub(crate) use bed::Ports;
