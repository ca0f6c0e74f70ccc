//! Requests as S3 wants them signed ("Signature Version 4" in the documentation of S3).

use std::net::SocketAddrV4;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{S3_KEY, S3_SECRET, http};

const SCOPE: &str = "us-east-1/s3/aws4_request";

/// One request; it has to succeed. The parameters of the query are in order and written out.
pub(super) fn ask(
    server: SocketAddrV4,
    method: &str,
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
    body: &str,
) {
    #[allow(clippy::disallowed_methods, reason = "the server has the same clock")]
    let now = Timestamp::now();
    let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let date = now.strftime("%Y%m%d").to_string();
    let (host, digest) = (server.to_string(), hex(&Sha256::digest(body)));
    let checksum = BASE64_STANDARD.encode(Sha256::digest(body));
    let mut all = vec![
        ("x-amz-checksum-sha256", checksum.as_str()),
        ("host", &host),
        ("x-amz-content-sha256", &digest),
        ("x-amz-date", &time),
    ];
    all.extend(headers);
    all.sort_unstable();
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: Vec<String> = all
        .iter()
        .map(|(name, it)| format!("{name}:{it}\n"))
        .collect();
    let canonical = format!(
        "{method}\n{path}\n{query}\n{}\n{names}\n{digest}",
        lines.concat()
    );
    let canonical = hex(&Sha256::digest(canonical));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{date}/{SCOPE}\n{canonical}");
    let key = [date.as_str()].into_iter().chain(SCOPE.split('/'));
    let key = key.fold(format!("AWS4{S3_SECRET}").into_bytes(), |key, it| {
        hmac(&key, it.as_bytes())
    });
    let signature = hex(&hmac(&key, text.as_bytes()));
    let signed = format!(
        "AWS4-HMAC-SHA256 Credential={S3_KEY}/{date}/{SCOPE}, SignedHeaders={names}, \
         Signature={signature}"
    );
    all.retain(|(name, _)| *name != "host");
    all.push(("Authorization", &signed));
    http::ask(method, &format!("http://{host}{path}?{query}"), &all, body);
}

/// HMAC of SHA-256, for a key that is no longer than a block (RFC 2104).
pub(super) fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.map(|it| it ^ with).to_vec();
    let inner = Sha256::digest([pad(0x36), text.to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|it| format!("{it:02x}")).collect();
    digits.concat()
}
