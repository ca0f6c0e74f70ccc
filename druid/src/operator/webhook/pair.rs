//! A certificate with its key and whom to trust, made, and as it is in a Secret.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use druid_core::api::names;
use druid_core::certificate::not_after;
use druid_core::webhook_certificate::{Authority, Kept, Pair, Terms};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::TlsAcceptor;

use crate::serve::tls;

/// The keys of the Secret.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const TRUSTED: &str = "ca.crt";

/// The data of a Secret with a new certificate, of an authority of its own whose key nobody keeps.
pub(super) fn make(
    names: &BTreeSet<String>,
    before: &[Authority],
    now: Timestamp,
    terms: Terms,
) -> Result<BTreeMap<String, String>, rcgen::Error> {
    let mut authority = params(&BTreeSet::new(), now, terms)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    // Its own name, so that it is found among those before it.
    let name = format!("druid webhook authority of {now}");
    authority.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate()?;
    let signed = authority.self_signed(&key)?;
    let issuer = Issuer::new(authority, key);

    let mut own = params(names, now, terms)?;
    own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    own.use_authority_key_identifier_extension = true;
    own.distinguished_name
        .push(DnType::CommonName, "druid webhook");
    let key = KeyPair::generate()?;
    let own = own.signed_by(&key, &issuer)?;
    let trusted = format!("{}{}", signed.pem(), bundle(before));
    Ok(BTreeMap::from([
        (
            CERTIFICATE.to_owned(),
            format!("{}{}", own.pem(), signed.pem()),
        ),
        (KEY.to_owned(), key.serialize_pem()),
        (TRUSTED.to_owned(), trusted),
    ]))
}

fn params(
    names: &BTreeSet<String>,
    now: Timestamp,
    terms: Terms,
) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<_> = names.iter().cloned().collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let (since, until) = terms.validity(now);
    let at = |time: Timestamp| {
        let seconds = u64::try_from(time.as_second()).unwrap_or(0);
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    (params.not_before, params.not_after) = (at(since), at(until));
    Ok(params)
}

/// What is in a Secret, and how to serve with it. `names`: those that the certificate should have.
pub(super) fn read(
    secret: Option<&Secret>,
    names: &BTreeSet<String>,
    now: Timestamp,
) -> (Kept, Option<TlsAcceptor>) {
    let Some(secret) = secret else {
        return (Kept::Missing, None);
    };
    if !secret
        .annotations()
        .contains_key(names::WEBHOOK_CERTIFICATE)
    {
        return (Kept::Foreign, None);
    }
    match parse(secret, names, now) {
        Ok((pair, acceptor)) => (Kept::Pair(pair), Some(acceptor)),
        Err(why) => (Kept::Unusable(why), None),
    }
}

fn parse(
    secret: &Secret,
    names: &BTreeSet<String>,
    now: Timestamp,
) -> Result<(Pair, TlsAcceptor), String> {
    let value = |key: &str| {
        let data = secret.data.as_ref().and_then(|it| it.get(key));
        data.map(|it| it.0.as_slice())
            .ok_or_else(|| format!("it has no {key}"))
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(value(CERTIFICATE)?)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{CERTIFICATE}: {error}"))?;
    let [own, authority] = chain.as_slice() else {
        return Err(format!(
            "{CERTIFICATE} is not a certificate and its authority"
        ));
    };
    let (own, authority) = (own.clone(), authority.to_vec());
    let expires = not_after(&own).map_err(|error| format!("{CERTIFICATE}: {error}"))?;
    let bundle = authorities(value(TRUSTED)?);
    if !bundle.iter().any(|it| it.der == authority) {
        return Err(format!("{TRUSTED} lacks the authority of {CERTIFICATE}"));
    }
    let key = PrivateKeyDer::from_pem_slice(value(KEY)?).map_err(|it| format!("{KEY}: {it}"))?;
    let acceptor = tls::acceptor(chain, key).map_err(|it| it.to_string())?;
    let pair = Pair {
        names: valid_names(&own, &authority, names, now),
        certificate: own.to_vec(),
        expires,
        authority,
        bundle,
    };
    Ok((pair, acceptor))
}

/// Those for which a client that trusts the authority takes the certificate.
fn valid_names(
    own: &CertificateDer<'_>,
    authority: &[u8],
    names: &BTreeSet<String>,
    now: Timestamp,
) -> BTreeSet<String> {
    let mut roots = RootCertStore::empty();
    // One that cannot be added trusts nothing.
    let _ = roots.add(CertificateDer::from(authority.to_vec()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let Ok(verifier) = verifier else {
        return BTreeSet::new();
    };
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let is_valid = |name: &&String| {
        let name = ServerName::try_from(name.as_str());
        name.is_ok_and(|it| verifier.verify_server_cert(own, &[], &it, &[], now).is_ok())
    };
    names.iter().filter(is_valid).cloned().collect()
}

/// The certificates in a text. What is none is left out.
pub(super) fn authorities(pem: &[u8]) -> Vec<Authority> {
    let all = CertificateDer::pem_slice_iter(pem).filter_map(|it| {
        let der = it.ok()?.to_vec();
        let expires = not_after(&der).ok()?;
        Some(Authority { expires, der })
    });
    all.collect()
}

/// Certificates as a text.
pub(super) fn bundle(authorities: &[Authority]) -> String {
    let texts = authorities.iter().map(|it| {
        let base64 = STANDARD.encode(&it.der);
        let lines: Vec<_> = base64
            .as_bytes()
            .chunks(64)
            .map(String::from_utf8_lossy)
            .collect();
        let body = lines.join("\n");
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    });
    texts.collect()
}
