//! The control groups of a node: one directory in each hierarchy, below which its kubelet makes
//! those of pods. The kernel does not remove them with the processes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::super::process::Identity;

const MOUNTED: &str = "/sys/fs/cgroup";
/// What names start with; the name of the node's first process follows.
const PREFIX: &str = "druid-";
/// A group counts its processes for a moment longer than they run.
const EMPTY_WITHIN: Duration = Duration::from_secs(10);
/// What the kubelet wants to limit in the newer kind of hierarchy, where the root has to allow it.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "hugetlb", "io", "memory", "pids"];

/// Why there are no groups, or still.
#[derive(Debug, Error)]
#[error("control group {}: {source}; remove it with `rmdir` from the innermost on", path.display())]
pub struct CgroupError {
    path: PathBuf,
    source: io::Error,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CgroupError + use<> {
    let path = path.to_owned();
    move |source| CgroupError { path, source }
}

/// The name of a node's groups.
pub(crate) fn name(init: &Identity) -> String {
    format!("{PREFIX}{}", init.name())
}

/// One hierarchy, or one for each controller.
fn hierarchies() -> Result<Vec<PathBuf>, CgroupError> {
    let root = Path::new(MOUNTED);
    if is_unified() {
        return Ok(vec![root.to_owned()]);
    }
    let mut all = Vec::new();
    for entry in std::fs::read_dir(root).map_err(failed(root))? {
        let path = entry.map_err(failed(root))?.path();
        // Names like `cpu` may be links to `cpu,cpuacct`.
        if path.is_dir() && !path.is_symlink() {
            all.push(path);
        }
    }
    Ok(all)
}

fn is_unified() -> bool {
    Path::new(MOUNTED).join("cgroup.controllers").exists()
}

/// Makes the groups of a node.
pub(crate) fn make(init: &Identity) -> Result<(), CgroupError> {
    if is_unified() {
        let control = Path::new(MOUNTED).join("cgroup.subtree_control");
        for controller in CONTROLLERS {
            // One that the kernel does not have is not missed before the kubelet says so.
            let _ = std::fs::write(&control, format!("+{controller}"));
        }
    }
    for hierarchy in hierarchies()? {
        let path = hierarchy.join(name(init));
        std::fs::create_dir(&path).map_err(failed(&path))?;
    }
    Ok(())
}

/// Removes the groups of a node that has ended.
pub(crate) fn remove(init: &Identity) -> Result<(), CgroupError> {
    for hierarchy in hierarchies()? {
        let path = hierarchy.join(name(init));
        let start = Instant::now();
        while let Err(error) = remove_tree(&path) {
            if start.elapsed() > EMPTY_WITHIN {
                return Err(failed(&path)(error));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// Where there are groups of this name.
pub(crate) fn everywhere(name: &str) -> Result<Vec<PathBuf>, CgroupError> {
    let all = hierarchies()?.into_iter().map(|it| it.join(name));
    Ok(all.filter(|it| it.exists()).collect())
}

/// Removes what is left of nodes that were killed. What cannot be removed is left to the next time.
pub(crate) fn sweep() {
    for hierarchy in hierarchies().unwrap_or_default() {
        for entry in std::fs::read_dir(hierarchy).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|it| it.strip_prefix(PREFIX));
            if owner.and_then(Identity::runs_by_name) == Some(false) {
                let _ = remove_tree(&entry.path());
            }
        }
    }
}

/// The files in it are the kernel's, and go with it.
fn remove_tree(path: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    std::fs::remove_dir(path)
}
