//! Which store: named in one word, or by etcd-backup-restore's flags.

use std::path::Path;

use thiserror::Error;

use crate::store::credentials::Env;
use crate::store::flags::{Chosen, Provider, StoreArgs, StoreFlags};
use crate::store::location::{Location, OpenError};

/// `STORE`, or the flags.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StoreAt {
    /// The store: the directory that v2/ is in, or `PROVIDER://CONTAINER/PREFIX`
    ///
    /// For example /backups/etcd-main or `s3://bucket/etcd-main`. The flags below say the same;
    /// credentials come from the environment as for etcd-backup-restore, for example
    /// `AWS_APPLICATION_CREDENTIALS=DIRECTORY`.
    #[arg(value_name = "STORE", conflicts_with_all = ["storage-provider", "store-container", "store-prefix"])]
    store: Option<String>,
    #[command(flatten)]
    flags: StoreArgs,
}

/// Why it is not known which store is meant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum StoreAtError {
    /// Neither the one nor the other.
    #[error("no store is given: name one, /backups/etcd-main or s3://bucket/etcd-main for example")]
    Missing,
    /// Not a provider.
    #[error(
        "{scheme}:// is no store; there are s3, abs, gcs, swift, oss, ecs and ocs, and directories"
    )]
    Scheme {
        /// What was given.
        scheme: String,
    },
    /// A provider and nothing more.
    #[error("{store} names no container: write {scheme}://CONTAINER/PREFIX")]
    Container {
        /// What was given.
        store: String,
        /// Its provider.
        scheme: String,
    },
    /// A store that is to be read, and is not there: a misspelled path is no empty store.
    #[error("{path} is no directory: name the directory that v2/ is in")]
    Directory {
        /// What was given.
        path: String,
    },
    /// It is known and cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl StoreAt {
    /// The flags that say the same.
    pub(crate) fn flags(&self) -> Result<StoreFlags, StoreAtError> {
        let mut flags = self.flags.flags();
        match &self.store {
            Some(store) => name(store, &mut flags)?,
            None if flags.provider.is_none() => return Err(StoreAtError::Missing),
            None => {}
        }
        Ok(flags)
    }

    /// `--snapstore-temp-directory`.
    pub(crate) fn temporary(&self) -> &Path {
        self.flags.temporary()
    }

    /// Opens it, to read what is there. Nothing is sent yet.
    pub(crate) fn open(&self) -> Result<Location, StoreAtError> {
        to_read(&self.flags()?)
    }
}

/// Opens a store, to read what is there. Nothing is sent yet.
pub(super) fn to_read(flags: &StoreFlags) -> Result<Location, StoreAtError> {
    let path = &flags.container;
    let local = flags.provider == Some(Provider::Local) && path.starts_with('/');
    if local && !Path::new(path).is_dir() {
        return Err(StoreAtError::Directory { path: path.clone() });
    }
    Ok(flags.open(&Env::of_process())?)
}

/// Reads `STORE` into the flags that say the same.
pub(crate) fn name(store: &str, flags: &mut StoreFlags) -> Result<(), StoreAtError> {
    let Some((scheme, rest)) = store.split_once("://") else {
        flags.provider = "Local".parse::<Chosen>().ok().and_then(|it| it.0);
        flags.container = absolute(store);
        flags.prefix = String::new();
        return Ok(());
    };
    let known = match scheme {
        "s3" => "S3",
        "abs" => "ABS",
        "gcs" | "gs" => "GCS",
        "swift" => "Swift",
        "oss" => "OSS",
        "ecs" => "ECS",
        "ocs" => "OCS",
        other => {
            return Err(StoreAtError::Scheme {
                scheme: other.to_owned(),
            });
        }
    };
    let (container, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if container.is_empty() {
        return Err(StoreAtError::Container {
            store: store.to_owned(),
            scheme: scheme.to_owned(),
        });
    }
    flags.provider = known.parse::<Chosen>().ok().and_then(|it| it.0);
    container.clone_into(&mut flags.container);
    prefix.trim_end_matches('/').clone_into(&mut flags.prefix);
    Ok(())
}

/// A relative container would be looked for below HOME.
fn absolute(path: &str) -> String {
    let absolute = std::path::absolute(path);
    absolute.map_or_else(|_| path.to_owned(), |it| it.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        at: StoreAt,
    }

    fn flags(words: &[&str]) -> Result<(String, String, String), String> {
        let cli = Cli::try_parse_from(std::iter::once(&"druid").chain(words));
        let cli = cli.map_err(|it| it.to_string())?;
        let flags = cli.at.flags().map_err(|it| it.to_string())?;
        let provider = flags.provider.map_or(String::new(), |it| it.to_string());
        Ok((provider, flags.container, flags.prefix))
    }

    type Named = Result<(String, String, String), String>;

    #[expect(clippy::unnecessary_wraps, reason = "compared with a result")]
    fn is(provider: &str, container: &str, prefix: &str) -> Named {
        Ok((provider.to_owned(), container.to_owned(), prefix.to_owned()))
    }

    #[test]
    fn a_store_is_a_directory_or_a_provider_with_its_container() {
        assert_eq!(flags(&["/backups/p"]), is("Local", "/backups/p", ""));
        assert_eq!(flags(&["s3://bucket/a/b/"]), is("S3", "bucket", "a/b"));
        assert_eq!(flags(&["gs://bucket"]), is("GCS", "bucket", ""));
        let flagged = [
            "--storage-provider=S3",
            "--store-container=c",
            "--store-prefix=p",
        ];
        assert_eq!(flags(&flagged), is("S3", "c", "p"));
    }

    #[test]
    fn what_is_no_store_is_said_with_a_remedy() {
        for (words, expected) in [
            (&[][..], "no store is given"),
            (&["ftp://x/y"], "ftp:// is no store"),
            (&["s3:///y"], "names no container"),
            (&["/b", "--store-container=c"], "cannot be used with"),
        ] {
            let error = flags(words).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
