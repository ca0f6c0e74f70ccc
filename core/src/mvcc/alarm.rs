//! The key of a row of bucket `alarm`.

use super::wire::{Fields, WireError};

/// `AlarmMember`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    /// The member that it is about.
    pub member: u64,
    /// What is wrong with it.
    pub kind: AlarmKind,
}

/// What an alarm says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmKind {
    /// The database reached its quota.
    NoSpace,
    /// Its data differs from that of the others.
    Corrupt,
    /// What a later version knows.
    Other(i64),
}

impl Alarm {
    /// Fields of a later version are passed over.
    pub fn decode(record: &[u8]) -> Result<Self, WireError> {
        let (mut member, mut kind) = (0, 0);
        let mut fields = Fields::of(record);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => member = field.unsigned()?,
                2 => kind = field.signed()?,
                _ => {}
            }
        }
        let kind = match kind {
            1 => AlarmKind::NoSpace,
            2 => AlarmKind::Corrupt,
            other => AlarmKind::Other(other),
        };
        Ok(Self { member, kind })
    }
}
