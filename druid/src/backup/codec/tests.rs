use std::io::{Read, Write};

use druid_core::backup::codec::Codec;
use proptest::prelude::*;

use super::*;

const LIMIT: Limit = Limit {
    bytes: 1 << 30,
    ratio: 1100,
};

fn read(codec: Codec, packed: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    match unpack(codec, packed, LIMIT).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

fn packed(packing: Packing, threads: usize, bytes: &[u8]) -> Vec<u8> {
    let mut packer = Packer::new(packing, threads, Vec::new()).unwrap();
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn genuine(name: &str) -> Vec<u8> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/tests/data/backup/");
    std::fs::read(format!("{data}{name}")).unwrap()
}

#[test]
fn what_go_packed_is_unpacked() {
    let plain = genuine("go-delta");
    assert_eq!(read(Codec::Plain, &plain).unwrap(), plain);
    assert_eq!(read(Codec::Zlib, &genuine("go-delta.zlib")).unwrap(), plain);
    assert_eq!(read(Codec::Lzw, &genuine("go-delta.Z")).unwrap(), plain);
    let full = read(
        Codec::Gzip,
        &genuine("Full-00000000-00000101-1795355041.gz"),
    )
    .unwrap();
    assert_eq!(full.len() % 512, 32);
}

#[test]
fn a_cut_anywhere_is_an_error_and_so_is_what_follows_the_end() {
    let plain = genuine("go-delta");
    for (codec, bytes) in [
        (Codec::Zlib, genuine("go-delta.zlib")),
        (Codec::Lzw, genuine("go-delta.Z")),
        (Codec::Gzip, packed(Packing::Gzip, 2, &plain)),
        (Codec::Gzip, packed(Packing::Gzip, 0, &plain)),
    ] {
        assert_eq!(read(codec, &bytes).unwrap(), plain);
        for end in 0..bytes.len() {
            let error = read(codec, &bytes[..end]).unwrap_err();
            assert!(
                error.contains("it ends too early"),
                "{codec:?} {end}: {error}"
            );
        }
        for more in [&b"x"[..], &[0; 20]] {
            let longer = [&bytes, more].concat();
            assert!(read(codec, &longer).is_err(), "{codec:?} and {more:?}");
        }
    }
}

#[test]
fn a_flipped_bit_of_packed_data_is_found_where_the_codec_has_a_checksum() {
    let plain = genuine("go-delta");
    // The ten bytes of the header carry no content; nor do the unused bits at the end of deflate.
    for (codec, bytes, from) in [
        (Codec::Gzip, packed(Packing::Gzip, 2, &plain), 10),
        (Codec::Zlib, packed(Packing::Zlib, 0, &plain), 0),
    ] {
        for at in from..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            if let Ok(unpacked) = read(codec, &bad) {
                assert_eq!(unpacked, plain, "byte {at} of {codec:?}");
            }
        }
    }
}

#[test]
fn several_members_are_one_object() {
    let members = [
        packed(Packing::Gzip, 0, b"one "),
        packed(Packing::Gzip, 2, b"two"),
    ]
    .concat();
    assert_eq!(read(Codec::Gzip, &members).unwrap(), b"one two");
}

#[test]
fn what_unpacks_to_too_much_is_stopped() {
    let zeros = packed(Packing::Gzip, 0, &vec![0; 8 << 20]);
    let small = Limit {
        bytes: 1 << 20,
        ratio: 2000,
    };
    let dense = Limit {
        bytes: 1 << 30,
        ratio: 10,
    };
    for limit in [small, dense] {
        let mut reader = unpack(Codec::Gzip, zeros.as_slice(), limit);
        let mut out = 0;
        let mut buffer = vec![0; 4096];
        let error = loop {
            match reader.read(&mut buffer) {
                Ok(0) => panic!("it was read to the end"),
                Ok(read) => out += read,
                Err(error) => break error,
            }
        };
        assert!(
            error.to_string().contains("more than 1048576 bytes"),
            "{error}"
        );
        assert!(out <= (1 << 20) + 4096);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn what_is_packed_is_unpacked(
        seed in proptest::collection::vec(any::<u8>(), 0..600), times in 0usize..3000,
        threads in 0usize..4
    ) {
        let bytes = seed.repeat(times);
        for packing in [Packing::Plain, Packing::Gzip, Packing::Zlib] {
            let packed = packed(packing, threads, &bytes);
            prop_assert_eq!(read(packing.codec(), &packed).unwrap(), bytes.clone());
        }
        // One member, so that a reader that knows only of one reads all.
        let packed = packed(Packing::Gzip, threads, &bytes);
        let mut one = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut one).unwrap();
        prop_assert_eq!(one, bytes);
    }
}
