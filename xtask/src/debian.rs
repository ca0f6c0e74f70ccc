//! Debian packages, where there are any, and other programs of the system.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::cluster::process::search_path;

/// Whether packages can be had here.
pub fn has_packages() -> bool {
    is_there("apt-get")
}

/// Whether there is such a program.
pub fn is_there(program: &str) -> bool {
    std::env::split_paths(&search_path()).any(|it| it.join(program).is_file())
}

/// Runs apt-get without a word or a question. Why it failed is the last line it said.
pub fn apt_get(directory: &Path, words: &[&str]) -> Result<(), String> {
    let quiet = ["-qq", "-o", "DPkg::Lock::Timeout=300"];
    run_in(directory, "apt-get", &[&quiet[..], words].concat())
}

/// Runs a program to its end. Why it failed is the last line it said.
pub fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
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
