//! `cargo xtask order`: which functions an idle sidecar has called, for the linker.
#![expect(clippy::print_stdout, reason = "what a developer command says")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bench_backup::{BenchError, Etcd, Running, free_port, sidecar};
use crate::command::{Profile, build_druid};
use crate::{etcd, root};

/// Where the list is.
const LIST: &str = "druid/functions.txt";
/// For a sidecar that is a hundred times slower than otherwise to have done everything once.
const WORK: Duration = Duration::from_mins(2);

/// Runs the sidecar under callgrind through a start, a full snapshot, deltas and its paths.
pub(crate) fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let druid = build_druid(Profile::Release)?;
    let [_, (_, program)] = etcd::of_the_graph()?;
    let dir = tempfile::Builder::new().prefix("druid-order-").tempdir()?;
    let etcd = Etcd::start(&program, &dir.path().join("etcd"))?;
    let port = free_port()?;
    let found = dir.path().join("callgrind.out");
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--demangle=no"])
        .arg(format!("--callgrind-out-file={}", found.display()))
        .arg(&druid);
    sidecar(&mut command, dir.path(), &etcd, port);
    // It begins itself anew without this, and valgrind would lose it.
    command.env("GLIBC_TUNABLES", "glibc.malloc.arena_max=1");
    let mut server = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let began = Instant::now();
    while began.elapsed() < WORK {
        for path in [
            "healthz",
            "metrics",
            "snapshot/latest",
            "initialization/status",
        ] {
            ask(port, path);
        }
        std::thread::sleep(Duration::from_secs(10));
    }
    kill(Pid::from_raw(server.id().try_into()?), Signal::SIGTERM)?;
    server.wait()?;
    let names = Vec::from_iter(functions(&fs::read_to_string(&found)?, &druid));
    if names.is_empty() {
        return Err(Box::new(BenchError::Failed {
            line: "valgrind".to_owned(),
        }));
    }
    let list = root().join(LIST);
    fs::write(&list, names.join("\n") + "\n")?;
    println!("{} functions: {}", names.len(), list.display());
    Ok(ExitCode::SUCCESS)
}

/// What it answers does not matter.
fn ask(port: u16, path: &str) {
    use std::io::{Read as _, Write as _};
    let asked = || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        write!(
            stream,
            "GET /{path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
        )?;
        stream.read_to_end(&mut Vec::new())
    };
    drop(asked());
}

/// The functions of a program in a profile of callgrind, sorted, so that two lists can be compared. A name
/// is there once, with its number; afterwards the number stands for it
/// (<https://valgrind.org/docs/manual/cl-format.html>).
fn functions(profile: &str, program: &Path) -> BTreeSet<String> {
    let mut objects = BTreeMap::new();
    let mut object = String::new();
    let mut called = None;
    let mut names = BTreeSet::new();
    for line in profile.lines() {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        match key {
            "ob" => object = whole(value, &mut objects),
            "cob" => called = Some(whole(value, &mut objects)),
            "fn" | "cfn" => {
                let of = if key == "cfn" { called.take() } else { None };
                let ours = Path::new(of.as_ref().unwrap_or(&object)) == program;
                let name = value.split_once(") ").map(|(_, name)| name);
                // A recursion is a function of its own to callgrind.
                let name = name.and_then(|it| it.split('\'').next());
                names.extend(name.filter(|it| ours && is_symbol(it)).map(str::to_owned));
            }
            _ => {}
        }
    }
    names
}

/// Where callgrind knows no name, it gives the address, or says so in brackets.
fn is_symbol(name: &str) -> bool {
    !name.starts_with(|it: char| it.is_ascii_digit() || it == '(')
}

/// A name that may be shortened to its number.
fn whole(value: &str, known: &mut BTreeMap<String, String>) -> String {
    match value.split_once(") ") {
        Some((number, name)) => {
            known.insert(format!("{number})"), name.to_owned());
            name.to_owned()
        }
        None => known.get(value).cloned().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_the_program_are_named_once_and_sorted() {
        let profile = "ob=(1) /bin/druid\nfl=(1) ???\nfn=(1) main\n1 2\ncob=(2) /lib/libc.so\n\
                       cfn=(2) malloc\ncalls=1 0\n1 1\ncfn=(3) inner'2\ncalls=1 0\n1 1\n\
                       cfn=(7) 0x40\ncfn=(8) (below main)\nob=(2)\nfn=(4) free\ncob=(1)\ncfn=(5) called\ncalls=1 0\n1 1\n\
                       ob=(1)\nfn=(3)\n1 1\nfn=(6) inner\n1 1\n";
        let names = Vec::from_iter(functions(profile, Path::new("/bin/druid")));
        assert_eq!(names, ["called", "inner", "main"]);
        assert!(functions(profile, Path::new("/bin/other")).is_empty());
    }
}
