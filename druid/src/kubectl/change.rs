//! Commands that change each of several Etcds: `upgrade pause` and the like.

use std::process::ExitCode;

use druid_core::cli::{Came, Consent, Decided, Key, Outcome, Wish, consent, is_yes};
use futures_util::{StreamExt as _, stream};

use super::api::AT_ONCE;
use super::args::{ChangeArgs, Format};
use super::connect::Cluster;
use super::error::KubectlError;
use super::output::{ask, is_answered, say, show, tell};
use super::several::keys;

pub(super) async fn run(
    cluster: &Cluster,
    args: &ChangeArgs,
    wish: Wish,
) -> Result<ExitCode, KubectlError> {
    let outcomes = all(cluster, args, wish).await?;
    let failed = |it: &&Outcome| it.outcome == Came::Failed;
    for outcome in outcomes.iter().filter(failed) {
        tell(&format!("error: {}", outcome.text()));
    }
    match args.output {
        Format::Text => {
            for outcome in outcomes.iter().filter(|it| !failed(it)) {
                // What was done is done, even if nobody reads it.
                let _ = say(&outcome.text());
            }
        }
        Format::Json | Format::Yaml => show(&outcomes, args.output, String::new),
    }
    Ok(if outcomes.iter().any(|it| failed(&it)) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Finds the Etcds, asks if somebody has to be asked, and does it to each; what came of it, in order.
pub(super) async fn all(
    cluster: &Cluster,
    args: &ChangeArgs,
    wish: Wish,
) -> Result<Vec<Outcome>, KubectlError> {
    let targets = args.etcds.given().chosen(&cluster.namespace)?;
    let keys = keys(cluster, &targets).await?;
    match consent(wish.asks(), &targets, &keys, args.yes, is_answered())? {
        Consent::Given => {}
        Consent::Ask(question) => {
            if !is_yes(&ask(question).await) {
                return Err(KubectlError::Declined);
            }
        }
    }
    let each = keys
        .iter()
        .map(async |key| match one(cluster, key, wish).await {
            Ok(decided) => Outcome::done(key, decided),
            Err(error) => Outcome::failed(key, error.to_string()),
        });
    Ok(stream::iter(each).buffered(AT_ONCE).collect().await)
}

async fn one(
    cluster: &Cluster,
    (namespace, name): &Key,
    wish: Wish,
) -> Result<Decided, KubectlError> {
    let cluster = cluster.at(namespace);
    let etcd = cluster.readable(name).await?;
    let decided = wish.decide(&etcd).map_err(|why| KubectlError::NoSense {
        name: format!("{namespace}/{name}"),
        why,
    })?;
    if let Decided::Write { patch, .. } = &decided {
        let answered = cluster.patch(name, patch).await?.etcd;
        if !answered.is_ok_and(|it| wish.is_kept(&it)) {
            return Err(KubectlError::Dropped(format!("{namespace}/{name}")));
        }
    }
    Ok(decided)
}
