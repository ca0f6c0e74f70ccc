//! What a sidecar says of the member beside it (`GET /member`), and what several say, put together as if the
//! members had been asked themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::member::MemberName;
use crate::observed::{Alarm, Answer, Answered, Etcd, Listed};

/// What one member answers, and what it knows of its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    member: Answer,
    membership: Answered<Vec<Listed>>,
    alarms: Answered<Vec<Alarm>>,
}

/// Reads the answer to `/member`, which may have come through the API server. It is a JSON of [`Etcd`] with one
/// member.
///
/// # Errors
/// Why the member could not be asked in this way, which is no "no" of the member.
pub fn told(status: u16, body: &[u8]) -> Result<Told, String> {
    if status == 200 {
        let etcd: Etcd = serde_json::from_slice(body)
            .map_err(|error| format!("its sidecar's answer is not understood: {error}"))?;
        let mut members = etcd.members.into_values();
        return match (members.next(), members.next()) {
            (Some(member), None) => Ok(Told {
                member,
                membership: etcd.membership,
                alarms: etcd.alarms,
            }),
            (Some(_) | None, _) => Err("its sidecar does not tell of one member".to_owned()),
        };
    }
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    // The API server says so of what it does not reach, does not know, or does not allow.
    if let Some(message) = json["message"].as_str() {
        return Err(message.to_owned());
    }
    if status == 404 {
        return Err(
            "its sidecar is not that of druid and cannot say; set spec.backup.image to the image of druid, or \
             name the members with --endpoints"
                .to_owned(),
        );
    }
    Err(format!("its sidecar says {status}"))
}

/// What all of them say. `None` if none could be asked.
pub fn joined(said: BTreeMap<MemberName, Told>) -> Option<Etcd> {
    let mut all = said.into_iter();
    let (name, first) = all.next()?;
    let mut joined = Etcd {
        members: BTreeMap::from([(name, first.member)]),
        membership: first.membership,
        alarms: first.alarms,
    };
    for (name, told) in all {
        joined.members.insert(name, told.member);
        joined.membership = match (joined.membership, told.membership) {
            (it @ Answered::Known(_), _) | (Answered::Unknown(_), it) => it,
        };
        joined.alarms = match (joined.alarms, told.alarms) {
            (Answered::Known(some), Answered::Known(more)) => {
                let all: BTreeSet<_> = some.into_iter().chain(more).collect();
                Answered::Known(all.into_iter().collect())
            }
            (it @ Answered::Known(_), Answered::Unknown(_)) | (Answered::Unknown(_), it) => it,
        };
    }
    Some(joined)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::member::MemberId;
    use crate::observed::AlarmKind;

    fn name(text: &str) -> MemberName {
        MemberName(text.to_owned())
    }

    fn alarm(member: u64) -> Alarm {
        Alarm {
            member: MemberId(member),
            kind: AlarmKind::NoSpace,
        }
    }

    fn silent(why: &str) -> Etcd {
        Etcd {
            members: [(
                name("http://main-local:2379"),
                Answer::Silent(why.to_owned()),
            )]
            .into(),
            membership: Answered::Unknown(why.to_owned()),
            alarms: Answered::Unknown(why.to_owned()),
        }
    }

    fn knowing(alarms: &[u64]) -> Etcd {
        let listed = Listed {
            id: MemberId(1),
            name: name("main-0"),
            learner: false,
        };
        Etcd {
            membership: Answered::Known(vec![listed]),
            alarms: Answered::Known(alarms.iter().map(|it| alarm(*it)).collect()),
            ..silent("hangs")
        }
    }

    fn over_http(etcd: &Etcd) -> Told {
        told(200, &serde_json::to_vec(etcd).unwrap()).unwrap()
    }

    #[test]
    fn what_is_said_over_http_is_read_again() {
        for etcd in [silent("refused"), knowing(&[1])] {
            let read = over_http(&etcd);
            assert_eq!(Some(&read.member), etcd.members.values().next());
            assert_eq!(read.membership, etcd.membership);
            assert_eq!(read.alarms, etcd.alarms);
        }
    }

    #[test]
    fn a_member_that_could_not_be_asked_is_no_silent_member() {
        let of = |status, body: &str| told(status, body.as_bytes()).unwrap_err();
        let forbidden = json!({ "kind": "Status", "message": "pods \"main-0\" is forbidden" });
        assert_eq!(
            of(403, &forbidden.to_string()),
            "pods \"main-0\" is forbidden"
        );
        let missing = json!({ "kind": "Status", "message": "pods \"main-0\" not found" });
        assert_eq!(of(404, &missing.to_string()), "pods \"main-0\" not found");
        assert!(of(404, "404 page not found").contains("spec.backup.image"));
        assert_eq!(of(500, "{}"), "its sidecar says 500");
        assert!(of(200, "hello").contains("not understood"));
        let mut two = silent("a");
        let none = Etcd {
            members: BTreeMap::new(),
            ..two.clone()
        };
        let other = two.members.values().next().cloned().unwrap();
        two.members.insert(name("b"), other);
        for etcd in [none, two] {
            let body = serde_json::to_string(&etcd).unwrap();
            assert!(of(200, &body).contains("one member"));
        }
    }

    #[test]
    fn several_are_put_together_and_who_knows_counts() {
        assert_eq!(joined(BTreeMap::new()), None);
        let said = [
            (name("main-0"), over_http(&silent("first"))),
            (name("main-1"), over_http(&knowing(&[1]))),
            (name("main-2"), over_http(&silent("last"))),
        ];
        let all = joined(said.into()).unwrap();
        assert_eq!(all.membership, knowing(&[]).membership);
        assert_eq!(all.alarms, Answered::Known(vec![alarm(1)]));
        let names: Vec<_> = all.members.keys().map(|it| it.0.as_str()).collect();
        assert_eq!(names, ["main-0", "main-1", "main-2"]);
        assert_eq!(
            all.members[&name("main-2")],
            Answer::Silent("last".to_owned())
        );
    }

    #[test]
    fn alarms_of_all_are_told_once() {
        let said = [
            (name("main-0"), over_http(&knowing(&[1, 2]))),
            (name("main-1"), over_http(&knowing(&[2, 3]))),
        ];
        let all = joined(said.into()).unwrap();
        assert_eq!(
            all.alarms,
            Answered::Known(vec![alarm(1), alarm(2), alarm(3)])
        );
    }
}
