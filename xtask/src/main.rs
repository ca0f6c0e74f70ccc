//! Developer commands. `cargo xtask --help` teaches them.

mod bench;
mod bench_backup;
mod bench_operator;
mod chaos;
mod command;
mod demo;
mod etcd;
mod fuzz;
mod install;
mod interrupts;
mod make_image;
mod mutants;
mod order;
mod rehearse;
mod suite;
mod target;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{cluster, goldens, root};

/// Developer commands of druid. None needs anything installed but Rust, and Go where Kubernetes is
/// concerned: etcd itself comes with the dependencies.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
#[command(after_help = "Start with `cargo xtask rehearse`.")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Upgrade a throwaway cluster of real etcd processes 3.4.34 -> 3.5.27, take it back, and
    /// upgrade it again
    ///
    /// Builds druid and runs `druid rehearse` with the etcd releases of the dependency graph. The
    /// report goes to target/rehearsal unless --report says otherwise. Exits as druid does:
    /// 0 passed, 1 could not be held, 2 failed, 3 refused, 4 halted or put back.
    ///
    /// `cargo xtask rehearse -- --members 5 --fault kill-leader` rehearses something else, and
    /// `cargo xtask rehearse -- --help` says what.
    Rehearse {
        /// What to pass to `druid rehearse`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Everything that must pass before a change lands: format, lints, tests, documentation
    ///
    /// CI runs the same and nothing else. Stops at the first stage that fails, with the command
    /// that repeats it. Tests start real etcd and kube-apiserver processes on free ports of
    /// 127.0.0.1.
    Test,
    /// Change the decision code in every small way and see whether the tests notice
    ///
    /// Runs cargo-mutants (installed into target/tools if need be) on core/src/upgrade,
    /// version.rs, preflight.rs and hashkv.rs. Fails if a mutant survives that
    /// core/mutants-accepted.txt does not give a reason for. Each mutant is a build and a run of the tests;
    /// `-- --shard 0/8` or `-- --file core/src/version.rs` does a part.
    Mutants {
        /// What to pass to cargo-mutants
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Try every parser of foreign bytes on inputs that nobody would write
    ///
    /// Names, deltas, snapshots and logs come from outside, damaged or worse. Each target is tried
    /// for --seconds with libFuzzer (cargo-fuzz is installed into target/tools if need be). An input that makes one
    /// fail is kept under fuzz/artifacts; make a test of it.
    Fuzz(fuzz::Fuzz),
    /// Measure, side by side, under the same load on this machine
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// A real Kubernetes on this machine, for trying things by hand
    ///
    /// With one node that runs pods, or as an API server alone.
    /// Its components are built from source with Go, which takes some minutes the first time.
    Cluster {
        #[command(subcommand)]
        what: cluster::cli::Cluster,
    },
    /// Make the container images: druid with etcd 3.4.34, and druid with etcd 3.5.27
    ///
    /// No container engine is needed. They go to target/image/druid.tar, which `docker load` and
    /// `podman load` take too, and to the node of the cluster that is up.
    Image(make_image::Image),
    /// Install the operator in the cluster that is up, or switch its feature gate
    ///
    /// A Deployment in the namespace druid-system, as deploy/ has it, with the images of `cargo xtask
    /// image` for the operator and for every member. They are made first if they were never; after a
    /// change `cargo xtask image` makes them anew, and `cargo xtask deploy` runs them. What is there
    /// is brought to what it should be, and waited for. `--gate on` takes all Etcds from 3.4.34 to
    /// 3.5.27, `--gate off` back.
    Deploy(install::Deploy),
    /// Show what the operator does, in the cluster that is up
    Demo {
        #[command(subcommand)]
        what: demo::Demo,
    },
    /// Let everything go wrong at once, on a node of its own, and see that no write is lost
    ///
    /// A cluster of three members, later five, is upgraded, taken back, snapshotted, defragmented and
    /// compacted under load, while members, sidecars, the operator and the API server are killed and
    /// hang, volumes are lost and full, networks part, and the object store fails. In the end no
    /// acknowledged write may be lost, the history must be linearizable, all members must hold the same
    /// data, and no task may be stuck. Needs root. Exits with 0 if all that is so, with 2 if not.
    Chaos(chaos::Chaos),
    /// Write the manifests in deploy/ anew, and the chart in charts/ but for its templates
    ///
    /// `kubectl apply --server-side --kustomize deploy` installs the operator anywhere, and so does Helm.
    /// A test says when they are not what the code says.
    Manifests,
    /// Find out which functions an idle `druid server` has called, and write druid/functions.txt anew
    ///
    /// The linker puts them next to each other, which is half of the memory of a sidecar. A list that is
    /// out of date costs memory and nothing else; `cargo xtask bench backup` shows how much. Needs
    /// valgrind (`apt-get install valgrind`), and takes some minutes.
    Order,
    /// Compare what we render with what etcd-druid v0.37.1 rendered for the same objects
    ///
    /// Prints every difference with the object, where in it, what they have and what we have, and exits
    /// with 1 if one is not meant (`core/src/render/deviations.rs`). The directory is laid out as
    /// core/tests/goldens is; Secrets in it are those of its README.
    Goldens(goldens::Goldens),
    /// Print where an etcd binary is: 3.4.34, 3.5.27 or 3.6.15
    ///
    /// For starting one by hand: `$(cargo xtask etcd 3.5.27) --version`.
    Etcd {
        /// Which release; all of them if left out
        version: Option<String>,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// Our roll against the one that a StatefulSet does
    ///
    /// Ours: followers first, the leader last and moved away before. The other: highest ordinal
    /// first, SIGTERM, wait for /readyz, the next. Both alternately, 3.4.34 -> 3.5.27, under the
    /// same load. Prints a table as it stands in BENCHMARKS.md.
    Upgrade(bench::Upgrade),
    /// Taking, restoring and compacting backups: seconds and memory
    ///
    /// The sizes are those that etcd-backup-restore was measured with. Prints a table as it stands in
    /// BENCHMARKS.md. Takes some minutes and 3 GB of disk.
    Backup(bench_backup::Backup),
    /// What many Etcds cost the operator: its writes, memory, and how soon it follows
    ///
    /// On an API server alone; this plays the part of the controllers and kubelets that are not there.
    /// Prints a table as it stands in BENCHMARKS.md. Takes about five minutes.
    Operator(bench_operator::Operator),
}

fn main() -> ExitCode {
    let done = match Args::parse().task {
        Task::Rehearse { args } => rehearse::run(&args),
        Task::Test => suite::run(),
        Task::Mutants { args } => mutants::run(&args),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Bench {
            what: Bench::Upgrade(options),
        } => bench::run(&options),
        Task::Bench {
            what: Bench::Backup(options),
        } => bench_backup::run(&options),
        Task::Bench {
            what: Bench::Operator(options),
        } => bench_operator::run(&options),
        Task::Cluster { what } => cluster::cli::run(&what),
        Task::Image(options) => make_image::run(&options),
        Task::Deploy(options) => install::run(&options),
        Task::Demo { what } => demo::run(&what),
        Task::Chaos(options) => chaos::run(&options),
        Task::Manifests => install::manifests(),
        Task::Order => order::run(),
        Task::Goldens(options) => goldens::run(&options),
        Task::Etcd { version } => etcd::run(version.as_deref()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("xtask: {error}");
        ExitCode::FAILURE
    })
}
