//! What runs the operator in a cluster: the manifests in `deploy/`, the chart in `charts/`, and the same with the images of this
//! build for the cluster of `cargo xtask cluster up`.
//!
//! `access` says what the operator may do, `operator` how it is run, `images` of what members are made, `chart`
//! the same to Helm, `webhook` what protects the objects of Etcds, `monitoring` how all is watched.

mod access;
mod chart;
mod images;
pub mod monitoring;
mod operator;
mod webhook;

use std::io;
use std::path::{Path, PathBuf};

use druid_core::api::Kind;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

pub use chart::{DIRECTORY as CHART, values};
pub use webhook::objects as webhook_objects;

use crate::image;

/// The name of the Deployment and of its service account.
pub const NAME: &str = "druid";
/// Where it runs.
pub const NAMESPACE: &str = "druid-system";

/// What stands above every file.
const MADE: &str = "# Made by `cargo xtask manifests`: change xtask/src/deploy, not this.\n";
/// The files besides `kustomization.yaml`, in the order in which they are applied.
const FILES: [&str; 5] = [
    "namespace.yaml",
    "crds.yaml",
    "access.yaml",
    "config.yaml",
    "operator.yaml",
];

/// Why there are no manifests.
#[derive(Debug, Error)]
pub enum DeployError {
    /// The definitions of the custom resources.
    #[error("the types give no schema: {0}")]
    Schema(#[from] serde_json::Error),
    /// An object.
    #[error("an object cannot be written as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser_error::Error),
    /// A file.
    #[error("{}: {source}; is there space, and is it yours?", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The images that nodes run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Their name without the tag.
    pub repository: String,
    /// Differs from that of another build.
    pub stamp: String,
}

impl Build {
    /// That of an archive.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of(archive: &Path) -> Result<Self, DeployError> {
        let file = |source| DeployError::File {
            path: archive.to_owned(),
            source,
        };
        let mut hash = Sha256::new();
        let mut archive = std::fs::File::open(archive).map_err(file)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = io::Read::read(&mut archive, &mut buffer).map_err(file)?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
        }
        let stamp = image::hex(&hash.finalize());
        Ok(Self::loaded(stamp))
    }

    /// Our own images, which a node was given.
    pub fn loaded(stamp: String) -> Self {
        Self {
            repository: image::REPOSITORY.to_owned(),
            stamp,
        }
    }

    /// Those that nodes pull from a repository. What its tags stand for is taken never to change.
    pub fn pulled(repository: &str) -> Self {
        Self {
            repository: repository.to_owned(),
            stamp: "pulled".to_owned(),
        }
    }

    /// The image with this release of etcd.
    pub fn image(&self, release: &str) -> String {
        image::name_in(&self.repository, release)
    }
}

/// All objects, in the order in which they are to be applied.
///
/// `gate`: whether `UpgradeEtcdVersion` is on. `build`: members are of its images too, and not of those
/// that are built in.
///
/// # Errors
/// The types give no schema.
pub fn objects(gate: bool, build: Option<&Build>) -> Result<Vec<Value>, DeployError> {
    Ok(by_file(gate, build)?.concat())
}

/// In the order of [`FILES`].
fn by_file(gate: bool, build: Option<&Build>) -> Result<[Vec<Value>; 5], DeployError> {
    let definitions = Kind::ALL.into_iter().map(Kind::definition);
    Ok([
        vec![operator::namespace()],
        definitions.collect::<Result<_, _>>()?,
        access::objects(),
        operator::config_maps(gate, build),
        operator::workload(gate, build),
    ])
}

/// All that is made from code, by the path of the file under the root: the manifests in `deploy/`, and the
/// chart but for its templates.
///
/// # Errors
/// An object cannot be written.
pub fn manifests() -> Result<Vec<(String, String)>, DeployError> {
    let by_file = by_file(false, None)?;
    let mut files = Vec::new();
    for (name, objects) in FILES.into_iter().zip(&by_file) {
        files.push((format!("deploy/{name}"), documents(objects)?));
    }
    // Not among those that are applied together: it is switched on by whoever wants it.
    files.push((
        "deploy/webhook.yaml".to_owned(),
        documents(&webhook::objects())?,
    ));
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": FILES,
    });
    files.push((
        "deploy/kustomization.yaml".to_owned(),
        serde_saphyr::to_string(&kustomization)?,
    ));
    let [_, definitions, ..] = &by_file;
    for (name, text) in chart::files(definitions)? {
        files.push((format!("{CHART}/{name}"), text));
    }
    let components = images::component()?.into_iter();
    let components = components.chain(monitoring::files()?);
    files.extend(components.map(|(path, text)| (path.to_owned(), text)));
    for (path, text) in &mut files {
        // JSON has no comments.
        if Path::new(path).extension().is_none_or(|it| it != "json") {
            text.insert_str(0, MADE);
        }
    }
    Ok(files)
}

fn documents(objects: &[Value]) -> Result<String, DeployError> {
    let documents: Vec<_> = objects
        .iter()
        .map(serde_saphyr::to_string)
        .collect::<Result<_, _>>()?;
    Ok(format!("---\n{}", documents.join("---\n")))
}

/// Whether the gate is on in a configuration map of ours, as the API server has it.
pub fn gate_of(config_map: &Value) -> Option<bool> {
    let text = config_map["data"]["config.yaml"].as_str()?;
    let file: Value = serde_saphyr::from_str(text).ok()?;
    file["featureGates"]["UpgradeEtcdVersion"].as_bool()
}

/// The name of that map.
pub const CONFIG_MAP: &str = operator::CONFIG_MAP;

fn labels() -> Value {
    json!({ "app.kubernetes.io/name": NAME })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_are_what_the_code_says() {
        let made = manifests().unwrap();
        for (path, text) in &made {
            let stored = std::fs::read_to_string(crate::root().join(path)).unwrap_or_default();
            assert!(stored == *text, "{path}: run `cargo xtask manifests`");
        }
        let count = |path: &str| std::fs::read_dir(crate::root().join(path)).unwrap().count();
        let there = count("deploy") + count("deploy/images") + count("deploy/monitoring");
        let made = made.iter().filter(|(path, _)| path.starts_with("deploy/"));
        // And the example, and the two directories.
        assert_eq!(there, made.count() + 3, "deploy/ has another file");
    }

    #[test]
    fn what_is_written_is_read_back_as_the_same_objects() {
        let made = manifests().unwrap();
        let mut all = Vec::new();
        for name in FILES {
            let path = format!("deploy/{name}");
            let (_, text) = made.iter().find(|(it, _)| *it == path).unwrap();
            all.extend(serde_saphyr::from_multiple::<Value>(text).unwrap());
        }
        assert!(all == objects(false, None).unwrap());
        let map = all.iter().find(|it| it["kind"] == "ConfigMap").unwrap();
        assert_eq!(gate_of(map), Some(false));
    }
}
