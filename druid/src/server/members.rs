//! What the cluster says of its members, as the member beside us may not run yet.
//!
//! When a cluster is created, no member answers, and each waits for the others: so nobody there is an
//! answer, and at once. etcd accepts connections before it has a majority and then says nothing, so
//! that is one too. Only where it cannot be told, a network that swallows packets or a cluster
//! without a majority, is it asked as often as etcd-backup-restore does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use druid_core::agent::membership::{Listed, Seen};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::etcd::{Client, Kind, Member};

/// For a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// For a sign of life.
const LIFE: Duration = Duration::from_millis(700);
/// For the list.
const LIST: Duration = Duration::from_secs(5);
/// Between two tries where it could not be told; after the last one nobody is there.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// How long what was seen counts.
const RECENT: Duration = Duration::from_secs(10);

/// What one address says.
#[derive(Debug)]
enum Voice {
    /// Nothing listens there, or there is no such name.
    Nobody,
    /// It listens and says nothing.
    Mute,
    /// It cannot be told.
    Unclear(String),
    /// The list.
    List(Vec<Listed>),
}

/// What depends on the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Whether data is made anew.
    Much,
    /// Little: this member starts with what it has.
    Little,
}

/// Asks, and remembers for a moment.
#[derive(Debug, Default)]
pub(crate) struct Members {
    last: Mutex<Option<(Instant, Seen)>>,
    /// Whether this member is to be part of a cluster that runs, so that there is a list.
    listed: AtomicBool,
}

impl Members {
    /// Asks now. With patience, several times over half a minute where it cannot be told.
    pub(crate) async fn ask(&self, clients: &[Client], patience: Patience) -> Seen {
        let seen = ask(clients, patience).await;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), seen.clone()));
        seen
    }

    /// What was seen a moment ago, or asks. `None`: there is a list, and nobody gives it.
    pub(crate) async fn recent(&self, clients: &[Client]) -> Option<Seen> {
        let last = self
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let listed = self.listed.load(Ordering::Relaxed);
        let seen = match last {
            Some((when, seen)) if when.elapsed() < RECENT => seen,
            Some(_) | None => {
                let patience = if listed {
                    Patience::Much
                } else {
                    Patience::Little
                };
                self.ask(clients, patience).await
            }
        };
        (seen != Seen::Silent || !listed).then_some(seen)
    }

    /// Says whether this member joins a cluster that runs. Without its list, its configuration would
    /// make a new one.
    pub(crate) fn expect_list(&self, joins: bool) {
        self.listed.store(joins, Ordering::Relaxed);
    }

    /// The list was changed.
    pub(crate) fn forget(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

async fn ask(clients: &[Client], patience: Patience) -> Seen {
    let mut pauses = match patience {
        Patience::Much => PAUSES.iter(),
        Patience::Little => [].iter(),
    };
    // Twice, as a busy member may be mute for a moment.
    let mut mute_once = false;
    loop {
        let voices = voices(clients).await;
        let mut unclear = None;
        let mut mute = false;
        for voice in voices {
            match voice {
                Voice::List(list) => return Seen::List(list),
                Voice::Nobody => {}
                Voice::Mute => mute = true,
                Voice::Unclear(why) => unclear = Some(why),
            }
        }
        match unclear {
            Some(why) => {
                let Some(pause) = pauses.next() else {
                    tracing::warn!(
                        why,
                        "the cluster's members cannot be listed: taken for absent"
                    );
                    return Seen::Silent;
                };
                tracing::warn!(why, ?pause, "the cluster's members cannot be listed");
                tokio::time::sleep(*pause).await;
            }
            None if mute && !mute_once => mute_once = true,
            None => return Seen::Silent,
        }
    }
}

/// All at once; the first list ends it.
async fn voices(clients: &[Client]) -> Vec<Voice> {
    let mut asked = JoinSet::new();
    for client in clients {
        asked.spawn(voice(client.clone()));
    }
    let mut voices = Vec::new();
    while let Some(voice) = asked.join_next().await {
        let Ok(voice) = voice else { continue };
        let is_list = matches!(voice, Voice::List(_));
        voices.push(voice);
        if is_list {
            break;
        }
    }
    voices
}

async fn voice(client: Client) -> Voice {
    let url = client.endpoint().as_str();
    let address = url.split_once("://").map_or(url, |(_, address)| address);
    match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
        Err(_) => return Voice::Unclear(format!("{url}: no connection within {CONNECT:?}")),
        Ok(Err(_)) => return Voice::Nobody,
        Ok(Ok(_)) => {}
    }
    if let Err(error) = client.status(LIFE).await {
        return if matches!(error.kind, Kind::DeadlineExceeded(_)) {
            Voice::Mute
        } else if matches!(error.kind, Kind::Unreachable(_)) {
            Voice::Nobody
        } else {
            Voice::Unclear(error.to_string())
        };
    }
    match client.member_list(LIST).await {
        Ok(list) => Voice::List(list.into_iter().map(listed).collect()),
        Err(error) => Voice::Unclear(error.to_string()),
    }
}

fn listed(member: Member) -> Listed {
    Listed {
        name: member.name,
        peer_urls: member.peer_urls,
        learner: member.learner,
        ran: !member.client_urls.is_empty(),
    }
}
