//! What was asked of the API server, and by whom.

use std::io::{Read as _, Seek as _, SeekFrom};

use serde_json::Value;

use crate::common_cluster::Cluster;

/// The operator.
const OPERATOR: &str = "system:serviceaccount:druid-system:druid";
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// A moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(u64);

/// A request that was answered.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) by_operator: bool,
    pub(crate) verb: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) name: String,
    pub(crate) code: u64,
    /// When it came, as RFC 3339 has it.
    pub(crate) at: String,
}

pub(crate) fn now(cluster: &Cluster) -> Mark {
    Mark(std::fs::metadata(cluster.audit_log()).unwrap().len())
}

/// What was written in a namespace since then.
pub(crate) fn writes(cluster: &Cluster, since: Mark, namespace: &str) -> Vec<Request> {
    let mut file = std::fs::File::open(cluster.audit_log()).unwrap();
    file.seek(SeekFrom::Start(since.0)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    let of = format!("\"namespace\":\"{namespace}\"");
    let lines = text.lines().filter(|it| it.contains(&of));
    // The last line may not be whole yet.
    let events = lines.filter_map(|it| serde_json::from_str::<Value>(it).ok());
    events
        .filter(|it| WRITES.iter().any(|verb| it["verb"] == *verb))
        .map(|it| {
            let object = |field: &str| it["objectRef"][field].as_str().unwrap_or("").to_owned();
            Request {
                by_operator: it["user"]["username"] == OPERATOR,
                verb: it["verb"].as_str().unwrap_or("").to_owned(),
                resource: object("resource"),
                subresource: object("subresource"),
                name: object("name"),
                code: it["responseStatus"]["code"].as_u64().unwrap_or(0),
                at: it["requestReceivedTimestamp"]
                    .as_str()
                    .unwrap_or("")
                    .to_owned(),
            }
        })
        .collect()
}

/// What the operator wrote in a namespace since then.
pub(crate) fn of_operator(cluster: &Cluster, since: Mark, namespace: &str) -> Vec<Request> {
    let mut all = writes(cluster, since, namespace);
    all.retain(|it| it.by_operator);
    all
}
