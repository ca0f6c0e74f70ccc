//! For how long leases were granted.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::etcd::{Client, Event};

/// What is known. etcd is asked once for each lease, when it is first seen.
#[derive(Debug, Default)]
pub(super) struct Leases {
    known: BTreeMap<i64, Option<i64>>,
    /// Not asked again before, because asking failed.
    again: Option<Instant>,
}

/// So many are remembered.
const MOST: usize = 100_000;
/// How long the watch waits for the answers about one message.
const BUDGET: Duration = Duration::from_secs(2);
/// How long nobody is asked after a failure.
const REST: Duration = Duration::from_secs(10);

impl Leases {
    /// Asks for those that are new. What cannot be found out is left out: a lease without a time is
    /// better than no backup.
    pub(super) async fn learn(&mut self, client: &Client, events: &[Event]) {
        let until = Instant::now() + BUDGET;
        for event in events {
            let Event::Put(kv) = event else { continue };
            let rest = self.again.is_some_and(|it| Instant::now() < it);
            if kv.lease == 0 || rest || self.known.contains_key(&kv.lease) {
                continue;
            }
            let budget = until.saturating_duration_since(Instant::now());
            match client.lease_granted_ttl(kv.lease, budget).await {
                Ok(granted) => {
                    if self.known.len() >= MOST {
                        self.known.clear();
                    }
                    self.known.insert(kv.lease, granted);
                }
                Err(error) => {
                    tracing::warn!(lease = kv.lease, %error, "the lease's TTL is not known");
                    self.again = Some(Instant::now() + REST);
                }
            }
        }
    }

    /// The granted seconds, if known.
    pub(super) fn granted(&self, lease: i64) -> Option<i64> {
        self.known.get(&lease).copied().flatten()
    }
}
