//! `kubectl druid version`.

use std::env::consts::{ARCH, OS};

use druid_core::cli::Build;

use super::args::VersionArgs;
use super::output::show;

pub(super) fn run(args: &VersionArgs) {
    let build = Build::new(env!("CARGO_PKG_VERSION"), format!("{OS}/{ARCH}"));
    show(&build, args.output, || build.text(args.short));
}
