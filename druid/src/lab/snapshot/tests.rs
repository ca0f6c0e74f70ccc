use std::os::unix::fs::PermissionsExt as _;

use druid_core::observed::SnapshotWork;

use super::super::cluster::{Lab, Size};
use super::super::tests::{V34, V35, gateway, spec, until};
use super::*;

async fn settled(snapshots: &Snapshots, name: &str) -> SnapshotWork {
    until(|| async {
        let work = snapshots.work(name);
        (!matches!(work, SnapshotWork::Taking | SnapshotWork::Verifying)).then_some(work)
    })
    .await
}

async fn take(snapshots: &Snapshots, name: &str, of: Result<Client, String>) -> SnapshotWork {
    snapshots.take(name, std::future::ready(of));
    settled(snapshots, name).await
}

fn client(url: &str) -> Client {
    Client::new(url.parse().unwrap(), None).unwrap()
}

/// The files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let below = entries.flat_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path)
        } else {
            vec![path]
        }
    });
    below.collect()
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
        let taken = take(snapshots, "one", Ok(client(&url))).await;
        assert_eq!(taken, SnapshotWork::Taken);
        let store = lab.dir().join("snapshots");
        let kept = files(&store);
        assert_eq!(kept.len(), 1, "{kept:?}");
        let prefix = store.join("one/v2/Full-00000000-00000004-");
        let named = kept[0].display().to_string();
        assert!(named.starts_with(&prefix.display().to_string()), "{named}");
        assert_eq!(named.rsplit('.').next(), Some("gz"), "{named}");

        snapshots.verify("one");
        let verified = settled(snapshots, "one").await;
        let SnapshotWork::Verified {
            revision,
            bytes,
            sha256,
        } = &verified
        else {
            panic!("{verified:?}");
        };
        assert_eq!((*revision, sha256.len()), (4, 64));
        assert!(*bytes > 20_000 && bytes % 512 == 32, "{bytes}");

        // The same name is the same snapshot.
        let again = take(snapshots, "one", Err("not asked".to_owned())).await;
        assert_eq!(again, verified);

        snapshots.corrupt_after_take();
        let taken = take(snapshots, "two", Ok(client(&url))).await;
        assert_eq!(taken, SnapshotWork::Taken);
        snapshots.verify("two");
        let damaged = settled(snapshots, "two").await;
        let SnapshotWork::Damaged(why) = damaged else {
            panic!("{damaged:?}");
        };
        assert!(why.starts_with("two/v2/Full-"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_take_that_fails_says_why_and_leaves_no_file() {
    let lab = Lab::start(spec(Size::One, V35)).await.unwrap();
    let url = lab.client_urls().into_values().next().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(dir.path().to_owned());
    let nobody = take(&snapshots, "nobody", Err("nobody leads".to_owned())).await;
    assert_eq!(nobody, SnapshotWork::Failed("nobody leads".to_owned()));

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}", silent.local_addr().unwrap());
    drop(silent);
    let SnapshotWork::Failed(why) = take(&snapshots, "gone", Ok(client(&gone))).await else {
        panic!("it did not fail");
    };
    assert!(why.contains(&gone), "{why}");

    // What is in the way of the directory stands in for one that cannot be written to.
    fs::create_dir(dir.path().join("snapshots")).unwrap();
    let in_the_way = dir.path().join("snapshots/blocked");
    fs::write(&in_the_way, "").unwrap();
    fs::set_permissions(&in_the_way, fs::Permissions::from_mode(0o600)).unwrap();
    let SnapshotWork::Failed(why) = take(&snapshots, "blocked", Ok(client(&url))).await else {
        panic!("it did not fail");
    };
    assert!(why.contains("blocked/v2/Full-"), "{why}");

    snapshots.fail_takes();
    let SnapshotWork::Failed(why) = take(&snapshots, "fault", Ok(client(&url))).await else {
        panic!("it did not fail");
    };
    assert!(why.contains("snapshot-fails"), "{why}");
    assert_eq!(files(dir.path()), [in_the_way]);
}

#[tokio::test]
async fn only_what_is_taken_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(dir.path().to_owned());
    snapshots.verify("early");
    assert_eq!(snapshots.work("early"), SnapshotWork::Absent);
}
