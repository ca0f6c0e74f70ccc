use serde_json::json;

use super::*;

/// As etcd-druid mounts it, for members `a-0` and so on.
fn file(members: usize) -> Value {
    let url = |i: usize, port: u16| format!("http://a-{i}.a-peer.ns.svc:{port}");
    let by_member = |port: u16| -> Map<String, Value> {
        (0..members)
            .map(|i| (format!("a-{i}"), json!([url(i, port)])))
            .collect()
    };
    let founders: Vec<_> = (0..members)
        .map(|i| format!("a-{i}={}", url(i, 2380)))
        .collect();
    json!({
        "advertise-client-urls": by_member(2379),
        "auto-compaction-retention": "30m",
        "data-dir": "/var/etcd/data/new.etcd",
        "enable-grpc-gateway": false,
        "initial-advertise-peer-urls": by_member(2380),
        "initial-cluster": founders.join(","),
        "initial-cluster-state": "new",
        "initial-cluster-token": "etcd-cluster",
        "name": "etcd-config",
        "next-cluster-version-compatible": true,
        "peer-transport-security": {"auto-tls": false, "cert-file": "/tls.crt"},
        "quota-backend-bytes": 8_589_934_592_u64,
    })
}

fn listed(i: usize, learner: bool) -> Listed {
    Listed {
        name: MemberName(format!("a-{i}")),
        peer_urls: vec![format!("http://a-{i}.a-peer.ns.svc:2380")],
        learner,
        ran: true,
    }
}

fn line(members: usize, me: &str, seen: &Seen, key: &str) -> String {
    let text = Mounted::new(file(members))
        .unwrap()
        .render(&me.into(), seen)
        .unwrap();
    let wanted = format!("{key}: ");
    let line = text.lines().find_map(|line| line.strip_prefix(&wanted));
    line.unwrap().trim_matches('"').to_owned()
}

#[test]
fn the_configuration_of_one_member_is_made_of_the_file_of_all() {
    let text = Mounted::new(file(2))
        .unwrap()
        .render(&"a-1".into(), &Seen::Silent)
        .unwrap();
    let expected = "\
advertise-client-urls: \"http://a-1.a-peer.ns.svc:2379\"
auto-compaction-retention: \"30m\"
data-dir: \"/var/etcd/data/new.etcd\"
enable-grpc-gateway: false
initial-advertise-peer-urls: \"http://a-1.a-peer.ns.svc:2380\"
initial-cluster: \"a-0=http://a-0.a-peer.ns.svc:2380,a-1=http://a-1.a-peer.ns.svc:2380\"
initial-cluster-state: \"new\"
initial-cluster-token: \"etcd-cluster\"
name: \"a-1\"
next-cluster-version-compatible: true
peer-transport-security:
  auto-tls: false
  cert-file: \"/tls.crt\"
quota-backend-bytes: 8589934592
";
    assert_eq!(text, expected);
}

#[test]
fn several_addresses_of_a_member_are_joined() {
    let mut file = file(2);
    file["initial-advertise-peer-urls"]["a-1"] = json!(["http://x:1", "http://y:2"]);
    let text = Mounted::new(file)
        .unwrap()
        .render(&"a-1".into(), &Seen::Silent)
        .unwrap();
    assert!(text.contains("initial-advertise-peer-urls: \"http://x:1,http://y:2\"\n"));
}

#[test]
fn the_founders_are_those_that_the_cluster_has_and_this_one() {
    let two = Seen::List(vec![listed(0, false), listed(1, false)]);
    let names = |text: String| -> Vec<String> {
        text.split(',')
            .map(|entry| entry.split_once('=').unwrap().0.to_owned())
            .collect()
    };
    assert_eq!(
        names(line(5, "a-3", &two, "initial-cluster")),
        ["a-0", "a-1", "a-3"]
    );
    // One member tells nothing: it may be the first of a cluster that is being made.
    let one = Seen::List(vec![listed(0, false)]);
    assert_eq!(
        names(line(3, "a-0", &one, "initial-cluster")),
        ["a-0", "a-1", "a-2"]
    );
    // One that was added and has no name yet counts by its address.
    let mut nameless = listed(2, true);
    nameless.name = MemberName(String::new());
    let three = Seen::List(vec![listed(0, false), listed(1, false), nameless]);
    assert_eq!(
        names(line(5, "a-1", &three, "initial-cluster")),
        ["a-0", "a-1", "a-2"]
    );
}

#[test]
fn a_member_joins_what_exists_only_when_it_was_added() {
    let state = |members, seen: &Seen| line(members, "a-1", seen, "initial-cluster-state");
    assert_eq!(state(3, &Seen::Silent), "new");
    assert_eq!(
        state(3, &Seen::List(vec![listed(0, false), listed(1, false)])),
        "new"
    );
    assert_eq!(
        state(3, &Seen::List(vec![listed(0, false), listed(1, true)])),
        "existing"
    );
    let mut added = listed(1, false);
    added.name = MemberName(String::new());
    added.ran = false;
    assert_eq!(
        state(3, &Seen::List(vec![listed(0, false), added])),
        "existing"
    );
    // The late founder is named in the list.
    let mut late = listed(1, false);
    late.ran = false;
    assert_eq!(state(3, &Seen::List(vec![listed(0, false), late])), "new");
    let alone = Mounted::new(file(1)).unwrap();
    let text = alone
        .render(&"a-0".into(), &Seen::List(vec![listed(0, true)]))
        .unwrap();
    assert!(text.contains("initial-cluster-state: \"new\""));
}

#[test]
fn a_member_is_named_after_its_pod_with_a_prefix_if_there_is_one() {
    let mut file = file(3);
    let plain = Mounted::new(file.clone()).unwrap();
    assert_eq!(plain.member("a-0"), Ok("a-0".into()));
    assert!(plain.several());
    file["member-name-prefix"] = json!("src");
    let prefixed = Mounted::new(file.clone()).unwrap();
    assert_eq!(prefixed.member("a-0"), Ok("src-a-0".into()));
    file["member-name-prefix"] = json!(3);
    assert!(Mounted::new(file).unwrap().member("a-0").is_err());
}

#[test]
fn what_cannot_be_used_is_refused_by_its_key() {
    let with = |key: &str, value: Value| {
        let mut file = file(1);
        file[key] = value;
        Mounted::new(file)
            .and_then(|mounted| mounted.render(&"a-0".into(), &Seen::Silent))
            .unwrap_err()
            .to_string()
    };
    for (key, value, says) in [
        ("initial-cluster", json!(""), "write NAME=PEER_URL"),
        ("initial-cluster", json!("a"), "write NAME=PEER_URL"),
        (
            "initial-cluster",
            json!(["a=b"]),
            "initial-cluster of the etcd configuration is not a text",
        ),
        (
            "advertise-client-urls",
            json!({}),
            "has no entry for member a-0",
        ),
        (
            "advertise-client-urls",
            json!({"a-0": []}),
            "advertise-client-urls.a-0",
        ),
        (
            "advertise-client-urls",
            json!({"a-0": [1]}),
            "advertise-client-urls.a-0",
        ),
        (
            "initial-advertise-peer-urls",
            json!(7),
            "not a list of URLs by member",
        ),
    ] {
        let error = with(key, value);
        assert!(error.contains(says), "{error}");
    }
    let mut gone = file(1);
    gone.as_object_mut().unwrap().remove("initial-cluster");
    let missing = ConfigError::Missing {
        key: "initial-cluster",
    };
    assert_eq!(Mounted::new(gone), Err(missing));
    assert_eq!(Mounted::new(json!([])), Err(ConfigError::NotAMapping));
}

#[test]
fn addresses_of_one_member_pass_as_etcd_takes_them() {
    let mut file = file(1);
    file["initial-advertise-peer-urls"] = json!("http://x:1,http://y:2");
    let mounted = Mounted::new(file).unwrap();
    let urls = mounted.peer_urls(&"whoever".into()).unwrap();
    assert_eq!(urls, ["http://x:1", "http://y:2"]);
}

#[test]
fn all_client_addresses_are_known_once() {
    let urls = Mounted::new(file(2)).unwrap().all_client_urls();
    let expected = [
        "http://a-0.a-peer.ns.svc:2379",
        "http://a-1.a-peer.ns.svc:2379",
    ];
    assert_eq!(urls, expected);
}
