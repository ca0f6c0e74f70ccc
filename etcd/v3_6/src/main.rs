//! Prints where etcd 3.6.15 is.

use std::process::ExitCode;

fn main() -> ExitCode {
    match etcd_bin_vendored::etcd_bin_path() {
        Ok(path) => {
            println!("{}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("etcd 3.6.15: {error}");
            ExitCode::FAILURE
        }
    }
}
