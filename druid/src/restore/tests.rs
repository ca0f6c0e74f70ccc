//! Stores on disk, made by hand or by genuine etcd, and what becomes of them.

mod carrying;
mod cases;
mod etcd;
mod flips;
mod writers;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use druid_core::backup::Revision;
use druid_core::backup::delta::{Change, Encoder, Event};
use druid_core::backup::listing::Listing;
use druid_core::backup::names::Prefix;
use druid_core::backup::replay::Plan;
use druid_core::backup::restorable::{Begin, Known, Loss};
use druid_core::bolt::{self, PageSize, Sink as _, Writer};
use druid_core::mvcc::{KeyValue, Lease, RowKey, bucket};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::database::{self, Replayed, RestoreError, Source};
use super::survey;
use crate::backup::codec::{Packer, Packing};
use crate::read_at::FileAt;
use crate::store::local::Local;
use crate::store::location::Location;

/// The rows of a bucket.
type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store in a directory.
struct Bed {
    runtime: Runtime,
    root: TempDir,
    prefix: &'static str,
}

impl Bed {
    fn new() -> Self {
        Self::at("p")
    }

    fn at(prefix: &'static str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("store").join(prefix).join("v2")).unwrap();
        Self {
            runtime,
            root,
            prefix,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        let store = self.root.path().join("store").join(self.prefix);
        store.join("v2").join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> &Self {
        fs::write(self.path(name), bytes).unwrap();
        self
    }

    fn location(&self) -> Location {
        Location {
            store: Arc::new(Local::new(self.root.path().join("store"))),
            prefix: Prefix::parse(self.prefix).unwrap(),
            address: "the test's".to_owned(),
        }
    }

    fn listing(&self) -> Listing {
        self.runtime.block_on(self.location().listing()).unwrap()
    }

    fn survey(&self) -> Known {
        let (location, listing) = (self.location(), self.listing());
        let handle = self.runtime.handle();
        survey::survey(handle, &location, &listing, self.root.path(), &|_| ()).unwrap()
    }

    fn restore(&self) -> Result<Made, RestoreError> {
        self.restore_with(Loss::Refused, Begin::Newest)
    }

    #[expect(
        clippy::unwrap_in_result,
        reason = "the error is what is tested, not the disk"
    )]
    fn restore_with(&self, loss: Loss, begin: Begin) -> Result<Made, RestoreError> {
        let mut passed_over = Vec::new();
        let source = Source {
            runtime: self.runtime.handle(),
            location: &self.location(),
            listing: &self.listing(),
            begin,
            loss,
            spool: self.root.path(),
        };
        let plan = Plan {
            members: BTreeMap::new(),
            consistent_index: 1,
            unknown_ttl: Plan::UNKNOWN_TTL,
            bump: None,
        };
        let file = tempfile::tempfile_in(self.root.path()).unwrap();
        let mut said = |what: database::Progress<'_>| {
            if let database::Progress::Damaged(key, _) = what {
                passed_over.push(key.name.to_string());
            }
        };
        let replayed = database::replay(&source, &plan, &file, &mut said)?;
        Ok(Made {
            replayed,
            passed_over,
            file,
        })
    }

    fn refused(&self) -> String {
        self.restore().map(drop).unwrap_err().to_string()
    }
}

/// A restored database.
struct Made {
    replayed: Replayed,
    passed_over: Vec<String>,
    file: File,
}

impl Made {
    fn revision(&self) -> i64 {
        self.replayed.report.revision.get()
    }

    fn rows(&self, of: &[u8]) -> Rows {
        let file = FileAt::new(self.file.try_clone().unwrap()).unwrap();
        let mut rows = Rows::new();
        bolt::walk(&file, |row| {
            if row.bucket == of {
                rows.insert(row.key.to_vec(), row.value.to_vec());
            }
            Ok::<(), ()>(())
        })
        .unwrap();
        rows
    }
}

fn revision(number: i64) -> Revision {
    Revision::new(number).unwrap()
}

/// What one revision does.
#[derive(Clone)]
enum Do {
    Put(Vec<u8>, Vec<u8>, i64, Option<i64>),
    Delete(Vec<u8>),
}

fn put(key: &str, value: &str) -> Vec<Do> {
    vec![Do::Put(key.into(), value.into(), 0, None)]
}

fn leased(key: &str, lease: i64, ttl: Option<i64>) -> Vec<Do> {
    vec![Do::Put(key.into(), b"leased".to_vec(), lease, ttl)]
}

/// A history: what each revision from 2 on does. Snapshots of any part of it can be made.
#[derive(Default)]
struct History(Vec<Vec<Do>>);

impl History {
    /// Writes a key at each revision up to this one.
    fn puts(last: i64) -> Self {
        Self(
            (2..=last)
                .map(|at| put(&format!("k{}", at % 7), &at.to_string()))
                .collect(),
        )
    }

    fn last(&self) -> i64 {
        1 + i64::try_from(self.0.len()).unwrap()
    }

    /// Each event from one revision to another, and its number within its revision.
    fn events(&self, from: i64, to: i64, mut each: impl FnMut(u32, &Event<'_>)) {
        let mut living: BTreeMap<&[u8], (i64, i64)> = BTreeMap::new();
        for (at, changes) in (2..).zip(&self.0).take_while(|(at, _)| *at <= to) {
            for (sub, change) in (0..).zip(changes) {
                let (key, change) = match change {
                    Do::Put(key, value, lease, lease_ttl) => {
                        let (created, version) = living.get(&**key).copied().unwrap_or((at, 0));
                        living.insert(key, (created, version + 1));
                        let change = Change::Put {
                            created: revision(created),
                            version: version + 1,
                            value,
                            lease: *lease,
                            lease_ttl: *lease_ttl,
                        };
                        (key, change)
                    }
                    Do::Delete(key) => {
                        living.remove(&**key);
                        (key, Change::Delete)
                    }
                };
                if at >= from {
                    let event = Event {
                        key,
                        revision: revision(at),
                        change,
                        time: Timestamp::UNIX_EPOCH,
                    };
                    each(sub, &event);
                }
            }
        }
    }

    /// The rows of bucket `key` up to a revision, as etcd has them.
    fn rows(&self, to: i64) -> Rows {
        let mut rows = Rows::new();
        self.events(2, to, |sub, event| {
            let mut record = Vec::new();
            let (row, tombstone) = match event.change {
                Change::Put {
                    created,
                    version,
                    value,
                    lease,
                    ..
                } => {
                    let row = KeyValue {
                        key: event.key,
                        create_revision: created.get(),
                        mod_revision: event.revision.get(),
                        version,
                        value,
                        lease,
                    };
                    (row, false)
                }
                Change::Delete => {
                    let row = KeyValue {
                        key: event.key,
                        create_revision: 0,
                        mod_revision: 0,
                        version: 0,
                        value: b"",
                        lease: 0,
                    };
                    (row, true)
                }
            };
            row.encode(&mut record);
            let key = RowKey::new(event.revision, sub, tombstone);
            rows.insert(key.bytes().as_ref().to_vec(), record);
        });
        rows
    }

    /// A full snapshot, not packed.
    fn full(&self, to: i64, leases: &[Lease]) -> Vec<u8> {
        let mut buckets = BTreeMap::from([(bucket::KEY, self.rows(to))]);
        let leases = leases.iter().map(|lease| {
            let mut record = Vec::new();
            lease.encode(&mut record);
            (lease.id.to_be_bytes().to_vec(), record)
        });
        buckets.insert(bucket::LEASE, leases.collect());
        buckets.insert(bucket::META, Rows::new());
        let mut writer = Writer::new(PageSize::DEFAULT);
        for (name, rows) in buckets {
            writer.bucket(name).unwrap();
            for (key, value) in rows {
                writer.row(&key, &value).unwrap();
            }
        }
        let finish = writer.finish();
        let mut file = finish.metas;
        file.append(writer.out());
        let digest = Sha256::digest(&file);
        file.extend_from_slice(&digest);
        file
    }

    /// A delta, not packed.
    fn delta(&self, from: i64, to: i64) -> Vec<u8> {
        let (mut encoder, mut out) = (Encoder::new(), Vec::new());
        self.events(from, to, |_, event| encoder.push(event, &mut out).unwrap());
        encoder.finish(&mut out).unwrap();
        out
    }
}

fn packed(packing: Packing, bytes: &[u8]) -> Vec<u8> {
    let mut packer = Packer::new(packing, 0, Vec::new()).unwrap();
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    packed(Packing::Gzip, bytes)
}
