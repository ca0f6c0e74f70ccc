//! All that is configured: the file or the flags, and the images.

use std::path::{Path, PathBuf};

use druid_core::images::{ImageVector, ImageVectorError};
use druid_core::operator::{Config, ConfigErrors, ConfigWarning, Loaded};
use druid_core::render::Release;
use serde_json::Value;
use thiserror::Error;

use super::args::Args;

/// The variable that names a file with an image vector.
const IMAGES: &str = "IMAGEVECTOR_OVERWRITE";
/// A release without either of these is none.
const RELEASES: [Release; 2] = [Release::Base, Release::Next];

/// What is configured.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) config: Config,
    pub(super) images: ImageVector,
    /// To be logged.
    pub(super) warnings: Vec<ConfigWarning>,
}

/// Why the operator cannot run as it is configured.
#[derive(Debug, Error)]
pub(super) enum SettingsError {
    #[error("{what} {}: cannot be read: {source}; name a file that is there", path.display())]
    Read {
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{what} {}: is no YAML: {why}", path.display())]
    Yaml {
        what: &'static str,
        path: PathBuf,
        why: String,
    },
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error("{IMAGES} {}: {source}", path.display())]
    Images {
        path: PathBuf,
        source: ImageVectorError,
    },
}

/// Reads everything. All that is wrong is told of.
pub(super) fn read(args: &Args) -> Result<Configured, Vec<SettingsError>> {
    let overridden = std::env::var_os(IMAGES).filter(|it| !it.is_empty());
    match (config(args), images(overridden.map(PathBuf::from))) {
        (Ok(Loaded { config, warnings }), Ok(images)) => Ok(Configured {
            config,
            images,
            warnings,
        }),
        (config, images) => Err([config.err(), images.err()].into_iter().flatten().collect()),
    }
}

fn config(args: &Args) -> Result<Loaded, SettingsError> {
    let flags = args.deprecated();
    let Some(path) = &args.config else {
        return Ok(flags.config()?);
    };
    let mut loaded = Config::read(yaml("--config", path)?)?;
    loaded.warnings.extend(flags.beside_a_file());
    Ok(loaded)
}

fn images(overridden: Option<PathBuf>) -> Result<ImageVector, SettingsError> {
    let Some(path) = overridden else {
        return Ok(ImageVector::default());
    };
    let file = yaml(IMAGES, &path)?;
    let wrong = |source| SettingsError::Images {
        path: path.clone(),
        source,
    };
    let images = ImageVector::parse(&file).map_err(wrong)?;
    let images = ImageVector::default().overridden_by(images);
    for release in RELEASES {
        images.images(release).map_err(wrong)?;
    }
    Ok(images)
}

/// Read as Kubernetes reads it: `y` is a text.
fn yaml(what: &'static str, path: &Path) -> Result<Value, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read {
        what,
        path: path.to_owned(),
        source,
    })?;
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(&text, options).map_err(|error| SettingsError::Yaml {
        what,
        path: path.to_owned(),
        why: error.to_string(),
    })
}
