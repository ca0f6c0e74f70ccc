//! `druid crds`: the definitions of the custom resources.

use std::io::Write as _;
use std::process::ExitCode;

use clap::ValueEnum;
use druid_core::api::Kind;
use thiserror::Error;

/// Print the custom resource definitions, for `kubectl apply --server-side -f -`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  druid crds | kubectl apply --server-side -f -
  druid crds etcds etcdopstasks")]
pub(crate) struct Args {
    /// Which; all of them if left out.
    #[arg(value_enum)]
    names: Vec<Name>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    #[value(alias = "etcd", alias = "etcds.druid.gardener.cloud")]
    Etcds,
    #[value(
        alias = "etcdcopybackupstask",
        alias = "etcdcopybackupstasks.druid.gardener.cloud"
    )]
    Etcdcopybackupstasks,
    #[value(
        alias = "etcdopstask",
        alias = "eot",
        alias = "etcdopstasks.druid.gardener.cloud"
    )]
    Etcdopstasks,
}

impl Name {
    fn kind(self) -> Kind {
        match self {
            Self::Etcds => Kind::Etcd,
            Self::Etcdcopybackupstasks => Kind::EtcdCopyBackupsTask,
            Self::Etcdopstasks => Kind::EtcdOpsTask,
        }
    }
}

/// Why they were not printed.
#[derive(Debug, Error)]
enum CrdsError {
    #[error("the types give no schema: {0}")]
    Schema(#[from] serde_json::Error),
    #[error("the schema cannot be written as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser_error::Error),
}

/// Prints YAML, a document for each.
pub(crate) fn run(args: &Args) -> ExitCode {
    let mut kinds: Vec<Kind> = args.names.iter().map(|name| name.kind()).collect();
    kinds.dedup();
    if kinds.is_empty() {
        kinds.extend(Kind::ALL);
    }
    let documents: Result<Vec<String>, CrdsError> = kinds
        .into_iter()
        .map(|kind| Ok(serde_saphyr::to_string(&kind.definition()?)?))
        .collect();
    match documents {
        Ok(documents) => {
            // Nobody reads it: the exit code still tells.
            let _ = write!(std::io::stdout(), "---\n{}", documents.join("---\n"));
            ExitCode::SUCCESS
        }
        Err(error) => crate::fail(&format!("crds: {error}")),
    }
}
