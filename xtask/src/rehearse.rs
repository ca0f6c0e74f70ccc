//! `cargo xtask rehearse`: druid, with the etcd binaries of the dependency graph.

use std::process::{Command, ExitCode};

use crate::command::{Profile, become_it, build_druid};
use crate::{etcd, root};

/// Builds druid and becomes it.
///
/// The dev profile: whoever runs this for the first time waits for a build, which takes several
/// times as long with optimisation and link-time optimisation, and a rehearsal mostly waits for
/// etcd. The one part that computes, core, is optimised in both. `cargo xtask test` needs the same
/// build next.
pub(crate) fn run(args: &[String]) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let etcd = etcd::flags()?;
    let mut druid = Command::new(build_druid(Profile::Dev)?);
    druid.arg("rehearse").args(etcd).args(args);
    if !has_report(args) {
        druid.arg("--report").arg(root().join("target/rehearsal"));
    }
    Ok(become_it(druid)?)
}

fn has_report(args: &[String]) -> bool {
    args.iter()
        .any(|arg| arg == "--report" || arg.starts_with("--report="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_goes_where_the_user_says() {
        for (args, expected) in [
            (&["--members", "5"][..], false),
            (&["--report", "x"], true),
            (&["--seed=1", "--report=x"], true),
        ] {
            let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
            assert_eq!(has_report(&args), expected, "{args:?}");
        }
    }
}
