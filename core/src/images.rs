//! Which images are run: the image vector, built in and overridden by a file.

use std::collections::BTreeSet;

use serde_json::Value;
use thiserror::Error;

use crate::render::{Images, Release};
use crate::version::Version;

/// A list of images by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageVector {
    entries: Vec<Entry>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    key: Key,
    repository: Option<String>,
    tag: Option<String>,
    reference: Option<String>,
    /// The release of etcd that is in it, if somebody says so.
    etcd_version: Option<Version>,
}

/// What tells entries apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    name: String,
    runtime_version: Option<String>,
    target_version: Option<String>,
    architectures: BTreeSet<String>,
}

/// An image vector that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImageVectorError {
    /// It is not what it should be.
    #[error(
        "the image vector has no list `images`: write `images:` and a list of name, repository and tag"
    )]
    NotAList,
    /// An entry has no name.
    #[error("entry {at} of the image vector has no name: add one")]
    NoName {
        /// Which, from 1 on.
        at: usize,
    },
    /// A field of an entry is of the wrong kind.
    #[error("{field} of image `{name}` in the image vector is not {wanted}")]
    Wrong {
        /// Which entry.
        name: String,
        /// Which field.
        field: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// There is no such image.
    #[error(
        "the image vector has no image `{name}`: add an entry of that name with repository and tag, or ref"
    )]
    Missing {
        /// Which.
        name: &'static str,
    },
}

const WRAPPER: [&str; 2] = ["etcd-wrapper", "etcd-wrapper-next"];
const BACKUP_RESTORE: [&str; 2] = ["etcd-backup-restore", "etcd-backup-restore-next"];
const INIT: &str = "alpine";

/// Name, repository, tag, and the release of etcd that is in it; as in etcd-druid v0.37.1.
const BUILT_IN: [(&str, &str, &str, Option<Version>); 5] = [
    (
        WRAPPER[0],
        "europe-docker.pkg.dev/gardener-project/public/gardener/etcd-wrapper",
        "v0.6.2",
        Some(Version::new(3, 4, 34)),
    ),
    (
        WRAPPER[1],
        "europe-docker.pkg.dev/gardener-project/public/gardener/etcd-wrapper",
        "v0.8.0",
        Some(Version::new(3, 5, 27)),
    ),
    (
        BACKUP_RESTORE[0],
        "europe-docker.pkg.dev/gardener-project/public/gardener/etcdbrctl",
        "v0.41.2",
        None,
    ),
    (
        BACKUP_RESTORE[1],
        "europe-docker.pkg.dev/gardener-project/public/gardener/etcdbrctl",
        "v0.43.0",
        None,
    ),
    (
        INIT,
        "europe-docker.pkg.dev/gardener-project/public/3rd/alpine",
        "3.21.3",
        None,
    ),
];

impl Default for ImageVector {
    /// The one that is built in.
    fn default() -> Self {
        let entries = BUILT_IN.map(|(name, repository, tag, etcd_version)| Entry {
            key: Key {
                name: name.to_owned(),
                runtime_version: None,
                target_version: None,
                architectures: BTreeSet::new(),
            },
            repository: Some(repository.to_owned()),
            tag: Some(tag.to_owned()),
            reference: None,
            etcd_version,
        });
        Self {
            entries: entries.into(),
        }
    }
}

impl ImageVector {
    /// Reads the file that `IMAGEVECTOR_OVERWRITE` names: `images`, a list of `name` with `ref`, or
    /// with `repository` and `tag`; also `runtimeVersion`, `targetVersion`, `architectures`, and, of
    /// ours, `etcdVersion`.
    ///
    /// # Errors
    /// If it is not that.
    pub fn parse(file: &Value) -> Result<Self, ImageVectorError> {
        let list = file["images"]
            .as_array()
            .ok_or(ImageVectorError::NotAList)?;
        let entries = list.iter().enumerate().map(|(at, it)| entry(at, it));
        Ok(Self {
            entries: entries.collect::<Result<_, _>>()?,
        })
    }

    /// This, with what the other says otherwise.
    #[must_use]
    pub fn overridden_by(mut self, other: Self) -> Self {
        for over in other.entries {
            match self.entries.iter_mut().find(|it| it.key == over.key) {
                None => self.entries.push(over),
                Some(old) if over.reference.is_some() => *old = over,
                Some(old) => {
                    let repository = over.repository.or(old.repository.take());
                    let tag = over.tag.or(old.tag.take());
                    *old = Entry {
                        repository,
                        tag,
                        ..over
                    };
                }
            }
        }
        self
    }

    /// The images of a release.
    ///
    /// # Errors
    /// If one is missing.
    pub fn images(&self, release: Release) -> Result<Images, ImageVectorError> {
        let at = number(release);
        Ok(Images {
            etcd: self.reference(WRAPPER[at])?,
            backup_restore: self.reference(BACKUP_RESTORE[at])?,
            init: self.reference(INIT)?,
        })
    }

    /// The release of etcd that the image of a release has in it, if the image vector says so. An
    /// overridden image whose `etcdVersion` is not given has an unknown one.
    pub fn etcd_version(&self, release: Release) -> Option<Version> {
        self.find(WRAPPER[number(release)])?.etcd_version
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        let named = || self.entries.iter().filter(|it| it.key.name == name);
        let unbound =
            |it: &&Entry| it.key.runtime_version.is_none() && it.key.target_version.is_none();
        named().find(unbound).or_else(|| named().next())
    }

    fn reference(&self, name: &'static str) -> Result<String, ImageVectorError> {
        let missing = ImageVectorError::Missing { name };
        let Some(entry) = self.find(name) else {
            return Err(missing);
        };
        match (&entry.reference, &entry.repository, &entry.tag) {
            (Some(reference), _, _) => Ok(reference.clone()),
            (None, Some(repository), Some(tag)) => {
                let separator = if tag.starts_with("sha256:") { '@' } else { ':' };
                Ok(format!("{repository}{separator}{tag}"))
            }
            (None, Some(repository), None) => Ok(repository.clone()),
            (None, None, _) => Err(missing),
        }
    }
}

fn number(release: Release) -> usize {
    match release {
        Release::Base => 0,
        Release::Next => 1,
    }
}

fn entry(at: usize, value: &Value) -> Result<Entry, ImageVectorError> {
    let name = value["name"].as_str();
    let name = name.ok_or(ImageVectorError::NoName { at: at + 1 })?;
    let wrong = |field, wanted| ImageVectorError::Wrong {
        name: name.to_owned(),
        field,
        wanted,
    };
    let text = |field: &'static str| match &value[field] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(wrong(field, "a text: put it in quotes"))
        }
    };
    let architectures = match &value["architectures"] {
        Value::Null => BTreeSet::new(),
        Value::Array(all) => all
            .iter()
            .map(|it| it.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or(wrong("architectures", "a list of texts"))?,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            return Err(wrong("architectures", "a list of texts"));
        }
    };
    let etcd_version = text("etcdVersion")?
        .map(|it| {
            it.parse()
                .map_err(|_| wrong("etcdVersion", "a release such as 3.5.27"))
        })
        .transpose()?;
    Ok(Entry {
        key: Key {
            name: name.to_owned(),
            runtime_version: text("runtimeVersion")?,
            target_version: text("targetVersion")?,
            architectures,
        },
        repository: text("repository")?,
        tag: text("tag")?,
        reference: text("ref")?,
        etcd_version,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_overrides_what_it_names_and_nothing_else() {
        let file = json!({ "images": [
            { "name": "etcd-wrapper", "repository": "mirror/wrapper", "etcdVersion": "3.4.35" },
            { "name": "etcd-wrapper-next", "tag": "sha256:abc" },
            { "name": "etcd-backup-restore", "ref": "mirror/br@sha256:def" },
            { "name": "alpine", "repository": "a", "tag": "1", "architectures": ["arm64"] },
            { "name": "other", "repository": "x", "tag": "y" },
        ]});
        let vector = ImageVector::default().overridden_by(ImageVector::parse(&file).unwrap());
        let base = vector.images(Release::Base).unwrap();
        assert_eq!(base.etcd, "mirror/wrapper:v0.6.2");
        assert_eq!(base.backup_restore, "mirror/br@sha256:def");
        let built_in = ImageVector::default().images(Release::Next).unwrap();
        assert_eq!(base.init, built_in.init);
        let next = vector.images(Release::Next).unwrap();
        assert!(
            next.etcd.ends_with("/etcd-wrapper@sha256:abc"),
            "{}",
            next.etcd
        );
        assert_eq!(next.backup_restore, built_in.backup_restore);
        assert_eq!(
            vector.etcd_version(Release::Base),
            Some(Version::new(3, 4, 35))
        );
        // Whatever is in it now.
        assert_eq!(vector.etcd_version(Release::Next), None);
        assert_eq!(
            ImageVector::default().etcd_version(Release::Next),
            Some(Version::new(3, 5, 27))
        );
    }

    #[test]
    fn what_is_no_image_vector_is_refused() {
        for (file, said) in [
            (json!({}), "no list `images`"),
            (json!({ "images": {} }), "no list `images`"),
            (
                json!({ "images": [{ "name": "a" }, { "tag": "b" }] }),
                "entry 2",
            ),
            (
                json!({ "images": [{ "name": "a", "tag": 1.5 }] }),
                "tag of image `a`",
            ),
            (
                json!({ "images": [{ "name": "a", "architectures": "arm64" }] }),
                "architectures of image `a`",
            ),
            (
                json!({ "images": [{ "name": "a", "etcdVersion": "new" }] }),
                "etcdVersion of image `a`",
            ),
        ] {
            let error = ImageVector::parse(&file).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let without = ImageVector::parse(&json!({ "images": [] })).unwrap();
        let error = without.images(Release::Base).unwrap_err();
        assert_eq!(
            error,
            ImageVectorError::Missing {
                name: "etcd-wrapper"
            }
        );
    }
}
