//! The operator on a real node: etcd in pods, from one release to the next and back, whatever happens.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

#[path = "../common_authority/mod.rs"]
mod common_authority;
#[path = "../common_cluster/mod.rs"]
mod common_cluster;
#[path = "../common_operator/mod.rs"]
mod common_operator;

mod alone;
mod copies;
mod docs;
mod edits;
mod faults;
mod gate;
mod life;
mod maintenance;
mod recovery;
mod tasks;
mod tls;
