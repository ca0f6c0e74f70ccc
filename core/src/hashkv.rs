//! Do the members hold the same data? What a round of `HashKV` answers proves.
//!
//! A hash covers what compactions left of the store, so two members can be compared only if the
//! same compaction decided that. After a compaction at R, 3.5 answers for R itself with the hash
//! from before it and 3.4 with the one after it: the same data, two hashes. At a newer revision
//! they agree; that is why a round that cannot be compared is asked again at a newer one.

use std::collections::BTreeMap;

use crate::member::MemberName;
use crate::observed::{Answered, Hashes};

/// How many revisions are tried before it is called unknown.
pub const MAX_ROUNDS: usize = 5;

/// One member's answer to `HashKV`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash {
    /// The hash.
    pub hash: u32,
    /// The revision of the compaction that it was taken over.
    pub compact_revision: i64,
}

/// What all voters answered for one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Which revision.
    pub revision: i64,
    /// Every voter's answer.
    pub answers: BTreeMap<MemberName, Answered<Hash>>,
}

/// What a round proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The answer.
    Done(Hashes),
    /// Nothing; ask again at a newer revision.
    Again(String),
}

/// Judges a round.
pub fn judge(round: &Round) -> Verdict {
    let mut groups: BTreeMap<i64, BTreeMap<MemberName, u32>> = BTreeMap::new();
    let mut silent = Vec::new();
    for (member, answer) in &round.answers {
        match answer {
            Answered::Known(found) => {
                let group = groups.entry(found.compact_revision).or_default();
                group.insert(member.clone(), found.hash);
            }
            Answered::Unknown(why) => silent.push(format!("{member}: {why}")),
        }
    }
    let differs = |group: &&BTreeMap<MemberName, u32>| {
        let mut hashes = group.values();
        let first = hashes.next();
        hashes.any(|hash| Some(hash) != first)
    };
    if let Some(group) = groups.values().find(differs) {
        return Verdict::Done(Hashes::Different {
            revision: round.revision,
            hashes: group.clone(),
        });
    }
    if !silent.is_empty() {
        return Verdict::Again(silent.join("; "));
    }
    let mut alike = groups.into_values();
    match (alike.next(), alike.next()) {
        (Some(group), None) => Verdict::Done(Hashes::Equal {
            revision: round.revision,
            hash: group.into_values().next().unwrap_or_default(),
        }),
        (Some(_), Some(_)) => Verdict::Again(
            "the members hash different compactions; a write takes them past it".to_owned(),
        ),
        (None, _) => Verdict::Again("no voter was asked".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hash and compaction, or why not.
    type Found = Result<(u32, i64), &'static str>;

    fn round(answers: &[(&str, Found)]) -> Verdict {
        let answer = |found: &Found| match found {
            Ok((hash, compact_revision)) => Answered::Known(Hash {
                hash: *hash,
                compact_revision: *compact_revision,
            }),
            Err(why) => Answered::Unknown((*why).to_owned()),
        };
        judge(&Round {
            revision: 9,
            answers: answers
                .iter()
                .map(|(name, found)| (MemberName::from(*name), answer(found)))
                .collect(),
        })
    }

    fn again(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Again(_))
    }

    #[test]
    fn equal_pairs_are_equal() {
        let equal = Verdict::Done(Hashes::Equal {
            revision: 9,
            hash: 7,
        });
        assert_eq!(round(&[("a", Ok((7, 1)))]), equal);
        assert_eq!(round(&[("a", Ok((7, 1))), ("b", Ok((7, 1)))]), equal);
    }

    #[test]
    fn different_hashes_over_the_same_compaction_are_a_difference() {
        let found = round(&[("a", Ok((7, 1))), ("b", Ok((8, 1))), ("c", Ok((7, 1)))]);
        let Verdict::Done(Hashes::Different { revision, hashes }) = found else {
            panic!("{found:?}");
        };
        assert_eq!((revision, hashes.len()), (9, 3));
        assert_eq!(hashes[&MemberName::from("b")], 8);
    }

    #[test]
    fn different_hashes_over_different_compactions_prove_nothing() {
        assert!(again(&round(&[("a", Ok((7, -1))), ("b", Ok((8, 5)))])));
    }

    #[test]
    fn equal_hashes_over_different_compactions_prove_nothing() {
        assert!(again(&round(&[("a", Ok((7, -1))), ("b", Ok((7, 5)))])));
    }

    #[test]
    fn a_silent_voter_is_never_equal() {
        assert!(again(&round(&[("a", Ok((7, 1))), ("b", Err("gone"))])));
        assert!(again(&round(&[("a", Err("gone"))])));
        assert!(again(&round(&[])));
    }

    #[test]
    fn a_difference_shows_although_others_cannot_be_compared() {
        let found = round(&[
            ("a", Ok((7, 1))),
            ("b", Ok((8, 1))),
            ("c", Ok((9, 2))),
            ("d", Err("gone")),
        ]);
        assert!(matches!(found, Verdict::Done(Hashes::Different { .. })));
    }
}
