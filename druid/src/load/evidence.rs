//! Gathers what a load is judged by. The order matters, see [`Evidence`].

use std::collections::BTreeMap;
use std::time::Duration;

use druid_core::member::MemberName;
use druid_core::oracle::fill::{FILL_PREFIX, FillFindings, Filled, Stored};
use druid_core::oracle::findings::Evidence;
use druid_core::oracle::ledger::Contents;
use druid_core::oracle::{Key, LOAD_PREFIX};
use tokio::time::{Instant, sleep};

use super::clients::held;
use super::roster::Roster;
use super::{DEADLINE, Error, Shared};
use crate::etcd::{self, Client, Keys, Kv, RangeOptions};

/// How long one page of a read may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before asking again.
const BREATH: Duration = Duration::from_millis(20);

/// How often a member is asked for what it holds.
const TRIES: u32 = 5;

/// About how many bytes a page may have.
const PAGE: usize = 1 << 20;

/// Everything up to now; `told` is when the load was told to stop, if it was.
pub(super) async fn gather(
    shared: &Shared,
    filled: Option<&Filled>,
    told: Option<u64>,
) -> Result<Evidence, Error> {
    let (_, until) = current(&shared.roster).await?;
    catch_up(shared, until).await?;
    let mut evidence = Evidence {
        record: shared.log.cut(told.unwrap_or_else(|| shared.now())),
        until,
        contents: BTreeMap::new(),
        unread: BTreeMap::new(),
        fill: filled.map(|_| FillFindings::default()),
    };
    for seat in shared.roster.seats() {
        let read = contents(&seat.client, shared.spec.value_size, until);
        let name = seat.name.clone();
        match read.await {
            Ok(contents) => evidence.contents.insert(name, contents).map(drop),
            Err(error) => evidence.unread.insert(name, error.to_string()).map(drop),
        };
    }
    for seat in shared.roster.seats() {
        let (Some(filled), Some(fill)) = (filled, &mut evidence.fill) else {
            break;
        };
        match verify(&seat.client, filled, until).await {
            Ok(found) => {
                fill.keys = found.keys;
                fill.wrong.extend(found.wrong);
                fill.leases_gone.extend(found.leases_gone);
                fill.leases_gone.sort_unstable();
                fill.leases_gone.dedup();
            }
            Err(error) => {
                let name = seat.name.clone();
                evidence.unread.insert(name, error.to_string());
            }
        }
    }
    Ok(evidence)
}

/// What another etcd holds at the revision of this evidence, in place of what members do.
pub(super) async fn reread(evidence: Evidence, client: &Client, value_size: usize) -> Evidence {
    let (mut held, mut unread) = (BTreeMap::new(), BTreeMap::new());
    let name = MemberName::from("restored");
    match contents(client, value_size, evidence.until).await {
        Ok(contents) => drop(held.insert(name, contents)),
        Err(error) => drop(unread.insert(name, error.to_string())),
    }
    Evidence {
        contents: held,
        unread,
        ..evidence
    }
}

/// The revision of the store, which holds nothing of the load's yet.
pub(super) async fn empty_at(roster: &Roster) -> Result<i64, Error> {
    let (count, revision) = current(roster).await?;
    if count > 0 {
        let prefix = LOAD_PREFIX;
        return Err(Error::NotEmpty { count, prefix });
    }
    Ok(revision)
}

/// How many keys of the load there are and the revision of the store, by a linearizable read on
/// whichever member answers.
async fn current(roster: &Roster) -> Result<(i64, i64), Error> {
    let keys = Keys::Prefix(LOAD_PREFIX.as_bytes());
    let options = RangeOptions {
        count_only: true,
        ..RangeOptions::default()
    };
    let give_up = Instant::now() + DEADLINE;
    let mut member = 0;
    loop {
        let client = &roster.pick(member).client;
        match client.range(keys, options, super::PATIENCE).await {
            Ok(range) => return Ok((range.count, range.revision)),
            Err(why) if Instant::now() > give_up => {
                let waited = DEADLINE;
                return Err(Error::NoRevision { waited, why });
            }
            Err(_) => sleep(BREATH).await,
        }
        member += 1;
    }
}

/// Waits until every watcher has seen everything up to a revision.
async fn catch_up(shared: &Shared, until: i64) -> Result<(), Error> {
    let give_up = Instant::now() + DEADLINE;
    while let Some((name, reached)) = shared.log.last_watcher() {
        if reached >= until {
            break;
        }
        if Instant::now() > give_up {
            return Err(Error::WatcherBehind {
                name,
                reached,
                until,
                waited: DEADLINE,
            });
        }
        sleep(BREATH).await;
    }
    Ok(())
}

async fn contents(client: &Client, size: usize, at: i64) -> Result<Contents, etcd::Error> {
    let mut contents = Contents::new();
    read_all(client, LOAD_PREFIX, size, at, |kv| {
        contents.insert(Key::parse(&kv.key), held(&kv));
    })
    .await?;
    Ok(contents)
}

async fn verify(client: &Client, filled: &Filled, at: i64) -> Result<FillFindings, etcd::Error> {
    let mut stored = BTreeMap::new();
    read_all(client, FILL_PREFIX, filled.spec.value_size, at, |kv| {
        let name = String::from_utf8_lossy(&kv.key).into_owned();
        let found = Stored {
            value: kv.value,
            revision: kv.mod_revision,
            version: kv.version,
            lease: kv.lease,
        };
        stored.insert(name, found);
    })
    .await?;
    let mut alive = Vec::new();
    for lease in &filled.leases {
        if client.lease_keep_alive_once(*lease, PATIENCE).await? > 0 {
            alive.push(*lease);
        }
    }
    Ok(filled.verify(stored, &alive))
}

/// Reads everything with a prefix as it was at a revision, page by page. Each page is a
/// linearizable read, so that the member cannot be behind that revision.
async fn read_all(
    client: &Client,
    prefix: &str,
    value_size: usize,
    revision: i64,
    mut each: impl FnMut(Kv),
) -> Result<(), etcd::Error> {
    let options = RangeOptions {
        limit: i64::try_from(PAGE / (value_size + 100)).unwrap_or(1).max(1),
        revision,
        ..RangeOptions::default()
    };
    let mut from = prefix.as_bytes().to_vec();
    // All prefixes of ours end in a slash.
    let end = [prefix.trim_end_matches('/').as_bytes(), b"0"].concat();
    loop {
        let page = read_page(client, Keys::Range(&from, &end), options).await?;
        if let Some(last) = page.kvs.last() {
            from = [&last.key[..], &[0]].concat();
        }
        page.kvs.into_iter().for_each(&mut each);
        if !page.more {
            return Ok(());
        }
    }
}

async fn read_page(
    client: &Client,
    keys: Keys<'_>,
    options: RangeOptions,
) -> Result<etcd::Range, etcd::Error> {
    for _ in 1..TRIES {
        match client.range(keys, options, PATIENCE).await {
            Err(error) if error.is_retryable() => sleep(PATIENCE / 20).await,
            done => return done,
        }
    }
    client.range(keys, options, PATIENCE).await
}
