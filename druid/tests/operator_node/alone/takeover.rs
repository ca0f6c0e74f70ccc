//! What etcd-druid has made goes on as it is.

use std::path::Path;

use serde_json::{Value, json};

use crate::common_cluster::Cluster;
use crate::common_operator::space::{Space, condition};
use crate::common_operator::{OLD, Operator, eventually};
use crate::docs::{Shell, blocks};

/// The namespace and the name of the objects that were captured.
const SPACE: &str = "golden";
const NAME: &str = "three-replicas";

/// With the commands of the guide, as they stand there.
#[test]
fn a_cluster_that_etcd_druid_made_is_taken_over_without_a_restart_and_given_back() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let space = Space::new(operator, SPACE);
    let shell = Shell::new(&space);
    let mut guide = blocks("migration.md").into_iter().map(|it| it.about(NAME));
    {
        let _alone = Operator::alone();
        space.operator.stop();
        make(&space);
        let set = format!("statefulset/{NAME}");
        space.operator.cluster.await_rollout(SPACE, &set);
        etcd_druid(&space);
        shell.follow(guide.by_ref().take(4));
        space.operator.install(false);
    }
    let before = space.pods(NAME);
    assert_eq!(before.len(), 3);
    space.until(NAME, "is taken over", |it| {
        (condition(it, "AllMembersReady") == "True").then_some(())
    });
    shell.follow(guide.by_ref().take(1));
    space.is_idle();
    assert_eq!(space.pods(NAME), before);
    // It has become the operator's own.
    let set = space.operator.cluster.get(SPACE, "statefulset", NAME);
    assert_eq!(set["spec"]["updateStrategy"]["type"], "OnDelete");

    // A wish restarts each member, once.
    let since = space.mark();
    let resources = json!({ "requests": { "cpu": "40m", "memory": "100Mi" } });
    space.patch(
        NAME,
        &json!({ "spec": { "etcd": { "resources": resources } } }),
    );
    eventually("all members are others", || {
        let after = space.pods(NAME);
        let fresh = after
            .iter()
            .filter(|(name, it)| before[*name].uid != it.uid);
        (after.len() == 3 && fresh.count() == 3).then_some(())
    });
    space.await_ready(NAME);
    space.restarted_once(NAME, &before, since);
    assert_eq!(space.versions(NAME, None), [OLD.to_owned()].into());
    assert!(space.tasks().is_empty());

    let _alone = Operator::alone();
    protect(&space);
    shell.follow(guide);
    assert!(space.operator.pods().is_empty());
    // Nobody is asked any more.
    space.kubectl(&["annotate", "statefulset", NAME, "note=changed"]);
    let run = [
        "get",
        "deployment",
        "etcd-druid",
        "--output=jsonpath={.spec.replicas}",
    ];
    let its = ["--namespace", "garden"];
    assert_eq!(
        space.operator.cluster.kubectl(&[&its[..], &run].concat()),
        "1"
    );
    space.operator.install(false);
}

/// The webhook as somebody has it who has switched it on, for the objects of this test.
fn protect(space: &Space) {
    let objects = xtask::deploy::webhook_objects();
    let kind = "ValidatingWebhookConfiguration";
    let mut webhook = objects.into_iter().find(|it| it["kind"] == kind).unwrap();
    for webhook in webhook["webhooks"].as_array_mut().unwrap() {
        webhook["namespaceSelector"] =
            json!({ "matchLabels": { "kubernetes.io/metadata.name": space.name } });
    }
    space.operator.cluster.apply(&[webhook]);
}

/// Where etcd-druid would be: what is told to stop and to start, and does nothing.
fn etcd_druid(space: &Space) {
    let labels = json!({ "app.kubernetes.io/name": "etcd-druid" });
    space.operator.cluster.apply(&[
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "garden" } }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "etcd-druid", "namespace": "garden" },
            "spec": {
                "replicas": 1,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "containers": [{
                        "name": "etcd-druid",
                        "image": Cluster::image(OLD),
                        "imagePullPolicy": "IfNotPresent",
                        "args": ["--version"],
                    }] },
                },
            },
        }),
    ]);
}

/// All objects as they were captured, with images of ours, and as etcd-druid leaves them.
fn make(space: &Space) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/goldens/gate-off");
    let directory = directory.join("03-three-replicas");
    let mut objects: Vec<Value> = std::fs::read_dir(directory)
        .unwrap()
        .flatten()
        .map(|it| std::fs::read_to_string(it.path()).unwrap())
        .map(|it| serde_saphyr::from_str(&it.replace("TIME", "2026-01-01T00:00:00Z")).unwrap())
        .collect();
    let etcd = objects.iter().position(|it| it["kind"] == "Etcd").unwrap();
    let mut etcd = objects.swap_remove(etcd);
    let status = etcd.as_object_mut().unwrap().remove("status").unwrap();
    create(&space.operator.cluster, &[etcd]);
    let uid = space.etcd(NAME)["metadata"]["uid"].clone();
    for object in &mut objects {
        object["metadata"]["ownerReferences"][0]["uid"] = uid.clone();
        if object["kind"] == "Service" && object["spec"]["clusterIP"] != "None" {
            let service = object["spec"].as_object_mut().unwrap();
            service.remove("clusterIP");
            service.remove("clusterIPs");
        }
        if object["kind"] == "StatefulSet" {
            let pod = &mut object["spec"]["template"]["spec"];
            for container in pod["containers"].as_array_mut().unwrap() {
                container["image"] = json!(Cluster::image(OLD));
            }
        }
    }
    create(&space.operator.cluster, &objects);
    let patch = json!({ "status": status }).to_string();
    let of = ["patch", "etcds.druid.gardener.cloud", NAME];
    let how = ["--subresource=status", "--type=merge", "--patch", &patch];
    space.kubectl(&[&of[..], &how].concat());
}

/// Not applied: that leaves an annotation.
fn create(cluster: &Cluster, objects: &[Value]) {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), list.to_string()).unwrap();
    let path = file.path().to_str().unwrap();
    cluster.kubectl(&["create", "--field-manager=etcd-druid", "-f", path]);
}
