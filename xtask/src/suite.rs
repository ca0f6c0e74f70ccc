//! `cargo xtask test`: everything that must pass before a change lands.
#![expect(clippy::print_stdout, reason = "what a developer command says")]

use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::command::{cargo, line, run as run_command};

/// More tests than this at a time, each with a cluster of etcd processes that sync to one disk,
/// measure each other.
const MOST_TESTS_AT_ONCE: usize = 4;

/// The stages, the quickest to fail first.
fn stages() -> [(&'static str, Command); 5] {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = format!("--test-threads={}", cores.clamp(1, MOST_TESTS_AT_ONCE));
    let mut doc = cargo(["doc", "--workspace", "--no-deps", "--locked", "--quiet"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    [
        ("format", cargo(["fmt", "--all", "--check"])),
        (
            "lints",
            cargo([
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--",
                "-D",
                "warnings",
            ]),
        ),
        // Tests would build it too, without a word for minutes.
        (
            "Kubernetes",
            cargo([
                "run",
                "--quiet",
                "--locked",
                "--package=xtask",
                "--",
                "cluster",
                "build",
            ]),
        ),
        // Always the whole workspace: a part of it would unify the features of the dependencies
        // differently and build them a second time.
        (
            "tests",
            cargo([
                "test",
                "--workspace",
                "--locked",
                "--no-fail-fast",
                "--",
                &threads,
            ]),
        ),
        ("documentation", doc),
    ]
}

/// Runs them all.
pub(crate) fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let began = Instant::now();
    for (name, mut command) in stages() {
        println!("== {name}: {}", line(&command));
        let stage_began = Instant::now();
        let status = run_command(command.stdin(Stdio::null()))?;
        let took = stage_began.elapsed().as_secs_f64();
        if !status.success() {
            println!(
                "== {name} failed after {took:.1} s; again: {}",
                line(&command)
            );
            return Ok(ExitCode::FAILURE);
        }
        println!("== {name} passed, {took:.1} s\n");
    }
    println!("== all passed, {:.0} s", began.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}
