//! The data directory on disk, off the threads that serve.

use std::fmt::Display;
use std::path::PathBuf;

use druid_core::agent::recovery::{Holding, Memory};
use druid_core::backup::initialize::{Data, Looked, Probe, Volume};
use druid_core::member::MemberId;

use super::parts::{self, Later};
use crate::clock;
use crate::data_dir::inspect::StandingError;
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

async fn blocking<T: Send + 'static, E: Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
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
        Box::pin(blocking(move || {
            Ok::<_, DataDirError>(dir.inspect(&probes)?.data)
        }))
    }

    fn move_aside(&self) -> Later<'_, Result<Option<PathBuf>, String>> {
        let dir = self.dir.clone();
        let now = clock::now();
        Box::pin(blocking(move || dir.move_aside(now)))
    }

    fn holding(&self) -> Later<'_, Result<Holding, String>> {
        let dir = self.dir.clone();
        Box::pin(blocking(move || holding(&dir)))
    }

    fn make_alone(&self) -> Later<'_, Result<Vec<MemberId>, String>> {
        let dir = self.dir.clone();
        Box::pin(blocking(move || dir.make_alone()))
    }

    fn recovered(&self) -> Later<'_, Result<Option<Memory>, String>> {
        let dir = self.dir.clone();
        Box::pin(blocking(move || dir.recovered()))
    }

    fn remember(&self, memory: Memory) -> Later<'_, Result<(), String>> {
        let dir = self.dir.clone();
        Box::pin(blocking(move || dir.remember(&memory)))
    }
}

fn holding(dir: &DataDir) -> Result<Holding, DataDirError> {
    let (database, log) = match dir.inspect(&[Probe::Log, Probe::Deep])?.data {
        Data::Absent | Data::Incomplete => return Ok(Holding::Nothing),
        Data::Broken(why) => return Ok(Holding::Broken { why }),
        Data::Locked => {
            let path = dir.database();
            return Err(DataDirError::Locked { path });
        }
        Data::Readable {
            log,
            deep,
            database,
        } => match deep {
            Looked::Broken(why) => return Ok(Holding::Broken { why }),
            Looked::Found(()) | Looked::NotYet => (database, log),
        },
    };
    let newest = match log {
        Looked::Found(newest) => newest,
        Looked::NotYet => database,
        Looked::Broken(why) => return Ok(Holding::Broken { why }),
    };
    match dir.standing() {
        Ok(Some(standing)) => Ok(Holding::data(&standing, newest.get(), dir.recovered()?)),
        Ok(None) => Ok(Holding::Nothing),
        Err(StandingError::Broken(why)) => Ok(Holding::Broken { why }),
        Err(StandingError::DataDir(error)) => Err(error),
    }
}
