//! `druid verify`, `inspect` and `restore` as programs: exit codes, what they print, and what a kill
//! or a full disk leaves behind.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod common_preflight;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common_preflight::{Cluster, Node, Release};
use druid_core::backup::Revision;
use druid_core::backup::delta::{Change, Encoder, Event};
use druid_core::bolt::{PageSize, Sink as _, Writer};
use druid_core::mvcc::{KeyValue, RowKey, bucket};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

const FULL: &str = "Full-00000000-00000101-1795355041.gz";
const DELTA: &str = "Incr-00000102-00000102-1795355046.gz";

fn druid(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_druid"));
    command.args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    druid(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A directory with a store in it, and room for a data directory.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(place.path("store/v2")).unwrap();
        fs::create_dir_all(place.path("volume")).unwrap();
        place
    }

    /// With a store that etcd-backup-restore wrote.
    fn genuine() -> Self {
        let place = Self::new();
        for name in [FULL, DELTA] {
            place.put(name, &genuine(name));
        }
        place
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn text(&self, below: &str) -> String {
        self.path(below).to_str().unwrap().to_owned()
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path("store/v2").join(name), bytes).unwrap();
    }

    fn verify(&self, more: &[&str]) -> Output {
        let store = self.text("store");
        run(&[&["verify", store.as_str()], more].concat())
    }

    fn restore_command(&self, more: &[&str]) -> Command {
        let (store, data) = (self.text("store"), self.text("volume/data"));
        druid(
            &[
                &["restore", store.as_str(), "--data-dir", data.as_str()],
                more,
            ]
            .concat(),
        )
    }

    fn restore(&self, more: &[&str]) -> Output {
        self.restore_command(more).output().unwrap()
    }

    /// What is in the volume.
    fn volume(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("volume")).unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

fn genuine(name: &str) -> Vec<u8> {
    let store = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/store/v2");
    fs::read(Path::new(store).join(name)).unwrap()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn value(of: i64) -> Vec<u8> {
    let mut value = Vec::new();
    while value.len() < 1024 {
        value.extend(Sha256::digest(
            [of.to_le_bytes(), value.len().to_le_bytes()].concat(),
        ));
    }
    value
}

/// A base of so many revisions and a delta of half as many, with values of 1 KiB.
fn large(place: &Place, base: i64) {
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

/// Every file below, by its path: how long it is and the hash of its first MiB, or of all of it if it
/// is the database.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u64, Vec<u8>)> {
    let mut files = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            let length = fs::metadata(&path).unwrap().len();
            let much = if path.ends_with("db") {
                length
            } else {
                length.min(1 << 20)
            };
            let mut bytes = Vec::new();
            let file = fs::File::open(&path).unwrap();
            file.take(much).read_to_end(&mut bytes).unwrap();
            let hash = Sha256::digest(&bytes).to_vec();
            files.insert(path.strip_prefix(root).unwrap().to_owned(), (length, hash));
        }
    }
    files
}

#[test]
fn a_whole_store_is_verified_inspected_and_restored() {
    let place = Place::genuine();
    let verified = place.verify(&[]);
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    let text = stdout(&verified);
    assert!(text.contains("Restorable up to revision 102"), "{text}");
    let verified = json(&place.verify(&["--output", "json"]));
    assert_eq!(verified["restore"]["possible"], "yes");
    assert_eq!(verified["restore"]["revision"], 102);
    assert_eq!(verified["snapshots"][1]["state"], "whole");
    let store = place.text("store");
    let inspected = run(&["inspect", &store, "--output=json"]);
    assert_eq!(inspected.status.code(), Some(0));
    assert_eq!(json(&inspected)["snapshots"][0]["state"], "unread");
    // As etcd-backup-restore names it.
    let (container, root) = (
        format!("--store-container={}", place.text("")),
        "--store-prefix=store",
    );
    let flags = ["--storage-provider=Local", container.as_str(), root];
    let verified = run(&[&["verify"], &flags[..]].concat());
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");

    let restored = place.restore(&["--output", "json"]);
    assert_eq!(restored.status.code(), Some(0), "{restored:?}");
    assert_eq!(json(&restored)["revision"], 102);
    assert_eq!(json(&restored)["deltas"], 1);
    assert_eq!(stderr(&restored), "");
    let again = place.restore(&[]);
    let text = stdout(&again);
    assert!(
        text.contains("Restored revision 102") && text.contains(".before-"),
        "{text}"
    );
    let names = place.volume();
    assert_eq!(names.len(), 2, "{names:?}");
    // The store is read only.
    let v2 = place.path("store/v2");
    assert_eq!(fs::read(v2.join(FULL)).unwrap(), genuine(FULL));
    assert_eq!(fs::read_dir(v2).unwrap().count(), 2);
}

#[test]
fn a_changed_byte_is_named_by_both_commands_and_nothing_is_left() {
    let place = Place::genuine();
    for (name, step) in [(FULL, 331), (DELTA, 19)] {
        let original = genuine(name);
        for at in (10..original.len())
            .step_by(step)
            .chain([0, original.len() - 1])
        {
            let mut changed = original.clone();
            changed[at] = !changed[at];
            place.put(name, &changed);
            let verified = place.verify(&[]);
            assert_eq!(verified.status.code(), Some(2), "{name} {at}: {verified:?}");
            assert!(
                stdout(&verified).contains(&format!("damaged: v2/{name}")),
                "{verified:?}"
            );
            let restored = place.restore(&[]);
            assert_eq!(restored.status.code(), Some(1), "{name} {at}: {restored:?}");
            let said = stderr(&restored);
            assert!(said.lines().last().unwrap().contains(name), "{said}");
            assert_eq!(place.volume(), Vec::<String>::new());
        }
        place.put(name, &original);
    }
}

#[test]
fn loss_is_accepted_only_when_asked_for() {
    let place = Place::genuine();
    place.put(DELTA, b"");
    assert_eq!(place.verify(&[]).status.code(), Some(2));
    let refused = place.restore(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("--accept-loss"), "{refused:?}");
    let accepted = place.restore(&["--accept-loss", "--output=json"]);
    assert_eq!(accepted.status.code(), Some(0), "{accepted:?}");
    assert_eq!(json(&accepted)["revision"], 101);
    assert!(json(&accepted)["lost"].as_str().unwrap().contains(DELTA));
}

#[test]
fn what_cannot_be_found_out_is_exit_code_1_and_one_line() {
    let place = Place::genuine();
    let store = place.text("store");
    let missing = place.text("nothing");
    let file = place.text("store/v2") + "/" + FULL;
    for (args, expected) in [
        (vec!["verify", "ftp://x/y"], "ftp:// is no store"),
        (vec!["inspect", "s3://"], "names no container"),
        (vec!["verify", &missing], "nothing"),
        (vec!["inspect", &missing], "nothing"),
        (
            vec!["restore", &missing, "--data-dir", "/proc/x/y"],
            "nothing",
        ),
        (vec!["verify", &file], FULL),
        (vec!["verify"], "no store is given"),
        (
            vec!["restore", &store, "--data-dir", "/proc/x/y"],
            "/proc/x",
        ),
        (vec!["restore", &store, "--data-dir", "/"], "--data-dir"),
        (
            vec![
                "restore",
                &store,
                "--base",
                "Full-x",
                "--data-dir",
                &missing,
            ],
            "Full-x",
        ),
        (vec!["verify", &store, "--temp-dir", &missing], "nothing"),
    ] {
        let output = run(&args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        assert!(said.contains(expected), "{args:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{args:?}: {said}");
        assert!(
            !said.contains("Custom {") && !said.contains("Os {"),
            "{said}"
        );
    }
    for args in [
        vec!["restore", &store, "--bump-revision=1000"],
        vec!["restore", &store, "--mark-compacted"],
        vec!["verify", &store, "--nonsense"],
    ] {
        assert_eq!(run(&args).status.code(), Some(64), "{args:?}");
    }
    assert!(!Path::new(&missing).exists());
    assert_eq!(place.volume(), Vec::<String>::new());
}

#[test]
fn an_empty_store_is_not_whole_and_not_restored() {
    let place = Place::new();
    let verified = place.verify(&[]);
    assert_eq!(verified.status.code(), Some(2), "{verified:?}");
    assert_eq!(place.restore(&["--accept-loss"]).status.code(), Some(1));
    assert_eq!(place.volume(), Vec::<String>::new());
}

#[test]
fn what_may_not_be_read_is_not_damage() {
    let place = Place::genuine();
    let closed = fs::Permissions::from_mode(0o000);
    fs::set_permissions(place.path("store/v2").join(FULL), closed).unwrap();
    if fs::read(place.path("store/v2").join(FULL)).is_ok() {
        // Root reads everything.
        return;
    }
    let verified = place.verify(&[]);
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    assert!(stderr(&verified).contains(FULL));
    assert_eq!(place.restore(&["--accept-loss"]).status.code(), Some(1));
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_or_the_new_directory_whole() {
    let place = Place::genuine();
    let data = place.path("volume/data");
    assert!(place.restore(&[]).status.success());
    let old = tree(&data);
    for name in [FULL, DELTA] {
        fs::remove_file(place.path("store/v2").join(name)).unwrap();
    }
    large(&place, 8000);
    let began = Instant::now();
    let whole = place.restore(&[]);
    assert!(whole.status.success(), "{whole:?}");
    let took = began.elapsed();
    let new = tree(&data);
    assert_ne!(old, new);
    let aside = place
        .volume()
        .into_iter()
        .find(|it| it.contains(".before-"));
    let aside = place.path("volume").join(aside.unwrap());
    assert_eq!(tree(&aside), old);
    let mut killed = 0;
    for n in 1..=12 {
        // The old one again.
        fs::remove_dir_all(&data).unwrap();
        let copied = Command::new("cp").arg("-a").arg(&aside).arg(&data).status();
        assert!(copied.unwrap().success());
        let mut child = place
            .restore_command(&[])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(took * n / 12);
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        let found = tree(&data);
        assert!(found == old || found == new, "after {:?}", took * n / 12);
    }
    assert!(killed >= 6, "only {killed} were killed of 12");
    let last = place.restore(&[]);
    assert!(last.status.success(), "{last:?}");
    assert_eq!(tree(&data), new);
    let names = place.volume();
    assert!(names.iter().all(|it| !it.contains(".part-")), "{names:?}");
}

/// One clear line, and the data directory is the old one.
fn nothing_was_replaced(place: &Place, output: &Output, expected: &[&str]) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = stderr(output);
    assert!(expected.iter().any(|it| said.contains(it)), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert_eq!(place.volume(), ["data"]);
}

#[test]
fn a_file_that_may_not_grow_replaces_nothing() {
    let place = Place::genuine();
    assert!(place.restore(&[]).status.success());
    let old = tree(&place.path("volume/data"));
    large(&place, 3000);
    // Of 512 bytes each. The base does not fit, then the database does not, then the log does not.
    for blocks in [100, 8000, 100_000] {
        let restore = place.restore_command(&[]);
        let mut limited = Command::new("sh");
        limited.arg("-c");
        limited.arg(format!(
            "trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""
        ));
        limited.arg(restore.get_program()).args(restore.get_args());
        let output = limited.output().unwrap();
        nothing_was_replaced(&place, &output, &["too large", "free some space"]);
        assert_eq!(tree(&place.path("volume/data")), old);
    }
}

#[test]
fn a_full_disk_replaces_nothing() {
    let place = Place::genuine();
    large(&place, 3000);
    let mount = "mount -t tmpfs -o size=\"$SIZE\" none \"$VOLUME\"";
    let isolated = |size: &str, script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", &format!("{mount} && {script}")]);
        command
            .env("SIZE", size)
            .env("VOLUME", place.path("volume"));
        command
            .arg(env!("CARGO_BIN_EXE_druid"))
            .arg(place.path("store"));
        command.output()
    };
    if !isolated("1m", "true").is_ok_and(|it| it.status.success()) {
        // Where no one may mount, the limit of a file's size has to do.
        return;
    }
    let script = "mkdir -p \"$VOLUME\"/data/member && echo old > \"$VOLUME\"/data/member/x && \
                  \"$0\" restore \"$1\" --data-dir \"$VOLUME\"/data; echo $?; ls \"$VOLUME\"; \
                  cat \"$VOLUME\"/data/member/x";
    // No room for the base, none for the database, none for the log.
    for size in ["1m", "4m", "9m"] {
        let output = isolated(size, script).unwrap();
        assert_eq!(stdout(&output), "1\ndata\nold\n", "{size}: {output:?}");
        let said = stderr(&output);
        assert!(said.contains("free some space"), "{size}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
}

#[test]
fn a_decompression_bomb_is_refused_at_once() {
    let place = Place::new();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..1024 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let name = "Full-00000000-00000009-1795360000.gz";
    place.put(name, &encoder.finish().unwrap());
    let began = Instant::now();
    let refused = place.restore(&[]);
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(stderr(&refused).contains(name), "{refused:?}");
    assert_eq!(place.verify(&[]).status.code(), Some(2));
    assert_eq!(place.volume(), Vec::<String>::new());
}

#[test]
fn three_members_restored_apart_by_the_command_form_a_cluster() {
    let place = Place::genuine();
    let mut cluster = Cluster::prepare(&[Release::V3_5_27; 3], "http", &[]);
    let (initial, token) = (cluster.initial(), cluster.token().to_owned());
    for node in &cluster.nodes {
        let output = druid(&["restore", &place.text("store"), "--output=json", "--name"])
            .args([&node.name, "--initial-cluster", &initial])
            .args(["--initial-advertise-peer-urls", &node.peer_url])
            .args(["--initial-cluster-token", &token])
            .args(["--bump-revision=1000", "--mark-compacted", "--data-dir"])
            .arg(&node.data)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(json(&output)["revision"], 1102);
    }
    cluster.spawn_all();
    cluster.await_health();
}

/// What etcd says that its revision is.
fn revision(node: &Node) -> i64 {
    let address = node.client_url.trim_start_matches("http://");
    let body = r#"{"key":"YQ=="}"#;
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /v3/kv/range HTTP/1.0\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (_, json) = text.split_once("\r\n\r\n").unwrap();
    let answer: serde_json::Value = serde_json::from_str(json).unwrap();
    let revision = answer["header"]["revision"].as_str();
    revision.unwrap().parse().unwrap()
}

#[test]
fn an_etcd_that_was_never_written_to_is_backed_up_and_restored() {
    for release in [Release::V3_4_34, Release::V3_5_27, Release::V3_6_15] {
        let place = Place::new();
        let store = place.text("store");
        let live = Cluster::start(&[release]);
        let url = &live.nodes[0].client_url;
        let taken = run(&["snapshot", &store, "--once=full", "--endpoints", url]);
        let name = stdout(&taken);
        assert!(name.contains("Full-00000000-00000001-"), "{taken:?}");
        let verified = place.verify(&[]);
        assert_eq!(verified.status.code(), Some(0), "{verified:?}");
        let text = stdout(&verified);
        assert!(text.contains("Restorable up to revision 1"), "{text}");
        // It is of the same second, and takes nothing away.
        let compacted = run(&["compact", &store, "--output=json"]);
        assert_eq!(json(&compacted)["revision"], 1, "{compacted:?}");
        assert_eq!(fs::read_dir(place.path("store/v2")).unwrap().count(), 2);
        assert_eq!(place.verify(&[]).status.code(), Some(0));

        let mut again = Cluster::prepare(&[release], "http", &[]);
        let node = &again.nodes[0];
        let restored = druid(&["restore", &store, "--output=json", "--name", &node.name])
            .args(["--initial-cluster", &again.initial()])
            .args(["--initial-advertise-peer-urls", &node.peer_url])
            .args(["--initial-cluster-token", again.token(), "--data-dir"])
            .arg(&node.data)
            .output()
            .unwrap();
        assert_eq!(json(&restored)["revision"], 1, "{restored:?}");
        again.spawn_all();
        again.await_health();
        assert_eq!(revision(&again.nodes[0]), 1);
    }
}

#[test]
fn an_etcd_that_is_behind_the_store_is_not_backed_up_into_it() {
    let place = Place::genuine();
    let live = Cluster::start(&[Release::V3_5_27]);
    let url = &live.nodes[0].client_url;
    let before = tree(&place.path("store"));
    for once in ["--once=full", "--once=delta"] {
        let refused = run(&["snapshot", &place.text("store"), once, "--endpoints", url]);
        assert_eq!(refused.status.code(), Some(1), "{once}: {refused:?}");
        let says = "etcd is at revision 1 and the store has 102";
        assert!(stderr(&refused).contains(says), "{refused:?}");
    }
    assert!(tree(&place.path("store")) == before);
}
