//! The command line: etcd-wrapper's flags, and where the etcd binary is.

use std::path::PathBuf;

use druid_core::duration::GoDuration;

const AFTER: &str = "\
Flags may have one dash or two.

Exit status: that of etcd; 0 after it was asked to stop and did; 1 if it could not be started, ended
unasked with 0, or had to be killed; 128 and the signal's number if one ended it unasked.";

/// Run etcd as the first process of its container, once the backup sidecar says that the data is in order.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    /// The port of /readyz and /stop
    #[arg(long, default_value_t = 9095, value_name = "PORT")]
    pub(super) etcd_wrapper_port: u16,
    /// Whether the sidecar speaks TLS
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub(super) backup_restore_tls_enabled: bool,
    /// Where the sidecar listens, without a scheme
    #[arg(long, default_value = ":8080", value_name = "HOST:PORT")]
    pub(super) backup_restore_host_port: String,
    /// The CA of the sidecar's certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) backup_restore_ca_cert_bundle_path: Option<PathBuf>,
    /// The host of etcd's client address, as its certificate has it
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "HOST"
    )]
    pub(super) etcd_server_name: String,
    /// The port of etcd's client address
    #[arg(long, default_value_t = 2379, value_name = "PORT")]
    pub(super) etcd_client_port: u16,
    /// Our certificate for etcd, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) etcd_client_cert_path: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) etcd_client_key_path: Option<PathBuf>,
    /// Complain if etcd is not ready after this; 0 for never
    #[arg(long, default_value = "0s", value_name = "DURATION")]
    pub(super) etcd_ready_timeout: GoDuration,
    /// The etcd binary, searched for in PATH if it has no slash
    #[arg(long, env = "ETCD_BINARY", default_value = "etcd", value_name = "FILE")]
    pub(super) etcd_binary: PathBuf,
    /// The file that says how etcd was stopped
    #[arg(long, default_value = "/var/etcd/data/exit_code", value_name = "FILE")]
    pub(super) exit_code_file: PathBuf,
}

impl Args {
    /// Where the sidecar is, without a slash at the end.
    pub(super) fn sidecar_url(&self) -> String {
        let scheme = if self.backup_restore_tls_enabled {
            "https"
        } else {
            "http"
        };
        let at = &self.backup_restore_host_port;
        if at.starts_with(':') {
            format!("{scheme}://localhost{at}")
        } else {
            format!("{scheme}://{at}")
        }
    }
}
