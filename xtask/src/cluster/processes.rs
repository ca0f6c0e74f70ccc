//! The processes of a pod, as this machine sees them.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Those that run a program.
pub fn of_pod(uid: &str, program: &str) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
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

/// Whether its first argument is this one.
pub fn runs(process: Pid, command: &str) -> bool {
    let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    line.split(|it| *it == 0).nth(1) == Some(command.as_bytes())
}

/// Whether it has not ended, nor is about to: one that has, and was not waited for, has no line.
pub fn is_there(process: Pid) -> bool {
    std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// It may have ended meanwhile.
pub fn signal(process: Pid, signal: Signal) {
    let _ = kill(process, signal);
}
