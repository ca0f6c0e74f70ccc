use super::super::tests::{V34, V35, both};
use super::*;

fn script(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn says(version: &str) -> String {
    format!("#!/bin/sh\necho etcd Version: {version}\necho Git SHA: x\n")
}

fn named(path: &Path) -> Binaries {
    let at = EtcdAt {
        version: V35,
        path: path.to_owned(),
    };
    Binaries::new(vec![at], None, Vec::new()).with_deadline(Duration::from_millis(500))
}

#[tokio::test]
async fn the_genuine_releases_are_what_they_say() {
    for version in [V34, V35] {
        both().resolve(version).await.unwrap();
    }
}

#[tokio::test]
async fn the_flag_wins_then_the_directory_then_the_search_path() {
    let (dir, search) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let flag = script(dir.path(), "mine", &says("3.5.27"), 0o755);
    let in_dir = script(dir.path(), "etcd-3.5.27", &says("3.5.27"), 0o755);
    let on_path = script(search.path(), "etcd", &says("3.5.27"), 0o755);
    let at = EtcdAt {
        version: V35,
        path: flag.clone(),
    };
    let (some_dir, empty) = (Some(dir.path().to_owned()), Vec::new());
    let path = vec![PathBuf::from("/nonexistent"), search.path().to_owned()];
    let cases = [
        (
            Binaries::new(vec![at], some_dir.clone(), path.clone()),
            flag,
        ),
        (Binaries::new(empty.clone(), some_dir, path.clone()), in_dir),
        (Binaries::new(empty, None, path), on_path),
    ];
    for (binaries, expected) in cases {
        assert_eq!(binaries.resolve(V35).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn every_unfit_binary_is_named_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let not_executable = script(at, "plain", &says("3.5.27"), 0o644);
    let other = script(at, "other", &says("3.4.34"), 0o755);
    let hangs = script(at, "hangs", "#!/bin/sh\nsleep 60\n", 0o755);
    let noise = script(at, "noise", "#!/bin/sh\necho hello\n", 0o755);
    let not_runnable = script(at, "garbage", "\x7fELFgarbage", 0o755);
    script(at, "etcd", &says("3.4.34"), 0o755);
    let missing = at.join("missing");
    let cases: Vec<(Binaries, &[&str])> = vec![
        (
            named(&missing),
            &["--etcd 3.5.27=PATH", "missing", "does not exist"],
        ),
        (named(at), &["is not a file"]),
        (
            named(&not_executable),
            &["plain", "not executable", "chmod +x"],
        ),
        (
            named(&other),
            &["other", "named for etcd 3.5.27", "reports 3.4.34"],
        ),
        (named(&hangs), &["hangs", "within 0.5 s"]),
        (named(&noise), &["noise", "`hello`", "not etcd"]),
        (
            named(&not_runnable),
            &["garbage", "cannot be run", "for this machine"],
        ),
        (
            Binaries::new(Vec::new(), None, vec![at.to_owned()]),
            &[
                "no etcd 3.5.27",
                "on PATH is 3.4.34",
                "--etcd 3.5.27=PATH",
                "--etcd-dir",
            ],
        ),
        (
            Binaries::new(Vec::new(), None, Vec::new()),
            &["no etcd 3.5.27 was found;"],
        ),
        (
            Binaries::new(Vec::new(), Some(missing), Vec::new()),
            &["--etcd-dir", "missing", "does not exist"],
        ),
    ];
    for (binaries, parts) in cases {
        let error = binaries.resolve(V35).await.unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn the_flag_is_version_and_path() {
    let at: EtcdAt = "3.5.27=/a=b".parse().unwrap();
    assert_eq!((at.version, at.path), (V35, PathBuf::from("/a=b")));
    for bad in ["", "3.5.27", "3.5.27=", "=/a", "3.5=/a"] {
        assert!(bad.parse::<EtcdAt>().is_err(), "{bad}");
    }
}
