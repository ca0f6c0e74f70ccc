//! As much of protobuf as etcd's records need: numbers and byte strings.

use thiserror::Error;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// It ends within a field.
    #[error("it ends within field {field}")]
    Cut {
        /// The field; 0 if not even its number is whole.
        field: u64,
    },
    /// A number of more than 64 bits.
    #[error("a number in it has more than 64 bits")]
    Number,
    /// A field of a number that protobuf does not allow.
    #[error("field {field} cannot be")]
    Field {
        /// The field.
        field: u64,
    },
    /// A field of another type than it has.
    #[error("field {field} is of wire type {found}")]
    Type {
        /// The field.
        field: u64,
        /// What it says.
        found: u8,
    },
}

/// What is in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Eight or four bytes, which no record of etcd has.
    Fixed(u8),
}

/// A field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    content: Content<'a>,
}

impl<'a> Field<'a> {
    /// A negative number is the ten-byte one of its 64 bits.
    pub(super) fn signed(&self) -> Result<i64, WireError> {
        self.unsigned().map(u64::cast_signed)
    }

    pub(super) fn unsigned(&self) -> Result<u64, WireError> {
        match self.content {
            Content::Number(number) => Ok(number),
            Content::Bytes(_) => Err(self.other_type(BYTES)),
            Content::Fixed(found) => Err(self.other_type(found)),
        }
    }

    pub(super) fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.content {
            Content::Bytes(bytes) => Ok(bytes),
            Content::Number(_) => Err(self.other_type(VARINT)),
            Content::Fixed(found) => Err(self.other_type(found)),
        }
    }

    fn other_type(&self, found: u8) -> WireError {
        let field = self.number;
        WireError::Type { field, found }
    }
}

const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const BYTES: u8 = 2;
const FIXED_32: u8 = 5;

/// The fields of a record, in the order that they stand in.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(record: &'a [u8]) -> Self {
        Self { rest: record }
    }

    /// The next one, of whatever number.
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint(0)?;
        let number = tag >> 3;
        if number == 0 || number > MOST_FIELDS {
            return Err(WireError::Field { field: number });
        }
        let kind = tag.to_le_bytes()[0] & 7;
        let content = match kind {
            VARINT => Content::Number(self.varint(number)?),
            BYTES => {
                let length = self.varint(number)?;
                Content::Bytes(self.take(length, number)?)
            }
            FIXED_64 | FIXED_32 => {
                self.take(if kind == FIXED_64 { 8 } else { 4 }, number)?;
                Content::Fixed(kind)
            }
            // Groups, which were gone before etcd was there.
            found => {
                let field = number;
                return Err(WireError::Type { field, found });
            }
        };
        Ok(Some(Field { number, content }))
    }

    fn take(&mut self, length: u64, field: u64) -> Result<&'a [u8], WireError> {
        let split = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length));
        let (taken, rest) = split.ok_or(WireError::Cut { field })?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self, field: u64) -> Result<u64, WireError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(WireError::Cut { field })?;
            self.rest = rest;
            if shift == 63 && *byte > 1 {
                return Err(WireError::Number);
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(WireError::Number)
    }
}

const MOST_FIELDS: u64 = (1 << 29) - 1;

/// Appends a number; zero is left out.
pub(super) fn put_number(out: &mut Vec<u8>, field: u8, number: i64) {
    if number != 0 {
        out.push(field << 3 | VARINT);
        put_varint(out, number.cast_unsigned());
    }
}

/// Appends bytes; none are left out.
pub(super) fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.push(field << 3 | BYTES);
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [lowest, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(lowest);
        }
        out.push(lowest | 0x80);
    }
}
