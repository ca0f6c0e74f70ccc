//! `druid`: run, back up and upgrade etcd clusters, safely.

#[expect(dead_code, reason = "its commands are on their way")]
mod backup;
mod clock;
mod engine;
mod etcd;
mod lab;
mod load;
mod observe;
mod preflight;
mod read_at;
mod rehearse;
mod report;
#[expect(dead_code, reason = "its commands are on their way")]
mod store;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// The exit code of a command line that makes no sense (`EX_USAGE`): 2 is a verdict here.
pub(crate) const USAGE: u8 = 64;

/// Run, back up and upgrade etcd clusters, safely.
#[derive(Debug, Parser)]
#[command(name = "druid", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Preflight(Box<preflight::Args>),
    Rehearse(Box<rehearse::Args>),
    /// Print the completions of a shell.
    Completions {
        /// Which.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
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
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    if first
        .as_deref()
        .is_some_and(|first| first == rehearse::worker::NAME)
    {
        let state = args.next().unwrap_or_default();
        return match runtime.block_on(rehearse::worker::run(Path::new(&state))) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        };
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { 0 };
            // Nobody reads it: the exit code still tells.
            let _ = error.print();
            return code.into();
        }
    };
    match cli.command {
        Command::Preflight(args) => runtime.block_on(preflight::run(*args)),
        Command::Rehearse(args) => runtime.block_on(rehearse::run(*args)).into(),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "druid", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}

fn fail(why: &str) -> ExitCode {
    use std::io::Write as _;
    // Nobody reads it: the exit code still tells.
    let _ = writeln!(std::io::stderr(), "druid: {why}");
    ExitCode::FAILURE
}
