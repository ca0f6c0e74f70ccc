//! The log of the long-running programs: one line an event, on standard error.

use tracing_subscriber::EnvFilter;

/// Starts it. `RUST_LOG` says how much; `info` without it.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // Only a test can have started it before.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .try_init();
}
