//! `kubectl druid upgrade`.

use std::process::ExitCode;

use druid_core::cli::{self, Acknowledge, Progress, bars, is_taken};

use super::api::Which;
use super::args::StatusArgs;
use super::connect::Cluster;
use super::error::KubectlError;
use super::output::{colours, say, show};
use super::watch;
use crate::clock;

pub(super) async fn status(cluster: &Cluster, args: &StatusArgs) -> Result<ExitCode, KubectlError> {
    let which = match &args.name {
        Some(name) => Which::Named(name),
        None if args.all_namespaces => Which::All,
        None => Which::Namespace,
    };
    let found = cluster.found(which).await?;
    if args.watch {
        return Ok(watch::run(cluster, which, found).await);
    }
    let all = Progress::all(&found);
    show(&all, args.output, || bars(&all, clock::now(), colours()));
    if all.is_empty() {
        cluster.tell_of_nothing(which);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn pause(cluster: &Cluster, name: &str, paused: bool) -> Result<(), KubectlError> {
    let etcd = cluster.readable(name).await?;
    let Some(patch) = cli::pause(&etcd, paused) else {
        let how = if paused {
            "is paused already"
        } else {
            "is not paused"
        };
        answer(&format!("Etcd {name} {how}"));
        return Ok(());
    };
    let answered = cluster.patch(name, &patch).await?.etcd;
    let taken = answered.is_ok_and(|it| is_taken(&it, paused));
    if !taken {
        return Err(KubectlError::Dropped(name.to_owned()));
    }
    answer(&if paused {
        format!("Etcd {name} is paused: a member in hand is finished, no further one is touched")
    } else {
        format!("Etcd {name} is resumed")
    });
    Ok(())
}

pub(super) async fn acknowledge(cluster: &Cluster, name: &str) -> Result<(), KubectlError> {
    let etcd = cluster.readable(name).await?;
    let found = cli::acknowledge(&etcd).map_err(|why| KubectlError::NotHalted {
        name: name.to_owned(),
        why,
    })?;
    match found {
        Acknowledge::Already => answer(&format!(
            "the halt of Etcd {name} is acknowledged already; the operator has yet to take it up"
        )),
        Acknowledge::Write { patch, halt } => {
            cluster.patch(name, &patch).await?;
            answer(&format!("the halt of Etcd {name} is acknowledged: {halt}"));
        }
    }
    Ok(())
}

/// What was done is done, even if nobody reads it.
fn answer(text: &str) {
    let _ = say(text);
}
