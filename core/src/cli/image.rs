//! What runs in a pod, as far as its image tells.

use k8s_openapi::api::core::v1::PodSpec;

use crate::images::ImageVector;
use crate::render::Release;

/// The container of etcd.
const CONTAINER: &str = "etcd";

/// The release of etcd in the pod, if its image is one of the image vector that is built in,
/// whatever registry it comes from; otherwise the tag of the image, which may be a release or not.
pub(crate) fn version(pod: &PodSpec) -> Option<String> {
    let etcd = pod.containers.iter().find(|it| it.name == CONTAINER)?;
    let image = last(etcd.image.as_deref()?);
    let vector = ImageVector::default();
    let known = [Release::Base, Release::Next].into_iter().find_map(|it| {
        let images = vector.images(it).ok()?;
        (last(&images.etcd) == image).then(|| vector.etcd_version(it))?
    });
    if let Some(version) = known {
        return Some(version.to_string());
    }
    let (tag, digest) = image
        .split_once('@')
        .map_or((image, None), |(tag, digest)| (tag, Some(digest)));
    let tag = tag.split_once(':').map(|(_, tag)| tag);
    // Sixteen digits tell one from the other.
    let digest = digest.map(|it| it.get(..23).unwrap_or(it));
    Some(tag.or(digest).unwrap_or("latest").to_owned())
}

/// Without registry and folders.
fn last(image: &str) -> &str {
    image.rsplit('/').next().unwrap_or(image)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Container;

    use super::*;

    #[test]
    fn an_image_of_ours_tells_its_release_and_any_other_its_tag() {
        let of = |image: &str| {
            let etcd = Container {
                name: "etcd".to_owned(),
                image: Some(image.to_owned()),
                ..Container::default()
            };
            version(&PodSpec {
                containers: vec![Container::default(), etcd],
                ..PodSpec::default()
            })
            .unwrap()
        };
        let digest = "quay.io/coreos/etcd@sha256:0123456789abcdef0123456789abcdef";
        for (image, said) in [
            (
                "europe-docker.pkg.dev/gardener-project/public/gardener/etcd-wrapper:v0.6.2",
                "3.4.34",
            ),
            ("mirror:5000/etcd-wrapper:v0.8.0", "3.5.27"),
            ("etcd-wrapper:v0.9.0", "v0.9.0"),
            ("druid.local/druid:etcd-3.4.34", "etcd-3.4.34"),
            (digest, "sha256:0123456789abcdef"),
            ("localhost:5000/etcd", "latest"),
        ] {
            assert_eq!(of(image), said, "{image}");
        }
        assert_eq!(version(&PodSpec::default()), None);
    }
}
