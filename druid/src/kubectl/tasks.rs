//! `kubectl druid tasks`.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use druid_core::cli::{Documents, Found, Targets, TaskChanges, TaskRow, tasks};

use super::args::{Format, TasksArgs};
use super::connect::Cluster;
use super::error::KubectlError;
use super::output::{INTERRUPTED, colours, document, say, show, tell};
use crate::clock;

/// How often tasks are looked at: they take seconds at least.
const LOOK: Duration = Duration::from_secs(1);

pub(super) async fn run(cluster: &Cluster, args: &TasksArgs) -> Result<ExitCode, KubectlError> {
    let targets = args.etcds.given().to_look(&cluster.namespace);
    if !args.watch {
        let rows = rows(cluster, &targets).await?;
        show(&rows, args.output, || tasks(&rows, clock::now(), colours()));
        if rows.is_empty() {
            tell("no EtcdOpsTasks; `kubectl druid snapshot` makes one");
        }
        return Ok(ExitCode::SUCCESS);
    }
    tokio::select! {
        watched = watch(cluster, &targets, args.output) => watched.map(|()| ExitCode::SUCCESS),
        _ = tokio::signal::ctrl_c() => Ok(INTERRUPTED.into()),
    }
}

/// The tasks of those Etcds. Of a whole namespace, those of Etcds that are not there belong to it, too.
async fn rows(cluster: &Cluster, targets: &Targets) -> Result<Vec<TaskRow>, KubectlError> {
    let mut found = Vec::new();
    for namespace in targets.namespaces() {
        found.extend(cluster.all_tasks(namespace.as_deref()).await?);
    }
    let rows = TaskRow::all(&found);
    let etcds = match targets {
        Targets::Named(keys) => keys.clone(),
        Targets::Found(scope) if scope.selector.is_none() => return Ok(rows),
        Targets::Found(_) => {
            let sighted = cluster.found(targets).await?;
            sighted.found.iter().map(Found::key).collect()
        }
    };
    Ok(TaskRow::about(rows, &etcds.into_iter().collect()))
}

/// A line or a document for each change, until nobody reads on.
async fn watch(cluster: &Cluster, targets: &Targets, format: Format) -> Result<(), KubectlError> {
    let mut news = News::default();
    let mut trouble = String::new();
    loop {
        match rows(cluster, targets).await {
            Ok(rows) => {
                trouble.clear();
                if news.tell(rows, format).is_err() {
                    return Ok(());
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

/// What was said so far.
#[derive(Default)]
struct News {
    lines: TaskChanges,
    documents: Documents<TaskRow>,
}

impl News {
    fn tell(&mut self, rows: Vec<TaskRow>, format: Format) -> io::Result<()> {
        match format {
            Format::Text => self.lines.next(rows).iter().try_for_each(|it| say(it)),
            Format::Json | Format::Yaml => {
                let mut all = self.documents.next(&rows).into_iter();
                all.try_for_each(|it| document(&it, format))
            }
        }
    }
}
