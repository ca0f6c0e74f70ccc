//! A snapshot as `/snapshot/...` tells it: the field names are etcd-backup-restore's, down to the
//! misspelt one. `sizeBytes` and `sha256` are ours, of the object as it is stored; they are there
//! where they are known.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::backup::listing::Object;
use crate::backup::names::{Key, Kind, Layout, Prefix, Suffix};

/// Go's zero time: "none".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// One snapshot. `place` is where the layout's directory is, such as `main/v2` of a bucket; `sha256`
/// the digest of the object, in hexadecimal.
pub fn describe(
    object: &Object,
    place: &str,
    immutable_until: Option<Timestamp>,
    sha256: Option<String>,
) -> Value {
    let key = &object.key;
    let name = &key.name;
    let (kind, start) = match name.kind() {
        Kind::Full => ("Full", 0),
        Kind::Delta { start } => ("Incr", start.get()),
    };
    let suffix = match name.suffix() {
        Suffix::Known(codec) => codec.suffix().to_owned(),
        Suffix::Unknown(suffix) => suffix.to_string(),
    };
    let directory = match key.layout {
        Layout::V1 { backup } => format!("Backup-{}", backup.time().as_second()),
        Layout::V2 => String::new(),
    };
    let mut told = json!({
        "createdOn": name.created().time().to_string(),
        "immutabilityExpriyTime": immutable_until.map_or(NEVER.to_owned(), |it| it.to_string()),
        "versionID": null,
        "kind": kind,
        "snapDir": directory,
        "snapName": name.to_string(),
        "prefix": place,
        "compressionSuffix": suffix,
        "startRevision": start,
        "lastRevision": name.last().get(),
        "isChunk": key.part.is_some(),
        "isFinal": name.is_final(),
    });
    if let Some(bytes) = object.bytes {
        told["sizeBytes"] = bytes.into();
    }
    if let Some(sha256) = sha256 {
        told["sha256"] = sha256.into();
    }
    told
}

/// Where the directory of a key's layout is. In a bucket that is a part of the key. `root` is that of
/// a store that is a directory; there it is an absolute path, which ends in a slash.
pub fn place(key: &Key, prefix: &Prefix, root: Option<&str>) -> String {
    let layout = match key.layout {
        Layout::V1 { .. } => "v1",
        Layout::V2 => "v2",
    };
    let below = format!("{}{layout}", prefix.to_list());
    match root {
        Some(root) => {
            let (root, below) = (root.trim_end_matches('/'), below.trim_start_matches('/'));
            format!("{root}/{below}/")
        }
        None => below,
    }
}

/// The answer of `/snapshot/latest`: the newest full snapshot and the deltas after it.
pub fn latest(full: Option<&Value>, deltas: Vec<Value>) -> Value {
    let deltas = if deltas.is_empty() {
        Value::Null
    } else {
        deltas.into()
    };
    json!({"fullSnapshot": full, "deltaSnapshots": deltas})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(key: &str) -> Value {
        told_with(key, None, None)
    }

    fn told_with(key: &str, bytes: Option<u64>, sha256: Option<&str>) -> Value {
        let prefix = Prefix::parse("main").unwrap();
        let key = Key::parse(&prefix, key).unwrap();
        let object = Object { key, bytes };
        describe(&object, "main/v2", None, sha256.map(str::to_owned))
    }

    #[test]
    fn a_snapshot_is_told_with_the_names_that_are_known() {
        let expected = json!({
            "createdOn": "2026-11-22T15:04:06Z",
            "immutabilityExpriyTime": "0001-01-01T00:00:00Z",
            "versionID": null,
            "kind": "Incr",
            "snapDir": "",
            "snapName": "Incr-00000102-00000150-1795359846.gz",
            "prefix": "main/v2",
            "compressionSuffix": ".gz",
            "startRevision": 102,
            "lastRevision": 150,
            "isChunk": false,
            "isFinal": false,
        });
        assert_eq!(
            told("main/v2/Incr-00000102-00000150-1795359846.gz"),
            expected
        );
        let known = told_with(
            "main/v2/Incr-00000102-00000150-1795359846.gz",
            Some(7),
            Some("ab"),
        );
        assert_eq!(
            (&known["sizeBytes"], &known["sha256"]),
            (&json!(7), &json!("ab"))
        );
        let full = told("main/v1/Backup-1500000000/Full-00000000-00000101-1500000000.final");
        assert_eq!(full["kind"], "Full");
        assert_eq!(full["startRevision"], 0);
        assert_eq!(full["isFinal"], true);
        assert_eq!(full["compressionSuffix"], "");
        assert_eq!(full["snapDir"], "Backup-1500000000");
    }

    #[test]
    fn a_place_is_a_path_where_the_store_is_a_directory() {
        let prefix = Prefix::parse("main").unwrap();
        let of = |key: &str, root| place(&Key::parse(&prefix, key).unwrap(), &prefix, root);
        let full = "Full-00000000-00000101-1500000000";
        assert_eq!(of(&format!("main/v2/{full}"), None), "main/v2");
        assert_eq!(
            of(&format!("main/v2/{full}"), Some("/a/b/")),
            "/a/b/main/v2/"
        );
        let old = format!("main/v1/Backup-1500000000/{full}");
        assert_eq!(of(&old, Some("/a")), "/a/main/v1/");
    }

    #[test]
    fn nothing_is_null() {
        assert_eq!(
            latest(None, Vec::new()),
            json!({"fullSnapshot": null, "deltaSnapshots": null})
        );
    }
}
