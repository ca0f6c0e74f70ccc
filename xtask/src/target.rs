//! The cluster that a command is about: one of `cargo xtask cluster up`, or somebody's own.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::cluster::{ClusterName, cli};
use xtask::deploy::Build;

/// Which.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The cluster
    #[arg(
        long,
        default_value_t,
        value_name = "NAME",
        conflicts_with = "kubeconfig"
    )]
    name: ClusterName,
    /// A cluster of your own instead, in the current context of this file
    ///
    /// $KUBECTL, or kubectl, is run, and $HELM, or helm, where --chart is said. The cluster has to be able to pull the image: see --image.
    #[arg(long, value_name = "FILE", requires = "image")]
    kubeconfig: Option<PathBuf>,
    /// The image in your own cluster, without its tag
    ///
    /// What `cargo xtask image` or the Containerfile makes, pushed to a registry of yours with the
    /// tags etcd-3.4.34 and etcd-3.5.27.
    #[arg(long, value_name = "REPOSITORY", requires = "kubeconfig")]
    image: Option<String>,
}

impl Options {
    /// That one.
    pub(crate) fn target(&self) -> Target {
        match (&self.kubeconfig, &self.image) {
            (Some(kubeconfig), Some(image)) => Target::Theirs {
                kubeconfig: kubeconfig.clone(),
                image: image.clone(),
            },
            (None, _) | (_, None) => Target::Ours(self.name.clone()),
        }
    }
}

/// A program of theirs, which a variable may name.
fn their(variable: &str, program: &str, kubeconfig: &Path) -> Command {
    let program = std::env::var_os(variable).unwrap_or_else(|| program.into());
    let mut command = Command::new(program);
    let mut option = OsString::from("--kubeconfig=");
    option.push(kubeconfig);
    command.arg(option);
    command
}

/// A cluster.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// One that `cargo xtask cluster up` brought up.
    Ours(ClusterName),
    /// Somebody's own.
    Theirs {
        /// Of whoever may install things there.
        kubeconfig: PathBuf,
        /// Where nodes find the image, without its tag.
        image: String,
    },
}

impl Target {
    /// kubectl as its administrator.
    pub(crate) fn kubectl(&self) -> Result<Command, Box<dyn Error>> {
        match self {
            Self::Ours(name) => cli::kubectl(name),
            Self::Theirs { kubeconfig, .. } => Ok(their("KUBECTL", "kubectl", kubeconfig)),
        }
    }

    /// Helm as its administrator.
    pub(crate) fn helm(&self) -> Result<Command, Box<dyn Error>> {
        match self {
            Self::Ours(name) => cli::helm(name),
            Self::Theirs { kubeconfig, .. } => Ok(their("HELM", "helm", kubeconfig)),
        }
    }

    /// What its nodes run. One of ours runs what is in an archive, which is made only for it.
    pub(crate) fn build(
        &self,
        archive: impl FnOnce() -> Result<PathBuf, Box<dyn Error>>,
    ) -> Result<(Build, Option<PathBuf>), Box<dyn Error>> {
        match self {
            Self::Ours(_) => {
                let archive = archive()?;
                Ok((Build::of(&archive)?, Some(archive)))
            }
            Self::Theirs { image, .. } => Ok((Build::pulled(image), None)),
        }
    }

    /// Gives the images of an archive to its node.
    pub(crate) fn load(&self, archive: &Path) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Ours(name) => cli::load(Some(name), archive).map(drop),
            Self::Theirs { .. } => Ok(()),
        }
    }

    /// Where its API server writes down each request, if we know.
    pub(crate) fn audit_log(&self) -> Result<Option<PathBuf>, Box<dyn Error>> {
        match self {
            Self::Ours(name) => cli::audit_log(name).map(Some),
            Self::Theirs { .. } => Ok(None),
        }
    }

    /// Removes a directory of its nodes. False if only their owner can.
    pub(crate) fn remove_on_node(&self, directory: &Path) -> Result<bool, Box<dyn Error>> {
        match self {
            Self::Ours(name) => cli::remove_on_node(name, directory).map(|()| true),
            Self::Theirs { .. } => Ok(false),
        }
    }

    /// What `env` of it has to be evaluated before kubectl, in a shell; nothing for one of theirs.
    pub(crate) fn environment(&self) -> Option<String> {
        match self {
            Self::Ours(name) => Some(format!(
                "eval \"$(cargo xtask cluster env{})\"",
                name.flag()
            )),
            Self::Theirs { .. } => None,
        }
    }

    /// The flags that name it.
    pub(crate) fn flags(&self) -> String {
        match self {
            Self::Ours(name) => name.flag(),
            Self::Theirs { kubeconfig, image } => {
                format!(" --kubeconfig {} --image {image}", kubeconfig.display())
            }
        }
    }

    /// kubectl, as a person would type it.
    pub(crate) fn typed(&self) -> String {
        match self {
            Self::Ours(_) => "$KUBECTL".to_owned(),
            Self::Theirs { kubeconfig, .. } => {
                format!("kubectl --kubeconfig {}", kubeconfig.display())
            }
        }
    }
}
