//! Command lines as Go programs take them, brought to the one form that ours takes.

use std::ffi::OsString;

/// A flag that is accepted and has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Without dashes.
    pub name: &'static str,
    /// Whether the next argument is its value, if it has no `=`.
    pub takes_value: bool,
}

/// A command line without the flags that have no effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sifted {
    /// What is left, in order.
    pub kept: Vec<OsString>,
    /// The names of the flags that were there.
    pub ignored: Vec<&'static str>,
}

/// Go's `flag` package takes one dash or two; ours takes two.
pub fn two_dashes(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    args.into_iter()
        .map(|arg| {
            let single = arg.to_str().is_some_and(|text| {
                let mut letters = text.chars();
                letters.next() == Some('-')
                    && letters
                        .next()
                        .is_some_and(|second| second.is_ascii_alphabetic())
                    && letters.next().is_some()
            });
            if single {
                let mut two = OsString::from("-");
                two.push(arg);
                two
            } else {
                arg
            }
        })
        .collect()
}

/// Takes out what is to be ignored.
pub fn sift(args: impl IntoIterator<Item = OsString>, ignore: &[Ignored]) -> Sifted {
    let mut sifted = Sifted::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let name = arg.to_str().and_then(|text| text.strip_prefix("--"));
        let (name, has_value) = match name.map(|text| text.split_once('=')) {
            Some(Some((name, _))) => (Some(name), true),
            Some(None) => (name, false),
            None => (None, false),
        };
        match ignore.iter().find(|flag| Some(flag.name) == name) {
            None => sifted.kept.push(arg),
            Some(flag) => {
                sifted.ignored.push(flag.name);
                if flag.takes_value && !has_value {
                    args.next();
                }
            }
        }
    }
    sifted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn one_dash_is_made_two_and_short_flags_and_values_stay() {
        let given = "-etcd-client-port=2379 --etcd-wrapper-port 9095 -h -1 - x-y";
        let made = "--etcd-client-port=2379 --etcd-wrapper-port 9095 -h -1 - x-y";
        assert_eq!(two_dashes(words(given)), words(made));
    }

    #[test]
    fn ignored_flags_go_with_their_values_and_nothing_else_does() {
        let ignore = [
            Ignored {
                name: "name",
                takes_value: true,
            },
            Ignored {
                name: "profile",
                takes_value: false,
            },
        ];
        let sifted = sift(
            words("--name a --name=b --profile c --named d -p 1"),
            &ignore,
        );
        assert_eq!(sifted.kept, words("c --named d -p 1"));
        assert_eq!(sifted.ignored, ["name", "name", "profile"]);
    }
}
