//! Where a control plane runs.

use std::net::Ipv4Addr;

use super::layout::Layout;
use super::node::network::Network;
use super::node::room;

/// Where the API server is, where it runs in a node.
pub(super) const NODE_PORT: u16 = 6443;

/// Where the components run, which says how they are reached and what they see.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Site {
    /// On the machine, on free ports of 127.0.0.1.
    Machine,
    /// In a node, which has a root and addresses of its own.
    Node(Network),
}

impl Site {
    /// Where the API server is reached.
    pub(super) fn address(self) -> Ipv4Addr {
        match self {
            Self::Machine => Ipv4Addr::LOCALHOST,
            Self::Node(network) => network.node(),
        }
    }

    /// Service addresses come from here.
    pub(super) fn services(self) -> String {
        match self {
            Self::Machine => "10.96.0.0/16".to_owned(),
            Self::Node(network) => network.services(),
        }
    }

    /// The first of them is the API server's own.
    pub(super) fn service_of_the_api(self) -> Ipv4Addr {
        match self {
            Self::Machine => Ipv4Addr::new(10, 96, 0, 1),
            Self::Node(network) => network.service_of_the_api(),
        }
    }

    /// The files of the cluster, as its components see them.
    pub(super) fn seen(self, layout: &Layout) -> Layout {
        match self {
            Self::Machine => layout.clone(),
            Self::Node(_) => room::seen(),
        }
    }
}
