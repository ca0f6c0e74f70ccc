//! Where the etcd binaries are: crates of the dependency graph hold genuine builds of them.

use std::path::PathBuf;
use std::process::ExitCode;

use thiserror::Error;

use crate::command::{self, CommandError, cargo};

/// The release that has a manifest of its own.
const OWN_MANIFEST: (&str, &str) = ("3.6.15", "etcd/v3_6/Cargo.toml");

/// Why there is no path.
#[derive(Debug, Error)]
pub(crate) enum EtcdError {
    /// We do not have it.
    #[error("etcd {version} is not here; there are {}", known().join(", "))]
    Unknown { version: String },
    /// Not for this kind of machine.
    #[error("etcd {version}: {why}; use `druid rehearse --etcd {version}=PATH`")]
    Platform { version: &'static str, why: String },
    /// The other manifest could not be built.
    #[error(transparent)]
    Command(#[from] CommandError),
}

fn known() -> Vec<&'static str> {
    vec!["3.4.34", "3.5.27", OWN_MANIFEST.0]
}

/// The binaries that a rehearsal needs, with the release of each.
pub(crate) fn of_the_graph() -> Result<[(&'static str, PathBuf); 2], EtcdError> {
    let missing = |version, why: &dyn ToString| EtcdError::Platform {
        version,
        why: why.to_string(),
    };
    let old = etcd34::etcd_bin_path().map_err(|why| missing("3.4.34", &why))?;
    let new = etcd35::etcd_bin_path().map_err(|why| missing("3.5.27", &why))?;
    Ok([("3.4.34", old.to_owned()), ("3.5.27", new.to_owned())])
}

/// `--etcd VERSION=PATH` for each of them.
pub(crate) fn flags() -> Result<Vec<String>, EtcdError> {
    Ok(of_the_graph()?
        .iter()
        .map(|(version, path)| format!("--etcd={version}={}", path.display()))
        .collect())
}

fn path(version: &str) -> Result<PathBuf, EtcdError> {
    if version == OWN_MANIFEST.0 {
        let mut run = cargo([
            "run",
            "--quiet",
            "--locked",
            "--manifest-path",
            OWN_MANIFEST.1,
        ]);
        return Ok(PathBuf::from(command::output(&mut run)?.trim_end()));
    }
    of_the_graph()?
        .into_iter()
        .find(|(known, _)| *known == version)
        .map(|(_, path)| path)
        .ok_or_else(|| EtcdError::Unknown {
            version: version.to_owned(),
        })
}

/// `cargo xtask etcd`.
#[expect(clippy::print_stdout, reason = "the path is what was asked for")]
pub(crate) fn run(version: Option<&str>) -> Result<ExitCode, Box<dyn std::error::Error>> {
    if let Some(version) = version {
        println!("{}", path(version)?.display());
    } else {
        for version in known() {
            println!("{version} {}", path(version)?.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn each_binary_is_what_it_is_named_for() {
        for (version, path) in of_the_graph().unwrap() {
            let output = Command::new(path).arg("--version").output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                said.starts_with(&format!("etcd Version: {version}\n")),
                "{said}"
            );
        }
    }

    #[test]
    fn what_is_not_here_is_said_with_what_is() {
        let error = path("3.3.27").unwrap_err().to_string();
        assert_eq!(
            error,
            "etcd 3.3.27 is not here; there are 3.4.34, 3.5.27, 3.6.15"
        );
    }
}
