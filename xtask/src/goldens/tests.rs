#![allow(clippy::unwrap_used, reason = "a test that cannot read fails")]

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use super::*;

fn goldens() -> PathBuf {
    crate::root().join("core/tests/goldens")
}

#[test]
fn every_object_that_etcd_druid_rendered_is_rendered_so() {
    let report = compare(&goldens()).unwrap();
    let differences: Vec<String> = report.differences.iter().map(ToString::to_string).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!((report.cases, report.objects), (136, 1156));
    let meant: Vec<(&str, usize)> = report
        .meant
        .iter()
        .map(|(what, times)| (what.as_str(), *times))
        .collect();
    let probe = "StatefulSet /spec/template/spec/containers/0/readinessProbe";
    assert_eq!(
        meant,
        [
            (
                "PodDisruptionBudget /spec/selector/matchLabels/app.kubernetes.io~1component",
                104,
            ),
            (format!("{probe}/initialDelaySeconds").as_str(), 96),
            (format!("{probe}/periodSeconds").as_str(), 96),
            ("StatefulSet /spec/updateStrategy/type", 96),
        ]
    );
}

/// A directory with one case of the goldens, spoilt.
fn spoilt(spoil: impl FnOnce(&Path)) -> Vec<(String, String)> {
    let case = "gate-off/07-tls-all-s3";
    let directory = TempDir::new().unwrap();
    let to = directory.path().join(case);
    fs::create_dir_all(&to).unwrap();
    for path in listed(&goldens().join(case)).unwrap() {
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
    spoil(&to);
    let report = compare(directory.path()).unwrap();
    let found = report.differences.into_iter();
    found.map(|it| (it.object, it.difference.path)).collect()
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn no_difference_is_missed() {
    assert_eq!(spoilt(|_| {}), []);
    let stateful_set = |path: &Path| path.join("StatefulSet-tls-all-s3.yaml");
    let in_pods = "/spec/template/spec";
    for (file, from, to, path) in [
        (
            "ConfigMap-tls-all-s3-config",
            "30m",
            "31m",
            "/data/etcd.conf.yaml",
        ),
        (
            "Service-tls-all-s3-client",
            "2379",
            "2378",
            "/spec/ports/0/port",
        ),
        (
            "Service-tls-all-s3-client",
            "IPv4",
            "IPv6",
            "/spec/ipFamilies/0",
        ),
        ("Lease-tls-all-s3-1", "spec: {}", "spec: {a: 1}", "/spec/a"),
        (
            "Job-tls-all-s3-compactor",
            "600m",
            "601m",
            "/spec/template/spec/containers/0/resources/requests/cpu",
        ),
    ] {
        let found = spoilt(|directory| replace(&directory.join(format!("{file}.yaml")), from, to));
        let paths: Vec<&str> = found.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(paths, [path], "{file}");
    }
    for (from, to, path) in [
        // Only the values that are meant are.
        (
            "initialDelaySeconds: 15",
            "initialDelaySeconds: 16",
            "/containers/0/readinessProbe/initialDelaySeconds",
        ),
        (
            "defaultMode: 416",
            "defaultMode: 420",
            "/volumes/0/configMap/defaultMode",
        ),
        (
            "--etcd-wrapper-port=9095",
            "--etcd-wrapper-port=9096",
            "/containers/0/args/8",
        ),
    ] {
        let found = spoilt(|directory| replace(&stateful_set(directory), from, to));
        let expected = (
            "StatefulSet/tls-all-s3".to_owned(),
            format!("{in_pods}{path}"),
        );
        assert_eq!(found, [expected]);
    }
    let whole = |name: &str| [(name.to_owned(), String::new())];
    let found = spoilt(|directory| fs::remove_file(stateful_set(directory)).unwrap());
    assert_eq!(found, whole("StatefulSet/tls-all-s3"));
    // A Job is made on occasion.
    let found = spoilt(|directory| {
        fs::remove_file(directory.join("Job-tls-all-s3-compactor.yaml")).unwrap();
    });
    assert_eq!(found, []);
    let found = spoilt(|directory| {
        let more = json!({ "kind": "Secret", "metadata": { "name": "more" } });
        fs::write(directory.join("Secret-more.yaml"), more.to_string()).unwrap();
    });
    assert_eq!(found, whole("Secret/more"));
}

#[test]
fn additional_addresses_of_members_with_a_prefix_are_meant_to_differ() {
    // etcd-druid has none of them.
    let spec = |directory: &Path| {
        replace(
            &directory.join("Etcd-tls-all-s3.yaml"),
            "  etcd:\n",
            "  memberNamePrefix: src\n  etcd:\n    additionalAdvertisePeerURLs:\n    - memberName: \
             src-tls-all-s3-1\n      urls: ['https://10.0.0.1:2380']\n",
        );
    };
    let found = spoilt(|directory| {
        spec(directory);
        let file = directory.join("ConfigMap-tls-all-s3-config.yaml");
        let text = fs::read_to_string(&file).unwrap();
        let text = text
            .replace("      tls-all-s3-", "      src-tls-all-s3-")
            .replace(" tls-all-s3-0=", " src-tls-all-s3-0=")
            .replace(",tls-all-s3-", ",src-tls-all-s3-")
            .replace(
                "    metrics: basic",
                "    member-name-prefix: src\n    metrics: basic",
            );
        fs::write(file, text).unwrap();
    });
    let left: Vec<&str> = found.iter().map(|(object, _)| object.as_str()).collect();
    assert!(!left.contains(&"ConfigMap/tls-all-s3-config"), "{found:?}");
    // And whatever else is in the file is not.
    let found = spoilt(spec);
    let changed = (
        "ConfigMap/tls-all-s3-config".to_owned(),
        "/data/etcd.conf.yaml".to_owned(),
    );
    assert!(found.contains(&changed), "{found:?}");
}

#[test]
fn what_is_no_directory_of_goldens_is_refused() {
    let directory = TempDir::new().unwrap();
    let error = compare(directory.path()).unwrap_err().to_string();
    assert!(error.contains("no folder gate-off"), "{error}");
    fs::create_dir_all(directory.path().join("gate-on/01-empty")).unwrap();
    let error = compare(directory.path()).unwrap_err().to_string();
    assert!(error.contains("there is no Etcd"), "{error}");
    let file = directory.path().join("gate-on/01-empty/Etcd-a.yaml");
    fs::write(&file, "a: [").unwrap();
    let error = compare(directory.path()).unwrap_err().to_string();
    assert!(error.contains("is no YAML"), "{error}");
    let odd = json!({ "kind": "Etcd", "metadata": { "name": "a.b" }, "spec": {} });
    fs::write(&file, odd.to_string()).unwrap();
    assert!(compare(directory.path()).is_err());
}
