//! How the commands on stores say what they found: text or JSON on standard output, errors in one
//! line on standard error, a bar while it takes long.

use std::io::Write as _;
use std::process::ExitCode;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::report::terminal::Mode;
use crate::restore::database::Progress;

/// `--output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Prints JSON to standard output.
pub(super) fn json(value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value);
    say(&text.unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")));
}

/// Prints a line or several to standard output.
pub(super) fn say(text: &str) {
    // Nobody reads it: the exit code still tells.
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

/// Says what somebody should know of a command that did what it was asked for.
pub(super) fn warn(command: &str, what: &str) {
    let _ = writeln!(std::io::stderr(), "druid {command}: {what}");
}

/// Says why a command did not do what it was asked for.
pub(super) fn fail(command: &str, error: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "druid {command}: {error}");
    ExitCode::FAILURE
}

/// A bar that counts bytes, on a terminal; otherwise nothing.
pub(super) fn bar(bytes: Option<u64>) -> ProgressBar {
    if Mode::detect() != Mode::Live {
        return ProgressBar::hidden();
    }
    let (bar, template) = match bytes {
        Some(bytes) => (
            ProgressBar::new(bytes),
            "{msg:24} {bar:30} {bytes:>10} of {total_bytes} {bytes_per_sec:>12} {eta}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{msg:24} {spinner} {bytes:>10} {bytes_per_sec:>12}",
        ),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// A restore as it goes on: a bar on a terminal, a line for what somebody should know.
#[derive(Debug)]
pub(super) struct Shown(ProgressBar);

impl Shown {
    pub(super) fn start() -> Self {
        Self(bar(None))
    }

    pub(super) fn show(&mut self, what: &Progress<'_>) {
        match what {
            Progress::Base(_) => self.0.set_message("full snapshot"),
            Progress::Delta(_, number, all) => {
                self.0.set_message(format!("delta {number} of {all}"));
            }
            Progress::Bytes(more) => self.0.inc(*more),
            Progress::Damaged(key, why) => {
                let text = format!("passed over: {key}: {why}");
                self.0.suspend(|| {
                    let _ = writeln!(std::io::stderr(), "{text}");
                });
            }
        }
    }

    pub(super) fn end(self) {
        self.0.finish_and_clear();
    }
}
