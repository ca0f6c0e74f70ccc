//! A person who wants a command to end.

use nix::sys::signal::{SigSet, Signal};

/// From now on an interrupt is told, and does not end this process; programs that are run are not concerned.
/// To be called before there is another thread. `tell`: whether anybody still wants to know.
pub(crate) fn hear(mut tell: impl FnMut() -> bool + Send + 'static) -> nix::Result<()> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
        .into_iter()
        .collect();
    signals.thread_block()?;
    std::thread::spawn(move || while signals.wait().is_ok() && tell() {});
    Ok(())
}
