#![allow(clippy::unwrap_used, reason = "a test that cannot read fails")]

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Value, json};

use super::*;
use crate::api;
use crate::certificate::Use;
use crate::images::ImageVector;

fn etcd() -> Value {
    json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
        "metadata": { "name": "main", "namespace": "ns", "uid": "1" },
        "spec": { "labels": {}, "replicas": 3, "etcd": {}, "backup": {} },
    })
}

/// An Etcd with some values set, by JSON pointer.
fn with(changes: &[(&str, Value)]) -> api::Etcd {
    let mut etcd = etcd();
    for (path, value) in changes {
        set(&mut etcd, path, value);
    }
    serde_json::from_value(etcd).unwrap()
}

fn set(object: &mut Value, path: &str, value: &Value) {
    let mut at = object;
    for key in path.trim_start_matches('/').split('/') {
        at = &mut at[key.replace("~1", "/")];
    }
    *at = value.clone();
}

fn spec(changes: &[(&str, Value)]) -> Spec {
    Spec::parse(&with(changes)).unwrap()
}

fn render<T>(spec: &Spec, host_paths: &HostPaths, render: impl Fn(&Spec, &Facts<'_>) -> T) -> T {
    let images = ImageVector::default().images(Release::Base).unwrap();
    let facts = Facts {
        release: Release::Base,
        images: &images,
        live_images: &images,
        settings: &Settings::default(),
        host_paths,
    };
    render(spec, &facts)
}

/// Code and field of every problem.
fn told(problems: &Problems) -> Vec<(&'static str, &'static str)> {
    let all = problems.0.iter();
    all.map(|it| (it.code(), it.field())).collect()
}

#[test]
fn an_etcd_that_leaves_nothing_to_be_rendered_is_refused_with_every_field() {
    let cases = [
        ("/metadata/name", json!("a.b"), ("Name", "metadata.name")),
        ("/metadata/name", json!("1a"), ("Name", "metadata.name")),
        (
            "/metadata/name",
            json!("a".repeat(38)),
            ("NameTooLong", "metadata.name"),
        ),
        ("/metadata/uid", Value::Null, ("NotStored", "metadata.uid")),
        (
            "/spec/memberNamePrefix",
            json!("p".repeat(57)),
            ("MemberNameTooLong", "spec.memberNamePrefix"),
        ),
        ("/spec/replicas", json!(-1), ("Number", "spec.replicas")),
        (
            "/spec/replicas",
            json!(5_000_000_000_i64),
            ("Number", "spec.replicas"),
        ),
        (
            "/spec/etcd/clientPort",
            json!(0),
            ("Number", "spec.etcd.clientPort"),
        ),
        (
            "/spec/etcd/clientPort",
            json!(65_536),
            ("Number", "spec.etcd.clientPort"),
        ),
        (
            "/spec/backup/port",
            json!(2380),
            ("SamePort", "spec.etcd.serverPort"),
        ),
        (
            "/spec/etcd/quota",
            json!("-1Gi"),
            ("Quantity", "spec.etcd.quota"),
        ),
        (
            "/spec/etcd/quota",
            json!("0"),
            ("Quantity", "spec.etcd.quota"),
        ),
        (
            "/spec/etcd/metrics",
            json!("all"),
            ("Word", "spec.etcd.metrics"),
        ),
        (
            "/spec/sharedConfig/autoCompactionMode",
            json!("never"),
            ("Word", "spec.sharedConfig.autoCompactionMode"),
        ),
    ];
    for (path, value, expected) in &cases {
        let problems = Spec::parse(&with(&[(path, value.clone())])).unwrap_err();
        assert_eq!(told(&problems), [*expected], "{path} {value}");
        let text = problems.to_string();
        assert!(text.contains(&problems.0[0].remedy()), "{text}");
    }
    // And all at once.
    let both = [
        ("/spec/replicas", json!(-1)),
        ("/spec/etcd/metrics", json!("all")),
    ];
    let problems = Spec::parse(&with(&both)).unwrap_err();
    assert_eq!(problems.0.len(), 2);
}

#[test]
fn where_only_the_pods_cannot_be_the_other_objects_are_rendered() {
    let store = |store: Value| ("/spec/backup/store", store);
    let tls = |client: Value| {
        json!({
            "tlsCASecretRef": { "name": "ca" }, "serverTLSSecretRef": { "name": "server" },
            "clientTLSSecretRef": client,
        })
    };
    let secret = "spec.backup.store.secretRef.name";
    let cases = [
        (
            store(json!({ "prefix": "p", "provider": "minio" })),
            ("UnknownProvider", "spec.backup.store.provider"),
        ),
        (
            store(json!({ "prefix": "p", "provider": "S3" })),
            ("NoCredentials", secret),
        ),
        (
            store(json!({ "prefix": "p", "provider": "dell", "secretRef": { "name": "" } })),
            ("NoCredentials", secret),
        ),
        (
            ("/spec/etcd/clientUrlTls", tls(Value::Null)),
            ("NoSecret", "spec.etcd.clientUrlTls.clientTLSSecretRef.name"),
        ),
        (
            ("/spec/backup/tls", tls(json!({}))),
            ("NoSecret", "spec.backup.tls.clientTLSSecretRef.name"),
        ),
        (
            ("/spec/backup/deltaSnapshotPeriod", json!("9999999h")),
            ("Duration", "spec.backup.deltaSnapshotPeriod"),
        ),
        (
            ("/spec/backup/compression/policy", json!("zip")),
            ("Word", "spec.backup.compression.policy"),
        ),
        (
            ("/spec/backup/maxBackupsLimitBasedGC", json!(0)),
            ("Number", "spec.backup.maxBackupsLimitBasedGC"),
        ),
        (
            ("/spec/storageCapacity", json!("-1")),
            ("Quantity", "spec.storageCapacity"),
        ),
    ];
    for (change, expected) in cases {
        let spec = spec(std::slice::from_ref(&change));
        let objects = render(&spec, &HostPaths::default(), objects);
        assert!(objects.runtime.is_some(), "{change:?}");
        let problems = objects.stateful_set.unwrap_err();
        assert_eq!(told(&problems), [expected], "{change:?}");
        let job = render(&spec, &HostPaths::default(), compaction_job);
        assert_eq!(job.unwrap_err(), problems);
    }
}

#[test]
fn a_local_store_is_where_its_secret_says() {
    let local = json!({
        "prefix": "p", "provider": "Local", "container": "c", "secretRef": { "name": "s" },
    });
    let spec = spec(&[("/spec/backup/store", local)]);
    let path = |paths: &HostPaths| {
        let rendered = render(&spec, paths, stateful_set)?;
        let rendered = serde_json::to_value(rendered).unwrap();
        let volume = &rendered["spec"]["template"]["spec"]["volumes"][1];
        Ok::<_, Problems>(volume["hostPath"]["path"].clone())
    };
    let says = |it: Option<&str>| HostPaths([("s".to_owned(), it.map(str::to_owned))].into());
    assert_eq!(path(&says(Some("/b"))), Ok(json!("/b/c")));
    let default = json!("/etc/gardener/local-backupbuckets/c");
    assert_eq!(path(&says(None)), Ok(default.clone()));
    assert_eq!(path(&says(Some(""))), Ok(default));
    let problems = path(&HostPaths::default()).unwrap_err();
    assert_eq!(
        told(&problems),
        [("SecretMissing", "spec.backup.store.secretRef.name")]
    );
}

#[test]
fn what_is_hardly_meant_is_said_and_rendered() {
    let url = json!([{ "memberName": "main-7", "urls": ["http://a"] }]);
    let spec = spec(&[
        ("/spec/replicas", json!(4)),
        ("/spec/storageCapacity", json!("8Gi")),
        ("/spec/backup/fullSnapshotSchedule", json!("0 1 * * 1-7")),
        ("/spec/etcd/defragmentationSchedule", json!("0 1 * * */7")),
        ("/spec/etcd/additionalAdvertisePeerURLs", url),
    ]);
    assert_eq!(
        spec.notices,
        [
            Notice::EvenMembers { members: 4 },
            Notice::QuotaAboveCapacity {
                quota: "8Gi".to_owned(),
                capacity: "8Gi".to_owned()
            },
            Notice::Weekday7 {
                field: "spec.backup.fullSnapshotSchedule"
            },
            Notice::NoStore {
                field: "spec.backup.fullSnapshotSchedule"
            },
            Notice::NoSuchMember {
                member: "main-7".to_owned()
            },
        ]
    );
    assert!(render(&spec, &HostPaths::default(), stateful_set).is_ok());
    assert_eq!(Spec::parse(&with(&[])).unwrap().notices, []);
}

#[test]
fn a_member_with_a_prefix_has_its_additional_addresses() {
    let urls = json!([{ "memberName": "src-main-1", "urls": ["http://a:1", "http://b:2"] }]);
    let spec = spec(&[
        ("/spec/memberNamePrefix", json!("src")),
        ("/spec/etcd/additionalAdvertisePeerURLs", urls),
    ]);
    let file = config_map(&spec, Release::Base).data.unwrap()["etcd.conf.yaml"].clone();
    let own = "http://main-1.main-peer.ns.svc:2380";
    let listed = format!("  src-main-1:\n  - {own}\n  - http://a:1\n  - http://b:2\n");
    assert!(file.contains(&listed), "{file}");
    let joined =
        format!("src-main-1={own},src-main-1=http://a:1,src-main-1=http://b:2,src-main-2=");
    assert!(file.contains(&joined), "{file}");
    let theirs = config_map(&deviations::as_etcd_druid_reads(&spec), Release::Base);
    assert!(!theirs.data.unwrap()["etcd.conf.yaml"].contains("http://a:1"));
}

#[test]
fn the_tenth_member_comes_after_the_ninth() {
    let spec = spec(&[("/spec/replicas", json!(11))]);
    let file = config_map(&spec, Release::Base).data.unwrap()["etcd.conf.yaml"].clone();
    let at = |member: &str| file.find(&format!("  {member}:\n")).unwrap();
    assert!(at("main-2") < at("main-9") && at("main-9") < at("main-10"));
}

#[test]
fn the_digest_is_of_json_as_go_writes_it() {
    let config_map = k8s_openapi::api::core::v1::ConfigMap {
        data: Some([("etcd.conf.yaml".to_owned(), "a<b>&\"\u{2028}\n".to_owned())].into()),
        ..Default::default()
    };
    // Of {"etcd.conf.yaml":"a\u003cb\u003e\u0026\"\u2028\n"}
    let expected = "e7ab4e26e6505d5d9fd4b8b164467248f6605490d1cbe462617723d20b74c125";
    assert_eq!(checksum(&config_map), expected);
}

#[test]
fn pods_are_of_the_release_that_is_wanted_and_jobs_of_the_one_that_runs() {
    let store = json!({ "prefix": "p", "provider": "Local", "container": "c" });
    let spec = spec(&[("/spec/backup/store", store)]);
    let vector = ImageVector::default();
    let [base, next] = [Release::Base, Release::Next].map(|it| vector.images(it).unwrap());
    let settings = Settings {
        automount_service_account_token: false,
        compaction_deadline: "90s".parse().unwrap(),
        metrics_scrape_wait: "1m".parse().unwrap(),
    };
    let facts = Facts {
        release: Release::Next,
        images: &next,
        live_images: &base,
        settings: &settings,
        host_paths: &HostPaths::default(),
    };
    let pods = serde_json::to_value(stateful_set(&spec, &facts).unwrap()).unwrap();
    let containers = &pods["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0]["image"], next.etcd.as_str());
    assert_eq!(containers[1]["image"], next.backup_restore.as_str());
    let config = config_map(&spec, facts.release);
    let annotations = &pods["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["checksum/etcd-configmap"], checksum(&config));
    assert!(config.data.unwrap()["etcd.conf.yaml"].contains("freelist"));

    let job = serde_json::to_value(compaction_job(&spec, &facts).unwrap()).unwrap();
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], base.backup_restore.as_str());
    assert_eq!(pod["activeDeadlineSeconds"], 90);
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 90);
    let arguments = pod["containers"][0]["args"].as_array().unwrap();
    assert!(arguments.contains(&json!("--metrics-scrape-wait-duration=1m0s")));
    let account = service_account(&spec, &settings);
    assert_eq!(account.automount_service_account_token, Some(false));
}

#[test]
fn a_copy_that_cannot_be_is_refused_with_every_field() {
    let task = |source: Value, target: Value| -> api::EtcdCopyBackupsTask {
        serde_json::from_value(json!({
            "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdCopyBackupsTask",
            "metadata": { "name": "copy", "namespace": "ns", "uid": "1" },
            "spec": { "sourceStore": source, "targetStore": target, "maxBackups": 5_000_000_000_i64 },
        }))
        .unwrap()
    };
    let bad = task(
        json!({ "prefix": "p", "provider": "S3", "container": "c" }),
        json!({ "prefix": "p", "provider": "Local" }),
    );
    assert_eq!(
        told(&CopySpec::parse(&bad).unwrap_err()),
        [
            ("NoCredentials", "spec.sourceStore.secretRef.name"),
            ("NoContainer", "spec.targetStore.container"),
            ("Number", "spec.maxBackups"),
        ]
    );
}

#[test]
fn every_secret_is_found_that_an_etcd_refers_to() {
    let tls = |of: &str| {
        json!({
            "tlsCASecretRef": { "name": format!("{of}-ca") },
            "serverTLSSecretRef": { "name": format!("{of}-server") },
            "clientTLSSecretRef": { "name": format!("{of}-client") },
        })
    };
    let etcd = with(&[
        ("/spec/etcd/clientUrlTls", tls("client")),
        ("/spec/etcd/peerUrlTls", tls("peer")),
        ("/spec/backup/tls", tls("backup")),
        // One that cannot be rendered.
        (
            "/spec/backup/store",
            json!({ "prefix": "p", "provider": "minio", "secretRef": { "name": "store" } }),
        ),
    ]);
    let names: Vec<String> = secret_references(&etcd)
        .into_iter()
        .map(|it| it.name)
        .collect();
    let expected = [
        "client-ca",
        "client-server",
        "client-client",
        "backup-ca",
        "backup-server",
        "backup-client",
        // Members show each other the server's.
        "peer-ca",
        "peer-server",
        "store",
    ];
    assert_eq!(names, expected);
    let there = expected.map(str::to_owned).into_iter().skip(1).collect();
    let missing = Problems(missing_secrets(&etcd, &there));
    let field = "spec.etcd.clientUrlTls.tlsCASecretRef.name";
    assert_eq!(told(&missing), [("SecretMissing", field)]);
}

#[test]
fn every_place_with_certificates_is_found_once() {
    let tls = |of: &str| {
        json!({
            "tlsCASecretRef": { "name": format!("{of}-ca"), "dataKey": "bundle.crt" },
            "serverTLSSecretRef": { "name": format!("{of}-server") },
            "clientTLSSecretRef": { "name": "of-both" },
        })
    };
    let etcd = with(&[
        ("/spec/etcd/clientUrlTls", tls("client")),
        ("/spec/etcd/peerUrlTls", tls("peer")),
        ("/spec/backup/tls", tls("backup")),
    ]);
    let spec = Spec::parse(&etcd).unwrap();
    let found = certificates(spec.pods.as_ref().unwrap());
    let found: Vec<_> = found.iter().map(|it| (it.secret, it.key, it.of)).collect();
    let expected = [
        ("backup-ca", "bundle.crt", Use::Trust),
        ("backup-server", "tls.crt", Use::Own),
        ("client-ca", "bundle.crt", Use::Trust),
        ("client-server", "tls.crt", Use::Own),
        ("of-both", "tls.crt", Use::Own),
        ("peer-ca", "bundle.crt", Use::Trust),
        ("peer-server", "tls.crt", Use::Own),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_disruption_budget_counts_members_and_no_pods_of_jobs() {
    let store = json!({ "prefix": "p", "provider": "Local", "container": "c" });
    let spec = spec(&[("/spec/backup/store", store)]);
    let budget = disruption_budget(&spec).spec.unwrap();
    let wanted = budget.selector.unwrap().match_labels.unwrap();
    let counts = |template: PodTemplateSpec| {
        let labels = template.metadata.unwrap().labels.unwrap();
        wanted
            .iter()
            .all(|(name, value)| labels.get(name) == Some(value))
    };
    let none = HostPaths::default();
    let set = render(&spec, &none, stateful_set).unwrap().spec.unwrap();
    assert!(counts(set.template));
    let job = render(&spec, &none, compaction_job).unwrap().unwrap();
    assert!(!counts(job.spec.unwrap().template));
}
