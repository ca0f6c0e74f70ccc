//! What is stored is read, whoever wrote it, and nothing of it is lost.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot read fails"
)]

use std::path::{Path, PathBuf};

use druid_core::api::{Etcd, EtcdCopyBackupsTask, EtcdOpsTask};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn files_under(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_under(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn there_and_back<T: DeserializeOwned + Serialize>(stored: &Value, what: &Path) {
    let read: T = serde_json::from_value(stored.clone())
        .unwrap_or_else(|error| panic!("{}: {error}", what.display()));
    let written = serde_json::to_value(read).unwrap();
    assert_eq!(&written, stored, "{}", what.display());
}

#[test]
fn every_object_of_etcd_druid_is_read_and_written_back_unchanged() {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let mut files = Vec::new();
    files_under(&goldens, &mut files);
    let mut read = [0, 0, 0];
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy();
        let options = serde_saphyr::options! { strict_booleans: true };
        let parsed = || -> Value {
            let text = std::fs::read_to_string(&path).unwrap();
            serde_saphyr::from_str_with_options(&text, options).unwrap()
        };
        match name.split('-').next() {
            Some("Etcd") => {
                there_and_back::<Etcd>(&parsed(), &path);
                read[0] += 1;
            }
            Some("EtcdCopyBackupsTask") => {
                there_and_back::<EtcdCopyBackupsTask>(&parsed(), &path);
                read[1] += 1;
            }
            Some("EtcdOpsTask") => {
                there_and_back::<EtcdOpsTask>(&parsed(), &path);
                read[2] += 1;
            }
            Some(_) | None => {}
        }
    }
    assert!(read[0] > 108 && read[1] > 28 && read[2] > 15, "{read:?}");
}

#[test]
fn an_odd_object_is_read_too() {
    let etcd = json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
        "metadata": { "name": "odd" },
        "spec": {
            "labels": {}, "replicas": 5_000_000_000_i64,
            "etcd": { "metrics": "everything", "quota": 8_589_934_592_i64, "unheardOf": { "a": 1 } },
            "backup": { "deltaSnapshotPeriod": "soon", "fullSnapshotSchedule": "* * * * 9" },
        },
        "status": {
            "members": [{
                "name": "odd-0", "role": "King", "status": "Fine", "reason": "",
                "lastTransitionTime": "yesterday",
            }],
            "upgrade": { "phase": "Levitating", "to": "four", "reason": "NeverHeardOf" },
        },
    });
    let read: Etcd = serde_json::from_value(etcd).unwrap();
    assert_eq!(read.spec.replicas.0, 5_000_000_000);
    assert_eq!(read.spec.etcd.quota.unwrap().0, "8589934592");
    let task = json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdOpsTask",
        "metadata": { "name": "odd" },
        "spec": { "config": { "unheardOf": {} } },
        "status": { "state": "Levitating" },
    });
    let read: EtcdOpsTask = serde_json::from_value(task).unwrap();
    assert_eq!(
        read.spec.config,
        druid_core::api::EtcdOpsTaskConfig::default()
    );
    assert_eq!(read.spec.ttl_seconds_after_finished.0, 3600);
}
