//! What the operator wrote, from the API server's log of requests.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

/// The lease of the operator's leader election.
const LEASE: &str = "druid-leader-election";

/// How often something was written, by what it was, like `patch etcds/status`.
pub(super) type Counts = BTreeMap<String, u64>;

/// A request, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    stage: String,
    verb: String,
    user: User,
    object_ref: Option<Object>,
    #[serde(rename = "requestReceivedTimestamp")]
    received: Timestamp,
}

#[derive(Debug, Deserialize)]
struct User {
    username: String,
}

#[derive(Debug, Default, Deserialize)]
struct Object {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    subresource: String,
}

/// Counts what `user` wrote in a namespace within each window, by what it was, from the lines of the
/// log. Lines that are no requests are passed over: the last one may be half written.
pub(super) fn count<'a>(
    lines: impl Iterator<Item = &'a str>,
    user: &str,
    namespace: &str,
    windows: &[(Timestamp, Timestamp)],
) -> Vec<Counts> {
    let mut counts = vec![BTreeMap::new(); windows.len()];
    let user_words = format!("\"{user}\"");
    for line in lines.filter(|line| line.contains(&user_words)) {
        let Ok(request) = serde_json::from_str::<Request>(line) else {
            continue;
        };
        let object = request.object_ref.unwrap_or_default();
        let writes = matches!(
            request.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        );
        let elects = object.resource == "leases" && object.name == LEASE;
        if request.stage != "ResponseComplete"
            || request.user.username != user
            || !writes
            || elects
            || object.namespace != namespace
        {
            continue;
        }
        let at = request.received;
        let what = match object.subresource.as_str() {
            "" => format!("{} {}", request.verb, object.resource),
            sub => format!("{} {}/{sub}", request.verb, object.resource),
        };
        for (counts, (from, to)) in counts.iter_mut().zip(windows) {
            if (*from..*to).contains(&at) {
                *counts.entry(what.clone()).or_default() += 1;
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_operator_wrote_for_the_etcd_is_counted() {
        let line = |stage: &str,
                    verb: &str,
                    user: &str,
                    resource: &str,
                    namespace: &str,
                    name: &str,
                    at: u8| {
            serde_json::json!({
                "stage": stage, "verb": verb, "user": { "username": user },
                "objectRef": { "resource": resource, "namespace": namespace, "name": name },
                "requestReceivedTimestamp": format!("2026-11-24T15:00:{at:02}.000001Z"),
            })
            .to_string()
        };
        let done = "ResponseComplete";
        let lines = [
            line(done, "patch", "op", "etcds", "demo", "main", 1),
            line(done, "patch", "op", "etcds", "demo", "main", 2),
            line(done, "delete", "op", "pods", "demo", "main-0", 3),
            // A read, another user, another namespace, an earlier stage, the election, too late, half a line.
            line(done, "get", "op", "pods", "demo", "main-0", 3),
            line(done, "patch", "kubelet", "pods", "demo", "main-0", 3),
            line(done, "patch", "op", "etcds", "other", "main", 3),
            line("ResponseStarted", "patch", "op", "etcds", "demo", "main", 3),
            line(done, "update", "op", "leases", "demo", LEASE, 3),
            line(done, "patch", "op", "etcds", "demo", "main", 10),
            "{\"user\":\"op\"".to_owned(),
        ];
        let at = |second: u8| format!("2026-11-24T15:00:{second:02}Z").parse().unwrap();
        let windows = [(at(0), at(10)), (at(10), at(20))];
        let counts = count(lines.iter().map(String::as_str), "op", "demo", &windows);
        let expected = [("delete pods".to_owned(), 1), ("patch etcds".to_owned(), 2)];
        assert_eq!(counts[0], BTreeMap::from(expected));
        assert_eq!(counts[1], BTreeMap::from([("patch etcds".to_owned(), 1)]));
    }
}
