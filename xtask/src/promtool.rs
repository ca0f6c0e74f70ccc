//! promtool, which reads rules as Prometheus does. Debian has it in the package of Prometheus itself; of
//! that nothing else is taken, so that no Prometheus is installed or started.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use thiserror::Error;

use crate::cluster::process::search_path;
use crate::debian::{self, apt_get, run_in};
use crate::root;

const PROGRAM: &str = "promtool";
const PACKAGE: &str = "prometheus";

/// Why there is none. Tests that need it are skipped for the first three.
#[derive(Debug, Error)]
pub enum NoPromtool {
    /// It would have to be fetched.
    #[error("there is no promtool, and only root can fetch it: install the package {PACKAGE}")]
    NotRoot,
    /// No way to fetch it is known.
    #[error("there is no promtool, and no apt-get to fetch it with: install it from {PACKAGE}")]
    NoPackages,
    /// The package did not come.
    #[error("there is no promtool, and `{line}` failed ({why}): install the package {PACKAGE}")]
    Fetch {
        /// What was run.
        line: &'static str,
        /// How it ended.
        why: String,
    },
    /// A file.
    #[error("{}: {source}; is there space, and is it yours?", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Where it is: in the `PATH`, or in `target/tools/`, where it is put if it is in neither.
///
/// # Errors
/// It is nowhere and cannot be fetched.
pub fn promtool() -> Result<PathBuf, NoPromtool> {
    // Of two that look for it at once, one fetches it.
    static LOOKING: Mutex<()> = Mutex::new(());
    let _looking = LOOKING.lock().unwrap_or_else(PoisonError::into_inner);
    let tools = root().join("target/tools");
    let path = search_path();
    let places = std::env::split_paths(&path).chain([tools.clone()]);
    let mut programs = places.map(|it| it.join(PROGRAM));
    if let Some(found) = programs.find(|it| it.is_file()) {
        return Ok(found);
    }
    if !rustix::process::geteuid().is_root() {
        return Err(NoPromtool::NotRoot);
    }
    if !debian::has_packages() || !debian::is_there("dpkg-deb") {
        return Err(NoPromtool::NoPackages);
    }
    fetch(&tools)
}

fn fetch(tools: &Path) -> Result<PathBuf, NoPromtool> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| NoPromtool::File { path, source }
    };
    let failed = |line| move |why| NoPromtool::Fetch { line, why };
    fs::create_dir_all(tools).map_err(file(tools))?;
    let directory = tempfile::tempdir_in(tools).map_err(file(tools))?;
    let directory = directory.path();
    apt_get(directory, &["update"]).map_err(failed("apt-get update"))?;
    apt_get(directory, &["download", PACKAGE]).map_err(failed("apt-get download"))?;
    let unpack = "dpkg-deb --extract prometheus_*.deb .";
    run_in(directory, "sh", &["-c", unpack]).map_err(failed("dpkg-deb"))?;
    // At once: another process may look for it.
    let (unpacked, kept) = (directory.join("usr/bin/promtool"), tools.join(PROGRAM));
    fs::rename(unpacked, &kept).map_err(file(&kept))?;
    Ok(kept)
}
