//! gzip on several cores, as pigz does it: blocks are deflated side by side, each ends at a byte,
//! and all of them are one member of RFC 1952, which every reader takes.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// How much is deflated at once, bytes. Smaller blocks pack worse, larger ones need more memory.
const BLOCK: usize = 512 << 10;

/// Threads that deflate. The caller's own thread hashes and uploads meanwhile.
const WORKERS: usize = 2;

/// Blocks that are on their way at most; so many and their results are in memory.
const UNDER_WAY: usize = WORKERS + 1;

/// RFC 1952, 2.3: magic, deflate, no flags, no time, fastest, unknown system.
const HEAD: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 4, 0xFF];

/// RFC 1951, 3.2.6: an empty last block.
const LAST: [u8; 2] = [3, 0];

type Job = (Vec<u8>, SyncSender<io::Result<Vec<u8>>>);

/// A gzip writer.
#[derive(Debug)]
pub(crate) struct Gzip<W: Write> {
    out: W,
    block: Vec<u8>,
    crc: Crc,
    workers: Vec<(SyncSender<Job>, JoinHandle<()>)>,
    next: usize,
    under_way: VecDeque<Receiver<io::Result<Vec<u8>>>>,
}

impl<W: Write> Gzip<W> {
    pub(super) fn new(mut out: W, level: u32) -> io::Result<Self> {
        out.write_all(&HEAD)?;
        let mut workers = Vec::new();
        for _ in 0..WORKERS {
            let (jobs, queue) = sync_channel(UNDER_WAY);
            let worker = std::thread::Builder::new().name("gzip".to_owned());
            workers.push((jobs, worker.spawn(move || work(&queue, level))?));
        }
        Ok(Self {
            out,
            block: Vec::with_capacity(BLOCK),
            crc: Crc::new(),
            workers,
            next: 0,
            under_way: VecDeque::new(),
        })
    }

    fn hand_out(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        if self.under_way.len() >= UNDER_WAY {
            self.take_in()?;
        }
        let block = mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        self.crc.update(&block);
        let (result, receiver) = sync_channel(1);
        let (jobs, _) = &self.workers[self.next];
        jobs.send((block, result)).map_err(|_| died())?;
        self.next = (self.next + 1) % self.workers.len();
        self.under_way.push_back(receiver);
        Ok(())
    }

    /// Writes the oldest block that is under way.
    fn take_in(&mut self) -> io::Result<()> {
        let Some(oldest) = self.under_way.pop_front() else {
            return Ok(());
        };
        let packed = oldest.recv().map_err(|_| died())??;
        self.out.write_all(&packed)
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.hand_out()?;
        while !self.under_way.is_empty() {
            self.take_in()?;
        }
        self.out.write_all(&LAST)?;
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        self.out.write_all(&self.crc.amount().to_le_bytes())?;
        for (jobs, worker) in self.workers {
            drop(jobs);
            worker.join().map_err(|_| died())?;
        }
        Ok(self.out)
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK {
            self.hand_out()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn died() -> io::Error {
    io::Error::other("a thread that compresses died")
}

fn work(queue: &Receiver<Job>, level: u32) {
    let mut deflate = Compress::new(Compression::new(level), false);
    while let Ok((block, result)) = queue.recv() {
        // Whoever asked may have given up.
        let _ = result.send(pack(&mut deflate, &block));
    }
}

/// Deflates a block by itself, up to a byte's end, and not as the last one.
fn pack(deflate: &mut Compress, block: &[u8]) -> io::Result<Vec<u8>> {
    deflate.reset();
    let mut packed = Vec::with_capacity(block.len() + 1024);
    loop {
        let taken = usize::try_from(deflate.total_in()).map_err(io::Error::other)?;
        let room = packed.capacity() - packed.len();
        let status = deflate.compress_vec(&block[taken..], &mut packed, FlushCompress::Sync)?;
        let (left, wrote_all) = (packed.capacity() - packed.len(), room > 0);
        match status {
            // There is room left, so that the flush is complete.
            Status::Ok | Status::BufError
                if left > 0 && wrote_all && deflate.total_in() == block.len() as u64 =>
            {
                return Ok(packed);
            }
            Status::Ok | Status::BufError => packed.reserve(BLOCK / 8),
            Status::StreamEnd => return Err(io::Error::other("deflate ended early")),
        }
    }
}
