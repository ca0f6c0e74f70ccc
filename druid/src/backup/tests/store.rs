//! A store that fails when told to.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use jiff::Timestamp;

use crate::store::{Answer, Body, ErrorKind, Listed, Store, StoreError};

/// Another store that fails so many writes and deletions from now on; negative never ends.
#[derive(Clone, Debug)]
pub(crate) struct Failing {
    inner: Arc<dyn Store>,
    pub(crate) writes: Arc<AtomicI64>,
    pub(crate) attempts: Arc<AtomicI64>,
    pub(crate) deletions: Arc<AtomicI64>,
    /// What keys that contain this say of their retention.
    pub(crate) immutable: Option<(&'static str, Timestamp)>,
}

impl Failing {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            writes: Arc::default(),
            attempts: Arc::default(),
            deletions: Arc::default(),
            immutable: None,
        }
    }
}

impl Store for Failing {
    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<Listed>> {
        Box::pin(async move {
            let mut listed = self.inner.list(prefix).await?;
            for object in &mut listed {
                let retained = self.immutable.filter(|(part, _)| object.key.contains(part));
                object.immutable_until = retained.map(|(_, until)| until);
            }
            Ok(listed)
        })
    }

    fn head<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Listed>> {
        self.inner.head(key)
    }

    fn get<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        self.inner.get(key, range)
    }

    fn put<'a>(&'a self, key: &'a str, mut body: Body) -> Answer<'a, u64> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        if self.writes.load(Ordering::SeqCst) == 0 {
            return self.inner.put(key, body);
        }
        self.writes.fetch_sub(1, Ordering::SeqCst);
        Box::pin(async move {
            // In the middle.
            body.pieces.recv().await;
            Err(unavailable("write", key))
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        if self.deletions.load(Ordering::SeqCst) == 0 {
            return self.inner.delete(key);
        }
        self.deletions.fetch_sub(1, Ordering::SeqCst);
        Box::pin(async move { Err(unavailable("delete", key)) })
    }
}

fn unavailable(verb: &'static str, key: &str) -> StoreError {
    StoreError {
        verb,
        object: key.to_owned(),
        kind: ErrorKind::Unavailable {
            why: "503".to_owned(),
            tries: 1,
        },
    }
}
