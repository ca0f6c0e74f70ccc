//! Both programs of a member and genuine etcd with TLS everywhere, as an operator sets it up.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is how a test fails"
)]

mod common_agent;
mod common_authority;
mod common_preflight;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common_agent::{Pod, Pods};
use common_authority::Authority;
use common_preflight::Release::{V3_4_34, V3_5_27};
use common_preflight::{Release, until};
use nix::sys::signal::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};

/// Issues a certificate for this machine into two files.
fn issue(ca: &Authority, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (cert_file, key_file) = (
        dir.join(format!("{name}.crt")),
        dir.join(format!("{name}.key")),
    );
    let (cert, key) = ca.issue(&["localhost".to_owned(), "127.0.0.1".to_owned()]);
    fs::write(&cert_file, cert).unwrap();
    fs::write(&key_file, key).unwrap();
    (cert_file, key_file)
}

/// The whole answer, if this CA vouches for the server.
fn https(ca: &Authority, port: u16, path: &str) -> Option<String> {
    exchange(ca, None, port, &format!("GET {path}"), "")
}

/// With a certificate of our own, if there is one.
fn exchange(
    ca: &Authority,
    own: Option<&(PathBuf, PathBuf)>,
    port: u16,
    what: &str,
    body: &str,
) -> Option<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => config.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
            let key = PrivateKeyDer::from_pem_file(key).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let mut stream = rustls::StreamOwned::new(connection, socket);
    let length = body.len();
    write!(
        stream,
        "{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut text = String::new();
    // A server that hangs up without saying goodbye has still answered.
    let _ = stream.read_to_string(&mut text);
    (!text.is_empty()).then_some(text)
}

/// Calls etcd in the name of the certificate that the sidecar has, too.
fn call(pods: &Pods, ca: &Authority, path: &str, body: &Value) -> Value {
    let dir = pods.dir.path();
    let own = (dir.join("client.crt"), dir.join("client.key"));
    let port = pods.members[0].client;
    let said = exchange(
        ca,
        Some(&own),
        port,
        &format!("POST {path}"),
        &body.to_string(),
    );
    let said = said.unwrap();
    let (_, body) = said.split_once("\r\n\r\n").unwrap();
    let body = body.trim_matches(|it| it != '{' && it != '}');
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Writes, and takes a delta with it. Returns all that is there then.
fn back_up(pods: &Pods, ca: &Authority, sidecar_ca: &Authority, key: &str) -> Value {
    let put = call(
        pods,
        ca,
        "/v3/kv/put",
        &json!({"key": key, "value": "eA=="}),
    );
    let last = put["header"]["revision"].as_str().unwrap();
    let delta = https(sidecar_ca, pods.members[0].sidecar, "/snapshot/delta").unwrap();
    assert!(
        delta.contains(&format!("\"lastRevision\":{last}")),
        "{delta}"
    );
    everything(pods, ca)
}

fn everything(pods: &Pods, ca: &Authority) -> Value {
    let all = json!({"key": "AA==", "range_end": "AA=="});
    call(pods, ca, "/v3/kv/range", &all)["kvs"].clone()
}

fn await_leading(member: &Pod, etcd_ca: &Authority, sidecar_ca: &Authority) {
    until("etcd serves", || {
        https(etcd_ca, member.wrapper, "/readyz").is_some_and(|it| it.contains(" 200 OK"))
    });
    until("it leads", || {
        https(sidecar_ca, member.sidecar, "/healthz").is_some_and(|it| it.contains("true"))
    });
}

/// A member that is set up and does not run yet, and who vouches for etcd and for its sidecar.
fn set_up(release: Release) -> (Pods, Authority, Authority) {
    let mut pods = Pods::new(release, 1);
    let dir = pods.dir.path().to_owned();
    let (etcd_ca, sidecar_ca) = (Authority::new(), Authority::new());
    let etcd_ca_file = dir.join("etcd-ca.crt");
    let sidecar_ca_file = dir.join("sidecar-ca.crt");
    fs::write(&etcd_ca_file, &etcd_ca.pem).unwrap();
    fs::write(&sidecar_ca_file, &sidecar_ca.pem).unwrap();
    let etcd = issue(&etcd_ca, &dir, "etcd");
    let client = issue(&etcd_ca, &dir, "client");
    let sidecar = issue(&sidecar_ca, &dir, "sidecar");
    let https_url = pods.members[0].client_url().replace("http://", "https://");
    pods.mounted["advertise-client-urls"]["a-0"] = json!([https_url]);
    pods.mounted["enable-grpc-gateway"] = json!(true);
    pods.mounted["client-transport-security"] = json!({
        "auto-tls": false, "client-cert-auth": true, "trusted-ca-file": etcd_ca_file,
        "cert-file": etcd.0, "key-file": etcd.1,
    });
    pods.write_mounted();
    let member = &mut pods.members[0];
    let listen = fs::read_to_string(member.home.join("mounted.yaml")).unwrap();
    let plain = format!("\"listen-client-urls\":\"{}\"", member.client_url());
    let secure = format!("\"listen-client-urls\":\"{https_url}\"");
    assert!(listen.contains(&plain));
    fs::write(
        member.home.join("mounted.yaml"),
        listen.replace(&plain, &secure),
    )
    .unwrap();
    let flag = |name: &str, value: &Path| format!("--{name}={}", value.display());
    member.service.clone_from(&https_url);
    member.server_args = vec![
        format!("--endpoints={https_url}"),
        flag("cacert", &etcd_ca_file),
        flag("cert", &client.0),
        flag("key", &client.1),
        flag("server-cert", &sidecar.0),
        flag("server-key", &sidecar.1),
        "--insecure-skip-tls-verify=false".to_owned(),
        "--storage-provider=Local".to_owned(),
        "--store-container=bkp".to_owned(),
        "--store-prefix=etcd-main".to_owned(),
        flag("snapstore-temp-directory", &dir.join("temp")),
        flag("restoration-temp-snapshots-dir", &dir.join("restore")),
        "--delta-snapshot-period=1h".to_owned(),
    ];
    member.etcd_args = vec![
        flag("backup-restore-ca-cert-bundle-path", &sidecar_ca_file),
        flag("etcd-client-cert-path", &client.0),
        flag("etcd-client-key-path", &client.1),
    ];
    member.sidecar_tls = true;
    (pods, etcd_ca, sidecar_ca)
}

#[test]
fn both_programs_and_etcd_talk_tls_with_renewed_certificates_too_and_data_comes_back() {
    for release in [V3_4_34, V3_5_27] {
        let (mut pods, etcd_ca, sidecar_ca) = set_up(release);
        let dir = pods.dir.path().to_owned();
        let member = &mut pods.members[0];
        member.start();
        await_leading(member, &etcd_ca, &sidecar_ca);
        let headers = https(&sidecar_ca, member.sidecar, "/healthz")
            .unwrap()
            .to_ascii_lowercase();
        assert!(headers.contains("strict-transport-security: max-age=31536000"));
        assert!(headers.contains("content-security-policy: default-src 'self'"));
        assert_eq!(
            https(&etcd_ca, member.sidecar, "/healthz"),
            None,
            "another CA"
        );

        // All certificates are renewed; what runs takes them up.
        let new_ca = Authority::new();
        issue(&new_ca, &dir, "sidecar");
        until("the new certificate is served", || {
            https(&new_ca, member.sidecar, "/healthz").is_some()
        });
        issue(&etcd_ca, &dir, "client");
        until("the new certificate is used", || {
            member
                .log("server")
                .contains("the certificates for etcd were read again")
        });
        until("it still leads", || {
            https(&new_ca, member.sidecar, "/healthz").is_some_and(|it| it.contains("true"))
        });
        back_up(&pods, &etcd_ca, &new_ca, "YQ==");
        let expected = back_up(&pods, &etcd_ca, &new_ca, "Yg==");
        let member = &mut pods.members[0];
        // etcd 3.5 waits 7 s for a watch to end.
        member.server.as_mut().unwrap().kill().unwrap();
        member.signal_etcd(Signal::SIGTERM);
        assert_eq!(member.etcd_ended().code(), Some(0));
        assert_eq!(member.marked().as_deref(), Some("terminated"));

        // The volume is lost, and what is in the store comes back.
        member.kill();
        fs::remove_dir_all(member.data_dir()).unwrap();
        fs::write(dir.join("sidecar-ca.crt"), &new_ca.pem).unwrap();
        member.start();
        await_leading(member, &etcd_ca, &new_ca);
        assert_eq!(everything(&pods, &etcd_ca), expected);
    }
}
