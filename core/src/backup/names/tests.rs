use proptest::prelude::*;

use super::*;

fn any_name() -> impl Strategy<Value = Name> {
    let codec = prop::sample::select(&Codec::ALL[..]).prop_map(Suffix::Known);
    let unknown = "\\.[a-zA-Z0-9]{1,6}"
        .prop_filter("known ones are not unknown", |it| {
            it != ".final" && Codec::of_suffix(it).is_none()
        })
        .prop_map(|it| Suffix::Unknown(UnknownSuffix(it)));
    let revisions = (1..=i64::MAX, 1..=i64::MAX, any::<bool>(), 0_u32..63);
    let created = 0..=Timestamp::MAX.as_second();
    (
        revisions,
        created,
        prop_oneof![codec, unknown],
        any::<bool>(),
    )
        .prop_map(|((one, other, full, shift), created, suffix, is_final)| {
            let (start, last) = (one.min(other) >> shift, one.max(other) >> shift);
            let last = Revision(last.max(1));
            let kind = if full {
                Kind::Full
            } else {
                Kind::Delta {
                    start: Revision(start.max(1)),
                }
            };
            Name {
                last,
                kind,
                created: UnixSeconds(created),
                suffix,
                is_final,
            }
        })
}

fn any_key() -> impl Strategy<Value = Key> {
    let prefix = prop::sample::select(vec![
        "",
        "/",
        "p",
        "/home/x",
        "a/v1",
        "shoot--dev1/etcd-main",
    ]);
    let layout = prop_oneof![
        Just(Layout::V2),
        (0..=i64::MAX).prop_map(|it| Layout::V1 {
            backup: UnixSeconds(it)
        })
    ];
    (prefix, any_name(), layout, prop::option::of(1..=u32::MAX)).prop_map(
        |(prefix, name, layout, part)| Key {
            name,
            layout,
            part,
            prefix: Prefix::parse(prefix).unwrap(),
        },
    )
}

proptest! {
    #[test]
    fn what_is_printed_is_read(key in any_key()) {
        prop_assert_eq!(Key::parse(&key.prefix, &key.to_string()), Ok(key));
    }

    #[test]
    fn what_is_read_is_printed(text in "(p/)?v[12]/(Backup-[0-9]{1,3}/)?(Full|Incr|X)-[0-9]{7,10}-[0-9]{7,10}-[0-9]{1,10}(\\.(gz|Z|zlib|zst|final|))?(\\.final)?(/[0-9]{9,11})?") {
        for prefix in ["", "p"] {
            let prefix = Prefix::parse(prefix).unwrap();
            if let Ok(key) = Key::parse(&prefix, &text) {
                prop_assert_eq!(key.to_string(), text.clone());
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = Name::parse(&text);
        let _ = Key::parse(&Prefix::parse("").unwrap(), &text);
    }
}

#[test]
fn genuine_names_say_what_they_cover() {
    let full = Name::parse("Full-00000000-00000101-1795355041.gz").unwrap();
    assert_eq!((full.kind(), full.last()), (Kind::Full, Revision(101)));
    assert_eq!(full.created().time().to_string(), "2026-11-22T13:44:01Z");
    assert_eq!(full.suffix(), &Suffix::Known(Codec::Gzip));
    assert!(!full.is_final());
    let delta = Name::parse("Incr-00000102-00000102-1795355046.gz").unwrap();
    assert_eq!(
        delta.kind(),
        Kind::Delta {
            start: Revision(102)
        }
    );
    let long = Name::parse("Incr-99999999-123456789-1.zlib.final").unwrap();
    assert_eq!(long.last(), Revision(123_456_789));
    assert!(long.is_final());
}

#[test]
fn new_names_are_those_of_the_other_tool() {
    let at = UnixSeconds::of("2026-11-22T13:44:01.9Z".parse().unwrap()).unwrap();
    let full = Name::full(Revision(101), at, Codec::Gzip, true);
    assert_eq!(
        full.to_string(),
        "Full-00000000-00000101-1795355041.gz.final"
    );
    let delta = Name::delta(Revision(102), Revision(110), at, Codec::Plain).unwrap();
    let key = Key::new(&Prefix::parse("ns/etcd-main/").unwrap(), delta);
    assert_eq!(
        key.to_string(),
        "ns/etcd-main/v2/Incr-00000102-00000110-1795355041"
    );
    assert_eq!(Name::delta(Revision(3), Revision(2), at, Codec::Gzip), None);
    assert_eq!(
        UnixSeconds::of("1969-12-31T23:59:59.5Z".parse().unwrap()),
        None
    );
}

#[test]
fn each_layout_is_read_below_its_prefix_only() {
    let name = "Full-00000000-00000101-1795355041.gz";
    let read = |prefix: &str, key: &str| {
        let key = Key::parse(&Prefix::parse(prefix).unwrap(), key)?;
        Ok((key.layout, key.part))
    };
    assert_eq!(read("p", &format!("p/v2/{name}")), Ok((Layout::V2, None)));
    let v1 = Layout::V1 {
        backup: UnixSeconds(17),
    };
    assert_eq!(read("p", &format!("p/v1/Backup-17/{name}")), Ok((v1, None)));
    assert_eq!(
        read("p", &format!("p/v2/{name}/0000000002")),
        Ok((Layout::V2, Some(2)))
    );
    let namespace = "shoot--a--dev1/etcd-main";
    assert_eq!(
        read(namespace, &format!("{namespace}/v2/{name}")),
        Ok((Layout::V2, None))
    );
    for (prefix, key) in [("p", format!("p-2/v2/{name}")), ("p", format!("v2/{name}"))] {
        let error = read(prefix, &key);
        assert!(matches!(error, Err(NameError::OtherPrefix { .. })), "{key}");
    }
    for key in ["v3/", "", "v1/", "v1/17/", "q/v2/"].map(|it| format!("p/{it}{name}")) {
        assert_eq!(read("p", &key), Err(NameError::Layout { key }));
    }
}

#[test]
fn prefixes_are_cleaned_and_dots_refused() {
    for (flag, list) in [("", ""), ("/", "/"), ("a//b/", "a/b/"), ("/a", "/a/")] {
        assert_eq!(Prefix::parse(flag).unwrap().to_list(), list);
    }
    let error = Prefix::parse("a/../b").unwrap_err().to_string();
    assert_eq!(
        error,
        "the store prefix \"a/../b\" has the component \"..\": leave it out"
    );
}

#[test]
fn every_other_name_is_refused_for_its_own_reason() {
    let why = |name: &str| match Name::parse(name).unwrap_err() {
        NameError::Parts { .. } => "parts",
        NameError::Kind { .. } => "kind",
        NameError::Number {
            field: Field::Start,
            ..
        } => "start",
        NameError::Number {
            field: Field::Last, ..
        } => "last",
        NameError::Number {
            field: Field::Time, ..
        } => "time",
        NameError::Range { .. } => "range",
        NameError::Suffix { .. } => "suffix",
        other @ (NameError::Prefix { .. }
        | NameError::OtherPrefix { .. }
        | NameError::Layout { .. }
        | NameError::Number { .. }) => panic!("{name}: {other}"),
    };
    for (name, reason) in [
        ("", "parts"),
        ("Full-00000000-00000101", "parts"),
        ("Full-00000000-00000101-1-2", "parts"),
        ("Incremental-00000001-00000101-1", "kind"),
        ("full-00000000-00000101-1", "kind"),
        ("Full-0-00000101-1", "start"),
        ("Full-000000000-00000101-1", "start"),
        ("Full-00000000-+0000101-1", "last"),
        ("Full-00000000-99999999999999999999-1", "last"),
        ("Full-00000000-00000101-01", "time"),
        ("Full-00000000-00000101-", "time"),
        ("Full-00000000-00000101-99999999999999", "time"),
        ("Full-00000000-00000000-1", "range"),
        ("Full-00000001-00000101-1", "range"),
        ("Incr-00000000-00000101-1", "range"),
        ("Incr-00000102-00000101-1", "range"),
        ("Full-00000000-00000101-1.", "suffix"),
        ("Full-00000000-00000101-1.gz.zst", "suffix"),
        ("Full-00000000-00000101-1.final.gz", "suffix"),
        ("Full-00000000-00000101-1.final.final", "suffix"),
        ("Full-00000000-00000101-1.g z", "suffix"),
    ] {
        assert_eq!(why(name), reason, "{name}");
    }
}
