//! What the leases of the Kubernetes API say: the operator learns from them who leads, and up to
//! which revisions there are snapshots. All are merge patches; the leases are made by the operator.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::backup::Revision;
use crate::member::MemberId;

/// The annotation that says whether every peer address of a member is `https`.
pub const TLS_ENABLED: &str = "member.etcd.gardener.cloud/tls-enabled";

/// A member, as its lease tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The member.
    pub member: MemberId,
    /// The cluster's number.
    pub cluster: u64,
    /// Whether it leads.
    pub leads: bool,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
}

/// A lease as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// `spec.holderIdentity`, if there is any.
    pub holder: Option<String>,
    /// `metadata.resourceVersion`.
    pub version: Option<String>,
}

impl Held {
    /// Reads a lease. What is not there is `None`.
    pub fn of(lease: &Value) -> Self {
        let text = |pointer: &str| {
            let text = lease.pointer(pointer).and_then(Value::as_str);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        Self {
            holder: text("/spec/holderIdentity"),
            version: text("/metadata/resourceVersion"),
        }
    }

    /// Whether the member whose lease it is ever ran.
    pub fn ran_before(&self) -> bool {
        self.holder.is_some()
    }
}

/// The patch of a member's lease.
pub fn heartbeat(beat: &Heartbeat, now: Timestamp) -> Value {
    let role = if beat.leads { "Leader" } else { "Member" };
    let tls =
        !beat.peer_urls.is_empty() && beat.peer_urls.iter().all(|url| url.starts_with("https://"));
    json!({
        "metadata": {"annotations": {TLS_ENABLED: tls.to_string()}},
        "spec": {
            "holderIdentity": format!("{}:{:x}:{role}", beat.member, beat.cluster),
            "renewTime": micro_time(now),
        },
    })
}

/// The patch of the full snapshots' lease; `None` if it speaks of a newer one already. It fails if
/// another writes the lease at the same time.
pub fn full(held: &Held, last: Revision, created: Timestamp) -> Option<Value> {
    let holder = held
        .holder
        .as_deref()
        .and_then(|text| text.parse::<i64>().ok());
    if holder.is_some_and(|holder| holder > last.get()) {
        return None;
    }
    let mut patch = json!({
        "spec": {"holderIdentity": last.to_string(), "renewTime": micro_time(created)},
    });
    if let Some(version) = &held.version {
        patch["metadata"] = json!({"resourceVersion": version});
    }
    Some(patch)
}

/// The patch of the deltas' lease. `newest`: the last revision of the newest delta in the store.
pub fn delta(held: &Held, newest: Option<Revision>, now: Timestamp) -> Value {
    let mut spec = json!({"renewTime": micro_time(now)});
    match (newest, &held.holder) {
        (Some(revision), _) => spec["holderIdentity"] = revision.to_string().into(),
        (None, None) => spec["holderIdentity"] = "0".into(),
        (None, Some(_)) => {}
    }
    json!({ "spec": spec })
}

/// Kubernetes' `MicroTime`.
fn micro_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-24T06:07:08.123456789Z".parse().unwrap()
    }

    fn revision(number: i64) -> Revision {
        Revision::new(number).unwrap()
    }

    fn holds(text: &str) -> Held {
        Held {
            holder: Some(text.to_owned()),
            version: Some("7".to_owned()),
        }
    }

    #[test]
    fn a_member_tells_its_numbers_in_hexadecimal_and_its_role() {
        let mut beat = Heartbeat {
            member: MemberId(0x8e9e_05c5_2164_694d),
            cluster: 0xcdf8_1819_4e3a_8c32,
            leads: true,
            peer_urls: vec!["https://a:2380".to_owned(), "https://b:2380".to_owned()],
        };
        let expected = json!({
            "metadata": {"annotations": {"member.etcd.gardener.cloud/tls-enabled": "true"}},
            "spec": {
                "holderIdentity": "8e9e05c52164694d:cdf818194e3a8c32:Leader",
                "renewTime": "2026-11-24T06:07:08.123456Z",
            },
        });
        assert_eq!(heartbeat(&beat, now()), expected);
        beat.leads = false;
        beat.peer_urls.push("http://c:2380".to_owned());
        let patch = heartbeat(&beat, now());
        let holder = patch["spec"]["holderIdentity"].as_str().unwrap();
        assert!(holder.ends_with(":Member"), "{holder}");
        assert_eq!(patch["metadata"]["annotations"][TLS_ENABLED], "false");
        beat.peer_urls.clear();
        assert_eq!(
            heartbeat(&beat, now())["metadata"]["annotations"][TLS_ENABLED],
            "false"
        );
    }

    #[test]
    fn a_newer_full_snapshot_is_not_taken_back() {
        let patch = full(&holds("100"), revision(101), now()).unwrap();
        assert_eq!(patch["spec"]["holderIdentity"], "101");
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert!(full(&holds("100"), revision(100), now()).is_some());
        assert_eq!(full(&holds("101"), revision(100), now()), None);
        assert!(full(&holds("nonsense"), revision(1), now()).is_some());
        let fresh = full(&Held::default(), revision(1), now()).unwrap();
        assert!(fresh.get("metadata").is_none());
    }

    #[test]
    fn no_delta_yet_is_zero_only_where_nothing_was_said() {
        let holder = |patch: Value| patch["spec"].get("holderIdentity").cloned();
        let newest = Some(revision(9));
        assert_eq!(holder(delta(&holds("5"), newest, now())), Some(json!("9")));
        assert_eq!(
            holder(delta(&Held::default(), None, now())),
            Some(json!("0"))
        );
        assert_eq!(holder(delta(&holds("5"), None, now())), None);
    }

    #[test]
    fn a_lease_that_nobody_held_is_of_a_member_that_never_ran() {
        for (lease, ran) in [
            (json!({"spec": {"holderIdentity": "1:2:Member"}}), true),
            (json!({"spec": {"holderIdentity": ""}}), false),
            (json!({"spec": {}}), false),
            (json!({}), false),
        ] {
            assert_eq!(Held::of(&lease).ran_before(), ran, "{lease}");
        }
    }
}
