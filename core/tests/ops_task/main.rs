//! Tasks from outside: as etcd-druid v0.37.1 left them, and everything that can happen to them.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

mod goldens;
mod model;
mod search;
mod words;
