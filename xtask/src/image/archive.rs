//! Writes container images as an archive that containerd, podman and docker load: an OCI layout,
//! with the older index of docker beside it. The same input gives the same bytes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// One entry of a layer.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Without a slash in front.
    pub(crate) path: String,
    pub(crate) mode: u32,
    /// User and group.
    pub(crate) owner: u32,
    pub(crate) content: Content,
}

/// What an entry is.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Directory,
    /// What is in this file.
    File(PathBuf),
    Text(String),
    /// A symbolic link to this.
    Link(&'static str),
}

/// Entries in the order in which they are unpacked.
pub(crate) type Layer = Vec<Entry>;

/// An image.
#[derive(Clone, Debug)]
pub(crate) struct Image<'a> {
    /// `REPOSITORY:TAG`.
    pub(crate) name: String,
    pub(crate) layers: Vec<&'a Layer>,
    /// The `config` of the OCI image specification: `Entrypoint`, `Env`, `User`.
    pub(crate) config: Value,
}

/// Writes an archive of these images to `path`. Layers that they share are written once.
///
/// # Errors
/// A file could not be read or written.
pub(crate) fn write(images: &[Image<'_>], path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let scratch = tempfile::tempdir_in(directory)?;
    let mut archive = Archive {
        blobs: BTreeMap::new(),
        scratch: scratch.path(),
    };
    let mut index = Vec::new();
    let mut docker = Vec::new();
    for image in images {
        let layers = image
            .layers
            .iter()
            .map(|layer| archive.layer(layer))
            .collect::<io::Result<Vec<_>>>()?;
        let digests: Vec<_> = layers.iter().map(|it| it["digest"].clone()).collect();
        let config = archive.json(
            "application/vnd.oci.image.config.v1+json",
            &json!({
                "architecture": architecture(),
                "os": "linux",
                "config": image.config,
                "rootfs": { "type": "layers", "diff_ids": digests },
            }),
        )?;
        docker.push(json!({
            "Config": blob_path(&config),
            "RepoTags": [image.name],
            "Layers": layers.iter().map(blob_path).collect::<Vec<_>>(),
        }));
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": kind,
            "config": config,
            "layers": layers,
        });
        let mut manifest = archive.json(kind, &manifest)?;
        let tag = image.name.rsplit(':').next().unwrap_or_default();
        manifest["annotations"] = json!({
            "io.containerd.image.name": image.name,
            "org.opencontainers.image.ref.name": tag,
        });
        index.push(manifest);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": index,
    });
    // Whoever reads it meanwhile reads the old one.
    let fresh = scratch.path().join("archive");
    let mut tar = Builder::new(io::BufWriter::new(File::create(&fresh)?));
    text(
        &mut tar,
        "oci-layout",
        &json!({ "imageLayoutVersion": "1.0.0" }),
    )?;
    text(&mut tar, "index.json", &index)?;
    text(&mut tar, "manifest.json", &json!(docker))?;
    for (digest, blob) in &archive.blobs {
        let file = File::open(blob)?;
        let size = file.metadata()?.len();
        let mut header = header(EntryType::Regular, 0o644, 0, size);
        tar.append_data(&mut header, format!("blobs/sha256/{digest}"), file)?;
    }
    tar.into_inner()?.into_inner().map_err(io::Error::from)?;
    std::fs::rename(fresh, path)
}

/// Writes the layers into a directory, as a container sees them.
///
/// # Errors
/// A file could not be written, or its owner not be set, which only root can.
pub(crate) fn unpack(layers: &[&Layer], directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for layer in layers {
        let mut file = tempfile::tempfile()?;
        write_layer(layer, &mut file)?;
        file.rewind()?;
        let mut archive = tar::Archive::new(io::BufReader::new(file));
        archive.set_preserve_permissions(true);
        archive.set_preserve_ownerships(true);
        archive.unpack(directory)?;
    }
    Ok(())
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn blob_path(descriptor: &Value) -> String {
    let digest = descriptor["digest"].as_str().unwrap_or_default();
    format!("blobs/{}", digest.replace(':', "/"))
}

/// The content of an image, each part by its digest.
struct Archive<'a> {
    blobs: BTreeMap<String, PathBuf>,
    scratch: &'a Path,
}

impl Archive<'_> {
    fn layer(&mut self, layer: &Layer) -> io::Result<Value> {
        let mut file = tempfile::NamedTempFile::new_in(self.scratch)?;
        write_layer(layer, file.as_file_mut())?;
        self.blob("application/vnd.oci.image.layer.v1.tar", file)
    }

    fn json(&mut self, kind: &str, value: &Value) -> io::Result<Value> {
        let mut file = tempfile::NamedTempFile::new_in(self.scratch)?;
        file.write_all(value.to_string().as_bytes())?;
        self.blob(kind, file)
    }

    fn blob(&mut self, kind: &str, mut file: tempfile::NamedTempFile) -> io::Result<Value> {
        file.rewind()?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut size = 0;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            size += read;
        }
        let digest = hex(&hash.finalize());
        let path = self.scratch.join(&digest);
        file.persist(&path).map_err(|error| error.error)?;
        let descriptor = json!({
            "mediaType": kind,
            "digest": format!("sha256:{digest}"),
            "size": size,
        });
        self.blobs.insert(digest, path);
        Ok(descriptor)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn write_layer(layer: &Layer, file: &mut File) -> io::Result<()> {
    let mut tar = Builder::new(io::BufWriter::new(file));
    for entry in layer {
        match &entry.content {
            Content::Directory => {
                let mut header = header(EntryType::Directory, entry.mode, entry.owner, 0);
                tar.append_data(&mut header, format!("{}/", entry.path), io::empty())?;
            }
            Content::File(path) => {
                let file = File::open(path)?;
                let size = file.metadata()?.len();
                let mut header = header(EntryType::Regular, entry.mode, entry.owner, size);
                tar.append_data(&mut header, &entry.path, file)?;
            }
            Content::Text(text) => {
                let size = u64::try_from(text.len()).map_err(io::Error::other)?;
                let mut header = header(EntryType::Regular, entry.mode, entry.owner, size);
                tar.append_data(&mut header, &entry.path, text.as_bytes())?;
            }
            Content::Link(target) => {
                let mut header = header(EntryType::Symlink, entry.mode, entry.owner, 0);
                tar.append_link(&mut header, &entry.path, target)?;
            }
        }
    }
    tar.into_inner()?.into_inner().map_err(io::Error::from)?;
    Ok(())
}

fn text(tar: &mut Builder<impl Write>, path: &str, value: &Value) -> io::Result<()> {
    let bytes = value.to_string().into_bytes();
    let size = u64::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut header = header(EntryType::Regular, 0o644, 0, size);
    tar.append_data(&mut header, path, bytes.as_slice())
}

fn header(kind: EntryType, mode: u32, owner: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(u64::from(owner));
    header.set_gid(u64::from(owner));
    header.set_mtime(0);
    header.set_size(size);
    header
}
