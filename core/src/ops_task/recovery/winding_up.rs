//! What is left of a recovery that is over, however it ended, or whose task goes: no member waits for it any
//! longer, and no order is left that a later volume would follow.
//!
//! As long as no member was told what to begin with, all start as they were. Once the seed serves, the
//! others join it. In between it is not known whether the seed has begun, and if it has, the others must
//! not start beside it: the order is taken back, and its pod replaced, and the next one says.

use std::collections::BTreeMap;
use std::fmt;

use super::place::uid;
use super::{Deletion, Place, There, deletion, result, seeded};
use crate::agent::recovery::{Course, Instruction, Order};
use crate::api::TaskResult;
use crate::member::MemberName;

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum WindUp {
    /// Write these into the leases; `None` takes away what is there.
    Tell(BTreeMap<MemberName, Option<Instruction>>),
    /// Delete a pod or a claim.
    Delete(Deletion),
    /// Let the status say this before anything else is done.
    Record(Box<TaskResult>),
    /// Look again soon; what it waits for.
    Wait(String),
    /// Nothing is left.
    Done,
}

/// Decides what is next.
pub fn wind_up(there: &There<'_>) -> WindUp {
    if there.result.recovered_from.is_some() {
        return joining(there);
    }
    match there.seed() {
        Some((name, place)) => founding(there, name, place),
        None => release(there),
    }
}

/// The seed has served: whoever is not told yet joins it all the same. An order to join that is not
/// carried out stays: its member needs it whenever it comes up, and nothing is lost by it.
fn joining(there: &There<'_>) -> WindUp {
    if let Some(deletion) = deletion(there, |_| true) {
        return WindUp::Delete(deletion);
    }
    let mut tell = BTreeMap::new();
    let mut replaced = Vec::new();
    for (name, place) in there.places {
        let Some(told) = place.told_by(there.task) else {
            continue;
        };
        let done = place.answer(there.task) == Some(&Course::Done);
        if place.founds(there.task).is_some() || (told.order == Order::Join && done) {
            tell.insert(name.clone(), None);
        } else if told.order == Order::Hold && place.is_being_replaced(there.task) {
            replaced.push(name.0.as_str());
        } else if told.order == Order::Hold {
            let join = Instruction::new(there.task, Order::Join);
            tell.insert(name.clone(), Some(join));
        }
    }
    if !tell.is_empty() {
        return WindUp::Tell(tell);
    }
    if replaced.is_empty() {
        return WindUp::Done;
    }
    WindUp::Wait(format!(
        "the volumes of {} to be replaced",
        replaced.join(", ")
    ))
}

fn founding(there: &There<'_>, seed: &MemberName, place: &Place) -> WindUp {
    if let Some(revision) = seeded(there, seed, place) {
        return WindUp::Record(Box::new(result(there, seed, place, revision, None)));
    }
    let answer = place.answer(there.task);
    if answer == Some(&Course::Done) {
        return WindUp::Wait(format!("{seed} to serve"));
    }
    let Some(told) = place.told_by(there.task) else {
        return release(there);
    };
    if told.revokes.is_none() {
        let revoking = Instruction::revoking(there.task, told.order, uid(place.pod.as_ref()));
        return WindUp::Tell(BTreeMap::from([(seed.clone(), Some(revoking))]));
    }
    if let Some(deletion) = deletion(there, |name| name == seed) {
        return WindUp::Delete(deletion);
    }
    if place.is_stopping(there.task) {
        return WindUp::Wait(format!("the pod of {seed} to stop"));
    }
    match answer {
        Some(Course::Holds { .. }) => release(there),
        Some(Course::Failed { why }) => WindUp::Wait(format!("{seed}, which cannot start: {why}")),
        Some(Course::Done) | None => WindUp::Wait(format!(
            "{seed} to say whether it has begun the cluster anew"
        )),
    }
}

/// All start as they were.
fn release(there: &There<'_>) -> WindUp {
    let told = |place: &Place| place.told_by(there.task).is_some();
    let all = there.places.iter().filter(|(_, place)| told(place));
    let nothing: BTreeMap<_, _> = all.map(|(name, _)| (name.clone(), None)).collect();
    if nothing.is_empty() {
        WindUp::Done
    } else {
        WindUp::Tell(nothing)
    }
}

impl fmt::Display for WindUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tell(all) => super::tells(f, all),
            Self::Delete(deletion) => fmt::Display::fmt(deletion, f),
            Self::Record(result) => super::records(f, result),
            Self::Wait(what) => write!(f, "Waits for {what}"),
            Self::Done => f.write_str("Nothing is left of it"),
        }
    }
}

#[cfg(test)]
#[path = "winding_up_tests.rs"]
mod tests;
