//! What the clients do. Each does one thing at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use druid_core::oracle::findings::StaleRead;
use druid_core::oracle::ledger::Held;
use druid_core::oracle::{Key, Tag};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::log::{Answer, Effect, Running};
use super::roster::Seat;
use super::{PATIENCE, Shared};
use crate::etcd::{Error, Keys, Kv};

/// How long a client waits before it tries something else after a failure.
const BREATH: Duration = Duration::from_millis(10);

/// Of this many writes of a writer, one deletes what an earlier one of them wrote.
const DELETE_EVERY: u32 = 16;

/// Which of them is deleted.
const DELETED: u32 = 7;

/// How long half of all operations on registers go to the same one.
const HOT_NS: u64 = 250_000_000;

/// Whether its writer will delete a key.
pub(super) fn is_deleted_later(tag: Tag) -> bool {
    tag.seq % DELETE_EVERY == DELETED
}

/// A client: its number, its luck and its pace.
struct Session {
    shared: Arc<Shared>,
    id: u16,
    rng: SmallRng,
    interval: Duration,
    next: Instant,
}

impl Session {
    fn new(shared: Arc<Shared>, id: u16, per_second: u32) -> Self {
        let seed = shared.spec.seed ^ u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut rng = SmallRng::seed_from_u64(seed);
        let interval = Duration::from_secs(1) / per_second.max(1);
        // The clients' first turns are spread over one interval.
        let next = Instant::now() + interval.mul_f64(rng.random());
        Self {
            shared,
            id,
            rng,
            interval,
            next,
        }
    }

    /// Waits for its next turn; false when there is none. Missed turns are not made up for.
    async fn turn(&mut self) -> bool {
        tokio::time::sleep_until(self.next).await;
        self.next = (self.next + self.interval).max(Instant::now());
        !self.shared.is_stopping()
    }

    fn begin(&self, key: &Key, effect: Option<Effect>) {
        let running = Running {
            key: key.clone(),
            call: self.shared.now(),
            effect,
        };
        self.shared.log.begin(self.id, running);
    }

    fn end(&self, answer: Answer) {
        let now = self.shared.now();
        self.shared.log.end(self.id, answer, now);
    }

    /// The operation failed on `seat`: the next one goes elsewhere, and soon.
    fn failed(&mut self, seat: &Seat, error: &Error) -> Answer {
        if error.is_retryable() || error.is_ambiguous() {
            seat.failed();
        }
        self.next = Instant::now() + BREATH;
        if error.is_ambiguous() {
            Answer::Unknown
        } else {
            Answer::Failed
        }
    }

    async fn put(&mut self, seat: &Seat, key: &Key, tag: Tag) -> bool {
        let value = tag.encode(self.shared.spec.value_size);
        let name = key.to_string();
        self.begin(key, Some(Effect::Put(tag)));
        let answer = seat.client.put(name.as_bytes(), &value, None, PATIENCE);
        let answer = match answer.await {
            Ok(revision) => Answer::Done { revision },
            Err(error) => self.failed(seat, &error),
        };
        let done = matches!(answer, Answer::Done { .. });
        self.end(answer);
        done
    }

    async fn delete(&mut self, seat: &Seat, key: &Key) {
        let name = key.to_string();
        self.begin(key, Some(Effect::Delete));
        let answer = seat.client.delete(Keys::One(name.as_bytes()), PATIENCE);
        let answer = match answer.await {
            Ok((1.., revision)) => Answer::Done { revision },
            // It was gone already: then its acknowledged write is lost, and will be found to be.
            Ok(_) => Answer::Failed,
            Err(error) => self.failed(seat, &error),
        };
        self.end(answer);
    }

    /// Returns what the register holds now, if that is known.
    async fn swap(
        &mut self,
        seat: &Seat,
        key: &Key,
        expect: Option<Tag>,
        new: Tag,
    ) -> Option<Option<Tag>> {
        let size = self.shared.spec.value_size;
        let name = key.to_string();
        let (old, value) = (expect.map(|tag| tag.encode(size)), new.encode(size));
        self.begin(key, Some(Effect::Swap { expect, new }));
        let answer = seat
            .client
            .txn_cas(name.as_bytes(), old.as_deref(), &value, PATIENCE)
            .await;
        let (answer, known) = match answer {
            Ok(cas) if cas.succeeded => {
                let revision = cas.revision;
                (Answer::Done { revision }, Some(Some(new)))
            }
            Ok(cas) => {
                let found = cas.current.as_deref().map(Tag::decode);
                (Answer::Refused { found }, Some(found))
            }
            Err(error) => (self.failed(seat, &error), None),
        };
        self.end(answer);
        known
    }

    /// Returns what the register holds now, if that is known.
    async fn read(&mut self, seat: &Seat, key: &Key) -> Option<Option<Tag>> {
        let name = key.to_string();
        self.begin(key, None);
        let (answer, known) = match seat.client.get(name.as_bytes(), true, PATIENCE).await {
            Ok((kv, _)) => {
                let found = kv.map(|kv| Tag::decode(&kv.value));
                (Answer::Found(found), Some(found))
            }
            Err(error) => (self.failed(seat, &error), None),
        };
        self.end(answer);
        known
    }

    /// Reads a key that was acknowledged at `revision`.
    async fn check(&mut self, seat: &Seat, tag: Tag, revision: i64) {
        let key = Key::Unique(tag);
        let name = key.to_string();
        let call = self.shared.now();
        self.begin(&key, None);
        let answer = match seat.client.get(name.as_bytes(), true, PATIENCE).await {
            Ok((kv, _)) => {
                let found = kv.as_ref().map(held);
                let stale = (found != Some(Held { tag, revision })).then_some(StaleRead {
                    client: self.id,
                    key,
                    revision,
                    found,
                    call,
                });
                Answer::Checked(stale)
            }
            Err(error) => self.failed(seat, &error),
        };
        self.end(answer);
    }
}

/// What a stored key of the load holds.
pub(super) fn held(kv: &Kv) -> Held {
    Held {
        tag: Tag::decode(&kv.value),
        revision: kv.mod_revision,
    }
}

/// Writes keys of its own, one after the other, and deletes some of them again.
pub(super) async fn write(shared: Arc<Shared>, id: u16) {
    let per_second = shared.spec.writes_per_second;
    let mut session = Session::new(Arc::clone(&shared), id, per_second);
    let mut to_delete = None;
    for seq in 0.. {
        if !session.turn().await {
            return;
        }
        let seat = shared.roster.pick(id.into());
        if let (true, Some(key)) = (seq % DELETE_EVERY == DELETE_EVERY - 1, to_delete.take()) {
            session.delete(seat, &key).await;
            continue;
        }
        let tag = Tag { writer: id, seq };
        let key = Key::Unique(tag);
        if session.put(seat, &key, tag).await && is_deleted_later(tag) {
            to_delete = Some(key);
        }
    }
}

/// Reads, writes and swaps registers, on any member.
pub(super) async fn use_registers(shared: Arc<Shared>, id: u16) {
    let spec = shared.spec;
    let per_second = spec.register_operations_per_second;
    let mut session = Session::new(Arc::clone(&shared), id, per_second);
    let mut known: BTreeMap<u16, Option<Tag>> = BTreeMap::new();
    for seq in 0.. {
        if !session.turn().await {
            return;
        }
        let register = register(&mut session, spec.registers);
        let key = Key::Register(register);
        let seat = shared
            .roster
            .pick(session.rng.random_range(0..usize::from(u16::MAX)));
        let new = Tag { writer: id, seq };
        let now = match session.rng.random_range(0..10) {
            0..5 => session.read(seat, &key).await,
            5..8 => session.put(seat, &key, new).await.then_some(Some(new)),
            _ => {
                let expect = known.get(&register).copied().flatten();
                session.swap(seat, &key, expect, new).await
            }
        };
        if let Some(now) = now {
            known.insert(register, now);
        }
    }
}

/// Half of the time the one that all clients are after, so that they meet.
fn register(session: &mut Session, registers: u16) -> u16 {
    let registers = registers.max(1);
    if session.rng.random() {
        let hot = session.shared.now() / HOT_NS % u64::from(registers);
        u16::try_from(hot).unwrap_or(0)
    } else {
        session.rng.random_range(0..registers)
    }
}

/// Reads what was just acknowledged, on any member.
pub(super) async fn read(shared: Arc<Shared>, id: u16) {
    let per_second = shared.spec.reads_per_second;
    let mut session = Session::new(Arc::clone(&shared), id, per_second);
    while session.turn().await {
        let writer = session
            .rng
            .random_range(0..usize::from(shared.spec.writers).max(1));
        let seat = shared
            .roster
            .pick(session.rng.random_range(0..usize::from(u16::MAX)));
        if let Some((tag, revision)) = shared.log.recent(writer) {
            session.check(seat, tag, revision).await;
        }
    }
}
