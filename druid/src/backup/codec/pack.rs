//! Packing. Gzip is packed in blocks by several threads and is one member all the same (RFC 1952):
//! every block is deflate that ends at a byte, and the checksums of the blocks are combined.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use druid_core::backup::codec::Codec;
use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compress, Compression, Crc, FlushCompress};

/// What can be written. Lzw is only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As it is.
    Plain,
    /// What etcd-backup-restore writes by default.
    Gzip,
    /// What it reads, too.
    Zlib,
}

/// The level. What random base64 gives is the same from 2 to 9, and level 1 gives nothing at all;
/// 2 is the fastest of them.
const LEVEL: Compression = Compression::new(2);
/// What is packed at once. A smaller one gives away more of what repeats.
const BLOCK: usize = 256 << 10;

impl Packing {
    /// What names say.
    pub(crate) fn codec(self) -> Codec {
        match self {
            Self::Plain => Codec::Plain,
            Self::Gzip => Codec::Gzip,
            Self::Zlib => Codec::Zlib,
        }
    }
}

/// Packs what is written to it. What is not finished is cut, and every reader sees that.
pub(crate) enum Packer<W: Write> {
    /// As it is.
    Plain(W),
    /// On this thread.
    Gzip(GzEncoder<W>),
    /// On others.
    Parallel(Box<Parallel<W>>),
    /// On this thread.
    Zlib(ZlibEncoder<W>),
}

impl<W: Write> Packer<W> {
    /// With `threads` more than none, gzip is packed by so many.
    pub(crate) fn new(packing: Packing, threads: usize, sink: W) -> io::Result<Self> {
        Ok(match packing {
            Packing::Plain => Self::Plain(sink),
            Packing::Gzip if threads > 0 => Self::Parallel(Box::new(Parallel::new(threads, sink)?)),
            Packing::Gzip => Self::Gzip(GzEncoder::new(sink, LEVEL)),
            Packing::Zlib => Self::Zlib(ZlibEncoder::new(sink, LEVEL)),
        })
    }

    /// Ends it.
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(sink) => Ok(sink),
            Self::Gzip(gzip) => gzip.finish(),
            Self::Parallel(parallel) => parallel.finish(),
            Self::Zlib(zlib) => zlib.finish(),
        }
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(sink) => sink.write(bytes),
            Self::Gzip(gzip) => gzip.write(bytes),
            Self::Parallel(parallel) => parallel.write(bytes),
            Self::Zlib(zlib) => zlib.write(bytes),
        }
    }

    /// Does nothing: only the end is a point to read up to.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gzip by several threads. Holds two blocks and what was made of them for each thread.
pub(crate) struct Parallel<W> {
    sink: W,
    block: Vec<u8>,
    jobs: Option<SyncSender<Job>>,
    under_way: VecDeque<Receiver<io::Result<Packed>>>,
    most: usize,
    spare: Vec<Vec<u8>>,
    crc: Crc,
    threads: Vec<JoinHandle<()>>,
}

struct Job {
    block: Vec<u8>,
    flush: FlushCompress,
    answer: SyncSender<io::Result<Packed>>,
}

struct Packed {
    block: Vec<u8>,
    bytes: Vec<u8>,
    crc: Crc,
}

/// No name, no time, no system.
const HEADER: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];

impl<W: Write> Parallel<W> {
    fn new(threads: usize, mut sink: W) -> io::Result<Self> {
        sink.write_all(&HEADER)?;
        let (jobs, queue) = sync_channel::<Job>(threads);
        let queue = Arc::new(Mutex::new(queue));
        let spawn = |_| {
            let queue = Arc::clone(&queue);
            let thread = std::thread::Builder::new().name("gzip".to_owned());
            thread.spawn(move || work(&queue))
        };
        Ok(Self {
            sink,
            block: Vec::with_capacity(BLOCK),
            jobs: Some(jobs),
            under_way: VecDeque::new(),
            most: threads * 2,
            spare: Vec::new(),
            crc: Crc::new(),
            threads: (0..threads).map(spawn).collect::<io::Result<_>>()?,
        })
    }

    fn send(&mut self, flush: FlushCompress) -> io::Result<()> {
        if self.under_way.len() >= self.most {
            self.take()?;
        }
        let spare = self
            .spare
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(BLOCK));
        let block = std::mem::replace(&mut self.block, spare);
        let (answer, packed) = sync_channel(1);
        let job = Job {
            block,
            flush,
            answer,
        };
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).map_err(|_| gone())?;
        self.under_way.push_back(packed);
        Ok(())
    }

    fn take(&mut self) -> io::Result<()> {
        let Some(next) = self.under_way.pop_front() else {
            return Ok(());
        };
        let mut packed = next.recv().map_err(|_| gone())??;
        self.sink.write_all(&packed.bytes)?;
        self.crc.combine(&packed.crc);
        packed.block.clear();
        self.spare.push(packed.block);
        Ok(())
    }

    fn finish(mut self) -> io::Result<W> {
        self.send(FlushCompress::Finish)?;
        while !self.under_way.is_empty() {
            self.take()?;
        }
        self.sink.write_all(&self.crc.sum().to_le_bytes())?;
        self.sink.write_all(&self.crc.amount().to_le_bytes())?;
        drop(self.jobs.take());
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| gone())?;
        }
        Ok(self.sink)
    }
}

impl<W: Write> Write for Parallel<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let free = BLOCK - self.block.len();
        let (now, _) = bytes.split_at(free.min(bytes.len()));
        self.block.extend_from_slice(now);
        if self.block.len() == BLOCK {
            self.send(FlushCompress::Sync)?;
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    let mut deflate = Compress::new(LEVEL, false);
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let packed = pack(&mut deflate, job.block, job.flush);
        // Nobody waits for it any more if this fails.
        let _ = job.answer.send(packed);
    }
}

fn pack(deflate: &mut Compress, block: Vec<u8>, flush: FlushCompress) -> io::Result<Packed> {
    deflate.reset();
    let mut crc = Crc::new();
    crc.update(&block);
    let mut packed = Vec::with_capacity(block.len() + block.len() / 8 + 1024);
    loop {
        let taken = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX);
        let rest = block.get(taken..).unwrap_or_default();
        deflate
            .compress_vec(rest, &mut packed, flush)
            .map_err(io::Error::other)?;
        let all = deflate.total_in() == block.len() as u64;
        // With room left over, everything that was to come has come.
        if all && packed.len() < packed.capacity() {
            break;
        }
        packed.reserve(BLOCK / 4);
    }
    Ok(Packed {
        block,
        bytes: packed,
        crc,
    })
}

fn gone() -> io::Error {
    io::Error::other("a thread that compresses is gone")
}
