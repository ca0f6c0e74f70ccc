//! What members are made from, by the revision of the StatefulSet that their pods are of.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::StatefulSet;
use thiserror::Error;

use crate::api::RevisionRecord;
pub use crate::make::Make;
use crate::make::Template;
use crate::render::{Images, Release};
use crate::version::Version;

/// The two releases that the operator knows, with their images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Releases {
    /// That of today.
    pub base: (Version, Images),
    /// The next one.
    pub next: (Version, Images),
}

impl Releases {
    /// One of them.
    pub fn of(&self, release: Release) -> &(Version, Images) {
        match release {
            Release::Base => &self.base,
            Release::Next => &self.next,
        }
    }

    /// The one with this version of etcd.
    pub fn with(&self, version: Version) -> Option<Release> {
        [Release::Base, Release::Next]
            .into_iter()
            .find(|it| self.of(*it).0 == version)
    }

    /// The version of etcd in an image that somebody has chosen himself: one of ours, or one whose
    /// tag says it, as `v3.5.27` or `3.5.27-r1`.
    pub fn version_in(&self, image: &str) -> Option<Version> {
        let ours = [&self.base, &self.next];
        if let Some((version, _)) = ours.into_iter().find(|(_, images)| images.etcd == image) {
            return Some(*version);
        }
        let name = image.split('@').next()?;
        let (_, tag) = name
            .rsplit_once(':')
            .filter(|(_, tag)| !tag.contains('/'))?;
        let digits = tag.strip_prefix('v').unwrap_or(tag);
        let end = digits.find(|it: char| !it.is_ascii_digit() && it != '.');
        digits[..end.unwrap_or(digits.len())].parse().ok()
    }
}

/// A template cannot be made one of a release: pods run an image that somebody has chosen himself, and
/// none of that release is known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "a member is to be put back to etcd {wanted}, and spec.etcd.image is {image} with etcd {has}; set \
     spec.etcd.image to the one of {wanted} that it ran"
)]
pub struct OwnImage {
    /// What is to run.
    pub wanted: Version,
    /// The image that is there.
    pub image: String,
    /// What is in it.
    pub has: Version,
}

impl Releases {
    /// Whether a template can be made one of this release. `own`: the image that somebody has chosen
    /// himself; pods get that one and no other.
    ///
    /// # Errors
    /// If another release is known to be in it.
    pub fn can_make(&self, wanted: Version, own: Option<&str>) -> Result<(), OwnImage> {
        let Some(image) = own else { return Ok(()) };
        match self.version_in(image).filter(|has| *has != wanted) {
            None => Ok(()),
            Some(has) => Err(OwnImage {
                wanted,
                image: image.to_owned(),
                has,
            }),
        }
    }
}

/// The image of a container of the template.
fn image<'a>(set: &'a StatefulSet, name: &str) -> Option<&'a str> {
    let pod = set.spec.as_ref()?.template.spec.as_ref()?;
    let container = pod.containers.iter().find(|it| it.name == name)?;
    container.image.as_deref()
}

/// The release that the template of a StatefulSet is of: its images say so, or, if they are none of
/// ours, what it was last known to be made from.
pub fn release_of(set: &StatefulSet, releases: &Releases, makes: &Makes) -> Release {
    for (container, of) in [
        ("etcd", (|it| &it.etcd) as fn(&Images) -> &String),
        ("backup-restore", |it| &it.backup_restore),
    ] {
        let (base, next) = (of(&releases.base.1), of(&releases.next.1));
        match image(set, container) {
            Some(image) if base != next && image == base => return Release::Base,
            Some(image) if base != next && image == next => return Release::Next,
            Some(_) | None => {}
        }
    }
    let revision = set
        .status
        .as_ref()
        .and_then(|it| it.update_revision.as_ref());
    let known = revision.and_then(|it| makes.0.get(it));
    known
        .and_then(|make| releases.with(make.version))
        .unwrap_or(Release::Base)
}

/// What each revision of the StatefulSet makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Makes(pub BTreeMap<String, Make>);

impl Makes {
    /// As they are stored. What cannot be read is not known.
    pub fn read(stored: Option<&[RevisionRecord]>) -> Self {
        let read = |it: &RevisionRecord| {
            let version = it.version.parse().ok()?;
            let template = Template(it.template.clone());
            Some((it.name.clone(), Make { version, template }))
        };
        Self(stored.unwrap_or_default().iter().filter_map(read).collect())
    }

    /// To be stored.
    pub fn written(&self) -> Vec<RevisionRecord> {
        let written = self.0.iter().map(|(name, make)| RevisionRecord {
            name: name.clone(),
            version: make.version.to_string(),
            template: make.template.0.clone(),
        });
        written.collect()
    }

    /// Notes what the newest revision makes, and forgets those that no pod is of.
    pub fn note<'a>(&mut self, newest: &str, make: Make, of_pods: impl Iterator<Item = &'a str>) {
        let of_pods: BTreeSet<_> = of_pods.collect();
        self.0.insert(newest.to_owned(), make);
        self.0
            .retain(|name, _| name == newest || of_pods.contains(name.as_str()));
    }

    /// Whether nothing is known yet: the cluster was made by somebody else, or is new.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(number: u8) -> Images {
        Images {
            etcd: format!("registry:5000/etcd-wrapper:v0.{number}.0"),
            backup_restore: format!("registry:5000/etcdbrctl:v0.{number}.0"),
            init: "alpine:3".to_owned(),
        }
    }

    fn releases() -> Releases {
        Releases {
            base: (Version::new(3, 4, 34), images(1)),
            next: (Version::new(3, 5, 27), images(2)),
        }
    }

    fn set(etcd: &str, sidecar: &str, revision: &str) -> StatefulSet {
        serde_json::from_value(serde_json::json!({
            "spec": { "selector": {}, "serviceName": "s", "template": { "spec": { "containers": [
                { "name": "etcd", "image": etcd }, { "name": "backup-restore", "image": sidecar },
            ] } } },
            "status": { "replicas": 1, "updateRevision": revision },
        }))
        .unwrap()
    }

    #[test]
    fn the_version_in_an_image_is_ours_or_in_its_tag() {
        let of = |image: &str| releases().version_in(image).map(|it| it.to_string());
        let next = images(2).etcd;
        assert_eq!(of(&next).as_deref(), Some("3.5.27"));
        for (image, version) in [
            ("quay.io/coreos/etcd:v3.5.27", Some("3.5.27")),
            ("localhost:5000/etcd:3.4.34-r1", Some("3.4.34")),
            ("etcd:v3.4.34@sha256:00", Some("3.4.34")),
            ("localhost:5000/etcd", None),
            ("etcd:latest", None),
            ("etcd", None),
        ] {
            assert_eq!(of(image).as_deref(), version, "{image}");
        }
    }

    #[test]
    fn a_template_is_of_the_release_whose_images_it_has() {
        let mut makes = Makes::default();
        let (one, two) = (images(1), images(2));
        let of = |etcd: &str, sidecar: &str, makes: &Makes| {
            release_of(&set(etcd, sidecar, "r1"), &releases(), makes)
        };
        assert_eq!(of(&two.etcd, "x", &makes), Release::Next);
        assert_eq!(of(&one.etcd, &two.backup_restore, &makes), Release::Base);
        assert_eq!(of("mine", &two.backup_restore, &makes), Release::Next);
        assert_eq!(of("mine", "x", &makes), Release::Base);
        makes.note(
            "r1",
            Make::plain(Version::new(3, 5, 27)),
            ["r1"].into_iter(),
        );
        assert_eq!(of("mine", "x", &makes), Release::Next);
    }

    #[test]
    fn a_template_with_an_image_of_somebody_s_own_can_be_of_no_other_release() {
        let old = Version::new(3, 4, 34);
        let can = |own| releases().can_make(old, own);
        let why = can(Some("mine/etcd:v3.5.27")).unwrap_err();
        assert_eq!((why.wanted, why.has), (old, Version::new(3, 5, 27)));
        assert!(why.to_string().contains("mine/etcd:v3.5.27"), "{why}");
        // The image of before, one that says nothing, and those of the image vector.
        for own in [Some("mine/etcd:v3.4.34"), Some("mine/etcd@sha256:00"), None] {
            assert_eq!(can(own), Ok(()), "{own:?}");
        }
    }

    #[test]
    fn revisions_are_kept_as_long_as_a_pod_is_of_them() {
        let mut makes = Makes::default();
        let make = |patch| Make::plain(Version::new(3, 4, patch));
        makes.note("a", make(1), ["a"].into_iter());
        makes.note("b", make(2), ["a", "b"].into_iter());
        assert_eq!(Makes::read(Some(&makes.written())), makes);
        makes.note("b", make(2), ["b"].into_iter());
        assert_eq!(makes.0.keys().collect::<Vec<_>>(), ["b"]);
    }
}
