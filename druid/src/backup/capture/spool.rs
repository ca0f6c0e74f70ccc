//! A delta on its way into a file. Blocks.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use druid_core::backup::Revision;
use druid_core::backup::delta::{Change, DeltaDamage, Encoder, Event};
use druid_core::backup::snapshotter::Spool as Spooled;
use jiff::Timestamp;
use thiserror::Error;

use super::leases::Leases;
use crate::backup::codec::{Packer, Packing};
use crate::etcd::Event as Seen;

/// A delta, ready to upload.
#[derive(Clone, Debug)]
pub(crate) struct SealedFile {
    /// Its bytes. The file has no name.
    pub(crate) file: Arc<File>,
    /// How many.
    pub(crate) bytes: u64,
    /// Its first revision.
    pub(crate) start: Revision,
    /// Its last revision.
    pub(crate) last: Revision,
}

/// Why a spool is lost.
#[derive(Debug, Error)]
pub(super) enum SpoolError {
    /// The disk.
    #[error(
        "the temporary file of a delta cannot be written: {0}; free some space, or set \
         --snapstore-temp-directory to another disk"
    )]
    Disk(#[from] io::Error),
    /// etcd sent what cannot be.
    #[error("etcd sent an event that is not one: {0}")]
    Event(#[from] DeltaDamage),
    /// A revision below 1.
    #[error("etcd sent an event of revision {0}")]
    Revision(i64),
}

/// One that is being written.
pub(super) struct Spool {
    encoder: Encoder,
    packer: Packer<File>,
    /// What was encoded and not yet packed.
    text: Vec<u8>,
    /// What it has.
    pub(super) has: Spooled,
}

/// Encoded bytes that are packed at once.
const PORTION: usize = 64 << 10;

impl Spool {
    /// An empty one, which `start` is to be the first revision of.
    pub(super) fn create(
        directory: &Path,
        packing: Packing,
        start: Revision,
    ) -> Result<Self, SpoolError> {
        let file = tempfile::tempfile_in(directory)?;
        Ok(Self {
            encoder: Encoder::new(),
            packer: Packer::new(packing, 0, file)?,
            text: Vec::new(),
            has: Spooled {
                start,
                to: start,
                bytes: 0,
            },
        })
    }

    /// Adds an event, of the last revision or the next.
    pub(super) fn push(
        &mut self,
        seen: &Seen,
        time: Timestamp,
        leases: &Leases,
    ) -> Result<(), SpoolError> {
        let event = event(seen, time, leases)?;
        let before = self.text.len();
        self.encoder.push(&event, &mut self.text)?;
        self.has.to = event.revision;
        self.has.bytes += (self.text.len() - before) as u64;
        if self.text.len() >= PORTION {
            self.packer.write_all(&self.text)?;
            self.text.clear();
        }
        Ok(())
    }

    /// Ends it.
    pub(super) fn seal(mut self) -> Result<SealedFile, SpoolError> {
        let summary = self.encoder.finish(&mut self.text)?;
        self.packer.write_all(&self.text)?;
        let file = self.packer.finish()?;
        let bytes = file.metadata()?.size();
        Ok(SealedFile {
            file: Arc::new(file),
            bytes,
            start: summary.first,
            last: summary.last,
        })
    }
}

/// An event as a delta has it.
fn event<'a>(seen: &'a Seen, time: Timestamp, leases: &Leases) -> Result<Event<'a>, SpoolError> {
    let revision = |it: i64| Revision::new(it).ok_or(SpoolError::Revision(it));
    Ok(match seen {
        Seen::Put(kv) => Event {
            key: &kv.key,
            revision: revision(kv.mod_revision)?,
            change: Change::Put {
                created: revision(kv.create_revision)?,
                version: kv.version,
                value: &kv.value,
                lease: kv.lease,
                lease_ttl: leases.granted(kv.lease),
            },
            time,
        },
        Seen::Delete { key, mod_revision } => Event {
            key,
            revision: revision(*mod_revision)?,
            change: Change::Delete,
            time,
        },
    })
}
