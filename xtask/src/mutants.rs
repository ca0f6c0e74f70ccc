//! `cargo xtask mutants`: does some test notice when a decision changes?
#![expect(clippy::print_stdout, reason = "what a developer command says")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use thiserror::Error;

use crate::command::{self, CommandError};
use crate::root;

/// The release of cargo-mutants that the accepted list was made with.
const CARGO_MUTANTS: &str = "27.1.0";

/// The code that decides.
const DECISIONS: [&str; 4] = [
    "core/src/upgrade/**/*.rs",
    "core/src/version.rs",
    "core/src/preflight.rs",
    "core/src/hashkv.rs",
];

const ACCEPTED: &str = "core/mutants-accepted.txt";

/// Why there is no answer.
#[derive(Debug, Error)]
enum MutantsError {
    /// The accepted list gives no reason.
    #[error("{ACCEPTED} line {line}: `{mutant}` has no reason; indent one below it")]
    NoReason { line: usize, mutant: String },
    /// The accepted list has a reason for nothing.
    #[error("{ACCEPTED} line {line}: a reason without a mutant above it")]
    NoMutant { line: usize },
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The tests fail without any mutant, or cargo-mutants itself failed.
    #[error("cargo-mutants could not do its work (exit code {code}); see above")]
    NoWork { code: i32 },
    /// A program did not run.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Runs cargo-mutants and names the survivors.
pub(crate) fn run(args: &[String]) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let accepted = accepted(&read_or_empty(&root().join(ACCEPTED))?)?;
    let found = root().join("target/mutants");
    let mut mutants = Command::new(command::installed("cargo-mutants", CARGO_MUTANTS)?);
    mutants
        .args([
            "mutants",
            "--package",
            "druid-core",
            "--no-shuffle",
            "--colors",
            "never",
        ])
        .args(["--timeout", "300", "--output"])
        .arg(&found)
        .current_dir(root());
    // Two copies of so small a crate keep two cores busy; more would fight for memory.
    let jobs = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(4);
    mutants.arg("--jobs").arg(jobs.to_string());
    if !args
        .iter()
        .any(|arg| arg.starts_with("--file") || arg == "-f")
    {
        mutants.args(DECISIONS.map(|files| format!("--file={files}")));
    }
    mutants.args(args);
    // A mutant is built more often than it is run: unoptimised is faster in all. The exhaustive
    // search would take a minute of each, and what it finds the tests of the single rules find too.
    mutants.args([
        "--cargo-arg=--config",
        "--cargo-arg=profile.dev.package.druid-core.opt-level=0",
        "--",
        "--lib",
        "--test=words",
    ]);
    println!("== {}", command::line(&mutants));
    // 0: all caught, 2: some survived, 3: some ran into the time limit, which is being caught.
    let code = command::run(&mut mutants)?.code().unwrap_or(-1);
    if ![0, 2, 3].contains(&code) {
        return Err(MutantsError::NoWork { code }.into());
    }
    let missed = read_or_empty(&found.join("mutants.out/missed.txt"))?;
    Ok(verdict(&missed, &accepted))
}

fn verdict(missed: &str, accepted: &BTreeMap<String, String>) -> ExitCode {
    let (known, new): (Vec<&str>, Vec<&str>) = missed
        .lines()
        .partition(|mutant| accepted.contains_key(&without_place(mutant)));
    for mutant in &known {
        println!(
            "accepted: {mutant}\n    {}",
            accepted[&without_place(mutant)]
        );
    }
    for mutant in &new {
        println!("SURVIVED: {mutant}");
    }
    println!(
        "== {} survived, {} of them accepted",
        known.len() + new.len(),
        known.len()
    );
    if new.is_empty() {
        ExitCode::SUCCESS
    } else {
        println!("write a test that fails for each, or its reason into {ACCEPTED}");
        ExitCode::FAILURE
    }
}

/// `core/src/a.rs:12:5: replace x` is `core/src/a.rs: replace x`: lines move.
fn without_place(mutant: &str) -> String {
    let Some((place, what)) = mutant.split_once(": ") else {
        return mutant.to_owned();
    };
    let file = place.split(':').next().unwrap_or(place);
    format!("{file}: {what}")
}

/// The accepted list: a mutant per line, its reason indented below it, `#` for remarks.
fn accepted(text: &str) -> Result<BTreeMap<String, String>, MutantsError> {
    let mut list: BTreeMap<String, String> = BTreeMap::new();
    let mut above: Option<(usize, String)> = None;
    for (at, line) in text.lines().enumerate() {
        let at = at + 1;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with(char::is_whitespace) {
            let (_, mutant) = above.as_ref().ok_or(MutantsError::NoMutant { line: at })?;
            let reason = list.entry(mutant.clone()).or_default();
            if !reason.is_empty() {
                reason.push(' ');
            }
            reason.push_str(line.trim());
        } else {
            must_have_reason(above.take(), &list)?;
            above = Some((at, without_place(line.trim_end())));
        }
    }
    must_have_reason(above, &list)?;
    Ok(list)
}

fn must_have_reason(
    above: Option<(usize, String)>,
    list: &BTreeMap<String, String>,
) -> Result<(), MutantsError> {
    match above {
        Some((line, mutant)) if !list.contains_key(&mutant) => {
            Err(MutantsError::NoReason { line, mutant })
        }
        Some(_) | None => Ok(()),
    }
}

fn read_or_empty(path: &Path) -> Result<String, MutantsError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(MutantsError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_belongs_to_the_mutant_above_it_wherever_that_stands() {
        let list = accepted(
            "# remark\na.rs:1:2: replace x with y\n    because\n    of this\n\nb.rs: z\n  so\n",
        )
        .unwrap();
        assert_eq!(list["a.rs: replace x with y"], "because of this");
        assert_eq!(list["b.rs: z"], "so");
        assert_eq!(
            verdict("a.rs:77:1: replace x with y\n", &list),
            ExitCode::SUCCESS
        );
        assert_eq!(
            verdict("a.rs:77:1: replace x with z\n", &list),
            ExitCode::FAILURE
        );
    }

    #[test]
    fn a_list_without_reasons_is_not_accepted() {
        for (text, expected) in [
            ("a.rs: x\n", "line 1: `a.rs: x` has no reason"),
            (
                "a.rs: x\nb.rs: y\n  so\n",
                "line 1: `a.rs: x` has no reason",
            ),
            ("\n  so\n", "line 2: a reason without"),
        ] {
            let error = accepted(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
