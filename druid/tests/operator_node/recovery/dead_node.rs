//! The volumes of two of three members are gone, and the node of one of them does not answer any more: its
//! etcd may still run, for all that anybody knows.

use serde_json::json;

use super::{await_end, await_free, await_loss, destroy, is_whole, leader, others, recover};
use crate::common_operator::etcd::Address;
use crate::common_operator::space::{Space, text};
use crate::common_operator::writer::Writer;
use crate::common_operator::{Operator, eventually};
use crate::tasks::await_success;

/// A node that the API server knows, and that nobody works on.
struct Dead<'a> {
    space: &'a Space,
    /// The one that works.
    other: String,
}

const NAME: &str = "dead";

impl<'a> Dead<'a> {
    /// It is the only one that takes pods.
    fn new(space: &'a Space) -> Self {
        let all = space.list("nodes");
        let other = text(&all[0]["metadata"]["name"]);
        let dead = Self { space, other };
        dead.space.kubectl(&["cordon", &dead.other]);
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": NAME },
        });
        space.operator.cluster.apply(&[node]);
        let room = json!({ "cpu": "8", "memory": "16Gi", "pods": "100" });
        let status = json!({ "status": {
            "capacity": room, "allocatable": room,
            "conditions": [{ "type": "Ready", "status": "True" }],
        } });
        let patch = [
            "patch",
            "node",
            NAME,
            "--subresource=status",
            "--type=merge",
        ];
        space.kubectl(&[&patch[..], &["--patch", &status.to_string()]].concat());
        dead
    }

    /// A pod that is made anew is there, and never runs.
    fn takes(&self, pod: &str) {
        self.space.kubectl(&["delete", "pod", pod]);
        eventually("the pod is on the dead node", || {
            let pods = self.space.list("pods");
            let pod = pods.iter().find(|it| it["metadata"]["name"] == pod)?;
            (pod["spec"]["nodeName"] == NAME).then_some(())
        });
        self.space.kubectl(&["uncordon", &self.other]);
    }

    /// Somebody says that it does not come back.
    fn is_given_up(&self) {
        self.space.kubectl(&["delete", "node", NAME]);
    }
}

impl Drop for Dead<'_> {
    fn drop(&mut self) {
        let cluster = &self.space.operator.cluster;
        let _ = cluster.try_kubectl(&["uncordon", &self.other]);
        let _ = cluster.try_kubectl(&["delete", "node", NAME, "--ignore-not-found"]);
    }
}

#[test]
fn a_pod_on_a_node_that_does_not_answer_ends_a_recovery_until_the_node_is_given_up() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _alone = Operator::alone();
    let space = Space::new(operator, "deadnode");
    space.ready("main", &space.spec("main"));
    let writer = Writer::start(Address::plain(space.client("main")));
    let survivor = leader(&space);
    let lost = others(&survivor);
    destroy(&space, &lost);
    await_loss(&space);
    let dead = Dead::new(&space);
    dead.takes(lost[0]);

    recover(&space, "early", &json!({ "scaleDownTimeout": "45s" }));
    let said = await_end(&space, "early", "Failed", "ERR_MEMBERS_NOT_HELD");
    assert!(said.contains(lost[0]) && said.contains("Node"), "{said}");
    assert!(!said.contains(&survivor), "{said}");
    await_free(&space);

    dead.is_given_up();
    recover(&space, "recover", &json!({}));
    let status = await_success(&space, "recover");
    assert_eq!(
        text(&status["result"]["recoveredFrom"]),
        survivor,
        "{status:#}"
    );
    is_whole(&space);
    writer.finish();
}
