//! What can be seen of a node from outside, so that a test can say that nothing is left of it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::process::Identity;
use super::cgroup;

/// What there is of one node. It can be told to another process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Traces {
    directory: PathBuf,
    cgroup: String,
    /// Those of processes, mounts and the network, as `/proc` names them. The kernel gives these
    /// names again to namespaces that are made later.
    namespaces: [String; 3],
    /// When this was seen, in clock ticks after the machine was started.
    seen: u64,
    /// The number of the network device that leads to it. The kernel gives it once.
    device: Option<u32>,
}

impl Traces {
    /// Of a node that runs: `init` is its first process, `device` leads to it if it has a network
    /// yet, and its files are in `directory`.
    ///
    /// # Errors
    /// It does not run.
    pub fn of(init: i32, device: Option<&str>, directory: &Path) -> io::Result<Self> {
        let device = device.map(number_of_device).transpose()?;
        Ok(Self {
            directory: directory.to_owned(),
            cgroup: cgroup::name(&Identity::read(init)?),
            namespaces: namespaces(Path::new(&format!("/proc/{init}")))?,
            seen: ticks()?,
            device,
        })
    }

    /// What is left of what was seen, in words.
    ///
    /// # Errors
    /// `/proc` or `/sys` cannot be read.
    pub fn left(&self) -> io::Result<Vec<String>> {
        let mut left = Vec::new();
        let directory = self.directory.display().to_string();
        if self.directory.exists() {
            left.push(format!("the directory {directory}"));
        }
        if std::fs::read_to_string("/proc/self/mountinfo")?.contains(&directory) {
            left.push(format!("a mount in {directory}"));
        }
        for entry in std::fs::read_dir("/proc")? {
            let process = entry?.path();
            let Ok(line) = std::fs::read(process.join("cmdline")) else {
                continue;
            };
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let pid = process.file_name().and_then(|it| it.to_str()?.parse().ok());
            let identity = pid.and_then(|pid| Identity::read(pid).ok());
            // Later ones are others', which have the names of its namespaces.
            let inside = identity.is_some_and(|it| it.started() <= self.seen)
                && namespaces(&process)
                    .is_ok_and(|its| its.iter().any(|it| self.namespaces.contains(it)));
            if inside || line.contains(&directory) {
                left.push(format!("the process {}: {line}", process.display()));
            }
        }
        for group in cgroup::everywhere(&self.cgroup).map_err(io::Error::other)? {
            left.push(format!("the control group {}", group.display()));
        }
        for entry in std::fs::read_dir("/sys/class/net")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if self.device.is_some() && number_of_device(&name).ok() == self.device {
                left.push(format!("the network device {name}"));
            }
        }
        Ok(left)
    }
}

fn namespaces(process: &Path) -> io::Result<[String; 3]> {
    let name = |kind| {
        let link = std::fs::read_link(process.join("ns").join(kind))?;
        Ok::<_, io::Error>(link.display().to_string())
    };
    Ok([name("pid")?, name("mnt")?, name("net")?])
}

/// `/proc/uptime` counts in hundredths of a second, as processes are told the time (proc(5)).
fn ticks() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/uptime")?;
    let uptime = text.split_whitespace().next().unwrap_or_default();
    uptime.replace('.', "").parse().map_err(io::Error::other)
}

fn number_of_device(name: &str) -> io::Result<u32> {
    let path = Path::new("/sys/class/net").join(name).join("ifindex");
    let text = std::fs::read_to_string(path)?;
    text.trim().parse().map_err(io::Error::other)
}
