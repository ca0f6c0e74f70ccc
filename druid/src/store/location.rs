//! From flags and environment to an open store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use druid_core::backup::listing::Listing;
use druid_core::backup::names::{NameError, Prefix};
use thiserror::Error;

use super::credentials::{
    AbsAccount, CredentialError, Env, GcsAccount, OssAccount, S3Account, SwiftAccount,
};
use super::flags::{Provider, StoreFlags};
use super::http::Patience;
use super::local::Local;
use super::parts::{Limits, SMALLEST_PART};
use super::providers::{Account, Site, SiteError};
use super::remote::Remote;
use super::{Store, StoreError};

/// Why a store cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum OpenError {
    /// No provider.
    #[error("no store is given: set --{0}storage-provider")]
    NoProvider(&'static str),
    /// No container.
    #[error("no container is given: set --{flag}store-container or {variable}")]
    NoContainer {
        /// What the flag begins with.
        flag: &'static str,
        /// The variable.
        variable: String,
    },
    /// A relative directory, and nothing that it is relative to.
    #[error("HOME is not set: give --{flag}store-container as an absolute path, not {container:?}")]
    NoHome {
        /// What the flag begins with.
        flag: &'static str,
        /// What was given.
        container: String,
    },
    /// The prefix is no path.
    #[error(transparent)]
    Prefix(#[from] NameError),
    /// A key of a bucket that begins with a slash.
    #[error("--{flag}store-prefix {prefix:?} begins with a slash: leave it out, or use Local")]
    AbsolutePrefix {
        /// What the flag begins with.
        flag: &'static str,
        /// What was given.
        prefix: String,
    },
    /// Parts that S3 would refuse.
    #[error("--{flag}min-chunk-size {bytes} is too small: give {SMALLEST_PART} or more")]
    SmallChunks {
        /// What the flag begins with.
        flag: &'static str,
        /// What was given.
        bytes: u64,
    },
    /// The credentials are not there, or not whole.
    #[error("{provider}: {error}")]
    Credentials {
        /// Which provider's.
        provider: Provider,
        /// Why.
        error: CredentialError,
    },
    /// The client cannot be built.
    #[error("{provider}: {error}")]
    Site {
        /// Which provider's.
        provider: Provider,
        /// Why.
        error: SiteError,
    },
}

/// An open store, and where in it this cluster's objects are.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    /// What the keys begin with.
    pub(crate) prefix: Prefix,
    /// The store's address, for messages.
    pub(crate) address: String,
}

impl Location {
    /// Everything of this cluster, and nothing of a neighbour's.
    pub(crate) async fn listing(&self) -> Result<Listing, StoreError> {
        let listed = self.store.list(&self.prefix.to_list()).await?;
        let objects = listed.iter().map(|it| (it.key.as_str(), it.bytes));
        Ok(Listing::read(&self.prefix, objects))
    }
}

/// What a store is, with everything read that it needs: two that are equal reach the same objects
/// with the same credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Local(PathBuf),
    Remote(Site),
}

impl StoreFlags {
    fn find(&self, env: &Env) -> Result<Found, OpenError> {
        let flag = self.whose.flags();
        let provider = self.provider.ok_or(OpenError::NoProvider(flag))?;
        let variable = format!("{}STORAGE_CONTAINER", self.whose.variables());
        let given = Some(self.container.as_str()).filter(|it| !it.is_empty());
        let container = given.or_else(|| env.get(&variable));
        let endpoint = Some(self.endpoint.clone()).filter(|it| !it.is_empty());
        let whose = self.whose;
        let account = match provider {
            Provider::Local => {
                let container = container.unwrap_or("default.bkp");
                if container.starts_with('/') {
                    return Ok(Found::Local(container.into()));
                }
                let home = env.get("HOME").ok_or_else(|| OpenError::NoHome {
                    flag,
                    container: container.to_owned(),
                })?;
                return Ok(Found::Local(Path::new(home).join(container)));
            }
            Provider::S3 => S3Account::s3(env, whose).map(|it| Account::S3(it.into())),
            Provider::Ecs => S3Account::ecs(env).map(|it| Account::S3(it.into())),
            Provider::Ocs => S3Account::ocs(env, whose).map(|it| Account::S3(it.into())),
            Provider::Abs => AbsAccount::read(env, whose).map(Account::Abs),
            Provider::Gcs => GcsAccount::read(env, whose, endpoint.as_deref()).map(Account::Gcs),
            Provider::Swift => SwiftAccount::read(env, whose).map(Account::Swift),
            Provider::Oss => OssAccount::read(env, whose).map(Account::Oss),
        };
        let account = account.map_err(|error| OpenError::Credentials { provider, error })?;
        let overridden = match provider {
            Provider::S3 | Provider::Abs | Provider::Gcs => endpoint,
            Provider::Local | Provider::Ecs | Provider::Ocs | Provider::Swift | Provider::Oss => {
                None
            }
        };
        let container = container.ok_or(OpenError::NoContainer { flag, variable })?;
        Ok(Found::Remote(Site {
            account,
            container: container.to_owned(),
            endpoint: overridden,
        }))
    }

    /// Opens the store. Nothing is sent; whether it answers is seen when it is used.
    pub(crate) fn open(&self, env: &Env) -> Result<Location, OpenError> {
        self.open_with(env, Patience::default())
    }

    /// Opens the store, with so much patience for its answers.
    pub(crate) fn open_with(&self, env: &Env, patience: Patience) -> Result<Location, OpenError> {
        self.open_found(&self.find(env)?, patience)
    }

    fn open_found(&self, found: &Found, patience: Patience) -> Result<Location, OpenError> {
        let flag = self.whose.flags();
        let provider = self.provider.ok_or(OpenError::NoProvider(flag))?;
        let prefix = Prefix::parse(&self.prefix)?;
        if self.min_chunk < SMALLEST_PART {
            return Err(OpenError::SmallChunks {
                flag,
                bytes: self.min_chunk,
            });
        }
        let (store, address): (Arc<dyn Store>, String) = match found {
            Found::Local(root) => (
                Arc::new(Local::new(root.clone())),
                root.display().to_string(),
            ),
            Found::Remote(site) => {
                if self.prefix.starts_with('/') {
                    return Err(OpenError::AbsolutePrefix {
                        flag,
                        prefix: self.prefix.clone(),
                    });
                }
                let limits = Limits {
                    min_part: self.min_chunk,
                    parallel: self.parallel,
                    parts: site.most_parts(),
                };
                let client = site.connect(patience);
                let client = client.map_err(|error| OpenError::Site { provider, error })?;
                (Arc::new(Remote::new(site, client, limits)), site.address())
            }
        };
        Ok(Location {
            store,
            prefix,
            address,
        })
    }
}

/// A store whose credentials may be exchanged while the program runs.
#[derive(Debug)]
pub(crate) struct Reopening {
    flags: StoreFlags,
    env: Env,
    found: Found,
    location: Location,
}

impl Reopening {
    /// Opens it for the first time.
    pub(crate) fn open(flags: StoreFlags, env: Env) -> Result<Self, OpenError> {
        let found = flags.find(&env)?;
        let location = flags.open_found(&found, Patience::default())?;
        Ok(Self {
            flags,
            env,
            found,
            location,
        })
    }

    /// The store as the credentials are now: asked for before each snapshot. Their files are small
    /// and are compared, not only their times; an error leaves the former client for a later try.
    pub(crate) fn current(&mut self) -> Result<Location, OpenError> {
        let found = self.flags.find(&self.env)?;
        if found != self.found {
            self.location = self.flags.open_found(&found, Patience::default())?;
            self.found = found;
        }
        Ok(self.location.clone())
    }
}
