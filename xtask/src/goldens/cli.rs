//! The command.
#![expect(clippy::print_stdout, reason = "what a developer command says")]

use std::path::PathBuf;
use std::process::ExitCode;

/// What to compare with.
#[derive(Debug, clap::Args)]
pub struct Goldens {
    /// A directory with folders gate-off, gate-on, gate-off-copy and gate-on-copy; those of the
    /// tests if left out
    directory: Option<PathBuf>,
}

/// Compares and says what differs.
///
/// # Errors
/// If something cannot be read.
pub fn run(options: &Goldens) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let directory = options
        .directory
        .clone()
        .unwrap_or_else(|| crate::root().join("core/tests/goldens"));
    let report = super::compare(&directory)?;
    for found in &report.differences {
        println!("{found}");
    }
    for (what, times) in &report.meant {
        println!("meant, {times} times: {what}");
    }
    println!(
        "{} objects of {} cases compared: {} differences",
        report.objects,
        report.cases,
        report.differences.len()
    );
    Ok(if report.differences.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
