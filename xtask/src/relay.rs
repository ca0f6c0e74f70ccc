//! A TCP server in front of another one, which can be away, busy, or say nothing.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How soon a change is seen.
const TICK: Duration = Duration::from_millis(5);

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What comes is passed on, and the answer back.
    Up,
    /// Nobody listens.
    Down,
    /// It accepts and says nothing.
    Mute,
    /// It answers every request of HTTP with 503.
    Busy,
}

#[derive(Debug)]
struct Shared {
    wanted: Mode,
    is: Mode,
    over: bool,
    open: Vec<TcpStream>,
    refused: usize,
}

/// One that runs until it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddrV4,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

fn locked(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// One in front of `upstream`. `address`: where it listens; port 0 is any that is free.
    ///
    /// # Errors
    /// It cannot listen there.
    pub fn start(address: (Ipv4Addr, u16), upstream: SocketAddr, mode: Mode) -> io::Result<Self> {
        let listener = listen(SocketAddrV4::new(address.0, address.1))?;
        let SocketAddr::V4(address) = listener.local_addr()? else {
            return Err(io::Error::other("not an address of IPv4"));
        };
        let shared = Arc::new(Mutex::new(Shared {
            wanted: mode,
            is: mode,
            over: false,
            open: Vec::new(),
            refused: 0,
        }));
        let listener = Some(listener).filter(|_| mode != Mode::Down);
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || run(listener, address, upstream, &of_thread));
        Ok(Self {
            address,
            shared,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// How many were answered with 503.
    pub fn refused(&self) -> usize {
        locked(&self.shared).refused
    }

    /// Changes it, and waits until it is so. What was open is closed.
    pub fn become_so(&self, mode: Mode) {
        locked(&self.shared).wanted = mode;
        let ended = || self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        while locked(&self.shared).is != mode && !ended() {
            std::thread::sleep(TICK);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        locked(&self.shared).over = true;
        if let Some(thread) = self.thread.take() {
            // It panicked at worst, which was told.
            let _ = thread.join();
        }
    }
}

fn listen(address: SocketAddrV4) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn run(
    mut listener: Option<TcpListener>,
    address: SocketAddrV4,
    upstream: SocketAddr,
    shared: &Mutex<Shared>,
) {
    loop {
        let (wanted, is, over) = {
            let shared = locked(shared);
            (shared.wanted, shared.is, shared.over)
        };
        if wanted != is || over {
            for stream in std::mem::take(&mut locked(shared).open) {
                // Its other end may have closed it.
                let _ = stream.shutdown(Shutdown::Both);
            }
            listener = match wanted {
                Mode::Down => None,
                // If it cannot listen again now, it is tried again.
                Mode::Up | Mode::Mute | Mode::Busy => {
                    listener.take().or_else(|| listen(address).ok())
                }
            };
            if wanted == Mode::Down || listener.is_some() {
                locked(shared).is = wanted;
            }
        }
        if over {
            return;
        }
        match listener.as_ref().map(TcpListener::accept) {
            Some(Ok((client, _))) => take(client, upstream, wanted, shared),
            Some(Err(error)) if error.kind() != ErrorKind::WouldBlock => std::thread::sleep(TICK),
            Some(Err(_)) | None => std::thread::sleep(TICK),
        }
    }
}

fn take(client: TcpStream, upstream: SocketAddr, mode: Mode, shared: &Mutex<Shared>) {
    let Ok(also_ours) = client
        .set_nonblocking(false)
        .and_then(|()| client.try_clone())
    else {
        return;
    };
    let mut open = vec![also_ours];
    match mode {
        Mode::Up => {
            let halves = TcpStream::connect(upstream).and_then(|server| {
                let both = (client.try_clone()?, server.try_clone()?);
                Ok((both, server.try_clone()?, server))
            });
            if let Ok(((from, to), ours, server)) = halves {
                open.push(ours);
                pass(from, to);
                pass(server, client);
            }
        }
        Mode::Busy => {
            locked(shared).refused += 1;
            std::thread::spawn(move || refuse(client));
        }
        Mode::Mute | Mode::Down => {}
    }
    locked(shared).open.extend(open);
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
    let mut body = vec![0; length.and_then(|it| it.parse().ok()).unwrap_or(0)];
    // Whoever does not read the answer has his own reasons.
    let _ = client.read_exact(&mut body);
    let answer = "HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let _ = client.write_all(answer.as_bytes());
    let _ = client.shutdown(Shutdown::Both);
}

/// Until one side has said all.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}
