use std::io::{Read as _, Write as _};
use std::net::TcpStream as Std;
use std::time::Instant;

use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::*;
use crate::web::{Trust, Web};

struct Echo;

impl Service for Echo {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if request.uri().path() == "/slow" {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        text(StatusCode::OK, request.uri().path().to_owned())
    }
}

const PATIENCE: Duration = Duration::from_secs(5);

async fn start(
    certificates: Option<Certificates>,
) -> (u16, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = watch::channel(false);
    let served = tokio::spawn(serve(listener, certificates, Arc::new(Echo), stopped));
    (port, stop, served)
}

#[tokio::test]
async fn a_request_under_way_is_answered_when_serving_ends() {
    let (port, stop, served) = start(None).await;
    let web = Web::new(&Trust::default()).unwrap();
    let slow = tokio::spawn(async move {
        web.get(&format!("http://127.0.0.1:{port}/slow"), PATIENCE)
            .await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.send_replace(true);
    let answer = slow.await.unwrap().unwrap();
    assert_eq!(&answer.body[..], b"/slow");
    served.await.unwrap();
    assert!(
        Std::connect(("127.0.0.1", port)).is_err(),
        "nobody listens any more"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_is_sent_away() {
    let (port, _stop, _served) = start(None).await;
    let began = Instant::now();
    let ended = tokio::task::spawn_blocking(move || {
        let mut silent = Std::connect(("127.0.0.1", port)).unwrap();
        silent.write_all(b"GET / HT").unwrap();
        silent
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut rest = Vec::new();
        silent.read_to_end(&mut rest)
    });
    assert!(ended.await.unwrap().is_ok());
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_a_broken_one_is_not() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    let renew = || -> String {
        let CertifiedKey {
            cert: made,
            signing_key,
        } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&cert, made.pem()).unwrap();
        std::fs::write(&key, signing_key.serialize_pem()).unwrap();
        made.pem()
    };
    let web = |pem: &str| {
        Web::new(&Trust {
            ca: pem.as_bytes().to_vec(),
            pair: None,
        })
        .unwrap()
    };
    let first = renew();
    let (port, _stop, _served) = start(Some(Certificates::read(&cert, &key).unwrap())).await;
    let url = format!("https://localhost:{port}/x");
    let answer = web(&first).get(&url, PATIENCE).await.unwrap();
    assert_eq!(&answer.body[..], b"/x");
    let second = renew();
    tokio::time::sleep(EVERY_AND_A_BIT).await;
    assert!(
        web(&second).get(&url, PATIENCE).await.is_ok(),
        "the new one is served"
    );
    assert!(
        web(&first).get(&url, PATIENCE).await.is_err(),
        "the old one is not"
    );
    std::fs::write(&key, "nonsense").unwrap();
    tokio::time::sleep(EVERY_AND_A_BIT).await;
    assert!(
        web(&second).get(&url, PATIENCE).await.is_ok(),
        "the last good one stays"
    );
}

const EVERY_AND_A_BIT: Duration = Duration::from_millis(2200);
