//! Which system call a stopped thread is about to make, and to which file.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::Pid;

use super::Call;

/// A change of a file.
pub(super) struct Change {
    pub(super) call: Call,
    pub(super) path: PathBuf,
    pub(super) from: Option<PathBuf>,
}

impl Change {
    fn of(call: Call, path: PathBuf) -> Self {
        Self {
            call,
            path,
            from: None,
        }
    }

    fn rename(from: PathBuf, to: PathBuf) -> Self {
        Self {
            call: Call::Rename,
            path: to,
            from: Some(from),
        }
    }
}

/// A thread, and what it gave the kernel.
struct Given {
    thread: Pid,
    words: [u64; 6],
}

/// What a thread is about to change; `None` if nothing.
pub(super) fn of(thread: Pid) -> Option<Change> {
    let text = fs::read_to_string(format!("/proc/{thread}/syscall")).ok()?;
    let mut parts = text.split_whitespace();
    let number = parts.next()?.parse().ok()?;
    let mut words = [0; 6];
    for word in &mut words {
        let digits = parts.next()?.strip_prefix("0x")?;
        *word = u64::from_str_radix(digits, 16).unwrap();
    }
    let given = Given { thread, words };
    given.modern(number).or_else(|| given.legacy(number))
}

/// Whether a file has no name, or none any more.
pub(super) fn is_unnamed(path: &Path) -> bool {
    path.to_string_lossy().ends_with(" (deleted)")
}

impl Given {
    /// Calls that every architecture has.
    fn modern(&self, number: i64) -> Option<Change> {
        let flags = self.flags(2);
        let (call, path) = match number {
            libc::SYS_write
            | libc::SYS_pwrite64
            | libc::SYS_writev
            | libc::SYS_pwritev
            | libc::SYS_pwritev2
            | libc::SYS_sendfile
            | libc::SYS_ftruncate
            | libc::SYS_fallocate => (Call::Write, self.open_file(0)?),
            libc::SYS_copy_file_range | libc::SYS_splice => (Call::Write, self.open_file(2)?),
            libc::SYS_fsync | libc::SYS_fdatasync => (Call::Sync, self.open_file(0)?),
            libc::SYS_openat if flags & (libc::O_CREAT | libc::O_TRUNC) != 0 => {
                (Call::Make, self.at(0, 1)?)
            }
            libc::SYS_mkdirat => (Call::MakeDir, self.at(0, 1)?),
            libc::SYS_unlinkat => (Call::Remove, self.at(0, 1)?),
            libc::SYS_linkat => (Call::Link, self.at(2, 3)?),
            libc::SYS_symlinkat => (Call::Link, self.at(1, 2)?),
            libc::SYS_renameat | libc::SYS_renameat2 => {
                return Some(Change::rename(self.at(0, 1)?, self.at(2, 3)?));
            }
            libc::SYS_fchmod | libc::SYS_fchown | libc::SYS_fsetxattr => {
                (Call::Attributes, self.open_file(0)?)
            }
            libc::SYS_fchmodat | libc::SYS_fchownat => (Call::Attributes, self.at(0, 1)?),
            // Nobody here uses them; what they change would not be seen.
            libc::SYS_io_uring_setup | libc::SYS_openat2 => panic!("system call {number}"),
            _ => return None,
        };
        Some(Change::of(call, path))
    }

    /// Calls that later architectures do without.
    #[cfg(target_arch = "x86_64")]
    fn legacy(&self, number: i64) -> Option<Change> {
        let (call, path) = match number {
            libc::SYS_open if self.flags(1) & (libc::O_CREAT | libc::O_TRUNC) != 0 => {
                (Call::Make, self.plain(0)?)
            }
            libc::SYS_creat => (Call::Make, self.plain(0)?),
            libc::SYS_mkdir => (Call::MakeDir, self.plain(0)?),
            libc::SYS_unlink | libc::SYS_rmdir => (Call::Remove, self.plain(0)?),
            libc::SYS_link | libc::SYS_symlink => (Call::Link, self.plain(1)?),
            libc::SYS_rename => return Some(Change::rename(self.plain(0)?, self.plain(1)?)),
            libc::SYS_truncate => (Call::Write, self.plain(0)?),
            libc::SYS_chmod | libc::SYS_chown => (Call::Attributes, self.plain(0)?),
            _ => return None,
        };
        Some(Change::of(call, path))
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn legacy(&self, _: i64) -> Option<Change> {
        None
    }

    /// An `int` among the words: its lower half.
    fn flags(&self, word: usize) -> i32 {
        u32::try_from(self.words[word] & 0xffff_ffff)
            .unwrap()
            .cast_signed()
    }

    /// What a descriptor leads to, if that is a file or a directory.
    fn open_file(&self, word: usize) -> Option<PathBuf> {
        let link = format!("/proc/{}/fd/{}", self.thread, self.flags(word));
        fs::read_link(link).ok().filter(|it| it.is_absolute())
    }

    /// A path that begins where the process is.
    fn plain(&self, word: usize) -> Option<PathBuf> {
        let here = fs::read_link(format!("/proc/{}/cwd", self.thread)).ok()?;
        Some(here.join(self.text(word)?))
    }

    /// A path that begins at a directory.
    fn at(&self, directory: usize, word: usize) -> Option<PathBuf> {
        if self.flags(directory) == libc::AT_FDCWD {
            return self.plain(word);
        }
        Some(self.open_file(directory)?.join(self.text(word)?))
    }

    /// A path in the memory of the process.
    fn text(&self, word: usize) -> Option<PathBuf> {
        const PAGE: u64 = 4096;
        let memory = File::open(format!("/proc/{}/mem", self.thread)).ok()?;
        let (mut at, mut text) = (self.words[word], Vec::new());
        loop {
            // What follows may not be there.
            let mut page = vec![0; usize::try_from(PAGE - at % PAGE).unwrap()];
            memory.read_exact_at(&mut page, at).ok()?;
            at += page.len() as u64;
            if let Some(end) = page.iter().position(|it| *it == 0) {
                text.extend_from_slice(&page[..end]);
                return Some(String::from_utf8(text).unwrap().into());
            }
            text.extend(page);
        }
    }
}
