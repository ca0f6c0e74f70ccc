//! A `.snap` file: no panic, and no other reading of the bytes for a wrong checksum. The checksum
//! would stop a fuzzer at the door, so the input is what it is of.
#![no_main]

use druid_core::data_dir::snap_file::decode;
use libfuzzer_sys::fuzz_target;

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fuzz_target!(|data: &[u8]| {
    let _ = decode(data);
    let file = |sum: u32| {
        let mut file = vec![0x08];
        varint(u64::from(sum), &mut file);
        file.push(0x12);
        varint(data.len() as u64, &mut file);
        file.extend_from_slice(data);
        file
    };
    let sum = crc32c::crc32c(data);
    let _ = decode(&file(sum));
    assert!(decode(&file(sum ^ 1)).is_err());
});
