//! A database for a new cluster, from a full snapshot and the deltas after it.
//!
//! An event is exactly a row of bucket `key`, so nothing has to be executed: the rows of the base
//! are copied and the events appended, in one pass and without holding either. What belongs to the
//! old cluster is left out: its members, its version, its alarms, its place in the log of raft.
//! Users, roles, leases and the marks of compactions are kept.
//!
//! An event tells the id of its lease and no more. A lease that is younger than the base gets a
//! record, or its keys would never expire; etcd takes a lease without keys away by itself.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use thiserror::Error;

use super::Revision;
use super::database::{self, CopyError};
use super::delta::{Change, Event};
use crate::bolt::{ReadAt, Reader, Row, Sink};
use crate::mvcc::{Alarm, AlarmKind, KeyValue, Lease, RowKey, bucket, meta};

/// What the new cluster is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The rows of bucket `members`: ids in hexadecimal without leading zeros, and JSON.
    pub members: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The index in the new log of raft up to which everything is in the database.
    pub consistent_index: u64,
    /// How long a lease lives of which the deltas do not tell it, seconds.
    pub unknown_ttl: NonZeroU32,
    /// Raises the revision by so much and marks all before it as compacted, so that no client goes
    /// on from a revision that the restored cluster lost.
    pub bump: Option<NonZeroU32>,
}

impl Plan {
    /// For a database that nobody starts as it is: whoever restores it gives it members of its own.
    pub fn nobody() -> Self {
        Self {
            members: BTreeMap::new(),
            consistent_index: 1,
            unknown_ttl: Self::UNKNOWN_TTL,
            bump: None,
        }
    }

    /// An hour.
    pub const UNKNOWN_TTL: NonZeroU32 = NonZeroU32::MIN.saturating_add(3599);
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The revision of the base.
    pub base: Revision,
    /// The revision of the new database.
    pub revision: Revision,
    /// Rows in its bucket `key`.
    pub rows: u64,
    /// Events that are among them.
    pub events: u64,
    /// Events that the database had already.
    pub skipped: u64,
    /// Leases that got a record.
    pub leases_added: u64,
    /// Alarms that the base had and the new database has not, those of a full quota aside: the
    /// database that is written has the space.
    pub alarms: Vec<Alarm>,
}

/// Why a database was not made. `R` is what the source of the base says, `W` what the sink says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplayError<R, W> {
    /// A row of the base could not be read or written.
    #[error(transparent)]
    Copy(#[from] CopyError<R, W>),
    /// Between two deltas, or between base and delta, is a hole.
    #[error("revision {found} comes after {after}: the events between them are missing")]
    Hole {
        /// The last one that there is.
        after: Revision,
        /// The one that is not next.
        found: Revision,
    },
    /// There is no such revision.
    #[error("revision {revision} cannot be raised by {by}")]
    Bump {
        /// The last one.
        revision: Revision,
        /// By how much.
        by: NonZeroU32,
    },
}

/// A database that is being made. Between [`Self::begin`] and [`Self::finish`] nothing else may go
/// into the sink.
#[derive(Debug)]
pub struct Replay<S> {
    base: Reader<S>,
    plan: Plan,
    /// Ids of the leases of the base, ascending.
    known: Vec<u64>,
    /// Ids of leases of the deltas alone, and how long they live, if that is known.
    young: BTreeMap<u64, Option<i64>>,
    /// Up to here a delta has nothing new.
    floor: Revision,
    /// How many changes of the last revision there are.
    changes: u32,
    report: Report,
    record: Vec<u8>,
}

impl<S: ReadAt> Replay<S> {
    /// Copies the history of a base: a database, without the digest of a snapshot.
    pub fn begin<K: Sink>(
        base: S,
        plan: Plan,
        sink: &mut K,
    ) -> Result<Self, CopyError<S::Error, K::Error>> {
        let mut base = database::open(base)?;
        let known = leases(&mut base)?;
        let alarms = alarms(&mut base)?;
        let (_, mut revision) = database::meta(&mut base)?;
        let mut rows = 0;
        sink.bucket(bucket::KEY).map_err(CopyError::Write)?;
        database::history(&mut base, |key, _, row| {
            revision = revision.max(key.main());
            rows += 1;
            sink.row(row.key, row.value).map_err(CopyError::Write)
        })?;
        Ok(Self {
            base,
            plan,
            known,
            young: BTreeMap::new(),
            floor: revision,
            changes: 0,
            report: Report {
                base: revision,
                revision,
                rows,
                events: 0,
                skipped: 0,
                leases_added: 0,
                alarms,
            },
            record: Vec::new(),
        })
    }

    /// The last revision that is in the database.
    pub fn revision(&self) -> Revision {
        self.report.revision
    }

    /// The next delta begins. What is in the database already is passed over in it: deltas of two
    /// writers overlap, and a base may hold more than its name says.
    pub fn delta(&mut self) {
        self.floor = self.report.revision;
    }

    /// The next event of the delta. All events of a revision are in one delta.
    pub fn event<K: Sink>(
        &mut self,
        event: &Event<'_>,
        sink: &mut K,
    ) -> Result<(), ReplayError<S::Error, K::Error>> {
        let after = self.report.revision;
        if event.revision <= self.floor {
            self.report.skipped += 1;
            return Ok(());
        }
        if event.revision == after.next() {
            self.report.revision = event.revision;
            self.changes = 0;
        } else if event.revision != after {
            let found = event.revision;
            return Err(ReplayError::Hole { after, found });
        }
        let (record, tombstone) = match event.change {
            Change::Put {
                created,
                version,
                value,
                lease,
                lease_ttl,
            } => {
                self.lease(lease, lease_ttl);
                let record = KeyValue {
                    key: event.key,
                    create_revision: created.get(),
                    mod_revision: event.revision.get(),
                    version,
                    value,
                    lease,
                };
                (record, false)
            }
            Change::Delete => {
                let record = KeyValue {
                    key: event.key,
                    ..KeyValue::default()
                };
                (record, true)
            }
        };
        self.record.clear();
        record.encode(&mut self.record);
        self.append(tombstone, sink)?;
        self.report.events += 1;
        Ok(())
    }

    /// Writes all that is not history.
    pub fn finish<K: Sink>(
        mut self,
        sink: &mut K,
    ) -> Result<Report, ReplayError<S::Error, K::Error>> {
        if let Some(by) = self.plan.bump {
            self.bump(by, sink)?;
        }
        self.write_leases(sink)?;
        self.write_meta(sink)?;
        database::write(bucket::MEMBERS, &self.plan.members, sink)?;
        let empty = [bucket::MEMBERS_REMOVED, bucket::CLUSTER, bucket::ALARM];
        for name in empty {
            sink.bucket(name).map_err(CopyError::Write)?;
        }
        let written = [bucket::KEY, bucket::LEASE, bucket::META, bucket::MEMBERS];
        let mut others = self.base.names();
        let is_other = |it: &[u8]| !written.contains(&it) && !empty.contains(&it);
        others.retain(|it| is_other(it));
        for name in &others {
            database::copy(&mut self.base, name, sink)?;
        }
        let is_missing = |it: &&[u8]| is_other(it) && !self.base.has(it);
        for name in bucket::ALL.into_iter().filter(is_missing) {
            sink.bucket(name).map_err(CopyError::Write)?;
        }
        Ok(self.report)
    }

    /// Appends the record as the next change of the last revision.
    fn append<K: Sink>(
        &mut self,
        tombstone: bool,
        sink: &mut K,
    ) -> Result<(), CopyError<S::Error, K::Error>> {
        let key = RowKey::new(self.report.revision, self.changes, tombstone);
        let row = sink.row(key.bytes().as_ref(), &self.record);
        row.map_err(CopyError::Write)?;
        // No request is large enough for so many.
        self.changes = self.changes.saturating_add(1);
        self.report.rows += 1;
        Ok(())
    }

    fn lease(&mut self, id: i64, ttl: Option<i64>) {
        let bits = id.cast_unsigned();
        if id != 0 && self.known.binary_search(&bits).is_err() {
            let young = self.young.entry(bits).or_default();
            *young = ttl.or(*young);
        }
    }

    fn bump<K: Sink>(
        &mut self,
        by: NonZeroU32,
        sink: &mut K,
    ) -> Result<(), ReplayError<S::Error, K::Error>> {
        let revision = self.report.revision;
        let raised = revision.get().checked_add(i64::from(by.get()));
        let raised = raised.and_then(Revision::new);
        self.report.revision = raised.ok_or(ReplayError::Bump { revision, by })?;
        self.changes = 0;
        self.record.clear();
        Ok(self.append(false, sink)?)
    }

    fn write_leases<K: Sink>(&mut self, sink: &mut K) -> Result<(), CopyError<S::Error, K::Error>> {
        sink.bucket(bucket::LEASE).map_err(CopyError::Write)?;
        let mut young = std::mem::take(&mut self.young);
        self.report.leases_added = young.len() as u64;
        let unknown_ttl = i64::from(self.plan.unknown_ttl.get());
        let mut record = Vec::new();
        let mut write = |id: u64, ttl: Option<i64>, sink: &mut K| {
            record.clear();
            let lease = Lease {
                id: id.cast_signed(),
                ttl: ttl.unwrap_or(unknown_ttl),
                remaining_ttl: 0,
            };
            lease.encode(&mut record);
            let row = sink.row(&id.to_be_bytes(), &record);
            row.map_err(CopyError::Write)
        };
        self.base.rows(bucket::LEASE, |row: Row<'_>| {
            while let Some(first) = young.first_entry()
                && first.key().to_be_bytes().as_slice() < row.key
            {
                let (id, ttl) = first.remove_entry();
                write(id, ttl, sink)?;
            }
            sink.row(row.key, row.value).map_err(CopyError::Write)
        })?;
        young
            .into_iter()
            .try_for_each(|(id, ttl)| write(id, ttl, sink))
    }

    fn write_meta<K: Sink>(&mut self, sink: &mut K) -> Result<(), CopyError<S::Error, K::Error>> {
        let (mut rows, _) = database::meta(&mut self.base)?;
        for of_the_old in [meta::CONF_STATE, meta::STORAGE_VERSION] {
            rows.remove(of_the_old);
        }
        let mut set = |key: &[u8], value: &[u8]| rows.insert(key.to_vec(), value.to_vec());
        let index = self.plan.consistent_index.to_be_bytes();
        set(meta::CONSISTENT_INDEX, &index);
        set(meta::TERM, &1_u64.to_be_bytes());
        if self.plan.bump.is_some() {
            // etcd resumes the compaction when it starts.
            let mark = RowKey::new(self.report.revision, 0, false).bytes();
            set(meta::SCHEDULED_COMPACTION, mark.as_ref());
        }
        database::write(bucket::META, &rows, sink)
    }
}

/// Ids of leases, ascending.
fn leases<S: ReadAt, W>(base: &mut Reader<S>) -> Result<Vec<u64>, CopyError<S::Error, W>> {
    let mut ids = Vec::new();
    base.rows(bucket::LEASE, |row: Row<'_>| {
        let lease = Lease::decode(row.value).map_err(|why| CopyError::record(&row, why))?;
        ids.push(lease.id.cast_unsigned());
        Ok(())
    })?;
    ids.sort_unstable();
    Ok(ids)
}

fn alarms<S: ReadAt, W>(base: &mut Reader<S>) -> Result<Vec<Alarm>, CopyError<S::Error, W>> {
    let mut alarms = Vec::new();
    base.rows(bucket::ALARM, |row: Row<'_>| {
        let alarm = Alarm::decode(row.key).map_err(|why| CopyError::record(&row, why))?;
        match alarm.kind {
            AlarmKind::NoSpace => {}
            AlarmKind::Corrupt | AlarmKind::Other(_) => alarms.push(alarm),
        }
        Ok(())
    })?;
    Ok(alarms)
}

#[cfg(test)]
mod tests;
