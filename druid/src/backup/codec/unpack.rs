//! Reading what any version of etcd-backup-restore wrote.

use std::io::{self, BufRead, BufReader, Read};

use druid_core::backup::codec::Codec;
use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use thiserror::Error;
use weezl::decode::Decoder as LzwDecoder;
use weezl::{BitOrder, LzwStatus};

/// How much may come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Bytes in all.
    pub(crate) bytes: u64,
    /// Bytes for each byte that goes in, after the first MiB. Deflate can make 1032 of one.
    pub(crate) ratio: u64,
}

/// Why packed bytes cannot be unpacked. It is inside of the `io::Error`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum UnpackError {
    /// The stream goes on after the input ends.
    #[error("it ends too early: it was cut, or its upload did not finish")]
    Cut,
    /// The input goes on after the stream ends.
    #[error("there are bytes after its end: it was changed")]
    Trailing,
    /// It is not such a stream.
    #[error("its compression cannot be read ({0}): it is damaged")]
    Damaged(String),
    /// Too much comes out.
    #[error(
        "it unpacks to more than {limit} bytes, which no snapshot does: it is not read further"
    )]
    Bomb {
        /// How much is allowed at this point.
        limit: u64,
    },
}

/// What unpacks.
const BUFFER: usize = 64 << 10;
/// Below this no ratio is too large.
const FREE: u64 = 1 << 20;

/// Unpacks. An end of the reader is a proof that the stream is whole, as far as the codec can tell.
pub(crate) fn unpack<R: Read>(codec: Codec, packed: R, limit: Limit) -> Unpack<R> {
    let packed = BufReader::with_capacity(BUFFER, Counted { packed, bytes: 0 });
    let way = match codec {
        Codec::Plain => Way::Plain(packed),
        Codec::Gzip => Way::Gzip(Box::new(MultiGzDecoder::new(packed))),
        Codec::Zlib => Way::Zlib(Box::new(Zlib {
            packed,
            decoder: Decompress::new(true),
            ended: false,
        })),
        Codec::Lzw => Way::Lzw(Box::new(Lzw {
            packed,
            decoder: LzwDecoder::new(BitOrder::Lsb, 8),
            ended: false,
        })),
    };
    Unpack { way, limit, out: 0 }
}

/// The unpacked bytes.
pub(crate) struct Unpack<R> {
    way: Way<R>,
    limit: Limit,
    out: u64,
}

enum Way<R> {
    Plain(BufReader<Counted<R>>),
    Gzip(Box<MultiGzDecoder<BufReader<Counted<R>>>>),
    Zlib(Box<Zlib<R>>),
    Lzw(Box<Lzw<R>>),
}

struct Counted<R> {
    packed: R,
    bytes: u64,
}

struct Zlib<R> {
    packed: BufReader<Counted<R>>,
    decoder: Decompress,
    ended: bool,
}

struct Lzw<R> {
    packed: BufReader<Counted<R>>,
    decoder: LzwDecoder,
    ended: bool,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.packed.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

impl<R: Read> Read for Unpack<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.way {
            Way::Plain(packed) => packed.read(buffer),
            Way::Gzip(gzip) => gzip.read(buffer).map_err(of_gzip),
            Way::Zlib(zlib) => zlib.read(buffer),
            Way::Lzw(lzw) => lzw.read(buffer),
        }?;
        self.out += read as u64;
        let by_ratio = self.taken().saturating_mul(self.limit.ratio).max(FREE);
        let limit = self.limit.bytes.min(by_ratio);
        if self.out > limit {
            return Err(UnpackError::Bomb { limit }.into());
        }
        Ok(read)
    }
}

impl<R> Unpack<R> {
    fn taken(&self) -> u64 {
        let packed = match &self.way {
            Way::Plain(packed) => packed,
            Way::Gzip(gzip) => gzip.get_ref(),
            Way::Zlib(zlib) => &zlib.packed,
            Way::Lzw(lzw) => &lzw.packed,
        };
        packed.get_ref().bytes
    }
}

impl<R: Read> Read for Zlib<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !buffer.is_empty() {
            let input = self.packed.fill_buf()?;
            let at_end = input.is_empty();
            let before = (self.decoder.total_in(), self.decoder.total_out());
            let status = self
                .decoder
                .decompress(input, buffer, FlushDecompress::None)
                .map_err(|it| UnpackError::Damaged(it.to_string()))?;
            let taken = self.decoder.total_in() - before.0;
            let made = self.decoder.total_out() - before.1;
            self.packed
                .consume(usize::try_from(taken).unwrap_or_default());
            match status {
                Status::StreamEnd => {
                    self.ended = true;
                    nothing_after(&mut self.packed)?;
                }
                Status::Ok | Status::BufError if at_end && made == 0 => {
                    return Err(UnpackError::Cut.into());
                }
                Status::Ok | Status::BufError => {}
            }
            if made > 0 {
                return Ok(usize::try_from(made).unwrap_or_default());
            }
        }
        Ok(0)
    }
}

impl<R: Read> Read for Lzw<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !buffer.is_empty() {
            let input = self.packed.fill_buf()?;
            let at_end = input.is_empty();
            // The decoder reads ahead of its end, and what it has read cannot be told from nothing.
            let input = input.get(..1).unwrap_or_default();
            let result = self.decoder.decode_bytes(input, buffer);
            self.packed.consume(result.consumed_in);
            let status = result
                .status
                .map_err(|it| UnpackError::Damaged(it.to_string()))?;
            match status {
                LzwStatus::Done => {
                    self.ended = true;
                    nothing_after(&mut self.packed)?;
                }
                LzwStatus::Ok | LzwStatus::NoProgress if at_end && result.consumed_out == 0 => {
                    return Err(UnpackError::Cut.into());
                }
                LzwStatus::Ok | LzwStatus::NoProgress => {}
            }
            if result.consumed_out > 0 {
                return Ok(result.consumed_out);
            }
        }
        Ok(0)
    }
}

fn nothing_after(packed: &mut impl BufRead) -> io::Result<()> {
    if packed.fill_buf()?.is_empty() {
        return Ok(());
    }
    Err(UnpackError::Trailing.into())
}

fn of_gzip(error: io::Error) -> io::Error {
    let kind = error.kind();
    if kind == io::ErrorKind::UnexpectedEof {
        UnpackError::Cut.into()
    } else if matches!(
        kind,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
    ) {
        UnpackError::Damaged(error.to_string()).into()
    } else {
        // Of the reader below.
        error
    }
}

impl From<UnpackError> for io::Error {
    fn from(error: UnpackError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
