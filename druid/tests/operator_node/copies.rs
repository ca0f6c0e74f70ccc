//! Backups are copied from one store to another.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::common_operator::space::{Space, text};
use crate::common_operator::{Operator, eventually};

const KIND: &str = "etcdcopybackupstasks.druid.gardener.cloud";

/// The names of all files below.
fn files(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert(entry.file_name().into_string().unwrap());
        }
    }
    found
}

#[test]
fn a_task_copies_the_backups_of_an_etcd_into_another_bucket() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "copied");
    let spec = space.spec("main");
    space.ready("main", &spec);
    let source = eventually("there is a full snapshot", || {
        let files = files(&space.bucket("main"));
        let whole = files.iter().any(|it| it.starts_with("Full-"));
        whole.then_some(files)
    });
    let store = &spec["backup"]["store"];
    let mut target = store.clone();
    target["container"] = json!("copied-other");
    let task = json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdCopyBackupsTask",
        "metadata": { "name": "copy", "namespace": space.name },
        "spec": { "sourceStore": store, "targetStore": target },
    });
    space.operator.cluster.apply(&[task]);
    eventually("all is copied", || {
        let task = space.operator.cluster.get(space.name, KIND, "copy");
        let condition = &task["status"]["conditions"][0];
        assert_ne!(condition["type"], "Failed", "{task:#}");
        assert_eq!(task["status"]["lastError"], Value::Null, "{task:#}");
        (text(&condition["type"]) == "Succeeded").then_some(())
    });
    let copied = files(&space.bucket("other"));
    let full = |files: &BTreeSet<String>| -> BTreeSet<String> {
        let all = files.iter().filter(|it| it.starts_with("Full-"));
        all.cloned().collect()
    };
    assert!(!full(&source).is_empty());
    assert!(
        full(&copied).is_superset(&full(&source)),
        "{copied:?} {source:?}"
    );
    space.is_idle();
    space.kubectl(&["delete", KIND, "copy"]);
    assert!(space.list("jobs.batch").is_empty(), "the Job goes first");
}
