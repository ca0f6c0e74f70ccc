//! Asks the members what [`druid_core`] decides from. Nothing is decided here; every read has its
//! deadline, members are asked at the same time, and one that hangs costs its deadline once.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use druid_core::hashkv::{self, Hash, MAX_ROUNDS, Round, Verdict};
use druid_core::member::MemberName;
use druid_core::observed::{
    Alarm, Answer, Answered, Deep, Etcd, Hashes, Listed, Looked, Status, Switch,
};
use druid_core::version::{Minor, Version};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::etcd::{Client, Error, Kind, Member};

/// The key that probe writes go to. It is no key of Kubernetes.
pub(crate) const PROBE_KEY: &str = "druid.gardener.cloud/probe";

/// How far apart the two readings of the raft term are.
const TERMS_APART: Duration = Duration::from_secs(1);

/// The pause before `HashKV` is asked again at a newer revision.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(300);

/// How often a member that has not reached a revision yet is asked again.
const CATCH_UP: Duration = Duration::from_millis(20);
/// In less time nobody answers.
const SHORTEST: Duration = Duration::from_millis(50);

/// Who is asked, and as whom.
pub(crate) type Members = [(MemberName, Client)];

/// What the members answer, and the member list with its addresses.
#[derive(Clone, Debug)]
pub(crate) struct Survey {
    /// What decisions are made from.
    pub(crate) etcd: Etcd,
    /// The member list; empty if it is not known.
    pub(crate) listed: Vec<Member>,
}

/// What the members answer. Takes at most three deadlines, whoever hangs.
pub(crate) async fn etcd(members: &Members, deadline: Duration) -> Etcd {
    survey(members, deadline).await.etcd
}

/// As [`etcd`], with addresses.
pub(crate) async fn survey(members: &Members, deadline: Duration) -> Survey {
    let answers = each(members, |client| status(client, deadline)).await;
    let mut why = "no member answers".to_owned();
    for client in healthy(members, &answers).into_iter().take(2) {
        match cluster_wide(&client, deadline).await {
            Ok((listed, alarms)) => {
                let membership = listed.iter().map(line).collect();
                return Survey {
                    etcd: Etcd {
                        members: answers,
                        membership: Answered::Known(membership),
                        alarms: Answered::Known(alarms),
                    },
                    listed,
                };
            }
            Err(error) => why = error.to_string(),
        }
    }
    Survey {
        etcd: Etcd {
            members: answers,
            membership: Answered::Unknown(why.clone()),
            alarms: Answered::Unknown(why),
        },
        listed: Vec::new(),
    }
}

/// The dear reads of a preflight: a second and, where a member hangs, two deadlines. Writes
/// nothing unless `probe_writes` is set.
pub(crate) async fn deep(
    members: &Members,
    seen: &Survey,
    deadline: Duration,
    probe_writes: bool,
) -> Deep {
    let first = healthy(members, &seen.etcd.members).into_iter().next();
    let auth = async {
        match &first {
            Some(client) => known(client.auth_probe(deadline).await),
            None => Answered::Unknown("no member answers".to_owned()),
        }
    };
    let write = async {
        match (probe_writes, &first) {
            (true, Some(client)) => Some(probe(client, members, &seen.etcd, deadline).await),
            (true, None) => Some(Answered::Unknown("no member answers".to_owned())),
            (false, _) => None,
        }
    };
    let (hashes, auth, downgrade, terms, write) = tokio::join!(
        hashes(members, &seen.etcd, deadline),
        auth,
        downgrade_jobs(members, &seen.etcd, deadline),
        terms(members, &seen.etcd, deadline),
        write,
    );
    Deep {
        hashes,
        auth,
        downgrade,
        terms,
        write,
        verifier: None,
    }
}

/// Whether a member that was just restarted takes writes and holds what the others hold. Writes
/// [`PROBE_KEY`].
pub(crate) async fn member(name: &MemberName, members: &Members, deadline: Duration) -> Looked {
    let seen = etcd(members, deadline).await;
    let client = members.iter().find(|(member, _)| member == name);
    let write = match client {
        Some((_, client)) => probe(client, members, &seen, deadline).await,
        None => Answered::Unknown(format!("{name} is not a member")),
    };
    Looked::Member {
        name: name.clone(),
        write,
        hashes: hashes(members, &seen, deadline).await,
    }
}

/// How many raft snapshots each member has saved since it started.
pub(crate) async fn raft_snapshots(
    members: &Members,
    deadline: Duration,
) -> BTreeMap<MemberName, Answered<u64>> {
    let ask = |client: Client| async move {
        match client.http().raft_snapshots(deadline).await {
            Ok(Some(count)) => Answered::Known(count),
            Ok(None) => Answered::Unknown("the metric is not there".to_owned()),
            Err(error) => Answered::Unknown(error.to_string()),
        }
    };
    each(members, ask).await
}

/// Compares `HashKV` over all voters.
pub(crate) async fn hashes(members: &Members, seen: &Etcd, deadline: Duration) -> Hashes {
    let voter = |name: &MemberName| {
        let status = seen.members.get(name).and_then(Answer::status);
        status.is_some_and(|status| !status.learner)
    };
    let voters: Vec<_> = members
        .iter()
        .filter(|(name, _)| voter(name))
        .cloned()
        .collect();
    let silent = members
        .iter()
        .find(|(name, _)| seen.members.get(name).and_then(Answer::status).is_none());
    let mut why = "no voter answers".to_owned();
    for _ in 0..MAX_ROUNDS {
        let Some(first) = healthy(&voters, &seen.members).into_iter().next() else {
            break;
        };
        let (round, hopeless) = match round(&first, &voters, deadline).await {
            Ok(round) => round,
            Err(error) => return Hashes::Unknown(error.to_string()),
        };
        match (hashkv::judge(&round), silent) {
            (Verdict::Done(Hashes::Equal { .. }), Some((name, _))) => {
                return Hashes::Unknown(format!("{name} does not answer"));
            }
            (Verdict::Done(hashes), _) => return hashes,
            (Verdict::Again(reason), _) => why = reason,
        }
        if hopeless {
            break;
        }
        sleep(BETWEEN_ROUNDS).await;
    }
    Hashes::Unknown(why)
}

/// One round, and whether another would end the same way.
async fn round(
    first: &Client,
    voters: &Members,
    deadline: Duration,
) -> Result<(Round, bool), Error> {
    let (_, revision) = first.get(PROBE_KEY.as_bytes(), true, deadline).await?;
    let hash = |client: Client| async move { hash_at(&client, revision, deadline).await };
    let hashes = each(voters, hash).await;
    let passing = |kind: &Kind| matches!(kind, Kind::Compacted(_) | Kind::FutureRevision);
    let hopeless = hashes
        .values()
        .any(|hash| hash.as_ref().is_err_and(|error| !passing(&error.kind)));
    let answers = hashes
        .into_iter()
        .map(|(name, hash)| (name, known(hash)))
        .collect();
    Ok((Round { revision, answers }, hopeless))
}

/// A member's hash at a revision that it may yet have to reach.
async fn hash_at(client: &Client, revision: i64, deadline: Duration) -> Result<Hash, Error> {
    let started = tokio::time::Instant::now();
    let mut left = deadline;
    loop {
        match client.hash_kv(revision, left).await {
            Ok(found) => {
                return Ok(Hash {
                    hash: found.hash,
                    compact_revision: found.compact_revision,
                });
            }
            Err(error) => {
                left = deadline.saturating_sub(started.elapsed() + CATCH_UP);
                if error.kind != Kind::FutureRevision || left < SHORTEST {
                    return Err(error);
                }
                sleep(CATCH_UP).await;
            }
        }
    }
}

async fn status(client: Client, deadline: Duration) -> Answer {
    let (status, versions, ready, quota) = tokio::join!(
        client.status(deadline),
        client.http().version(deadline),
        client.http().readyz(deadline),
        client.quota(deadline),
    );
    let (status, versions) = match (status, versions) {
        (Ok(status), Ok(versions)) => (status, versions),
        (Err(error), _) | (_, Err(error)) => return Answer::Silent(error.to_string()),
    };
    let version: Version = match status.version.parse() {
        Ok(version) => version,
        Err(error) => return Answer::Silent(error.to_string()),
    };
    Answer::Status(Status {
        id: status.id,
        version,
        cluster_version: versions.cluster,
        leader: status.leader,
        term: status.term,
        raft_index: status.raft_index,
        raft_applied_index: status.raft_applied_index,
        revision: status.revision,
        db_size: status.db_size,
        db_size_in_use: status.db_size_in_use,
        quota: quota.unwrap_or_default(),
        learner: status.learner,
        ready: ready.unwrap_or_else(|error| Err(error.to_string())),
        errors: status.errors,
    })
}

/// The member list and the alarms of one member, both after a linearizable read on it.
async fn cluster_wide(
    client: &Client,
    deadline: Duration,
) -> Result<(Vec<Member>, Vec<Alarm>), Error> {
    let both = async {
        let listed = client.member_list(deadline).await?;
        let alarms = client.alarms(deadline).await?;
        Ok((listed, alarms))
    };
    match tokio::time::timeout(deadline, both).await {
        Ok(answers) => answers,
        Err(_) => Err(client.error("MemberList", Kind::DeadlineExceeded(deadline))),
    }
}

async fn probe(
    through: &Client,
    members: &Members,
    seen: &Etcd,
    deadline: Duration,
) -> Answered<()> {
    let reader = healthy(members, &seen.members)
        .into_iter()
        .find(|other| other.endpoint() != through.endpoint())
        .unwrap_or_else(|| through.clone());
    let pair = (PROBE_KEY.as_bytes().to_vec(), b"probe".to_vec());
    let outcome = async {
        let written = through.txn_put(&[pair], deadline).await?;
        let (kv, _) = reader.get(PROBE_KEY.as_bytes(), true, deadline).await?;
        Ok::<_, Error>((written, kv))
    };
    match outcome.await {
        Ok((written, Some(kv))) if kv.mod_revision >= written => Answered::Known(()),
        Ok((written, _)) => Answered::Unknown(format!(
            "the write at revision {written} through {} could not be read through {}",
            through.endpoint(),
            reader.endpoint()
        )),
        Err(error) => Answered::Unknown(error.to_string()),
    }
}

/// Whether etcd's own downgrade is under way, of every member of 3.5 or later that answers.
async fn downgrade_jobs(
    members: &Members,
    seen: &Etcd,
    deadline: Duration,
) -> BTreeMap<MemberName, Answered<Switch>> {
    let mut jobs = JoinSet::new();
    for (name, client) in members {
        let status = seen.members.get(name).and_then(Answer::status);
        let Some(status) = status.filter(|it| it.version.minor >= Minor::new(3, 5)) else {
            continue;
        };
        let (name, client, agreed) = (name.clone(), client.clone(), status.cluster_version);
        jobs.spawn(async move {
            let job = match agreed {
                Some(agreed) => known(client.downgrade_job(agreed, deadline).await),
                None => Answered::Unknown("the cluster has no version yet".to_owned()),
            };
            (name, job)
        });
    }
    jobs.join_all().await.into_iter().collect()
}

/// The highest raft term as it was seen, and again a second later.
async fn terms(members: &Members, seen: &Etcd, deadline: Duration) -> (u64, u64) {
    sleep(TERMS_APART).await;
    let answered: Vec<_> = members
        .iter()
        .filter(|(name, _)| seen.members.get(name).and_then(Answer::status).is_some())
        .cloned()
        .collect();
    let again = each(
        &answered,
        |client| async move { client.status(deadline).await },
    )
    .await;
    let before = seen.answers().map(|(_, status)| status.term).max();
    let after = again
        .into_values()
        .flatten()
        .map(|status| status.term)
        .max();
    (before.unwrap_or_default(), after.unwrap_or_default())
}

/// The members that answered, those first that are ready and vote.
fn healthy(members: &Members, answers: &BTreeMap<MemberName, Answer>) -> Vec<Client> {
    let mut found: Vec<_> = members
        .iter()
        .filter_map(|(name, client)| {
            let status = answers.get(name)?.status()?;
            Some((status.learner, status.ready.is_err(), client.clone()))
        })
        .collect();
    found.sort_by_key(|(learner, unready, _)| (*learner, *unready));
    found.into_iter().map(|(_, _, client)| client).collect()
}

/// Asks all members at the same time.
async fn each<T, F>(members: &Members, ask: impl Fn(Client) -> F) -> BTreeMap<MemberName, T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut asking = JoinSet::new();
    for (name, client) in members {
        let (name, answer) = (name.clone(), ask(client.clone()));
        asking.spawn(async move { (name, answer.await) });
    }
    asking.join_all().await.into_iter().collect()
}

fn known<T>(answer: Result<T, Error>) -> Answered<T> {
    match answer {
        Ok(answer) => Answered::Known(answer),
        Err(error) => Answered::Unknown(error.to_string()),
    }
}

fn line(member: &Member) -> Listed {
    Listed {
        id: member.id,
        name: member.name.clone(),
        learner: member.learner,
    }
}

#[cfg(test)]
#[path = "observe_tests.rs"]
mod tests;
