//! Defragments the cluster at the slots of its schedule, while this member leads.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use croner::Cron;
use druid_core::agent::metrics::Gauge;
use druid_core::defragment::{Answered, Next, Round, Whom, goes_on, well};
use druid_core::member::MemberName;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use thiserror::Error;
use tokio::sync::watch;

use super::clients::Clients;
use super::leadership::Leadership;
use super::metrics::Numbers;
use crate::clock;
use crate::etcd::Client;
use crate::observe;

/// For a member's answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two looks at members that have yet to hear of their leader.
const SETTLING: Duration = Duration::from_millis(100);
/// Before a round that failed goes on.
const PAUSE: Duration = Duration::from_mins(1);
/// The longest sleep: the clock may be set meanwhile.
const NAP: Duration = Duration::from_mins(1);
/// So often in a row before the slot is given up.
const TRIES: u32 = 30;

/// A schedule that makes no sense.
#[derive(Debug, Error)]
#[error(
    "--defragmentation-schedule {text:?}: {why}; write five fields of cron, for example \"0 3 * * *\""
)]
pub(crate) struct ScheduleError {
    text: String,
    why: String,
}

/// Slots in local time.
#[derive(Clone, Debug)]
pub(crate) struct Schedule(Box<Cron>);

impl Schedule {
    pub(crate) fn parse(text: &str) -> Result<Self, ScheduleError> {
        let failed = |why: String| ScheduleError {
            text: text.to_owned(),
            why,
        };
        if !text.starts_with('@') && text.split_whitespace().count() != 5 {
            return Err(failed("it does not have five fields".to_owned()));
        }
        let cron = Cron::from_str(text).map_err(|error| failed(error.to_string()))?;
        Ok(Self(Box::new(cron)))
    }

    /// The first slot after a time; `None` if there is none.
    pub(crate) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let zoned: Zoned = after.to_zoned(zone.clone());
        let next = self.0.find_next_occurrence(&zoned, false).ok()?;
        Some(next.timestamp())
    }
}

/// What it works with.
#[derive(Debug)]
pub(crate) struct Defragmenter {
    pub(crate) clients: Arc<Clients>,
    pub(crate) numbers: Numbers,
    pub(crate) schedule: Schedule,
    /// For one member.
    pub(crate) deadline: Duration,
}

impl Defragmenter {
    /// For ever.
    pub(crate) async fn run(self, leadership: watch::Receiver<Leadership>) {
        let zone = TimeZone::system();
        loop {
            let Some(slot) = self.schedule.next(clock::now(), &zone) else {
                tracing::warn!("--defragmentation-schedule has no slot any more");
                return;
            };
            sleep_until(slot).await;
            if *leadership.borrow() == Leadership::Leads {
                self.round(&leadership).await;
            }
        }
    }

    async fn round(&self, leadership: &watch::Receiver<Leadership>) {
        let mut round = Round::new(Whom::Worthwhile);
        for _ in 0..TRIES {
            match self.go_on(&mut round).await {
                Ok(()) => return,
                Err(why) => tracing::warn!(why, "the defragmentation waits"),
            }
            tokio::time::sleep(PAUSE).await;
            if *leadership.borrow() != Leadership::Leads {
                tracing::info!("the defragmentation is left to the new leader's next slot");
                return;
            }
        }
        tracing::error!("the defragmentation is given up until its next slot");
    }

    /// Until all are done or something fails.
    async fn go_on(&self, round: &mut Round) -> Result<(), String> {
        loop {
            let members = self.answers().await?;
            let answered: Vec<_> = members.iter().map(|(it, _)| it.clone()).collect();
            let next = round.next(&answered);
            let own = self.clients.local().status(ANSWER).await;
            let own = own.map_err(|error| error.to_string())?.id;
            if !goes_on(own, next, &answered) {
                return Err("another member leads now".to_owned());
            }
            let id = match next {
                Next::Finished => return Ok(()),
                Next::Defragment(id) | Next::HandOver { from: id, .. } => id,
            };
            let Some((before, client)) = members.into_iter().find(|(it, _)| it.id == id) else {
                return Err(format!("member {id} is gone"));
            };
            if let Next::HandOver { from, to } = next {
                let handed = client.move_leader(to, ANSWER).await;
                handed.map_err(|error| error.to_string())?;
                tracing::info!(%from, %to, "the leadership was handed over to defragment its holder");
                self.settled().await;
                continue;
            }
            let began = Instant::now();
            let done = client.defragment(self.deadline).await;
            let endpoint = client.endpoint().as_str();
            self.numbers
                .with(|it| it.defragmented(endpoint, done.is_ok(), began.elapsed()));
            done.map_err(|error| error.to_string())?;
            round.done(id);
            tracing::info!(
                member = %id, took = ?began.elapsed(), bytes = before.size, in_use = before.in_use,
                "defragmented"
            );
        }
    }

    /// Waits until all members know the new leader. With the leadership gone, a round that fails is not
    /// gone on with.
    async fn settled(&self) {
        let began = Instant::now();
        while self.answers().await.is_err() && began.elapsed() < ANSWER {
            tokio::time::sleep(SETTLING).await;
        }
    }

    /// Every member, and the client that it answered through. One that is not well is an error: it may
    /// just be defragmented, by a task or by another sidecar, and serves nothing then.
    async fn answers(&self) -> Result<Vec<(Answered, Client)>, String> {
        let local = self.clients.local();
        let listed = local.member_list(ANSWER).await;
        let listed = listed.map_err(|error| error.to_string())?;
        let count = u32::try_from(listed.len()).unwrap_or(u32::MAX);
        self.numbers
            .with(|it| it.set(Gauge::ClusterSize, f64::from(count)));
        let mut members = Vec::new();
        for member in listed {
            let url = member
                .client_urls
                .first()
                .ok_or_else(|| format!("member {} has not started yet", member.id))?;
            let client = self.clients.at(url).map_err(|error| error.to_string())?;
            members.push((MemberName(member.id.to_string()), client));
        }
        let seen = observe::etcd(&members, ANSWER).await;
        well(&seen).map_err(|unwell| unwell.to_string())?;
        let answered = |(name, client): (MemberName, Client)| {
            let status = seen.members.get(&name)?.status()?;
            Some((Answered::from(status), client))
        };
        Ok(members.into_iter().filter_map(answered).collect())
    }
}

async fn sleep_until(slot: Timestamp) {
    loop {
        let left = slot.duration_since(clock::now());
        let Ok(left) = Duration::try_from(left) else {
            return;
        };
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(NAP)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::tests::common::{Cluster, Release};

    fn next(schedule: &str, after: &str) -> String {
        let after: Timestamp = after.parse().unwrap();
        let schedule = Schedule::parse(schedule).unwrap();
        schedule.next(after, &TimeZone::UTC).unwrap().to_string()
    }

    #[test]
    fn slots_are_those_of_cron() {
        let at = "2026-11-24T05:30:00Z";
        assert_eq!(next("0 0 */3 * *", at), "2026-11-25T00:00:00Z");
        assert_eq!(next("*/5 * * * *", at), "2026-11-24T05:35:00Z");
        assert_eq!(next("0 3 * * 6", at), "2026-11-28T03:00:00Z");
        assert_eq!(next("@daily", at), "2026-11-25T00:00:00Z");
    }

    const D: Duration = Duration::from_secs(20);

    fn clients(cluster: &Cluster) -> Arc<Clients> {
        let urls = cluster
            .nodes
            .iter()
            .map(|it| it.client_url.parse().unwrap());
        let urls: Vec<crate::etcd::Endpoint> = urls.collect();
        let local = urls[0].clone();
        Arc::new(Clients::new(local, urls, crate::etcd::Tls::default(), None).unwrap())
    }

    /// Makes the member that the clients are beside the leader.
    async fn lead(clients: &Clients) {
        let own = clients.local().status(D).await.unwrap();
        for client in clients.service() {
            let id = client.status(D).await.unwrap().id;
            if id == own.leader && id != own.id {
                client.move_leader(own.id, D).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn every_member_gives_its_free_pages_back_once_and_only_if_all_answer() {
        let mut cluster = Cluster::start(&[Release::V3_4_34, Release::V3_5_27, Release::V3_5_27]);
        let clients = clients(&cluster);
        let local = clients.local();
        lead(&clients).await;
        let value = vec![b'x'; 100 << 10];
        let mut last = 0;
        for i in 0..200 {
            last = local
                .put(format!("k{}", i % 4).as_bytes(), &value, None, D)
                .await
                .unwrap();
        }
        local.compact(last, true, D).await.unwrap();
        let sizes = async || {
            let mut sizes = Vec::new();
            for client in clients.service() {
                sizes.push(client.status(D).await.unwrap().db_size);
            }
            sizes
        };
        let numbers = Numbers::new([]);
        let defragmenter = Defragmenter {
            clients: Arc::clone(&clients),
            numbers: numbers.clone(),
            schedule: Schedule::parse("0 0 * * *").unwrap(),
            deadline: D,
        };
        cluster.nodes[2].stop();
        let mut round = Round::new(Whom::Worthwhile);
        assert!(defragmenter.go_on(&mut round).await.is_err());
        assert_eq!(round, Round::new(Whom::Worthwhile), "nobody was touched");
        cluster.restart(2, Release::V3_5_27);
        // A compaction frees pages in the background, and its sum comes with the next commit: there is
        // one if something is written.
        for client in clients.service() {
            let free = async || {
                let status = client.status(D).await.unwrap();
                status.db_size - status.db_size_in_use
            };
            let began = Instant::now();
            while free().await < 10 << 20 {
                assert!(began.elapsed() < D, "{}", client.endpoint());
                local.put(b"k0", b"x", None, D).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let before = sizes().await;
        // The one that was away knows no leader for a moment.
        for _ in 0..50 {
            if defragmenter.go_on(&mut round).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let after = sizes().await;
        for (before, after) in before.iter().zip(&after) {
            assert!(*after < before / 2, "{before} to {after}");
        }
        let text = numbers.text();
        let done = |line: &&str| {
            line.starts_with("etcdbr_defragmentation_duration_seconds_count")
                && line.contains("succeeded=\"true\"")
                && line.ends_with(" 1")
        };
        assert_eq!(text.lines().filter(done).count(), 3, "{text}");
        let mut again = Round::new(Whom::Worthwhile);
        defragmenter.go_on(&mut again).await.unwrap();
        assert_eq!(
            numbers.text().lines().filter(done).count(),
            3,
            "nothing to gain any more"
        );
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in ["", "* * * *", "* * * * * *", "61 * * * *", "a b c d e"] {
            assert!(Schedule::parse(text).is_err(), "{text:?}");
        }
    }
}
