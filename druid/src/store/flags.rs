//! The flags of a store, named as etcd-backup-restore names them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use druid_core::backup::listing::Listing;
use druid_core::backup::names::{NameError, Prefix};
use thiserror::Error;

use super::credentials::{
    AbsAccount, CredentialError, Env, GcsAccount, OssAccount, S3Account, SwiftAccount, Whose,
};
use super::http::Patience;
use super::local::Local;
use super::parts::{Limits, SMALLEST_PART};
use super::providers::{Account, Site, SiteError};
use super::remote::Remote;
use super::{Store, StoreError};

/// Who keeps the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Provider {
    /// A directory.
    Local,
    /// Amazon S3, or what speaks as it does.
    S3,
    /// Azure Blob Storage.
    Abs,
    /// Google Cloud Storage.
    Gcs,
    /// OpenStack Swift.
    Swift,
    /// Alibaba Cloud.
    Oss,
    /// Dell EMC ECS.
    Ecs,
    /// OpenShift Container Storage.
    Ocs,
}

impl Provider {
    const ALL: [Self; 8] = [
        Self::Local,
        Self::S3,
        Self::Abs,
        Self::Gcs,
        Self::Swift,
        Self::Oss,
        Self::Ecs,
        Self::Ocs,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Local => "Local",
            Self::S3 => "S3",
            Self::Abs => "ABS",
            Self::Gcs => "GCS",
            Self::Swift => "Swift",
            Self::Oss => "OSS",
            Self::Ecs => "ECS",
            Self::Ocs => "OCS",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value of `--storage-provider`: empty for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chosen(pub(crate) Option<Provider>);

/// A provider that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no storage provider; there are Local, S3, ABS, GCS, Swift, OSS, ECS and OCS")]
pub(crate) struct UnknownProvider(String);

impl FromStr for Chosen {
    type Err = UnknownProvider;

    fn from_str(name: &str) -> Result<Self, UnknownProvider> {
        if name.is_empty() {
            return Ok(Self(None));
        }
        let found = Provider::ALL.into_iter().find(|it| it.name() == name);
        let unknown = || UnknownProvider(name.to_owned());
        found.map(|it| Self(Some(it))).ok_or_else(unknown)
    }
}

/// The flags of one store, whatever they are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreFlags {
    /// Which of the stores.
    pub(crate) whose: Whose,
    /// `--storage-provider`; `None` for no store at all.
    pub(crate) provider: Option<Provider>,
    /// `--store-container`; empty for the environment's, or the default.
    pub(crate) container: String,
    /// `--store-prefix`.
    pub(crate) prefix: String,
    /// `--store-endpoint-override`; empty for the usual one.
    pub(crate) endpoint: String,
    /// `--max-parallel-chunk-uploads`.
    pub(crate) parallel: usize,
    /// `--min-chunk-size`, bytes.
    pub(crate) min_chunk: u64,
}

macro_rules! store_args {
    ($(#[$doc:meta])* $name:ident, $whose:expr, $dash:literal, $heading:literal) => {
        $(#[$doc])*
        #[derive(Args, Clone, Debug, PartialEq, Eq)]
        #[command(next_help_heading = $heading)]
        #[group(id = stringify!($name))]
        pub(crate) struct $name {
            /// Who keeps the backups: Local, S3, ABS, GCS, Swift, OSS, ECS or OCS; empty for nobody
            #[arg(id = concat!($dash, "storage-provider"), long = concat!($dash, "storage-provider"),
                default_value = "", value_name = "NAME", hide_default_value = true)]
            provider: Option<Chosen>,
            /// Bucket or container; a directory below $HOME, or anywhere, for Local
            ///
            /// If left out: `STORAGE_CONTAINER` of the environment, then default.bkp for Local.
            #[arg(id = concat!($dash, "store-container"), long = concat!($dash, "store-container"),
                default_value = "", value_name = "NAME", hide_default_value = true)]
            container: String,
            /// What the keys of this cluster's objects begin with; /v2 follows
            #[arg(id = concat!($dash, "store-prefix"), long = concat!($dash, "store-prefix"),
                default_value = "", value_name = "PATH", hide_default_value = true)]
            prefix: String,
            /// Another address of the provider: S3, ABS and GCS
            #[arg(id = concat!($dash, "store-endpoint-override"),
                long = concat!($dash, "store-endpoint-override"),
                default_value = "", value_name = "URL", hide_default_value = true)]
            endpoint: String,
            /// How many parts of an upload may be on their way at once
            ///
            /// Fewer are, if memory needs it.
            #[arg(id = concat!($dash, "max-parallel-chunk-uploads"),
                long = concat!($dash, "max-parallel-chunk-uploads"),
                default_value_t = 5, value_name = "N")]
            parallel: usize,
            /// The smallest part of an upload, bytes; 5 MiB or more
            #[arg(id = concat!($dash, "min-chunk-size"), long = concat!($dash, "min-chunk-size"),
                default_value_t = SMALLEST_PART, value_name = "BYTES")]
            min_chunk: u64,
            /// Taken for compatibility: uploads need no files
            #[arg(id = concat!($dash, "snapstore-temp-directory"),
                long = concat!($dash, "snapstore-temp-directory"),
                default_value = "/tmp", value_name = "DIR", hide = true)]
            temp_directory: String,
        }

        impl $name {
            /// The same, under no particular names.
            pub(crate) fn flags(&self) -> StoreFlags {
                StoreFlags {
                    whose: $whose,
                    provider: self.provider.and_then(|it| it.0),
                    container: self.container.clone(),
                    prefix: self.prefix.clone(),
                    endpoint: self.endpoint.clone(),
                    parallel: self.parallel,
                    min_chunk: self.min_chunk,
                }
            }
        }
    };
}

store_args!(
    /// The flags of the store.
    StoreArgs,
    Whose::Main,
    "",
    "Store"
);
store_args!(
    /// The flags of the store that is copied from. What is left out is as in the other one.
    SourceStoreArgs,
    Whose::Source,
    "source-",
    "Source store"
);
store_args!(
    /// The flags of the second store.
    SecondaryStoreArgs,
    Whose::Secondary,
    "secondary-",
    "Second store"
);

impl SourceStoreArgs {
    /// Provider and prefix are the destination's where they are left out, as for
    /// etcd-backup-restore.
    pub(crate) fn flags_beside(&self, destination: &StoreFlags) -> StoreFlags {
        let mut flags = self.flags();
        flags.provider = flags.provider.or(destination.provider);
        if flags.prefix.is_empty() {
            flags.prefix.clone_from(&destination.prefix);
        }
        flags
    }
}

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
    Local(std::path::PathBuf),
    Remote(Site),
}

fn flag(whose: Whose) -> &'static str {
    match whose {
        Whose::Main => "",
        Whose::Source => "source-",
        Whose::Secondary => "secondary-",
    }
}

impl StoreFlags {
    fn find(&self, env: &Env) -> Result<Found, OpenError> {
        let flag = flag(self.whose);
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
                return Ok(Found::Local(std::path::Path::new(home).join(container)));
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
        let flag = flag(self.whose);
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
                let operator = site.connect(patience);
                let operator = operator.map_err(|error| OpenError::Site { provider, error })?;
                (
                    Arc::new(Remote::new(site, operator, limits)),
                    site.address(),
                )
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

#[cfg(test)]
mod tests;
