//! Debian packages, where there are any, and other programs of the system.

use std::path::Path;
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::cluster::process::search_path;

/// Why a program is not there. Tests that need it are skipped for the first two.
#[derive(Debug, Error)]
pub enum NoProgram {
    /// It would have to be installed.
    #[error("`{line}` fails, and only root can change that: install the package {package}")]
    NotRoot {
        /// What was tried.
        line: String,
        /// What has it.
        package: String,
    },
    /// No way to install it is known.
    #[error("`{line}` fails, and there is no apt-get: install what Debian has in {package}")]
    NoPackages {
        /// What was tried.
        line: String,
        /// What has it.
        package: String,
    },
    /// The package did not come, or did not help.
    #[error("`{line}` fails, and so does `{step}` ({why}): install the package {package}")]
    Install {
        /// What was tried.
        line: String,
        /// What was to help.
        step: &'static str,
        /// How it ended.
        why: String,
        /// What has it.
        package: String,
    },
}

/// Sees to it that a line of a shell succeeds, by installing a package if it does not.
///
/// # Errors
/// It cannot be installed here, or that did not help.
pub fn need(line: &str, package: &str) -> Result<(), NoProgram> {
    if run("sh", &["-c", line]).is_ok() {
        return Ok(());
    }
    let (here, owned) = (Path::new("."), || (line.to_owned(), package.to_owned()));
    if !rustix::process::geteuid().is_root() {
        let (line, package) = owned();
        return Err(NoProgram::NotRoot { line, package });
    }
    if !has_packages() {
        let (line, package) = owned();
        return Err(NoProgram::NoPackages { line, package });
    }
    let failed = |step| {
        let (line, package) = owned();
        move |why| NoProgram::Install {
            line,
            step,
            why,
            package,
        }
    };
    let install = ["install", "--yes", "--no-install-recommends", package];
    apt_get(here, &["update"]).map_err(failed("apt-get update"))?;
    apt_get(here, &install).map_err(failed("apt-get install"))?;
    run("sh", &["-c", line]).map_err(failed("the same after apt-get install"))
}

/// Whether packages can be had here.
pub(crate) fn has_packages() -> bool {
    is_there("apt-get")
}

/// Whether there is such a program.
pub(crate) fn is_there(program: &str) -> bool {
    std::env::split_paths(&search_path()).any(|it| it.join(program).is_file())
}

/// Runs apt-get without a word or a question. Why it failed is the last line it said.
pub(crate) fn apt_get(directory: &Path, words: &[&str]) -> Result<(), String> {
    let quiet = ["-qq", "-o", "DPkg::Lock::Timeout=300"];
    run_in(directory, "apt-get", &[&quiet[..], words].concat())
}

/// Runs a program to its end. Why it failed is the last line it said.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    run_in(Path::new("."), program, arguments)
}

/// The same in a directory.
pub(crate) fn run_in(directory: &Path, program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env("PATH", search_path())
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    Err(last.map_or_else(|| output.status.to_string(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_why_a_program_failed() {
        assert!(run("sh", &["-c", "exit 0"]).is_ok());
        let why = run("sh", &["-c", "echo one >&2; echo two >&2; exit 7"]).unwrap_err();
        assert_eq!(why, "two");
        assert_eq!(run("false", &[]).unwrap_err(), "exit status: 1");
    }
}
