//! Servers as programs: made once from what `druid/tests/stores` pins, and kept below `target/tools`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};
use xtask::debian::{self, NoProgram};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A folder of `druid/tests/stores`.
fn pinned(folder: &str) -> PathBuf {
    repository().join("druid/tests/stores").join(folder)
}

fn tools() -> PathBuf {
    let tools = repository().join("target/tools");
    fs::create_dir_all(&tools).unwrap();
    tools
}

/// Of two that want a tool at once, one makes it.
fn locked<T>(name: &str, make: impl FnOnce() -> T) -> T {
    let lock = File::create(tools().join(format!("{name}.lock"))).unwrap();
    let _held = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    make()
}

/// A program of a Go module, of the version that the `go.mod` in a folder says.
pub(super) fn go(folder: &str, module: &str, package: &str) -> PathBuf {
    let manifest = pinned(folder).join("go.mod");
    let modules = fs::read_to_string(&manifest).unwrap();
    let version = modules.lines().find_map(|line| {
        let rest = line.trim().strip_prefix(module)?.strip_prefix(' ')?;
        rest.split_whitespace().next()
    });
    let name = package.rsplit('/').next().unwrap();
    let program = tools().join(format!("{name}-{}", version.unwrap()));
    locked(name, || {
        if program.exists() {
            return;
        }
        let beside = tools().join(format!("{name}.new"));
        build(folder, package, &beside);
        fs::rename(&beside, &program).unwrap();
    });
    program
}

/// The program whose source is in a folder.
pub(super) fn own(folder: &str) -> PathBuf {
    let files = ["main.go", "go.mod", "go.sum"];
    let read = |file| fs::read_to_string(pinned(folder).join(file)).unwrap();
    let source = files.map(read).concat();
    locked(folder, || {
        let place = made_from(folder, &source, |place| {
            build(folder, ".", &place.join(folder));
        });
        place.join(folder)
    })
}

/// Builds a package that a folder names.
fn build(folder: &str, package: &str, program: &Path) {
    let mut build = Command::new("go");
    build
        .args(["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w"])
        .arg("-o")
        .args([program.as_os_str(), package.as_ref()])
        .current_dir(pinned(folder))
        .env("CGO_ENABLED", "0");
    run(build, "install Go 1.26 or later, and put `go` on the PATH");
}

/// The folder with `node_modules` of what the `package-lock.json` in a folder says. `None`, with the
/// reason printed, where there is no npm and none can be had.
pub(super) fn npm(folder: &str) -> Option<PathBuf> {
    let lock = fs::read_to_string(pinned(folder).join("package-lock.json")).unwrap();
    locked(folder, || {
        if !has("npm --version", "npm") {
            return None;
        }
        let made = made_from(folder, &lock, |place| {
            for file in ["package.json", "package-lock.json"] {
                fs::copy(pinned(folder).join(file), place.join(file)).unwrap();
            }
            let mut install = Command::new("npm");
            install
                .args(["ci", "--omit=dev", "--ignore-scripts"])
                .args(["--no-audit", "--no-fund", "--silent"])
                .current_dir(place);
            run(install, "is the registry of npm reached?");
        });
        Some(made)
    })
}

/// The virtual environment with what the `requirements.txt` in a folder says; `finish` adds to it what
/// takes long. `None`, with the reason printed, where there is no Python and none can be had.
pub(super) fn python(folder: &str, finish: impl FnOnce(&Path)) -> Option<PathBuf> {
    let requirements = fs::read_to_string(pinned(folder).join("requirements.txt")).unwrap();
    locked(folder, || {
        if !has("python3 -c 'import venv, ensurepip'", "python3-venv") {
            return None;
        }
        let made = made_from(folder, &requirements, |place| {
            let mut create = Command::new("python3");
            create.args(["-m", "venv"]).arg(place);
            run(create, "can this Python make virtual environments?");
            let mut install = Command::new(place.join("bin/pip"));
            install
                .args(["install", "--quiet", "--no-deps", "--only-binary=:all:"])
                .args(["--disable-pip-version-check", "--requirement"])
                .arg(pinned(folder).join("requirements.txt"));
            run(install, "is the package index of Python reached?");
            finish(place);
        });
        Some(made)
    })
}

/// A folder that is whole when its mark says what it was made from.
fn made_from(name: &str, source: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let place = tools().join(format!("store-{name}"));
    let mark = place.join("made-from");
    if fs::read_to_string(&mark).is_ok_and(|it| it == source) {
        return place;
    }
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    make(&place);
    fs::write(mark, source).unwrap();
    place
}

/// Whether a program is there, or can be had from Debian's packages.
fn has(line: &str, package: &str) -> bool {
    match debian::need(line, package) {
        Ok(()) => true,
        Err(why @ (NoProgram::NotRoot { .. } | NoProgram::NoPackages { .. })) => {
            eprintln!("skipped: {why}");
            false
        }
        Err(why @ NoProgram::Install { .. }) => panic!("{why}"),
    }
}

/// Runs a program to its end. It has to succeed.
pub(super) fn run(mut command: Command, remedy: &str) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; {remedy}"));
    assert!(
        output.status.success(),
        "{command:?} failed; {remedy}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
