//! What a rehearsal tells people and programs: the terminal, report.json and report.html.
//! Everything here is made from a [`Report`]; it decides nothing.

pub(crate) mod html;
pub(crate) mod json;
mod svg;
pub(crate) mod terminal;
pub(crate) mod text;

use std::io;
use std::path::{Path, PathBuf};

use druid_core::report::Report;
use thiserror::Error;

/// Why a report could not be written.
#[derive(Debug, Error)]
pub(crate) enum WriteReportError {
    /// The directory cannot be made.
    #[error("--report {}: cannot make the directory ({source}); name one that can be written to", path.display())]
    Directory { path: PathBuf, source: io::Error },
    /// The file cannot be written.
    #[error("--report: cannot write {} ({source}); free some space or name another directory", path.display())]
    File { path: PathBuf, source: io::Error },
    /// The report is no JSON.
    #[error("--report: cannot put the report into words: {0}")]
    Json(#[from] serde_json::Error),
}

/// Where the two files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// For programs.
    pub(crate) json: PathBuf,
    /// For people.
    pub(crate) html: PathBuf,
}

/// Writes `report.json` and `report.html` into a directory, which is made if need be. A reader
/// never sees half a file.
pub(crate) fn write(report: &Report, directory: &Path) -> Result<Written, WriteReportError> {
    std::fs::create_dir_all(directory).map_err(|source| WriteReportError::Directory {
        path: directory.to_owned(),
        source,
    })?;
    let written = Written {
        json: directory.join("report.json"),
        html: directory.join("report.html"),
    };
    replace(&written.json, &json::render(report)?)?;
    replace(&written.html, &html::render(report))?;
    Ok(written)
}

fn replace(path: &Path, content: &str) -> Result<(), WriteReportError> {
    let draft = path.with_extension("tmp");
    std::fs::write(&draft, content)
        .and_then(|()| std::fs::rename(&draft, path))
        .map_err(|source| {
            // What is left of it is worth nothing; that it cannot be removed changes nothing.
            let _ = std::fs::remove_file(&draft);
            WriteReportError::File {
                path: path.to_owned(),
                source,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn small() -> Report {
        serde_json::from_str(include_str!("../../../core/tests/golden/report.json")).unwrap()
    }

    #[test]
    fn both_files_are_written_whole_and_replace_older_ones() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("a/b");
        write(&small(), &inner).unwrap();
        let mut later = small();
        later.seed = 8;
        let written = write(&later, &inner).unwrap();
        let read: Report =
            serde_json::from_str(&std::fs::read_to_string(&written.json).unwrap()).unwrap();
        assert_eq!(read, later);
        assert!(
            std::fs::read_to_string(&written.html)
                .unwrap()
                .ends_with("</html>\n")
        );
        assert_eq!(std::fs::read_dir(&inner).unwrap().count(), 2);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = write(&small(), &file.join("x")).unwrap_err().to_string();
        assert!(
            error.starts_with("--report ") && error.contains("file/x"),
            "{error}"
        );
    }
}
