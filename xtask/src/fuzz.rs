//! `cargo xtask fuzz`: does any input make a parser of foreign bytes panic, hang or disagree with
//! itself?
#![expect(clippy::print_stdout, reason = "what a developer command says")]

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use thiserror::Error;

use crate::command;
use crate::root;

/// The release of cargo-fuzz that `fuzz/` was made for.
const CARGO_FUZZ: &str = "0.13.2";

/// What `cargo xtask fuzz` takes.
#[derive(clap::Args)]
pub(crate) struct Fuzz {
    /// Which parser; all of them, one after another, if left out
    target: Option<String>,
    /// How long each is tried
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Why nothing was tried.
#[derive(Debug, Error)]
enum FuzzError {
    /// There is no such target.
    #[error("there is no fuzz target {name}; there are {}", known.join(", "))]
    Unknown { name: String, known: Vec<String> },
    /// The list of targets could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Targets {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// Runs the targets. Fails with the input that made one fail.
pub(crate) fn run(options: &Fuzz) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let known = targets()?;
    let chosen = match &options.target {
        None => known,
        Some(name) if known.contains(name) => vec![name.clone()],
        Some(name) => {
            let name = name.clone();
            return Err(FuzzError::Unknown { name, known }.into());
        }
    };
    let tool = command::installed("cargo-fuzz", CARGO_FUZZ)?;
    for target in chosen {
        println!("== {target}, {} s", options.seconds);
        let mut fuzz = Command::new(&tool);
        fuzz.current_dir(root().join("fuzz"))
            // Coverage needs flags of the compiler that are not stable; nothing else does.
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["fuzz", "run", "--sanitizer=none", "--fuzz-dir=.", &target])
            .args([
                "--",
                "-timeout=10",
                "-rss_limit_mb=2048",
                "-print_final_stats=1",
            ])
            .arg(format!("-max_total_time={}", options.seconds));
        let status = command::run(&mut fuzz)?;
        if !status.success() {
            println!("== {target} failed; the input is in fuzz/artifacts/{target}");
            return Ok(ExitCode::FAILURE);
        }
    }
    println!("== nothing was found");
    Ok(ExitCode::SUCCESS)
}

fn targets() -> Result<Vec<String>, FuzzError> {
    let path = root().join("fuzz/fuzz_targets");
    let failed = |source| FuzzError::Targets {
        path: path.clone(),
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        names.extend(file.file_stem().map(|it| it.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}
