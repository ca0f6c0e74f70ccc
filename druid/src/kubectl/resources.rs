//! `kubectl druid list-resources`.

use std::process::ExitCode;

use druid_core::cli::{Belongings, Key, Resource, belongings, raw};
use futures_util::{StreamExt as _, stream};

use super::api::AT_ONCE;
use super::args::{Format, ListResourcesArgs, RawFormat};
use super::connect::Cluster;
use super::error::KubectlError;
use super::output::{colours, show, tell};
use super::several::{keys, told};
use crate::clock;

pub(super) async fn run(
    cluster: &Cluster,
    args: &ListResourcesArgs,
) -> Result<ExitCode, KubectlError> {
    let targets = args.etcds.given().chosen(&cluster.namespace)?;
    let keys = keys(cluster, &targets).await?;
    let (mut there, mut failed) = (Vec::new(), Vec::new());
    for key in keys {
        match cluster.at(&key.0).etcd(&key.1).await {
            Ok(_) => there.push(key),
            Err(error) => failed.push(error),
        }
    }
    let whole = match args.output {
        RawFormat::Text => listed(cluster, args, &there, Format::Text).await,
        RawFormat::Json => listed(cluster, args, &there, Format::Json).await,
        RawFormat::Yaml => listed(cluster, args, &there, Format::Yaml).await,
        RawFormat::JsonRaw => objects(cluster, args, &there).await,
    };
    Ok(if told(&failed) || !whole {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What is asked of whom.
fn questions<'a>(
    args: &'a ListResourcesArgs,
    keys: &'a [Key],
) -> impl Iterator<Item = (usize, &'a Key, Resource)> {
    let kinds = || args.filter.0.iter().copied();
    let each = keys.iter().enumerate();
    each.flat_map(move |(at, key)| kinds().map(move |kind| (at, key, kind)))
}

/// Whether all of it could be listed.
async fn listed(cluster: &Cluster, args: &ListResourcesArgs, keys: &[Key], format: Format) -> bool {
    let asked = questions(args, keys).map(async |(at, key, of)| {
        let found = cluster.at(&key.0).belonging(of, &key.1).await;
        (at, of, found)
    });
    let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let mut all: Vec<_> = keys.iter().map(Belongings::new).collect();
    for (at, of, found) in answers {
        let Some(one) = all.get_mut(at) else { continue };
        match found {
            Ok(found) => one.add(of, found),
            Err(error) => one.lack(of, error.to_string()),
        }
    }
    show(&all, format, || belongings(&all, clock::now(), colours()));
    all.iter().all(|it| it.unknown.is_empty())
}

/// Whether all of it could be listed.
async fn objects(cluster: &Cluster, args: &ListResourcesArgs, keys: &[Key]) -> bool {
    let asked = questions(args, keys).map(async |(_, key, of)| {
        let found = cluster.at(&key.0).belonging_raw(of, &key.1).await;
        (of, found)
    });
    let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let (mut all, mut whole) = (Vec::new(), true);
    for (of, found) in answers {
        match found {
            Ok(found) => all.extend(found.into_iter().map(|it| (of, it))),
            Err(error) => {
                tell(&format!("error: {}: {error}", of.plural()));
                whole = false;
            }
        }
    }
    let values = all.into_iter().filter_map(|(of, object)| {
        let object = serde_json::to_value(object).ok()?;
        Some((of, object))
    });
    show(&raw(values.collect()), Format::Json, String::new);
    whole
}
