//! Unpacking.

use std::io::{self, BufRead, BufReader, Read};

use druid_core::backup::codec::Codec;
use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use weezl::decode::Decoder;
use weezl::{BitOrder, LzwStatus};

/// How much of the packed bytes is buffered.
const BUFFER: usize = 64 << 10;

/// Reads what is in a packed object, to an end that is certain.
pub(crate) enum Unpacked<R: Read> {
    Plain(R),
    Gzip(MultiGzDecoder<BufReader<R>>),
    Zlib(Stepped<R, Decompress>),
    Lzw(Stepped<R, Decoder>),
}

impl<R: Read> std::fmt::Debug for Unpacked<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unpacked")
    }
}

/// Unpacks what `packed` reads.
pub(crate) fn unpack<R: Read>(codec: Codec, packed: R) -> Unpacked<R> {
    let buffered = |packed| BufReader::with_capacity(BUFFER, packed);
    match codec {
        Codec::Plain => Unpacked::Plain(packed),
        Codec::Gzip => Unpacked::Gzip(MultiGzDecoder::new(buffered(packed))),
        Codec::Zlib => Unpacked::Zlib(Stepped::new(buffered(packed), Decompress::new(true))),
        Codec::Lzw => {
            let decoder = Decoder::new(BitOrder::Lsb, 8);
            Unpacked::Lzw(Stepped::new(buffered(packed), decoder))
        }
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(plain) => plain.read(to),
            Self::Gzip(gzip) => gzip.read(to),
            Self::Zlib(zlib) => zlib.read(to),
            Self::Lzw(lzw) => lzw.read(to),
        }
    }
}

/// A decoder that takes some bytes and gives some.
pub(crate) trait Step {
    /// Takes from `from`, gives to `to`; `from` is empty only at the end of what there is.
    fn step(&mut self, from: &[u8], to: &mut [u8]) -> io::Result<Taken>;
}

/// What one step did.
pub(crate) struct Taken {
    taken: usize,
    given: usize,
    /// The packed bytes say that this is their end.
    ended: bool,
}

/// Reads through a decoder. The libraries' own readers end quietly where the input does.
pub(crate) struct Stepped<R, D> {
    packed: BufReader<R>,
    decoder: D,
    ended: bool,
}

impl<R: Read, D: Step> Stepped<R, D> {
    fn new(packed: BufReader<R>, decoder: D) -> Self {
        Self {
            packed,
            decoder,
            ended: false,
        }
    }

    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        loop {
            if self.ended {
                return self.nothing_follows();
            }
            let from = self.packed.fill_buf()?;
            let exhausted = from.is_empty();
            let step = self.decoder.step(from, to)?;
            self.packed.consume(step.taken);
            self.ended = step.ended;
            if step.given > 0 {
                return Ok(step.given);
            }
            if !self.ended && exhausted {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !self.ended && step.taken == 0 {
                return Err(damaged("it cannot be unpacked"));
            }
        }
    }

    fn nothing_follows(&mut self) -> io::Result<usize> {
        if self.packed.fill_buf()?.is_empty() {
            return Ok(0);
        }
        Err(damaged("there are bytes after its end"))
    }
}

fn damaged(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Step for Decompress {
    fn step(&mut self, from: &[u8], to: &mut [u8]) -> io::Result<Taken> {
        let (before_in, before_out) = (self.total_in(), self.total_out());
        let status = self.decompress(from, to, FlushDecompress::None)?;
        let moved = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(0);
        Ok(Taken {
            taken: moved(self.total_in(), before_in),
            given: moved(self.total_out(), before_out),
            ended: match status {
                Status::StreamEnd => true,
                Status::Ok | Status::BufError => false,
            },
        })
    }
}

impl Step for Decoder {
    fn step(&mut self, from: &[u8], to: &mut [u8]) -> io::Result<Taken> {
        let step = self.decode_bytes(from, to);
        let status = step.status.map_err(|_| damaged("it is no LZW"))?;
        Ok(Taken {
            taken: step.consumed_in,
            given: step.consumed_out,
            ended: match status {
                LzwStatus::Done => true,
                LzwStatus::Ok | LzwStatus::NoProgress => false,
            },
        })
    }
}
