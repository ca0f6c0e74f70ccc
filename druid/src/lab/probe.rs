//! One HTTP GET on loopback: whether a member is healthy, before there is a client for it.

use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(1);

/// The body of a 200 answer.
pub(crate) async fn get(address: SocketAddrV4, path: &str) -> io::Result<String> {
    let answer = tokio::time::timeout(DEADLINE, exchange(address, path)).await??;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => Ok(body.to_owned()),
        Some((head, _)) => Err(io::Error::other(
            head.lines().next().unwrap_or_default().to_owned(),
        )),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

async fn exchange(address: SocketAddrV4, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Whether a member can commit.
pub(crate) async fn healthy(address: SocketAddrV4) -> bool {
    get(address, "/health")
        .await
        .is_ok_and(|body| body.contains("\"health\":\"true\""))
}
