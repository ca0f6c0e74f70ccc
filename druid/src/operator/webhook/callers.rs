//! How the API server is told to call: the entries of the operator's `ValidatingWebhookConfiguration`. Only
//! `caBundle` of each is written; the object is read and written as it is, with fields that we do not know.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use druid_core::webhook_certificate::{Authority, Caller, server_name};
use kube::api::DynamicObject;
use rustls::pki_types::ServerName;
use serde_json::Value;

use super::pair;

/// Who calls.
pub(super) fn callers(configuration: &DynamicObject) -> Vec<Caller> {
    let webhooks = configuration.data["webhooks"].as_array();
    let configs = webhooks.into_iter().flatten();
    configs.map(|it| caller(&it["clientConfig"])).collect()
}

fn caller(config: &Value) -> Caller {
    let bundle = config["caBundle"].as_str().unwrap_or_default();
    let pem = STANDARD.decode(bundle).unwrap_or_default();
    // A certificate can have no other name; the API server cannot call by one either.
    let server = server_name(config).filter(|it| ServerName::try_from(it.as_str()).is_ok());
    Caller {
        server,
        trusts: pair::authorities(&pem),
    }
}

/// The same, trusting these.
pub(super) fn told(mut configuration: DynamicObject, trusted: &[Authority]) -> DynamicObject {
    let bundle = STANDARD.encode(pair::bundle(trusted));
    let webhooks = configuration.data["webhooks"].as_array_mut();
    for webhook in webhooks.into_iter().flatten() {
        webhook["clientConfig"]["caBundle"] = bundle.as_str().into();
    }
    configuration
}
