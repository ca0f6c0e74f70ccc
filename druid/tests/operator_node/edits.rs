//! Somebody changes his mind, or the spec, in the middle of a roll.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::common_operator::etcd::{Address, Tls};
use crate::common_operator::space::{Pod, Space, text};
use crate::common_operator::writer::Writer;
use crate::common_operator::{NEW, OLD, Operator};

pub(crate) fn upgrade(policy: &Value) -> Value {
    json!({ "spec": { "upgrade": policy } })
}

/// Goes up, and holds the last member. Returns its name.
pub(crate) fn held(space: &Space, before: &BTreeMap<String, Pod>, tls: Option<&Tls>) -> String {
    let policy = json!({ "enabled": true, "holdLast": true });
    space.patch("main", &upgrade(&policy));
    let status = space.until("main", "holds the last member", |it| {
        let upgrade = &it["status"]["upgrade"];
        let held = upgrade["phase"] == "Paused" && upgrade["reason"] == "HeldLast";
        held.then(|| upgrade.clone())
    });
    let after = space.pods("main");
    let same = after
        .iter()
        .filter(|(name, pod)| before[*name].uid == pod.uid);
    let same: Vec<_> = same.map(|(name, _)| name.clone()).collect();
    let [last] = same.as_slice() else {
        panic!("{same:?}");
    };
    assert!(text(&status["message"]).contains(last), "{status}");
    let both = [OLD.to_owned(), NEW.to_owned()];
    assert_eq!(space.versions("main", tls), both.into());
    last.clone()
}

#[test]
fn the_way_back_from_the_middle_leaves_the_member_that_was_held_alone() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "back");
    space.ready("main", &space.spec("main"));
    let (before, since) = (space.pods("main"), space.mark());
    let writer = Writer::start(Address::plain(space.client("main")));
    let last = held(&space, &before, None);

    space.patch("main", &upgrade(&json!({ "enabled": false })));
    space.await_phase("main", 2, OLD, "Succeeded");
    assert_eq!(space.versions("main", None), [OLD.to_owned()].into());
    assert_eq!(space.pods("main")[&last].uid, before[&last].uid);
    let made = space.made(since);
    assert_eq!(made.len(), 2, "{made:?}");
    assert!(made.values().all(|it| *it == 2), "{made:?}");
    assert_eq!(space.tasks().len(), 1, "{:?}", space.tasks());
    writer.finish();
}

#[test]
fn what_is_changed_in_the_middle_is_there_in_the_end() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "edited");
    space.ready("main", &space.spec("main"));
    let (before, since) = (space.pods("main"), space.mark());
    let writer = Writer::start(Address::plain(space.client("main")));
    held(&space, &before, None);

    let memory = json!({ "requests": { "memory": "64Mi" } });
    space.patch(
        "main",
        &json!({ "spec": {
            "etcd": { "resources": memory }, "upgrade": { "holdLast": false },
        } }),
    );
    space.await_release("main", NEW);
    space.await_ready("main");
    assert_eq!(space.versions("main", None), [NEW.to_owned()].into());
    let made = space.made(since);
    assert_eq!(made.len(), 3, "{made:?}");
    assert!(made.values().all(|it| *it <= 2), "{made:?}");
    for pod in space.list("pods") {
        let containers = pod["spec"]["containers"].as_array().unwrap();
        let etcd = containers.iter().find(|it| it["name"] == "etcd").unwrap();
        assert_eq!(etcd["resources"], memory, "{}", pod["metadata"]["name"]);
    }
    // Another template is another attempt, which has a snapshot of its own.
    assert_eq!(space.tasks().len(), 2, "{:?}", space.tasks());
    writer.finish();
}
