//! The value of a row of bucket `key`.

use super::wire::{Fields, WireError, put_bytes, put_number};

/// `mvccpb.KeyValue`. That of a deletion has only the key. One without anything is legal: a restore
/// that raises the revision writes it as a mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyValue<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The revision that created it.
    pub create_revision: i64,
    /// The revision of this change.
    pub mod_revision: i64,
    /// How often it was written since it was created.
    pub version: i64,
    /// The value.
    pub value: &'a [u8],
    /// The lease; 0 is none.
    pub lease: i64,
}

impl<'a> KeyValue<'a> {
    /// Fields of a later version are passed over.
    pub fn decode(record: &'a [u8]) -> Result<Self, WireError> {
        let mut found = Self::default();
        let mut fields = Fields::of(record);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => found.key = field.bytes()?,
                2 => found.create_revision = field.signed()?,
                3 => found.mod_revision = field.signed()?,
                4 => found.version = field.signed()?,
                5 => found.value = field.bytes()?,
                6 => found.lease = field.signed()?,
                _ => {}
            }
        }
        Ok(found)
    }

    /// Appends it as etcd writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, 1, self.key);
        put_number(out, 2, self.create_revision);
        put_number(out, 3, self.mod_revision);
        put_number(out, 4, self.version);
        put_bytes(out, 5, self.value);
        put_number(out, 6, self.lease);
    }
}
