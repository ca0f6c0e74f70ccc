//! Generates the etcd client from its proto file, with compilers written in Rust: building druid
//! takes no `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/etcd.proto");
    let files = protox::compile(["etcd.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .bytes(".etcdserverpb.SnapshotResponse")
        .compile_fds(files)?;
    Ok(())
}
