//! A real Kubernetes on this machine, from nothing but package registries: the Go module in
//! `xtask/kubernetes/` builds the components, a crate brings etcd.
//!
//! `control_plane` is kube-apiserver with etcd behind it, `node` is that and everything that runs
//! pods: both for tests ([`ControlPlane`], [`Node`]) and for `cargo xtask cluster` ([`cli`], which
//! keeps its clusters in `named`). `helm` installs charts there, `store` keeps their backups. `tools` builds, `pki` and `kubeconfig` say who may come in,
//! `process` starts and ends.

pub mod cli;
mod control_plane;
mod helm;
mod kubeconfig;
mod kustomize;
mod layout;
mod name;
mod named;
mod node;
mod pki;
pub mod ports;
pub(crate) mod process;
pub mod processes;
mod record;
mod site;
mod store;
mod tools;

pub use control_plane::{ControlPlane, ControlPlaneError};
pub use helm::{helm, helm_in};
pub use kustomize::kustomize;
pub use layout::Layout;
pub use name::{ClusterName, NameError};
pub use node::{Node, NodeError, Traces, Unable};
pub use store::versitygw;
pub use tools::ToolsError;
