//! Which members the clients may turn to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use druid_core::member::MemberName;
use druid_core::oracle::Key;

use super::Shared;
use crate::etcd::Client;

/// How often a member that failed is asked whether it is back.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// How long it may take to say so.
const PROBE_PATIENCE: Duration = Duration::from_millis(300);

/// The members in a fixed order.
#[derive(Debug)]
pub(super) struct Roster {
    seats: Vec<Seat>,
}

/// A member.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) name: MemberName,
    pub(super) client: Client,
    up: AtomicBool,
}

impl Roster {
    pub(super) fn new(members: Vec<(MemberName, Client)>) -> Self {
        let seats = members.into_iter().map(|(name, client)| Seat {
            name,
            client,
            up: AtomicBool::new(true),
        });
        Self {
            seats: seats.collect(),
        }
    }

    pub(super) fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// How many have not failed.
    pub(super) fn up(&self) -> usize {
        let up = |seat: &&Seat| seat.up.load(Ordering::Relaxed);
        self.seats.iter().filter(up).count()
    }

    /// The preferred member, counted around the table, or the next one after it that is up. If
    /// none is, the preferred one.
    pub(super) fn pick(&self, preferred: usize) -> &Seat {
        let seats = self.seats.len();
        let order = (0..seats).map(|step| &self.seats[(preferred + step) % seats]);
        let up = |seat: &&Seat| seat.up.load(Ordering::Relaxed);
        order
            .clone()
            .find(up)
            .unwrap_or(&self.seats[preferred % seats])
    }
}

impl Seat {
    /// Nobody turns to it until it answers again.
    pub(super) fn failed(&self) {
        self.up.store(false, Ordering::Relaxed);
    }
}

/// Asks the members that failed until they answer a linearizable read.
pub(super) async fn look_after(shared: Arc<Shared>) {
    let key = Key::Register(0).to_string();
    loop {
        for seat in shared.roster.seats() {
            if seat.up.load(Ordering::Relaxed) {
                continue;
            }
            let answer = seat.client.get(key.as_bytes(), true, PROBE_PATIENCE).await;
            if answer.is_ok() {
                seat.up.store(true, Ordering::Relaxed);
            }
        }
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}
