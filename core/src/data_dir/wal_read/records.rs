//! One segment: frames, checksums, and where it ends.

use std::io::{self, BufReader, Read};

use super::BadRecord;
use crate::data_dir::wal::kind;
use crate::mvcc::wire::{Fields, WireError};

/// What reaches the disk whole or not at all.
const SECTOR: u16 = 512;
/// The length of a record stands before it.
const HEAD: u64 = 8;

/// What comes next in a segment.
pub(super) enum Next<'a> {
    Record { kind: u64, data: &'a [u8] },
    End,
    Torn,
    Bad(BadRecord),
}

/// A segment that is being read.
pub(super) struct Segment<R> {
    bytes: BufReader<R>,
    length: u64,
    /// No segment follows it.
    last: bool,
    /// Of all records so far, in this segment and those before it.
    crc: u32,
    /// The end of the last whole record.
    offset: u64,
    /// A record with its padding.
    frame: Vec<u8>,
}

impl<R: Read> Segment<R> {
    pub(super) fn new(bytes: R, length: u64, last: bool, crc: u32) -> Self {
        Self {
            bytes: BufReader::with_capacity(64 * 1024, bytes),
            length,
            last,
            crc,
            offset: 0,
            frame: Vec::new(),
        }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn crc(&self) -> u32 {
        self.crc
    }

    /// After anything else than a record there is nothing.
    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        self.take(HEAD)?;
        let word = match <[u8; 8]>::try_from(self.frame.as_slice()) {
            Ok(word) => u64::from_le_bytes(word),
            Err(_) if self.frame.is_empty() => return Ok(Next::End),
            Err(_) => return Ok(self.cut()),
        };
        if word == 0 {
            return Ok(Next::End);
        }
        let length = word & (u64::MAX >> 8);
        let padding = if word >> 63 == 0 { 0 } else { word >> 56 & 7 };
        // Both are below 2^56.
        let whole = length + padding;
        if whole > self.length.saturating_sub(self.offset) {
            return Ok(self.cut());
        }
        self.take(whole)?;
        if (self.frame.len() as u64) < whole {
            return Ok(self.cut());
        }
        let record = usize::try_from(length).ok();
        let record = record.and_then(|length| self.frame.get(..length));
        let Some(record) = record.and_then(|record| Record::read(record).ok()) else {
            return Ok(self.wrong(BadRecord::Malformed));
        };
        if record.kind == kind::CRC {
            // The first segment that is read begins in the middle of the chain.
            let goes_on = self.crc == 0 || record.crc == u64::from(self.crc);
            match u32::try_from(record.crc) {
                Ok(crc) if goes_on => self.crc = crc,
                Ok(_) | Err(_) => return Ok(Next::Bad(BadRecord::Checksum)),
            }
        } else {
            let crc = crc32c::crc32c_append(self.crc, record.data);
            if record.crc != u64::from(crc) {
                return Ok(self.wrong(BadRecord::Checksum));
            }
            self.crc = crc;
        }
        self.offset += HEAD + whole;
        let Record { kind, data, .. } = record;
        Ok(Next::Record { kind, data })
    }

    /// Reads so many bytes, fewer at the end of the file. They are not trusted to be there before
    /// they are, so that a length that is wrong takes no memory.
    fn take(&mut self, length: u64) -> io::Result<()> {
        self.frame.clear();
        self.bytes
            .by_ref()
            .take(length)
            .read_to_end(&mut self.frame)?;
        Ok(())
    }

    fn cut(&self) -> Next<'static> {
        if self.last {
            Next::Torn
        } else {
            Next::Bad(BadRecord::Cut)
        }
    }

    /// For a record that is there and wrong.
    fn wrong(&self, what: BadRecord) -> Next<'static> {
        if self.last && has_empty_sector(&self.frame, self.offset + HEAD) {
            Next::Torn
        } else {
            Next::Bad(what)
        }
    }
}

/// Whether the part of a frame in some sector is all zeros. Sectors are counted from the start of
/// the file, where the frame begins at `offset`.
fn has_empty_sector(frame: &[u8], offset: u64) -> bool {
    let sector = u64::from(SECTOR);
    let first = usize::try_from(sector - offset % sector).unwrap_or_default();
    let (head, rest) = frame.split_at(first.min(frame.len()));
    let empty = |sector: &[u8]| !sector.is_empty() && sector.iter().all(|byte| *byte == 0);
    empty(head) || rest.chunks(SECTOR.into()).any(empty)
}

struct Record<'a> {
    kind: u64,
    crc: u64,
    data: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (mut kind, mut crc, mut data) = (0, 0, &[][..]);
        let mut fields = Fields::of(bytes);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => kind = field.unsigned()?,
                2 => crc = field.unsigned()?,
                3 => data = field.bytes()?,
                _ => {}
            }
        }
        Ok(Self { kind, crc, data })
    }
}
