//! What the load knows that it wrote, and whether the cluster still has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::{Change, Key, Tag};
use crate::member::MemberName;

/// A write that etcd acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Which client wrote it.
    pub writer: u16,
    /// What it wrote to.
    pub key: Key,
    /// What it did to it.
    pub change: Change,
    /// The store's revision that the answer gave it.
    pub revision: i64,
    /// When it was sent, nanoseconds.
    pub call: u64,
    /// When the answer came, nanoseconds.
    pub ack: u64,
}

/// A write that got no answer, or one that leaves open whether it was done: it may be there or
/// may come yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubtful {
    /// Which client wrote it.
    pub writer: u16,
    /// What it wrote to.
    pub key: Key,
    /// What it would have done to it.
    pub change: Change,
    /// When it was sent, nanoseconds.
    pub call: u64,
}

/// Every write of a load that may be in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Those that must be.
    pub acknowledged: Vec<Acknowledged>,
    /// Those that may be.
    pub doubtful: Vec<Doubtful>,
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Its value.
    pub tag: Tag,
    /// Its `mod_revision`.
    pub revision: i64,
}

/// Everything under [`super::LOAD_PREFIX`] at one revision, as one member holds it.
pub type Contents = BTreeMap<Key, Held>;

/// An acknowledged write that is not there any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// Which member was asked.
    pub member: MemberName,
    /// Where it should be.
    pub key: Key,
    /// The last acknowledged change of that key.
    pub expected: Change,
    /// The revision that etcd acknowledged it with.
    pub revision: i64,
    /// What is there instead.
    pub found: Option<Held>,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            member,
            key,
            expected,
            revision,
            found,
        } = self;
        write!(
            f,
            "{key}: {expected} was acknowledged at revision {revision}, {member} "
        )?;
        match found {
            Some(Held { tag, revision }) => write!(f, "holds {tag} of revision {revision}"),
            None => f.write_str("holds nothing"),
        }
    }
}

/// What the comparison of a ledger with the store found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Acknowledged writes that are gone.
    pub lost: Vec<Loss>,
    /// Keys that hold what no client wrote, and what they hold.
    pub unwritten: Vec<(Key, Held)>,
}

/// What the ledger says of one key.
#[derive(Default)]
struct Account {
    last: Option<(i64, Change)>,
    doubtful: BTreeSet<Change>,
}

impl Ledger {
    /// Compares with what a member holds. A key must hold its last acknowledged write, or one of
    /// a later revision that got no answer.
    pub fn verify(&self, member: &MemberName, contents: &Contents) -> Kept {
        let accounts = self.accounts();
        let mut kept = Kept::default();
        for (key, account) in &accounts {
            let found = contents.get(*key).copied();
            match account.judge(found) {
                Fate::Kept => {}
                Fate::Lost { revision, expected } => kept.lost.push(Loss {
                    member: member.clone(),
                    key: (*key).clone(),
                    expected,
                    revision,
                    found,
                }),
                Fate::Unwritten(held) => kept.unwritten.push(((*key).clone(), held)),
            }
        }
        let strangers = contents
            .iter()
            .filter(|(key, _)| !accounts.contains_key(key));
        kept.unwritten
            .extend(strangers.map(|(key, held)| (key.clone(), *held)));
        kept
    }

    fn accounts(&self) -> BTreeMap<&Key, Account> {
        let mut accounts: BTreeMap<&Key, Account> = BTreeMap::new();
        for write in &self.acknowledged {
            let last = &mut accounts.entry(&write.key).or_default().last;
            *last = (*last).max(Some((write.revision, write.change)));
        }
        for write in &self.doubtful {
            let account = accounts.entry(&write.key).or_default();
            account.doubtful.insert(write.change);
        }
        accounts
    }
}

enum Fate {
    Kept,
    Lost { revision: i64, expected: Change },
    Unwritten(Held),
}

impl Account {
    fn judge(&self, found: Option<Held>) -> Fate {
        match (self.last, found) {
            (None | Some((_, Change::Delete)), None) => Fate::Kept,
            (Some((revision, expected @ Change::Put(_))), None) => {
                if self.doubtful.contains(&Change::Delete) {
                    Fate::Kept
                } else {
                    Fate::Lost { revision, expected }
                }
            }
            (Some((revision, expected)), Some(held)) if held.revision <= revision => {
                if held.revision == revision && expected == Change::Put(held.tag) {
                    Fate::Kept
                } else {
                    Fate::Lost { revision, expected }
                }
            }
            (_, Some(held)) => {
                if self.doubtful.contains(&Change::Put(held.tag)) {
                    Fate::Kept
                } else {
                    Fate::Unwritten(held)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key::Register(1);

    fn tag(seq: u32) -> Tag {
        Tag { writer: 1, seq }
    }

    fn acknowledged(change: Change, revision: i64) -> Acknowledged {
        Acknowledged {
            writer: 1,
            key: KEY,
            change,
            revision,
            call: 0,
            ack: 0,
        }
    }

    fn doubtful(change: Change) -> Doubtful {
        Doubtful {
            writer: 1,
            key: KEY,
            change,
            call: 0,
        }
    }

    fn judged(
        acknowledged: &[Acknowledged],
        doubtful: &[Doubtful],
        found: Option<(u32, i64)>,
    ) -> (usize, usize) {
        let ledger = Ledger {
            acknowledged: acknowledged.to_vec(),
            doubtful: doubtful.to_vec(),
        };
        let contents = found
            .map(|(seq, revision)| {
                let held = Held {
                    tag: tag(seq),
                    revision,
                };
                (KEY, held)
            })
            .into_iter()
            .collect();
        let kept = ledger.verify(&"m".into(), &contents);
        (kept.lost.len(), kept.unwritten.len())
    }

    #[test]
    fn the_last_acknowledged_write_must_be_there() {
        let puts = [
            acknowledged(Change::Put(tag(2)), 20),
            acknowledged(Change::Put(tag(1)), 10),
        ];
        assert_eq!(judged(&puts, &[], Some((2, 20))), (0, 0));
        assert_eq!(judged(&puts, &[], Some((1, 10))), (1, 0), "went back");
        assert_eq!(judged(&puts, &[], Some((2, 19))), (1, 0), "too early");
        assert_eq!(judged(&puts, &[], None), (1, 0), "gone");
        assert_eq!(judged(&puts, &[], Some((1, 20))), (1, 0), "wrong value");
        assert_eq!(judged(&puts, &[], Some((2, 21))), (0, 1), "wrong revision");
        assert_eq!(judged(&puts, &[], Some((3, 21))), (0, 1), "nobody's");
    }

    #[test]
    fn an_unanswered_write_may_be_there_or_not_but_only_later_and_with_its_value() {
        let put = [acknowledged(Change::Put(tag(1)), 10)];
        let lost = [doubtful(Change::Put(tag(2)))];
        assert_eq!(judged(&put, &lost, Some((1, 10))), (0, 0));
        assert_eq!(judged(&put, &lost, Some((2, 11))), (0, 0));
        assert_eq!(judged(&put, &lost, Some((2, 9))), (1, 0));
        assert_eq!(judged(&put, &lost, Some((3, 11))), (0, 1));
        assert_eq!(judged(&put, &lost, None), (1, 0));
        assert_eq!(judged(&[], &lost, None), (0, 0));
        assert_eq!(judged(&[], &lost, Some((2, 5))), (0, 0));
        assert_eq!(judged(&[], &lost, Some((3, 5))), (0, 1));
    }

    #[test]
    fn what_was_deleted_stays_away() {
        let gone = [
            acknowledged(Change::Put(tag(1)), 10),
            acknowledged(Change::Delete, 11),
        ];
        assert_eq!(judged(&gone, &[], None), (0, 0));
        assert_eq!(judged(&gone, &[], Some((1, 10))), (1, 0), "came back");
        let maybe = [doubtful(Change::Delete)];
        assert_eq!(judged(&gone[..1], &maybe, None), (0, 0));
        assert_eq!(judged(&gone[..1], &maybe, Some((1, 10))), (0, 0));
    }

    #[test]
    fn a_stranger_is_reported_and_a_loss_has_a_name() {
        let held = Held {
            tag: tag(1),
            revision: 3,
        };
        let contents = Contents::from([(Key::Foreign("x".into()), held)]);
        let ledger = Ledger {
            acknowledged: vec![acknowledged(Change::Put(tag(1)), 10)],
            doubtful: Vec::new(),
        };
        let kept = ledger.verify(&"m".into(), &contents);
        assert_eq!(kept.unwritten.len(), 1);
        assert_eq!(
            kept.lost[0].to_string(),
            "rehearse/load/r/001: put w1#1 was acknowledged at revision 10, m holds nothing"
        );
    }
}
