//! Fills a cluster with data before the load begins.

use std::time::Duration;

use druid_core::oracle::fill::{FillSpec, Filled, Kind, LEASE_TTL, LEASES};
use tokio::task::JoinSet;

use super::Error;
use crate::etcd::{self, Client, Keys};

/// How long one write may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many of them are under way at once.
const AT_ONCE: usize = 32;

/// At most so many keys in one transaction; etcd's own limit is 128.
const BATCH: usize = 100;

/// And at most so many bytes; etcd's own limit is 1.5 MiB.
const BATCH_BYTES: usize = 512 << 10;

/// A piece of the work. Pieces of one round touch different keys, so that their order does not
/// matter.
enum Job {
    /// The writes of this number, from 0, of these keys, in one transaction.
    Batch { write: u32, keys: Vec<u32> },
    /// The write of a leased key.
    Leased { number: u32, lease: i64 },
    /// The deletion of a key.
    Deleted(u32),
}

/// A job that is done: the last revision of these keys, and how many writes it took.
struct Done {
    keys: Vec<u32>,
    revision: i64,
    writes: u64,
}

/// Writes the data of `spec` through all the clients at once. Calls `progress` with the writes
/// done and all writes.
pub(crate) async fn fill(
    clients: &[Client],
    spec: FillSpec,
    progress: impl Fn(u64, u64),
) -> Result<Filled, Error> {
    let first = clients.first().ok_or(Error::NoMembers)?;
    let mut leases = Vec::new();
    for _ in 0..LEASES {
        let granted = first.lease_grant(LEASE_TTL, PATIENCE).await;
        leases.push(granted.map_err(|why| failed("a lease", why))?);
    }
    let total = (0..spec.keys).map(|number| writes(spec, number)).sum();
    let mut revisions = vec![0; spec.keys as usize];
    let mut done = 0;
    let mut finish = |job: Done| {
        for number in job.keys {
            revisions[number as usize] = job.revision;
        }
        done += job.writes;
        progress(done, total);
    };
    for jobs in rounds(spec, &leases) {
        let mut running = JoinSet::new();
        for (at, job) in jobs.into_iter().enumerate() {
            if running.len() >= AT_ONCE
                && let Some(ended) = running.join_next().await
            {
                finish(ended.map_err(Error::ClientDied)??);
            }
            let client = clients[at % clients.len()].clone();
            running.spawn(run(client, spec, job));
        }
        while let Some(ended) = running.join_next().await {
            finish(ended.map_err(Error::ClientDied)??);
        }
    }
    Ok(Filled {
        spec,
        leases,
        revisions,
    })
}

/// How many writes a key takes, its deletion included.
fn writes(spec: FillSpec, number: u32) -> u64 {
    match spec.kind(number) {
        Kind::Once | Kind::Leased(_) => 1,
        Kind::Deleted => 2,
        Kind::Rewritten => spec.writes(number).into(),
    }
}

/// What has to be done, each round after the one before it.
fn rounds(spec: FillSpec, leases: &[i64]) -> Vec<Vec<Job>> {
    let most = (0..spec.keys).map(|number| spec.writes(number)).max();
    let mut rounds: Vec<_> = (0..most.unwrap_or(0))
        .map(|write| batches(spec, write))
        .collect();
    let single = |number| match spec.kind(number) {
        Kind::Once | Kind::Rewritten => None,
        Kind::Leased(index) => Some(Job::Leased {
            number,
            lease: *leases.get(index)?,
        }),
        Kind::Deleted => Some(Job::Deleted(number)),
    };
    rounds.push((0..spec.keys).filter_map(single).collect());
    rounds
}

fn batches(spec: FillSpec, write: u32) -> Vec<Job> {
    let keys: Vec<u32> = (0..spec.keys)
        .filter(|number| !matches!(spec.kind(*number), Kind::Leased(_)))
        .filter(|number| spec.writes(*number) > write)
        .collect();
    let size = (BATCH_BYTES / (spec.value_size + 100)).clamp(1, BATCH);
    keys.chunks(size)
        .map(|keys| Job::Batch {
            write,
            keys: keys.to_vec(),
        })
        .collect()
}

async fn run(client: Client, spec: FillSpec, job: Job) -> Result<Done, Error> {
    let (keys, written) = match job {
        Job::Batch { write, keys } => {
            let pair = |number: &u32| (spec.key(*number).into_bytes(), spec.value(*number, write));
            let pairs: Vec<_> = keys.iter().map(pair).collect();
            let written = client.txn_put(&pairs, PATIENCE).await;
            (keys, written)
        }
        Job::Leased { number, lease } => {
            let (key, value) = (spec.key(number), spec.value(number, 0));
            let written = client.put(key.as_bytes(), &value, Some(lease), PATIENCE);
            (vec![number], written.await)
        }
        Job::Deleted(number) => {
            let key = spec.key(number);
            let deleted = client.delete(Keys::One(key.as_bytes()), PATIENCE).await;
            (vec![number], deleted.map(|(_, revision)| revision))
        }
    };
    let first = keys
        .first()
        .map_or(String::new(), |number| spec.key(*number));
    let revision = written.map_err(|why| failed(&first, why))?;
    let writes = keys.len() as u64;
    Ok(Done {
        keys,
        revision,
        writes,
    })
}

fn failed(what: &str, why: etcd::Error) -> Error {
    let what = what.to_owned();
    Error::Fill { what, why }
}
