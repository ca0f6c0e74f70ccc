use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::Command;

use tempfile::TempDir;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn body(pieces: &[Piece]) -> Body {
    let (sender, receiver) = mpsc::channel(pieces.len().max(1));
    for piece in pieces {
        sender.try_send(piece.clone()).unwrap();
    }
    Body {
        pieces: receiver,
        at_most: None,
    }
}

fn bytes(text: &'static str) -> Piece {
    Piece::Bytes(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn only_the_owner_may_read_what_it_writes() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("root");
    let store = Local::new(root.clone());
    assert_eq!(store.list("").await.unwrap(), []);
    assert!(!root.exists(), "a listing makes nothing");
    let pieces = [bytes("ab"), bytes("c"), Piece::End];
    store.put("p/v2/a", body(&pieces)).await.unwrap();
    assert_eq!(fs::read(root.join("p/v2/a")).unwrap(), b"abc");
    assert_eq!(mode(&root.join("p/v2/a")), 0o600);
    for directory in ["", "p", "p/v2"] {
        assert_eq!(mode(&root.join(directory)), 0o700, "{directory}");
    }
}

#[tokio::test]
async fn a_prefix_with_a_slash_in_front_is_a_path_below_the_root_all_the_same() {
    let dir = TempDir::new().unwrap();
    let store = Local::new(dir.path().to_owned());
    store.put("/p/v2/a", body(&[Piece::End])).await.unwrap();
    assert!(dir.path().join("p/v2/a").is_file());
    let keys = |listed: Vec<Listed>| listed.into_iter().map(|it| it.key).collect::<Vec<_>>();
    assert_eq!(keys(store.list("/p/").await.unwrap()), ["/p/v2/a"]);
    assert_eq!(keys(store.list("p/").await.unwrap()), ["p/v2/a"]);
    assert_eq!(keys(store.list("/").await.unwrap()), ["/p/v2/a"]);
    assert_eq!(keys(store.list("../").await.unwrap()), [""; 0]);
}

#[tokio::test]
async fn links_are_not_followed() {
    let dir = TempDir::new().unwrap();
    let store = Local::new(dir.path().join("root"));
    store
        .put("p/a", body(&[bytes("x"), Piece::End]))
        .await
        .unwrap();
    let root = dir.path().join("root");
    symlink(&root, root.join("p/loop")).unwrap();
    symlink(root.join("p/a"), root.join("p/link")).unwrap();
    symlink("nowhere", root.join("p/broken")).unwrap();
    let listed = store.list("").await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(store.head("p/link").await.unwrap(), None);
    assert!(store.get("p/link", 0..1).await.is_err());
    store.delete("p/link").await.unwrap();
    assert_eq!(fs::read(root.join("p/a")).unwrap(), b"x");
}

#[tokio::test]
async fn what_is_being_written_is_not_listed_and_no_snapshot() {
    let dir = TempDir::new().unwrap();
    let store = Local::new(dir.path().to_owned());
    let (sender, pieces) = mpsc::channel(1);
    let at_most = None;
    let put = store.put("a", Body { pieces, at_most });
    let looking = async {
        sender.send(bytes("half")).await.unwrap();
        loop {
            let files: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
            if let [Ok(file)] = &files[..] {
                let name = file.file_name().into_string().unwrap();
                assert!(is_upload(&name), "{name}");
                assert!(!name.contains('-'), "{name}");
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(store.list("").await.unwrap(), []);
        drop(sender);
    };
    let (put, ()) = tokio::join!(put, looking);
    assert_eq!(put.unwrap_err().kind, ErrorKind::Abandoned);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn only_old_files_of_exactly_our_pattern_are_removed() {
    let dir = TempDir::new().unwrap();
    let gone = ".upload~0123456789abcdef";
    let stay = [
        ".upload~0123456789abcde",
        ".upload~0123456789abcdef0",
        ".upload~0123456789ABCDEF",
        ".upload~0123456789abcdeg",
        "upload~0123456789abcdef",
        "Full-00000000-00000010-1700000000",
    ];
    for name in stay.iter().chain([&gone]) {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    let inside = dir.path().join(".upload~fedcba9876543210");
    fs::create_dir(&inside).unwrap();
    let now = fs::metadata(dir.path().join(gone))
        .unwrap()
        .modified()
        .unwrap();
    remove_dead_uploads(dir.path(), now + DEAD_UPLOAD).unwrap();
    assert!(dir.path().join(gone).exists());
    // A clock that went back is no age.
    remove_dead_uploads(dir.path(), now - DEAD_UPLOAD * 2).unwrap();
    assert!(dir.path().join(gone).exists());
    remove_dead_uploads(dir.path(), now + DEAD_UPLOAD + Duration::from_secs(1)).unwrap();
    assert!(!dir.path().join(gone).exists());
    assert!(inside.is_dir());
    for name in stay {
        assert!(dir.path().join(name).exists(), "{name}");
    }
}

#[tokio::test]
async fn a_file_where_a_directory_has_to_be_is_an_error() {
    let dir = TempDir::new().unwrap();
    let store = Local::new(dir.path().to_owned());
    store.put("a", body(&[Piece::End])).await.unwrap();
    let error = store.put("a/b", body(&[Piece::End])).await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Other(_)), "{error}");
    let error = store.put("a/b/c", body(&[Piece::End])).await.unwrap_err();
    let why = format!("the directory {}/a/b cannot be made", dir.path().display());
    assert!(error.to_string().contains(&why), "{error}");
    assert_eq!(store.head("a/b").await.unwrap(), None);
    fs::create_dir(dir.path().join("d")).unwrap();
    let error = store.put("d", body(&[Piece::End])).await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Other(_)), "{error}");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

/// Where the store of [`a_disk_that_is_full_is_said_to_be`] is, in its child.
const FULL_ROOT: &str = "DRUID_TEST_FULL_ROOT";

#[test]
fn a_disk_that_is_full_is_said_to_be_and_nothing_is_left() {
    let dir = TempDir::new().unwrap();
    let test = std::env::current_exe().unwrap();
    let name = "store::local::tests::in_the_child_a_disk_is_full";
    // A file system of its own, where that is allowed; else a limit on the size of files.
    let script = r#"
        if unshare -Urm true 2>/dev/null; then
            exec unshare -Urm sh -c 'mount -t tmpfs -o size=1m full "$1" && exec "$2" --exact "$3" --ignored' sh "$@"
        fi
        trap '' XFSZ
        ulimit -f 1024
        exec "$2" --exact "$3" --ignored
    "#;
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(dir.path())
        .arg(test)
        .arg(name)
        .env(FULL_ROOT, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[tokio::test]
#[ignore = "run by the test above, with a disk that is full"]
async fn in_the_child_a_disk_is_full() {
    let root = PathBuf::from(std::env::var(FULL_ROOT).unwrap());
    let store = Local::new(root.clone());
    let large = Piece::Bytes(vec![1; 3 << 20].into());
    let error = store.put("p/a", body(&[large, Piece::End])).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Full, "{error}");
    assert!(error.is_temporary());
    assert_eq!(fs::read_dir(root.join("p")).unwrap().count(), 0);
    // There is room again.
    store
        .put("p/b", body(&[bytes("x"), Piece::End]))
        .await
        .unwrap();
    assert!(fs::metadata(root.join("p/b")).unwrap().size() == 1);
}
