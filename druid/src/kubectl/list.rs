//! `kubectl druid list`.

use druid_core::cli::{Row, list};

use super::api::Which;
use super::args::ListArgs;
use super::connect::Cluster;
use super::error::KubectlError;
use super::output::{colours, show, tell};
use crate::clock;

pub(super) async fn run(cluster: &Cluster, args: &ListArgs) -> Result<(), KubectlError> {
    let which = if args.all_namespaces {
        Which::All
    } else {
        Which::Namespace
    };
    let found = cluster.found(which).await?;
    let sets = match cluster.stateful_sets(which).await {
        Ok(sets) => sets,
        Err(error) => {
            tell(&format!("warning: some versions are not known: {error}"));
            Vec::new()
        }
    };
    let rows = Row::all(&found, &sets);
    show(&rows, args.output, || list(&rows, clock::now(), colours()));
    if rows.is_empty() {
        cluster.tell_of_nothing(which);
    }
    Ok(())
}

impl Cluster {
    /// Says where there was nothing.
    pub(super) fn tell_of_nothing(&self, which: Which<'_>) {
        match which {
            Which::All => tell("no Etcds in any namespace"),
            Which::Namespace | Which::Named(_) => tell(&format!(
                "no Etcds in namespace {}; -A shows those of all",
                self.namespace
            )),
        }
    }
}
