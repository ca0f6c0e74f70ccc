//! `kubectl druid`: looks at Etcds and asks for things, by the API server alone. What is shown is
//! made in `druid_core::cli`.

mod api;
mod args;
mod change;
mod complete;
mod connect;
mod doctor;
mod error;
mod list;
mod maintenance;
mod output;
mod preflight;
mod reconciliation;
mod recover;
mod resources;
mod restore_plan;
mod several;
mod sidecar;
mod snapshot;
mod task;
mod tasks;
mod upgrade;
mod version;
mod watch;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser};

pub(crate) use args::Args;
use args::{Command, ProtectionCommand, ReconciliationCommand, UpgradeCommand};
use complete::Choices;
use connect::Connection;
use druid_core::cli::{Scope, Targets, Wish};
use error::KubectlError;

/// As kubectl looks for the program behind `kubectl druid`.
const PLUGIN: &str = "kubectl-druid";
/// Whoever completes a word does not wait longer for the API server.
const COMPLETED: Duration = Duration::from_secs(3);
/// As kubectl looks for the program that completes its command line.
const COMPLETION: &str = "kubectl_complete-druid";

#[derive(Debug, Parser)]
#[command(
    name = "kubectl-druid",
    bin_name = "kubectl druid",
    version,
    max_term_width = 100
)]
struct Plugin {
    #[command(flatten)]
    args: Args,
}

/// Whether this program was started under the name of the plugin.
pub(crate) fn is_plugin(line: &[OsString]) -> bool {
    let program = line.first().map(Path::new);
    let name = program.and_then(Path::file_stem);
    name.is_some_and(|it| it == PLUGIN)
}

/// Whether kubectl wants to know what may come next on the command line of the plugin.
pub(crate) fn is_completion(line: &[OsString]) -> bool {
    let program = line.first().map(Path::new);
    let name = program.and_then(Path::file_stem);
    name.is_some_and(|it| it == COMPLETION)
}

/// Tells it. Nobody reads why the API server does not say which Etcds there are.
pub(crate) async fn complete(line: &[OsString]) -> ExitCode {
    let words = line.get(1..).unwrap_or_default();
    let lines = match complete::choices(Plugin::command(), words) {
        Choices::These(lines) => lines,
        Choices::Etcds { begins, connection } => {
            let named = tokio::time::timeout(COMPLETED, named(&connection, &begins)).await;
            complete::etcds(named.ok().and_then(Result::ok).unwrap_or_default())
        }
    };
    let _ = output::say(&lines);
    ExitCode::SUCCESS
}

/// The Etcds whose names begin so, in the namespace that is written, or else in that of the connection.
async fn named(connection: &Connection, begins: &str) -> Result<Vec<String>, KubectlError> {
    let cluster = connection.open().await?;
    let (prefix, namespace) = match begins.split_once('/') {
        Some((namespace, _)) => (format!("{namespace}/"), namespace),
        None => (String::new(), cluster.namespace.as_str()),
    };
    let scope = Scope {
        namespace: Some(namespace.to_owned()),
        selector: None,
    };
    let all = cluster.found(&Targets::Found(scope)).await?.found;
    let called = all.into_iter().map(|it| format!("{prefix}{}", it.name));
    Ok(called.filter(|it| it.starts_with(begins)).collect())
}

/// Reads the command line of the plugin.
pub(crate) fn parse(line: Vec<OsString>) -> Result<Args, clap::Error> {
    Ok(Plugin::try_parse_from(line)?.args)
}

/// Does it.
pub(crate) async fn run(args: Args) -> ExitCode {
    match Box::pin(done(args)).await {
        Ok(code) => code,
        Err(error) => {
            output::tell(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn done(args: Args) -> Result<ExitCode, KubectlError> {
    if let Command::Version(version) = &args.command {
        version::run(version);
        return Ok(ExitCode::SUCCESS);
    }
    let cluster = args.connection.open().await?;
    let changed = |args, wish| Box::pin(change::run(&cluster, args, wish));
    match &args.command {
        Command::List(list) => return list::run(&cluster, list).await,
        Command::Preflight { etcd, output } => {
            return preflight::run(&cluster, etcd, *output).await;
        }
        Command::Doctor(doctor) => return Box::pin(doctor::run(&cluster, doctor)).await,
        Command::RestorePlan(of) => return Box::pin(restore_plan::run(&cluster, of)).await,
        Command::Snapshot(snapshot) => snapshot::run(&cluster, snapshot).await?,
        Command::Defrag(defrag) => maintenance::defrag(&cluster, defrag).await?,
        Command::Compact(compact) => maintenance::compact(&cluster, compact).await?,
        Command::Recover(recover) => recover::run(&cluster, recover).await?,
        Command::Tasks(tasks) => return tasks::run(&cluster, tasks).await,
        Command::Upgrade { command } => match command {
            UpgradeCommand::Status(status) => return upgrade::status(&cluster, status).await,
            UpgradeCommand::Pause(args) => return changed(args, Wish::Pause).await,
            UpgradeCommand::Resume(args) => return changed(args, Wish::Resume).await,
            UpgradeCommand::Acknowledge(args) => return changed(args, Wish::Acknowledge).await,
        },
        Command::Reconciliation { command } => match command {
            ReconciliationCommand::Trigger(args) => {
                return Box::pin(reconciliation::trigger(&cluster, args)).await;
            }
            ReconciliationCommand::Suspend(args) => return changed(args, Wish::Suspend).await,
            ReconciliationCommand::Resume(args) => return changed(args, Wish::Follow).await,
        },
        Command::ComponentProtection { command } => match command {
            ProtectionCommand::Add(args) => return changed(args, Wish::Protect).await,
            ProtectionCommand::Remove(args) => return changed(args, Wish::Unprotect).await,
        },
        Command::ListResources(of) => return Box::pin(resources::run(&cluster, of)).await,
        Command::Version(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_name_that_makes_the_plugin() {
        for (program, is) in [
            ("kubectl-druid", true),
            ("/usr/local/bin/kubectl-druid", true),
            ("kubectl-druid.exe", true),
            ("druid", false),
            ("/opt/kubectl-druid/druid", false),
        ] {
            assert_eq!(is_plugin(&[program.into()]), is, "{program}");
        }
        assert!(!is_plugin(&[]));
    }

    #[test]
    fn flags_of_the_connection_may_stand_anywhere() {
        let of = |line: &str| parse(line.split(' ').map(Into::into).collect()).unwrap();
        for line in [
            "kubectl-druid -n shoot --context c upgrade pause main",
            "kubectl-druid upgrade pause main --context=c --namespace shoot",
        ] {
            let Args {
                connection,
                command,
            } = of(line);
            assert_eq!(connection.namespace.as_deref(), Some("shoot"), "{line}");
            assert_eq!(connection.context.as_deref(), Some("c"), "{line}");
            assert!(matches!(
                command,
                Command::Upgrade {
                    command: UpgradeCommand::Pause(_)
                }
            ));
        }
    }

    #[test]
    fn what_makes_no_sense_is_not_read() {
        for line in [
            "kubectl-druid snapshot main",
            "kubectl-druid snapshot main --full --delta",
            "kubectl-druid snapshot main --delta --final",
            "kubectl-druid snapshot main --compacted --final",
            "kubectl-druid snapshot main --compacted --full",
            "kubectl-druid defrag",
            "kubectl-druid defrag main --revision 7",
            "kubectl-druid defrag main --timeout 1m",
            "kubectl-druid compact main --revision 7 --age 1h",
            "kubectl-druid compact main --revision 0",
            "kubectl-druid compact main --limit 5s",
            "kubectl-druid tasks main -l a=b",
            "kubectl-druid upgrade status main -A",
            "kubectl-druid upgrade pause shoot/main -A",
            "kubectl-druid doctor a/b/c",
            "kubectl-druid list-resources main -f nodes",
            "kubectl-druid version --short -o json",
            "kubectl-druid server",
        ] {
            let line: Vec<OsString> = line.split(' ').map(Into::into).collect();
            assert!(parse(line.clone()).is_err(), "{line:?}");
        }
    }
}
