//! The search over one register's history.

use std::collections::{BTreeMap, HashSet};

use super::{Action, End, Intent, Operation};
use crate::oracle::Tag;

/// What [`explain`] found.
pub(super) enum Outcome {
    Explained,
    Unexplained {
        culprit: Operation,
        possible: Vec<Option<Tag>>,
    },
    TooMany {
        after: u64,
    },
}

/// A register's value, as an index into [`Search::values`]; 0 is "absent".
type Value = u32;

/// Index of an answered operation among those running at a time; also its bit in `done`.
type Slot = usize;

const SLOTS: Slot = 128;

/// What an operation does to a value.
#[derive(Clone, Copy)]
enum Step {
    Read(Value),
    Write(Value),
    Swap {
        expect: Value,
        new: Value,
    },
    /// A refusal that found what it expected: no register answers so.
    Never,
}

impl Step {
    /// The value that it must find, if it looks.
    fn needs(self) -> Option<Value> {
        match self {
            Self::Read(value) | Self::Swap { expect: value, .. } => Some(value),
            Self::Write(_) | Self::Never => None,
        }
    }

    /// The value that it leaves, if it can be done in `state` and changes anything.
    fn sets(self, state: Value) -> Option<Value> {
        match self {
            Self::Write(new) => Some(new),
            Self::Swap { expect, new } => (expect == state).then_some(new),
            Self::Read(_) | Self::Never => None,
        }
    }
}

/// An explanation of what happened so far.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Explanation {
    state: Value,
    /// The running answered operations that have taken effect, by slot.
    done: u128,
    /// The unanswered ones that have, sorted.
    spent: Vec<usize>,
}

struct Search {
    /// The answered operations that run now.
    running: Vec<Option<Step>>,
    /// The unanswered ones that may still matter: index and what they would do.
    open: Vec<(usize, Step)>,
    /// Per value, how many operations that have not returned need to find it.
    observers: Vec<u32>,
    explanations: Vec<Explanation>,
    looked_at: u64,
    bound: u64,
}

/// More explanations than the bound.
struct TooMany;

/// Whether some order explains the operations of one register.
pub(super) fn explain(operations: &[Operation], bound: u64) -> Outcome {
    let (values, steps) = intern(operations);
    let mut search = Search {
        running: Vec::new(),
        open: Vec::new(),
        observers: vec![0; values.len()],
        explanations: vec![Explanation {
            state: 0,
            done: 0,
            spent: Vec::new(),
        }],
        looked_at: 0,
        bound,
    };
    for step in &steps {
        search.count_observer(*step, 1);
    }
    let mut slots: BTreeMap<usize, Slot> = BTreeMap::new();
    for (returns, index) in moments(operations) {
        let step = steps[index];
        if returns {
            let Some(slot) = slots.remove(&index) else {
                continue;
            };
            let before = search.states();
            if search.leave(slot, step).is_err() {
                return Outcome::TooMany {
                    after: search.looked_at,
                };
            }
            if search.explanations.is_empty() {
                return Outcome::Unexplained {
                    culprit: operations[index],
                    possible: before.iter().map(|v| values[*v as usize]).collect(),
                };
            }
        } else if matches!(operations[index].end, End::Unknown(_)) {
            search.open.push((index, step));
        } else {
            let Some(slot) = search.free_slot() else {
                return Outcome::TooMany {
                    after: search.looked_at,
                };
            };
            slots.insert(index, slot);
            search.enter(slot, step);
        }
    }
    Outcome::Explained
}

/// Numbers the values in the order of their first appearance and rewrites the operations in them.
fn intern(operations: &[Operation]) -> (Vec<Option<Tag>>, Vec<Step>) {
    let mut values = vec![None];
    let mut numbers: BTreeMap<Option<Tag>, Value> = BTreeMap::from([(None, 0)]);
    let mut number = |value: Option<Tag>| {
        *numbers.entry(value).or_insert_with(|| {
            values.push(value);
            u32::try_from(values.len() - 1).unwrap_or(Value::MAX)
        })
    };
    let steps = operations
        .iter()
        .map(|operation| match operation.end {
            End::Known { action, .. } => match action {
                Action::Write(new) => Step::Write(number(Some(new))),
                Action::Swapped { expect, new } => Step::Swap {
                    expect: number(expect),
                    new: number(Some(new)),
                },
                Action::Refused { expect, found } if expect == found => Step::Never,
                Action::Read(found) | Action::Refused { found, .. } => Step::Read(number(found)),
            },
            End::Unknown(Intent::Write(new)) => Step::Write(number(Some(new))),
            End::Unknown(Intent::Swap { expect, new }) => Step::Swap {
                expect: number(expect),
                new: number(Some(new)),
            },
        })
        .collect();
    (values, steps)
}

/// Calls (`false`) and returns (`true`) in the order of time; at one instant calls come first.
fn moments(operations: &[Operation]) -> Vec<(bool, usize)> {
    let mut moments = Vec::with_capacity(operations.len() * 2);
    for (index, operation) in operations.iter().enumerate() {
        moments.push((operation.call, false, index));
        if let End::Known { returned, .. } = operation.end {
            moments.push((returned.max(operation.call), true, index));
        }
    }
    moments.sort_unstable();
    moments
        .into_iter()
        .map(|(_, returns, index)| (returns, index))
        .collect()
}

impl Search {
    fn states(&self) -> Vec<Value> {
        let mut states: Vec<_> = self.explanations.iter().map(|e| e.state).collect();
        states.sort_unstable();
        states.dedup();
        states
    }

    fn count_observer(&mut self, step: Step, by: i32) {
        if let Some(value) = step.needs() {
            let count = &mut self.observers[value as usize];
            *count = count.saturating_add_signed(by);
        }
    }

    fn free_slot(&mut self) -> Option<Slot> {
        let free = self.running.iter().position(Option::is_none);
        if free.is_none() && self.running.len() < SLOTS {
            self.running.push(None);
            return Some(self.running.len() - 1);
        }
        free
    }

    /// An answered operation is called.
    fn enter(&mut self, slot: Slot, step: Step) {
        self.running[slot] = Some(step);
        if let Step::Read(value) = step {
            for explanation in &mut self.explanations {
                if explanation.state == value {
                    explanation.done |= 1 << slot;
                }
            }
        }
    }

    /// An answered operation returns: it must have taken effect by now.
    fn leave(&mut self, slot: Slot, step: Step) -> Result<(), TooMany> {
        let bit = 1_u128 << slot;
        let mut seen = HashSet::new();
        let mut kept = Vec::new();
        for explanation in std::mem::take(&mut self.explanations) {
            if explanation.done & bit != 0 {
                kept.push(explanation);
            } else {
                self.extend(explanation, bit, &mut seen, &mut kept)?;
            }
        }
        for explanation in &mut kept {
            explanation.done &= !bit;
        }
        self.running[slot] = None;
        self.count_observer(step, -1);
        self.explanations = undominated(kept);
        self.forget_settled();
        Ok(())
    }

    /// Adds to `found` every way to let running operations take effect, that of `target` last.
    fn extend(
        &mut self,
        from: Explanation,
        target: u128,
        seen: &mut HashSet<(Explanation, bool)>,
        found: &mut Vec<Explanation>,
    ) -> Result<(), TooMany> {
        // The flag: an unanswered write was the last to take effect and nothing saw it yet.
        let mut todo = vec![(from, false)];
        while let Some((explanation, unseen)) = todo.pop() {
            if !seen.insert((explanation.clone(), unseen)) {
                continue;
            }
            self.looked_at += 1;
            if self.looked_at > self.bound {
                return Err(TooMany);
            }
            for next in self.answered_next(&explanation, unseen) {
                if next.done & target == 0 {
                    todo.push((next, false));
                } else {
                    found.push(next);
                }
            }
            for (next, unseen) in self.unanswered_next(&explanation, unseen) {
                if next.done & target == 0 {
                    todo.push((next, unseen));
                } else {
                    found.push(next);
                }
            }
        }
        Ok(())
    }

    /// What one more answered write or swap leads to.
    fn answered_next(&self, from: &Explanation, must_see: bool) -> Vec<Explanation> {
        let mut next = Vec::new();
        for (slot, step) in self.running_in(from.done) {
            if must_see && step.needs() != Some(from.state) {
                continue;
            }
            if let Some(state) = step.sets(from.state) {
                let mut reached = Explanation {
                    state,
                    done: from.done | 1 << slot,
                    spent: from.spent.clone(),
                };
                reached.done |= self.reads_of(state, reached.done);
                next.push(reached);
            }
        }
        next
    }

    /// What one more unanswered write or swap leads to, and whether nothing saw it yet.
    fn unanswered_next(&self, from: &Explanation, must_see: bool) -> Vec<(Explanation, bool)> {
        let mut next = Vec::new();
        for (index, step) in &self.open {
            let Err(place) = from.spent.binary_search(index) else {
                continue;
            };
            if must_see && step.needs() != Some(from.state) {
                continue;
            }
            let Some(state) = step.sets(from.state) else {
                continue;
            };
            let reads = self.reads_of(state, from.done);
            if reads == 0 && !self.is_needed(state, from, *index) {
                continue;
            }
            let mut spent = from.spent.clone();
            spent.insert(place, *index);
            let reached = Explanation {
                state,
                done: from.done | reads,
                spent,
            };
            next.push((reached, reads == 0));
        }
        next
    }

    fn running_in(&self, done: u128) -> impl Iterator<Item = (Slot, Step)> + '_ {
        self.running
            .iter()
            .enumerate()
            .filter_map(move |(slot, step)| (done & 1 << slot == 0).then_some((slot, (*step)?)))
    }

    /// The running reads that find `state`, those that are done aside.
    fn reads_of(&self, state: Value, done: u128) -> u128 {
        self.running_in(done)
            .filter(|(_, step)| matches!(step, Step::Read(value) if *value == state))
            .fold(0, |bits, (slot, _)| bits | 1 << slot)
    }

    /// Whether a swap waits for `state`, the open operation `but` aside.
    fn is_needed(&self, state: Value, from: &Explanation, but: usize) -> bool {
        self.running_in(from.done)
            .any(|(_, step)| step.needs() == Some(state))
            || self.open.iter().any(|(index, step)| {
                *index != but
                    && step.needs() == Some(state)
                    && from.spent.binary_search(index).is_err()
            })
    }

    /// Drops the unanswered operations that nothing can see any more, and those that every
    /// explanation has spent.
    fn forget_settled(&mut self) {
        loop {
            let settled: Vec<(usize, Step)> = self
                .open
                .iter()
                .filter(|(index, step)| {
                    let new = match step {
                        Step::Write(new) | Step::Swap { new, .. } => *new as usize,
                        Step::Read(_) | Step::Never => return true,
                    };
                    self.observers[new] == 0
                        || self
                            .explanations
                            .iter()
                            .all(|e| e.spent.binary_search(index).is_ok())
                })
                .copied()
                .collect();
            if settled.is_empty() || self.explanations.is_empty() {
                return;
            }
            for (index, step) in settled {
                self.open.retain(|(open, _)| *open != index);
                self.count_observer(step, -1);
                for explanation in &mut self.explanations {
                    explanation.spent.retain(|spent| *spent != index);
                }
            }
            self.explanations = undominated(std::mem::take(&mut self.explanations));
        }
    }
}

/// Without those that spent more unanswered operations than another, all else equal.
fn undominated(mut explanations: Vec<Explanation>) -> Vec<Explanation> {
    explanations.sort_unstable_by(|a, b| {
        (a.state, a.done, a.spent.len(), &a.spent).cmp(&(b.state, b.done, b.spent.len(), &b.spent))
    });
    let mut kept: Vec<Explanation> = Vec::with_capacity(explanations.len());
    for explanation in explanations {
        let dominated = kept
            .iter()
            .rev()
            .take_while(|k| (k.state, k.done) == (explanation.state, explanation.done))
            .any(|k| {
                k.spent
                    .iter()
                    .all(|index| explanation.spent.binary_search(index).is_ok())
            });
        if !dominated {
            kept.push(explanation);
        }
    }
    kept
}
