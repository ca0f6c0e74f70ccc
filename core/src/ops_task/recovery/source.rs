//! From whose data, or from what backup, a cluster begins again.

use std::collections::{BTreeMap, BTreeSet};

use super::{Backup, Place};
use crate::agent::recovery::{Holding, Memory, Order};
use crate::member::MemberName;
use crate::ops_task::obstacle::Obstacle;

/// A member with data.
#[derive(Clone, Copy)]
struct Heard<'a> {
    name: &'a MemberName,
    cluster: &'a str,
    /// Raft's own order: whoever is first in it has every entry that was ever committed, as far as any of
    /// them has it.
    standing: (u64, u64),
    revision: i64,
    made: Option<&'a Memory>,
}

/// Who becomes the seed, and with what.
pub(super) fn source(
    task: &str,
    places: &BTreeMap<MemberName, Place>,
    backup: &Backup,
) -> Result<(MemberName, Order), Obstacle> {
    let heard: Vec<_> = places
        .iter()
        .filter_map(|(name, place)| heard(name, place.holding(task)?))
        .collect();
    let heard = of_one_history(&heard)?;
    // Of equals the first.
    let best = heard.iter().rev().max_by_key(|it| it.standing);
    match (best, backup.restorable()) {
        (Some(best), Some((revision, _))) if best.revision < revision => {
            Ok((restorer(task, places)?, Order::Restore))
        }
        (Some(best), _) => Ok((best.name.clone(), Order::Alone)),
        (None, Some(_)) => Ok((restorer(task, places)?, Order::Restore)),
        (None, None) => Err(Obstacle::NothingLeft),
    }
}

fn heard<'a>(name: &'a MemberName, holding: &'a Holding) -> Option<Heard<'a>> {
    match holding {
        Holding::Data {
            cluster,
            term,
            index,
            revision,
            made,
        } => Some(Heard {
            name,
            cluster,
            standing: (*term, *index),
            revision: *revision,
            made: made.as_ref(),
        }),
        Holding::Nothing | Holding::Broken { .. } => None,
    }
}

/// Those that belong together. What an earlier recovery restored has replaced what was before it, and may
/// have been written to since; what it had only begun to restore was never started.
fn of_one_history<'a>(heard: &[Heard<'a>]) -> Result<Vec<Heard<'a>>, Obstacle> {
    let of = |which: &dyn Fn(&Heard<'a>) -> bool| -> Vec<Heard<'a>> {
        heard.iter().copied().filter(|it| which(it)).collect()
    };
    let replaced: BTreeSet<_> = of(&Heard::was_restored)
        .iter()
        .map(|it| it.cluster)
        .collect();
    let newer = of(&|it| replaced.contains(it.cluster));
    let started = of(&|it| it.restored().is_none());
    let counts = if !newer.is_empty() {
        newer
    } else if are_one(heard) || started.is_empty() {
        heard.to_vec()
    } else {
        started
    };
    let first = counts.first();
    let other = counts
        .iter()
        .find(|it| first.is_some_and(|first| first.cluster != it.cluster));
    match (first, other) {
        (Some(first), Some(other)) => Err(Obstacle::TwoClusters(
            first.name.clone(),
            other.name.clone(),
        )),
        (Some(_) | None, _) => Ok(counts),
    }
}

fn are_one(heard: &[Heard<'_>]) -> bool {
    let clusters: BTreeSet<_> = heard.iter().map(|it| it.cluster).collect();
    clusters.len() <= 1
}

impl<'a> Heard<'a> {
    /// What an earlier recovery restored here, or began to.
    fn restored(&self) -> Option<&'a Memory> {
        self.made.filter(|made| made.order == Order::Restore)
    }

    fn was_restored(&self) -> bool {
        self.restored().is_some_and(|made| !made.begun)
    }
}

/// Who restores: one that has nothing to put aside, if there is one.
fn restorer(task: &str, places: &BTreeMap<MemberName, Place>) -> Result<MemberName, Obstacle> {
    let heard: Vec<_> = places
        .iter()
        .filter_map(|(name, place)| Some((name, place.holding(task)?)))
        .collect();
    let empty = heard.iter().find(|(_, held)| **held == Holding::Nothing);
    if let Some((name, _)) = empty.or(heard.first()) {
        return Ok((*name).clone());
    }
    let all: Vec<_> = places.keys().map(|it| it.0.as_str()).collect();
    Err(Obstacle::Unheard(all.join(", ")))
}
