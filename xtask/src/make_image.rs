//! `cargo xtask image`: the container images.
#![expect(clippy::print_stdout, reason = "what a developer command says")]

use std::path::PathBuf;
use std::process::ExitCode;

use xtask::cluster::{ClusterName, cli};
use xtask::image as images;

use crate::command::{Profile, build_druid};
use crate::root;

/// What to make.
#[derive(Debug, clap::Args)]
pub(crate) struct Image {
    /// Build druid without optimisation, which is quicker, and larger
    #[arg(long)]
    debug: bool,
    /// The etcd to put beside it; may be given twice [default: all]
    #[arg(long = "etcd", value_name = "RELEASE", value_parser = images::RELEASES)]
    releases: Vec<String>,
    /// Where the archive goes [default: target/image/druid.tar]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The cluster to load it into [default: the one that is up under the name `default`]
    #[arg(long)]
    name: Option<ClusterName>,
    /// Write the files of the one image into this directory, as a container sees them, and do
    /// nothing else; only root can give them to their owners
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["output", "name"], requires = "releases")]
    files: Option<PathBuf>,
}

/// Where the archive is, unless somebody wants it elsewhere.
pub(crate) fn archive() -> PathBuf {
    root().join("target/image/druid.tar")
}

/// Builds druid and writes the archive with all images.
pub(crate) fn make(debug: bool) -> Result<(), Box<dyn std::error::Error>> {
    let druid = build_druid(profile(debug))?;
    Ok(images::druid(&druid, &images::RELEASES, &archive())?)
}

fn profile(debug: bool) -> Profile {
    if debug {
        Profile::Dev
    } else {
        Profile::Release
    }
}

/// Builds druid, writes the archive, loads it.
pub(crate) fn run(options: &Image) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let druid = build_druid(profile(options.debug))?;
    let mut releases: Vec<_> = options.releases.iter().map(String::as_str).collect();
    if let (Some(directory), [release]) = (&options.files, releases.as_slice()) {
        images::druid_files(&druid, release, directory)?;
        println!("{}: etcd {release}", directory.display());
        return Ok(ExitCode::SUCCESS);
    }
    if options.files.is_some() {
        return Err("--files is for one --etcd".into());
    }
    if releases.is_empty() {
        releases = images::RELEASES.to_vec();
    }
    let archive = options.output.clone().unwrap_or_else(archive);
    images::druid(&druid, &releases, &archive)?;
    for release in releases {
        println!("{}", images::name(release));
    }
    println!("  in {}", archive.display());
    match cli::load(options.name.as_ref(), &archive)? {
        Some(name) => println!("  loaded into the cluster {name}"),
        None => println!("  not loaded: no cluster with a node is up (`cargo xtask cluster up`)"),
    }
    Ok(ExitCode::SUCCESS)
}
