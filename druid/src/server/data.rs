//! The data directory on disk, off the threads that serve.

use std::path::PathBuf;

use druid_core::backup::initialize::{Data, Probe, Volume};

use super::parts::{self, Later};
use crate::clock;
use crate::data_dir::volume::volume;
use crate::data_dir::{DataDir, DataDirError};

/// One on disk.
#[derive(Clone, Debug)]
pub(crate) struct OnDisk {
    dir: DataDir,
    namespace: Option<String>,
}

impl OnDisk {
    /// `namespace`: `POD_NAMESPACE`; without it the volume is anybody's.
    pub(crate) fn new(dir: DataDir, namespace: Option<String>) -> Self {
        Self { dir, namespace }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DataDirError> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

impl parts::DataDir for OnDisk {
    fn volume(&self) -> Later<'_, Result<Volume, String>> {
        let Self { dir, namespace } = self.clone();
        Box::pin(blocking(move || volume(&dir, namespace.as_deref())))
    }

    fn inspect<'a>(&'a self, probes: &'a [Probe]) -> Later<'a, Result<Data, String>> {
        let (dir, probes) = (self.dir.clone(), probes.to_vec());
        Box::pin(blocking(move || Ok(dir.inspect(&probes)?.data)))
    }

    fn move_aside(&self) -> Later<'_, Result<Option<PathBuf>, String>> {
        let dir = self.dir.clone();
        let now = clock::now();
        Box::pin(blocking(move || dir.move_aside(now)))
    }
}
