//! A server that is away, says nothing, or passes on to a real one, for tests.

#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

use std::net::Ipv4Addr;

pub(crate) use xtask::relay::{Mode, Relay};

use crate::common_preflight::free_ports;

/// One in front of `host:port`.
pub(crate) fn relay(upstream: &str, mode: Mode) -> Relay {
    let address = (Ipv4Addr::LOCALHOST, free_ports(1)[0]);
    Relay::start(address, upstream.parse().unwrap(), mode).unwrap()
}
