use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;

/// Unpacked from a store that etcd-backup-restore wrote.
const GENUINE: &[u8] =
    include_bytes!("../../../tests/data/backup/Incr-00000102-00000102-1795355046");
/// Go's `encoding/json` of etcd 3.5.27's own event type: every shape of an event.
const GO: &[u8] = include_bytes!("../../../tests/data/backup/go-delta");

/// Creation, version, value, lease and how long it lives.
type Put = (i64, i64, Vec<u8>, i64, Option<i64>);

/// An event that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    key: Vec<u8>,
    revision: i64,
    put: Option<Put>,
    time: Timestamp,
}

impl Owned {
    fn of(event: &Event<'_>) -> Self {
        let put = match event.change {
            Change::Put {
                created,
                version,
                value,
                lease,
                lease_ttl,
            } => Some((created.get(), version, value.to_vec(), lease, lease_ttl)),
            Change::Delete => None,
        };
        let (key, revision) = (event.key.to_vec(), event.revision.get());
        Self {
            key,
            revision,
            put,
            time: event.time,
        }
    }

    fn event(&self) -> Event<'_> {
        let change = match &self.put {
            Some((created, version, value, lease, lease_ttl)) => Change::Put {
                created: Revision(*created),
                version: *version,
                value,
                lease: *lease,
                lease_ttl: *lease_ttl,
            },
            None => Change::Delete,
        };
        let (key, revision) = (self.key.as_slice(), Revision(self.revision));
        Event {
            key,
            revision,
            change,
            time: self.time,
        }
    }
}

fn decode(bytes: &[u8], piece: usize, limit: usize) -> Result<(Vec<Owned>, Summary), DeltaDamage> {
    let mut decoder = Decoder::new(limit);
    let mut events = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.feed(piece);
        while let Some(event) = decoder.next_event()? {
            events.push(Owned::of(&event));
        }
    }
    Ok((events, decoder.finish()?))
}

fn encode(events: &[Owned]) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(), Vec::new());
    for event in events {
        encoder.push(&event.event(), &mut out).unwrap();
    }
    encoder.finish(&mut out).unwrap();
    out
}

/// With the digest that it should have.
fn sealed(json: &str) -> Vec<u8> {
    let mut bytes = json.as_bytes().to_vec();
    bytes.extend_from_slice(&Sha256::digest(json));
    bytes
}

fn damage(json: &str) -> DeltaDamage {
    decode(&sealed(json), 7, 1 << 20).unwrap_err()
}

#[test]
fn a_genuine_delta_is_read_and_written_byte_for_byte() {
    let (events, summary) = decode(GENUINE, 64, Decoder::LIMIT).unwrap();
    let expected = Owned {
        key: b"/registry/events/e1".to_vec(),
        revision: 102,
        put: Some((102, 1, b"x".to_vec(), 1_962_621_673_539_726_187, None)),
        time: "2026-11-22T13:44:04.083299932Z".parse().unwrap(),
    };
    assert_eq!(events, [expected]);
    assert_eq!(summary.check(Revision(102), Revision(102)), Ok(()));
    assert_eq!(encode(&events), GENUINE);
}

#[test]
fn what_go_writes_is_read_and_written_byte_for_byte() {
    for piece in [1, 2, 31, 32, 33, GO.len()] {
        let (events, summary) = decode(GO, piece, Decoder::LIMIT).unwrap();
        let revisions: Vec<_> = events.iter().map(|it| it.revision).collect();
        assert_eq!(revisions, [3, 4, 5, 5, 6]);
        assert_eq!(events[1].put, None);
        assert_eq!(events[2].put, Some((5, 1, Vec::new(), 0, None)));
        assert_eq!(events[3].key, b"<&>\xff\x00");
        assert_eq!(
            (summary.first, summary.last, summary.events),
            (Revision(3), Revision(6), 5)
        );
        assert_eq!(encode(&events), GO);
    }
}

#[test]
fn a_flip_of_any_byte_and_a_cut_anywhere_are_found() {
    for at in 0..GO.len() {
        for bit in 0..8 {
            let mut bytes = GO.to_vec();
            bytes[at] ^= 1 << bit;
            assert!(decode(&bytes, 64, 1 << 20).is_err(), "byte {at} bit {bit}");
        }
        assert!(decode(&GO[..at], 64, 1 << 20).is_err(), "cut at {at}");
    }
    assert_eq!(
        decode(&[], 1, 1 << 20),
        Err(DeltaDamage::Short { bytes: 0 })
    );
    let longer = [GO, b"x"].concat();
    assert!(decode(&longer, 64, 1 << 20).is_err());
}

const PUT: &str = r#"{"etcdEvent":{"kv":{"key":"YQ==","create_revision":2,"mod_revision":3,"version":1}},"time":"2026-01-02T03:04:05Z"}"#;

#[test]
fn fields_of_a_later_version_white_space_and_time_zones_are_read() {
    let json = format!(
        " [ {} , {}\n]\n",
        PUT.replace(
            "{\"etcdEvent\"",
            "{\"x\":{\"y\":[\"}\\\"]\"]},\"etcdEvent\""
        ),
        PUT.replace("05Z", "05+02:00"),
    );
    let (events, summary) = decode(&sealed(&json), 1, 1 << 20).unwrap();
    assert_eq!(summary.events, 2);
    assert_eq!(events[1].time.to_string(), "2026-01-02T01:04:05Z");
}

#[test]
fn an_array_is_held_to_its_shape() {
    for (json, expected) in [
        (PUT.to_owned(), "`[`"),
        ("[null]".to_owned(), "`{`"),
        (format!("[{PUT},]"), "`{`"),
        (format!("[{PUT}{PUT}]"), "`,` or `]`"),
        (format!("[{PUT}]]"), "digest"),
    ] {
        let found = damage(&json);
        assert!(
            matches!(&found, DeltaDamage::Syntax { expected: it, .. } if *it == expected),
            "{json}: {found}"
        );
    }
    assert_eq!(damage("[]"), DeltaDamage::Empty);
    for cut in ["", "[", &format!("[{PUT}"), &format!("[{PUT},"), &PUT[..9]] {
        let found = damage(cut);
        assert!(
            matches!(
                found,
                DeltaDamage::Short { .. } | DeltaDamage::Syntax { .. }
            ),
            "{cut}: {found}"
        );
    }
}

#[test]
fn an_event_has_to_be_one_that_etcd_can_make() {
    for (from, to, why) in [
        ("\"key\":\"YQ==\",", "", "it has no key"),
        ("YQ==", "YQ=", "its key is not base64"),
        ("YQ==", "Y\\n==", "its key is not base64"),
        (
            "\"mod_revision\":3",
            "\"mod_revision\":0",
            "it has no mod_revision",
        ),
        (
            "\"create_revision\":2",
            "\"create_revision\":4",
            "no key is of create_revision 4",
        ),
        (
            "\"version\":1",
            "\"version\":0",
            "no key is of create_revision 2",
        ),
        ("{\"kv\"", "{\"type\":2,\"kv\"", "its type 2 is unknown"),
        (
            "\"version\":1",
            "\"version\":1,\"version\":1",
            "duplicate field",
        ),
        ("\"version\":1", "\"version\":1e9", "invalid type"),
        (
            ",\"time\":\"2026-01-02T03:04:05Z\"",
            "",
            "missing field `time`",
        ),
        (
            "05Z\"",
            "05Z\",\"leaseTTL\":0",
            "no lease lives for 0 seconds",
        ),
        ("05Z\"", "05Z\",\"leaseTTL\":\"5\"", "invalid type"),
        ("2026-01-02", "yesterday", "failed to parse"),
        ("\"etcdEvent\"", "\"event\"", "missing field `etcdEvent`"),
    ] {
        let json = format!("[{}]", PUT.replace(from, to));
        let found = damage(&json);
        assert!(
            matches!(&found, DeltaDamage::Event { at: 1, why: it } if it.contains(why)),
            "{json}: {found}"
        );
    }
}

#[test]
fn revisions_do_not_go_back_and_none_is_missing() {
    let of = |revision| {
        PUT.replace(
            "\"mod_revision\":3",
            &format!("\"mod_revision\":{revision}"),
        )
    };
    for found in [2, 5] {
        let expected = DeltaDamage::Disorder {
            after: Revision(3),
            found: Revision(found),
        };
        assert_eq!(damage(&format!("[{PUT},{}]", of(found))), expected);
    }
    let (events, _) = decode(GENUINE, 64, Decoder::LIMIT).unwrap();
    let (mut encoder, mut out) = (Encoder::new(), Vec::new());
    encoder.push(&events[0].event(), &mut out).unwrap();
    let before = out.clone();
    let skips = Owned {
        revision: 104,
        ..events[0].clone()
    };
    assert!(encoder.push(&skips.event(), &mut out).is_err());
    assert_eq!(out, before);
    encoder.finish(&mut out).unwrap();
    assert_eq!(out, GENUINE);
    assert_eq!(
        Encoder::new().finish(&mut Vec::new()),
        Err(DeltaDamage::Empty)
    );
}

#[test]
fn the_time_of_a_lease_stands_beside_the_event_and_only_there() {
    let (events, _) = decode(GENUINE, 64, Decoder::LIMIT).unwrap();
    let (text, digest) = GENUINE.split_last_chunk::<DIGEST>().unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert_eq!(digest[..], Sha256::digest(&text)[..]);
    let mut leased = events;
    leased[0].put.as_mut().unwrap().4 = Some(60);
    let expected = text.replace("\"}]", "\",\"leaseTTL\":60}]");
    assert_eq!(encode(&leased), sealed(&expected));
    assert_eq!(decode(&encode(&leased), 64, 1 << 20).unwrap().0, leased);
    // Without a lease it means nothing.
    leased[0].put.as_mut().unwrap().3 = 0;
    let none = encode(&leased);
    assert!(!String::from_utf8_lossy(&none).contains("leaseTTL"));
    let json = format!("[{}]", PUT.replace("05Z\"", "05Z\",\"leaseTTL\":5"));
    let (events, _) = decode(&sealed(&json), 64, 1 << 20).unwrap();
    assert_eq!(events[0].put, Some((2, 1, Vec::new(), 0, None)));
}

/// Both ways of reading one element.
fn both_ways(json: &[u8]) -> (Option<Read>, Result<Read, String>) {
    let read = |said, key, value| Read { said, key, value };
    let (mut key, mut value) = (b"old".to_vec(), b"old".to_vec());
    let plain = element::plain(json, &mut key, &mut value);
    let plain = plain
        .filter(|(_, length)| *length == json.len())
        .map(|(said, _)| read(said, key, value));
    let (mut key, mut value) = (b"old".to_vec(), b"old".to_vec());
    let any = element::any(json, &mut key, &mut value);
    (plain, any.map(|said| read(said, key, value)))
}

#[derive(Debug, PartialEq)]
struct Read {
    said: element::Said,
    key: Vec<u8>,
    value: Vec<u8>,
}

#[test]
fn memory_is_bounded_by_the_limit_and_the_piece() {
    let endless = [b"[{\"etcdEvent\":\"".to_vec(), vec![b'x'; 1 << 20]].concat();
    let mut decoder = Decoder::new(4096);
    let failed = endless.chunks(512).find_map(|piece| {
        decoder.feed(piece);
        assert!(decoder.buffer.len() <= 4096 + 512 + DIGEST);
        decoder.next_event().err()
    });
    assert_eq!(failed, Some(DeltaDamage::TooLong { at: 1, limit: 4096 }));
    decoder.feed(b"more");
    assert_eq!(decoder.next_event(), Err(DeltaDamage::GivenUp));
    assert_eq!(decoder.finish(), Err(DeltaDamage::GivenUp));
}

#[test]
fn a_delta_that_is_not_taken_to_its_end_is_not_whole() {
    let mut decoder = Decoder::new(1 << 20);
    decoder.feed(GO);
    assert!(decoder.next_event().unwrap().is_some());
    assert_eq!(decoder.finish(), Err(DeltaDamage::GivenUp));
}

#[test]
fn a_delta_of_other_revisions_than_its_name_is_refused() {
    let (_, summary) = decode(GO, 64, 1 << 20).unwrap();
    let error = summary
        .check(Revision(3), Revision(7))
        .unwrap_err()
        .to_string();
    assert_eq!(error, "it is named for revisions 3 to 7 and has 3 to 6");
}

fn any_events() -> impl Strategy<Value = Vec<Owned>> {
    let bytes = |least| prop::collection::vec(any::<u8>(), least..40);
    let ttl = prop::option::of(1..=i64::MAX);
    let lease = (any::<i64>(), ttl).prop_filter("0 is none", |(lease, _)| *lease != 0);
    let lease = prop_oneof![lease, Just((0, None))];
    let put = (1_i64..=5, 1..=i64::MAX, bytes(0), lease)
        .prop_map(|(created, version, value, (lease, ttl))| (created, version, value, lease, ttl));
    let put = prop::option::of(put);
    let time = (0..4_000_000_000_i64, 0..1_000_000_000_i32);
    let event = (bytes(1), any::<bool>(), put, time);
    (5_i64..1 << 40, prop::collection::vec(event, 1..12)).prop_map(|(mut revision, events)| {
        let owned = |(key, same, put, (second, nano)): (Vec<u8>, bool, _, (i64, i32))| {
            revision += i64::from(!same);
            let time = Timestamp::new(second, nano).unwrap();
            Owned {
                key,
                revision,
                put,
                time,
            }
        };
        events.into_iter().map(owned).collect()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_in_pieces_of_any_size(events in any_events(), piece in 1_usize..300) {
        let bytes = encode(&events);
        let (read, summary) = decode(&bytes, piece, 1 << 20).unwrap();
        prop_assert_eq!(summary.events, events.len() as u64);
        prop_assert_eq!(read, events);
        prop_assert_eq!(&bytes[bytes.len() - DIGEST..], &Sha256::digest(&bytes[..bytes.len() - DIGEST])[..]);
    }

    #[test]
    fn what_is_written_is_read_the_fast_way_and_both_ways_agree(events in any_events()) {
        for event in events {
            let event = Owned { revision: 7, ..event };
            let bytes = encode(&[event]);
            let element = &bytes[1..bytes.len() - 1 - DIGEST];
            let (plain, any) = both_ways(element);
            prop_assert_eq!(plain.ok_or_else(String::new), any);
        }
    }

    #[test]
    fn what_the_fast_way_reads_the_other_reads_too(
        events in any_events(),
        cut in prop::option::of(any::<prop::sample::Index>()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), "[-0-9\"\\\\{}:,=a ]"), 0..4),
    ) {
        let bytes = encode(&events[..1]);
        let mut element = bytes[1..bytes.len() - 1 - DIGEST].to_vec();
        for (at, way, byte) in changes {
            let (at, byte) = (at.index(element.len()), byte.as_bytes()[0]);
            match way % 3 {
                0 => element[at] = byte,
                1 => element.insert(at, byte),
                _ => drop(element.remove(at)),
            }
        }
        if let Some(cut) = cut {
            element.truncate(cut.index(element.len()));
        }
        if let (Some(plain), any) = both_ways(&element) {
            prop_assert_eq!(Ok(plain), any, "{}", String::from_utf8_lossy(&element));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..50) {
        let _ = decode(&bytes, piece, 64);
    }

    #[test]
    fn no_text_like_a_delta_makes_it_panic(text in "[\\[\\]{},:\" \\\\a1]{0,80}", piece in 1_usize..50) {
        let _ = decode(&sealed(&format!("[{{{text}")), piece, 64);
    }
}
