//! Serves HTTP/1.1, plain or with TLS: so many connections at once, a time limit on the head of a
//! request, and an end in which requests under way are answered.

pub(crate) mod tls;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use tls::Certificates;

/// How long a client may take to say what it wants; also for TLS to be agreed on.
const HEAD: Duration = Duration::from_secs(5);
/// Connections at once. More wait until one ends.
const CONNECTIONS: usize = 128;
/// How long requests under way may go on when serving is to end.
const GRACE: Duration = Duration::from_secs(5);

/// What is answered.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Answers requests.
pub(crate) trait Service: Send + Sync + 'static {
    /// How long a client may take to say what it wants, also on a connection that it keeps.
    const HEAD: Duration = HEAD;

    /// Answers one.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;
}

/// A listener on a port of all addresses, IPv6 and IPv4, or IPv4 alone where there is no IPv6.
pub(crate) async fn listen(port: u16) -> std::io::Result<TcpListener> {
    let both = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0));
    match TcpListener::bind(both).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(error),
        Err(_) => TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, port)).await,
    }
}

/// A listener on a port of one address, or of all.
pub(crate) async fn listen_at(address: Option<IpAddr>, port: u16) -> std::io::Result<TcpListener> {
    match address {
        None => listen(port).await,
        Some(address) => TcpListener::bind((address, port)).await,
    }
}

/// Serves until `stop` is true, or its sender is gone.
pub(crate) async fn serve(
    listener: TcpListener,
    certificates: Option<Certificates>,
    service: Arc<impl Service>,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut stopping = stop.clone();
    let accepting = async {
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            while connections.try_join_next().is_some() {}
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, or a client that went away: neither is cured by haste.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let acceptor = certificates.as_ref().map(Certificates::acceptor);
            let (service, stop) = (Arc::clone(&service), stop.clone());
            connections.spawn(async move {
                connection(stream, acceptor, service, stop).await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, all).await;
    // Dropped here, what is left ends.
    let _ = stop.borrow_and_update();
}

async fn connection(
    stream: TcpStream,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    service: Arc<impl Service>,
    stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        return requests(stream, service, stop, false).await;
    };
    // A handshake that fails is the client's to tell: probes of ports are common.
    if let Ok(Ok(stream)) = tokio::time::timeout(HEAD, acceptor.accept(stream)).await {
        requests(stream, service, stop, true).await;
    }
}

async fn requests<S: Service>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: Arc<S>,
    mut stop: watch::Receiver<bool>,
    tls: bool,
) {
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move {
            let mut answer = service.answer(request).await;
            if tls {
                secure(&mut answer);
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(S::HEAD)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), answer);
    let mut serving = std::pin::pin!(serving);
    // What goes wrong on a connection is the client's to tell.
    tokio::select! {
        _ = serving.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

fn secure(answer: &mut Answer) {
    let headers = answer.headers_mut();
    headers.insert(
        http::header::STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=31536000"),
    );
    headers.insert(
        http::header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'self'"),
    );
}

/// An answer with a body.
pub(crate) fn reply(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let name: HeaderName = CONTENT_TYPE;
    answer
        .headers_mut()
        .insert(name, HeaderValue::from_static(content_type));
    answer
}

/// An answer in plain text.
pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    reply(status, "text/plain; charset=utf-8", body)
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

#[cfg(test)]
mod tests;
