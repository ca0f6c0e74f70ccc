//! One object from a store to another, checked on its way.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Bed, History, gz};
use crate::backup::tests::store::Failing;
use crate::restore::carry::{CarryError, carry};
use crate::restore::read::ReadError;

const NAME: &str = "Full-00000000-00000010-100.gz";

/// A full snapshot; it has more bytes than fit into what waits anywhere on the way.
fn large() -> Vec<u8> {
    let mut history = History::puts(10);
    let noise = (0_u32..4 << 20).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
    history.0.push(vec![super::Do::Put(
        b"large".into(),
        noise.collect(),
        0,
        None,
    )]);
    gz(&history.full(11, &[]))
}

/// Carries the one object of a store into another that fails so many writes. What comes of it.
fn carried(from: &Bed, to: &Bed, failures: i64) -> Result<u64, CarryError> {
    let mut destination = to.location();
    let failing = Failing::new(destination.store);
    failing.writes.store(failures, Ordering::SeqCst);
    destination.store = Arc::new(failing);
    let listing = from.listing();
    let [object] = listing.snapshots() else {
        panic!("{listing:?}")
    };
    let handle = from.runtime.handle();
    carry(handle, &from.location(), object, &destination, &object.key)
}

#[test]
fn an_object_arrives_as_it_was() {
    let (from, to) = (Bed::new(), Bed::new());
    let bytes = large();
    from.put(NAME, &bytes);
    assert_eq!(carried(&from, &to, 0).unwrap(), bytes.len() as u64);
    assert_eq!(fs::read(to.path(NAME)).unwrap(), bytes);
}

#[test]
fn a_damaged_object_does_not_arrive() {
    let (from, to) = (Bed::new(), Bed::new());
    let mut bytes = large();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    for damaged in [bytes.as_slice(), &large()[..middle]] {
        from.put(NAME, damaged);
        let error = carried(&from, &to, 0).unwrap_err();
        assert!(
            matches!(error, CarryError::Read(ReadError::Damaged(_))),
            "{error}"
        );
        assert!(fs::read_dir(to.path("")).unwrap().next().is_none());
    }
}

#[test]
fn a_destination_that_fails_is_not_taken_for_damage_of_the_source() {
    let (from, to) = (Bed::new(), Bed::new());
    from.put(NAME, &large());
    let error = carried(&from, &to, 1).unwrap_err();
    assert!(matches!(error, CarryError::Write(_)), "{error}");
    assert!(error.to_string().contains(NAME), "{error}");
    assert!(fs::read_dir(to.path("")).unwrap().next().is_none());
}
