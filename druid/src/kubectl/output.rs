//! Standard output for what was asked for, standard error for the rest.

use std::io::{self, IsTerminal as _, Write as _};

use druid_core::cli::Colours;
use serde::Serialize;

use super::args::Format;

/// The exit code of a program that was interrupted.
pub(super) const INTERRUPTED: u8 = 130;

/// Prints what was asked for. An error means that nobody reads on.
pub(super) fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end())?;
    out.flush()
}

/// Says something beside it.
pub(super) fn tell(text: &str) {
    // Nobody reads it: the exit code still tells.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints it for people or for programs. That nobody reads it changes nothing.
pub(super) fn show(rows: &impl Serialize, format: Format, text: impl FnOnce() -> String) {
    let made = match format {
        Format::Text => Ok(text()),
        Format::Json => serde_json::to_string_pretty(rows).map_err(|it| it.to_string()),
        Format::Yaml => serde_saphyr::to_string(rows).map_err(|it| it.to_string()),
    };
    match made {
        Ok(text) => drop(say(&text)),
        Err(error) => tell(&format!("error: it cannot be written so: {error}")),
    }
}

/// Prints a change for programs: a line of JSON, or a document of YAML. An error means that nobody reads on.
pub(super) fn document(row: &impl Serialize, format: Format) -> io::Result<()> {
    let made = match format {
        Format::Text | Format::Json => serde_json::to_string(row).map_err(|it| it.to_string()),
        Format::Yaml => serde_saphyr::to_string(row)
            .map(|it| format!("---\n{it}"))
            .map_err(|it| it.to_string()),
    };
    match made {
        Ok(text) => say(&text),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Asks a person, and reads a line. An error and the end of what is read are no answer.
pub(super) async fn ask(question: String) -> String {
    let asked = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        let asked = write!(io::stderr(), "{question} [y/N] ");
        match asked.and_then(|()| io::stdin().read_line(&mut answer)) {
            Ok(_) => answer,
            Err(_) => String::new(),
        }
    });
    asked.await.unwrap_or_default()
}

/// Whether a person can answer.
pub(super) fn is_answered() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Colours on a terminal, unless somebody does not want them (<https://no-color.org>).
pub(super) fn colours() -> Colours {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
    if is_live() && !unwanted {
        Colours::On
    } else {
        Colours::Off
    }
}

/// Whether standard output is a terminal that can move its cursor.
pub(super) fn is_live() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|it| it == "dumb" || it.is_empty());
    io::stdout().is_terminal() && !dumb
}
