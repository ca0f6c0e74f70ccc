//! The files: etcd's configuration, the marker of an orderly stop, and who may read the data.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use druid_core::agent::marker::Signal;
use thiserror::Error;

use super::Args;

/// A file that cannot be dealt with.
#[derive(Debug, Error)]
pub(crate) enum FileError {
    /// There is nowhere to write the configuration.
    #[error("HOME is not set: etcd's configuration is written there")]
    NoHome,
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Where they are.
#[derive(Debug)]
pub(crate) struct Files {
    config: PathBuf,
    marker: PathBuf,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { path, source }
}

impl Files {
    /// By the flags and `HOME`.
    pub(crate) fn new(args: &Args) -> Result<Self, FileError> {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
        Ok(Self {
            config: PathBuf::from(home.ok_or(FileError::NoHome)?).join("etcd.conf.yaml"),
            marker: args.exit_code_file.clone(),
        })
    }

    /// What the marker says; `None` if there is none.
    pub(crate) fn marker(&self) -> Result<Option<String>, FileError> {
        match fs::read(&self.marker) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&self.marker)(error)),
        }
    }

    /// From now on the data may be in any state. Also removes the file of an older etcd-wrapper.
    pub(crate) fn forget_marker(&self) -> Result<(), FileError> {
        for path in [
            self.marker.clone(),
            self.marker.with_file_name("validation_marker"),
        ] {
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(at(&path)(error)),
            }
        }
        Ok(())
    }

    /// etcd was stopped in good order.
    pub(crate) fn write_marker(&self, signal: Signal) -> Result<(), FileError> {
        replace(&self.marker, signal.text().as_bytes())
    }

    /// Writes etcd's configuration. Returns where.
    pub(crate) fn write_config(&self, yaml: &[u8]) -> Result<PathBuf, FileError> {
        replace(&self.config, yaml)?;
        Ok(self.config.clone())
    }
}

/// Makes every file of the data readable by us alone.
pub(crate) fn protect_data(data_dir: &Path) -> Result<(), FileError> {
    match protect(data_dir) {
        Err(FileError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn protect(dir: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let entry = entry.map_err(at(dir))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(at(&path))?;
        if kind.is_dir() {
            protect(&path)?;
        } else if kind.is_file() {
            fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(at(&path))?;
        }
    }
    Ok(())
}

/// The old file or the new one, never a part.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let beside = path.with_extension("part");
    let write = || {
        let mut file = File::create(&beside)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(at(path))
}
