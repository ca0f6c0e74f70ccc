//! `druid operator`: brings every Etcd of a Kubernetes cluster to what its spec asks for.

mod args;
mod client;
pub(crate) mod compaction;
mod copy_task;
mod defined;
#[cfg(debug_assertions)]
mod dying;
pub(crate) mod election;
mod etcds;
mod health;
mod jobs;
pub(crate) mod known;
mod leading;
pub(crate) mod ops_task;
mod place;
mod reports;
pub(crate) mod request;
mod run;
mod secrets;
mod settings;
mod turns;
mod webhook;

#[cfg(test)]
#[path = "../../tests/common_cluster/mod.rs"]
pub(crate) mod common_cluster;
#[cfg(test)]
#[path = "../../tests/common_kube/mod.rs"]
pub(crate) mod common_kube;

pub(crate) use args::Args;
pub(crate) use run::run;
