use std::os::unix::fs::symlink;

use druid_core::observed::SnapshotWork;

use super::super::cluster::{Lab, Size};
use super::super::tests::{V34, V35, gateway, spec, until};
use super::*;

/// Gives its chunks, then waits for ever.
struct Hangs;

impl Chunks for Hangs {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        std::future::pending().await
    }
}

fn chunks(all: Vec<Result<Vec<u8>, String>>) -> mpsc::Receiver<Result<Vec<u8>, String>> {
    let (give, chunks) = mpsc::channel(all.len().max(1));
    for chunk in all {
        give.try_send(chunk).unwrap();
    }
    chunks
}

async fn settled(snapshots: &Snapshots, name: &str) -> SnapshotWork {
    until(|| async {
        let work = snapshots.work(name);
        (!matches!(work, SnapshotWork::Taking | SnapshotWork::Verifying)).then_some(work)
    })
    .await
}

async fn take(
    snapshots: &Snapshots,
    name: &str,
    all: Vec<Result<Vec<u8>, String>>,
) -> SnapshotWork {
    snapshots.take(name, chunks(all));
    settled(snapshots, name).await
}

fn names(dir: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    fs::read_dir(dir).unwrap().map(name).collect()
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| *byte != b'=')
        .map(digit)
        .collect();
    let bits = |four: &[u8]| {
        four.iter()
            .fold(0_u32, |bits, digit| bits << 6 | u32::from(*digit))
    };
    digits
        .chunks(4)
        .flat_map(|four| {
            let bytes = (bits(four) << (6 * (4 - four.len()))).to_be_bytes();
            bytes[1..four.len()].to_vec()
        })
        .collect()
}

/// The chunks of a genuine snapshot.
async fn genuine(url: &str) -> Vec<Result<Vec<u8>, String>> {
    let answer = gateway::post(url, "/v3/maintenance/snapshot", "{}")
        .await
        .unwrap();
    let lines = answer.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            Ok(base64(
                message["result"]["blob"].as_str().unwrap_or_default(),
            ))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_genuine_snapshot_is_taken_once_and_verified_and_a_changed_byte_is_found() {
    for version in [V34, V35] {
        let lab = Lab::start(spec(Size::One, version)).await.unwrap();
        let url = lab.client_urls().into_values().next().unwrap();
        for _ in 0..3 {
            gateway::post(&url, "/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#)
                .await
                .unwrap();
        }
        let snapshots = lab.snapshots();
        assert_eq!(snapshots.work("one"), SnapshotWork::Absent);
        assert_eq!(
            take(snapshots, "one", genuine(&url).await).await,
            SnapshotWork::Taken
        );
        snapshots.verify("one");
        let verified = settled(snapshots, "one").await;
        let SnapshotWork::Verified {
            revision, bytes, ..
        } = &verified
        else {
            panic!("{verified:?}");
        };
        assert_eq!(*revision, 4);
        assert_eq!(*bytes, fs::metadata(snapshots.path("one")).unwrap().len());

        // The same name is the same snapshot.
        assert_eq!(
            take(snapshots, "one", vec![Err("not asked".to_owned())]).await,
            verified
        );

        snapshots.corrupt_after_take();
        assert_eq!(
            take(snapshots, "two", genuine(&url).await).await,
            SnapshotWork::Taken
        );
        snapshots.verify("two");
        let damaged = settled(snapshots, "two").await;
        let SnapshotWork::Damaged(why) = damaged else {
            panic!("{damaged:?}");
        };
        assert!(why.contains("do not match their digest"), "{why}");
    }
}

#[tokio::test]
async fn a_take_that_fails_says_why_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::with_patience(dir.path().to_owned(), Duration::from_millis(50));
    let cut = vec![Ok(vec![1; 100]), Err("etcd-0: connection reset".to_owned())];
    let failed = SnapshotWork::Failed("etcd-0: connection reset".to_owned());
    assert_eq!(take(&snapshots, "cut", cut).await, failed);

    snapshots.take("hangs", Hangs);
    let SnapshotWork::Failed(why) = settled(&snapshots, "hangs").await else {
        panic!("it did not fail");
    };
    assert!(why.starts_with("the member sent nothing for"), "{why}");

    // A device that is always full stands in for a disk that is.
    symlink("/dev/full", dir.path().join("full.db.part")).unwrap();
    let SnapshotWork::Failed(why) = take(&snapshots, "full", vec![Ok(vec![1; 100])]).await else {
        panic!("it did not fail");
    };
    assert!(
        why.contains("the disk is full") && why.contains("--dir"),
        "{why}"
    );

    snapshots.fail_takes();
    let SnapshotWork::Failed(why) = take(&snapshots, "fault", vec![Ok(vec![1])]).await else {
        panic!("it did not fail");
    };
    assert!(why.contains("snapshot-fails"), "{why}");
    assert_eq!(names(dir.path()), [""; 0]);
}

#[tokio::test]
async fn a_stream_that_ends_too_early_is_damaged_and_only_what_is_taken_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(dir.path().to_owned());
    snapshots.verify("early");
    assert_eq!(snapshots.work("early"), SnapshotWork::Absent);
    assert_eq!(
        take(&snapshots, "early", vec![Ok(vec![1; 512])]).await,
        SnapshotWork::Taken
    );
    assert_eq!(names(dir.path()), ["early.db"]);
    snapshots.verify("early");
    let SnapshotWork::Damaged(why) = settled(&snapshots, "early").await else {
        panic!("it was not found");
    };
    assert!(why.contains("512 bytes is not that of a snapshot"), "{why}");
}
