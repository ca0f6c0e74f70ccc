//! `druid preflight`: may this cluster, any cluster, be upgraded or taken back?

mod config;
mod output;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use druid_core::config_keys::Config;
use druid_core::preflight::{self, Ask, Verdict};
use druid_core::version::Version;
use thiserror::Error;

use crate::etcd::Endpoint;
use crate::members::{Members, MembersError, Reach};
use crate::observe;
use output::Report;

const EXAMPLES: &str = "\
Examples:
  May a local cluster go to 3.5.27?
    druid preflight --to 3.5.27 \\
      --endpoints http://127.0.0.1:2379,http://127.0.0.1:22379,http://127.0.0.1:32379

  The same with TLS and the members' configuration file, for a program:
    druid preflight --to 3.5.27 --endpoints https://etcd-0:2379,https://etcd-1:2379,https://etcd-2:2379 \\
      --cacert ca.crt --cert client.crt --key client.key --config etcd.yaml --output json

Exit status:
   0  allowed
   1  could not find out
   3  refused; every reason comes with its remedy
  64  the command line is wrong

Nothing is written to the cluster, unless --probe-writes is given.";

/// Check whether an etcd cluster may be upgraded, or taken back, to another release.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The client URL of every member, separated by commas
    #[arg(long, required = true, value_delimiter = ',', value_name = "URL")]
    endpoints: Vec<Endpoint>,
    /// The release to go to, for example 3.5.27
    #[arg(long, value_name = "VERSION")]
    to: Version,
    #[command(flatten)]
    reach: Reach,
    /// The members' configuration file; its keys are checked against both releases
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also write the key druid.gardener.cloud/probe through one member and read it through another
    #[arg(long)]
    probe_writes: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// A command line that cannot be carried out.
#[derive(Debug, Error)]
enum UsageError {
    #[error(transparent)]
    Members(#[from] MembersError),
    #[error(transparent)]
    Config(#[from] config::ConfigError),
}

struct Question {
    members: Members,
    ask: Ask,
}

/// Prints the answer, and gives the exit status that goes with it.
pub(crate) async fn run(args: Args) -> ExitCode {
    let question = match question(&args) {
        Ok(question) => question,
        Err(error) => {
            tell(&mut io::stderr(), &format!("error: {error}\n"));
            return ExitCode::from(crate::USAGE);
        }
    };
    let report = answer(question, args.reach.timeout, args.probe_writes).await;
    let text = match args.output {
        Output::Text => report.text(),
        Output::Json => report.json(),
    };
    tell(&mut io::stdout(), &text);
    ExitCode::from(match report.verdict {
        Verdict::Allowed => 0,
        Verdict::Unknown => 1,
        Verdict::Refused => 3,
    })
}

/// Whoever closed the pipe does not want to know.
fn tell(to: &mut dyn Write, text: &str) {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}

fn question(args: &Args) -> Result<Question, UsageError> {
    let members = Members::new(&args.endpoints, &args.reach)?;
    let config: Option<Config> = args.config.as_deref().map(config::read).transpose()?;
    Ok(Question {
        members,
        ask: Ask {
            to: args.to,
            config,
            allowed_mixed: None,
        },
    })
}

async fn answer(question: Question, deadline: Duration, probe_writes: bool) -> Report {
    let Question { members, ask } = question;
    let (members, seen) = members.survey(deadline).await;
    let (deep, saved) = tokio::join!(
        observe::deep(&members, &seen, deadline, probe_writes),
        observe::raft_snapshots(&members, deadline),
    );
    let mut found = preflight::judge(&ask, &seen.etcd, &deep);
    found
        .warnings
        .extend(preflight::raft_snapshot_warning(&saved));
    Report::new(ask.to, &seen.etcd, &found)
}

#[cfg(test)]
mod tests;
