//! Why a rehearsal could not be held.

use std::path::PathBuf;

use thiserror::Error;

use super::faults::FaultError;
use super::host::HostError;
use super::source::SourceError;
use crate::etcd::{self, endpoint::ParseEndpointError};
use crate::lab::binaries::BinaryError;
use crate::lab::cluster::LabError;
use crate::load;
use crate::report::WriteReportError;

/// Why a rehearsal could not be held. None of these says anything about the upgrade.
#[derive(Debug, Error)]
pub(crate) enum RehearseError {
    /// A release cannot be run.
    #[error("{0}")]
    Binary(#[from] BinaryError),
    /// The backup that it was to be held on.
    #[error("{0}")]
    Source(#[from] SourceError),
    /// The throwaway cluster.
    #[error("{0}")]
    Lab(#[from] LabError),
    /// A fault could not be made.
    #[error("{0}")]
    Fault(#[from] FaultError),
    /// A pass could not be brought to an end.
    #[error("{0}")]
    Host(#[from] HostError),
    /// The cluster could not be filled, or read at the end.
    #[error("{0}")]
    Load(#[from] load::Error),
    /// A call to a member.
    #[error("{0}")]
    Etcd(#[from] etcd::Error),
    /// A member's address.
    #[error("{0}")]
    Endpoint(#[from] ParseEndpointError),
    /// The report.
    #[error("{0}")]
    Report(#[from] WriteReportError),
    /// The disk is full, and so something else went wrong.
    #[error("the disk of {} is full; free some, or give --dir on another one ({error})", dir.display())]
    DiskFull {
        /// The temporary directory.
        dir: PathBuf,
        /// What went wrong.
        error: Box<RehearseError>,
    },
    /// The load has ended twice.
    #[error("the load left no evidence; please report this")]
    NoEvidence,
    /// Our own binary is not to be found.
    #[error("cannot find this program's own file: {0}")]
    Program(std::io::Error),
    /// Signals cannot be listened to.
    #[error("cannot listen to signals: {0}")]
    Signals(std::io::Error),
    /// Somebody pressed Ctrl-C, or asked it to end.
    #[error("interrupted; every process has been ended")]
    Interrupted,
}

impl RehearseError {
    /// 130 as shells have it for an interrupted program, else 1.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted => 130,
            Self::Binary(_)
            | Self::Source(_)
            | Self::Lab(_)
            | Self::Fault(_)
            | Self::Host(_)
            | Self::Load(_)
            | Self::Etcd(_)
            | Self::Endpoint(_)
            | Self::Report(_)
            | Self::NoEvidence
            | Self::DiskFull { .. }
            | Self::Program(_)
            | Self::Signals(_) => 1,
        }
    }
}
