//! The life of Etcds besides their upgrades, and upgrades of those that are not as others.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common_operator::space::{Pod, Space, enabled};
use crate::common_operator::{NEW, OLD, Operator, eventually};

fn replicas(count: u8) -> Value {
    json!({ "spec": { "replicas": count } })
}

#[test]
fn one_that_sleeps_wakes_up_on_the_release_that_is_wanted_by_then() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "sleeps");
    space.ready("main", &space.spec("main"));
    space.patch("main", &replicas(0));
    eventually("all pods have ended", || {
        space.pods("main").is_empty().then_some(())
    });
    space.patch("main", &enabled(true));
    let asleep = space.until("main", "is followed", |it| {
        let seen = it["status"]["observedGeneration"] == it["metadata"]["generation"];
        seen.then(|| it.clone())
    });
    assert_eq!(asleep["status"]["lastOperation"]["state"], "Succeeded");
    let told = |name: &str| format!("{name}{{etcd_namespace=\"sleeps\",etcd=\"main\"");
    eventually("the numbers tell of no members", || {
        let numbers = space.operator.numbers()?;
        let none = told("druid_etcd_members") + "} 0\n";
        let conditions = numbers.contains(&told("druid_etcd_condition"));
        (numbers.contains(&none) && !conditions).then_some(())
    });
    let since = space.mark();
    space.patch("main", &replicas(3));
    space.await_ready("main");
    assert_eq!(space.versions("main", None), [NEW.to_owned()].into());
    assert!(space.tasks().is_empty(), "{:?}", space.tasks());
    let made = space.made(since);
    assert!(made.values().all(|it| *it == 1), "{made:?}");
    assert_eq!(made.len(), 3);
}

#[test]
fn two_in_one_namespace_go_at_once_and_one_without_a_store_takes_no_snapshot() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "two");
    let mut plain = space.spec("events");
    plain["backup"] = json!({});
    plain["replicas"] = json!(1);
    space.create("main", &space.spec("main"));
    space.create("other", &{
        let mut spec = space.spec("other");
        spec["replicas"] = json!(1);
        spec
    });
    space.create("events", &plain);
    let all = ["main", "other", "events"];
    for etcd in all {
        space.await_ready(etcd);
    }
    let (before, since) = (all.map(|it| space.pods(it)), space.mark());
    for etcd in all {
        space.patch(etcd, &enabled(true));
    }
    for (etcd, before) in all.into_iter().zip(&before) {
        let upgrade = space.await_phase(etcd, 1, NEW, "Succeeded");
        assert_eq!(upgrade["snapshot"].is_null(), etcd == "events", "{upgrade}");
        space.restarted_once(etcd, before, since);
        assert_eq!(space.versions(etcd, None), [NEW.to_owned()].into());
    }
    let tasks: Vec<_> = space.tasks().into_keys().collect();
    assert_eq!(tasks, ["main-upgrade-1-try-1", "other-upgrade-1-try-1"]);
    assert!(space.tasks().values().all(|it| it == "Succeeded"));
}

#[test]
fn what_belongs_to_one_is_put_right_at_once_and_goes_with_it() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "heals");
    space.ready("main", &space.spec("main"));
    let before = space.pods("main");
    let kinds = "services,configmaps,leases,statefulsets,serviceaccounts,roles,rolebindings,\
                 poddisruptionbudgets,pods";
    let its = || {
        let of = "app.kubernetes.io/part-of=main";
        let names = space.kubectl(&["get", kinds, "--selector", of, "-o", "name"]);
        names.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let there = its();
    for (kind, name) in [("service", "main-client"), ("configmap", "main-config")] {
        let uid = |it: &Value| it["metadata"]["uid"].clone();
        let old = uid(&space.operator.cluster.get(space.name, kind, name));
        space.kubectl(&["delete", kind, name]);
        eventually("it is back", || {
            let all = space.list(kind).into_iter();
            all.into_iter()
                .find(|it| it["metadata"]["name"] == name && uid(it) != old)
        });
    }
    let config = json!({ "data": { "etcd.conf.yaml": "name: somebody" } });
    let other = json!({ "app.kubernetes.io/part-of": "somebody" });
    let selector = json!({ "spec": { "selector": other } });
    for (kind, name, edit) in [
        ("configmap", "main-config", config),
        ("service", "main-client", selector),
    ] {
        let right = space.operator.cluster.get(space.name, kind, name);
        let edit = ["--type=merge", "--patch", &edit.to_string()];
        space.kubectl(&[&["patch", kind, name][..], &edit].concat());
        eventually("it is put right", || {
            let now = space.operator.cluster.get(space.name, kind, name);
            let same = ["data", "spec"].iter().all(|it| now[it] == right[it]);
            same.then_some(())
        });
    }
    space.await_ready("main");
    let of_it = "{etcd_namespace=\"heals\",etcd=\"main\"";
    let ready = format!("druid_etcd_members_ready{of_it}}} 3\n");
    eventually("the numbers tell of it", || {
        space.operator.numbers()?.contains(&ready).then_some(())
    });
    assert_eq!(its(), there);
    assert_eq!(space.pods("main"), before);

    goes_on_after_a_pause(&space, &before);
    space.kubectl(&[
        "delete",
        "etcds.druid.gardener.cloud",
        "main",
        "--timeout=60s",
    ]);
    eventually("all that belonged to it is gone", || {
        its().is_empty().then_some(())
    });
    eventually("its tasks are gone", || {
        space.tasks().is_empty().then_some(())
    });
    assert_eq!(space.list("persistentvolumeclaims").len(), 3);
    eventually("no number tells of it", || {
        (!space.operator.numbers()?.contains(of_it)).then_some(())
    });
}

/// Paused, nothing goes; then it does.
fn goes_on_after_a_pause(space: &Space, before: &BTreeMap<String, Pod>) {
    space.patch(
        "main",
        &json!({ "spec": { "upgrade": { "enabled": true, "paused": true } } }),
    );
    space.until("main", "is paused", |it| {
        (it["status"]["upgrade"]["phase"] == "Paused").then_some(())
    });
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(space.pods("main"), *before);
    assert_eq!(space.versions("main", None), [OLD.to_owned()].into());
    space.patch(
        "main",
        &json!({ "spec": { "upgrade": { "paused": false } } }),
    );
    space.await_phase("main", 1, NEW, "Succeeded");
}
