//! Somebody who writes all the time, and remembers what was acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::etcd::{self, Address};
use crate::common_cluster::eventually;

const PREFIX: &str = "written/";
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Writer {
    address: Address,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    /// The number of the last key that was tried.
    tried: Arc<AtomicUsize>,
    gap: Arc<Mutex<Gap>>,
    thread: Option<JoinHandle<BTreeMap<String, (String, i64)>>>,
}

impl Writer {
    /// Begins, and returns when something was acknowledged.
    pub(crate) fn start(address: Address) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicUsize::new(0));
        let tried = Arc::new(AtomicUsize::new(0));
        let gap = Arc::new(Mutex::new(Gap::default()));
        let thread = std::thread::spawn({
            let (address, stop, count) = (address.clone(), Arc::clone(&stop), Arc::clone(&count));
            let (tried, gap) = (Arc::clone(&tried), Arc::clone(&gap));
            move || etcd::block(write(&address, &stop, (&count, &tried), &gap))
        });
        let writer = Self {
            address,
            stop,
            count,
            tried,
            gap,
            thread: Some(thread),
        };
        writer.await_more();
        writer
    }

    /// Waits until more was acknowledged.
    pub(crate) fn await_more(&self) {
        let before = self.count.load(Ordering::Relaxed);
        eventually("a write is acknowledged", || {
            (self.count.load(Ordering::Relaxed) > before + 10).then_some(())
        });
    }

    /// How many were acknowledged.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The longest time without an acknowledged write since this was asked last.
    pub(crate) fn gap(&self) -> Duration {
        let mut gap = self.gap.lock().unwrap();
        let longest = gap.longest();
        *gap = Gap::default();
        longest
    }

    /// Ends, and sees that all that was acknowledged is there.
    pub(crate) fn finish(self) {
        self.finish_but(None);
    }

    /// The last key that was tried.
    pub(crate) fn last(&self) -> String {
        key(self.tried.load(Ordering::Relaxed))
    }

    /// The same, but for what was acknowledged after this revision, up to this key.
    pub(crate) fn finish_but(mut self, given_up: Option<&(i64, String)>) {
        let given_up = |key: &String, at: i64| {
            given_up.is_some_and(|(revision, last)| at > *revision && key <= last)
        };
        self.await_more();
        self.stop.store(true, Ordering::Relaxed);
        let written = self.thread.take().unwrap().join().unwrap();
        let there = eventually("the keys can be read", || {
            etcd::block(async { etcd::beginning(&self.address.channel(), PREFIX).await.ok() })
        });
        let there: BTreeMap<_, _> = there.into_iter().collect();
        let lost: Vec<_> = written
            .iter()
            .filter(|(key, (_, revision))| !given_up(key, *revision))
            .filter(|(key, (value, _))| there.get(*key) != Some(value))
            .collect();
        assert!(lost.is_empty(), "of {}: {lost:?}", written.len());
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// How long nothing was acknowledged.
struct Gap {
    last: Instant,
    longest: Duration,
}

impl Default for Gap {
    fn default() -> Self {
        Self {
            last: Instant::now(),
            longest: Duration::ZERO,
        }
    }
}

impl Gap {
    fn longest(&self) -> Duration {
        self.longest.max(self.last.elapsed())
    }

    fn note(&mut self) {
        self.longest = self.longest();
        self.last = Instant::now();
    }
}

fn key(number: usize) -> String {
    format!("{PREFIX}{number:08}")
}

async fn write(
    address: &Address,
    stop: &AtomicBool,
    (count, tried): (&AtomicUsize, &AtomicUsize),
    gap: &Mutex<Gap>,
) -> BTreeMap<String, (String, i64)> {
    let mut written = BTreeMap::new();
    let mut channel = address.channel();
    let mut number: usize = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        tried.store(number, Ordering::Relaxed);
        let (key, value) = (key(number), format!("value {number}"));
        match etcd::put(&channel, &key, &value).await {
            Ok(revision) => {
                written.insert(key, (value, revision));
                count.fetch_add(1, Ordering::Relaxed);
                gap.lock().unwrap().note();
            }
            // Whether it was written is not known. Another member may answer.
            Err(_) => channel = address.channel(),
        }
        tokio::time::sleep(PAUSE).await;
    }
    written
}
