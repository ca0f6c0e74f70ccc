//! Colours, and text that does nothing to a terminal.

use crate::upgrade::ShownPhase;

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// There are.
    On,
    /// Plain text.
    Off,
}

/// What a word means to whoever reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// A fact.
    Plain,
    /// As it should be.
    Good,
    /// Being worked on.
    Busy,
    /// Something or somebody is waited for.
    Held,
    /// A person has to look.
    Bad,
}

impl Tone {
    /// How a phase reads. One that this release does not know is a fact.
    pub(crate) fn of(phase: Option<&str>) -> Self {
        match phase.and_then(ShownPhase::read) {
            None => Self::Plain,
            Some(ShownPhase::Succeeded) => Self::Good,
            Some(
                ShownPhase::Preflight
                | ShownPhase::Snapshot
                | ShownPhase::Rolling
                | ShownPhase::Finalizing,
            ) => Self::Busy,
            Some(
                ShownPhase::PuttingBack
                | ShownPhase::Refused
                | ShownPhase::Waiting
                | ShownPhase::Paused,
            ) => Self::Held,
            Some(ShownPhase::RolledBack | ShownPhase::Blocked) => Self::Bad,
        }
    }

    /// The text in its colour.
    pub(crate) fn paint(self, text: &str, colours: Colours) -> String {
        let code = match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Busy => Some("36"),
            Self::Held => Some("33"),
            Self::Bad => Some("31"),
        };
        match (code, colours) {
            (Some(code), Colours::On) if !text.is_empty() => {
                format!("\u{1b}[{code}m{text}\u{1b}[0m")
            }
            (Some(_) | None, Colours::On | Colours::Off) => text.to_owned(),
        }
    }
}

/// On one line, without control characters.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|it| if it.is_control() { ' ' } else { it })
        .collect()
}
