//! Free ports on 127.0.0.1, held until shortly before they are used.
//!
//! They are taken from below the range that the kernel gives to outgoing connections. A member's
//! port from within that range can be handed to a client while the member restarts: then it cannot
//! listen again, and a client that reconnects to it can even end up connected to itself.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::ops::Range;

/// The two ports of a member. Dropping it lets them go.
#[derive(Debug)]
pub(crate) struct Held {
    client: TcpListener,
    peer: TcpListener,
}

/// The addresses of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// Where clients connect.
    pub(crate) client: SocketAddrV4,
    /// Where members connect.
    pub(crate) peer: SocketAddrV4,
}

impl Addresses {
    /// As etcd writes it.
    pub(crate) fn client_url(&self) -> String {
        format!("http://{}", self.client)
    }

    /// As etcd writes it.
    pub(crate) fn peer_url(&self) -> String {
        format!("http://{}", self.peer)
    }
}

impl Held {
    /// Two free ports.
    pub(crate) fn pick() -> io::Result<Self> {
        let range = below_ephemeral();
        Ok(Self {
            client: bind_one(&range)?,
            peer: bind_one(&range)?,
        })
    }

    /// Where they are.
    pub(crate) fn addresses(&self) -> io::Result<Addresses> {
        let of = |listener: &TcpListener| {
            listener
                .local_addr()
                .map(|address| SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port()))
        };
        Ok(Addresses {
            client: of(&self.client)?,
            peer: of(&self.peer)?,
        })
    }

    /// For a test that needs a port which is taken.
    #[cfg(test)]
    pub(crate) fn of(client: TcpListener, peer: TcpListener) -> Self {
        Self { client, peer }
    }
}

/// How many ports are tried before the kernel is asked for any.
const TRIES: usize = 200;

fn bind_one(range: &Range<u16>) -> io::Result<TcpListener> {
    let size = u64::from(range.end - range.start);
    for attempt in 0..TRIES {
        // Anywhere: whoever looks for a port at the same time should look elsewhere.
        let offset = RandomState::new().hash_one(attempt) % size;
        let port = range.start + u16::try_from(offset).unwrap_or(0);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener);
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

/// The unprivileged ports below those of outgoing connections; Linux's default if it is not told,
/// or if there are next to none.
fn below_ephemeral() -> Range<u16> {
    const FIRST: u16 = 10_240;
    let first_ephemeral = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .filter(|first| *first > FIRST + 1_000)
        .unwrap_or(32_768);
    FIRST..first_ephemeral
}
