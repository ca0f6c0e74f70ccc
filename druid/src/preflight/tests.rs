use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use druid_core::config_keys;
use druid_core::version::Minor;

use super::*;

/// Flags that a configuration file cannot set.
const FLAGS_ONLY: &[&str] = &[
    "client-cert-allowed-hostname",
    "client-crl-file",
    "experimental-peer-skip-client-san-verification",
    "peer-cert-allowed-cn",
    "peer-cert-allowed-hostname",
    "peer-crl-file",
    "raft-read-timeout",
    "raft-write-timeout",
    "socket-reuse-address",
    "socket-reuse-port",
];

/// Keys that a file may have and `--help` does not show, of either release.
const FILE_ONLY: &[&str] = &[
    "client-transport-security.allowed-cn",
    "client-transport-security.allowed-hostname",
    "experimental-snapshot-catch-up-entries",
    "log-output",
    "peer-transport-security.allowed-cn",
    "peer-transport-security.allowed-hostname",
    "socket-options.reuse-address",
    "socket-options.reuse-port",
];

/// Flags of TLS, which a file nests.
const NESTED: &[&str] = &[
    "auto-tls",
    "cert-file",
    "client-cert-auth",
    "client-cert-file",
    "client-key-file",
    "key-file",
    "trusted-ca-file",
];

fn keys_by_help(binary: &Path) -> BTreeSet<String> {
    let output = Command::new(binary).arg("--help").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    let flags = text.lines().filter_map(|line| {
        let flag = line.trim_start().strip_prefix("--")?;
        let end = flag.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        Some(&flag[..end.unwrap_or(flag.len())])
    });
    let in_file = flags.filter(|flag| !FLAGS_ONLY.contains(flag)).map(|flag| {
        match flag.strip_prefix("peer-") {
            Some(peer) if NESTED.contains(&peer) => format!("peer-transport-security.{peer}"),
            Some(_) | None if NESTED.contains(&flag) => {
                format!("client-transport-security.{flag}")
            }
            Some(_) | None => flag.to_owned(),
        }
    });
    in_file.collect()
}

#[test]
fn the_tables_of_keys_are_those_of_the_genuine_binaries() {
    let binaries = [
        (
            Minor::new(3, 4),
            PathBuf::from(etcd34::etcd_bin_path().unwrap()),
        ),
        (
            Minor::new(3, 5),
            PathBuf::from(etcd35::etcd_bin_path().unwrap()),
        ),
    ];
    for (series, binary) in binaries {
        let table: BTreeSet<String> = config_keys::keys(series)
            .unwrap()
            .into_iter()
            .filter(|key| !FILE_ONLY.contains(key))
            .map(str::to_owned)
            .collect();
        assert_eq!(table, keys_by_help(&binary), "{series}");
    }
}
