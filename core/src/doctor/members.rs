//! The members: what they answered, or else what the operator and their Leases say of them.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;

use super::Observed;
use super::pod::{self, PodState};
use crate::api::{Etcd, EtcdMember, EtcdStatus};
use crate::cli::age::age;
use crate::cli::image;
use crate::member::MemberName;
use crate::observed::{Answer, Answered, Etcd as Live, Status};
use crate::status::{Sought, Thresholds, serves};
use crate::version::Version;

/// What a member is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// It leads.
    Leader,
    /// It votes and follows.
    Voter,
    /// It does not vote yet.
    Learner,
}

impl Role {
    /// As it is shown.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Voter => "voter",
            Self::Learner => "learner",
        }
    }
}

/// A member.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its name.
    pub name: MemberName,
    /// Its pod.
    pub pod: String,
    /// How its pod is.
    pub pod_state: Answered<String>,
    /// What it is to the others.
    pub role: Answered<Role>,
    /// The release that it runs.
    pub version: Answered<Version>,
    /// Whether it serves.
    pub serves: Answered<bool>,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether it was heard of, serving or not.
    #[serde(skip)]
    pub(super) up: bool,
    /// Whether an upgrade has it in hand.
    #[serde(skip)]
    pub(super) in_hand: bool,
    /// Whether its pod is ready.
    #[serde(skip)]
    pub(super) pod_ready: Option<bool>,
}

/// Makes one member of what is known of it.
struct Sources<'a> {
    etcd: &'a Etcd,
    status: &'a EtcdStatus,
    observed: &'a Observed,
    live: Option<&'a Live>,
    now: Timestamp,
}

/// What the members answered, if one of them did: if none did, it may be the network between them and us.
pub(super) fn heard(observed: &Observed) -> Option<&Live> {
    let live = observed.live.as_ref();
    live.filter(|it| it.answers().next().is_some())
}

/// All members that there are to be.
pub(super) fn members(
    observed: &Observed,
    etcd: &Etcd,
    status: &EtcdStatus,
    now: Timestamp,
) -> Vec<Member> {
    let sources = Sources {
        etcd,
        status,
        observed,
        live: heard(observed),
        now,
    };
    (0..etcd.spec.replicas.0)
        .map(|at| sources.member(at))
        .collect()
}

impl Member {
    /// There is no quorum: what the operator said of the leader is from before, and nobody serves.
    pub(super) fn lose(&mut self) {
        if self.role == Answered::Known(Role::Leader) {
            self.role = Answered::Known(Role::Voter);
        }
        if self.serves == Answered::Known(true) {
            self.serves = Answered::Known(false);
            self.why = Some("without a quorum nobody serves".to_owned());
        }
    }
}

impl Sources<'_> {
    fn member(&self, ordinal: i64) -> Member {
        let etcd = self.etcd.metadata.name.as_deref().unwrap_or_default();
        let pod_name = format!("{etcd}-{ordinal}");
        let prefix = self.etcd.spec.member_name_prefix.as_deref();
        let name = match prefix.filter(|it| !it.is_empty()) {
            Some(prefix) => format!("{prefix}-{pod_name}"),
            None => pod_name.clone(),
        };
        let name = MemberName(name);
        let pod = self.pod(&pod_name);
        let known = self.status.members.iter().flatten();
        let known = known.into_iter().find(|it| it.name == name.0);
        let answer = self.live.and_then(|it| it.members.get(&name));
        let upgrade = self.status.upgrade.as_ref();
        let mut upgraded = upgrade.iter().flat_map(|it| it.members.iter().flatten());
        let upgraded = upgraded.find(|it| it.name == name.0);
        let (serves, why) = match answer {
            Some(Answer::Status(status)) => self.answers(status),
            Some(Answer::Silent(why)) => (
                Answered::Known(false),
                Some(format!("it does not answer: {why}")),
            ),
            None => self.told(&name, known),
        };
        let status = answer.and_then(Answer::status);
        let state = pod.as_ref().map(|it| it.map(pod::state));
        Member {
            up: status.is_some() || serves == Answered::Known(true),
            pod_ready: match &state {
                Ok(state) => Some(*state == Some(PodState::Ready)),
                Err(_) => None,
            },
            pod_state: match state {
                Ok(Some(state)) => Answered::Known(state.words().to_owned()),
                Ok(None) => Answered::Known("missing".to_owned()),
                Err(why) => Answered::Unknown(why.clone()),
            },
            role: self.role(&name, status, known),
            version: version(status, upgraded.and_then(|it| it.version.as_deref()), &pod),
            in_hand: upgraded.and_then(|it| it.phase.as_deref()) == Some("Replacing"),
            pod: pod_name,
            name,
            serves,
            why,
        }
    }

    /// The pod, if there is one, or why nobody knows.
    fn pod(&self, name: &str) -> Result<Option<&Pod>, String> {
        match &self.observed.pods {
            Sought::Found(all) => {
                let named = |it: &&Pod| it.metadata.name.as_deref() == Some(name);
                Ok(all.iter().find(named))
            }
            Sought::Missing => Ok(None),
            Sought::Unknown(why) => Err(why.clone()),
        }
    }

    /// What one says of itself.
    fn answers(&self, status: &Status) -> (Answered<bool>, Option<String>) {
        let listed = match self.live.map(|it| &it.membership) {
            Some(Answered::Known(list)) => list.iter().any(|it| it.id == status.id),
            Some(Answered::Unknown(_)) | None => true,
        };
        if serves(status) && listed {
            return (Answered::Known(true), None);
        }
        let why = match &status.ready {
            _ if !listed => "it is not in the list of members any more".to_owned(),
            _ if status.learner => "it does not vote yet".to_owned(),
            Err(why) => format!("it is not ready: {why}"),
            Ok(()) => "it knows of no leader".to_owned(),
        };
        (Answered::Known(false), Some(why))
    }

    /// What the operator says of one that was not asked. What it said before its Lease ran out is not known
    /// to be so any more.
    fn told(
        &self,
        name: &MemberName,
        known: Option<&EtcdMember>,
    ) -> (Answered<bool>, Option<String>) {
        let Some(known) = known else {
            let why = "it has not registered with the operator";
            return (Answered::Unknown(why.to_owned()), None);
        };
        let word = known.status.as_str();
        if word == "NotReady" {
            return (Answered::Known(false), Some(reason(&known.reason)));
        }
        if word != "Ready" {
            return (Answered::Unknown(reason(&known.reason)), None);
        }
        let since = self.renewed(name);
        let old = Thresholds::default().unknown;
        match since {
            Some(since) if self.now.duration_since(since) > old => {
                let ago = age(Some(since), self.now);
                let why = format!("its Lease was last renewed {ago} ago, and nobody noticed");
                (Answered::Unknown(why), None)
            }
            Some(_) | None => (Answered::Known(true), None),
        }
    }

    /// When its Lease was renewed.
    fn renewed(&self, name: &MemberName) -> Option<Timestamp> {
        let Sought::Found(leases) = &self.observed.leases else {
            return None;
        };
        let named = leases
            .iter()
            .find(|it| it.metadata.name.as_ref() == Some(&name.0));
        Some(named?.spec.as_ref()?.renew_time.as_ref()?.0)
    }

    fn role(
        &self,
        name: &MemberName,
        status: Option<&Status>,
        known: Option<&EtcdMember>,
    ) -> Answered<Role> {
        if status.is_some_and(|it| it.learner) {
            return Answered::Known(Role::Learner);
        }
        if let (Some(_), Some(leader)) = (status, self.live.and_then(Live::leader)) {
            let leads = leader == name;
            return Answered::Known(if leads { Role::Leader } else { Role::Voter });
        }
        match known.and_then(|it| it.role.as_deref()) {
            _ if known.is_some_and(|it| it.reason == "Learner") => Answered::Known(Role::Learner),
            Some("Leader") => Answered::Known(Role::Leader),
            Some(_) => Answered::Known(Role::Voter),
            None => Answered::Unknown("the operator does not say".to_owned()),
        }
    }
}

/// The reasons of `status.members`, in words.
fn reason(word: &str) -> String {
    match word {
        "LeaseExpired" => "its Lease has not been renewed for a while".to_owned(),
        "ContainersNotReady" => "its containers are not ready, and its Lease ran out".to_owned(),
        "UnknownGracePeriodExceeded" => "its Lease has not been renewed for long".to_owned(),
        "NotAnswering" => "it does not answer the operator".to_owned(),
        "NotServing" => "it answers the operator that it does not serve".to_owned(),
        "Learner" => "it does not vote yet".to_owned(),
        other => other.to_owned(),
    }
}

fn version(
    status: Option<&Status>,
    upgraded: Option<&str>,
    pod: &Result<Option<&Pod>, String>,
) -> Answered<Version> {
    if let Some(status) = status {
        return Answered::Known(status.version);
    }
    if let Some(version) = upgraded.and_then(|it| it.parse().ok()) {
        return Answered::Known(version);
    }
    match pod {
        Err(why) => Answered::Unknown(why.clone()),
        Ok(None) => Answered::Unknown("it has no pod".to_owned()),
        Ok(Some(pod)) => {
            let tag = pod
                .spec
                .as_ref()
                .and_then(image::version)
                .unwrap_or_default();
            let version = tag.parse().ok();
            version.map_or_else(
                || Answered::Unknown(format!("its image says {tag}")),
                Answered::Known,
            )
        }
    }
}
