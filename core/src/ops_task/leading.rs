//! Which sidecar is asked: the one beside the leading member, and no other. Those of the other members
//! would have to ask it themselves, and may not trust it: their CA is that of etcd.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::seen::Sidecar;
use super::trouble::Trouble;

/// What the sidecar of a pod says of itself, or why nothing was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// Its member leads.
    Leads,
    /// Its member does not lead.
    Follows,
    /// Something else, or nothing.
    Unknown(String),
}

impl Says {
    /// From the status of `/healthz`: 200 beside the leader, 503 elsewhere; etcd-backup-restore's are
    /// the same.
    pub fn of(status: u16) -> Self {
        match status {
            200 => Self::Leads,
            503 => Self::Follows,
            other => Self::Unknown(format!("/healthz says {other}")),
        }
    }

    /// The same through the API server, which answers 503 itself if it does not reach the pod: only a sidecar
    /// says `health`.
    pub fn through(status: u16, body: &[u8]) -> Self {
        let json = serde_json::from_slice::<Value>(body).unwrap_or_default();
        if json["health"].is_boolean() {
            return Self::of(status);
        }
        let text = String::from_utf8_lossy(body);
        let said = json["message"].as_str().unwrap_or(text.trim());
        Self::Unknown(format!("{status}: {said}"))
    }
}

impl Sidecar {
    /// The name that a sidecar's certificate is for. It is that of the client Service, whichever pod
    /// is asked: this is what etcd-druid asks.
    pub fn server_name(&self) -> String {
        format!("{}-client.{}", self.etcd, self.namespace)
    }
}

/// The pods of a StatefulSet, and where they are; `None` as long as a pod has no address. A pod that
/// only looks like one of them is none.
pub fn places(set: &StatefulSet, pods: &[Pod]) -> BTreeMap<String, Option<IpAddr>> {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let owned = |pod: &&Pod| {
        let owners = pod.metadata.owner_references.as_deref();
        owners.unwrap_or_default().iter().any(|it| it.uid == uid)
    };
    let place = |pod: &Pod| {
        let name = pod.metadata.name.clone()?;
        let status = pod.status.as_ref();
        let address = status.and_then(|it| it.pod_ip.as_deref()?.parse().ok());
        Some((name, address))
    };
    pods.iter().filter(owned).filter_map(place).collect()
}

/// The pod whose sidecar leads. `said`: by pod.
///
/// # Errors
/// If none says that it leads, or more than one: who leads has just changed, or is not heard.
pub fn leading(said: &BTreeMap<String, Says>) -> Result<&str, Trouble> {
    let mut leaders = said.iter().filter(|(_, it)| **it == Says::Leads);
    match (leaders.next(), leaders.next()) {
        (Some((pod, _)), None) => Ok(pod),
        (None, _) | (Some(_), Some(_)) => Err(Trouble::LeaderUnknown(words(said))),
    }
}

/// The pods whose sidecars answer, whether they lead or not: one of them can restore a backup on trial.
pub fn answering(said: &BTreeMap<String, Says>) -> Vec<&str> {
    let answers = |says: &Says| match says {
        Says::Leads | Says::Follows => true,
        Says::Unknown(_) => false,
    };
    let answering = said.iter().filter(|(_, says)| answers(says));
    answering.map(|(pod, _)| pod.as_str()).collect()
}

fn words(said: &BTreeMap<String, Says>) -> String {
    let word = |(pod, says): (&String, &Says)| match says {
        Says::Leads => format!("{pod} says that it leads"),
        Says::Follows => format!("{pod} says that it does not lead"),
        Says::Unknown(why) => format!("{pod}: {why}"),
    };
    let words: Vec<_> = said.iter().map(word).collect();
    if words.is_empty() {
        "there is no pod".to_owned()
    } else {
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(all: &[Says]) -> BTreeMap<String, Says> {
        let named = |(at, it): (usize, &Says)| (format!("main-{at}"), it.clone());
        all.iter().enumerate().map(named).collect()
    }

    #[test]
    fn the_one_that_leads_is_asked_whatever_the_others_say() {
        let silent = || Says::Unknown("refused".to_owned());
        for (all, leader) in [
            (vec![Says::of(503), Says::of(200)], Some("main-1")),
            (vec![silent(), Says::Follows, Says::Leads], Some("main-2")),
            (vec![Says::Leads], Some("main-0")),
            (vec![Says::Follows, silent()], None),
            (vec![Says::of(404)], None),
            (vec![], None),
            // Each took over from the other, or thinks so.
            (vec![Says::Leads, Says::Leads, Says::Follows], None),
        ] {
            let all = said(&all);
            assert_eq!(leading(&all).ok(), leader, "{all:?}");
        }
    }

    #[test]
    fn whoever_answers_can_try_a_restore() {
        let silent = Says::Unknown("refused".to_owned());
        let all = said(&[Says::Follows, silent, Says::Leads]);
        assert_eq!(answering(&all), ["main-0", "main-2"]);
    }

    #[test]
    fn through_the_api_server_only_a_sidecar_says_who_leads() {
        let leads = Says::through(200, b"{\"health\":true}");
        assert_eq!(leads, Says::Leads);
        assert_eq!(Says::through(503, b"{\"health\":false}"), Says::Follows);
        let unreached =
            br#"{"kind":"Status","code":503,"message":"error trying to reach service"}"#;
        for (status, body, said) in [
            (503, &unreached[..], "503: error trying to reach service"),
            (503, b"no\n", "503: no"),
            (200, b"", "200: "),
        ] {
            assert_eq!(Says::through(status, body), Says::Unknown(said.to_owned()));
        }
    }

    #[test]
    fn that_nobody_leads_is_told_in_full_and_may_pass() {
        let all = said(&[Says::Follows, Says::Unknown("refused".to_owned())]);
        let trouble = leading(&all).unwrap_err();
        assert!(trouble.may_pass());
        let text = trouble.to_string();
        assert!(text.contains("main-0 says that it does not lead"), "{text}");
        assert!(text.contains("main-1: refused"), "{text}");
        let none = leading(&said(&[])).unwrap_err().to_string();
        assert!(none.contains("there is no pod"), "{none}");
    }

    #[test]
    fn a_pod_that_is_not_of_the_stateful_set_is_no_place_to_ask() {
        let set = serde_json::from_value(json!({ "metadata": { "uid": "u" } })).unwrap();
        let pod = |name: &str, uid: &str, ip: Option<&str>| -> Pod {
            let owner = json!({
                "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "main", "uid": uid,
            });
            let object = json!({
                "metadata": { "name": name, "ownerReferences": [owner] },
                "status": { "podIP": ip },
            });
            serde_json::from_value(object).unwrap()
        };
        let pods = [
            pod("main-0", "u", Some("10.0.0.1")),
            pod("main-1", "u", None),
            pod("main-2", "u", Some("fd00::2")),
            pod("main-9", "other", Some("10.0.0.9")),
        ];
        let found: Vec<_> = places(&set, &pods).into_iter().collect();
        let address = |text: &str| Some(text.parse().unwrap());
        assert_eq!(
            found,
            [
                ("main-0".to_owned(), address("10.0.0.1")),
                ("main-1".to_owned(), None),
                ("main-2".to_owned(), address("fd00::2")),
            ]
        );
    }
}
