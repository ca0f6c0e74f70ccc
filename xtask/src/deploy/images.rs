//! The images of members in place of those that are built in, and a kustomize component that tells the
//! operator of them: those that are built in are etcd-druid's, whose sidecar cannot do what ours can.

use serde_json::{Value, json};

use super::operator::{IMAGE_MAP, told};
use super::{Build, DeployError, NAME, NAMESPACE};
use crate::image::RELEASES;

/// A registry that is nobody's, in what a person has to change.
const EXAMPLE: &str = "registry.example/druid";
/// The file of the image vector, in the component and in the map.
pub(super) const FILE: &str = "images.yaml";

/// Each image by name, and the release of etcd that is in it.
fn entries() -> [(&'static str, &'static str); 5] {
    let [base, next] = RELEASES;
    [
        ("etcd-wrapper", base),
        ("etcd-wrapper-next", next),
        ("etcd-backup-restore", base),
        ("etcd-backup-restore-next", next),
        ("alpine", next),
    ]
}

/// Images of this build: no registry is asked for any other.
pub(super) fn vector(build: &Build) -> Value {
    let entry = |(name, release): (&str, &str)| {
        let image = build.image(release);
        json!({ "name": name, "ref": image, "etcdVersion": release })
    };
    json!({ "images": entries().map(entry) })
}

/// The same as a person writes it who has the images in a registry.
pub(super) fn example() -> String {
    let build = Build::pulled(EXAMPLE);
    let entry = |(name, release): (&str, &str)| {
        let image = build.image(release);
        format!("- {{ name: {name}, ref: \"{image}\", etcdVersion: {release} }}\n")
    };
    format!("images:\n{}", entries().map(entry).concat())
}

/// The files of the component, by their paths under the root, without the remark above them.
pub(super) fn component() -> Result<[(&'static str, String); 3], DeployError> {
    let component = json!({
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        // With its digest in its name: another image vector replaces the operator's pod.
        "configMapGenerator": [{ "name": IMAGE_MAP, "namespace": NAMESPACE, "files": [FILE] }],
        "patches": [{ "path": "operator.yaml" }],
    });
    let (volume, mount, variable) = told();
    let patch = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": NAME, "namespace": NAMESPACE },
        "spec": { "template": { "spec": {
            "volumes": [volume],
            "containers": [{ "name": NAME, "env": [variable], "volumeMounts": [mount] }],
        } } },
    });
    let images = format!(
        "# Write your registry in place of {EXAMPLE}, with the images that `cargo xtask image` or the\n\
         # Containerfile make.\n{}",
        example()
    );
    Ok([
        (
            "deploy/images/kustomization.yaml",
            serde_saphyr::to_string(&component)?,
        ),
        (
            "deploy/images/operator.yaml",
            serde_saphyr::to_string(&patch)?,
        ),
        ("deploy/images/images.yaml", images),
    ])
}

#[cfg(test)]
mod tests {
    use druid_core::images::ImageVector;
    use druid_core::render::Release;

    use super::*;

    #[test]
    fn every_image_of_a_member_is_of_the_build() {
        let build = Build::pulled("r.example/a/druid");
        let vector = ImageVector::parse(&vector(&build)).unwrap();
        let vector = ImageVector::default().overridden_by(vector);
        for (release, etcd) in [Release::Base, Release::Next].into_iter().zip(RELEASES) {
            let found = vector.images(release).unwrap();
            assert_eq!(found.etcd, format!("r.example/a/druid:etcd-{etcd}"));
            assert_eq!(found.backup_restore, found.etcd);
            assert!(found.init.starts_with("r.example/a/druid:"));
            let version = vector.etcd_version(release).unwrap();
            assert_eq!(version.to_string(), etcd);
        }
    }

    #[test]
    fn what_a_person_is_told_to_write_says_the_same() {
        let written = serde_saphyr::from_str::<Value>(&example()).unwrap();
        assert_eq!(written, vector(&Build::pulled(EXAMPLE)));
    }

    #[test]
    fn whoever_installs_it_is_told_to_write_it() {
        let values = example()
            .lines()
            .fold(String::new(), |text, line| text + &format!("  {line}\n"));
        let values = format!("imageVectorOverwrite:\n{values}");
        for page in ["README.md", "docs/migration.md"] {
            let text = std::fs::read_to_string(crate::root().join(page)).unwrap();
            assert!(text.contains(&values), "{page} has not\n{values}");
        }
    }
}
