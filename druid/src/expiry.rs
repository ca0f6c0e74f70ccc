//! When the certificates in a Secret expire.

use druid_core::certificate;
use druid_core::render::CertificateReference;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// When the certificates in one place expire; nothing of what are none.
pub(crate) fn expiry(secret: &Secret, of: &CertificateReference<'_>) -> Option<Timestamp> {
    let pem = secret.data.as_ref()?.get(of.key)?;
    let each = CertificateDer::pem_slice_iter(&pem.0)
        .filter_map(|it| certificate::not_after(&it.ok()?).ok());
    certificate::expiry(of.of, each)
}
