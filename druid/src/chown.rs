//! `chown -R USER:GROUP PATH...`: what the init container of a member with a Local store runs, in an
//! image that has no other program for it.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use thiserror::Error;

/// The name under which `main` calls [`chown`].
pub(crate) const NAME: &str = "chown";

/// Why not everything was given away.
#[derive(Debug, Error)]
enum ChownError {
    #[error("only -R USER:GROUP PATH... is understood, with numbers for USER and GROUP")]
    Usage,
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// Gives the paths, and everything under them, to a user and a group. Links are not followed.
pub(crate) fn chown(args: impl Iterator<Item = OsString>) -> ExitCode {
    match give(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::fail(&format!("chown: {error}")),
    }
}

fn give(mut args: impl Iterator<Item = OsString>) -> Result<(), ChownError> {
    let recursive = args.next().is_some_and(|it| it == "-R");
    let owner = args.next().as_deref().and_then(|it| owner(it.to_str()?));
    let paths: Vec<PathBuf> = args.map(PathBuf::from).collect();
    let (true, Some(owner), false) = (recursive, owner, paths.is_empty()) else {
        return Err(ChownError::Usage);
    };
    let mut left = paths;
    while let Some(path) = left.pop() {
        one(&path, owner, &mut left).map_err(|source| ChownError::File { path, source })?;
    }
    Ok(())
}

fn owner(text: &str) -> Option<(u32, u32)> {
    let (user, group) = text.split_once(':')?;
    Some((user.parse().ok()?, group.parse().ok()?))
}

fn one(path: &Path, (user, group): (u32, u32), left: &mut Vec<PathBuf>) -> io::Result<()> {
    lchown(path, Some(user), Some(group))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in path.read_dir()? {
            left.push(entry?.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    fn args(words: &[&str], path: &Path) -> impl Iterator<Item = OsString> {
        let words = words.iter().map(OsString::from);
        words
            .chain([path.as_os_str().to_owned()])
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// As root to another user, otherwise to ourselves: only root gives away.
    #[test]
    fn everything_under_a_path_changes_hands_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("bucket");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/c"), "").unwrap();
        let outside = dir.path().join("outside");
        std::fs::write(&outside, "").unwrap();
        symlink(&outside, root.join("link")).unwrap();
        symlink(dir.path(), root.join("up")).unwrap();
        let before = std::fs::metadata(&outside).unwrap();
        let to = match before.uid() {
            0 => (65532, 65532),
            uid => (uid, before.gid()),
        };
        give(args(&["-R", &format!("{}:{}", to.0, to.1)], &root)).unwrap();
        for path in ["", "a", "a/b", "a/b/c", "link", "up"] {
            let now = root.join(path).symlink_metadata().unwrap();
            assert_eq!((now.uid(), now.gid()), to, "{path}");
        }
        let after = std::fs::metadata(&outside).unwrap();
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    }

    #[test]
    fn anything_else_is_refused_and_what_is_missing_is_named() {
        let nowhere = Path::new("/nowhere/at/all");
        for words in [
            &["-R"][..],
            &["1:1"],
            &["-R", "nonroot:nonroot"],
            &["-v", "1:1"],
        ] {
            assert!(matches!(give(args(words, nowhere)), Err(ChownError::Usage)));
        }
        let error = give(args(&["-R", "1:1"], nowhere)).unwrap_err();
        assert!(
            error.to_string().starts_with("/nowhere/at/all: "),
            "{error}"
        );
    }
}
