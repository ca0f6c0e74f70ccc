use super::*;

const THREE: &str = "m0=http://127.0.0.1:1000,m1=http://127.0.0.1:1001,m2=http://127.0.0.1:1002";

fn parse(flag: &str) -> Result<InitialCluster, IdentityError> {
    InitialCluster::parse(flag, "tok")
}

#[test]
fn numbers_are_those_of_the_genuine_tools() {
    let one = InitialCluster::parse("default=http://localhost:2380", "etcd-cluster").unwrap();
    assert_eq!(one.members()[0].id, MemberId(0x8e9e_05c5_2164_694d));
    assert_eq!(one.id(), ClusterId(0xcdf8_1819_4e3a_8c32));

    let three = parse(THREE).unwrap();
    let members = three.members().iter();
    let members: Vec<_> = members.map(|it| (it.name.0.as_str(), it.id.0)).collect();
    let expected = [
        ("m2", 0x9288_313b_a186_7e46),
        ("m0", 0xc900_5227_a1d8_4f1e),
        ("m1", 0xf81e_e44e_01b3_5da3),
    ];
    assert_eq!(members, expected);
    assert_eq!(three.id().to_string(), "c86927d10a5b23a6");
    assert_eq!(three.count(), 3);
}

#[test]
fn order_does_not_matter_and_a_repeated_name_has_several_urls() {
    let (a, b) = (
        "x=http://b:1,y=http://c:1,x=http://a:1",
        "y=http://c:1,x=http://a:1,x=HTTP://b:1",
    );
    assert_eq!(parse(a), parse(b));
    let cluster = parse(a).unwrap();
    let x = cluster
        .members()
        .iter()
        .find(|it| it.name.0 == "x")
        .unwrap();
    assert_eq!(x.peer_urls, ["http://a:1", "http://b:1"]);
    let own = cluster.clone().member(&"x".into(), "http://b:1,http://a:1");
    assert_eq!(own.unwrap().own(), x);
    assert_ne!(
        parse(a).unwrap().id(),
        InitialCluster::parse(a, "other").unwrap().id()
    );
}

#[test]
fn urls_that_etcd_takes() {
    for url in [
        "http://localhost:2380",
        "https://etcd-main-0.etcd-main-peer.default.svc:2380",
        "http://[::1]:2380",
        "http://[fd00::10.0.0.1]:2380",
        "unix://localhost:2380",
        "unixs://a_b:1",
    ] {
        let cluster = parse(&format!("m={url}")).unwrap();
        assert_eq!(cluster.members()[0].peer_urls, [url]);
    }
}

#[test]
fn every_bad_url_is_refused_with_its_reason() {
    for (url, expected) in [
        ("localhost:2380", BadUrl::Scheme),
        ("ftp://a:1", BadUrl::Scheme),
        ("http:/a:1", BadUrl::Scheme),
        ("http://a:1/", BadUrl::Path),
        ("http://a:1/x", BadUrl::Path),
        ("http://a/b:1", BadUrl::Path),
        ("http://u@a:1", BadUrl::Extra),
        ("http://a:1?x", BadUrl::Extra),
        ("http://a:1#x", BadUrl::Extra),
        ("http://:1", BadUrl::Host),
        ("http://::1:2380", BadUrl::Host),
        ("http://[::1:2380", BadUrl::Host),
        ("http://a b:1", BadUrl::Host),
        ("http://a%20:1", BadUrl::Host),
        ("http://\u{e9}:1", BadUrl::Host),
        ("http://a", BadUrl::Port),
        ("http://a:", BadUrl::Port),
        ("http://a:0", BadUrl::Port),
        ("http://a:+1", BadUrl::Port),
        ("http://a:65536", BadUrl::Port),
        ("http://a:http", BadUrl::Port),
    ] {
        match parse(&format!("m={url}")) {
            Err(IdentityError::Url {
                flag,
                url: said,
                why,
            }) => {
                assert_eq!((flag, said.as_str(), why), (CLUSTER, url, expected));
            }
            other => panic!("{url}: {other:?}"),
        }
    }
}

#[test]
fn each_refusal_names_the_flag_and_the_remedy() {
    let own = |name: &str, urls: &str| parse(THREE)?.member(&name.into(), urls).map(|_| ());
    let same = "http://127.0.0.1:1000";
    for (result, expected) in [
        (
            parse("").map(|_| ()),
            "--initial-cluster is empty; give NAME=URL of every member, for example \
             m0=http://10.0.0.1:2380,m1=http://10.0.0.2:2380",
        ),
        (
            parse("m0,m1=http://a:1").map(|_| ()),
            "--initial-cluster: `m0` is not NAME=URL; write for example m0=http://10.0.0.1:2380",
        ),
        (
            parse("=http://a:1").map(|_| ()),
            "--initial-cluster: `=http://a:1` is not NAME=URL; write for example \
             m0=http://10.0.0.1:2380",
        ),
        (
            parse("m0=http://a:1/").map(|_| ()),
            "--initial-cluster: `http://a:1/` has a path, if only a slash; write \
             SCHEME://HOST:PORT, for example http://10.0.0.1:2380",
        ),
        (
            parse("m0=http://a:1,m1=http://a:1").map(|_| ()),
            "--initial-cluster has http://a:1 twice; give each peer URL once",
        ),
        (
            own("m3", same),
            "--initial-cluster has no m3, which is --name; it has m2, m0, m1",
        ),
        (
            own("m0", "http://127.0.0.1:1001"),
            "--initial-advertise-peer-urls is http://127.0.0.1:1001 and --initial-cluster has \
             http://127.0.0.1:1000 for m0; make them the same",
        ),
        (
            own("m0", ""),
            "--initial-advertise-peer-urls is empty; give this member's peer URLs, for example \
             http://10.0.0.1:2380",
        ),
        (
            own("m0", "127.0.0.1:1000"),
            "--initial-advertise-peer-urls: `127.0.0.1:1000` has no scheme that etcd knows (http, \
             https, unix, unixs); write SCHEME://HOST:PORT, for example http://10.0.0.1:2380",
        ),
        (own("m0", same), ""),
    ] {
        let said = result.err().map_or_else(String::new, |it| it.to_string());
        assert_eq!(said, expected);
    }
}

#[test]
fn two_members_of_one_number_are_refused() {
    // Sorted and joined, the texts of the two are the same.
    let error = parse("a=http://x:1,a=http://y:2,b=http://x:1http://y:2").unwrap_err();
    assert!(
        matches!(
            error,
            IdentityError::Url {
                why: BadUrl::Path,
                ..
            }
        ),
        "{error}"
    );
    let error = IdentityError::IdTwice {
        id: MemberId(255),
        first: "a".into(),
        second: "b".into(),
    };
    assert_eq!(
        error.to_string(),
        "--initial-cluster: a and b have the same id ff; change a peer URL or the token \
         (--initial-cluster-token)"
    );
}
