//! The file that says how etcd was stopped (`exit_code` beside the data directory): the name of the
//! signal, as etcd-wrapper writes it. With it, a quick look at the data is enough.
//!
//! etcd-wrapper writes it when the signal comes. Ours waits until etcd, which was ready before, has
//! ended because of it: a stop that was cut short is not one in good order.

use crate::backup::initialize::Mode;

/// The signals that stop etcd in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, or a request to stop.
    Terminate,
    /// SIGINT.
    Interrupt,
}

impl Signal {
    /// What the file says.
    pub fn text(self) -> &'static str {
        match self {
            Self::Terminate => "terminated",
            Self::Interrupt => "interrupt",
        }
    }
}

/// How thoroughly the data has to be looked at. `None`: there is no such file.
pub fn mode(content: Option<&str>) -> Mode {
    match content.map(str::trim) {
        Some("terminated" | "interrupt") => Mode::Sanity,
        Some(_) | None => Mode::Full,
    }
}

/// The word for `mode=` of `/initialization/start`.
pub fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Sanity => "sanity",
        Mode::Full => "full",
    }
}

/// How etcd ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It returned this.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// What is left to say when etcd has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// What the file is to say, if there is to be one.
    pub marker: Option<Signal>,
    /// Our own exit code.
    pub code: u8,
}

/// SIGINT and SIGTERM, with which etcd ends itself when it has stopped in good order, unless it is
/// process 1, which ends with 0.
const IN_ORDER: [i32; 2] = [2, 15];

/// Judges an end. `asked`: how it was asked to stop; `ready`: whether it ever served.
pub fn farewell(end: End, asked: Option<Signal>, ready: bool) -> Farewell {
    let in_order = match end {
        End::Code(code) => code == 0,
        End::Signal(signal) => IN_ORDER.contains(&signal),
    };
    match (asked, end) {
        (Some(signal), _) if in_order => Farewell {
            marker: ready.then_some(signal),
            code: 0,
        },
        (_, End::Code(code)) => Farewell {
            marker: None,
            // An etcd that ends unasked has failed, whatever it says.
            code: u8::try_from(code)
                .ok()
                .filter(|code| *code != 0)
                .unwrap_or(1),
        },
        (_, End::Signal(signal)) => Farewell {
            marker: None,
            code: u8::try_from(signal.saturating_add(128)).unwrap_or(1),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_words_make_a_quick_look_and_all_else_a_thorough_one() {
        assert_eq!(mode(Some("terminated")), Mode::Sanity);
        assert_eq!(mode(Some("interrupt\n")), Mode::Sanity);
        for other in [None, Some(""), Some("killed"), Some("Terminated")] {
            assert_eq!(mode(other), Mode::Full, "{other:?}");
        }
        assert_eq!([word(Mode::Sanity), word(Mode::Full)], ["sanity", "full"]);
    }

    #[test]
    fn only_a_served_and_orderly_end_leaves_a_mark() {
        let term = Some(Signal::Terminate);
        for (end, asked, ready, marker, code) in [
            (End::Signal(15), term, true, term, 0),
            (
                End::Code(0),
                Some(Signal::Interrupt),
                true,
                Some(Signal::Interrupt),
                0,
            ),
            (End::Signal(15), term, false, None, 0),
            (End::Signal(9), term, true, None, 137),
            (End::Code(2), term, true, None, 2),
            (End::Code(0), None, true, None, 1),
            (End::Code(1), None, false, None, 1),
            (End::Code(300), None, true, None, 1),
            (End::Signal(15), None, true, None, 143),
        ] {
            let expected = Farewell { marker, code };
            assert_eq!(
                farewell(end, asked, ready),
                expected,
                "{end:?} {asked:?} {ready}"
            );
        }
    }
}
