//! `--from-store`: the backup that a rehearsal is held on, and whether its keys survive.

use std::sync::Arc;
use std::time::Duration;

use druid_core::backup::restorable::{Begin, Loss};
use druid_core::member::MemberName;
use druid_core::observed::Switch;
use druid_core::oracle::OWN_PREFIX;
use druid_core::oracle::foreign::{Census, Counted, Foreign};
use druid_core::report::{self, Survived};
use druid_core::version::Version;
use druid_core::warnings::{self, Database, Warning};
use thiserror::Error;

use super::Args;
use crate::etcd::{self, Client, Keys, Range, RangeOptions};
use crate::lab::seed::{Seed, Seeded};
use crate::observe::PROBE_KEY;
use crate::store::StoreError;
use crate::store::credentials::{Env, Whose};
use crate::store::flags::StoreFlags;
use crate::tools::at::{self, StoreAtError};

/// How long one page of keys may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a page is asked for, of one member after another.
const TRIES: usize = 6;
/// Between two of them.
const BREATH: Duration = Duration::from_millis(200);
/// About how many bytes a page may have.
const PAGE: u64 = 4 << 20;
/// No page has more keys.
const MOST: u64 = 4096;
/// The first page has so many: values may be large.
const FIRST: u64 = 16;

/// Why a rehearsal cannot be held on a backup.
#[derive(Debug, Error)]
pub(super) enum SourceError {
    /// It is not known which store is meant, or it cannot be opened.
    #[error("--from-store: {0}")]
    At(#[from] StoreAtError),
    /// It cannot be listed.
    #[error("--from-store: {0}")]
    Store(#[from] StoreError),
    /// Keys where the load writes.
    #[error(
        "the backup has {count} keys under {prefix}, where a rehearsal writes its own: was it taken of a \
         rehearsal? Choose another one"
    )]
    InTheWay {
        /// How many.
        count: i64,
        /// Where.
        prefix: &'static str,
    },
    /// Nobody may write.
    #[error(
        "the cluster that the backup was taken of has authentication enabled, and such a cluster is not \
         upgraded: disable it (etcdctl auth disable), take a new full snapshot and rehearse on that"
    )]
    Auth,
    /// A call to a member.
    #[error("{0}")]
    Etcd(#[from] etcd::Error),
}

/// Opens and lists the store, if one is given.
pub(super) async fn open(args: &Args) -> Result<Option<Seed>, SourceError> {
    let Some(store) = &args.from_store else {
        return Ok(None);
    };
    let mut flags = StoreFlags::named(Whose::Main);
    flags.endpoint.clone_from(&args.store_endpoint_override);
    at::name(store, &mut flags)?;
    let location = flags.open(&Env::of_process()).map_err(StoreAtError::Open)?;
    let listing = Arc::new(location.listing().await?);
    Ok(Some(Seed {
        location,
        listing,
        begin: args.base.clone().map_or(Begin::Newest, Begin::At),
        loss: if args.accept_loss {
            Loss::Accepted
        } else {
            Loss::Refused
        },
    }))
}

/// The restored cluster: whether a rehearsal can be held on it, and what its keys are.
pub(super) async fn look(
    store: &str,
    seeded: &Seeded,
    clients: &[(MemberName, Client)],
) -> Result<report::Source, SourceError> {
    for (_, client) in clients {
        match client.auth_probe(PATIENCE).await? {
            Switch::On => return Err(SourceError::Auth),
            Switch::Off => {}
        }
    }
    let count = RangeOptions {
        count_only: true,
        ..RangeOptions::default()
    };
    let own = page(clients, Keys::Prefix(OWN_PREFIX.as_bytes()), count).await?;
    if own.count > 0 {
        return Err(SourceError::InTheWay {
            count: own.count,
            prefix: OWN_PREFIX,
        });
    }
    let counted = census(clients).await?;
    let replayed = &seeded.replayed;
    Ok(report::Source {
        store: store.to_owned(),
        base: replayed.chain.base.key.to_string(),
        deltas: replayed.chain.deltas.len() as u64,
        revision: replayed.report.revision.get(),
        keys: counted.all,
        database_bytes: replayed.base.bytes,
        bytes_in_use: replayed.base.bytes_in_use,
        restored_bytes: replayed.bytes,
        restore_ms: seeded.restore_ms,
        survived: Survived {
            keys: counted.keys,
            sha256: counted.sha256,
            checks: 0,
            same: None,
        },
    })
}

/// What the backup and the two releases call for.
pub(super) fn warn(
    seeded: &Seeded,
    quota: u64,
    from: Version,
    to: Version,
) -> Vec<report::Warning> {
    let replayed = &seeded.replayed;
    let database = Database {
        bytes: replayed.base.bytes,
        bytes_in_use: replayed.base.bytes_in_use,
    };
    let damaged = seeded
        .damaged
        .iter()
        .map(|(object, why)| Warning::DamagedObject {
            object: object.clone(),
            why: why.clone(),
        });
    let lost = replayed.lost.iter().map(|it| Warning::Lost {
        what: it.to_string(),
    });
    let general = warnings::of(database, quota, from, to);
    let all = lost.chain(damaged).chain(general);
    all.map(|it| it.report()).collect()
}

/// Compares the keys with those at the start; what differs, in words.
pub(super) async fn compare(
    source: &mut report::Source,
    clients: &[(MemberName, Client)],
) -> Result<Option<String>, SourceError> {
    let now = census(clients).await?;
    let survived = &mut source.survived;
    let same = now.keys == survived.keys && now.sha256 == survived.sha256;
    survived.checks += 1;
    survived.same = Some(same && survived.same != Some(false));
    Ok((!same).then(|| {
        format!(
            "the keys of the backup are not as they were: {} without a lease at the start, {} now",
            survived.keys, now.keys
        )
    }))
}

/// Every key that is not a rehearsal's own, nor the one that the engine probes with, at one revision.
async fn census(clients: &[(MemberName, Client)]) -> Result<Counted, SourceError> {
    let own_end = [OWN_PREFIX.trim_end_matches('/').as_bytes(), b"0"].concat();
    // An end of one zero byte is that of the whole key space.
    let ranges = [
        (vec![0], OWN_PREFIX.as_bytes().to_vec()),
        (own_end, vec![0]),
    ];
    let mut census = Census::default();
    let mut options = RangeOptions::default();
    let (mut bytes, mut keys) = (0_u64, 0_u64);
    for (mut from, end) in ranges {
        loop {
            // The mean so far says how many go into a page.
            let fit = (PAGE * keys).checked_div(bytes).unwrap_or(FIRST);
            let limit = fit.clamp(1, MOST.min((keys * 2).max(FIRST)));
            options.limit = i64::try_from(limit).unwrap_or(1);
            let found = page(clients, Keys::Range(&from, &end), options).await?;
            if options.revision == 0 {
                options.revision = found.revision;
            }
            for kv in &found.kvs {
                keys += 1;
                bytes += (kv.key.len() + kv.value.len()) as u64;
                if kv.key == PROBE_KEY.as_bytes() {
                    continue;
                }
                census.add(Foreign {
                    key: &kv.key,
                    value: &kv.value,
                    created: kv.create_revision,
                    changed: kv.mod_revision,
                    version: kv.version,
                    lease: kv.lease,
                });
            }
            match found.kvs.last() {
                Some(last) if found.more => from = [&last.key[..], &[0]].concat(),
                Some(_) | None => break,
            }
        }
    }
    Ok(census.finish())
}

/// Linearizable, so that no member can be behind.
async fn page(
    clients: &[(MemberName, Client)],
    keys: Keys<'_>,
    options: RangeOptions,
) -> Result<Range, etcd::Error> {
    let mut last = None;
    for (_, client) in clients.iter().cycle().take(TRIES) {
        if last.is_some() {
            tokio::time::sleep(BREATH).await;
        }
        match client.range(keys, options, PATIENCE).await {
            Ok(range) => return Ok(range),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error),
        // Nobody was asked: there is nobody.
        None => Ok(Range {
            kvs: Vec::new(),
            count: 0,
            more: false,
            revision: 0,
        }),
    }
}
