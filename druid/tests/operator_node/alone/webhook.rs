//! The webhook, called as in any cluster: through its Service.

use std::sync::Arc;

use serde_json::{Value, json};
use xtask::deploy;

use crate::common_operator::etcd::Address;
use crate::common_operator::space::{Space, enabled};
use crate::common_operator::writer::Writer;
use crate::common_operator::{NEW, Operator, eventually};

/// What the manifests say to do: switch it on, and apply `webhook.yaml`.
fn switch_on(objects: &mut Vec<Value>) {
    let named = |objects: &mut [Value], kind: &str, name: &str| -> usize {
        let mut all = objects.iter();
        all.position(|it| it["kind"] == kind && it["metadata"]["name"] == name)
            .unwrap()
    };
    let map = named(objects, "ConfigMap", "druid-config");
    let off = "etcdComponentProtection:\n    enabled: false";
    let text = objects[map]["data"]["config.yaml"].as_str().unwrap();
    assert!(text.contains(off), "{text}");
    let on = text.replace(off, "etcdComponentProtection:\n    enabled: true");
    objects[map]["data"]["config.yaml"] = json!(on);
    // The operator reads it at its start.
    let deployment = named(objects, "Deployment", "druid");
    let template = &mut objects[deployment]["spec"]["template"];
    template["metadata"]["annotations"]["checksum/config"] = json!("protected");
    objects.extend(deploy::webhook_objects());
}

/// Nobody is asked any more once it is dropped.
struct Asked(Arc<Operator>);

impl Drop for Asked {
    fn drop(&mut self) {
        let delete = ["delete", "validatingwebhookconfiguration", "druid-webhook"];
        let _ = self.0.cluster.try_kubectl(&delete);
    }
}

/// Whether kubectl is told that this belongs to the Etcd.
fn is_denied(space: &Space, args: &[&str]) -> bool {
    let of = ["--namespace", space.name];
    let output = space
        .operator
        .cluster
        .try_kubectl(&[&of[..], args].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{args:?} was done");
    let denied = said.contains("denied the request") && said.contains("belongs to Etcd");
    if !denied {
        eprintln!("{args:?}: {said}");
    }
    denied
}

#[test]
fn through_its_service_it_lets_kubernetes_work_and_nobody_else() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _alone = Operator::alone();
    let space = Space::new(operator, "protected");
    let asked = Asked(Arc::clone(&space.operator));
    space.operator.install_with(false, switch_on);
    space.ready("main", &space.spec("main"));
    let forbidden = [
        ["delete", "statefulset", "main"],
        ["delete", "service", "main-client"],
        ["delete", "persistentvolumeclaim", "main-main-0"],
    ];
    for args in forbidden {
        assert!(is_denied(&space, &args), "{args:?}");
    }
    // A roll, with all that Kubernetes does for it.
    let writer = Writer::start(Address::plain(space.client("main")));
    space.patch("main", &enabled(true));
    space.await_phase("main", 1, NEW, "Succeeded");
    writer.finish();
    // Another pod answers.
    space.operator.replace();
    for args in forbidden {
        eventually("it is denied again", || {
            is_denied(&space, &args).then_some(())
        });
    }
    // The operator and the garbage collector take away what is theirs.
    space.kubectl(&["delete", "etcds.druid.gardener.cloud", "main"]);
    for kind in ["statefulsets", "services", "poddisruptionbudgets", "leases"] {
        eventually(kind, || space.list(kind).is_empty().then_some(()));
    }
    drop(asked);
    space.operator.install(false);
}
