//! The container image: our binary beside a release of etcd, and the few files that both need. It
//! is made without a container engine.
//!
//! `archive` knows how images are written; this page knows what is in ours.

mod archive;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use thiserror::Error;

pub(crate) use archive::hex;
use archive::{Content, Entry, Image, Layer};

/// The user that containers run as, and its home.
const USER: u32 = 65532;
const HOME: &str = "home/nonroot";

/// Where distributions keep the authorities that TLS servers are signed by.
const AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// The releases of etcd that there is an image of.
pub const RELEASES: [&str; 2] = ["3.4.34", "3.5.27"];

/// Why there is no image.
#[derive(Debug, Error)]
pub enum ImageError {
    /// There is no such etcd.
    #[error("there is no image of etcd {release}; there are {}", RELEASES.join(", "))]
    Release {
        /// Which was asked for.
        release: String,
    },
    /// Not for this kind of machine.
    #[error("there is no etcd {release} for this kind of machine: {why}")]
    Etcd {
        /// Which.
        release: &'static str,
        /// What the crate says.
        why: String,
    },
    /// The libraries that a program needs are unknown.
    #[error("cannot tell which libraries {} needs: {why}", program.display())]
    Libraries {
        /// Which.
        program: PathBuf,
        /// What `ldd` says.
        why: String,
    },
    /// No authorities.
    #[error("no bundle of certificate authorities on this machine; install ca-certificates")]
    Authorities,
    /// A file could not be read or written.
    #[error("cannot make {}: {source}; is there space, and is it yours?", path.display())]
    File {
        /// What was to be made.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What the images are called that we make, without the tag. No registry has them.
pub const REPOSITORY: &str = "druid.local/druid";

/// The name of the image with this release of etcd: `druid.local/druid:etcd-3.5.27`.
pub fn name(release: &str) -> String {
    name_in(REPOSITORY, release)
}

/// The same in another repository.
pub fn name_in(repository: &str, release: &str) -> String {
    format!("{repository}:{}", tag(release))
}

/// The tag of the image with this release of etcd: `etcd-3.5.27`.
pub(crate) fn tag(release: &str) -> String {
    format!("etcd-{release}")
}

fn etcd(release: &str) -> Result<PathBuf, ImageError> {
    match RELEASES.into_iter().find(|it| *it == release) {
        Some(release @ "3.4.34") => etcd34::etcd_bin_path()
            .map(ToOwned::to_owned)
            .map_err(|why| (release, why.to_string())),
        Some(release) => etcd35::etcd_bin_path()
            .map(ToOwned::to_owned)
            .map_err(|why| (release, why.to_string())),
        None => {
            return Err(ImageError::Release {
                release: release.to_owned(),
            });
        }
    }
    .map_err(|(release, why)| ImageError::Etcd { release, why })
}

/// Writes an archive with an image for each of the releases: this druid, and that etcd. They share
/// all but etcd.
pub fn druid(program: &Path, releases: &[&str], archive: &Path) -> Result<(), ImageError> {
    let base = base(program)?;
    let etcds = releases
        .iter()
        .map(|release| etcd_layer(release))
        .collect::<Result<Vec<_>, _>>()?;
    let images: Vec<_> = releases
        .iter()
        .zip(&etcds)
        .map(|(release, etcd)| Image {
            name: name(release),
            layers: vec![&base, etcd],
            config: config(),
        })
        .collect();
    write(&images, archive)
}

/// How containers of it are started. Their arguments begin with the subcommand.
fn config() -> serde_json::Value {
    json!({
        "User": format!("{USER}:{USER}"),
        "Env": ["PATH=/usr/local/bin".to_owned(), format!("HOME=/{HOME}")],
        "Entrypoint": ["druid"],
        "WorkingDir": format!("/{HOME}"),
    })
}

/// Writes the files of one such image into a directory, as a container sees them.
pub fn druid_files(program: &Path, release: &str, directory: &Path) -> Result<(), ImageError> {
    archive::unpack(&[&base(program)?, &etcd_layer(release)?], directory).map_err(file(directory))
}

/// Writes an archive with the image that holds the namespaces of a pod: a static program.
pub(crate) fn pause(program: &Path, name: &str, archive: &Path) -> Result<(), ImageError> {
    let layer = vec![program_at("pause", program)];
    let image = Image {
        name: name.to_owned(),
        layers: vec![&layer],
        config: json!({ "Entrypoint": ["/pause"], "User": "65535:65535" }),
    };
    write(&[image], archive)
}

fn write(images: &[Image<'_>], path: &Path) -> Result<(), ImageError> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(file(directory))?;
    }
    archive::write(images, path).map_err(file(path))
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> ImageError + use<> {
    let path = path.to_owned();
    move |source| ImageError::File { path, source }
}

fn directory(path: &str) -> Entry {
    Entry {
        path: path.to_owned(),
        mode: 0o755,
        owner: 0,
        content: Content::Directory,
    }
}

fn text(path: &str, text: String) -> Entry {
    Entry {
        path: path.to_owned(),
        mode: 0o644,
        owner: 0,
        content: Content::Text(text),
    }
}

fn program_at(path: &str, program: &Path) -> Entry {
    Entry {
        path: path.to_owned(),
        mode: 0o755,
        owner: 0,
        content: Content::File(program.to_owned()),
    }
}

fn etcd_layer(release: &str) -> Result<Layer, ImageError> {
    let etcd = etcd(release)?;
    let mut layer = libraries(&etcd)?;
    layer.push(program_at("usr/local/bin/etcd", &etcd));
    Ok(layer)
}

fn base(druid: &Path) -> Result<Layer, ImageError> {
    let authorities = AUTHORITIES
        .iter()
        .map(Path::new)
        .find(|path| path.is_file())
        .ok_or(ImageError::Authorities)?;
    let mut layer: Layer = ["etc", "etc/ssl", "etc/ssl/certs", "home"]
        .iter()
        .chain(&["usr", "usr/local", "usr/local/bin"])
        .map(|path| directory(path))
        .collect();
    layer.push(Entry {
        owner: USER,
        ..directory(HOME)
    });
    layer.push(Entry {
        mode: 0o1777,
        ..directory("tmp")
    });
    let passwd = |id, name, home| format!("{name}:x:{id}:{id}:{name}:{home}:/sbin/nologin\n");
    layer.push(text(
        "etc/passwd",
        passwd(0, "root", "/root") + &passwd(USER, "nonroot", &format!("/{HOME}")),
    ));
    layer.push(text("etc/group", format!("root:x:0:\nnonroot:x:{USER}:\n")));
    layer.push(text("etc/nsswitch.conf", "hosts: files dns\n".to_owned()));
    layer.push(Entry {
        mode: 0o644,
        ..program_at("etc/ssl/certs/ca-certificates.crt", authorities)
    });
    layer.extend(libraries(druid)?);
    layer.push(program_at("usr/local/bin/druid", druid));
    // The init container of a member with a Local store runs it.
    layer.push(Entry {
        path: "usr/local/bin/chown".to_owned(),
        mode: 0o777,
        owner: 0,
        content: Content::Link("druid"),
    });
    Ok(layer)
}

/// The libraries of a program, and their directories, where it looks for them.
fn libraries(program: &Path) -> Result<Layer, ImageError> {
    let failed = |why: String| ImageError::Libraries {
        program: program.to_owned(),
        why,
    };
    let output = Command::new("ldd")
        .arg(program)
        // cargo sets it for what it runs.
        .env_remove("LD_LIBRARY_PATH")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(format!("ldd: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if said.contains("not a dynamic executable") {
        return Ok(Vec::new());
    }
    let mut paths = loaded(&said).map_err(failed)?;
    // Older C libraries load these by name, when a name is to be looked up.
    for path in paths.clone() {
        let Some(directory) = path.parent().filter(|_| path.ends_with("libc.so.6")) else {
            continue;
        };
        let by_name = ["libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2"];
        let there = by_name.map(|it| directory.join(it));
        paths.extend(there.into_iter().filter(|path| path.exists()));
    }
    let mut layer = Layer::new();
    let mut made = BTreeSet::new();
    for path in &paths {
        let name = path.strip_prefix("/").unwrap_or(path);
        let mut above: Vec<_> = name.ancestors().skip(1).collect();
        above.pop();
        for each in above.into_iter().rev() {
            if made.insert(each.to_owned()) {
                layer.push(directory(&each.to_string_lossy()));
            }
        }
        layer.push(program_at(&name.to_string_lossy(), path));
    }
    Ok(layer)
}

/// The files that `ldd` lists: `NAME => PATH (ADDRESS)`, and `PATH (ADDRESS)` for the loader.
fn loaded(said: &str) -> Result<BTreeSet<PathBuf>, String> {
    let mut paths = BTreeSet::new();
    for line in said.lines().map(str::trim) {
        let path = line.split(" => ").last().unwrap_or(line);
        let path = path.split(" (").next().unwrap_or(path);
        if path.starts_with('/') {
            paths.insert(PathBuf::from(path));
        } else if path.contains("not found") {
            return Err(line.to_owned());
        }
    }
    if paths.is_empty() {
        return Err(said.trim().to_owned());
    }
    Ok(paths)
}

#[cfg(test)]
mod tests;
