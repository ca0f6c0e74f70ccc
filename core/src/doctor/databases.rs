//! How large the databases are, as the members answer.

use serde::Serialize;

use super::Observed;
use super::cluster::of_members;
use super::finding::{Finding, How};
use crate::api::Etcd;
use crate::observed::{Answered, Status};
use crate::render::Spec;

/// The database of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// The member.
    pub member: String,
    /// Bytes of its file.
    pub size: u64,
    /// The part of them that holds data.
    pub in_use: u64,
    /// How much of the file is free, percent.
    pub fragmentation_percent: u64,
    /// The largest size that it may have; `null` if nobody says.
    pub quota: Option<u64>,
}

/// The shares of the alerts in `deploy/monitoring`: much of the file is free and it is large, or it is
/// nearly as large as it may be.
const FREE_PERCENT: u64 = 50;
const LARGE_PERCENT: u64 = 25;
const FULL_PERCENT: u64 = 85;

/// The databases of all members that answer.
pub(super) fn databases(observed: &Observed, etcd: &Etcd) -> Answered<Vec<Database>> {
    let spec = Spec::parse(etcd).ok();
    let configured = spec.and_then(|it| u64::try_from(it.config.quota).ok());
    of_members(observed, |live| {
        let all = live.answers();
        let all = all.map(|(name, status)| Database::of(&name.0, status, configured));
        Answered::Known(all.collect())
    })
}

impl Database {
    /// 3.4 does not say what its quota is.
    fn of(member: &str, status: &Status, configured: Option<u64>) -> Self {
        let free = status.db_size.saturating_sub(status.db_size_in_use);
        Self {
            member: member.to_owned(),
            size: status.db_size,
            in_use: status.db_size_in_use,
            fragmentation_percent: percent(free, status.db_size),
            quota: status.quota.or(configured),
        }
    }

    /// The part of the quota that it takes.
    fn full(&self) -> Option<u64> {
        self.quota
            .filter(|it| *it > 0)
            .map(|it| percent(self.size, it))
    }

    fn is_near(&self) -> bool {
        self.full().is_some_and(|it| it > FULL_PERCENT)
    }

    fn is_hollow(&self) -> bool {
        self.fragmentation_percent > FREE_PERCENT
    }

    fn is_large(&self) -> bool {
        self.full().is_none_or(|it| it > LARGE_PERCENT)
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u64::try_from(percent).unwrap_or(u64::MAX)
}

/// What is wrong with them. One that is near its quota is not told of as fragmented, too.
pub(super) fn finding(databases: &[Database]) -> Option<(Finding, How)> {
    let near: Vec<_> = databases.iter().filter(|it| it.is_near()).collect();
    if !near.is_empty() {
        let words = |it: &&Database| {
            let full = it.full().unwrap_or_default();
            format!(
                "{} uses {full} %, of which {} % are free",
                it.member, it.fragmentation_percent
            )
        };
        let finding = Finding::NearQuota {
            members: near.iter().map(words).collect(),
            hollow: near.iter().all(|it| it.is_hollow()),
        };
        return Some((finding, How::Answers));
    }
    let hollow = databases
        .iter()
        .filter(|it| it.is_hollow() && it.is_large());
    let words = |it: &Database| format!("{} {} %", it.member, it.fragmentation_percent);
    let members: Vec<_> = hollow.map(words).collect();
    (!members.is_empty()).then_some((Finding::Fragmented { members }, How::Answers))
}
