//! The addresses of a node. It is reached from this machine alone, over one pair of devices that
//! the kernel removes with the node.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::super::process::search_path;
use super::room::Room;

/// So many nodes can be up at once.
const MOST: u8 = 8;
/// The kernel removes the devices of a namespace some time after its last process.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Why a node has no network.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// `ip` could not be run.
    #[error("cannot run `ip`: {0}; install the package iproute2")]
    Run(std::io::Error),
    /// `ip` refused.
    #[error("`ip {arguments}`: {why}; does something else use addresses of 198.18.0.0/15?")]
    Ip {
        /// What was asked.
        arguments: String,
        /// What it said.
        why: String,
    },
    /// All are taken.
    #[error("{MOST} clusters with a node are up on this machine; take one down")]
    Taken,
    /// It stays.
    #[error("the network device {0} is still there; remove it with `ip link del {0}`")]
    Stays(String),
}

/// Which of the networks that nodes can have. All are parts of 198.18.0.0/15, which no network uses
/// but for measurements (RFC 2544).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    index: u8,
}

impl Network {
    fn base(self) -> u8 {
        self.index * 32
    }

    /// The device on this machine.
    pub(crate) fn device(self) -> String {
        format!("druid{}", self.index)
    }

    /// This machine, as the node and its pods reach it.
    pub(crate) fn machine(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.base() + 16, 1)
    }

    /// The node.
    pub(crate) fn node(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.base() + 16, 2)
    }

    /// Where the addresses of pods come from.
    pub(crate) fn pods(self) -> String {
        format!("198.18.{}.0/20", self.base())
    }

    /// Where the addresses of services come from.
    pub(crate) fn services(self) -> String {
        format!("198.19.{}.0/20", self.base())
    }

    /// The first of them.
    pub(crate) fn service_of_the_api(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 19, self.base(), 1)
    }

    /// Connects a node to this machine: the first network that nobody has.
    pub(crate) fn connect(room: &Room) -> Result<Self, NetworkError> {
        let node = room.init().pid().to_string();
        for index in 0..MOST {
            let network = Self { index };
            let device = network.device();
            if network.is_there() {
                continue;
            }
            let made = ip(&[
                "link", "add", &device, "type", "veth", "peer", "name", "machine", "netns", &node,
            ]);
            match made {
                Ok(()) => return network.set_up(room).map(|()| network),
                // Somebody else was faster.
                Err(NetworkError::Ip { .. }) if network.is_there() => {}
                Err(error) => return Err(error),
            }
        }
        Err(NetworkError::Taken)
    }

    fn set_up(self, room: &Room) -> Result<(), NetworkError> {
        let device = self.device();
        let (machine, node) = (self.machine().to_string(), self.node().to_string());
        ip(&["addr", "add", &format!("{machine}/30"), "dev", &device])?;
        ip(&["link", "set", &device, "up"])?;
        let mut inside = room.command("ip");
        inside.args(["addr", "add", &format!("{node}/30"), "dev", "machine"]);
        run(inside)?;
        let mut inside = room.command("ip");
        inside.args(["link", "set", "machine", "up"]);
        run(inside)?;
        for addresses in [self.pods(), self.services()] {
            ip(&["route", "add", &addresses, "via", &node])?;
        }
        // What runs on the node itself, such as the API server, asks for services, too. They are turned to
        // pods only once there is a way for them.
        let mut inside = room.command("ip");
        inside.args(["route", "add", &self.services(), "via", &machine]);
        run(inside)?;
        Ok(())
    }

    fn is_there(self) -> bool {
        PathBuf::from("/sys/class/net").join(self.device()).exists()
    }

    /// Waits until the kernel has removed the device of a node that has ended.
    pub(crate) fn await_gone(self) -> Result<(), NetworkError> {
        let start = Instant::now();
        while self.is_there() {
            if start.elapsed() > GONE_WITHIN {
                return Err(NetworkError::Stays(self.device()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

fn ip(arguments: &[&str]) -> Result<(), NetworkError> {
    let mut command = Command::new("ip");
    command.args(arguments).env("PATH", search_path());
    run(command)
}

fn run(mut command: Command) -> Result<(), NetworkError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(NetworkError::Run)?;
    if output.status.success() {
        return Ok(());
    }
    let words = command.get_args().map(|it| it.to_string_lossy());
    Err(NetworkError::Ip {
        arguments: words.collect::<Vec<_>>().join(" "),
        why: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_networks_share_an_address() {
        let all: Vec<_> = (0..MOST).map(|index| Network { index }).collect();
        let blocks: std::collections::BTreeSet<_> = all.iter().map(|it| it.pods()).collect();
        assert_eq!(blocks.len(), all.len());
        let last = all[all.len() - 1];
        assert_eq!(last.pods(), "198.18.224.0/20");
        assert_eq!(last.services(), "198.19.224.0/20");
        // The link is in the half that pods do not have.
        assert_eq!(last.node(), Ipv4Addr::new(198, 18, 240, 2));
        assert_eq!(last.machine(), Ipv4Addr::new(198, 18, 240, 1));
        assert_eq!(last.service_of_the_api(), Ipv4Addr::new(198, 19, 224, 1));
    }
}
