use serde_json::json;

use super::*;

const NAME: &str = "s.n.svc";
const TERMS: Terms = Terms {
    lifetime: SignedDuration::from_secs(900),
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn authority(der: u8, expires: i64) -> Authority {
    Authority {
        expires: at(expires),
        der: vec![der],
    }
}

/// Number 1 expires at 900, number 2 at 1800, and so on.
fn pair(number: u8, bundle: &[u8]) -> Pair {
    let of = |number: u8| authority(number, 900 * i64::from(number));
    Pair {
        certificate: vec![100 + number],
        expires: of(number).expires,
        authority: vec![number],
        names: [NAME.to_owned()].into(),
        bundle: bundle.iter().map(|it| of(*it)).collect(),
    }
}

fn caller(trusts: &[Authority]) -> Caller {
    Caller {
        server: Some(NAME.to_owned()),
        trusts: trusts.to_vec(),
    }
}

fn kept(pair: Pair) -> Kept {
    Kept::Pair(pair)
}

fn made(step: Step) -> (Why, Vec<Authority>) {
    match step {
        Step::Make { why, names, before } => {
            assert_eq!(names, [NAME.to_owned()].into());
            (why, before)
        }
        Step::Tell(_) | Step::Rest(_) | Step::Stuck(_) => panic!("{step:?}"),
    }
}

#[test]
fn without_a_certificate_one_is_made_and_whom_callers_trust_stays_trusted() {
    let known = [authority(1, 500), authority(2, 100), authority(3, 5000)];
    for (kept, why) in [
        (Kept::Missing, Why::Missing),
        (
            Kept::Unusable("no key".to_owned()),
            Why::Unusable("no key".to_owned()),
        ),
    ] {
        let step = next(&kept, &[caller(&known)], at(100), TERMS);
        // The second has expired, the third is nobody's that was made here.
        assert_eq!(made(step), (why, vec![authority(1, 500)]));
    }
}

#[test]
fn of_many_authorities_the_latest_stay() {
    let known: Vec<_> = (1..20)
        .map(|it| authority(it, 500 + i64::from(it)))
        .collect();
    let step = next(&Kept::Missing, &[caller(&known)], at(0), TERMS);
    let (_, before) = made(step);
    let numbers: Vec<_> = before.iter().map(|it| it.der[0]).collect();
    assert_eq!(numbers, [19, 18, 17, 16, 15, 14, 13]);
}

#[test]
fn what_is_not_ours_is_left_alone_and_what_nobody_calls_needs_nothing() {
    let step = next(&Kept::Foreign, &[caller(&[])], at(0), TERMS);
    assert_eq!(step, Step::Stuck(Trouble::Foreign));
    let step = next(&Kept::Missing, &[], at(0), TERMS);
    assert_eq!(step, Step::Stuck(Trouble::NobodyCalls));
    assert!(Trouble::Foreign.to_string().contains("delete it"));
    assert!(Trouble::NobodyCalls.to_string().contains("apply it"));
}

#[test]
fn callers_are_told_once_and_then_it_rests_until_it_is_renewed() {
    let one = kept(pair(1, &[1]));
    let told = caller(&[authority(1, 900)]);
    for callers in [
        vec![caller(&[])],
        vec![told.clone(), caller(&[authority(9, 900)])],
        vec![caller(&[authority(1, 900), authority(9, 900)])],
    ] {
        let step = next(&one, &callers, at(0), TERMS);
        assert_eq!(step, Step::Tell(vec![authority(1, 900)]));
    }
    let step = next(&one, &[told.clone(), told.clone()], at(599), TERMS);
    assert_eq!(step, Step::Rest(at(600)));
    let (why, before) = made(next(&one, &[told], at(600), TERMS));
    assert_eq!(
        (why, before),
        (Why::Expires(at(900)), vec![authority(1, 900)])
    );
}

#[test]
fn the_authority_before_is_trusted_until_it_expires_and_no_longer() {
    let two = kept(pair(2, &[2, 1]));
    let both = vec![authority(2, 1800), authority(1, 900)];
    let told = caller(&[authority(1, 900)]);
    assert_eq!(
        next(&two, &[told], at(700), TERMS),
        Step::Tell(both.clone())
    );
    // In whatever order.
    let told = caller(&[both[1].clone(), both[0].clone()]);
    let step = next(&two, std::slice::from_ref(&told), at(700), TERMS);
    assert_eq!(step, Step::Rest(at(900)));
    let last = vec![authority(2, 1800)];
    assert_eq!(
        next(&two, &[told], at(900), TERMS),
        Step::Tell(last.clone())
    );
    let step = next(&two, &[caller(&last)], at(900), TERMS);
    assert_eq!(step, Step::Rest(at(1500)));
}

#[test]
fn a_name_that_it_has_not_makes_another_one() {
    let one = kept(pair(1, &[1]));
    let told = [authority(1, 900)];
    let other = Caller {
        server: Some("other".to_owned()),
        trusts: told.to_vec(),
    };
    let Step::Make { why, names, before } = next(&one, &[caller(&told), other], at(0), TERMS)
    else {
        panic!("nothing is made");
    };
    assert_eq!(why, Why::Names(["other".to_owned()].into()));
    assert_eq!(names, ["other".to_owned(), NAME.to_owned()].into());
    assert_eq!(before, told);
    assert_eq!(why.to_string(), "the one before is not valid for other");
    // Whoever calls by no name asks for none.
    let nameless = Caller {
        server: None,
        trusts: told.to_vec(),
    };
    let step = next(&one, &[nameless], at(0), TERMS);
    assert_eq!(step, Step::Rest(at(600)));
}

#[test]
fn a_replica_serves_with_it_when_all_had_time_to_hear_of_it() {
    let two = pair(2, &[2, 1]);
    let old: Option<(&[u8], Timestamp)> = Some((&[101], at(900)));
    assert_eq!(change(None, &two, None, at(0), TERMS), Change::Now);
    assert_eq!(change(old, &two, None, at(700), TERMS), Change::No);
    let trusted = Some(at(700));
    assert_eq!(
        change(old, &two, trusted, at(729), TERMS),
        Change::At(at(730))
    );
    assert_eq!(change(old, &two, trusted, at(730), TERMS), Change::Now);
    // What has expired is trusted by nobody.
    assert_eq!(change(old, &two, None, at(900), TERMS), Change::Now);
    let same: Option<(&[u8], Timestamp)> = Some((&[102], at(1800)));
    assert_eq!(change(same, &two, trusted, at(730), TERMS), Change::No);
}

#[test]
fn an_authority_is_trusted_when_all_trust_it() {
    let (both, one) = (
        caller(&[authority(1, 1), authority(2, 1)]),
        caller(&[authority(1, 1)]),
    );
    assert!(is_trusted(&[1], &[both.clone(), one.clone()]));
    assert!(!is_trusted(&[2], &[both, one]));
    assert!(is_trusted(&[3], &[]));
}

#[test]
fn a_short_life_has_short_terms_and_a_long_one_no_longer_than_it_needs() {
    let short = Terms {
        lifetime: SignedDuration::from_secs(15),
    };
    assert_eq!(short.settle(), SignedDuration::from_secs(1));
    assert_eq!(short.validity(at(100)), (at(85), at(115)));
    let long = Terms::default();
    assert_eq!(long.settle(), SignedDuration::from_secs(30));
    assert_eq!(long.early(), SignedDuration::from_hours(30 * 24));
    let (since, until) = long.validity(at(3600));
    assert_eq!((since, until), (at(0), at(3600 + 90 * 86400)));
}

#[test]
fn a_server_is_called_by_the_name_of_its_service_or_the_host_of_its_url() {
    let url = |url: &str| server_name(&json!({ "url": url }));
    let service = json!({ "service": { "name": "s", "namespace": "n", "path": "/p", "port": 1 } });
    assert_eq!(server_name(&service).as_deref(), Some(NAME));
    for (text, name) in [
        ("https://127.0.0.1:9443/p", Some("127.0.0.1")),
        ("https://a.example/p?q", Some("a.example")),
        ("https://a.example", Some("a.example")),
        ("https://[::1]:9443/p", Some("::1")),
        ("http://a.example", None),
        ("https://:1/", None),
    ] {
        assert_eq!(url(text).as_deref(), name, "{text}");
    }
    assert_eq!(server_name(&json!({})), None);
}
