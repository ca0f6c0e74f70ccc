//! What every store does, tried on a directory and on a real S3 server.

use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::credentials::{Env, Whose};
use super::flags::{Provider, StoreFlags};
use super::http::Patience;
use super::location::Location;
use super::read::{ObjectReader, store_error};
use super::test_servers::{S3_SECRET, S3Server};
use super::upload::Upload;
use super::{Body, ErrorKind, Piece, Store, StoreError};

const MIB: usize = 1 << 20;

/// Flags as they are when only these are given.
pub(super) fn flags(provider: Provider, prefix: &str) -> StoreFlags {
    StoreFlags {
        whose: Whose::Main,
        provider: Some(provider),
        container: String::new(),
        prefix: prefix.to_owned(),
        endpoint: String::new(),
        parallel: 5,
        min_chunk: 5 << 20,
    }
}

/// Each byte is different from its neighbours in a way that a lost or repeated part shows.
pub(super) fn noise(bytes: usize, seed: u64) -> Bytes {
    let mut noise = vec![0; bytes];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut noise);
    noise.into()
}

/// A body in pieces of uneven sizes, and whether it comes to its end.
pub(super) fn body(content: &Bytes, ends: bool) -> Body {
    let (sender, pieces) = mpsc::channel(2);
    let mut rest = content.clone();
    let at_most = Some(content.len() as u64);
    tokio::spawn(async move {
        let mut size = 1;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(size));
            size = (size * 3 + 1) % (700 << 10) + 1;
            if sender.send(Piece::Bytes(piece)).await.is_err() {
                return;
            }
        }
        if ends {
            let _ = sender.send(Piece::End).await;
        }
    });
    Body { pieces, at_most }
}

async fn put(store: &dyn Store, key: &str, content: &Bytes) {
    let written = store.put(key, body(content, true)).await.unwrap();
    assert_eq!(written, content.len() as u64, "{key}");
}

async fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    let listed = store.list(prefix).await.unwrap();
    let mut keys: Vec<String> = listed.into_iter().map(|it| it.key).collect();
    keys.sort();
    keys
}

/// Where providers differ, and may.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways {
    /// How many names are in a page of a listing.
    pub(super) page: usize,
    /// Whether a name may have a backslash in it. To Azure it is a slash.
    pub(super) backslash: bool,
    /// What a listing says of the size of an object without bytes. To Swift it may be a list of
    /// segments.
    pub(super) empty: Option<u64>,
}

/// As S3 has it.
pub(super) const USUAL: Ways = Ways {
    page: 1000,
    backslash: true,
    empty: Some(0),
};

/// Everything that the trait promises.
pub(super) async fn behaves(store: Arc<dyn Store>, ways: Ways) {
    nothing_is_there(&*store).await;
    ranges(&*store).await;
    sizes(&*store, ways.empty).await;
    odd_keys(&*store, ways.backslash).await;
    neighbours(&*store).await;
    abandoned(&*store).await;
    blocking(&store).await;
    many(&store, ways.page + 100).await;
}

async fn nothing_is_there(store: &dyn Store) {
    assert_eq!(store.list("none/").await.unwrap(), []);
    assert_eq!(store.list("").await.unwrap(), []);
    assert_eq!(store.head("none/v2/a").await.unwrap(), None);
    let missing = store.get("none/v2/a", 0..10).await.unwrap_err();
    assert_eq!(missing.kind, ErrorKind::NotFound, "{missing}");
    store.delete("none/v2/a").await.unwrap();
}

async fn ranges(store: &dyn Store) {
    let content = noise(1000, 1);
    put(store, "r/v2/a", &content).await;
    let whole: [(Range<u64>, Range<usize>); 6] = [
        (0..1000, 0..1000),
        (0..1, 0..1),
        (10..20, 10..20),
        (990..2000, 990..1000),
        (1000..1010, 0..0),
        (5..5, 0..0),
    ];
    for (asked, got) in whole {
        let bytes = store.get("r/v2/a", asked.clone()).await.unwrap();
        assert_eq!(bytes, content[got], "{asked:?}");
    }
    let found = store.head("r/v2/a").await.unwrap().unwrap();
    assert_eq!((found.key.as_str(), found.bytes), ("r/v2/a", Some(1000)));
    // Written again, it is the newer one.
    let newer = noise(500, 2);
    put(store, "r/v2/a", &newer).await;
    assert_eq!(store.get("r/v2/a", 0..1000).await.unwrap(), newer);
    assert_eq!(keys(store, "r/").await, ["r/v2/a"]);
    store.delete("r/v2/a").await.unwrap();
    assert_eq!(keys(store, "r/").await, [""; 0]);
    assert_eq!(store.head("r/v2/a").await.unwrap(), None);
}

async fn sizes(store: &dyn Store, empty: Option<u64>) {
    let part = 5 * MIB;
    for (seed, size) in [0, 1, part - 1, part, part + 1, 3 * part, 3 * part + 1]
        .into_iter()
        .enumerate()
    {
        let content = noise(size, seed as u64);
        put(store, "s/v2/a", &content).await;
        let got = store.get("s/v2/a", 0..size as u64 + 10).await.unwrap();
        assert!(got == content, "{size} bytes came back as {}", got.len());
        let listed = store.list("s/").await.unwrap();
        assert_eq!(listed.len(), 1);
        let expected = if size == 0 { empty } else { Some(size as u64) };
        assert_eq!(listed[0].bytes, expected);
        store.delete("s/v2/a").await.unwrap();
    }
}

async fn odd_keys(store: &dyn Store, backslash: bool) {
    let mut odd = vec![
        "o/v2/a b",
        "o/v2/a+b",
        "o/v2/a%20b",
        "o/v2/a&b=c",
        "o/v2/a#b",
        "o/v2/a?b",
        "o/v2/ä€",
        "o/v2/a~b:c@d",
        "o/v2/a'b\"c",
        "o/v2/(a)!*",
        "o/v2/.a",
        "o/v2/...",
    ];
    odd.extend(backslash.then_some("o/v2/a\\b"));
    for (at, key) in odd.iter().enumerate() {
        put(store, key, &noise(at + 1, 9)).await;
    }
    let mut expected = odd.clone();
    expected.sort_unstable();
    assert_eq!(keys(store, "o/").await, expected);
    for (at, key) in odd.iter().enumerate() {
        assert_eq!(
            store.get(key, 0..100).await.unwrap(),
            noise(at + 1, 9),
            "{key}"
        );
        store.delete(key).await.unwrap();
    }
    assert_eq!(keys(store, "o/").await, [""; 0]);
    // What would be another object, or a file elsewhere, is none.
    for key in ["o/../a", "o//a", "", "o/", "o/./a", "../a"] {
        let refused = [
            store.put(key, body(&noise(1, 1), true)).await.unwrap_err(),
            store.get(key, 0..1).await.unwrap_err(),
            store.delete(key).await.unwrap_err(),
        ];
        for error in refused {
            assert!(matches!(error.kind, ErrorKind::Other(_)), "{key}: {error}");
        }
    }
}

async fn neighbours(store: &dyn Store) {
    for key in [
        "p/v2/a",
        "p-2/v2/b",
        "p/v1/Backup-1/c",
        "pp/v2/d",
        "q/p/v2/e",
    ] {
        put(store, key, &noise(1, 3)).await;
    }
    assert_eq!(keys(store, "p/").await, ["p/v1/Backup-1/c", "p/v2/a"]);
    assert_eq!(keys(store, "p-2/").await, ["p-2/v2/b"]);
    assert_eq!(keys(store, "p").await.len(), 4);
    assert_eq!(keys(store, "").await.len(), 5);
    for key in keys(store, "").await {
        store.delete(&key).await.unwrap();
    }
}

async fn abandoned(store: &dyn Store) {
    for size in [0, 10, 12 * MIB] {
        let error = store.put("a/v2/a", body(&noise(size, 4), false)).await;
        assert_eq!(error.unwrap_err().kind, ErrorKind::Abandoned, "{size}");
        assert_eq!(keys(store, "").await, [""; 0], "{size}");
    }
    // Whoever waits for it goes away while the bytes still come.
    let (sender, pieces) = mpsc::channel(1);
    let at_most = Some(12 << 20);
    let waiting = store.put("a/v2/a", Body { pieces, at_most });
    let feeding = async {
        for _ in 0..12 {
            sender.send(Piece::Bytes(noise(MIB, 5))).await.unwrap();
        }
    };
    tokio::select! {
        _ = waiting => panic!("it ended without an end"),
        () = feeding => {}
    }
    // The end comes too late, or not at all.
    let _ = sender.send(Piece::End).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(keys(store, "").await, [""; 0]);
}

async fn blocking(store: &Arc<dyn Store>) {
    let (runtime, store) = (Handle::current(), Arc::clone(store));
    let work = tokio::task::spawn_blocking(move || {
        let content = noise(11 * MIB + 7, 6);
        let key = || "b/v2/a".to_owned();
        let mut upload = Upload::start(&runtime, Arc::clone(&store), key(), None);
        for piece in content.chunks(100_003) {
            upload.write_all(piece).unwrap();
        }
        assert_eq!(upload.finish().unwrap(), content.len() as u64);
        let sizes = [None, Some(content.len() as u64)];
        for (size, range) in sizes.into_iter().zip([4 << 20, 1 << 19]) {
            let mut reader =
                ObjectReader::with_ranges(&runtime, Arc::clone(&store), key(), size, range);
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            assert!(read == content, "{} bytes", read.len());
            assert_eq!(reader.read(&mut [0; 10]).unwrap(), 0);
        }
        // A size that the object does not have is an error, and stays one.
        let more = Some(content.len() as u64 + 1);
        let mut reader = ObjectReader::open(&runtime, Arc::clone(&store), key(), more);
        for _ in 0..2 {
            let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
            let error = store_error(&error).unwrap();
            assert!(error.to_string().contains("cannot be read"), "{error}");
        }
        // Dropped early, it is neither an object nor a hang.
        drop(ObjectReader::open(
            &runtime,
            Arc::clone(&store),
            key(),
            None,
        ));
        let mut upload = Upload::start(&runtime, Arc::clone(&store), "b/v2/b".to_owned(), None);
        upload.write_all(&content).unwrap();
        drop(upload);
        let missing = ObjectReader::open(&runtime, Arc::clone(&store), "b/v2/c".to_owned(), None)
            .read(&mut [0; 10])
            .unwrap_err();
        assert_eq!(store_error(&missing).unwrap().kind, ErrorKind::NotFound);
        let missing = ObjectReader::open(&runtime, store, "b/v2/c".to_owned(), Some(10))
            .read(&mut [0; 10])
            .unwrap_err();
        assert_eq!(store_error(&missing).unwrap().kind, ErrorKind::NotFound);
    });
    work.await.unwrap();
}

/// More than a page of a listing.
async fn many(store: &Arc<dyn Store>, many: usize) {
    let mut puts = tokio::task::JoinSet::new();
    for at in 0..many {
        let store = Arc::clone(store);
        puts.spawn(async move {
            put(&*store, &format!("m/v2/{at:05}"), &noise(1, 8)).await;
        });
        if puts.len() >= 16 {
            puts.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(done) = puts.join_next().await {
        done.unwrap();
    }
    let expected: Vec<String> = (0..many).map(|at| format!("m/v2/{at:05}")).collect();
    assert_eq!(keys(&**store, "m/").await, expected);
}

pub(super) fn s3(server: &S3Server, prefix: &str) -> Location {
    let env = server.variables().into_iter().collect();
    flags(Provider::S3, prefix).open(&env).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_does_what_every_store_does() {
    let home = TempDir::new().unwrap();
    let env: Env = [("HOME", home.path().to_str().unwrap())]
        .into_iter()
        .collect();
    let location = flags(Provider::Local, "").open(&env).unwrap();
    behaves(Arc::clone(&location.store), USUAL).await;
    assert!(home.path().join("default.bkp/m/v2/00001").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_s3_server_does_what_every_store_does() {
    let server = S3Server::start();
    behaves(s3(&server, "").store, USUAL).await;
    assert_eq!(server.open_uploads(), [""; 0].map(std::path::PathBuf::from));
}

#[tokio::test]
async fn a_listing_holds_the_prefix_and_nothing_of_a_neighbour() {
    let server = S3Server::start();
    let store = s3(&server, "").store;
    let name = "Full-00000000-00000010-1700000000.gz";
    for prefix in ["c", "c-2", "c/v1"] {
        put(&*store, &format!("{prefix}/v2/{name}"), &noise(1, 1)).await;
    }
    let listing = s3(&server, "c").listing().await.unwrap();
    assert_eq!(listing.snapshots().len(), 1);
    // The prefix below ours belongs to somebody else and is named as such.
    assert_eq!(listing.foreign().len(), 1);
    let listing = s3(&server, "c/v1").listing().await.unwrap();
    assert_eq!(listing.snapshots().len(), 1);
}

async fn every_verb(store: &dyn Store) -> [StoreError; 4] {
    [
        store.list("p/").await.unwrap_err(),
        store.get("p/a", 0..1).await.unwrap_err(),
        store
            .put("p/a", body(&noise(1, 1), true))
            .await
            .unwrap_err(),
        store.delete("p/a").await.unwrap_err(),
    ]
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named() {
    let server = S3Server::start();
    let env = server.variables().into_iter().collect();
    let mut flags = flags(Provider::S3, "p");
    flags.container = "others".to_owned();
    let location = flags.open(&env).unwrap();
    for error in every_verb(&*location.store).await {
        assert_eq!(
            error.kind,
            ErrorKind::NoContainer("others".to_owned()),
            "{error}"
        );
        assert!(error.object.starts_with("s3://others/p/"), "{error}");
    }
}

#[tokio::test]
async fn wrong_credentials_are_denied_at_once() {
    let server = S3Server::start();
    let env = server.variables_for(&server.url(), &format!("{S3_SECRET}x"));
    let location = flags(Provider::S3, "p")
        .open(&env.into_iter().collect())
        .unwrap();
    let start = std::time::Instant::now();
    for error in every_verb(&*location.store).await {
        assert!(
            matches!(&error.kind, ErrorKind::Denied(why) if why.contains("SignatureDoesNotMatch")),
            "{error}"
        );
    }
    let error = location.store.head("p/a").await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Denied(_)), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn nobody_who_listens_is_a_store_that_is_not_available() {
    let server = S3Server::start();
    let url = format!("http://{}", super::test_servers::free_address());
    let env = server.variables_for(&url, S3_SECRET).into_iter().collect();
    let patience = Patience {
        backoff: super::backoff::Backoff {
            first: Duration::from_millis(1),
            ..Patience::default().backoff
        },
        ..Patience::default()
    };
    let location = flags(Provider::S3, "p").open_with(&env, patience).unwrap();
    for error in every_verb(&*location.store).await {
        assert!(error.is_temporary(), "{error}");
        assert!(
            matches!(&error.kind, ErrorKind::Unavailable { why, tries: 5 } if why.contains("refused")),
            "{error}"
        );
    }
}
