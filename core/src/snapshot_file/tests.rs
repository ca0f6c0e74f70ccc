use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::bolt::{PageSize, Sink as _, Writer, walk};

/// Snapshots of genuine members: 150 puts and 10 deletions, and a compaction at revision 40 that
/// removed nothing.
const OF_34: &[u8] = include_bytes!("../../tests/data/etcd-3.4.34.db");
const OF_35: &[u8] = include_bytes!("../../tests/data/etcd-3.5.27.db");

fn verify(file: &[u8]) -> Result<SnapshotFacts, SnapshotDamage> {
    super::verify(file).map_err(|error| match error {
        VerifyError::Damage(damage) => damage,
        VerifyError::Read(error) => panic!("it reads past the end: {error}"),
    })
}

/// Where the value of the last row that is wanted begins, and how long its key is.
fn find(wanted: impl Fn(&Row<'_>) -> bool) -> (usize, usize) {
    let mut found = None;
    walk(Database::of(OF_35), |row| {
        if wanted(&row) {
            found = Some((usize::try_from(row.value_at).unwrap(), row.key.len()));
        }
        Ok::<(), Infallible>(())
    })
    .unwrap();
    found.unwrap()
}

/// The same database with a digest that fits, as if the damage had been there when it was taken.
fn resealed(mut file: Vec<u8>) -> Vec<u8> {
    file.truncate(file.len() - DIGEST);
    let digest = Sha256::digest(&file);
    file.extend(digest);
    file
}

#[test]
fn a_snapshot_of_either_release_is_whole() {
    for file in [OF_34, OF_35] {
        let facts = verify(file).unwrap();
        assert_eq!(facts.revision, 161);
        assert_eq!(facts.total_keys, 150 + 10);
        assert_eq!(facts.sha256, hex(&Sha256::digest(file)));
    }
}

#[test]
fn a_cut_file_is_told_by_its_size() {
    for length in [0, 31, 32, 100, OF_35.len() - 1, OF_35.len() - DIGEST] {
        let bytes = length as u64;
        assert_eq!(
            verify(&OF_35[..length]),
            Err(SnapshotDamage::Size { bytes })
        );
    }
    let by_pages = &OF_35[4096..];
    assert!(matches!(
        verify(by_pages),
        Err(SnapshotDamage::Digest { .. })
    ));
}

#[test]
fn damage_from_before_the_digest_is_found_in_the_structure() {
    let mut file = OF_35.to_vec();
    file[16] ^= 1;
    file[4096 + 16] ^= 1;
    let expected = SnapshotDamage::Bolt(BoltDamage::NoMeta);
    assert_eq!(verify(&resealed(file)), Err(expected));
    let text = String::from("its database is damaged: neither meta page is valid");
    assert_eq!(SnapshotDamage::Bolt(BoltDamage::NoMeta).to_string(), text);
}

#[test]
fn the_mark_of_a_compaction_counts_as_a_revision() {
    let (mark, _) = find(|row| row.key == b"finishedCompactRev");
    let mut file = OF_35.to_vec();
    file[mark + 6] = 1;
    assert_eq!(verify(&resealed(file)).unwrap().revision, 256 + 40);
}

#[test]
fn a_row_that_is_no_revision_is_shown() {
    let (value_at, key_length) = find(|row| row.bucket == b"key");
    // The key lies directly before the value: 8 bytes, `_`, 8 bytes, `t`.
    let mut file = OF_35.to_vec();
    file[value_at - key_length + 8] = b'-';
    let damage = verify(&resealed(file)).unwrap_err();
    assert_eq!(
        damage.to_string(),
        "its bucket `key` has a row that is no revision: 00000000000000a12d000000000000000074"
    );
}

#[test]
fn a_snapshot_is_checked_as_it_arrives_in_pieces_of_any_size() {
    let facts = verify(OF_34).unwrap();
    for piece in [1, 31, 32, 33, 4096, OF_34.len()] {
        let of = |file: &[u8]| {
            let mut trailer = Trailer::new();
            for piece in file.chunks(piece) {
                trailer.feed(piece);
                assert!(trailer.tail.len() <= DIGEST);
            }
            trailer.finish()
        };
        let digested = of(OF_34).unwrap();
        assert_eq!(digested.sha256, facts.sha256);
        assert_eq!(digested.bytes, OF_34.len() as u64);
        assert_eq!(digested.database_bytes, (OF_34.len() - DIGEST) as u64);
        let cut = of(&OF_34[..OF_34.len() - 512]).unwrap_err();
        assert!(matches!(cut, SnapshotDamage::Digest { .. }), "{cut}");
        let cut = of(&OF_34[..OF_34.len() - 1]).unwrap_err();
        assert!(matches!(cut, SnapshotDamage::Size { .. }), "{cut}");
    }
    assert_eq!(
        Trailer::new().finish(),
        Err(SnapshotDamage::Size { bytes: 0 })
    );
}

fn written(buckets: &[&[u8]]) -> Vec<u8> {
    let mut writer = Writer::new(PageSize::DEFAULT);
    for name in buckets {
        writer.bucket(name).unwrap();
    }
    let finish = writer.finish();
    let file = [finish.metas.as_slice(), writer.out(), &[0; DIGEST]].concat();
    resealed(file)
}

#[test]
fn a_cluster_that_nothing_was_written_to_is_at_the_first_revision() {
    let facts = verify(&written(&[b"key", b"meta"])).unwrap();
    assert_eq!((facts.revision, facts.total_keys), (1, 0));
    let other = verify(&written(&[b"keys"]));
    assert_eq!(other, Err(SnapshotDamage::NotEtcd));
}

#[test]
fn free_pages_are_told_from_those_in_use() {
    let facts = verify(OF_35).unwrap();
    assert_eq!(facts.bytes, OF_35.len() as u64);
    assert!(facts.bytes_in_use.is_multiple_of(4096) && facts.bytes_in_use > 4 * 4096);
    assert!(facts.bytes_in_use <= facts.bytes - DIGEST as u64);
}

proptest! {
    #[test]
    fn no_changed_byte_goes_unnoticed(at in 0..OF_35.len(), flip in 1..=u8::MAX) {
        let mut file = OF_35.to_vec();
        file[at] ^= flip;
        let found = matches!(verify(&file), Err(SnapshotDamage::Digest { .. }));
        prop_assert!(found);
    }

    #[test]
    fn no_cut_goes_unnoticed(length in 0..OF_35.len()) {
        prop_assert!(verify(&OF_35[..length]).is_err());
    }

    #[test]
    fn a_digest_that_fits_makes_nothing_panic(
        changes in prop::collection::vec((0..OF_34.len() - DIGEST, any::<u8>()), 1..20),
    ) {
        let mut file = OF_34.to_vec();
        for (at, byte) in changes {
            file[at] = byte;
        }
        let _ = verify(&resealed(file));
    }
}

#[test]
fn the_first_pages_say_how_far_a_snapshot_is_worth_reading() {
    let database = include_bytes!("../../tests/data/etcd-3.4.34.db");
    let extent = Extent::of(&database[..database.len().min(Extent::HEAD)]).unwrap();
    assert_eq!(extent.admit(database.len() as u64), Ok(()));
    let far = extent.admit(1 << 30);
    assert!(
        matches!(far, Err(SnapshotDamage::TooLong { .. })),
        "{far:?}"
    );
    assert!(Extent::of(&vec![0; Extent::HEAD]).is_err());
    assert!(Extent::of(b"").is_err());
}
