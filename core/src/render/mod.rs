//! From an Etcd to the objects that make it.
//!
//! [`Spec::parse`] reads an Etcd into types that cannot be wrong, or says every reason why that
//! cannot be. All objects are pure functions of a [`Spec`] and the [`Facts`] about the world.
//!
//! They equal, byte for byte where bytes matter, those of etcd-druid v0.37.1, so that taking over
//! a running cluster restarts no pod; what is meant to differ is in [`deviations`]. What the API
//! server adds to what it is given is in [`stored`].

mod access;
mod compaction_job;
mod config_map;
mod copy_job;
mod difference;
mod disruption_budget;
mod etcd_container;
mod facts;
mod go_yaml;
mod healing;
mod lease;
mod meta;
mod objects;
mod owned;
mod parse;
mod problem;
mod reader;
mod secrets;
mod service;
mod sidecar;
mod spec;
mod stateful_set;
mod store;

#[cfg(test)]
mod tests;

pub mod deviations;
pub mod stored;

pub use access::{role, role_binding, role_rules, service_account};
pub use compaction_job::compaction_job;
pub use config_map::{checksum, config_map};
pub use copy_job::{Bucket, COPY_JOB, CopySpec, Wait, copy_job, copy_job_name};
pub use difference::{Difference, compare};
pub use disruption_budget::disruption_budget;
pub use facts::{BUCKETS, Facts, HostPaths, Images, Release, Settings};
pub use healing::before_apply;
pub use lease::{member_leases, snapshot_leases};
pub use meta::owner_labels;
pub use objects::{Objects, Runtime, objects};
pub use problem::{Notice, Problem, ProblemReport, Problems};
pub use secrets::{
    CertificateReference, SecretReference, TLS_CERTIFICATE, certificates, missing_secrets,
    secret_references,
};
pub use service::{client_service, peer_service};
pub use spec::{
    Ca, ClientService, Compaction, Config, GarbageCollection, Identity, PeerCa, PeerTls, Pods,
    Ports, Sidecar, Spec, Tls, UpgradeWish, User, Volume,
};
pub use stateful_set::stateful_set;
pub use store::{Cloud, Provider, Store};
