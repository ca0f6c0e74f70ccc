//! A store that fails: the real S3 server behind a proxy that answers for it, says nothing, or cuts
//! the connection.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::backoff::Backoff;
use super::flags::Provider;
use super::http::Patience;
use super::location::Location;
use super::read::{ObjectReader, store_error};
use super::test_servers::{S3_SECRET, S3Server};
use super::tests::{body, flags, noise, s3};
use super::{Body, ErrorKind, Piece};

/// What happens to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// The server answers it.
    Pass,
    /// It is answered here, with nothing but a status.
    Status(u16),
    /// It is never answered.
    Hang,
    /// The server does it, and its answer is cut after so many bytes.
    Cut(usize),
}

/// One request: `PUT /backups/p/a?partNumber=1...`, and how often this very one came before.
pub(crate) struct Seen<'a> {
    pub(crate) line: &'a str,
    pub(crate) before: usize,
}

type Rule = Arc<dyn Fn(Seen<'_>) -> Act + Send + Sync>;

/// The proxy, and what was asked of it.
pub(crate) struct Proxy {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(
        server: &S3Server,
        rule: impl Fn(Seen<'_>) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = server.address();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let rule: Rule = Arc::new(rule);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (rule, log) = (Arc::clone(&rule), Arc::clone(&log));
                tokio::spawn(async move {
                    // A client that goes away ends it; the test looks at what was seen.
                    let _ = serve(client, upstream.into(), &rule, &log).await;
                });
            }
        });
        Self {
            address,
            seen,
            task,
        }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, wanted: impl Fn(&str) -> bool) -> usize {
        self.seen().iter().filter(|it| wanted(it)).count()
    }

    /// A store behind it, with three quick tries.
    pub(crate) fn location(&self, server: &S3Server, deadline: Duration) -> Location {
        let url = format!("http://{}", self.address);
        let env = server.variables_for(&url, S3_SECRET).into_iter().collect();
        let patience = Patience {
            deadline,
            backoff: Backoff {
                tries: 3,
                first: Duration::from_millis(10),
                longest: Duration::from_millis(20),
            },
        };
        flags(Provider::S3, "p").open_with(&env, patience).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request, then the connection is closed.
async fn serve(
    mut client: TcpStream,
    upstream: SocketAddr,
    rule: &Rule,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let line = head
        .lines()
        .next()
        .unwrap_or_default()
        .replace(" HTTP/1.1", "");
    let range = header(&head, "range").unwrap_or_default();
    let line = format!("{line} {range}").trim_end().to_owned();
    let length = header(&head, "content-length").and_then(|it| it.parse().ok());
    let mut content = vec![0; length.unwrap_or(0)];
    client.read_exact(&mut content).await?;
    let before = {
        let mut log = log.lock().unwrap();
        let before = log.iter().filter(|it| **it == line).count();
        log.push(line.clone());
        before
    };
    let keep = match rule(Seen {
        line: &line,
        before,
    }) {
        Act::Pass => usize::MAX,
        Act::Cut(bytes) => bytes,
        Act::Hang => {
            // Until the client has had enough.
            client.read_u8().await?;
            return Ok(());
        }
        Act::Status(status) => {
            let answer =
                format!("HTTP/1.1 {status} No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            return client.write_all(answer.as_bytes()).await;
        }
    };
    let mut server = TcpStream::connect(upstream).await?;
    let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    server.write_all(head.as_bytes()).await?;
    server.write_all(&content).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    client.write_all(&answer[..answer.len().min(keep)]).await?;
    client.shutdown().await
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|it| it.split_once(": "));
    lines
        .find(|(it, _)| it.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(200);

/// Large enough for three parts.
const LARGE: usize = (11 << 20) + 5;

#[tokio::test]
async fn a_store_that_is_busy_twice_does_everything_at_the_third_try() {
    let server = S3Server::start();
    let proxy = Proxy::start(&server, |seen| match seen.before {
        0 => Act::Status(503),
        1 => Act::Status(500),
        _ => Act::Pass,
    })
    .await;
    let store = proxy.location(&server, LONG).store;
    let content = noise(LARGE, 1);
    assert_eq!(
        store.put("p/a", body(&content, true)).await.unwrap(),
        LARGE as u64
    );
    assert!(store.get("p/a", 0..LARGE as u64).await.unwrap() == content);
    assert_eq!(store.list("p/").await.unwrap().len(), 1);
    assert!(store.head("p/a").await.unwrap().is_some());
    store.delete("p/a").await.unwrap();
    assert_eq!(store.list("p/").await.unwrap(), []);
    let seen = proxy.seen();
    for line in &seen {
        let times = proxy.count(|it| it == line);
        assert!(times == 3 || line.contains("?versions"), "{times} x {line}");
    }
}

#[tokio::test]
async fn a_store_that_stays_busy_is_given_up_after_the_stated_tries() {
    let server = S3Server::start();
    let proxy = Proxy::start(&server, |_| Act::Status(503)).await;
    let store = proxy.location(&server, LONG).store;
    let start = Instant::now();
    let errors = [
        store.list("p/").await.unwrap_err(),
        store.head("p/a").await.unwrap_err(),
        store.get("p/a", 0..1).await.unwrap_err(),
        store
            .put("p/a", body(&noise(1, 1), true))
            .await
            .unwrap_err(),
        store
            .put("p/b", body(&noise(LARGE, 1), true))
            .await
            .unwrap_err(),
        store.delete("p/a").await.unwrap_err(),
    ];
    for error in &errors {
        assert!(
            matches!(&error.kind, ErrorKind::Unavailable { why, tries: 3 } if why.contains("503")),
            "{error}"
        );
        assert!(error.is_temporary());
    }
    assert_eq!(proxy.seen().len(), 3 * errors.len(), "{:#?}", proxy.seen());
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_refusal_is_not_asked_for_again() {
    let server = S3Server::start();
    let proxy = Proxy::start(&server, |_| Act::Status(403)).await;
    let store = proxy.location(&server, LONG).store;
    let errors = [
        store.list("p/").await.unwrap_err(),
        store.head("p/a").await.unwrap_err(),
        store.get("p/a", 0..1).await.unwrap_err(),
        store
            .put("p/a", body(&noise(1, 1), true))
            .await
            .unwrap_err(),
        store.delete("p/a").await.unwrap_err(),
    ];
    for error in &errors {
        assert!(matches!(error.kind, ErrorKind::Denied(_)), "{error}");
        assert!(!error.is_temporary());
    }
    // The listing was tried once more without versions.
    assert_eq!(proxy.seen().len(), errors.len() + 1);
}

#[tokio::test]
async fn a_store_that_lists_no_versions_is_read_as_it_shows_itself() {
    for status in [400, 403, 405, 501] {
        let server = S3Server::start();
        let proxy = Proxy::start(&server, move |seen| {
            if seen.line.contains("?versions") {
                Act::Status(status)
            } else {
                Act::Pass
            }
        })
        .await;
        let store = proxy.location(&server, LONG).store;
        store.put("p/a", body(&noise(1, 1), true)).await.unwrap();
        for _ in 0..2 {
            assert_eq!(store.list("p/").await.unwrap().len(), 1, "{status}");
        }
        let asked = proxy.count(|it| it.contains("?versions"));
        assert_eq!(asked, 1, "{status}: {:#?}", proxy.seen());
    }
}

#[tokio::test]
async fn a_store_that_says_nothing_is_given_up_in_time() {
    let server = S3Server::start();
    let proxy = Proxy::start(&server, |_| Act::Hang).await;
    let store = proxy.location(&server, SHORT).store;
    let start = Instant::now();
    let errors = [
        store.list("p/").await.unwrap_err(),
        store.head("p/a").await.unwrap_err(),
        store.get("p/a", 0..1).await.unwrap_err(),
        store
            .put("p/a", body(&noise(1, 1), true))
            .await
            .unwrap_err(),
        store.delete("p/a").await.unwrap_err(),
    ];
    for error in &errors {
        assert!(
            matches!(error.kind, ErrorKind::TimedOut { tries: 3, .. }),
            "{error}"
        );
    }
    let most = (SHORT * 3 + Duration::from_millis(300)) * 5;
    assert!(start.elapsed() < most, "{:?}", start.elapsed());
    assert_eq!(proxy.seen().len(), 3 * errors.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_is_taken_up_where_it_stopped() {
    let server = S3Server::start();
    let content = noise(LARGE, 2);
    s3(&server, "p")
        .store
        .put("p/a", body(&content, true))
        .await
        .unwrap();
    let proxy = Proxy::start(&server, |seen| match seen.before {
        0 => Act::Cut(100_000),
        1 => Act::Cut(10),
        _ => Act::Pass,
    })
    .await;
    let store = proxy.location(&server, LONG).store;
    let runtime = Handle::current();
    let read = tokio::task::spawn_blocking(move || {
        let size = Some(LARGE as u64);
        let mut reader = ObjectReader::open(&runtime, store, "p/a".to_owned(), size);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).map(|_| read)
    });
    assert!(read.await.unwrap().unwrap() == content);
    // Three ranges, each three times, and nothing from the start again.
    assert_eq!(proxy.seen().len(), 9, "{:#?}", proxy.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_cannot_be_read_ends_the_reader_with_the_reason() {
    let server = S3Server::start();
    s3(&server, "p")
        .store
        .put("p/a", body(&noise(LARGE, 2), true))
        .await
        .unwrap();
    let proxy = Proxy::start(&server, |seen| {
        if seen.line.contains("bytes=4194304-") {
            Act::Cut(50_000)
        } else {
            Act::Pass
        }
    })
    .await;
    let store = proxy.location(&server, LONG).store;
    let runtime = Handle::current();
    let read = tokio::task::spawn_blocking(move || {
        let mut reader = ObjectReader::open(&runtime, store, "p/a".to_owned(), None);
        let mut read = Vec::new();
        let error = reader.read_to_end(&mut read).unwrap_err();
        let again = reader.read(&mut [0; 10]).unwrap_err();
        (
            read,
            store_error(&error).cloned(),
            store_error(&again).cloned(),
        )
    });
    let (read, error, again) = read.await.unwrap();
    assert_eq!(read.len(), 4 << 20);
    let error = error.unwrap();
    assert!(
        matches!(error.kind, ErrorKind::Unavailable { tries: 3, .. }),
        "{error}"
    );
    assert!(error.object.ends_with("backups/p/a"), "{error}");
    assert_eq!(again, Some(error));
}

#[tokio::test]
async fn an_upload_that_fails_leaves_neither_an_object_nor_parts() {
    for fault in [Act::Status(503), Act::Status(403), Act::Hang, Act::Cut(0)] {
        let server = S3Server::start();
        let proxy = Proxy::start(&server, move |seen| {
            if seen.line.contains("partNumber=2") {
                fault
            } else {
                Act::Pass
            }
        })
        .await;
        let location = proxy.location(&server, SHORT);
        let mut open = 0;
        let put = location.store.put("p/a", body(&noise(LARGE, 3), true));
        let watching = async {
            loop {
                open = open.max(server.open_uploads().len());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // The time that its bytes are given is too long for a test.
        let patience = Duration::from_secs(if matches!(fault, Act::Hang) { 2 } else { 20 });
        let ended = tokio::select! {
            ended = tokio::time::timeout(patience, put) => ended,
            () = watching => unreachable!(),
        };
        match (ended, fault) {
            (Err(_), Act::Hang) => deleted(&proxy).await,
            (Ok(Err(error)), Act::Status(403)) => {
                assert!(matches!(error.kind, ErrorKind::Denied(_)), "{error}");
            }
            (Ok(Err(error)), _) => {
                assert!(
                    matches!(error.kind, ErrorKind::Unavailable { .. }),
                    "{error}"
                );
            }
            (ended, _) => panic!("{fault:?}: {ended:?}"),
        }
        assert!(open > 0, "no part was ever there: {:#?}", proxy.seen());
        assert_eq!(
            server.open_uploads(),
            Vec::<PathBuf>::new(),
            "{fault:?}: {:#?}",
            proxy.seen()
        );
        assert_eq!(
            proxy.count(|it| it.starts_with("DELETE")),
            1,
            "{:#?}",
            proxy.seen()
        );
        assert_eq!(s3(&server, "p").store.list("").await.unwrap(), []);
    }
}

#[tokio::test]
async fn an_upload_that_nobody_waits_for_any_more_is_aborted() {
    let server = S3Server::start();
    let proxy = Proxy::start(&server, |_| Act::Pass).await;
    let location = proxy.location(&server, LONG);
    let (sender, pieces) = mpsc::channel(1);
    let at_most = Some(LARGE as u64);
    tokio::select! {
        ended = location.store.put("p/a", Body { pieces, at_most }) => panic!("{ended:?}"),
        () = async {
            // The second part waits for a third, so that nothing is on its way when it ends.
            sender.send(Piece::Bytes(noise(10 << 20, 4))).await.unwrap();
            while server.open_uploads().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        } => {}
    }
    deleted(&proxy).await;
    assert_eq!(server.open_uploads(), Vec::<PathBuf>::new());
    assert_eq!(s3(&server, "p").store.list("").await.unwrap(), []);
}

/// Waits until the server has answered that an upload is aborted.
async fn deleted(proxy: &Proxy) {
    let start = Instant::now();
    while proxy.count(|it| it.starts_with("DELETE")) == 0 {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{:#?}",
            proxy.seen()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
}

#[tokio::test]
async fn an_upload_whose_last_answer_is_lost_has_succeeded() {
    let server = S3Server::start();
    let proxy = Proxy::start(&server, |seen| {
        if seen.line.starts_with("POST") && !seen.line.contains("uploads") && seen.before == 0 {
            Act::Cut(0)
        } else {
            Act::Pass
        }
    })
    .await;
    let content = noise(LARGE, 5);
    let store = proxy.location(&server, LONG).store;
    let written = store.put("p/a", body(&content, true)).await;
    assert_eq!(written.unwrap(), LARGE as u64, "{:#?}", proxy.seen());
    assert!(
        s3(&server, "p")
            .store
            .get("p/a", 0..LARGE as u64)
            .await
            .unwrap()
            == content
    );
}

#[tokio::test]
async fn a_listing_whose_second_page_fails_is_no_listing() {
    let server = S3Server::start();
    for at in 0..1001 {
        let file = server.objects().join(format!("p/{at:04}"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "x").unwrap();
    }
    assert_eq!(s3(&server, "p").store.list("p/").await.unwrap().len(), 1001);
    for fault in [Act::Status(503), Act::Hang, Act::Cut(300)] {
        let proxy = Proxy::start(&server, move |seen| {
            if seen.line.contains("key-marker") {
                fault
            } else {
                Act::Pass
            }
        })
        .await;
        // The first page is long.
        let deadline = Duration::from_secs(2);
        let error = proxy.location(&server, deadline).store.list("p/").await;
        let error = error.unwrap_err();
        assert!(error.is_temporary(), "{fault:?}: {error}");
        assert_eq!(proxy.seen().len(), 4, "{:#?}", proxy.seen());
    }
}
