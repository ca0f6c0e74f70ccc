//! The certificate that the operator makes for its webhook: when a new one is made, who is told whom to
//! trust, and when a replica serves with it.
//!
//! Each certificate has an authority of its own, whose key is thrown away once it has signed: nobody can
//! make another one that is trusted. Three things happen, one after the other, and whoever dies in between
//! is followed by somebody who sees what is left to do:
//!
//! 1. A certificate is made and kept in a Secret, beside all authorities that are still to be trusted: its
//!    own, and those before it until they expire.
//! 2. The API server is told to trust these: they are written into the `ValidatingWebhookConfiguration`.
//! 3. Each replica serves with the new one when the API server has had time to hear of its authority. One
//!    that hears late serves with the one before, which is trusted as long as it is valid.
//!
//! Every replica does 1 and 2 by itself. Two that do it at the same time both write what they read, so that
//! one of them is refused, and looks again.

use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// The `ValidatingWebhookConfiguration` by which API servers call the operator.
pub const CONFIGURATION: &str = "druid-webhook";
/// The Secret with the certificate, in the namespace of the operator.
pub const SECRET: &str = "druid-webhook-tls";

/// Authorities that are kept at most: the latest.
const MOST: usize = 8;

/// How long certificates are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// From the moment when one is made.
    pub lifetime: SignedDuration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            lifetime: SignedDuration::from_hours(90 * 24),
        }
    }
}

impl Terms {
    /// So long before it expires, another one is made.
    fn early(self) -> SignedDuration {
        self.lifetime / 3
    }

    /// So long an API server may take to hear whom it is to trust.
    fn settle(self) -> SignedDuration {
        (self.lifetime / 15).min(SignedDuration::from_secs(30))
    }

    /// So far clocks may differ.
    fn slack(self) -> SignedDuration {
        SignedDuration::from_hours(1).min(self.lifetime)
    }

    /// From when and until when one is valid that is made now.
    pub fn validity(self, now: Timestamp) -> (Timestamp, Timestamp) {
        (
            now.saturating_sub(self.slack()).unwrap_or(Timestamp::MIN),
            later(now, self.lifetime),
        )
    }
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// A certificate that others are trusted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Authority {
    /// When it expires.
    pub expires: Timestamp,
    /// Its bytes.
    pub der: Vec<u8>,
}

/// A certificate as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Its bytes.
    pub certificate: Vec<u8>,
    /// When it expires.
    pub expires: Timestamp,
    /// The bytes of the authority that signed it.
    pub authority: Vec<u8>,
    /// The names that it is valid for, of those that it was asked about.
    pub names: BTreeSet<String>,
    /// Whom to trust.
    pub bundle: Vec<Authority>,
}

/// What is in the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// There is none.
    Missing,
    /// It is not the operator's.
    Foreign,
    /// It is the operator's and cannot be used, and why.
    Unusable(String),
    /// A certificate.
    Pair(Pair),
}

/// An entry of the `ValidatingWebhookConfiguration`: how an API server calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name that the certificate has to have.
    pub server: Option<String>,
    /// Whom it trusts.
    pub trusts: Vec<Authority>,
}

/// Why a certificate is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is none.
    Missing,
    /// The one that there is cannot be used.
    Unusable(String),
    /// It expires soon, or has.
    Expires(Timestamp),
    /// It is not valid for these names.
    Names(BTreeSet<String>),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is none"),
            Self::Unusable(why) => write!(f, "the one that there is cannot be used: {why}"),
            Self::Expires(when) => write!(f, "the one before expires at {when}"),
            Self::Names(names) => {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                write!(f, "the one before is not valid for {}", names.join(", "))
            }
        }
    }
}

/// Why nothing can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The Secret is somebody else's.
    Foreign,
    /// No API server is told to call.
    NobodyCalls,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => {
                "the Secret for the certificate of the webhook was not made by the operator, and is left \
                 alone: delete it, or rename it, and the operator makes one of its own"
            }
            Self::NobodyCalls => {
                "there is no ValidatingWebhookConfiguration of the operator's, so the API server does not \
                 ask whether objects may be changed: apply it, or set \
                 webhooks.etcdComponentProtection.enabled to false"
            }
        })
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make one with these names, and keep these authorities beside its own.
    Make {
        /// Why.
        why: Why,
        /// Its names.
        names: BTreeSet<String>,
        /// Authorities before it.
        before: Vec<Authority>,
    },
    /// Tell the API server whom to trust.
    Tell(Vec<Authority>),
    /// Nothing before then.
    Rest(Timestamp),
    /// Nothing, before something is heard.
    Stuck(Trouble),
}

/// What comes next, of what is kept and of who calls.
pub fn next(kept: &Kept, callers: &[Caller], now: Timestamp, terms: Terms) -> Step {
    if callers.is_empty() {
        return Step::Stuck(Trouble::NobodyCalls);
    }
    let names: BTreeSet<_> = callers.iter().filter_map(|it| it.server.clone()).collect();
    let pair = match kept {
        Kept::Foreign => return Step::Stuck(Trouble::Foreign),
        Kept::Missing => return make(Why::Missing, names, &[], callers, now, terms),
        Kept::Unusable(why) => {
            let why = Why::Unusable(why.clone());
            return make(why, names, &[], callers, now, terms);
        }
        Kept::Pair(pair) => pair,
    };
    let due = pair.expires.saturating_sub(terms.early());
    let due = due.unwrap_or(Timestamp::MIN);
    if due <= now {
        let why = Why::Expires(pair.expires);
        return make(why, names, &pair.bundle, callers, now, terms);
    }
    let missing: BTreeSet<_> = names.difference(&pair.names).cloned().collect();
    if !missing.is_empty() {
        let why = Why::Names(missing);
        return make(why, names, &pair.bundle, callers, now, terms);
    }
    let bundle: Vec<_> = valid(&pair.bundle, now).collect();
    if callers.iter().any(|it| ders(&it.trusts) != ders(&bundle)) {
        return Step::Tell(bundle);
    }
    let first = bundle.iter().map(|it| it.expires).min();
    Step::Rest(first.map_or(due, |first| first.min(due)))
}

fn make(
    why: Why,
    names: BTreeSet<String>,
    kept: &[Authority],
    callers: &[Caller],
    now: Timestamp,
    terms: Terms,
) -> Step {
    // What replicas serve with now may be in neither but the callers' trust. What is valid for longer
    // than any of ours is not ours.
    let ours = later(later(now, terms.lifetime), terms.slack());
    let trusted = callers.iter().flat_map(|it| &it.trusts);
    let all: BTreeSet<_> = kept.iter().chain(trusted).collect();
    let before = all.into_iter().rev();
    let before = before.filter(|it| it.expires > now && it.expires <= ours);
    Step::Make {
        why,
        names,
        before: before.take(MOST - 1).cloned().collect(),
    }
}

fn valid(bundle: &[Authority], now: Timestamp) -> impl Iterator<Item = Authority> {
    bundle.iter().filter(move |it| it.expires > now).cloned()
}

fn ders(bundle: &[Authority]) -> BTreeSet<&[u8]> {
    bundle.iter().map(|it| it.der.as_slice()).collect()
}

/// Whether every caller trusts this authority.
pub fn is_trusted(authority: &[u8], callers: &[Caller]) -> bool {
    let by = |it: &Caller| it.trusts.iter().any(|it| it.der == authority);
    callers.iter().all(by)
}

/// Whether a replica serves with what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It does already, or has to wait until something is heard.
    No,
    /// From now on.
    Now,
    /// Not before then.
    At(Timestamp),
}

/// Whether a replica changes to `kept`. `serves`: what it serves with, and until when that is valid.
/// `trusted`: since when all callers are known to trust the authority of `kept`.
pub fn change(
    serves: Option<(&[u8], Timestamp)>,
    kept: &Pair,
    trusted: Option<Timestamp>,
    now: Timestamp,
    terms: Terms,
) -> Change {
    match (serves, trusted) {
        (Some((certificate, _)), _) if certificate == kept.certificate => Change::No,
        (None, _) => Change::Now,
        (Some((_, expires)), _) if expires <= now => Change::Now,
        (Some(_), None) => Change::No,
        (Some(_), Some(since)) => match later(since, terms.settle()) {
            at if at <= now => Change::Now,
            at => Change::At(at),
        },
    }
}

/// The name by which a `clientConfig` of a webhook has the API server call, which the certificate has to
/// have.
pub fn server_name(client_config: &Value) -> Option<String> {
    let service = &client_config["service"];
    if let (Some(name), Some(namespace)) = (service["name"].as_str(), service["namespace"].as_str())
    {
        return Some(format!("{name}.{namespace}.svc"));
    }
    let url = client_config["url"].as_str()?.strip_prefix("https://")?;
    let authority = url.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next(),
        None => authority.split(':').next(),
    };
    host.filter(|it| !it.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests;
