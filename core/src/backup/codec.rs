//! How an object is compressed: what its name says, what its first bytes say, and whether the two
//! agree. The bytes themselves are packed and unpacked elsewhere.
//!
//! etcd-backup-restore goes by the name alone: `.gz`, `.zlib` and `.Z` are the standard library of
//! Go at its default level (RFC 1952, RFC 1950, and `compress/lzw` with LSB order and 8-bit
//! literals, which is GIF's and not that of Unix `compress`).

use thiserror::Error;

/// A way to compress that etcd-backup-restore reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Codec {
    /// Not compressed; the name has no suffix.
    Plain,
    /// `.gz`; what is written unless a flag says otherwise.
    Gzip,
    /// `.Z`.
    Lzw,
    /// `.zlib`.
    Zlib,
}

impl Codec {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Gzip, Self::Lzw, Self::Zlib];

    /// What it adds to a name, with the dot.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => ".gz",
            Self::Lzw => ".Z",
            Self::Zlib => ".zlib",
        }
    }

    /// The one that adds this to a name. Case counts.
    pub fn of_suffix(suffix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.suffix() == suffix)
    }
}

/// What the first bytes of an object look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// Compressed so.
    Packed(Codec),
    /// The database of a full snapshot.
    Database,
    /// The array of a delta.
    Events,
    /// There is too little of it to say.
    TooShort,
    /// Nothing that a store of backups should hold.
    Foreign,
}

/// An object whose bytes are not what its name says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodecMismatch {
    /// Cut, or never written.
    #[error(
        "{object} has only {bytes} bytes: its upload did not finish; restore from an older chain"
    )]
    TooShort {
        /// Its key.
        object: String,
        /// How many bytes of its beginning there are.
        bytes: usize,
    },
    /// Another codec, another program, or damage.
    #[error(
        "{object} is {named:?} by name and begins like {found:?}: it is damaged or was renamed"
    )]
    Differs {
        /// Its key.
        object: String,
        /// What the name says.
        named: Codec,
        /// What it begins like.
        found: Looks,
    },
}

/// How many bytes of an object [`sniff`] wants.
pub const HEAD: usize = 20;

/// bbolt's magic number; it follows the 16-byte page header.
const BOLT_MAGIC: [u8; 4] = [0xED, 0xDA, 0x0C, 0xED];
/// RFC 1952, 2.3.1: two magic bytes, and deflate, the only method.
const GZIP_MAGIC: [u8; 3] = [0x1F, 0x8B, 0x08];

/// What the first bytes look like. [`HEAD`] of them are enough. LZW has no magic number: Go's
/// writer begins with a clear code, nine bits of value 256, and that is what is looked for.
pub fn sniff(head: &[u8]) -> Looks {
    match head {
        [b'[', ..] => Looks::Events,
        _ if head.starts_with(&GZIP_MAGIC) => Looks::Packed(Codec::Gzip),
        _ if head.get(16..20) == Some(&BOLT_MAGIC) => Looks::Database,
        [method, flags, ..] if is_zlib(*method, *flags) => Looks::Packed(Codec::Zlib),
        [0, second, ..] if second & 1 == 1 => Looks::Packed(Codec::Lzw),
        _ if head.len() < HEAD => Looks::TooShort,
        _ => Looks::Foreign,
    }
}

/// Whether an object begins as its name says. `head` is its first [`HEAD`] bytes, or all if it has
/// fewer.
pub fn check(object: &str, named: Codec, head: &[u8]) -> Result<(), CodecMismatch> {
    let found = sniff(head);
    let agrees = match found {
        Looks::TooShort => {
            return Err(CodecMismatch::TooShort {
                object: object.to_owned(),
                bytes: head.len(),
            });
        }
        Looks::Packed(codec) => codec == named,
        Looks::Database | Looks::Events => named == Codec::Plain,
        Looks::Foreign => false,
    };
    if agrees {
        return Ok(());
    }
    Err(CodecMismatch::Differs {
        object: object.to_owned(),
        named,
        found,
    })
}

/// RFC 1950, 2.2: deflate with a window of at most 32 KiB, no preset dictionary, and the check bits.
fn is_zlib(method: u8, flags: u8) -> bool {
    method & 0x0F == 8
        && method >> 4 <= 7
        && flags & 0x20 == 0
        && (u16::from(method) << 8 | u16::from(flags)).is_multiple_of(31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &[u8] =
        include_bytes!("../../tests/data/backup/Full-00000000-00000101-1795355041.gz");
    const DELTA_LZW: &[u8] = include_bytes!("../../tests/data/backup/go-delta.Z");
    const DELTA_ZLIB: &[u8] = include_bytes!("../../tests/data/backup/go-delta.zlib");
    const DELTA_PLAIN: &[u8] = include_bytes!("../../tests/data/backup/go-delta");
    const DATABASE: &[u8] = include_bytes!("../../tests/data/etcd-3.4.34.db");

    #[test]
    fn suffixes_round_trip_and_case_counts() {
        for codec in Codec::ALL {
            assert_eq!(Codec::of_suffix(codec.suffix()), Some(codec));
        }
        for other in [".GZ", ".z", ".zst", "gz", "."] {
            assert_eq!(Codec::of_suffix(other), None, "{other}");
        }
    }

    #[test]
    fn the_bytes_of_every_codec_are_recognised() {
        assert_eq!(sniff(FULL), Looks::Packed(Codec::Gzip));
        assert_eq!(sniff(DELTA_LZW), Looks::Packed(Codec::Lzw));
        assert_eq!(sniff(DELTA_ZLIB), Looks::Packed(Codec::Zlib));
        assert_eq!(sniff(DELTA_PLAIN), Looks::Events);
        assert_eq!(sniff(DATABASE), Looks::Database);
        assert_eq!(sniff(&DATABASE[..HEAD]), Looks::Database);
        for bytes in [FULL, DELTA_LZW, DELTA_ZLIB, DELTA_PLAIN, DATABASE] {
            assert_eq!(sniff(bytes), sniff(&bytes[..HEAD]));
        }
    }

    #[test]
    fn every_level_of_zlib_is_recognised_and_a_broken_check_is_not() {
        for flags in [0x01, 0x5E, 0x9C, 0xDA] {
            assert_eq!(sniff(&[0x78, flags]), Looks::Packed(Codec::Zlib));
        }
        assert_eq!(sniff(&[0x78, 0x9D]), Looks::TooShort);
        assert_eq!(sniff(&[0x78; HEAD]), Looks::Foreign);
    }

    #[test]
    fn name_and_bytes_have_to_agree() {
        assert_eq!(check("x.gz", Codec::Gzip, FULL), Ok(()));
        assert_eq!(check("x.Z", Codec::Lzw, DELTA_LZW), Ok(()));
        assert_eq!(check("x.zlib", Codec::Zlib, DELTA_ZLIB), Ok(()));
        assert_eq!(check("x", Codec::Plain, DELTA_PLAIN), Ok(()));
        assert_eq!(check("x", Codec::Plain, DATABASE), Ok(()));
        let differs = check("p/v2/x.gz", Codec::Gzip, DELTA_ZLIB);
        assert_eq!(
            differs.map_err(|error| error.to_string()),
            Err(
                "p/v2/x.gz is Gzip by name and begins like Packed(Zlib): it is damaged or was \
                 renamed"
                    .to_owned()
            )
        );
        let empty = check("x.gz", Codec::Gzip, &[]);
        assert!(matches!(
            empty,
            Err(CodecMismatch::TooShort { bytes: 0, .. })
        ));
        let zeros = check("x", Codec::Plain, &[0; HEAD]);
        assert!(matches!(
            zeros,
            Err(CodecMismatch::Differs {
                found: Looks::Foreign,
                ..
            })
        ));
    }
}
