//! The command line.

use std::time::Duration;

use clap::{ArgGroup, Subcommand, ValueEnum};
use druid_core::cli::{Filter, Given, Name};
use druid_core::duration::{DurationError, GoDuration};

use super::connect::Connection;
use crate::etcd::Endpoint;
use crate::members::Reach;

/// What stands for the name of an Etcd.
pub(super) const ETCD: &str = "ETCD";

/// Look at Etcds in a Kubernetes cluster, follow their upgrades, ask for snapshots.
///
/// An Etcd is named NAME, or NAMESPACE/NAME. Every command takes -o json and -o yaml.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Named kubectl-druid and in the PATH, this program is also `kubectl druid ...`.

Examples:
  kubectl druid list -A
  kubectl druid doctor main -n shoot
  kubectl druid restore-plan main -n shoot
  kubectl druid upgrade status -A -w
  kubectl druid upgrade pause main -n shoot
  kubectl druid reconciliation trigger main other/main --wait-till-ready
  kubectl druid list-resources main -n shoot
  kubectl druid snapshot main --full --wait
  kubectl druid compact main --age 1h --defrag --wait
  kubectl druid tasks -A -w")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) connection: Connection,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    List(ListArgs),
    /// Follow upgrades of etcd, and say when they go on.
    Upgrade {
        #[command(subcommand)]
        command: UpgradeCommand,
    },
    /// Say what stands against an upgrade, as far as the Kubernetes API shows.
    ///
    /// Looks at the Etcd (its spec, annotations, conditions, members, and what the operator says in
    /// status.upgrade), at its StatefulSet and at its pods. No member is asked and nothing is
    /// written: alarms, learners, authentication and equal data are judged by the operator before
    /// it begins, and by `druid preflight --endpoints`.
    #[command(after_long_help = "\
Exit codes: 0 nothing stands against it; 1 something does, or could not be found out.")]
    Preflight {
        #[command(flatten)]
        etcd: One,
        /// How to say it.
        #[arg(long, short, value_enum, default_value_t)]
        output: Format,
    },
    Doctor(Box<DoctorArgs>),
    RestorePlan(Box<RestorePlanArgs>),
    Snapshot(SnapshotArgs),
    Defrag(DefragArgs),
    Compact(CompactArgs),
    Recover(RecoverArgs),
    Tasks(TasksArgs),
    /// Have Etcds reconciled once, or not at all, or again.
    Reconciliation {
        #[command(subcommand)]
        command: ReconciliationCommand,
    },
    /// Protect what belongs to Etcds, or let others change it.
    ComponentProtection {
        #[command(subcommand)]
        command: ProtectionCommand,
    },
    ListResources(ListResourcesArgs),
    Version(VersionArgs),
}

/// One Etcd.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct One {
    /// The name of the Etcd: NAME, or NAMESPACE/NAME.
    #[arg(value_name = ETCD)]
    pub(super) name: Name,
}

/// Which Etcds.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Several {
    /// The names of Etcds: NAME, or NAMESPACE/NAME.
    #[arg(value_name = ETCD)]
    names: Vec<Name>,
    /// Those of all namespaces.
    #[arg(long, short = 'A', conflicts_with = "names")]
    all_namespaces: bool,
    /// Those with these labels, as kubectl selects.
    #[arg(long, short = 'l', conflicts_with = "names", value_name = "SELECTOR")]
    selector: Option<String>,
}

impl Several {
    /// What was written.
    pub(super) fn given(&self) -> Given {
        Given {
            names: self.names.clone(),
            all_namespaces: self.all_namespaces,
            selector: self.selector.clone(),
        }
    }
}

/// Which Etcds are changed.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ChangeArgs {
    #[command(flatten)]
    pub(super) etcds: Several,
    /// Do it to all that -A or a selector finds, without asking.
    #[arg(long, short)]
    pub(super) yes: bool,
    /// How to say it.
    #[arg(long, short, value_enum, default_value_t)]
    pub(super) output: Format,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum ReconciliationCommand {
    Trigger(TriggerArgs),
    /// Do nothing that a spec asks for, until it is resumed. The status goes on.
    #[command(after_long_help = CHANGED)]
    Suspend(ChangeArgs),
    /// Go on with what was suspended.
    #[command(after_long_help = CHANGED)]
    Resume(ChangeArgs),
}

/// Of commands that change Etcds.
const CHANGED: &str = "\
With -A or a selector the Etcds are named, and a person is asked; where no terminal is, --yes says it.

Exit codes: 0 it is so for each; 1 for one of them it is not. One that fails does not stop the others.";

#[derive(Clone, Debug, Subcommand)]
pub(super) enum ProtectionCommand {
    /// Let the webhook refuse what others change of what belongs to an Etcd.
    #[command(after_long_help = CHANGED)]
    Add(ChangeArgs),
    /// Let everybody who has the right change it.
    #[command(after_long_help = CHANGED)]
    Remove(ChangeArgs),
}

/// Have the operator reconcile Etcds once, whatever it does by itself.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
What is waited for: that the operator has taken the wish up, that the status is about the
present spec, and then that all pods are made from it and all members are ready.

Exit codes: 0 each was triggered and, if it was waited for, is as it should be; 1 one of them is
not. One that fails does not stop the others.

Examples:
  kubectl druid reconciliation trigger main
  kubectl druid reconciliation trigger main other/main --wait-till-ready --timeout 10m
  kubectl druid reconciliation trigger -A -l team=a --yes --watch")]
pub(super) struct TriggerArgs {
    #[command(flatten)]
    pub(super) change: ChangeArgs,
    /// Wait until all members are made from the present spec and ready.
    #[arg(long, short)]
    pub(super) wait_till_ready: bool,
    /// The same, and say meanwhile how far each is.
    #[arg(long, short = 'W')]
    pub(super) watch: bool,
    /// How long to wait.
    #[arg(long, short, default_value = "5m", value_name = "DURATION")]
    pub(super) timeout: GoDuration,
}

/// List what belongs to Etcds: pods, Services, volumes and so on.
///
/// What belongs to an Etcd has the label app.kubernetes.io/part-of with its name.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes: 0 all was listed; 1 something could not be. One that fails does not stop the others.

Examples:
  kubectl druid list-resources main
  kubectl druid list-resources main other/main -f pods,leases
  kubectl druid list-resources -A -o json")]
pub(super) struct ListResourcesArgs {
    #[command(flatten)]
    pub(super) etcds: Several,
    /// Which kinds, with commas between them, as kubectl knows them.
    #[arg(long, short, default_value = "all", value_name = "KINDS")]
    pub(super) filter: Filter,
    /// How to say it.
    #[arg(long, short, value_enum, default_value_t)]
    pub(super) output: RawFormat,
}

/// Say what this program is. Asks nobody.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct VersionArgs {
    /// Nothing but the version.
    #[arg(long)]
    pub(super) short: bool,
    /// How to say it.
    #[arg(long, short, value_enum, default_value_t, conflicts_with = "short")]
    pub(super) output: Format,
}

/// `--output` of a list of objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum RawFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// The same as YAML.
    Yaml,
    /// The objects themselves, without what Secrets hold.
    JsonRaw,
}

/// Look at one Etcd: what to do first, and all that is known of it.
///
/// Asks the API server for the Etcd, its pods, Leases, tasks and warnings, and for the Secrets with its
/// certificates, of which only the dates are read. What only members know (alarms, the size of databases, the
/// present revision) their sidecars say, through the API server: that takes the right to get `pods/proxy`. Nothing
/// is written. What may not be read is said to be not known, and is not taken for good.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes: 0 healthy; 3 there is something to do; 1 nothing to do was found, but something could not
be found out.

Examples:
  kubectl druid doctor main -n shoot

  Where the sidecars are not druid's, or do not answer, with what the members say themselves:
    kubectl port-forward -n shoot main-0 2379 &
    kubectl port-forward -n shoot main-1 22379:2379 &
    kubectl port-forward -n shoot main-2 32379:2379 &
    kubectl druid doctor main -n shoot --cacert ca.crt --cert client.crt --key client.key \\
      --endpoints https://localhost:2379,https://localhost:22379,https://localhost:32379")]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    pub(super) etcd: One,
    /// The client URL of every member, separated by commas: ask them, and not their sidecars.
    #[arg(long, value_delimiter = ',', value_name = "URL")]
    pub(super) endpoints: Vec<Endpoint>,
    #[command(flatten)]
    pub(super) reach: Reach,
    /// How to say it.
    #[arg(long, short, value_enum, default_value_t)]
    pub(super) output: Format,
}

/// Say what would be restored if an Etcd had to be restored from its backup now. Changes nothing.
///
/// Asks the sidecar beside the leading member what is in the store, through the API server: that takes the
/// right to get `pods/proxy`. Where none leads, as when the quorum is lost, another one restores the newest
/// backup on trial, which may take minutes, and tells how far that goes. Where none can be asked, the Leases
/// of snapshots say how far the backups reach, and no more. How much would be lost is known if a member answers.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes: 0 it can be restored, up to the newest backup; 3 there is no backup, or not all of it can be
used; 1 the store could not be looked at.

Examples:
  kubectl druid restore-plan main -n shoot
  kubectl druid restore-plan main -n shoot -o json")]
pub(super) struct RestorePlanArgs {
    #[command(flatten)]
    pub(super) etcd: One,
    /// The client URL of every member, separated by commas: ask them, and not their sidecars.
    #[arg(long, value_delimiter = ',', value_name = "URL")]
    pub(super) endpoints: Vec<Endpoint>,
    #[command(flatten)]
    pub(super) reach: Reach,
    /// How to say it.
    #[arg(long, short, value_enum, default_value_t)]
    pub(super) output: Format,
}

/// List Etcds: are they ready, what do they run, how are their backups and upgrades?
///
/// All of the namespace, unless something else is said.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) etcds: Several,
    /// How to say it.
    #[arg(long, short, value_enum, default_value_t)]
    pub(super) output: Format,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum UpgradeCommand {
    Status(StatusArgs),
    /// Let no further member be touched. A member in hand is finished first.
    #[command(after_long_help = CHANGED)]
    Pause(ChangeArgs),
    /// Let a paused upgrade go on.
    #[command(after_long_help = CHANGED)]
    Resume(ChangeArgs),
    /// Let a halted upgrade go on, once its cause is gone.
    ///
    /// What is acknowledged is the halt of the attempt that the status shows, and no later one.
    #[command(after_long_help = CHANGED)]
    Acknowledge(ChangeArgs),
}

/// Show how far upgrades are: a bar for each Etcd, and below it what is done now, or why it waits,
/// was refused or is halted. All Etcds of the namespace, unless something else is said.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) etcds: Several,
    /// Go on until interrupted: redraw on a terminal, otherwise print a line for each change, or one
    /// JSON or YAML document.
    #[arg(long, short)]
    pub(super) watch: bool,
    /// How to say it.
    #[arg(long, short, value_enum, default_value_t)]
    pub(super) output: Format,
}

/// Take a snapshot of a running cluster into its backup store.
///
/// Creates an `EtcdOpsTask`; the operator has it taken by the sidecar of a member.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes: 0 the task was created and, with --wait, has succeeded; 1 otherwise.

Examples:
  kubectl druid snapshot main --full --wait
  kubectl druid snapshot main --delta
  kubectl druid snapshot main --compacted --wait")]
#[command(group(ArgGroup::new("kind").required(true).args(["full", "delta", "compacted"])))]
#[expect(clippy::struct_excessive_bools, reason = "they are flags")]
pub(super) struct SnapshotArgs {
    #[command(flatten)]
    pub(super) etcd: One,
    /// Everything.
    #[arg(long)]
    pub(super) full: bool,
    /// What is new since the last snapshot.
    #[arg(long, conflicts_with = "full")]
    pub(super) delta: bool,
    /// Everything, made in the store of the last full snapshot and its deltas, by a Job. The members
    /// are not asked.
    #[arg(long)]
    pub(super) compacted: bool,
    /// Mark a full snapshot as the last one of this cluster.
    #[arg(long = "final", conflicts_with_all = ["delta", "compacted"])]
    pub(super) is_final: bool,
    #[command(flatten)]
    pub(super) waiting: Waiting,
}

/// Whether to wait for a task.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Waiting {
    /// Wait until it is over, and say what came of it.
    #[arg(long)]
    pub(super) wait: bool,
    /// How long to wait; the task goes on after that.
    #[arg(
        long,
        default_value = "30m",
        requires = "wait",
        value_name = "DURATION"
    )]
    pub(super) timeout: GoDuration,
    /// How to say it: the task as it is made, or with --wait as it ends.
    #[arg(long, short, value_enum, default_value_t)]
    pub(super) output: Format,
}

/// What compaction and defragmentation have in common.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct MaintenanceArgs {
    #[command(flatten)]
    pub(super) etcd: One,
    /// How long all of it may take; then it is given up.
    #[arg(long, default_value = "15m", value_name = "DURATION", value_parser = limit)]
    pub(super) limit: GoDuration,
    #[command(flatten)]
    pub(super) waiting: Waiting,
}

/// As the definition of a task has it.
fn limit(text: &str) -> Result<GoDuration, String> {
    let limit: GoDuration = text.parse().map_err(|it: DurationError| it.to_string())?;
    if limit.0 < Duration::from_secs(10) {
        return Err("less than 10s is too short for anything; write a longer one".to_owned());
    }
    Ok(limit)
}

/// Bring a cluster back that has lost its quorum for good.
///
/// Creates an `EtcdOpsTask`. The operator first sees that no member answers with a quorum behind it, and
/// lets a sidecar restore the backup on trial; otherwise nothing is changed. Then it stops all members and
/// asks what each of them holds. The one that is the most up to date goes on alone; if none reaches the
/// backup, the backup is restored. The others join that one, and what they held is moved aside on their
/// volumes. The status of the task says what the cluster began again with, and what could have been lost.
///
/// A member that is merely down comes back by itself: this is for members that do not.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes: 0 the task was created and, with --wait, has succeeded; 1 otherwise.

Examples:
  kubectl druid recover main --confirm --wait
  kubectl druid recover main --confirm --allow-data-loss --remove-volumes --wait")]
pub(super) struct RecoverArgs {
    #[command(flatten)]
    pub(super) etcd: One,
    /// Do it: all members are stopped, and what only lost members had is given up.
    #[arg(long)]
    pub(super) confirm: bool,
    /// Go on even without a backup that can be restored, and without members that do not say what they
    /// hold.
    #[arg(long)]
    pub(super) allow_data_loss: bool,
    /// Give new volumes to the members that join again.
    #[arg(long)]
    pub(super) remove_volumes: bool,
    /// How long the members may take to stop.
    #[arg(long, default_value = "1m", value_name = "DURATION", value_parser = limit)]
    pub(super) stop_timeout: GoDuration,
    /// How long a pod may take to come up, and then to restore the backup.
    #[arg(long, default_value = "3m", value_name = "DURATION", value_parser = limit)]
    pub(super) pod_timeout: GoDuration,
    /// How long the cluster may take to be whole after that.
    #[arg(long, default_value = "5m", value_name = "DURATION", value_parser = limit)]
    pub(super) ready_timeout: GoDuration,
    #[command(flatten)]
    pub(super) waiting: Waiting,
}

/// Give the free space of the members' databases back to their file systems.
///
/// Creates an `EtcdOpsTask`. The operator defragments one member after the other, only while all are
/// well; the leader is the last, after it has handed the leadership over. A member serves nothing
/// meanwhile. Those that have little to give back are left alone. If the alarm NOSPACE is raised and
/// there is room again in the end, it is cleared.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes: 0 the task was created and, with --wait, has succeeded; 1 otherwise.

Examples:
  kubectl druid defrag main --wait")]
pub(super) struct DefragArgs {
    #[command(flatten)]
    pub(super) common: MaintenanceArgs,
}

/// Forget the history of a cluster, up to what its backups cover.
///
/// Creates an `EtcdOpsTask`. What the backups do not cover yet is never compacted: the next delta
/// snapshot is made of it. Clients that watch from an older revision have to list again.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes: 0 the task was created and, with --wait, has succeeded; 1 otherwise.

Examples:
  kubectl druid compact main --wait
  kubectl druid compact main --age 1h --defrag --wait")]
pub(super) struct CompactArgs {
    #[command(flatten)]
    pub(super) common: MaintenanceArgs,
    /// Up to this revision.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    pub(super) revision: Option<i64>,
    /// Up to the newest revision that was backed up at least so long ago.
    #[arg(long, conflicts_with = "revision", value_name = "DURATION")]
    pub(super) age: Option<GoDuration>,
    /// Then let all members give back the space that is free.
    #[arg(long)]
    pub(super) defrag: bool,
}

/// List what the operator was asked to do: `EtcdOpsTask`s, and how far they are.
///
/// Those of all Etcds of the namespace, unless something else is said.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct TasksArgs {
    #[command(flatten)]
    pub(super) etcds: Several,
    /// Go on until interrupted: a line for each change, or one JSON or YAML document.
    #[arg(long, short)]
    pub(super) watch: bool,
    /// How to say it.
    #[arg(long, short, value_enum, default_value_t)]
    pub(super) output: Format,
}

/// `--output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// The same as YAML.
    Yaml,
}
