//! A TCP server that is away, says nothing, or passes on to a real one, for tests.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

use std::io::ErrorKind;
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
    /// The test is over.
    Over,
}

struct Shared {
    wanted: Mode,
    is: Mode,
    open: Vec<TcpStream>,
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
                Mode::Up | Mode::Mute => listener.or_else(|| {
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
    if mode == Mode::Up {
        let server = TcpStream::connect(upstream).unwrap();
        open.push(server.try_clone().unwrap());
        pass(client.try_clone().unwrap(), server.try_clone().unwrap());
        pass(server, client);
    }
    shared.lock().unwrap().open.extend(open);
}

/// Until one side has said all.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}
