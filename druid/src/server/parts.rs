//! What the server takes from the other parts: the data directory, the store, and whoever takes
//! snapshots.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use druid_core::agent::recovery::{Holding, Memory};
use druid_core::backup::initialize::{Data, Probe, Store, Volume};
use druid_core::member::{MemberId, MemberName};
use serde_json::Value;
use thiserror::Error;
use tokio::sync::watch;

use super::leases::Progress;

/// An answer that takes time.
pub(crate) type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The data directory, and the volume that it is on.
pub(crate) trait DataDir: fmt::Debug + Send + Sync {
    /// Whose volume it is. The first to ask owns it.
    fn volume(&self) -> Later<'_, Result<Volume, String>>;
    /// Looks at it, as far as that is cheap, and at what is asked for besides.
    fn inspect<'a>(&'a self, probes: &'a [Probe]) -> Later<'a, Result<Data, String>>;
    /// Moves it aside, if there is one. Returns where it is then.
    fn move_aside(&self) -> Later<'_, Result<Option<PathBuf>, String>>;
    /// What it holds, as far as a recovery has to know.
    fn holding(&self) -> Later<'_, Result<Holding, String>>;
    /// Makes its member a cluster of its own. Returns whom that had besides.
    fn make_alone(&self) -> Later<'_, Result<Vec<MemberId>, String>>;
    /// What a recovery has begun or done to it last.
    fn recovered(&self) -> Later<'_, Result<Option<Memory>, String>>;
    /// Remembers that.
    fn remember(&self, memory: Memory) -> Later<'_, Result<(), String>>;
}

/// Whose data is made from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: MemberName,
    /// Where peers reach it.
    pub(crate) peer_urls: Vec<String>,
}

/// The store, as far as a member's start needs it.
pub(crate) trait Backups: fmt::Debug + Send + Sync {
    /// How far it reaches.
    fn newest(&self) -> Later<'_, Store>;
    /// Makes the data directory from the newest chain. The old one is moved aside, and only once the
    /// new one is whole.
    fn restore(&self, target: Target) -> Later<'_, Result<(), String>>;
}

/// Why there is no snapshot, or nothing is known of one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum NoSnapshot {
    /// It went wrong.
    #[error("{0}")]
    Failed(String),
    /// What is in the store cannot be used, and will not be by itself.
    #[error("{0}")]
    Damaged(String),
    /// Not now.
    #[error(
        "a backup is being unpacked, and there is room for one at a time: ask again in {RETRY_AFTER} s"
    )]
    Busy,
}

/// When to ask again, seconds.
pub(crate) const RETRY_AFTER: u16 = 10;

/// How the backup stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Standing {
    /// Whether nobody has to look.
    pub(crate) good: bool,
    /// In words.
    pub(crate) says: String,
    /// The age of the newest state that the store covers, seconds.
    pub(crate) age: Option<f64>,
}

/// Whoever takes snapshots while this member leads.
pub(crate) trait Snapshots: fmt::Debug + Send + Sync {
    /// Takes a full one. The answer is that of `/snapshot/full`.
    fn full(&self, is_final: bool) -> Later<'_, Result<Value, NoSnapshot>>;
    /// Takes a delta; null if nothing happened.
    fn delta(&self) -> Later<'_, Result<Value, NoSnapshot>>;
    /// The newest chain. The answer is that of `/snapshot/latest`.
    fn latest(&self) -> Later<'_, Result<Value, NoSnapshot>>;
    /// Reads a full snapshot again, all of it.
    fn verify(&self, name: String) -> Later<'_, Result<Value, NoSnapshot>>;
    /// Restores the newest chain without keeping the result: how far does that go?
    fn restorable(&self) -> Later<'_, Result<Value, NoSnapshot>>;
    /// How the backup stands.
    fn standing(&self) -> Standing;
    /// What the leases are to say.
    fn progress(&self) -> watch::Receiver<Progress>;
    /// Takes what is not in the store yet there, as this program ends.
    fn finish(&self) -> Later<'_, ()>;
}

/// What comes with a store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    /// For a member's start.
    pub(crate) backups: Option<Arc<dyn Backups>>,
    /// For the time after it.
    pub(crate) snapshots: Option<Arc<dyn Snapshots>>,
}
