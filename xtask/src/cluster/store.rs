//! An S3 server for backups.

use std::process::Command;

use super::tools::{Tools, ToolsError};

/// `versitygw`, which keeps its objects as files. It is built if it is not there.
///
/// # Errors
/// It is not built, and cannot be.
pub fn versitygw() -> Result<Command, ToolsError> {
    Ok(Command::new(Tools::store()?.program("versitygw")))
}
