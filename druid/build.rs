//! Generates the etcd client from its proto file, with compilers written in Rust: building druid
//! takes no `protoc`. Tells the linker which functions a sidecar that is idle has called.

use std::env;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    order();
    println!("cargo:rerun-if-changed=proto/etcd.proto");
    let files = protox::compile(["etcd.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .bytes(".etcdserverpb.SnapshotResponse")
        .compile_fds(files)?;
    Ok(())
}

/// Puts the functions that a sidecar calls next to each other (`cargo xtask order` writes the list).
/// The kernel maps sixteen pages for each one that is touched: scattered over the program, a megabyte
/// and a half of functions take eleven to twelve, and together they take three. A name has a hash of the
/// crates that it is made from, and one that is not there any more is passed over: after another release of
/// a dependency the list is made anew, and until then it costs a few megabytes and nothing else.
fn order() {
    println!("cargo:rerun-if-changed=functions.txt");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|it| it == value);
    // Where rustc links with LLD, unless somebody has chosen otherwise.
    let lld = is("TARGET", "x86_64-unknown-linux-gnu")
        && env::var_os("CARGO_ENCODED_RUSTFLAGS").is_none_or(|it| it.is_empty())
        && env::var_os("RUSTC_LINKER").is_none();
    if lld
        && is("PROFILE", "release")
        && let Ok(here) = env::var("CARGO_MANIFEST_DIR")
    {
        println!(
            "cargo:rustc-link-arg-bin=druid=-Wl,--symbol-ordering-file={here}/functions.txt,\
             --no-warn-symbol-ordering"
        );
    }
}
