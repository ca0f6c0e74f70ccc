//! `cargo xtask bench upgrade`: our roll against the naive one, alternately, on the same machine.
#![expect(clippy::print_stdout, reason = "what a developer command says")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::command::{self, CommandError, Profile, build_druid};
use crate::etcd;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Upgrade {
    /// How often each
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    repetitions: u64,
    /// The members of the cluster
    #[arg(long, default_value_t = 3)]
    members: u8,
    /// The seed of the first repetition; each one after it has the next
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write every measurement into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What else to pass to `druid rehearse`, to both
    #[arg(last = true)]
    args: Vec<String>,
}

/// Why there is no table.
#[derive(Debug, Error)]
enum BenchError {
    /// A run ended without a roll, or not well.
    #[error("`{line}` did not finish a roll ({outcome}):\n{said}")]
    NoRoll {
        line: String,
        outcome: String,
        said: String,
    },
    /// The report is not what we know.
    #[error("{}: {source}", path.display())]
    Report {
        path: PathBuf,
        source: serde_json::Error,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    /// A program did not run.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Which roll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Ours,
    Naive,
}

/// The part of report.json that is measured.
#[derive(Deserialize)]
struct Report {
    outcome: String,
    #[serde(default)]
    rolls: Vec<Roll>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Roll {
    longest_gap_ms: u64,
    gap_total_ms: u64,
    leader_changes: u64,
    duration_ms: u64,
}

#[derive(Default, Serialize)]
struct Measured {
    ours: Vec<Roll>,
    naive: Vec<Roll>,
}

type Figure = (&'static str, fn(&Roll) -> u64);

const FIGURES: [Figure; 4] = [
    ("longest write gap, ms", |roll| roll.longest_gap_ms),
    ("write gaps over 100 ms, total ms", |roll| roll.gap_total_ms),
    ("leader changes", |roll| roll.leader_changes),
    ("duration, ms", |roll| roll.duration_ms),
];

/// Measures, prints the table.
pub(crate) fn run(options: &Upgrade) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let etcd = etcd::flags()?;
    // What is measured shares two cores with druid's own load: let that cost as little as it can.
    let druid = build_druid(Profile::Release)?;
    let reports = tempfile::tempdir()?;
    let mut measured = Measured::default();
    for repetition in 0..options.repetitions {
        let seed = options.seed + repetition;
        // Which goes first alternates as well: a disk gets slower or faster with time.
        let order = if repetition.is_multiple_of(2) {
            [Way::Ours, Way::Naive]
        } else {
            [Way::Naive, Way::Ours]
        };
        for way in order {
            let into = reports.path().join(format!("{way:?}-{repetition}"));
            let mut rehearse = Command::new(&druid);
            rehearse
                .args(["rehearse", "--stop-after", "upgrade"])
                .args(["--members", &options.members.to_string()])
                .args(["--seed", &seed.to_string()])
                .arg("--report")
                .arg(&into)
                .args(&etcd)
                .args(&options.args);
            if way == Way::Naive {
                rehearse.arg("--naive-roll");
            }
            let roll = measure(&mut rehearse, &into)?;
            eprintln!(
                "{:>2}/{} {way:?}: {roll:?}",
                repetition + 1,
                options.repetitions
            );
            match way {
                Way::Ours => measured.ours.push(roll),
                Way::Naive => measured.naive.push(roll),
            }
        }
    }
    print!("{}", table(options, &measured));
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&measured)? + "\n";
        std::fs::write(path, json).map_err(|source| BenchError::File {
            path: path.clone(),
            source,
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(rehearse: &mut Command, into: &Path) -> Result<Roll, BenchError> {
    let output = rehearse
        .stdin(Stdio::null())
        .output()
        .map_err(|source| CommandError::Start {
            line: command::line(rehearse),
            source,
        })?;
    let no_roll = |outcome: String| BenchError::NoRoll {
        line: command::line(rehearse),
        outcome,
        said: String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout),
    };
    let path = into.join("report.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Err(no_roll(output.status.to_string()));
    };
    let report: Report =
        serde_json::from_str(&text).map_err(|source| BenchError::Report { path, source })?;
    match report.rolls.into_iter().next() {
        Some(roll) if report.outcome == "passed" => Ok(roll),
        Some(_) | None => Err(no_roll(report.outcome)),
    }
}

fn table(options: &Upgrade, measured: &Measured) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!(
        "\n{} members, 3.4.34 -> 3.5.27, {} repetitions each, {cores} cores, {} {}\n\n\
         | | ours, median | ours, worst | naive, median | naive, worst | naive / ours |\n\
         |---|--:|--:|--:|--:|--:|\n",
        options.members,
        options.repetitions,
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    for (name, figure) in FIGURES {
        let [ours, naive] = [&measured.ours, &measured.naive].map(|rolls| spread(rolls, figure));
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} |",
            half(ours.twice_median),
            ours.worst,
            half(naive.twice_median),
            naive.worst,
            ratio(naive.twice_median, ours.twice_median)
        );
    }
    text
}

/// A median may fall between two whole numbers; twice it does not.
#[derive(Debug, PartialEq, Eq)]
struct Spread {
    twice_median: u64,
    worst: u64,
}

fn spread(rolls: &[Roll], figure: fn(&Roll) -> u64) -> Spread {
    let mut values: Vec<u64> = rolls.iter().map(figure).collect();
    values.sort_unstable();
    let at = |index: usize| values.get(index).copied().unwrap_or(0);
    Spread {
        twice_median: at(values.len().saturating_sub(1) / 2) + at(values.len() / 2),
        worst: at(values.len().saturating_sub(1)),
    }
}

fn half(twice: u64) -> String {
    let point = if twice.is_multiple_of(2) { "" } else { ".5" };
    format!("{}{point}", twice / 2)
}

fn ratio(naive: u64, ours: u64) -> String {
    if ours == 0 {
        return "-".to_owned();
    }
    let tenths = (naive * 10 + ours / 2) / ours;
    format!("{}.{} x", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rolls(gaps: &[u64]) -> Vec<Roll> {
        gaps.iter()
            .map(|&longest_gap_ms| Roll {
                longest_gap_ms,
                gap_total_ms: 0,
                leader_changes: 1,
                duration_ms: 9000,
            })
            .collect()
    }

    #[test]
    fn the_median_and_the_worst() {
        let of = |gaps: &[u64]| spread(&rolls(gaps), |roll| roll.longest_gap_ms);
        assert_eq!(
            of(&[30, 10, 20]),
            Spread {
                twice_median: 40,
                worst: 30
            }
        );
        assert_eq!(
            of(&[41, 10, 20, 30]),
            Spread {
                twice_median: 50,
                worst: 41
            }
        );
        assert_eq!(
            of(&[7]),
            Spread {
                twice_median: 14,
                worst: 7
            }
        );
        assert_eq!((half(50).as_str(), half(51).as_str()), ("25", "25.5"));
        assert_eq!(
            (ratio(900, 40).as_str(), ratio(9, 0).as_str()),
            ("22.5 x", "-")
        );
    }

    #[test]
    fn only_a_passed_run_with_a_roll_is_measured() {
        let directory = tempfile::tempdir().unwrap();
        let roll = r#"{"longest_gap_ms":1,"gap_total_ms":2,"leader_changes":3,"duration_ms":4}"#;
        let measured = |outcome: &str, rolls: &str| {
            let report = format!(r#"{{"outcome":"{outcome}","rolls":[{rolls}],"seed":1}}"#);
            std::fs::write(directory.path().join("report.json"), report).unwrap();
            measure(&mut Command::new("true"), directory.path()).map_err(|error| error.to_string())
        };
        assert_eq!(measured("passed", roll).unwrap().gap_total_ms, 2);
        assert!(measured("failed", roll).unwrap_err().contains("(failed)"));
        assert!(
            measured("passed", "")
                .unwrap_err()
                .contains("did not finish a roll")
        );
        let nowhere = directory.path().join("nowhere");
        let error = measure(&mut Command::new("false"), &nowhere).unwrap_err();
        assert!(error.to_string().contains("`false`"), "{error}");
    }

    #[test]
    fn the_table_is_markdown() {
        let options = Upgrade {
            repetitions: 2,
            members: 3,
            seed: 1,
            json: None,
            args: vec![],
        };
        let measured = Measured {
            ours: rolls(&[40, 41]),
            naive: rolls(&[1500, 1700]),
        };
        let text = table(&options, &measured);
        assert!(
            text.contains("| longest write gap, ms | 40.5 | 41 | 1600 | 1700 | 39.5 x |\n"),
            "{text}"
        );
    }
}
