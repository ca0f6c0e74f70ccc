//! `druid`: run, back up and upgrade etcd clusters, safely.

mod backup;
mod bulk;
mod chown;
mod clock;
mod crds;
mod data_dir;
mod engine;
mod etcd;
mod expiry;
mod kubectl;
mod lab;
mod load;
mod logging;
mod members;
mod memory;
mod observe;
mod operator;
mod preflight;
mod read_at;
mod rehearse;
mod report;
mod restore;
mod serve;
mod server;
mod stamp;
mod start_etcd;
mod store;
mod tools;
mod web;
mod witness;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use tokio::runtime::Builder;

/// The exit code of a command line that makes no sense (`EX_USAGE`): 2 is a verdict here.
pub(crate) const USAGE: u8 = 64;

/// How long threads may go on after the command is done.
const LEFTOVERS: std::time::Duration = std::time::Duration::from_secs(2);

/// Run, back up and upgrade etcd clusters, safely.
#[derive(Debug, Parser)]
#[command(name = "druid", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Operator(Box<operator::Args>),
    Preflight(Box<preflight::Args>),
    Rehearse(Box<rehearse::Args>),
    #[command(hide = true)]
    Bulk(bulk::Args),
    #[command(hide = true)]
    Load(load::command::Args),
    Server(Box<server::Args>),
    StartEtcd(Box<start_etcd::Args>),
    Inspect(Box<tools::inspect::Args>),
    Verify(Box<tools::verify::Args>),
    Snapshot(Box<tools::snapshot::Args>),
    Restore(Box<tools::restore::Args>),
    Compact(Box<tools::compact::Args>),
    Copy(Box<tools::copy::Args>),
    Crds(crds::Args),
    Kubectl(Box<kubectl::Args>),
    /// Print the completions of a shell for `druid`.
    ///
    /// kubectl completes `kubectl druid` by itself if this program is also named kubectl_complete-druid
    /// somewhere in the PATH.
    #[command(after_long_help = "\
Examples:
  druid completions bash > /etc/bash_completion.d/druid
  ln -s \"$(command -v druid)\" /usr/local/bin/kubectl_complete-druid")]
    Completions {
        /// Which.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_default();
    if Path::new(&program).ends_with(chown::NAME) {
        return chown::chown(args);
    }
    let first = args.next();
    if first
        .as_deref()
        .is_some_and(|first| first == lab::shim::NAME)
    {
        return lab::shim::shim(args);
    }
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        return fail("the TLS provider was installed twice");
    }
    if first
        .as_deref()
        .is_some_and(|first| first == rehearse::worker::NAME)
    {
        let state = args.next().unwrap_or_default();
        return on(async {
            match Box::pin(rehearse::worker::run(Path::new(&state))).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error.to_string()),
            }
        });
    }
    if first
        .as_deref()
        .is_some_and(|first| first == "server" || first == "operator")
    {
        memory::give_back();
    }
    let line: Vec<_> = std::env::args_os().collect();
    if kubectl::is_completion(&line) {
        return on(kubectl::complete(&line));
    }
    let (line, ignored) = command_line(line);
    let command = match parse(line) {
        Ok(command) => command,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { 0 };
            // Nobody reads it: the exit code still tells.
            let _ = error.print();
            return code.into();
        }
    };
    match command {
        Command::Preflight(args) => on(preflight::run(*args)),
        Command::Rehearse(args) => on(async { rehearse::run(*args).await.into() }),
        Command::Inspect(args) => on(tools::inspect::run(*args)),
        Command::Verify(args) => on(tools::verify::run(*args)),
        Command::Snapshot(args) => on(tools::snapshot::run(*args)),
        Command::Restore(args) => on(tools::restore::run(*args)),
        Command::Compact(args) => on(tools::compact::run(*args)),
        Command::Copy(args) => on(tools::copy::run(*args)),
        Command::Crds(args) => crds::run(&args),
        Command::Operator(args) => on(operator::run(*args)),
        Command::Kubectl(args) => on(kubectl::run(*args)),
        Command::Load(args) => on(load::command::run(args)),
        Command::Bulk(args) => on(bulk::run(args)),
        Command::Server(args) => on(server::run(*args, ignored)),
        Command::StartEtcd(args) => on(start_etcd::run(*args)),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "druid", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}

/// What runs for long reads no flags but its own: those of all commands are a lot of memory.
#[derive(Debug, Parser)]
#[command(name = "druid", version, max_term_width = 100)]
struct Long {
    #[command(subcommand)]
    command: LongCommand,
}

#[derive(Debug, Subcommand)]
enum LongCommand {
    Operator(Box<operator::Args>),
    Server(Box<server::Args>),
    StartEtcd(Box<start_etcd::Args>),
}

fn parse(line: Vec<OsString>) -> Result<Command, clap::Error> {
    if kubectl::is_plugin(&line) {
        return Ok(Command::Kubectl(Box::new(kubectl::parse(line)?)));
    }
    match line.get(1).and_then(|name| name.to_str()) {
        Some("operator" | "server" | "start-etcd") => {
            Ok(match Long::try_parse_from(line)?.command {
                LongCommand::Operator(args) => Command::Operator(args),
                LongCommand::Server(args) => Command::Server(args),
                LongCommand::StartEtcd(args) => Command::StartEtcd(args),
            })
        }
        Some(_) | None => Ok(Cli::try_parse_from(line)?.command),
    }
}

/// The commands that take another program's place take its command line too. Also returns which flags
/// have no effect.
fn command_line(all: Vec<OsString>) -> (Vec<OsString>, Vec<&'static str>) {
    let command = all.get(1).and_then(|name| name.to_str());
    match command {
        Some("start-etcd") => (start_etcd::argv(all), Vec::new()),
        Some("server") => server::argv(all),
        Some(_) | None => (all, Vec::new()),
    }
}

/// All that waits does so on one thread: nothing here computes for long but what has a thread of its
/// own, and a scheduler for many would be a large part of what a server that is idle has in memory.
fn on(command: impl Future<Output = ExitCode>) -> ExitCode {
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(command);
            // What blocks, and nobody waits for any more, does not hold up the end.
            runtime.shutdown_timeout(LEFTOVERS);
            code
        }
        Err(error) => fail(&format!("cannot start: {error}")),
    }
}

fn fail(why: &str) -> ExitCode {
    use std::io::Write as _;
    // Nobody reads it: the exit code still tells.
    let _ = writeln!(std::io::stderr(), "druid: {why}");
    ExitCode::FAILURE
}
