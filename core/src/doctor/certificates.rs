//! When certificates expire.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::Gap;
use super::finding::{Finding, How};
use crate::api::Time;
use crate::observed::Answered;
use crate::status::Sought;

/// A place with certificates, as it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The Secret.
    pub secret: String,
    /// The key in it.
    pub key: String,
    /// When they expire: the first of one's own, the last authority. `None`: what is there is no
    /// certificate. `Missing`: there is no such Secret.
    pub expires: Sought<Option<Timestamp>>,
}

/// When certificates in one place expire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expiry {
    /// The Secret.
    pub secret: String,
    /// The key in it.
    pub key: String,
    /// When.
    pub expires: Answered<Time>,
}

/// A certificate that expires within this has to be renewed, as the alert has it.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

impl Certificate {
    pub(super) fn expiry(&self) -> Expiry {
        let unknown = |why: &str| Answered::Unknown(why.to_owned());
        Expiry {
            secret: self.secret.clone(),
            key: self.key.clone(),
            expires: match &self.expires {
                Sought::Found(Some(at)) => Answered::Known(Time::seconds(*at)),
                Sought::Found(None) => unknown("there is no certificate in it"),
                Sought::Missing => unknown("there is no such Secret"),
                Sought::Unknown(why) => unknown(why),
            },
        }
    }

    /// What is wrong with it.
    pub(super) fn finding(&self, now: Timestamp) -> Option<(Finding, How)> {
        let (secret, key) = (self.secret.clone(), self.key.clone());
        let how = How::Secret(secret.clone());
        let finding = match &self.expires {
            Sought::Unknown(_) => return None,
            Sought::Missing => Finding::SecretMissing(secret),
            Sought::Found(None) => Finding::NoCertificate { secret, key },
            Sought::Found(Some(at)) => {
                let (at, left) = (*at, at.duration_since(now));
                if left > SOON {
                    return None;
                }
                if left <= SignedDuration::ZERO {
                    Finding::CertificateExpired {
                        secret,
                        key,
                        at,
                        now,
                    }
                } else {
                    Finding::CertificateExpires {
                        secret,
                        key,
                        at,
                        now,
                    }
                }
            }
        };
        Some((finding, how))
    }

    /// Why it is not known.
    pub(super) fn gap(&self) -> Option<Gap> {
        let Sought::Unknown(why) = &self.expires else {
            return None;
        };
        Some(Gap {
            what: format!("when {} in Secret {} expires", self.key, self.secret),
            why: why.clone(),
        })
    }
}
