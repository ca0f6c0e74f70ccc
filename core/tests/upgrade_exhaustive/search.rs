//! Breadth-first search, so that the first violation found has the shortest way to it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use druid_core::upgrade::{Step, Why};

use crate::model::{Broken, Move, Setup, World};

/// Rounds after which a world without faults has to have come to an end.
const ROUNDS: usize = 60;

/// Two 64-bit hashes: a search of millions of states must not take one for another.
type Key = (u64, u64);

fn key(world: &World) -> Key {
    let mut both = Both(0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03);
    world.hash(&mut both);
    (both.0, both.1)
}

/// Two hashes at once, of the folded-multiply kind: what is hashed here are kilobytes a state.
struct Both(u64, u64);

impl Both {
    #[expect(clippy::cast_possible_truncation, reason = "its two halves")]
    fn fold(state: u64, word: u64, key: u64) -> u64 {
        let product = u128::from(state ^ word) * u128::from(key);
        let [low, high] = [product, product >> 64].map(|part| part as u64);
        low ^ high.rotate_left(29) ^ word
    }

    fn word(&mut self, word: u64) {
        self.0 = Self::fold(self.0, word, 0xa076_1d64_78bd_642f);
        self.1 = Self::fold(self.1, word, 0xe703_7ed1_a0b4_28db);
    }
}

impl Hasher for Both {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.word(number.into());
    }

    fn write_u16(&mut self, number: u16) {
        self.word(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.word(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.word(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.word(number as u64);
    }
}

/// Searches everything that can be reached; the number of states, or the shortest way to a
/// violation.
pub(crate) fn explore(setup: &Setup) -> Result<usize, String> {
    let start = World::new(setup);
    let mut came_from: HashMap<Key, (Key, Move)> = HashMap::new();
    let mut ends = Ends::default();
    let mut queue = VecDeque::from([start.clone()]);
    came_from.insert(key(&start), (key(&start), Move::Start));
    while let Some(world) = queue.pop_front() {
        let here = key(&world);
        ends.check(&world, setup)
            .map_err(|what| report(setup, &came_from, here, None, &what))?;
        for what in world.moves() {
            let next = world
                .after(what, setup)
                .map_err(|violation| report(setup, &came_from, here, Some(what), &violation))?;
            let there = key(&next);
            if let std::collections::hash_map::Entry::Vacant(new) = came_from.entry(there) {
                new.insert((here, what));
                queue.push_back(next);
            }
        }
    }
    Ok(came_from.len())
}

/// What was broken, and the way there, with what the engine said on it.
fn report(
    setup: &Setup,
    came_from: &HashMap<Key, (Key, Move)>,
    mut here: Key,
    last: Option<Move>,
    what: &str,
) -> String {
    let mut way: Vec<Move> = last.into_iter().collect();
    while let Some((before, by)) = came_from.get(&here) {
        way.push(*by);
        if *before == here {
            break;
        }
        here = *before;
    }
    way.reverse();
    let mut world = World::new(setup);
    let mut lines = Vec::new();
    for (at, by) in way.iter().enumerate() {
        let mut line = format!("  {at:3} {by}");
        if let Ok((next, said)) = world.after_saying(*by, setup) {
            if let Some(said) = said {
                let _ = write!(line, ": {said}");
            }
            world = next;
        }
        lines.push(line);
    }
    format!("{what}, after\n{}", lines.join("\n"))
}

/// The worlds that are known to come to an end once the faults are over.
#[derive(Default)]
struct Ends(HashSet<Key>);

impl Ends {
    fn check(&mut self, world: &World, setup: &Setup) -> Result<(), String> {
        let mut seen = Vec::new();
        let mut world = world.unburdened();
        let mut last = Step::Done;
        for _ in 0..ROUNDS {
            let here = key(&world);
            if self.0.contains(&here) {
                self.0.extend(seen);
                return Ok(());
            }
            seen.push(here);
            let (next, step) = world.fair(setup)?;
            let waits = |why: fn(&Why) -> bool| matches!(&step, Step::Wait(it) if why(&it.why));
            // The way back holds nobody.
            let held = world.goes_up() && waits(|it| matches!(it, Why::HeldLast { .. }))
                || waits(|it| matches!(it, Why::PausedAfter { .. }));
            let foreign = setup.broken != Broken::Nothing && next.has_foreign_failure();
            if held || foreign || matches!(step, Step::Done | Step::Halt(_)) {
                self.0.extend(seen);
                return Ok(());
            }
            last = step;
            world = next.unburdened();
        }
        Err(format!("never comes to an end: {last}"))
    }
}
