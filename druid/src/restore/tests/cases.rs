//! What etcd-backup-restore cannot restore, or restores wrongly, and what is refused.

use super::*;

const BASE: &str = "Full-00000000-00000010-100.gz";

fn lease(id: i64, ttl: i64) -> Lease {
    Lease {
        id,
        ttl,
        remaining_ttl: 0,
    }
}

/// Restores, and everything of the history is there.
fn has_all(bed: &Bed, history: &History) -> Made {
    let made = bed.restore().map_err(|it| it.to_string()).unwrap();
    assert_eq!(made.revision(), history.last());
    assert!(made.rows(bucket::KEY) == history.rows(history.last()));
    made
}

#[test]
fn deltas_that_overlap_are_restored() {
    let (bed, history) = (Bed::new(), History::puts(40));
    bed.put(BASE, &gz(&history.full(10, &[])))
        .put("Incr-00000011-00000020-110.gz", &gz(&history.delta(11, 20)))
        .put("Incr-00000011-00000030-111.gz", &gz(&history.delta(11, 30)))
        .put("Incr-00000021-00000040-120.gz", &gz(&history.delta(21, 40)));
    has_all(&bed, &history);
}

#[test]
fn a_base_that_is_newer_than_its_name_is_restored() {
    let (bed, history) = (Bed::new(), History::puts(40));
    bed.put(BASE, &gz(&history.full(35, &[])))
        .put("Incr-00000011-00000020-110.gz", &gz(&history.delta(11, 20)))
        .put("Incr-00000021-00000032-120.gz", &gz(&history.delta(21, 32)))
        .put("Incr-00000033-00000040-130.gz", &gz(&history.delta(33, 40)));
    has_all(&bed, &history);
    // Newer even than all deltas, and with a hole that is below what it holds.
    let bed = Bed::new();
    bed.put(BASE, &gz(&history.full(40, &[])))
        .put("Incr-00000021-00000032-120.gz", &gz(&history.delta(21, 32)));
    has_all(&bed, &history);
}

#[test]
fn leases_are_kept_and_young_ones_get_a_record() {
    let (bed, mut history) = (Bed::new(), History::puts(9));
    history.0.push(leased("old", 7, None));
    history.0.push(leased("told", 8, Some(77)));
    history.0.push(leased("untold", 9, None));
    history.0.push(leased("again", 7, Some(1)));
    // It would expire while an etcd replays, and its keys with it.
    bed.put(BASE, &gz(&history.full(10, &[lease(7, 1)])))
        .put("Incr-00000011-00000013-110.gz", &gz(&history.delta(11, 13)));
    let made = has_all(&bed, &history);
    let leases = made.rows(bucket::LEASE);
    let found: Vec<(i64, i64)> = leases
        .values()
        .map(|it| Lease::decode(it).unwrap())
        .map(|it| (it.id, it.ttl))
        .collect();
    assert_eq!(
        found,
        [(7, 1), (8, 77), (9, Plan::UNKNOWN_TTL.get().into())]
    );
    assert_eq!(made.replayed.report.leases_added, 2);
}

#[test]
fn a_hole_is_refused_with_the_revisions_that_are_missing() {
    let (bed, history) = (Bed::new(), History::puts(40));
    bed.put(BASE, &gz(&history.full(10, &[])))
        .put("Incr-00000011-00000020-110.gz", &gz(&history.delta(11, 20)))
        .put("Incr-00000031-00000040-130.gz", &gz(&history.delta(31, 40)));
    let refused = bed.refused();
    assert!(
        refused.contains("21 to 30") && refused.contains("--accept-loss"),
        "{refused}"
    );
    let made = bed.restore_with(Loss::Accepted, Begin::Newest).unwrap();
    assert_eq!(made.revision(), 20);
    assert!(made.replayed.lost.is_some());
    assert!(made.rows(bucket::KEY) == history.rows(20));
}

#[test]
fn deltas_without_a_base_are_refused() {
    let (bed, history) = (Bed::new(), History::puts(20));
    bed.put("Incr-00000011-00000020-110.gz", &gz(&history.delta(11, 20)));
    let refused = bed.refused();
    assert!(refused.contains("no full snapshot"), "{refused}");
    let lossy = bed.restore_with(Loss::Accepted, Begin::Newest);
    assert!(lossy.is_err());
    assert!(Bed::new().restore().is_err());
}

#[test]
fn one_revision_may_have_many_changes_and_many_bytes() {
    let (bed, mut history) = (Bed::new(), History::puts(10));
    let keys = || (0..20_000).map(|n| format!("many/{n:05}").into_bytes());
    history.0.push(
        keys()
            .map(|key| Do::Put(key, b"v".to_vec(), 0, None))
            .collect(),
    );
    history.0.push(keys().map(Do::Delete).collect());
    let large = (0..9).map(|n| Do::Put(vec![b'L', n], vec![n; 300 << 10], 0, None));
    history.0.push(large.collect());
    bed.put(BASE, &gz(&history.full(10, &[])))
        .put("Incr-00000011-00000013-110.gz", &gz(&history.delta(11, 13)));
    let made = has_all(&bed, &history);
    assert_eq!(made.replayed.report.events, 40_009);
}

#[test]
fn a_newest_delta_that_is_cut_or_empty_is_refused_and_its_loss_can_be_accepted() {
    let history = History::puts(30);
    let newest = gz(&history.delta(21, 30));
    for cut in [0, 1, newest.len() / 2, newest.len() - 1] {
        let bed = Bed::new();
        bed.put(BASE, &gz(&history.full(10, &[])))
            .put("Incr-00000011-00000020-110.gz", &gz(&history.delta(11, 20)))
            .put("Incr-00000021-00000030-120.gz", &newest[..cut]);
        let refused = bed.refused();
        let named = refused.contains("Incr-00000021-00000030-120.gz");
        assert!(named && refused.contains("--accept-loss"), "{refused}");
        let made = bed.restore_with(Loss::Accepted, Begin::Newest).unwrap();
        assert_eq!(made.revision(), 20);
        assert!(made.rows(bucket::KEY) == history.rows(20));
    }
}

#[test]
fn a_damaged_base_is_replaced_by_an_older_one_and_the_deltas_between() {
    let (bed, history) = (Bed::new(), History::puts(40));
    let newest = gz(&history.full(30, &[]));
    bed.put(BASE, &gz(&history.full(10, &[])))
        .put("Incr-00000011-00000030-110.gz", &gz(&history.delta(11, 30)))
        .put("Full-00000000-00000030-120.gz", &newest[..newest.len() / 2])
        .put("Incr-00000031-00000040-130.gz", &gz(&history.delta(31, 40)));
    let made = has_all(&bed, &history);
    assert_eq!(made.passed_over, ["Full-00000000-00000030-120.gz"]);
    bed.put("Full-00000000-00000030-120.gz", b"");
    has_all(&bed, &history);
}

#[test]
fn every_codec_final_names_and_chunks_are_read_as_they_are_meant() {
    let (bed, history) = (Bed::new(), History::puts(40));
    let zlib = packed(Packing::Zlib, &history.delta(11, 20));
    let mut lzw = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, 8);
    let lzw = lzw.encode(&history.delta(21, 30)).unwrap();
    bed.put("Full-00000000-00000010-100", &history.full(10, &[]))
        .put("Incr-00000011-00000020-110.zlib", &zlib)
        .put("Incr-00000021-00000030-120.Z", &lzw)
        .put("Incr-00000031-00000035-130", &history.delta(31, 35))
        .put(
            "Incr-00000036-00000040-140.gz.final",
            &gz(&history.delta(36, 40)),
        );
    let chunks = bed.path("Full-00000000-00000090-900.gz");
    fs::create_dir_all(&chunks).unwrap();
    fs::write(chunks.join("0000000001"), b"a part").unwrap();
    has_all(&bed, &history);
    bed.put(
        BASE,
        b"not gzip, and of the same revision as the base that is whole",
    );
    let known = bed.survey();
    assert_eq!(known.damaged.len(), 1, "{:?}", known.damaged);
    has_all(&bed, &history);
}

#[test]
fn names_have_more_than_eight_digits_when_the_revision_has() {
    let bed = Bed::new();
    let at = 123_456_789_i64;
    let row = RowKey::new(revision(at), 0, false)
        .bytes()
        .as_ref()
        .to_vec();
    let mut record = Vec::new();
    KeyValue {
        key: b"k",
        create_revision: at,
        mod_revision: at,
        version: 1,
        value: b"v",
        lease: 0,
    }
    .encode(&mut record);
    let mut writer = Writer::new(PageSize::DEFAULT);
    writer.bucket(bucket::KEY).unwrap();
    writer.row(&row, &record).unwrap();
    writer.bucket(bucket::META).unwrap();
    let finish = writer.finish();
    let mut full = finish.metas;
    full.append(writer.out());
    let digest = Sha256::digest(&full);
    full.extend_from_slice(&digest);
    let (mut encoder, mut delta) = (Encoder::new(), Vec::new());
    let event = Event {
        key: b"k",
        revision: revision(at + 1),
        change: Change::Delete,
        time: Timestamp::UNIX_EPOCH,
    };
    encoder.push(&event, &mut delta).unwrap();
    encoder.finish(&mut delta).unwrap();
    // By the letters of the names this old one would be the newest.
    let old = History::puts(99);
    bed.put("Full-00000000-00000099-50.gz", &gz(&old.full(99, &[])))
        .put("Full-00000000-123456789-100.gz", &gz(&full))
        .put("Incr-123456790-123456790-110.gz", &gz(&delta));
    assert_eq!(bed.restore().unwrap().revision(), at + 1);
}

#[test]
fn a_prefix_that_ends_in_v1_and_a_sibling_are_told_apart() {
    let (bed, history) = (Bed::at("main/v1"), History::puts(20));
    bed.put(BASE, &gz(&history.full(10, &[])))
        .put("Incr-00000011-00000020-110.gz", &gz(&history.delta(11, 20)));
    let sibling = bed.root.path().join("store/main/v1-other/v2");
    fs::create_dir_all(&sibling).unwrap();
    fs::write(sibling.join("Full-00000000-00000900-900.gz"), b"x").unwrap();
    has_all(&bed, &history);
}

#[test]
fn two_histories_are_refused_and_one_can_be_chosen() {
    let (bed, history) = (Bed::new(), History::puts(40));
    bed.put("Full-00000000-00000040-100.gz", &gz(&history.full(40, &[])))
        .put(
            "Full-00000000-00000010-9999.gz",
            &gz(&history.full(10, &[])),
        );
    let refused = bed.refused();
    assert!(
        refused.contains("two histories") || refused.contains("--base"),
        "{refused}"
    );
    let chosen = Begin::At("Full-00000000-00000010-9999.gz".to_owned());
    let made = bed.restore_with(Loss::Refused, chosen).unwrap();
    assert_eq!(made.revision(), 10);
}

#[test]
fn an_object_whose_content_is_not_what_its_name_says_is_damaged() {
    let (bed, history) = (Bed::new(), History::puts(40));
    bed.put(BASE, &gz(&history.full(10, &[])))
        .put("Incr-00000011-00000030-110.gz", &gz(&history.delta(11, 20)));
    let refused = bed.refused();
    assert!(refused.contains("has 11 to 20"), "{refused}");
    let bed = Bed::new();
    bed.put("Full-00000000-00000030-110.gz", &gz(&history.full(20, &[])));
    let refused = bed.refused();
    assert!(refused.contains("reaches only 20"), "{refused}");
}

#[test]
fn a_bomb_is_refused_before_it_unpacks() {
    let (bed, history) = (Bed::new(), History::puts(10));
    let mut packer = Packer::new(Packing::Gzip, 0, Vec::new()).unwrap();
    for _ in 0..1024 {
        packer.write_all(&vec![0; 1 << 20]).unwrap();
    }
    bed.put(BASE, &packer.finish().unwrap());
    let refused = bed.refused();
    assert!(
        refused.contains(BASE) && refused.contains("meta"),
        "{refused}"
    );
    // A database before it does not help.
    let mut packer = Packer::new(Packing::Gzip, 0, Vec::new()).unwrap();
    packer.write_all(&history.full(10, &[])).unwrap();
    for _ in 0..256 {
        packer.write_all(&vec![0; 1 << 20]).unwrap();
    }
    bed.put(BASE, &packer.finish().unwrap());
    let refused = bed.refused();
    assert!(
        refused.contains(BASE) && refused.contains("longer"),
        "{refused}"
    );
}
