//! The newest warnings.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use serde::Serialize;

use super::Observed;
use crate::api::Time;
use crate::observed::Answered;

/// How many are shown.
const MOST: usize = 5;
/// How old one may be.
const OLD: SignedDuration = SignedDuration::from_hours(1);

/// A warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Happened {
    /// When it was last seen.
    pub at: Time,
    /// What it is about: kind and name.
    pub object: String,
    /// Why, as a word.
    pub reason: String,
    /// What happened.
    pub message: String,
    /// How often.
    pub count: i64,
}

/// Those of the last hour about the Etcd, its pods and its claims, the newest first.
pub(super) fn events(observed: &Observed, etcd: &str, now: Timestamp) -> Answered<Vec<Happened>> {
    let all = match super::answered(&observed.events) {
        Answered::Known(all) => all,
        Answered::Unknown(why) => return Answered::Unknown(why),
    };
    let mut ours: Vec<_> = all
        .iter()
        .filter(|it| it.type_.as_deref() == Some("Warning") && is_about(it, etcd))
        .filter_map(|it| Some((last(it)?, it)))
        .filter(|(at, _)| now.duration_since(*at) <= OLD)
        .collect();
    ours.sort_by(|(a, _), (b, _)| b.cmp(a));
    let told = ours.into_iter().take(MOST).map(|(at, it)| told(at, it));
    Answered::Known(told.collect())
}

/// The Etcd and its StatefulSet are called by its name, pods and claims end in it and a number.
fn is_about(event: &Event, etcd: &str) -> bool {
    let name = event.involved_object.name.as_deref().unwrap_or_default();
    let pod = name
        .rsplit_once('-')
        .filter(|(_, at)| at.parse::<u16>().is_ok());
    let claim = pod.and_then(|(before, _)| before.strip_suffix(etcd));
    name == etcd || claim.is_some_and(|it| it.is_empty() || it.ends_with('-'))
}

fn last(event: &Event) -> Option<Timestamp> {
    let series = event
        .series
        .as_ref()
        .and_then(|it| it.last_observed_time.as_ref());
    let micro = series.or(event.event_time.as_ref()).map(|it| it.0);
    let last = event.last_timestamp.as_ref().map(|it| it.0);
    last.max(micro)
}

fn told(at: Timestamp, event: &Event) -> Happened {
    let text = |it: &Option<String>| it.clone().unwrap_or_default();
    let object = &event.involved_object;
    let series = event.series.as_ref().and_then(|it| it.count);
    Happened {
        at: Time::seconds(at),
        object: format!("{} {}", text(&object.kind), text(&object.name)),
        reason: text(&event.reason),
        message: text(&event.message),
        count: series.or(event.count).unwrap_or(1).into(),
    }
}
