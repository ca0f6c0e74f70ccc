//! What the two programs of a member decide: the one that starts etcd, and the one beside it that
//! looks after its data. They are compatible with etcd-wrapper and etcd-backup-restore.
//!
//! Reading order: [`argv`] (command lines as Go takes them), [`handshake`] (when may etcd start),
//! [`config`] (what is it started with), [`membership`] (what a member list says of this member),
//! [`marker`] (was it stopped in good order), [`lease`], [`recovery`] (what it is told when
//! quorum is lost), [`snapshot`] (how an object is told over HTTP), [`member`] (how a member is), [`metrics`].

pub mod argv;
pub mod config;
pub mod handshake;
pub mod kubeconfig;
pub mod lease;
pub mod marker;
pub mod member;
pub mod membership;
pub mod metrics;
pub mod recovery;
pub mod snapshot;
pub mod yaml;
