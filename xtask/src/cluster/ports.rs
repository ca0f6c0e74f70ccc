//! Free ports on 127.0.0.1, from below the range that the kernel gives to outgoing connections:
//! one from within it can go to a client before a server listens on it.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// Linux gives outgoing connections the ports from 32768 on.
const RANGE: std::ops::Range<u16> = 10_240..32_768;

/// How many are tried before the kernel is asked for any.
const TRIES: usize = 200;

/// Ports that nobody listens on; all are held until the last is known.
///
/// # Errors
/// No port is free.
pub fn free<const N: usize>() -> io::Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = one()?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

fn one() -> io::Result<TcpListener> {
    let size = u64::from(RANGE.end - RANGE.start);
    for attempt in 0..TRIES {
        // Anywhere: whoever looks for a port at the same time should look elsewhere.
        let offset = RandomState::new().hash_one(attempt) % size;
        let port = RANGE.start + u16::try_from(offset).unwrap_or(0);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener);
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_are_different_and_nobody_listens_on_them() {
        let ports: [u16; 8] = free().unwrap();
        let held: Vec<_> = ports
            .iter()
            .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).unwrap())
            .collect();
        assert_eq!(held.len(), 8);
    }
}
