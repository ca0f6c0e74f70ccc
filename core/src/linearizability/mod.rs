//! Whether a recorded history of reads and writes could have come from one register per key that
//! does one thing at a time, each operation somewhere between its call and its return.
//!
//! The search is Wing and Gong's in Lowe's just-in-time form, key by key (a history is
//! linearizable if and only if that of each key is): it walks the history in the order of time and
//! keeps every explanation of what happened so far, an explanation being the register's value and
//! which of the running operations have already taken effect. At each return those explanations
//! stay in which that operation can have taken effect. If none is left, no order explains the
//! history up to there.
//!
//! Three things keep the explanations few, and none loses one that matters:
//! * a running read takes effect as soon as the register has its value: that rules nothing out;
//! * a write whose outcome is unknown takes effect only right before something that sees its value:
//!   with nobody to see it, it can as well never have happened;
//! * of two explanations that differ only in such writes spent, the one that spent fewer remains.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::oracle::{Key, Tag};

mod search;
#[cfg(test)]
mod tests;

/// How many explanations per key [`check`] may look at before it gives up; a second or two.
pub const BOUND: u64 = 4_000_000;

/// How many operations of a failing history a [`Witness`] shows.
const SHOWN: usize = 16;

/// One operation of one client on one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// Who did it.
    pub client: u16,
    /// On which register; it reads as absent before the first write.
    pub register: u16,
    /// When it was sent, nanoseconds.
    pub call: u64,
    /// What is known of the rest.
    pub end: End,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Answered.
    Known {
        /// When the answer came, nanoseconds. Something that is called at this very instant counts
        /// as concurrent.
        returned: u64,
        /// What it did.
        action: Action,
    },
    /// The client cannot know whether it was done: it may take effect at any time after the call,
    /// or never.
    Unknown(Intent),
}

/// What an answered operation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It set the value.
    Write(Tag),
    /// It found this, or nothing.
    Read(Option<Tag>),
    /// A compare-and-swap found what it expected and set the new value.
    Swapped {
        /// What was there.
        expect: Option<Tag>,
        /// What is there now.
        new: Tag,
    },
    /// A compare-and-swap found something else than it expected and changed nothing.
    Refused {
        /// What should have been there.
        expect: Option<Tag>,
        /// What was.
        found: Option<Tag>,
    },
}

/// What an unanswered operation would do. An unanswered read would do nothing and is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// Set the value.
    Write(Tag),
    /// Set the new value if the expected one is there.
    Swap {
        /// What would have to be there.
        expect: Option<Tag>,
        /// What would be there afterwards.
        new: Tag,
    },
}

/// The answer to whether a history is linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Some order explains it.
    Linearizable,
    /// No order does.
    NotLinearizable(Box<Witness>),
    /// The bound was reached first. That says nothing about the history.
    Undecided {
        /// Where.
        register: u16,
        /// After how many explanations.
        after: u64,
    },
}

/// Why a history is not linearizable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Witness {
    /// On which register.
    pub register: u16,
    /// The operation whose answer nothing explains: the history up to its return is the shortest
    /// one that is not linearizable.
    pub culprit: Operation,
    /// What the register can have held right before that return, its running operations aside.
    pub possible: Vec<Option<Tag>>,
    /// How many operations were called up to that return.
    pub called: usize,
    /// The last of them in the order of their calls, and before these the ones that wrote what the
    /// culprit saw.
    pub last: Vec<Operation>,
}

/// Whether `history`, in any order, is linearizable. Looks at no more than `bound` explanations
/// per register, normally [`BOUND`].
pub fn check(history: &[Operation], bound: u64) -> Verdict {
    let mut registers: BTreeMap<u16, Vec<Operation>> = BTreeMap::new();
    for operation in history {
        registers
            .entry(operation.register)
            .or_default()
            .push(*operation);
    }
    let mut verdict = Verdict::Linearizable;
    for (register, operations) in registers {
        match search::explain(&operations, bound) {
            search::Outcome::Explained => {}
            search::Outcome::Unexplained { culprit, possible } => {
                return Verdict::NotLinearizable(Box::new(witness(operations, culprit, possible)));
            }
            // Another register may still show that the history is wrong.
            search::Outcome::TooMany { after } => {
                verdict = Verdict::Undecided { register, after };
            }
        }
    }
    verdict
}

fn witness(
    mut operations: Vec<Operation>,
    culprit: Operation,
    possible: Vec<Option<Tag>>,
) -> Witness {
    let until = match culprit.end {
        End::Known { returned, .. } => returned,
        End::Unknown(_) => u64::MAX,
    };
    operations.retain(|operation| operation.call <= until);
    operations.sort_by_key(|operation| operation.call);
    let called = operations.len();
    let first_shown = called.saturating_sub(SHOWN);
    let mut last = operations.split_off(first_shown);
    let around = operations.into_iter().filter(|operation| {
        *operation == culprit || wrote(operation).is_some_and(|tag| Some(tag) == seen(&culprit))
    });
    let mut shown: Vec<_> = around.collect();
    shown.append(&mut last);
    Witness {
        register: culprit.register,
        culprit,
        possible,
        called,
        last: shown,
    }
}

fn wrote(operation: &Operation) -> Option<Tag> {
    match operation.end {
        End::Known { action, .. } => match action {
            Action::Write(new) | Action::Swapped { new, .. } => Some(new),
            Action::Read(_) | Action::Refused { .. } => None,
        },
        End::Unknown(Intent::Write(new) | Intent::Swap { new, .. }) => Some(new),
    }
}

fn seen(operation: &Operation) -> Option<Tag> {
    match operation.end {
        End::Known { action, .. } => match action {
            Action::Write(_) => None,
            Action::Read(found) | Action::Refused { found, .. } => found,
            Action::Swapped { expect, .. } => expect,
        },
        End::Unknown(_) => None,
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "snake_case", tag = "verdict")]
        enum Shown<'a> {
            Linearizable,
            NotLinearizable { witness: &'a Witness, text: String },
            Undecided { register: String, after: u64 },
        }
        match self {
            Self::Linearizable => Shown::Linearizable,
            Self::NotLinearizable(witness) => Shown::NotLinearizable {
                witness,
                text: witness.to_string(),
            },
            Self::Undecided { register, after } => Shown::Undecided {
                register: Key::Register(*register).to_string(),
                after: *after,
            },
        }
        .serialize(serializer)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizable => f.write_str("linearizable"),
            Self::NotLinearizable(witness) => write!(f, "not linearizable: {witness}"),
            Self::Undecided { register, after } => write!(
                f,
                "undecided: {} has more than {after} explanations",
                Key::Register(*register)
            ),
        }
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "nothing explains this operation on {}, which held {} before it:",
            Key::Register(self.register),
            Values(&self.possible)
        )?;
        writeln!(f, "  {}", self.culprit)?;
        write!(
            f,
            "the last of {} operations up to its return:",
            self.called
        )?;
        for operation in &self.last {
            write!(f, "\n  {operation}")?;
        }
        Ok(())
    }
}

struct Values<'a>(&'a [Option<Tag>]);

impl fmt::Display for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, value) in self.0.iter().enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { " or " }, Value(*value))?;
        }
        Ok(())
    }
}

struct Value(Option<Tag>);

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(tag) => tag.fmt(f),
            None => f.write_str("nothing"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ns: u64| format!("{}.{:06}", ns / 1_000_000, ns % 1_000_000);
        write!(f, "client {} at {} ms ", self.client, ms(self.call))?;
        match self.end {
            End::Known { returned, action } => {
                write!(f, "to {} ms: {action}", ms(returned))
            }
            End::Unknown(intent) => write!(f, "with no answer: {intent}"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(tag) => write!(f, "wrote {tag}"),
            Self::Read(found) => write!(f, "read {}", Value(*found)),
            Self::Swapped { expect, new } => {
                write!(f, "swapped {} for {new}", Value(*expect))
            }
            Self::Refused { expect, found } => write!(
                f,
                "did not swap: expected {}, found {}",
                Value(*expect),
                Value(*found)
            ),
        }
    }
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(tag) => write!(f, "write {tag}"),
            Self::Swap { expect, new } => {
                write!(f, "swap {} for {new}", Value(*expect))
            }
        }
    }
}
