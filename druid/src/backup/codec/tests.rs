use std::io::{Cursor, Read as _};

use proptest::prelude::*;

use super::*;

const DELTA: &[u8] = include_bytes!("../../../../core/tests/data/backup/go-delta");
const LZW: &[u8] = include_bytes!("../../../../core/tests/data/backup/go-delta.Z");
const ZLIB: &[u8] = include_bytes!("../../../../core/tests/data/backup/go-delta.zlib");
const FULL: &[u8] =
    include_bytes!("../../../../core/tests/data/backup/Full-00000000-00000101-1795355041.gz");

fn unpacked(codec: Codec, packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    unpack(codec, Cursor::new(packed)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn packed(codec: Codec, bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut packer = Packer::new(codec, Vec::new()).unwrap();
    for piece in bytes.chunks(piece) {
        packer.write_all(piece).unwrap();
    }
    packer.finish().unwrap()
}

/// Text that packs neither well nor badly.
fn text(length: usize, seed: u64) -> Vec<u8> {
    use rand::{RngCore as _, SeedableRng as _};
    let mut random = rand::rngs::SmallRng::seed_from_u64(seed);
    let mut bytes = vec![0; length];
    random.fill_bytes(&mut bytes);
    bytes.iter().map(|it| b'a' + it % 24).collect()
}

#[test]
fn what_go_packed_is_unpacked() {
    assert_eq!(unpacked(Codec::Plain, DELTA).unwrap(), DELTA);
    assert_eq!(unpacked(Codec::Lzw, LZW).unwrap(), DELTA);
    assert_eq!(unpacked(Codec::Zlib, ZLIB).unwrap(), DELTA);
    let database = unpacked(Codec::Gzip, FULL).unwrap();
    assert_eq!(database.len() % 512, 32);
}

#[test]
fn every_codec_unpacks_what_it_packed_over_the_borders_of_blocks() {
    for codec in Codec::ALL {
        for length in [0, 1, 511, 512 << 10, (512 << 10) + 1, 3_000_000] {
            let bytes = text(length, 7);
            let packed = packed(codec, &bytes, 100_000);
            assert_eq!(unpacked(codec, &packed).unwrap(), bytes, "{codec} {length}");
        }
    }
}

#[test]
fn bytes_that_do_not_pack_survive_as_well() {
    use rand::{RngCore as _, SeedableRng as _};
    let mut bytes = vec![0; 2_000_000];
    rand::rngs::SmallRng::seed_from_u64(3).fill_bytes(&mut bytes);
    for codec in Codec::ALL {
        assert_eq!(
            unpacked(codec, &packed(codec, &bytes, 77_777)).unwrap(),
            bytes
        );
    }
}

#[test]
fn a_cut_is_an_error_wherever_it_is() {
    for codec in [Codec::Gzip, Codec::Zlib, Codec::Lzw] {
        let whole = packed(codec, &text(2_000, 1), 500);
        for length in 0..whole.len() {
            assert!(
                unpacked(codec, &whole[..length]).is_err(),
                "{codec} {length}"
            );
        }
    }
}

#[test]
fn bytes_after_the_end_are_an_error() {
    for codec in [Codec::Gzip, Codec::Zlib, Codec::Lzw] {
        let mut longer = packed(codec, b"hello", 5);
        longer.extend_from_slice(b"and more");
        assert!(unpacked(codec, &longer).is_err(), "{codec}");
    }
}

#[test]
fn several_members_of_gzip_are_one_object_as_for_go() {
    let mut two = packed(Codec::Gzip, b"hello ", 6);
    two.extend(packed(Codec::Gzip, b"world", 5));
    assert_eq!(unpacked(Codec::Gzip, &two).unwrap(), b"hello world");
}

#[test]
fn a_writer_that_fails_is_an_error_and_nothing_hangs() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let left = self.0.checked_sub(bytes.len());
            self.0 = left.ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for codec in Codec::ALL {
        let mut packer = Packer::new(codec, Full(200_000)).unwrap();
        let written = packer.write_all(&text(5_000_000, 1));
        assert!(
            written.and_then(|()| packer.finish().map(|_| ())).is_err(),
            "{codec}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), head in 0..4_usize) {
        let codec = Codec::ALL[head];
        let _ = unpacked(codec, &bytes);
        let magic: &[u8] = match codec {
            Codec::Plain => &[],
            Codec::Gzip => &[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0],
            Codec::Zlib => &[0x78, 0x9C],
            Codec::Lzw => &[0, 3],
        };
        let _ = unpacked(codec, &[magic, &bytes].concat());
    }
}
