//! A TCP server that is away, says nothing, or passes on to a real one, for tests.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::common_preflight::{free_ports, until};

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nobody listens.
    Down,
    /// What comes is passed on, and the answer back.
    Up,
    /// It accepts and says nothing.
    Mute,
    /// It answers every request of HTTP with 503.
    Busy,
    /// The test is over.
    Over,
}

struct Shared {
    wanted: Mode,
    is: Mode,
    open: Vec<TcpStream>,
    requests: usize,
}

pub(crate) struct Relay {
    port: u16,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// One that is away, in front of `host:port`.
    pub(crate) fn down(upstream: &str) -> Self {
        let port = free_ports(1)[0];
        let shared = Arc::new(Mutex::new(Shared {
            wanted: Mode::Down,
            is: Mode::Down,
            open: Vec::new(),
            requests: 0,
        }));
        let (of_thread, upstream) = (Arc::clone(&shared), upstream.to_owned());
        let thread = std::thread::spawn(move || run(port, &upstream, &of_thread));
        Self {
            port,
            shared,
            thread: Some(thread),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn up(&mut self) {
        self.become_so(Mode::Up);
    }

    pub(crate) fn mute(&mut self) {
        self.become_so(Mode::Mute);
    }

    pub(crate) fn busy(&mut self) {
        self.become_so(Mode::Busy);
    }

    /// How many were answered with 503.
    pub(crate) fn requests(&self) -> usize {
        self.shared.lock().unwrap().requests
    }

    pub(crate) fn go_down(&mut self) {
        self.become_so(Mode::Down);
    }

    fn become_so(&mut self, mode: Mode) {
        self.shared.lock().unwrap().wanted = mode;
        until("the relay has changed", || {
            self.shared.lock().unwrap().is == mode
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.lock().unwrap().wanted = Mode::Over;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(port: u16, upstream: &str, shared: &Mutex<Shared>) {
    let mut listener = None;
    loop {
        let (wanted, is) = {
            let shared = shared.lock().unwrap();
            (shared.wanted, shared.is)
        };
        if wanted != is {
            for stream in std::mem::take(&mut shared.lock().unwrap().open) {
                let _ = stream.shutdown(Shutdown::Both);
            }
            listener = match wanted {
                Mode::Down | Mode::Over => None,
                Mode::Up | Mode::Mute | Mode::Busy => listener.or_else(|| {
                    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
                    listener.set_nonblocking(true).unwrap();
                    Some(listener)
                }),
            };
            shared.lock().unwrap().is = wanted;
        }
        if wanted == Mode::Over {
            return;
        }
        match listener.as_ref().map(TcpListener::accept) {
            Some(Ok((stream, _))) => take(stream, upstream, wanted, shared),
            Some(Err(error)) if error.kind() != ErrorKind::WouldBlock => return,
            Some(Err(_)) | None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn take(client: TcpStream, upstream: &str, mode: Mode, shared: &Mutex<Shared>) {
    client.set_nonblocking(false).unwrap();
    let mut open = vec![client.try_clone().unwrap()];
    match mode {
        Mode::Up => {
            let server = TcpStream::connect(upstream).unwrap();
            open.push(server.try_clone().unwrap());
            pass(client.try_clone().unwrap(), server.try_clone().unwrap());
            pass(server, client);
        }
        Mode::Busy => {
            shared.lock().unwrap().requests += 1;
            std::thread::spawn(move || refuse(client));
        }
        Mode::Mute | Mode::Down | Mode::Over => {}
    }
    shared.lock().unwrap().open.extend(open);
}

/// One request, then the connection is closed.
fn refuse(mut client: TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|it| it.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |it| it.parse().unwrap())];
    let _ = client.read_exact(&mut body);
    let answer = "HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let _ = client.write_all(answer.as_bytes());
    let _ = client.shutdown(Shutdown::Both);
}

/// Until one side has said all.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}
