//! An image that is not there: one member finds out, or those of a cluster that is yet to come up.

use serde_json::{Value, json};

use crate::common_operator::etcd::Address;
use crate::common_operator::space::{Space, condition, enabled, text};
use crate::common_operator::writer::Writer;
use crate::common_operator::{NEW, OLD, Operator, eventually};

/// Gives a release an image of etcd that is nowhere.
fn nowhere(objects: &mut [Value], name: &str) {
    let map = |it: &&mut Value| it["metadata"]["name"] == "druid-images";
    let map = objects.iter_mut().find(map).unwrap();
    let mut images: Value =
        serde_json::from_str(map["data"]["images.yaml"].as_str().unwrap()).unwrap();
    let mut all = images["images"].as_array_mut().unwrap().iter_mut();
    let next = all.find(|it| it["name"] == name).unwrap();
    // Nothing listens there.
    next["ref"] = json!("127.0.0.1:1/druid:etcd-3.5.27");
    map["data"]["images.yaml"] = json!(images.to_string());
    // The operator reads it at its start.
    let is = |it: &&mut Value| it["kind"] == "Deployment";
    let deployment = objects.iter_mut().find(is).unwrap();
    let annotations = &mut deployment["spec"]["template"]["metadata"]["annotations"];
    annotations["checksum/images"] = json!("nowhere");
}

#[test]
fn an_image_that_cannot_be_had_costs_one_member_a_restart_and_no_more() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let space = Space::new(operator, "image");
    {
        let _works = Operator::works();
        space.ready("main", &space.spec("main"));
    }
    let _alone = Operator::alone();
    let (before, since) = (space.pods("main"), space.mark());
    let writer = Writer::start(Address::plain(space.client("main")));
    space
        .operator
        .install_with(false, |all| nowhere(all, "etcd-wrapper-next"));
    space.patch("main", &enabled(true));
    let upgrade = space.await_phase("main", 1, NEW, "RolledBack");
    assert!(
        text(&upgrade["message"]).contains("ErrImagePull")
            || text(&upgrade["message"]).contains("ImagePullBackOff"),
        "{upgrade}"
    );
    space.await_event("Warning", "UpgradeRolledBack");
    let after = space.pods("main");
    let other: Vec<_> = after
        .iter()
        .filter(|(name, it)| before[*name] != **it)
        .collect();
    assert_eq!(other.len(), 1, "{after:?}");
    assert!(
        after.values().all(|it| it.image.ends_with(OLD)),
        "{after:?}"
    );
    // Once for the new release, once back.
    assert_eq!(space.made(since).get(other[0].0), Some(&2));
    assert_eq!(condition(&space.etcd("main"), "UpgradeComplete"), "False");
    eventually("it is well", || {
        (condition(&space.etcd("main"), "AllMembersReady") == "True").then_some(())
    });
    writer.finish();
    space.operator.install(false);
}

#[test]
fn pods_that_wait_for_an_image_are_made_anew_once_another_is_named() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _alone = Operator::alone();
    let space = Space::new(operator, "stranded");
    space
        .operator
        .install_with(false, |all| nowhere(all, "etcd-wrapper"));
    space.create("main", &space.spec("main"));
    eventually("its pods wait for their image", || {
        let pods = space.list("pods");
        let waits = |pod: &Value| {
            let all = pod["status"]["containerStatuses"].as_array();
            let mut all = all.into_iter().flatten();
            all.any(|it| text(&it["state"]["waiting"]["reason"]).contains("ImagePull"))
        };
        (pods.len() == 3 && pods.iter().all(waits)).then_some(())
    });
    let before = space.pods("main");
    space.operator.install(false);
    space.await_ready("main");
    let after = space.pods("main");
    assert!(
        after.iter().all(|(name, it)| it.uid != before[name].uid),
        "{after:?}"
    );
    assert_eq!(space.versions("main", None), [OLD.to_owned()].into());
}
