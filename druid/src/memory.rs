//! What the allocator keeps for itself.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Where glibc reads how its allocator is to work, before the program begins.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// glibc's own thresholds grow with the largest buffer that was ever freed, and then it keeps as much.
/// Said like this, they stay as they are, and buffers go back to the system at once. Small ones that
/// each thread keeps for itself would hold on to what lies below them: none are kept.
const FIXED: &str = "glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=65536:\
                     glibc.malloc.top_pad=4096:glibc.malloc.arena_max=1:glibc.malloc.tcache_count=0";

/// Begins the program again with an allocator that gives back what is not used: a server holds for
/// days what its largest snapshot needed for a second. Whoever has set the variable knows better.
pub(crate) fn give_back() {
    if std::env::var_os(TUNABLES).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    // It comes back only if it failed: then it goes on as it is.
    let _ = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(TUNABLES, FIXED)
        .exec();
}
