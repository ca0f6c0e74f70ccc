//! Three of five volumes are destroyed, and the backup is damaged, too. All paths have TLS. The first task
//! that is told to go on with what is left is deleted on the way.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::{PATIENCE, are_free, await_end, await_loss, destroy, is_whole, leader_by, recover};
use crate::common_cluster::within;
use crate::common_operator::etcd::Address;
use crate::common_operator::space::{Space, TASKS, text};
use crate::common_operator::writer::Writer;
use crate::common_operator::{Operator, eventually};
use crate::tasks::{succeeded, task};
use crate::tls::on_all_paths;

/// Takes away half of every file below a directory.
fn damage(directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            damage(&path);
        } else {
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }
    }
}

#[test]
fn without_a_backup_two_of_five_go_on_if_that_is_allowed_also_after_a_task_that_was_deleted() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "five");
    let mut spec = space.spec("main");
    spec["replicas"] = json!(5);
    let (_, tls) = on_all_paths(&space, &mut spec);
    space.ready("main", &spec);
    let writer = Writer::start(Address {
        ip: space.client("main"),
        tls: Some(tls.clone()),
    });
    let survivor = leader_by(&space, Some(&tls));
    let before = space.pods("main");
    let rest: Vec<&str> = before.keys().map(String::as_str).collect();
    let lost: Vec<&str> = rest
        .into_iter()
        .filter(|it| *it != survivor)
        .take(3)
        .collect();
    destroy(&space, &lost);
    damage(&space.bucket("main"));
    await_loss(&space);

    // Nobody has said yet that something may be lost.
    let uids = || {
        space
            .pods("main")
            .into_iter()
            .map(|(name, it)| (name, it.uid))
    };
    let pods: Vec<_> = uids().collect();
    recover(&space, "careful", &json!({}));
    await_end(&space, "careful", "Rejected", "ERR_BACKUP_NOT_VERIFIED");
    assert_eq!(uids().collect::<Vec<_>>(), pods);

    let allowed = json!({ "allowDataLoss": true });
    recover(&space, "deleted", &allowed);
    eventually("members are told to hold", || {
        let status = task(&space, "deleted")["status"].clone();
        let says = text(&status["lastOperation"]["description"]);
        says.starts_with("Replaces").then_some(())
    });
    space.kubectl(&["delete", TASKS, "deleted", "--timeout=180s"]);
    assert!(are_free(&space));

    recover(&space, "recover", &allowed);
    // One whose pod came while it was told is told again, after scaleDownTimeout.
    let status = within(PATIENCE, "the second task is over", || {
        std::thread::sleep(Duration::from_millis(300));
        succeeded(&space, "recover")
    });
    let result = &status["result"];
    assert_eq!(text(&result["recoveredFrom"]), survivor, "{status:#}");
    assert_eq!(result["recoveredWith"], "Member", "{status:#}");
    assert!(result["backupRevision"].is_null(), "{status:#}");
    assert!(!text(&result["possibleLoss"]).is_empty(), "{status:#}");
    is_whole(&space);
    // Who led had every write that was acknowledged.
    writer.finish();
}
