//! Whose volume it is: the file `safe_guard` beside the data directory names the namespace of the
//! first that used it.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use druid_core::backup::initialize::Volume;
use thiserror::Error;

/// The file cannot be dealt with.
#[derive(Debug, Error)]
#[error("{}: {source}; the volume must be writable for this user", path.display())]
pub(crate) struct VolumeError {
    path: PathBuf,
    source: io::Error,
}

/// The file, and who we are.
#[derive(Clone, Debug)]
pub(crate) struct VolumeGuard {
    path: PathBuf,
    namespace: Option<String>,
}

impl VolumeGuard {
    /// `namespace`: `POD_NAMESPACE`; without it nothing is checked.
    pub(crate) fn new(data_dir: &Path, namespace: Option<String>) -> Self {
        Self {
            path: data_dir.with_file_name("safe_guard"),
            namespace,
        }
    }

    /// Reads it, or makes it.
    pub(crate) fn check(&self) -> Result<Volume, VolumeError> {
        let Some(namespace) = &self.namespace else {
            return Ok(Volume::Ours);
        };
        let failed = |source| VolumeError {
            path: self.path.clone(),
            source,
        };
        match fs::read(&self.path) {
            Ok(owner) => {
                let owner = String::from_utf8_lossy(&owner).trim().to_owned();
                if owner != *namespace {
                    return Ok(Volume::Foreign(owner));
                }
                fs::set_permissions(&self.path, Permissions::from_mode(0o600)).map_err(failed)?;
                Ok(Volume::Ours)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.make(namespace).map_err(failed)?;
                Ok(Volume::Ours)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Whole or not at all: a part of it would be another's.
    fn make(&self, namespace: &str) -> io::Result<()> {
        if let Some(parent) = self.path.parent().filter(|it| !it.as_os_str().is_empty()) {
            fs::create_dir_all(parent)?;
        }
        let beside = self.path.with_extension("part");
        let mut file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(namespace.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(dir: &Path, namespace: &str) -> VolumeGuard {
        VolumeGuard::new(&dir.join("new.etcd"), Some(namespace.to_owned()))
    }

    #[test]
    fn the_first_namespace_owns_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(guard(dir.path(), "a").check().unwrap(), Volume::Ours);
        let file = dir.path().join("safe_guard");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(guard(dir.path(), "a").check().unwrap(), Volume::Ours);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let foreign = Volume::Foreign("a".to_owned());
        assert_eq!(guard(dir.path(), "b").check().unwrap(), foreign);
        assert_eq!(fs::read(&file).unwrap(), b"a");
    }

    #[test]
    fn nobody_in_particular_checks_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let guard = VolumeGuard::new(&dir.path().join("new.etcd"), None);
        assert_eq!(guard.check().unwrap(), Volume::Ours);
        assert!(!dir.path().join("safe_guard").exists());
    }
}
