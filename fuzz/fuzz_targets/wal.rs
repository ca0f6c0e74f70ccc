//! A write-ahead log in one or two segments: no panic, no endless loop, and what both readers find
//! of it fits together. Checksums would stop a fuzzer at the first record, so with the first byte
//! odd they are set right, as far as the frames can be read.
#![no_main]

use std::io::Cursor;

use druid_core::data_dir::snap_file::Position;
use druid_core::data_dir::wal_read::{SegmentName, Segments, overview, tail};
use libfuzzer_sys::fuzz_target;

/// The type of a record that begins a segment with the checksum of the one before.
const CRC: u8 = 4;

/// Gives each record whose fields are in etcd's order the checksum that it should have.
fn set_right(bytes: &mut [u8]) {
    let (mut at, mut sum) = (0, 0);
    while let Some(head) = bytes.get(at..at + 8) {
        let head = u64::from_le_bytes(head.try_into().unwrap_or_default());
        let padding = if head >> 63 == 1 { (head >> 56 & 7) as usize } else { 0 };
        let length = (head & ((1 << 56) - 1)) as usize;
        let Some(end) = at.checked_add(8).and_then(|it| it.checked_add(length)) else {
            return;
        };
        let Some(record) = bytes.get_mut(at + 8..end) else {
            return;
        };
        // Type, checksum in any number of bytes, data.
        let kind = match record {
            [0x08, kind, 0x10, ..] => *kind,
            _ => return,
        };
        let Some(width) = record[3..].iter().position(|byte| byte & 0x80 == 0) else {
            return;
        };
        let data = record.get(3 + width + 1..).unwrap_or_default();
        let data = match data {
            [0x1A, length, rest @ ..] if *length < 0x80 => {
                rest.get(..usize::from(*length)).unwrap_or_default()
            }
            _ => &[],
        };
        if kind != CRC {
            sum = crc32c::crc32c_append(sum, data);
        }
        let mut left = sum;
        for n in 0..=width {
            let more = if n < width { 0x80 } else { 0 };
            record[3 + n] = (left & 0x7F) as u8 | more;
            left >>= 7;
        }
        at = end + padding;
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if choice & 1 == 1 {
        set_right(&mut bytes);
    }
    // The even bits above tell where the second segment begins.
    let cut = match choice >> 1 {
        0 => bytes.len(),
        part => bytes.len() * usize::from(part) / 128,
    };
    let first = SegmentName { number: 0, index: 0 };
    let second = SegmentName { number: 1, index: 3 };
    let names = if cut < bytes.len() { vec![second, first] } else { vec![first] };
    let segments = Segments::new(names, |name| {
        let part = if name == first { &bytes[..cut] } else { &bytes[cut..] };
        Ok((Cursor::new(part), part.len() as u64))
    });
    let Ok(segments) = segments else {
        return;
    };
    let Ok(seen) = overview(&segments) else {
        return;
    };
    for position in [Position::default()].iter().chain(&seen.snapshots) {
        if let Ok(tail) = tail(&segments, *position) {
            assert!(tail.last_index() >= position.index);
            let pending = tail.pending(position.index);
            assert!(pending.revisions <= pending.entries);
            assert!(pending.committed <= pending.entries);
        }
    }
});
