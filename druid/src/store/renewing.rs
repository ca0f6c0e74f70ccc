//! A store whose credentials are exchanged while the program runs.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::credentials::Env;
use super::flags::StoreFlags;
use super::location::{Location, OpenError, Reopening};
use super::{Answer, Body, Listed, Store};

/// Reads the credentials again before each request. Their files are few and small, and a request
/// costs far more.
#[derive(Debug)]
struct Renewing {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    reopening: Reopening,
    /// The one that was opened last.
    store: Arc<dyn Store>,
    /// Why the credentials of now are not used. Told once.
    trouble: Option<OpenError>,
}

/// Opens a store that follows its credentials.
pub(crate) fn open(flags: StoreFlags, env: Env) -> Result<Location, OpenError> {
    let mut reopening = Reopening::open(flags, env)?;
    let first = reopening.current()?;
    let state = State {
        reopening,
        store: first.store,
        trouble: None,
    };
    Ok(Location {
        store: Arc::new(Renewing {
            state: Mutex::new(state),
        }),
        ..first
    })
}

impl Renewing {
    /// With the credentials of now; with the former ones while those cannot be read.
    fn current(&self) -> Arc<dyn Store> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.reopening.current() {
            Ok(location) => {
                state.store = location.store;
                state.trouble = None;
            }
            Err(error) => {
                if state.trouble.as_ref() != Some(&error) {
                    tracing::warn!(%error, "the store's credentials are not read again");
                }
                state.trouble = Some(error);
            }
        }
        Arc::clone(&state.store)
    }
}

impl Store for Renewing {
    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<Listed>> {
        let store = self.current();
        Box::pin(async move { store.list(prefix).await })
    }

    fn head<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Listed>> {
        let store = self.current();
        Box::pin(async move { store.head(key).await })
    }

    fn get<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        let store = self.current();
        Box::pin(async move { store.get(key, range).await })
    }

    fn put<'a>(&'a self, key: &'a str, body: Body) -> Answer<'a, u64> {
        let store = self.current();
        Box::pin(async move { store.put(key, body).await })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        let store = self.current();
        Box::pin(async move { store.delete(key).await })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::credentials::Whose;
    use crate::store::flags::Provider;

    fn write(directory: &std::path::Path, name: &str, value: &str) {
        fs::write(directory.join(name), value).unwrap();
    }

    #[tokio::test]
    async fn new_credentials_are_used_and_broken_ones_are_not() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path();
        write(directory, "accessKeyID", "a");
        write(directory, "secretAccessKey", "b");
        write(directory, "region", "eu-west-1");
        let flags = StoreFlags {
            whose: Whose::Main,
            provider: Some(Provider::S3),
            container: "bucket".to_owned(),
            prefix: "p".to_owned(),
            endpoint: String::new(),
            parallel: 1,
            min_chunk: 5 << 20,
        };
        let path = directory.display().to_string();
        let env: Env = [("AWS_APPLICATION_CREDENTIALS", path)]
            .into_iter()
            .collect();
        let mut reopening = Reopening::open(flags, env).unwrap();
        let first = reopening.current().unwrap().store;
        let store = Renewing {
            state: Mutex::new(State {
                reopening,
                store: Arc::clone(&first),
                trouble: None,
            }),
        };
        assert!(Arc::ptr_eq(&store.current(), &first), "nothing changed");
        fs::remove_file(directory.join("secretAccessKey")).unwrap();
        assert!(Arc::ptr_eq(&store.current(), &first), "they are not whole");
        write(directory, "secretAccessKey", "c");
        let second = store.current();
        assert!(!Arc::ptr_eq(&second, &first), "they changed");
        assert!(Arc::ptr_eq(&store.current(), &second));
    }
}
