//! `druid`: run, back up and upgrade etcd clusters, safely.

mod clock;
mod etcd;
mod observe;
mod preflight;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The exit code of a command line that makes no sense (`EX_USAGE`).
pub(crate) const USAGE: u8 = 64;

#[derive(Debug, Parser)]
#[command(name = "druid", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Preflight(Box<preflight::Args>),
}

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only if there is one already, which does as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Cli::parse().command {
        Command::Preflight(args) => preflight::run(*args).await,
    }
}
