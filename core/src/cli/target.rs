//! Which Etcds a command is about, and whether somebody has to say yes first.

use std::str::FromStr;

use thiserror::Error;

use super::colour::clean;

/// So many Etcds are named in a question.
const NAMED: usize = 10;

/// An Etcd as people write it: `NAME`, or `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Its namespace, if it was written.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// Why something is no name of an Etcd.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("an Etcd is named NAME or NAMESPACE/NAME, of small letters, digits, `-` and `.`")]
pub struct NoName;

impl FromStr for Name {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text),
        };
        let letter = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit();
        let is_good = |it: &str| {
            it.bytes().all(|it| letter(it) || it == b'-' || it == b'.')
                && it.bytes().next().is_some_and(letter)
        };
        if !is_good(name) || !namespace.is_none_or(is_good) {
            return Err(NoName);
        }
        Ok(Self {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }
}

/// A namespace, and the name of an Etcd in it.
pub type Key = (String, String);

/// What was written on a command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Names.
    pub names: Vec<Name>,
    /// `--all-namespaces`.
    pub all_namespaces: bool,
    /// `--selector`.
    pub selector: Option<String>,
}

/// Which Etcds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// These, in order, each once.
    Named(Vec<Key>),
    /// Those that are found.
    Found(Scope),
}

/// Where Etcds are looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// The namespace; all of them without one.
    pub namespace: Option<String>,
    /// The labels that they have.
    pub selector: Option<String>,
}

/// Nothing says which Etcds are meant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "say which Etcds: NAME or NAMESPACE/NAME, several of them, -l SELECTOR for those with these labels, or -A \
     for those of all namespaces"
)]
pub struct NotChosen;

impl Given {
    /// Of a command that only looks: nothing means the namespace.
    pub fn to_look(self, namespace: &str) -> Targets {
        if !self.names.is_empty() {
            let key = |it: Name| {
                let namespace = it.namespace.unwrap_or_else(|| namespace.to_owned());
                (namespace, it.name)
            };
            let mut keys: Vec<_> = self.names.into_iter().map(key).collect();
            keys.sort();
            keys.dedup();
            return Targets::Named(keys);
        }
        Targets::Found(Scope {
            namespace: (!self.all_namespaces).then(|| namespace.to_owned()),
            selector: self.selector,
        })
    }

    /// Of a command that does something to each.
    ///
    /// # Errors
    /// If nothing was given.
    pub fn chosen(self, namespace: &str) -> Result<Targets, NotChosen> {
        if self == Self::default() {
            return Err(NotChosen);
        }
        Ok(self.to_look(namespace))
    }
}

impl Targets {
    /// The namespaces in question; one that is nothing is all of them.
    pub fn namespaces(&self) -> Vec<Option<String>> {
        match self {
            Self::Named(keys) => {
                let mut all: Vec<_> = keys.iter().map(|(it, _)| Some(it.clone())).collect();
                all.dedup();
                all
            }
            Self::Found(scope) => vec![scope.namespace.clone()],
        }
    }

    /// That there are none of them.
    pub fn nothing(&self) -> String {
        let scope = match self {
            Self::Named(_) => return "no Etcds".to_owned(),
            Self::Found(scope) => scope,
        };
        let labels = scope.selector.as_ref();
        let labels = labels.map_or_else(String::new, |it| format!(" with labels {it}"));
        clean(&match &scope.namespace {
            None => format!("no Etcds{labels} in any namespace"),
            Some(namespace) => {
                format!("no Etcds{labels} in namespace {namespace}; -A is those of all")
            }
        })
    }
}

/// Whether somebody has to say yes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Nobody has to: they were named, or `--yes` says it.
    Given,
    /// A person has to be asked this.
    Ask(String),
}

/// Nobody can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0} No terminal is there to answer: --yes does")]
pub struct Unanswered(pub String);

/// Whether what was found rather than named may be changed. `wish`: what is to be done to them. `yes`:
/// whether `--yes` was given. `terminal`: whether a person can answer.
///
/// # Errors
/// If nobody can be asked.
pub fn consent(
    wish: &str,
    targets: &Targets,
    keys: &[Key],
    yes: bool,
    terminal: bool,
) -> Result<Consent, Unanswered> {
    let found = match targets {
        Targets::Named(_) => false,
        Targets::Found(_) => !keys.is_empty(),
    };
    if yes || !found {
        return Ok(Consent::Given);
    }
    let mut names: Vec<_> = keys.iter().take(NAMED).map(said).collect();
    if keys.len() > NAMED {
        names.push(format!("and {} more", keys.len() - NAMED));
    }
    let names = names.join(", ");
    let question = match keys.len() {
        1 => format!("{wish} of 1 Etcd: {names}?"),
        all => format!("{wish} of {all} Etcds: {names}?"),
    };
    if terminal {
        Ok(Consent::Ask(question))
    } else {
        Err(Unanswered(question))
    }
}

/// Whether an answer is a yes.
pub fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}

/// `NAMESPACE/NAME`.
pub(crate) fn said((namespace, name): &Key) -> String {
    clean(&format!("{namespace}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str) -> Key {
        (namespace.to_owned(), name.to_owned())
    }

    fn given(names: &[&str]) -> Given {
        Given {
            names: names.iter().map(|it| it.parse().unwrap()).collect(),
            ..Given::default()
        }
    }

    #[test]
    fn a_name_may_have_its_namespace_before_it() {
        for bad in [
            "", "/", "a/", "/a", "a/b/c", "-A", "a b", "..", "../x", "Main",
        ] {
            assert_eq!(bad.parse::<Name>(), Err(NoName), "{bad}");
        }
        let both = given(&["main", "shoot/main", "other/x", "here/main", "main"]).to_look("here");
        let keys = vec![key("here", "main"), key("other", "x"), key("shoot", "main")];
        assert_eq!(both, Targets::Named(keys), "each once, in order");
        let namespaces = ["here", "other", "shoot"].map(|it| Some(it.to_owned()));
        assert_eq!(both.namespaces(), namespaces);
    }

    #[test]
    fn nothing_is_the_namespace_for_whoever_looks_and_no_choice_for_whoever_acts() {
        let here = Scope {
            namespace: Some("here".to_owned()),
            selector: None,
        };
        let nothing = Given::default();
        assert_eq!(nothing.clone().to_look("here"), Targets::Found(here));
        assert_eq!(nothing.chosen("here"), Err(NotChosen));
        assert!(NotChosen.to_string().contains("-A"));
        let labelled = Given {
            selector: Some("a=b".to_owned()),
            ..Given::default()
        };
        let Ok(Targets::Found(scope)) = labelled.clone().chosen("here") else {
            panic!("{labelled:?}");
        };
        assert_eq!(scope.namespace.as_deref(), Some("here"));
        let all = Given {
            all_namespaces: true,
            ..labelled
        };
        let all = all.chosen("here").unwrap();
        assert_eq!(all.namespaces(), [None]);
        assert_eq!(all.nothing(), "no Etcds with labels a=b in any namespace");
    }

    #[test]
    fn what_was_named_is_wanted_and_what_was_found_takes_a_yes() {
        let (wish, keys) = ("Pause the upgrade", [key("a", "x"), key("b", "y")]);
        let named = Targets::Named(keys.to_vec());
        let found = Targets::Found(Scope {
            namespace: None,
            selector: None,
        });
        let of = |targets, keys: &[Key], yes, terminal| consent(wish, targets, keys, yes, terminal);
        assert_eq!(of(&named, &keys, false, false), Ok(Consent::Given));
        assert_eq!(of(&found, &keys, true, false), Ok(Consent::Given));
        assert_eq!(of(&found, &[], false, false), Ok(Consent::Given));
        let question = "Pause the upgrade of 2 Etcds: a/x, b/y?".to_owned();
        let asked = of(&found, &keys, false, true);
        assert_eq!(asked, Ok(Consent::Ask(question)));
        let refused = of(&found, &keys, false, false).unwrap_err().to_string();
        assert!(refused.contains("a/x, b/y? No terminal"), "{refused}");
        let many: Vec<_> = (0..12).map(|at| key("n", &format!("e{at}"))).collect();
        let Ok(Consent::Ask(question)) = of(&found, &many, false, true) else {
            panic!("not asked");
        };
        assert!(question.ends_with("n/e9, and 2 more?"), "{question}");
    }

    #[test]
    fn only_a_yes_is_one() {
        let answers = ["y\n", "Yes", " y ", "n", "", "\n", "yep", "no"];
        let is = [true, true, true, false, false, false, false, false];
        assert_eq!(answers.map(is_yes), is);
    }
}
