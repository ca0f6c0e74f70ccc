//! The value of a row of bucket `lease`.

use super::wire::{Fields, WireError, put_number};

/// `leasepb.Lease`. When it was granted is not kept: the time begins anew when a leader is elected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: i64,
    /// How long it lives from a renewal on, seconds.
    pub ttl: i64,
    /// What was left of that at the last checkpoint, seconds; 0 if there was none.
    pub remaining_ttl: i64,
}

impl Lease {
    /// Fields of a later version are passed over.
    pub fn decode(record: &[u8]) -> Result<Self, WireError> {
        let mut found = Self::default();
        let mut fields = Fields::of(record);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => found.id = field.signed()?,
                2 => found.ttl = field.signed()?,
                3 => found.remaining_ttl = field.signed()?,
                _ => {}
            }
        }
        Ok(found)
    }

    /// Appends it as etcd writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, 1, self.id);
        put_number(out, 2, self.ttl);
        put_number(out, 3, self.remaining_ttl);
    }
}
