//! What a recovery has done to a volume: a file beside the data directory, so that it is known as long
//! as the data is, and gone when that is.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use druid_core::agent::recovery::Memory;

use super::{DataDir, DataDirError, step, sync_dir};

/// The name of the file.
const RECOVERED: &str = "recovered";

impl DataDir {
    /// What was begun or carried out last. One that cannot be read counts for none: to carry out
    /// an instruction again is safe where it is given again.
    pub(crate) fn recovered(&self) -> Result<Option<Memory>, DataDirError> {
        let path = self.parent.join(RECOVERED);
        match fs::read(&path) {
            Ok(text) => Ok(Memory::parse(&String::from_utf8_lossy(&text)).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DataDirError::io(&path)(error)),
        }
    }

    /// Remembers what was begun or carried out.
    pub(crate) fn remember(&self, memory: &Memory) -> Result<(), DataDirError> {
        let path = self.parent.join(RECOVERED);
        fs::create_dir_all(&self.parent).map_err(DataDirError::io(&self.parent))?;
        // Written apart, so that half of it is never read.
        let part = self.parent.join(format!("{RECOVERED}.part"));
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)
            .and_then(|mut file| {
                file.write_all(memory.to_text().as_bytes())?;
                file.sync_all()
            });
        written.map_err(DataDirError::io(&part))?;
        step();
        fs::rename(&part, &path).map_err(DataDirError::io(&path))?;
        sync_dir(&self.parent)
    }
}
