//! `kubectl druid reconciliation trigger`.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use druid_core::cli::{
    Came, Document, Documents, Outcome, Reconciliation, Standing, Wish, reconciliations,
};
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use super::api::AT_ONCE;
use super::args::{Format, TriggerArgs};
use super::change;
use super::connect::Cluster;
use super::error::KubectlError;
use super::output::{INTERRUPTED, colours, document, say, show, tell};

/// How often Etcds are looked at.
const LOOK: Duration = Duration::from_secs(1);

pub(super) async fn trigger(
    cluster: &Cluster,
    args: &TriggerArgs,
) -> Result<ExitCode, KubectlError> {
    let outcomes = change::all(cluster, &args.change, Wish::Trigger).await?;
    let row = |it: &Outcome| {
        let key = (it.namespace.clone(), it.name.clone());
        match it.outcome {
            Came::Changed | Came::Unchanged => Reconciliation::triggered(&key),
            Came::Failed => Reconciliation::failed(&key, it.says.clone()),
        }
    };
    let mut rows: Vec<_> = outcomes.iter().map(row).collect();
    if args.wait_till_ready || args.watch {
        tokio::select! {
            // Whoever closed the pipe does not want to know; the exit code still tells.
            _ = follow(cluster, args, &mut rows) => {}
            _ = tokio::signal::ctrl_c() => return Ok(INTERRUPTED.into()),
        }
    }
    // Each change was told already.
    let told = args.watch && args.change.output != Format::Text;
    if !told && !rows.is_empty() {
        show(&rows, args.change.output, || {
            reconciliations(&rows, colours())
        });
    }
    let mut code = ExitCode::SUCCESS;
    for failed in rows.iter().filter(|it| it.is_failed()) {
        tell(&format!("error: {}", failed.line()));
        code = ExitCode::FAILURE;
    }
    Ok(code)
}

/// Until all are over, or the time is.
async fn follow(
    cluster: &Cluster,
    args: &TriggerArgs,
    rows: &mut [Reconciliation],
) -> io::Result<()> {
    let began = Instant::now();
    let mut said = Documents::default();
    loop {
        let waiting = rows.iter_mut().filter(|it| !it.is_over());
        let looks = waiting.map(async |row| {
            let found = cluster.at(&row.namespace).readable(&row.name).await;
            let seconds = began.elapsed().as_secs();
            match found {
                Ok(etcd) => row.looked(&Standing::of(&etcd), seconds),
                Err(error) => row.unseen(error.to_string(), error.may_pass(), seconds),
            }
        });
        let () = stream::iter(looks)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        if args.watch {
            tell_news(&mut said, rows, args.change.output)?;
        }
        if rows.iter().all(Reconciliation::is_over) || began.elapsed() >= args.timeout.0 {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A line or a document for each that stands otherwise than before.
fn tell_news(
    said: &mut Documents<Reconciliation>,
    rows: &[Reconciliation],
    format: Format,
) -> io::Result<()> {
    for news in said.next(rows) {
        match (format, &news) {
            (Format::Text, Document::Now(row)) => say(&row.line())?,
            (Format::Text, Document::Gone { .. }) => {}
            (Format::Json | Format::Yaml, _) => document(&news, format)?,
        }
    }
    Ok(())
}
