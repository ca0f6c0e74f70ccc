//! The key of a row of bucket `key`.

use std::fmt;

use crate::backup::Revision;

/// Which change a row is: 8 bytes of the revision, `_`, 8 bytes of the position in it, and `t` if
/// it is a deletion. Numbers are big-endian, so rows sort as they happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    main: Revision,
    /// Never negative.
    sub: i64,
    tombstone: bool,
}

impl RowKey {
    /// The `sub`th change, from 0, of a revision.
    pub fn new(main: Revision, sub: u32, tombstone: bool) -> Self {
        Self {
            main,
            sub: sub.into(),
            tombstone,
        }
    }

    /// `None` if the bytes are none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (main, rest) = bytes.split_first_chunk::<8>()?;
        let (sub, rest) = rest.strip_prefix(b"_")?.split_first_chunk::<8>()?;
        let tombstone = match rest {
            [] => false,
            b"t" => true,
            _ => return None,
        };
        let main = Revision::new(i64::from_be_bytes(*main))?;
        let sub = i64::from_be_bytes(*sub);
        (sub >= 0).then_some(Self {
            main,
            sub,
            tombstone,
        })
    }

    /// The revision.
    pub fn main(self) -> Revision {
        self.main
    }

    /// The position among the changes of the revision.
    pub fn sub(self) -> i64 {
        self.sub
    }

    /// Whether the key was deleted.
    pub fn is_tombstone(self) -> bool {
        self.tombstone
    }

    /// As it is stored.
    pub fn bytes(self) -> RowKeyBytes {
        let mut bytes = [0; 18];
        let (main, rest) = bytes.split_at_mut(8);
        main.copy_from_slice(&self.main.get().to_be_bytes());
        let (mark, rest) = rest.split_at_mut(1);
        mark.fill(b'_');
        let (sub, end) = rest.split_at_mut(8);
        sub.copy_from_slice(&self.sub.to_be_bytes());
        end.fill(b't');
        let length = if self.tombstone { 18 } else { 17 };
        RowKeyBytes { bytes, length }
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.tombstone { " (deletion)" } else { "" };
        write!(f, "{}_{}{kind}", self.main, self.sub)
    }
}

/// A [`RowKey`] as it is stored: 17 bytes, or 18 of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowKeyBytes {
    bytes: [u8; 18],
    length: usize,
}

impl AsRef<[u8]> for RowKeyBytes {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
