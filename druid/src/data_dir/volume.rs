//! Whose volume it is: a file beside the data directory names the namespace, so that a volume that
//! was mounted into another's pod is not taken for an empty or a broken one.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

use druid_core::backup::initialize::Volume;

use super::{DataDir, DataDirError, sync_dir};

/// The name of the file.
pub(crate) const SAFE_GUARD: &str = "safe_guard";

/// A namespace has at most 63 bytes.
const LONGEST: u64 = 4096;

/// Reads the owner, and makes this namespace the owner of a volume without one. Who does not know
/// its namespace (`POD_NAMESPACE`) asks nothing and owns everything.
pub(crate) fn volume(dir: &DataDir, namespace: Option<&str>) -> Result<Volume, DataDirError> {
    let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) else {
        return Ok(Volume::Ours);
    };
    let path = dir.parent.join(SAFE_GUARD);
    let failed = || DataDirError::io(&path);
    let owner = match File::open(&path) {
        Ok(file) => {
            file.set_permissions(Permissions::from_mode(0o600))
                .map_err(failed())?;
            let mut text = Vec::new();
            file.take(LONGEST)
                .read_to_end(&mut text)
                .map_err(failed())?;
            String::from_utf8_lossy(&text).trim().to_owned()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed()(error)),
    };
    if owner == namespace {
        return Ok(Volume::Ours);
    }
    if !owner.is_empty() {
        return Ok(Volume::Foreign(owner));
    }
    // Written apart, so that half a name is never read.
    let part = dir.parent.join(format!("{SAFE_GUARD}.part"));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut file| {
            file.write_all(namespace.as_bytes())?;
            file.sync_all()
        });
    written.map_err(DataDirError::io(&part))?;
    fs::rename(&part, &path).map_err(failed())?;
    sync_dir(&dir.parent)?;
    Ok(Volume::Ours)
}
