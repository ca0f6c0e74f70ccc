//! How the operator is configured: its file, its feature gates, and the flags from before there was
//! a file.
//!
//! A field that nobody knows, a gate that is malformed and a value that cannot be are told of;
//! etcd-druid ignores the first two.

pub mod config;
pub mod definitions;
pub mod flags;
pub mod gates;
pub mod numbers;
mod reader;

pub use config::{Config, ConfigErrors, Loaded};
pub use flags::DeprecatedFlags;
pub use gates::{Gate, GateError, Gates};
pub use reader::{ConfigProblem, ConfigWarning, Wrong};
