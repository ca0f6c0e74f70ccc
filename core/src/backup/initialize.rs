//! What a member does with its data and the store before etcd starts: keeps the data, restores,
//! joins its cluster again, begins anew, or refuses and says why.
//!
//! The order of the checks is that of etcd-backup-restore. What differs: data is moved aside and
//! never deleted, a store that cannot be listed is not taken for an empty one, an empty store does
//! not make broken data worthless, the write-ahead log is read and not replayed by an etcd without
//! fsync, and a member whose cluster does not answer waits for a decision and does not try for ever.

use thiserror::Error;

use super::Revision;

/// What is known. What [`Next::Look`] asks for is filled in and asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whose volume it is, by `safe_guard` beside the data directory.
    pub volume: Volume,
    /// The data directory.
    pub data: Data,
    /// The store.
    pub store: Store,
    /// What the cluster says of this member.
    pub cluster: Cluster,
    /// Whether this is one of several members, by `initial-cluster`.
    pub several: bool,
    /// Whether every page and the whole log are to be checked.
    pub mode: Mode,
    /// Whether an empty store may make a member with broken data begin anew.
    pub accept_empty_store: bool,
}

/// Whose volume it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Volume {
    /// Ours, new, or it is not known who we are.
    Ours,
    /// Another namespace's.
    Foreign(String),
}

/// The data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// There is none.
    Absent,
    /// `member/snap` or `member/wal` is missing: nothing was ever committed.
    Incomplete,
    /// Another process holds the database.
    Locked,
    /// It cannot be read.
    Broken(String),
    /// It can be read.
    Readable {
        /// The newest revision in the database.
        database: Revision,
        /// The newest one with the write-ahead log.
        log: Looked<Revision>,
        /// The check of every page and the whole log.
        deep: Looked<()>,
    },
}

/// The answer to a question that costs something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked<T> {
    /// Not asked.
    NotYet,
    /// The answer.
    Found(T),
    /// The data is broken there.
    Broken(String),
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// None is configured.
    None,
    /// It does not answer.
    Unknown(String),
    /// It lists no snapshot.
    Empty,
    /// The revision up to which it says it can restore.
    Holds(Revision),
}

/// What the cluster says of this member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// It is a member, and has run.
    Listed,
    /// It was added and never ran.
    Added,
    /// It is not a member.
    NotListed,
    /// No other member answers.
    Silent {
        /// Whether this member ever ran, by its lease.
        ran_before: bool,
    },
}

/// How thoroughly to look: `mode` of `/initialization/start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// After etcd was stopped in good order.
    Sanity,
    /// After it was not.
    Full,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Find this out and ask again.
    Look(Probe),
    /// Do this; then etcd may start.
    Do(Action),
    /// Leave everything as it is.
    Refuse(Refusal),
}

/// What to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The newest revision in the write-ahead log.
    Log,
    /// Every page and the whole log.
    Deep,
}

/// What to do. Whatever is in the data directory is moved aside first, except by
/// [`Action::Keep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start with the data as it is.
    Keep,
    /// Restore the newest chain.
    Restore,
    /// Start without data, as a new cluster.
    Begin,
    /// Start without data: the cluster has this member already.
    Follow,
    /// Add this member as a learner and start without data.
    Join,
    /// Remove this member, then the same.
    Rejoin,
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A wrong volume.
    #[error("the volume belongs to {owner}: mount this member's own, or remove its safe_guard")]
    ForeignVolume {
        /// What its `safe_guard` says.
        owner: String,
    },
    /// An etcd still runs, or hangs.
    #[error("another process holds the database: stop it")]
    Locked,
    /// It is not known whether there is anything to restore.
    #[error("the store does not answer: {why}; check its credentials and endpoint")]
    StoreUnknown {
        /// What it said.
        why: String,
    },
    /// Broken data and no backup, though one is configured.
    #[error(
        "the data is broken ({broken}) and the store lists no snapshot: check --store-container \
         and --store-prefix; to begin without data, accept the empty store explicitly"
    )]
    StoreEmpty {
        /// What is broken.
        broken: String,
    },
    /// One of several members, without data, and nobody to join.
    #[error(
        "this member of several has no usable data ({why}) and no other member answers: start a \
         majority of the others; if they are lost, recover the cluster: kubectl druid recover"
    )]
    NoQuorum {
        /// What is wrong with the data.
        why: String,
    },
}

/// What the data is worth.
enum Worth {
    Good,
    /// Nothing was ever in it.
    Nothing(&'static str),
    Broken(String),
}

/// Decides. The same values always give the same decision.
pub fn decide(facts: &Facts) -> Next {
    if let Volume::Foreign(owner) = &facts.volume {
        let owner = owner.clone();
        return Next::Refuse(Refusal::ForeignVolume { owner });
    }
    if facts.several {
        match (&facts.cluster, &facts.data) {
            (_, Data::Locked) => return Next::Refuse(Refusal::Locked),
            (Cluster::NotListed, _) => return Next::Do(Action::Join),
            (Cluster::Added, Data::Absent | Data::Incomplete) => return Next::Do(Action::Follow),
            (Cluster::Listed | Cluster::Added | Cluster::Silent { .. }, _) => {}
        }
    }
    let worth = match worth(facts) {
        Ok(worth) => worth,
        Err(next) => return next,
    };
    match (worth, facts.several) {
        (Worth::Good, _) => Next::Do(Action::Keep),
        (Worth::Nothing(why), false) => replace(facts, why, true),
        (Worth::Broken(why), false) => replace(facts, &why, false),
        (Worth::Nothing(why), true) => one_of_several(facts, why, true),
        (Worth::Broken(why), true) => one_of_several(facts, &why, false),
    }
}

/// Looks at the data only. `Err` is what has to be known first, or a refusal.
fn worth(facts: &Facts) -> Result<Worth, Next> {
    let (database, log, deep) = match &facts.data {
        Data::Absent => return Ok(Worth::Nothing("there is no data directory")),
        Data::Incomplete => return Ok(Worth::Nothing("the data directory is incomplete")),
        Data::Locked => return Err(Next::Refuse(Refusal::Locked)),
        Data::Broken(why) => return Ok(Worth::Broken(why.clone())),
        Data::Readable {
            database,
            log,
            deep,
        } => (*database, log, deep),
    };
    // The others hold what this one lacks, and the store may lag behind or be ahead of all.
    if !facts.several {
        match &facts.store {
            Store::None | Store::Empty => {}
            Store::Unknown(why) => {
                return Err(Next::Refuse(Refusal::StoreUnknown { why: why.clone() }));
            }
            Store::Holds(newest) if database >= *newest => {}
            Store::Holds(newest) => match log {
                Looked::NotYet => return Err(Next::Look(Probe::Log)),
                Looked::Broken(why) => return Ok(Worth::Broken(why.clone())),
                Looked::Found(reached) if reached < newest => {
                    let why = format!("it reaches revision {reached}, the store {newest}");
                    return Ok(Worth::Broken(why));
                }
                Looked::Found(_) => {}
            },
        }
    }
    // etcd-backup-restore lets a member of several with a store pass without it.
    let wanted = facts.mode == Mode::Full && (!facts.several || facts.store == Store::None);
    match deep {
        Looked::NotYet if wanted => Err(Next::Look(Probe::Deep)),
        Looked::NotYet | Looked::Found(()) => Ok(Worth::Good),
        Looked::Broken(why) => Ok(Worth::Broken(why.clone())),
    }
}

/// The only member, or the first start of a cluster: from the store, or anew.
fn replace(facts: &Facts, why: &str, nothing_lost: bool) -> Next {
    match &facts.store {
        Store::Holds(_) => Next::Do(Action::Restore),
        Store::Unknown(why) => Next::Refuse(Refusal::StoreUnknown { why: why.clone() }),
        Store::None => Next::Do(Action::Begin),
        Store::Empty if nothing_lost || facts.accept_empty_store => Next::Do(Action::Begin),
        Store::Empty => Next::Refuse(Refusal::StoreEmpty {
            broken: why.to_owned(),
        }),
    }
}

/// The others have the data; without them only the first start of all goes on.
fn one_of_several(facts: &Facts, why: &str, nothing_lost: bool) -> Next {
    let no_quorum = || {
        Next::Refuse(Refusal::NoQuorum {
            why: why.to_owned(),
        })
    };
    match facts.cluster {
        Cluster::NotListed => Next::Do(Action::Join),
        Cluster::Listed | Cluster::Added => Next::Do(Action::Rejoin),
        Cluster::Silent { ran_before: true } => no_quorum(),
        Cluster::Silent { ran_before: false } => match &facts.store {
            Store::None | Store::Empty if nothing_lost => Next::Do(Action::Begin),
            Store::Unknown(why) => Next::Refuse(Refusal::StoreUnknown { why: why.clone() }),
            Store::None | Store::Empty | Store::Holds(_) => no_quorum(),
        },
    }
}

#[cfg(test)]
mod tests;
