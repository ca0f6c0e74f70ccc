//! Completion of `kubectl druid`: kubectl runs `kubectl_complete-druid` with the words after `druid`, the
//! last of which is yet to be completed, and reads what Cobra's completion prints: a line for each choice,
//! and a last one that says whether files are choices, too
//! (<https://github.com/kubernetes/kubernetes/blob/v1.34.0/staging/src/k8s.io/kubectl/pkg/cmd/plugin/plugin_completion.go>,
//! <https://github.com/spf13/cobra/blob/v1.9.1/site/content/completions/_index.md>).

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::builder::ValueHint;
use clap::{Arg, Command};

use super::args::ETCD;
use super::connect::Connection;

/// Files are choices.
const FILES: &str = ":0";
/// They are not.
const NO_FILES: &str = ":4";

/// What may stand in the place of the last word.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choices {
    /// These lines.
    These(String),
    /// Any Etcd, whose name begins so, where these values say.
    Etcds {
        begins: String,
        connection: Connection,
    },
}

/// The lines for Etcds, by how they are called: none is read as a file.
pub(super) fn etcds(called: impl IntoIterator<Item = String>) -> String {
    let lines = called.into_iter().map(|it| format!("{it}\n"));
    lines.collect::<String>() + NO_FILES + "\n"
}

/// The choices for the last word.
pub(super) fn choices(mut command: Command, words: &[OsString]) -> Choices {
    // Makes flags that are good everywhere known everywhere.
    command.build();
    let words: Vec<_> = words.iter().map(|it| it.to_string_lossy()).collect();
    let (last, before) = words
        .split_last()
        .map_or(("", &[][..]), |(last, before)| (last, before));
    let mut at = &command;
    let mut wants: Option<&Arg> = None;
    let mut connection = Connection::default();
    for word in before {
        if let Some(wanted) = wants.take() {
            connection.set(wanted.get_id().as_str(), word);
            continue;
        }
        if let Some((flag, value)) = word.strip_prefix("--").and_then(|it| it.split_once('=')) {
            connection.set(flag, value);
            continue;
        }
        wants = flag(at, word);
        if let Some(inner) = at.find_subcommand(word.as_ref()) {
            at = inner;
        }
    }
    let mut text = String::new();
    let mut choice = |name: &str, help: String| {
        if name.starts_with(last) {
            let _ = writeln!(text, "{name}\t{}", help.lines().next().unwrap_or_default());
        }
    };
    if let Some(wanted) = wants {
        for value in wanted.get_possible_values() {
            let help = value.get_help().map(ToString::to_string);
            choice(value.get_name(), help.unwrap_or_default());
        }
        // What a path is read into.
        let file = wanted.get_value_hint() == ValueHint::AnyPath;
        text += if file { FILES } else { NO_FILES };
        return Choices::These(text + "\n");
    }
    if last.starts_with('-') {
        for arg in at.get_arguments().filter(|it| !it.is_hide_set()) {
            let help = arg.get_help().map(ToString::to_string);
            if let Some(long) = arg.get_long() {
                choice(&format!("--{long}"), help.unwrap_or_default());
            }
        }
    } else {
        for inner in at.get_subcommands().filter(|it| !it.is_hide_set()) {
            let help = inner.get_about().map(ToString::to_string);
            choice(inner.get_name(), help.unwrap_or_default());
        }
        let mut named = at.get_positionals().filter_map(|it| it.get_value_names());
        if named.any(|it| it.iter().any(|it| it == ETCD)) {
            return Choices::Etcds {
                begins: last.to_owned(),
                connection,
            };
        }
    }
    Choices::These(text + NO_FILES + "\n")
}

/// The flag that a word is, if the next word is its value.
fn flag<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let (long, short) = (word.strip_prefix("--"), word.strip_prefix('-'));
    let named = |it: &&Arg| {
        let letter = it.get_short().map(String::from);
        long.is_some_and(|long| it.get_long() == Some(long))
            || short.is_some_and(|short| letter.as_deref() == Some(short))
    };
    let found = command.get_arguments().find(named)?;
    found.get_action().takes_values().then_some(found)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::super::Plugin;
    use super::*;

    /// The choices without their descriptions, and what the last line says.
    fn of(line: &str) -> (Vec<String>, String) {
        let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let Choices::These(text) = choices(Plugin::command(), &words) else {
            panic!("{line}: Etcds");
        };
        let mut lines: Vec<_> = text.lines().collect();
        let last = lines.pop().unwrap().to_owned();
        let name = |it: &str| it.split('\t').next().unwrap().to_owned();
        (lines.into_iter().map(name).collect(), last)
    }

    #[test]
    fn commands_flags_and_values_are_completed_where_they_may_stand() {
        for (line, choices, last) in [
            ("do", &["doctor"][..], NO_FILES),
            ("upgrade st", &["status"], NO_FILES),
            ("-n shoot upgrade pa", &["pause"], NO_FILES),
            ("--namespace=shoot upgrade pa", &["pause"], NO_FILES),
            ("doctor main --out", &["--output"], NO_FILES),
            ("doctor main -o ", &["text", "json", "yaml"], NO_FILES),
            ("doctor main --output j", &["json"], NO_FILES),
            ("list --output=json --all", &["--all-namespaces"], NO_FILES),
            // Flags of the connection may stand anywhere.
            ("upgrade pause --kubec", &["--kubeconfig"], NO_FILES),
            ("upgrade pause --kubeconfig ", &[], FILES),
            ("-n do", &[], NO_FILES),
        ] {
            let choices = choices.iter().map(ToString::to_string).collect();
            assert_eq!(of(line), (choices, last.to_owned()), "{line}");
        }
    }

    #[test]
    fn where_an_etcd_is_named_etcds_are_the_choices_wherever_they_are() {
        for (line, begins, asks) in [
            ("doctor ma", "ma", ""),
            ("doctor ", "", ""),
            ("doctor -o json shoot/", "shoot/", ""),
            ("upgrade pause main se", "se", ""),
            ("-n shoot defrag m", "m", "-n shoot"),
            (
                "--namespace=shoot recover --context c m",
                "m",
                "-n shoot --context c",
            ),
            ("list-resources --kubeconfig k m", "m", "--kubeconfig k"),
        ] {
            let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
            let asks = ["kubectl-druid"].into_iter().chain(asks.split_whitespace());
            let connection = Plugin::parse_from(asks.chain(["list"])).args.connection;
            let begins = begins.to_owned();
            let wanted = Choices::Etcds { begins, connection };
            assert_eq!(choices(Plugin::command(), &words), wanted, "{line}");
        }
    }

    #[test]
    fn without_a_word_all_commands_are_choices() {
        let (all, _) = of("");
        let Choices::These(none) = choices(Plugin::command(), &[]) else {
            panic!("Etcds");
        };
        for name in ["list", "doctor", "restore-plan", "snapshot", "upgrade"] {
            assert!(all.contains(&name.to_owned()), "{all:?}");
            assert!(none.contains(name), "{none}");
        }
        let Choices::These(described) = choices(Plugin::command(), &["lis".into()]) else {
            panic!("Etcds");
        };
        assert!(described.starts_with("list\tList Etcds"), "{described}");
    }
}
