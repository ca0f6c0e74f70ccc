//! The processes of a pod, as this machine sees them.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Those that run a program.
pub(crate) fn of_pod(uid: &str, program: &str) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let found = processes.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let groups = std::fs::read_to_string(entry.path().join("cgroup")).ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let first = line.split(|it| *it == 0).next()?;
        let first = String::from_utf8_lossy(first);
        let name = first.rsplit('/').next()?;
        let of_pod = groups.contains(uid) || groups.contains(&uid.replace('-', "_"));
        (of_pod && name == program).then_some(Pid::from_raw(pid))
    });
    found.collect()
}

/// It may have ended meanwhile.
pub(crate) fn signal(process: Pid, signal: Signal) {
    let _ = kill(process, signal);
}
