//! `kubectl druid tasks`.

use std::process::ExitCode;
use std::time::Duration;

use druid_core::cli::{TaskChanges, TaskRow, tasks};

use super::api::Which;
use super::args::TasksArgs;
use super::connect::Cluster;
use super::error::KubectlError;
use super::output::{INTERRUPTED, colours, say, show, tell};
use crate::clock;

/// How often tasks are looked at: they take seconds at least.
const LOOK: Duration = Duration::from_secs(1);

pub(super) async fn run(cluster: &Cluster, args: &TasksArgs) -> Result<ExitCode, KubectlError> {
    let which = if args.all_namespaces {
        Which::All
    } else {
        Which::Namespace
    };
    if !args.watch {
        let rows = TaskRow::all(&cluster.all_tasks(which).await?);
        show(&rows, args.output, || tasks(&rows, clock::now(), colours()));
        if rows.is_empty() {
            tell("no EtcdOpsTasks; `kubectl druid snapshot` makes one");
        }
        return Ok(ExitCode::SUCCESS);
    }
    tokio::select! {
        watched = watch(cluster, which) => watched.map(|()| ExitCode::SUCCESS),
        _ = tokio::signal::ctrl_c() => Ok(INTERRUPTED.into()),
    }
}

/// A line for each change, until nobody reads on.
async fn watch(cluster: &Cluster, which: Which<'_>) -> Result<(), KubectlError> {
    let mut changes = TaskChanges::default();
    let mut trouble = String::new();
    loop {
        match cluster.all_tasks(which).await {
            Ok(found) => {
                trouble.clear();
                for line in changes.next(TaskRow::all(&found)) {
                    if say(&line).is_err() {
                        return Ok(());
                    }
                }
            }
            Err(error) if error.may_pass() => {
                let said = format!("warning: {error}; trying again");
                if said != trouble {
                    tell(&said);
                    trouble = said;
                }
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(LOOK).await;
    }
}
