//! A store that etcd-backup-restore wrote, with one byte or bit of it changed.

use std::io::Read as _;

use druid_core::backup::codec::Codec;
use druid_core::backup::inventory::{self, Read};

use super::*;
use crate::backup::codec::unpack;

const FULL: &str = "Full-00000000-00000101-1795355041.gz";
const DELTA: &str = "Incr-00000102-00000102-1795355046.gz";

fn genuine(name: &str) -> Vec<u8> {
    let store = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/store/v2");
    fs::read(PathBuf::from(store).join(name)).unwrap()
}

fn bed() -> Bed {
    let bed = Bed::new();
    bed.put(FULL, &genuine(FULL)).put(DELTA, &genuine(DELTA));
    bed
}

fn content(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut unpacked = unpack(Codec::Gzip, packed, super::super::read::LIMIT);
    unpacked.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Of the header of gzip nothing is content after the magic numbers: flags, time, level, system.
const NO_CONTENT: std::ops::Range<usize> = 3..10;

/// Whether both commands find a changed object. If not, its content is what it was.
fn is_found(bed: &Bed, name: &str, at: usize, changed: &[u8], whole: &[u8]) -> bool {
    bed.put(name, changed);
    let known = bed.survey();
    let found = inventory::of(&bed.listing(), &known, Read::Everything);
    if found.is_whole() {
        assert!(content(changed) == whole, "{name}: byte {at}");
        return false;
    }
    let damaged: Vec<String> = known.damaged.keys().map(|it| it.name.to_string()).collect();
    assert_eq!(damaged, [name], "{name}: byte {at} is {:#x}", changed[at]);
    let refused = bed.refused();
    assert!(refused.contains(name), "{name}: byte {at}: {refused}");
    true
}

/// Each byte of an object, changed in all of its bits.
fn every_byte_is_found(name: &str) {
    let (bed, original) = (bed(), genuine(name));
    let whole = content(&original);
    for at in 0..original.len() {
        let mut changed = original.clone();
        changed[at] = !changed[at];
        let found = is_found(&bed, name, at, &changed, &whole);
        assert!(found || NO_CONTENT.contains(&at), "{name}: byte {at}");
    }
}

/// Some bits of each byte. Deflate has a few on which no content depends, for example those that fill
/// up the byte before a block that is stored (RFC 1951, 3.2.4): what is unpacked is what was packed.
fn every_bit_is_found(name: &str, bits: impl Fn(usize) -> std::ops::Range<usize>) {
    let (bed, original) = (bed(), genuine(name));
    let whole = content(&original);
    let mut ignored = std::collections::BTreeSet::new();
    for (at, bit) in (0..original.len()).flat_map(|at| bits(at).map(move |bit| (at, bit))) {
        let mut changed = original.clone();
        changed[at] ^= 1 << bit;
        if !is_found(&bed, name, at, &changed, &whole) && !NO_CONTENT.contains(&at) {
            ignored.insert(at);
        }
    }
    assert!(
        ignored.len() <= original.len() / 100,
        "{name}: bytes {ignored:?}"
    );
}

#[test]
fn every_changed_byte_of_a_full_snapshot_is_found() {
    every_byte_is_found(FULL);
}

#[test]
fn every_changed_byte_of_a_delta_is_found() {
    every_byte_is_found(DELTA);
}

#[test]
fn a_changed_bit_of_each_byte_of_a_full_snapshot_is_found() {
    every_bit_is_found(FULL, |at| at % 8..at % 8 + 1);
}

#[test]
fn every_changed_bit_of_a_delta_is_found() {
    every_bit_is_found(DELTA, |_| 0..8);
}

#[test]
fn a_cut_at_any_byte_is_found_and_so_is_what_is_appended() {
    let bed = bed();
    for (name, step) in [(FULL, 97), (DELTA, 1)] {
        let original = genuine(name);
        let mut changes: Vec<Vec<u8>> = Vec::new();
        for length in (0..original.len()).step_by(step) {
            changes.push(original[..length].to_vec());
        }
        let twice = [original.clone(), original.clone()].concat();
        let more = |bytes: &[u8]| [original.as_slice(), bytes].concat();
        changes.extend([
            twice,
            more(b"\0"),
            more(b"x"),
            more(&gz(b"")),
            more(&gz(b" ")),
        ]);
        for changed in changes {
            if changed.ends_with(&gz(b"")) {
                // A member without content is gzip's, and changes nothing.
                continue;
            }
            bed.put(name, &changed);
            let known = bed.survey();
            let damaged: Vec<_> = known.damaged.keys().map(|it| it.name.to_string()).collect();
            assert_eq!(damaged, [name], "{} bytes", changed.len());
            let refused = bed.refused();
            assert!(refused.contains(name), "{} bytes: {refused}", changed.len());
        }
        bed.put(name, &original);
    }
    assert!(bed.restore().is_ok());
}

#[test]
fn damage_that_no_restore_needs_is_found_too() {
    let bed = bed();
    let history = History::puts(50);
    let mut old = gz(&history.full(50, &[]));
    let middle = old.len() / 2;
    old[middle] ^= 1;
    bed.put("Full-00000000-00000050-1795355000.gz", &old);
    assert_eq!(bed.restore().unwrap().revision(), 102);
    let found = inventory::of(&bed.listing(), &bed.survey(), Read::Everything);
    assert!(found.restore.is_whole() && !found.is_whole());
}
