//! Peer addresses that the configuration gives and the cluster does not know yet: the member list is
//! corrected, and etcd is started again to listen there.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use tokio::sync::watch;

use super::clients::Clients;
use super::leadership::Leadership;
use super::mounted::Source;
use crate::web::{Trust, Web};

const DEADLINE: Duration = Duration::from_secs(10);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(10);
/// Where etcd-wrapper listens.
const WRAPPER_PORT: u16 = 9095;

/// Once, after etcd is part of its cluster.
pub(crate) async fn correct(
    clients: Arc<Clients>,
    source: Source,
    restart: bool,
    mut leadership: watch::Receiver<Leadership>,
) {
    if leadership
        .wait_for(|it| *it != Leadership::Unknown)
        .await
        .is_err()
    {
        return;
    }
    loop {
        match correct_once(&clients, &source).await {
            Ok(false) => return,
            Ok(true) => break,
            Err(why) => tracing::warn!(why, "the peer URLs cannot be compared; it is tried again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    if !restart {
        tracing::warn!("start etcd again, so that it listens at its new peer URLs");
    } else if let Err(why) = stop_etcd(&clients).await {
        tracing::error!(
            why,
            "etcd cannot be asked to start again: restart its container"
        );
    }
}

/// Whether there was something to correct.
async fn correct_once(clients: &Clients, source: &Source) -> Result<bool, String> {
    let ours = source.ours().map_err(|error| error.to_string())?;
    let local = clients.local();
    let text = |error: crate::etcd::Error| error.to_string();
    let status = local.status(DEADLINE).await.map_err(text)?;
    let listed = local.member_list(DEADLINE).await.map_err(text)?;
    let Some(own) = listed.into_iter().find(|member| member.id == status.id) else {
        return Err(format!("the member list lacks this member, {}", status.id));
    };
    let sorted = |urls: &[String]| {
        let mut urls = urls.to_vec();
        urls.sort_unstable();
        urls
    };
    if sorted(&own.peer_urls) == sorted(&ours.peer_urls) {
        return Ok(false);
    }
    tracing::warn!(was = ?own.peer_urls, is = ?ours.peer_urls, "this member's peer URLs change");
    local
        .member_update(status.id, &ours.peer_urls, DEADLINE)
        .await
        .map_err(text)?;
    Ok(true)
}

async fn stop_etcd(clients: &Clients) -> Result<(), String> {
    let trust = match clients.ca() {
        Some(ca) => Trust::of_file(ca).map_err(|error| error.to_string())?,
        None => Trust::default(),
    };
    let web = Web::new(&trust).map_err(|error| error.to_string())?;
    let endpoint = clients.local_endpoint();
    let base = endpoint.as_str();
    let host = base.rsplit_once(':').map_or(base, |(host, _)| host);
    let request = Request::post(format!("{host}:{WRAPPER_PORT}/stop"))
        .body(Full::default())
        .map_err(|error| error.to_string())?;
    let answer = web
        .send(request, DEADLINE)
        .await
        .map_err(|error| error.to_string())?;
    if answer.status.is_success() {
        Ok(())
    } else {
        Err(format!("/stop answers {}", answer.status))
    }
}
