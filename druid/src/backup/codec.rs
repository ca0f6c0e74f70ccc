//! Packing and unpacking as bytes pass, on threads that may block.
//!
//! Unpacking gives an error for whatever is not whole: an end before the end, and bytes after it.
//! Neither holds more than a few blocks, whatever the size of the object.

mod gzip;
mod unpack;

use std::io::{self, Write};

use druid_core::backup::codec::Codec;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use weezl::BitOrder;
use weezl::encode::Encoder;

pub(crate) use unpack::unpack;

/// The level of gzip and zlib. At 1 two cores pack faster than a member sends, and what people
/// store is a few percent larger than at Go's default of 6 (BENCHMARKS.md).
const LEVEL: u32 = 1;

/// What is written into it comes out packed. It is whole only after [`Packer::finish`].
#[derive(Debug)]
pub(crate) enum Packer<W: Write> {
    Plain(W),
    Gzip(gzip::Gzip<W>),
    Zlib(ZlibEncoder<W>),
    Lzw(Lzw<W>),
}

impl<W: Write> Packer<W> {
    /// Packs into `out`.
    pub(crate) fn new(codec: Codec, out: W) -> io::Result<Self> {
        Ok(match codec {
            Codec::Plain => Self::Plain(out),
            Codec::Gzip => Self::Gzip(gzip::Gzip::new(out, LEVEL)?),
            Codec::Zlib => Self::Zlib(ZlibEncoder::new(out, Compression::new(LEVEL))),
            Codec::Lzw => Self::Lzw(Lzw::new(out)),
        })
    }

    /// Ends it and gives back what it was packed into.
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zlib(zlib) => zlib.finish(),
            Self::Lzw(lzw) => lzw.finish(),
        }
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(gzip) => gzip.write(bytes),
            Self::Zlib(zlib) => zlib.write(bytes),
            Self::Lzw(lzw) => lzw.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // A flush in the middle would only make it larger; what counts is the end.
        Ok(())
    }
}

/// `compress/lzw` of Go: LSB order, literals of 8 bits.
pub(crate) struct Lzw<W> {
    out: W,
    encoder: Encoder,
    packed: Vec<u8>,
}

impl<W> std::fmt::Debug for Lzw<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lzw")
    }
}

impl<W: Write> Lzw<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            encoder: Encoder::new(BitOrder::Lsb, 8),
            packed: vec![0; 64 << 10],
        }
    }

    fn finish(mut self) -> io::Result<W> {
        self.encoder.finish();
        loop {
            let step = self.encoder.encode_bytes(&[], &mut self.packed);
            self.out.write_all(&self.packed[..step.consumed_out])?;
            match step.status {
                Ok(weezl::LzwStatus::Done) => return Ok(self.out),
                Ok(weezl::LzwStatus::Ok) => {}
                Ok(weezl::LzwStatus::NoProgress) => {
                    return Err(io::Error::other("the LZW encoder does not end"));
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

impl<W: Write> Write for Lzw<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        while taken < bytes.len() {
            let step = self.encoder.encode_bytes(&bytes[taken..], &mut self.packed);
            step.status.map_err(io::Error::other)?;
            self.out.write_all(&self.packed[..step.consumed_out])?;
            taken += step.consumed_in;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
