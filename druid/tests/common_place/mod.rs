//! A directory with a backup store in it, and `druid` as a program on it.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use druid_core::backup::Revision;
use druid_core::backup::delta::{Change, Encoder, Event};
use druid_core::bolt::{PageSize, Sink as _, Writer};
use druid_core::mvcc::{KeyValue, RowKey, bucket};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

pub(crate) const FULL: &str = "Full-00000000-00000101-1795355041.gz";
pub(crate) const DELTA: &str = "Incr-00000102-00000102-1795355046.gz";

pub(crate) fn druid(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_druid"));
    command.args(args).stdin(Stdio::null());
    command
}

pub(crate) fn run(args: &[&str]) -> Output {
    druid(args).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Exit code 0.
pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    output
}

/// Exit code 1, and one line that says why.
pub(crate) fn refused(command: &mut Command, expected: &str) {
    let output = command.output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{command:?}: {output:?}");
    assert!(said.contains(expected), "{command:?}: {said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(
        !said.contains("Custom {") && !said.contains("Os {"),
        "{said}"
    );
}

/// Exit code 64.
pub(crate) fn misused(args: &[&str]) {
    assert_eq!(run(args).status.code(), Some(64), "{args:?}");
}

/// What verify says of a store that is whole.
pub(crate) fn verified(store: &Path) -> serde_json::Value {
    let store = store.to_str().unwrap();
    json(&succeed(&mut druid(&["verify", store, "--output=json"])))
}

/// A directory with a store in it, and room for a data directory.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(place.path("store/v2")).unwrap();
        fs::create_dir_all(place.path("volume")).unwrap();
        place
    }

    /// With a store that etcd-backup-restore wrote.
    pub(crate) fn genuine() -> Self {
        let place = Self::new();
        for name in [FULL, DELTA] {
            place.put(name, &genuine(name));
        }
        place
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    pub(crate) fn text(&self, below: &str) -> String {
        self.path(below).to_str().unwrap().to_owned()
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path("store/v2").join(name), bytes).unwrap();
    }

    pub(crate) fn verify(&self, more: &[&str]) -> Output {
        let store = self.text("store");
        run(&[&["verify", store.as_str()], more].concat())
    }

    pub(crate) fn restore_command(&self, more: &[&str]) -> Command {
        let (store, data) = (self.text("store"), self.text("volume/data"));
        druid(
            &[
                &["restore", store.as_str(), "--data-dir", data.as_str()],
                more,
            ]
            .concat(),
        )
    }

    pub(crate) fn restore(&self, more: &[&str]) -> Output {
        self.restore_command(more).output().unwrap()
    }

    /// What is in the volume.
    pub(crate) fn volume(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("volume")).unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

pub(crate) fn genuine(name: &str) -> Vec<u8> {
    let store = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/store/v2");
    fs::read(Path::new(store).join(name)).unwrap()
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn value(of: i64) -> Vec<u8> {
    let mut value = Vec::new();
    while value.len() < 1024 {
        value.extend(Sha256::digest(
            [of.to_le_bytes(), value.len().to_le_bytes()].concat(),
        ));
    }
    value
}

/// A base of so many revisions and a delta of half as many, with values of 1 KiB.
pub(crate) fn large(place: &Place, base: i64) {
    let mut writer = Writer::new(PageSize::DEFAULT);
    writer.bucket(bucket::KEY).unwrap();
    for at in 2..=base {
        let mut record = Vec::new();
        KeyValue {
            key: format!("k{at}").as_bytes(),
            create_revision: at,
            mod_revision: at,
            version: 1,
            value: &value(at),
            lease: 0,
        }
        .encode(&mut record);
        let row = RowKey::new(Revision::new(at).unwrap(), 0, false);
        writer.row(row.bytes().as_ref(), &record).unwrap();
    }
    writer.bucket(bucket::META).unwrap();
    let finish = writer.finish();
    let mut full = finish.metas;
    full.append(writer.out());
    let digest = Sha256::digest(&full);
    full.extend_from_slice(&digest);
    place.put(
        &format!("Full-00000000-{base:08}-1795360000.gz"),
        &gz(&full),
    );
    let (mut encoder, mut delta) = (Encoder::new(), Vec::new());
    let last = base + base / 2;
    for at in base + 1..=last {
        let (key, value) = (format!("d{at}"), value(at));
        let event = Event {
            key: key.as_bytes(),
            revision: Revision::new(at).unwrap(),
            change: Change::Put {
                created: Revision::new(at).unwrap(),
                version: 1,
                value: &value,
                lease: 0,
                lease_ttl: None,
            },
            time: Timestamp::UNIX_EPOCH,
        };
        encoder.push(&event, &mut delta).unwrap();
    }
    encoder.finish(&mut delta).unwrap();
    place.put(
        &format!("Incr-{:08}-{last:08}-1795360001.gz", base + 1),
        &gz(&delta),
    );
}

/// Every file below, by its path, as it is; none if there is no such directory. One that goes meanwhile is
/// gone.
pub(crate) fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let read = |path: PathBuf| match fs::read(root.join(&path)) {
        Ok(bytes) => Some((path, bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => panic!("{}: {error}", path.display()),
    };
    paths(root).into_iter().filter_map(read).collect()
}

/// Every file below, by its path: how long it is and the hash of its first MiB, or of all of it if it
/// is the database. None if there is no such directory.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, (u64, Vec<u8>)> {
    let mut files = BTreeMap::new();
    for path in paths(root) {
        let file = fs::File::open(root.join(&path)).unwrap();
        let length = file.metadata().unwrap().len();
        let much = if path.ends_with("db") {
            length
        } else {
            length.min(1 << 20)
        };
        let mut bytes = Vec::new();
        file.take(much).read_to_end(&mut bytes).unwrap();
        files.insert(path, (length, Sha256::digest(&bytes).to_vec()));
    }
    files
}

fn paths(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut todo) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    found
}
