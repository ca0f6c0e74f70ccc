//! Requests to a server, for what no client of ours does: making buckets and accounts.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// An answer, as text.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    /// A header of it.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|it| it.split_once(": "));
        let found = lines.find(|(it, _)| it.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }
}

/// One request on a connection of its own. It has to succeed.
pub(super) fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let answer = try_ask(method, url, headers, body);
    assert!((200..300).contains(&answer.status), "{url}: {answer:?}");
    answer
}

/// The same, whatever comes of it.
pub(super) fn try_ask(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let (address, path) = match url.strip_prefix("http://").unwrap().split_once('/') {
        Some((address, path)) => (address, format!("/{path}")),
        None => panic!("{url} has no path"),
    };
    let mut stream = TcpStream::connect(address).unwrap();
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).unwrap();
    let lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let lines = lines.concat();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         {lines}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
