//! What is in an image, and that the program in it runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::*;

/// Any program that needs the C library.
const PROGRAM: &str = "/bin/ls";

#[test]
fn libraries_are_read_from_what_ldd_says() {
    let said =
        "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld.so (0x3)\n";
    let expected = ["/lib/x/libc.so.6", "/lib64/ld.so"].map(PathBuf::from);
    assert_eq!(loaded(said).unwrap(), BTreeSet::from(expected));
    let missing = "\tliba.so => not found\n\t/lib64/ld.so (0x3)\n";
    assert_eq!(loaded(missing).unwrap_err(), "liba.so => not found");
    assert_eq!(loaded("nothing\n").unwrap_err(), "nothing");
}

#[test]
fn a_release_without_an_image_is_refused_with_those_that_have_one() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("a.tar");
    let error = druid(Path::new(PROGRAM), &["3.3.0"], &archive).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no image of etcd 3.3.0; there are 3.4.34, 3.5.27"
    );
    assert!(!archive.exists());
}

fn read(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(File::open(archive).unwrap())
        .entries()
        .unwrap()
    {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let path = entry.path().unwrap().display().to_string();
        assert!(files.insert(path, bytes).is_none());
    }
    files
}

#[test]
fn each_part_of_an_archive_has_the_digest_that_it_is_named_by() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/druid.tar");
    druid(Path::new(PROGRAM), &RELEASES, &path).unwrap();
    let files = read(&path);
    let json = |name: &str| serde_json::from_slice::<Value>(&files[name]).unwrap();
    let blob = |of: &Value| {
        of["digest"]
            .as_str()
            .unwrap()
            .replace("sha256:", "blobs/sha256/")
    };
    let mut blobs = 0;
    for (name, bytes) in &files {
        if let Some(digest) = name.strip_prefix("blobs/sha256/") {
            assert_eq!(hex(&Sha256::digest(bytes)), digest);
            blobs += 1;
        }
    }
    // Of each image its etcd, configuration and manifest; one layer is in both.
    assert_eq!(blobs, 7);
    let index = json("index.json");
    let manifests = index["manifests"].as_array().unwrap();
    for (release, manifest) in RELEASES.iter().zip(manifests) {
        let name = &manifest["annotations"]["io.containerd.image.name"];
        assert_eq!(*name, format!("druid.local/druid:etcd-{release}"));
        let manifest = json(&blob(manifest));
        let config = json(&blob(&manifest["config"]));
        assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["druid"]));
        assert_eq!(config["config"]["User"], "65532:65532");
        for (layer, id) in manifest["layers"]
            .as_array()
            .unwrap()
            .iter()
            .zip(config["rootfs"]["diff_ids"].as_array().unwrap())
        {
            assert_eq!(layer["digest"], *id);
            assert_eq!(layer["size"], files[&blob(layer)].len());
        }
    }
    let again = dir.path().join("again.tar");
    druid(Path::new(PROGRAM), &RELEASES, &again).unwrap();
    assert!(std::fs::read(&path).unwrap() == std::fs::read(&again).unwrap());
}

#[test]
fn the_containerfile_starts_containers_as_our_image_does() {
    let text = std::fs::read_to_string(crate::root().join("Containerfile")).unwrap();
    let (_, last) = text.split_once("\nFROM scratch\n").unwrap();
    let values = |word: &str| -> Vec<String> {
        last.lines()
            .filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
            .map(str::to_owned)
            .collect()
    };
    let config = config();
    assert_eq!(values("USER"), [config["User"].as_str().unwrap()]);
    assert_eq!(values("WORKDIR"), [config["WorkingDir"].as_str().unwrap()]);
    assert_eq!(values("ENTRYPOINT"), [config["Entrypoint"].to_string()]);
    assert_eq!(serde_json::json!(values("ENV")), config["Env"]);
}

/// Only root can give files away, and change the root.
#[test]
fn the_programs_of_an_image_run_with_nothing_but_its_files() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    druid_files(Path::new(PROGRAM), "3.5.27", &root).unwrap();
    for (program, argument, expected) in [
        ("druid", "/home", "nonroot"),
        ("etcd", "--version", "etcd Version: 3.5.27"),
    ] {
        let output = Command::new("chroot")
            .args(["--userspec=65532:65532"])
            .arg(&root)
            .args([&format!("/usr/local/bin/{program}"), argument])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.starts_with(expected), "{output:?}");
    }
    let link = std::fs::read_link(root.join("usr/local/bin/chown")).unwrap();
    assert_eq!(link, Path::new("druid"));
    let home = std::fs::metadata(root.join(HOME)).unwrap();
    assert_eq!(
        (home.uid(), home.gid(), home.mode() & 0o7777),
        (USER, USER, 0o755)
    );
    assert_eq!(
        std::fs::metadata(root.join("tmp")).unwrap().mode() & 0o7777,
        0o1777
    );
}
