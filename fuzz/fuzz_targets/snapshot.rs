//! A snapshot file: no panic, no endless loop, whatever the bytes. The digest would stop a fuzzer at
//! the door, so it is set right first.
#![no_main]

use druid_core::snapshot_file;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

fuzz_target!(|database: &[u8]| {
    let mut file = database.to_vec();
    file.extend_from_slice(&Sha256::digest(database));
    let _ = snapshot_file::verify(file.as_slice());
    let _ = snapshot_file::verify(database);
});
