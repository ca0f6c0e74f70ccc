//! How far a store can be restored, found out step by step: what is read next, what is replayed,
//! or why not.
//!
//! A name promises; only the bytes keep. Whoever restores asks [`next`], reads what it says, adds
//! what came of it to what is [`Known`], and asks again. An object that is damaged is passed over
//! if the others have all that it had. Data that would be lost is never passed over in silence:
//! that needs [`Loss::Accepted`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use thiserror::Error;

use super::Revision;
use super::listing::{self, Chain, Listing, Object};
use super::names::{Key, Kind};

/// What reading has shown so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What the full snapshots that were read whole hold; at least what their names say, or they
    /// would be damaged.
    pub holds: BTreeMap<Key, Revision>,
    /// The objects that cannot be used, and why.
    pub damaged: BTreeMap<Key, String>,
}

/// Whether less than the store once had may be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// No: refuse.
    Refused,
    /// As much as there is.
    Accepted,
}

/// Which full snapshot to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// The newest by revision that is whole.
    Newest,
    /// The one with this name; what is not based on it does not count.
    At(String),
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read this full snapshot and say what it holds.
    ReadBase(Object),
    /// Replay this; its base has been read.
    Replay {
        /// What to replay.
        chain: Chain,
        /// What is lost by it, if that was accepted.
        lost: Option<Box<Refusal>>,
    },
}

/// Why nothing is restored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// There is nothing that a restore could begin with.
    #[error(transparent)]
    Nothing(listing::Refusal),
    /// No full snapshot is whole.
    #[error("none of the {count} full snapshots can be used; the newest is {object}: {why}")]
    NoBase {
        /// How many there are.
        count: usize,
        /// The newest.
        object: Box<Key>,
        /// What is wrong with it.
        why: String,
    },
    /// The base that was asked for is not there.
    #[error("there is no full snapshot named {name}: `druid inspect` lists them")]
    NoSuchBase {
        /// What was asked for.
        name: String,
    },
    /// A full snapshot is younger than the newest by revision, but of a lower revision.
    #[error(
        "{younger} was taken after {newest}, at a lower revision: the store holds backups of two \
         histories, and which one is wanted cannot be guessed; restore one with --base NAME"
    )]
    TwoHistories {
        /// The highest by revision.
        newest: Box<Key>,
        /// The one that is younger.
        younger: Box<Key>,
    },
    /// An object that nothing can replace is damaged.
    #[error(
        "{object}: {why}; the store was written up to revision {goal}, and only {reached} can be \
         restored: to accept that loss, restore with --accept-loss"
    )]
    Damaged {
        /// Which.
        object: Box<Key>,
        /// What is wrong with it.
        why: String,
        /// What can be restored.
        reached: Revision,
        /// What was there.
        goal: Revision,
    },
    /// An object is missing.
    #[error(
        "no object has the revisions {missing_from} to {missing_to}: the next, {next}, begins after \
         them; only revision {} can be restored: to accept that loss, restore with --accept-loss",
        missing_from.get() - 1
    )]
    Hole {
        /// The first revision that is in no object.
        missing_from: Revision,
        /// The last one.
        missing_to: Revision,
        /// What comes after.
        next: Box<Key>,
    },
}

/// Decides.
pub fn next(listing: &Listing, known: &Known, begin: &Begin, loss: Loss) -> Result<Step, Refusal> {
    let whole = listing.without(|key| known.damaged.contains_key(key));
    let base = base(listing, &whole, known, begin)?;
    if *begin == Begin::Newest
        && let Some(younger) = listing.younger_but_lower().next()
        && let Some(newest) = listing.bases().next()
    {
        return Err(Refusal::TwoHistories {
            newest: Box::new(newest.key.clone()),
            younger: Box::new(younger.key.clone()),
        });
    }
    let Some(holds) = known.holds.get(&base.key) else {
        return Ok(Step::ReadBase(base.clone()));
    };
    let (chain, broken) = reach(&whole, base, *holds)?;
    let goal = goal(listing, base, begin).max(chain.to);
    let refusal = if chain.to < goal {
        Some(lacking(listing, known, &chain, goal, broken))
    } else {
        None
    };
    match (refusal, loss) {
        (Some(refusal), Loss::Refused) => Err(refusal),
        (refusal, Loss::Accepted) => Ok(Step::Replay {
            chain,
            lost: refusal.map(Box::new),
        }),
        (None, Loss::Refused) => Ok(Step::Replay { chain, lost: None }),
    }
}

/// The newest full snapshot that nothing is known against, or the one that was asked for.
fn base<'a>(
    listing: &Listing,
    whole: &'a Listing,
    known: &Known,
    begin: &Begin,
) -> Result<&'a Object, Refusal> {
    let wanted = |it: &&Object| match begin {
        Begin::Newest => true,
        Begin::At(name) => it.key.name.to_string() == *name,
    };
    if let Some(base) = whole.bases().filter(|it| it.readable()).find(wanted) {
        return Ok(base);
    }
    let Some(newest) = listing.bases().find(wanted) else {
        return Err(match (begin, listing.newest()) {
            (Begin::At(name), _) => Refusal::NoSuchBase { name: name.clone() },
            (Begin::Newest, Err(refusal)) => Refusal::Nothing(refusal),
            // A chain has a base, which would have been found.
            (Begin::Newest, Ok(chain)) => no_base(listing, known, &chain.base),
        });
    };
    Err(no_base(listing, known, newest))
}

fn no_base(listing: &Listing, known: &Known, newest: &Object) -> Refusal {
    let why = known.damaged.get(&newest.key).cloned();
    let flaw = || newest.flaw().map(|it| it.to_string());
    Refusal::NoBase {
        count: listing.bases().count(),
        object: Box::new(newest.key.clone()),
        why: why.or_else(flaw).unwrap_or_default(),
    }
}

/// How far a base gets, and what stands in the way of more.
fn reach(
    whole: &Listing,
    base: &Object,
    holds: Revision,
) -> Result<(Chain, Option<listing::Refusal>), Refusal> {
    match whole.chain(base, holds) {
        Ok(chain) => Ok((chain, None)),
        Err(refusal) => match &refusal {
            listing::Refusal::Delta { reach, .. } | listing::Refusal::Hole { reach, .. } => {
                Ok((reach.as_ref().clone(), Some(refusal)))
            }
            listing::Refusal::Empty { .. }
            | listing::Refusal::NoFull { .. }
            | listing::Refusal::Base { .. }
            | listing::Refusal::BaseHoldsLess { .. } => Err(Refusal::Nothing(refusal)),
        },
    }
}

/// What was once in the store, damaged or not. On a base that was chosen, what comes before the
/// next full snapshot of another history does not count: only its own deltas do.
fn goal(listing: &Listing, base: &Object, begin: &Begin) -> Revision {
    let counts = |it: &&Object| match begin {
        Begin::Newest => true,
        Begin::At(_) => it.key.name.kind() != Kind::Full || it.key == base.key,
    };
    let all = listing.snapshots().iter().filter(counts);
    let last = all.map(|it| it.key.name.last()).max();
    last.unwrap_or(Revision::FIRST)
}

/// Why a chain does not reach the goal: what is damaged just past its end, or what is missing.
fn lacking(
    listing: &Listing,
    known: &Known,
    chain: &Chain,
    goal: Revision,
    broken: Option<listing::Refusal>,
) -> Refusal {
    let damaged = |it: &&Object| known.damaged.contains_key(&it.key) || !it.readable();
    let past = |it: &&Object| it.key.name.last() > chain.to;
    let culprit = listing.snapshots().iter().filter(damaged).find(past);
    if let Some(culprit) = culprit {
        let flaw = || culprit.flaw().map(|it| it.to_string());
        let why = known.damaged.get(&culprit.key).cloned().or_else(flaw);
        return Refusal::Damaged {
            object: Box::new(culprit.key.clone()),
            why: why.unwrap_or_default(),
            reached: chain.to,
            goal,
        };
    }
    match broken {
        Some(listing::Refusal::Hole {
            missing_from,
            start,
            next,
            ..
        }) => Refusal::Hole {
            missing_from,
            missing_to: Revision::new(start.get() - 1).unwrap_or(missing_from),
            next,
        },
        Some(other) => Refusal::Nothing(other),
        None => Refusal::Damaged {
            object: Box::new(chain.base.key.clone()),
            why: "what comes after it is not in the store".to_owned(),
            reached: chain.to,
            goal,
        },
    }
}

/// How far a store reaches by its names alone, and since when: what a member compares its own data
/// with, and what an old backup is told from a new one by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The newest revision that any readable object claims.
    pub last: Revision,
    /// When the object that claims it was written.
    pub written: Timestamp,
}

/// By names alone; `None` for a store without snapshots.
pub fn claimed(listing: &Listing) -> Option<Reach> {
    let readable = listing.snapshots().iter().filter(|it| it.readable());
    readable
        .max_by_key(|it| (it.key.name.last(), it.key.name.created()))
        .map(|it| Reach {
            last: it.key.name.last(),
            written: it.key.name.created().time(),
        })
}

#[cfg(test)]
mod tests {
    use super::super::names::Prefix;
    use super::*;

    const FULL: &str = "Full-00000000-00000101-10.gz";
    const A: &str = "Incr-00000102-00000110-20.gz";
    const B: &str = "Incr-00000111-00000120-30.gz";
    const NEXT: &str = "Full-00000000-00000120-40.gz";
    const C: &str = "Incr-00000121-00000130-50.gz";

    fn listing(names: &[&str]) -> Listing {
        let keys: Vec<String> = names.iter().map(|it| format!("p/v2/{it}")).collect();
        let prefix = Prefix::parse("p").unwrap();
        Listing::read(&prefix, keys.iter().map(|it| (it.as_str(), Some(100))))
    }

    fn key(name: &str) -> Key {
        let prefix = Prefix::parse("p").unwrap();
        Key::parse(&prefix, &format!("p/v2/{name}")).unwrap()
    }

    /// Full snapshots hold what they say, these objects are damaged.
    fn known(listing: &Listing, damaged: &[&str]) -> Known {
        let holds = |it: &Object| (it.key.clone(), it.key.name.last());
        Known {
            holds: listing.bases().map(holds).collect(),
            damaged: damaged
                .iter()
                .map(|it| (key(it), "cut".to_owned()))
                .collect(),
        }
    }

    fn ask(names: &[&str], damaged: &[&str], loss: Loss) -> Result<(String, i64, bool), String> {
        let listing = listing(names);
        let known = known(&listing, damaged);
        match next(&listing, &known, &Begin::Newest, loss) {
            Ok(Step::Replay { chain, lost }) => Ok((
                chain.base.key.name.to_string(),
                chain.to.get(),
                lost.is_some(),
            )),
            Ok(Step::ReadBase(base)) => Err(format!("read {}", base.key.name)),
            Err(refusal) => Err(refusal.to_string()),
        }
    }

    #[test]
    fn the_newest_base_is_read_before_anything_is_replayed() {
        let listing = listing(&[FULL, A, B, NEXT, C]);
        let step = next(&listing, &Known::default(), &Begin::Newest, Loss::Refused);
        assert!(matches!(step, Ok(Step::ReadBase(base)) if base.key == key(NEXT)));
        let whole = ask(&[FULL, A, B, NEXT, C], &[], Loss::Refused);
        assert_eq!(whole, Ok((NEXT.to_owned(), 130, false)));
    }

    #[test]
    fn a_damaged_base_is_passed_over_when_older_objects_have_all_that_it_had() {
        let passed = ask(&[FULL, A, B, NEXT, C], &[NEXT], Loss::Refused);
        assert_eq!(passed, Ok((FULL.to_owned(), 130, false)));
    }

    #[test]
    fn a_damaged_delta_is_passed_over_when_another_has_its_revisions() {
        let wide = "Incr-00000102-00000120-31.gz";
        let passed = ask(&[FULL, A, B, wide], &[wide], Loss::Refused);
        assert_eq!(passed, Ok((FULL.to_owned(), 120, false)));
        let passed = ask(&[FULL, A, B, NEXT, C], &[A], Loss::Refused);
        assert_eq!(passed, Ok((NEXT.to_owned(), 130, false)));
    }

    #[test]
    fn loss_is_refused_with_its_reason_and_accepted_only_when_asked() {
        let refused = ask(&[FULL, A, B], &[B], Loss::Refused).unwrap_err();
        assert!(refused.contains(B) && refused.contains("cut"), "{refused}");
        assert!(
            refused.contains("120") && refused.contains("110"),
            "{refused}"
        );
        let accepted = ask(&[FULL, A, B], &[B], Loss::Accepted);
        assert_eq!(accepted, Ok((FULL.to_owned(), 110, true)));
        let refused = ask(&[FULL, A, B], &[A], Loss::Refused).unwrap_err();
        assert!(refused.contains(A), "{refused}");
        let accepted = ask(&[FULL, A, B], &[A], Loss::Accepted);
        assert_eq!(accepted, Ok((FULL.to_owned(), 101, true)));
    }

    #[test]
    fn a_damaged_newest_full_with_a_hole_below_it_is_loss() {
        let refused = ask(&[FULL, A, NEXT], &[NEXT], Loss::Refused).unwrap_err();
        assert!(refused.contains(NEXT), "{refused}");
        let accepted = ask(&[FULL, A, NEXT], &[NEXT], Loss::Accepted);
        assert_eq!(accepted, Ok((FULL.to_owned(), 110, true)));
    }

    #[test]
    fn a_hole_names_what_is_missing() {
        let refused = ask(&[FULL, B], &[], Loss::Refused).unwrap_err();
        assert!(
            refused.contains("102 to 110") && refused.contains(B),
            "{refused}"
        );
        let accepted = ask(&[FULL, B], &[], Loss::Accepted);
        assert_eq!(accepted, Ok((FULL.to_owned(), 101, true)));
    }

    #[test]
    fn without_a_base_nothing_is_restored_whatever_is_accepted() {
        for loss in [Loss::Refused, Loss::Accepted] {
            let refused = ask(&[A, B], &[], loss).unwrap_err();
            assert!(refused.contains("no full snapshot"), "{refused}");
            let refused = ask(&[FULL, A], &[FULL], loss).unwrap_err();
            assert!(
                refused.contains("none of the 1") && refused.contains("cut"),
                "{refused}"
            );
            assert!(ask(&[], &[], loss).is_err());
        }
    }

    #[test]
    fn two_histories_are_not_guessed_at() {
        let younger = "Full-00000000-00000050-9999.gz";
        let refused = ask(&[FULL, A, younger], &[], Loss::Accepted).unwrap_err();
        assert!(refused.contains("--base"), "{refused}");
        let listing = listing(&[FULL, A, younger]);
        let known = known(&listing, &[]);
        let chosen =
            |name: &str| next(&listing, &known, &Begin::At(name.to_owned()), Loss::Refused);
        assert!(matches!(chosen(FULL), Ok(Step::Replay { chain, .. }) if chain.to.get() == 110));
        assert!(matches!(chosen("Full-x"), Err(Refusal::NoSuchBase { .. })));
    }

    #[test]
    fn a_base_that_holds_more_than_its_name_says_still_reaches_the_end() {
        let listing = listing(&[FULL, A, B]);
        let mut known = known(&listing, &[]);
        known.holds.insert(key(FULL), Revision::new(115).unwrap());
        let step = next(&listing, &known, &Begin::Newest, Loss::Refused);
        let Ok(Step::Replay { chain, lost: None }) = step else {
            panic!("{step:?}");
        };
        assert_eq!((chain.to.get(), chain.deltas.len()), (120, 1));
    }

    #[test]
    fn what_a_store_claims_is_its_highest_readable_revision() {
        let reach = claimed(&listing(&[FULL, A, B])).unwrap();
        assert_eq!((reach.last.get(), reach.written.as_second()), (120, 30));
        assert_eq!(claimed(&listing(&[])), None);
    }
}
