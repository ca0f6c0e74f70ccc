//! The webhook "etcd component protection": every replica serves it, whoever leads, because Kubernetes asks
//! any of them.
//!
//! `answer.rs` answers, `certificate.rs` keeps the certificate, which `pair.rs` makes and reads;
//! `callers.rs` is how the API server is told to call.

mod answer;
mod callers;
mod certificate;
mod pair;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use druid_core::certificate::{Use, expiry, not_after};
use druid_core::operator::config::{Protection, WebhookServer};
use druid_core::protection::numbers::Numbers;
use druid_core::webhook_certificate::{CONFIGURATION, SECRET, Terms};
use kube::Client;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::serve;
use crate::serve::tls::Certificates;

/// How often files with a certificate are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How the webhook runs.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Who may change what.
    pub(super) rules: Protection,
    /// Where a certificate may be.
    pub(super) server: WebhookServer,
    /// The namespace of the operator, where its own certificate is.
    pub(super) namespace: String,
    /// The `ValidatingWebhookConfiguration`.
    pub(super) configuration: String,
    /// The Secret with its own certificate.
    pub(super) secret: String,
    /// How long its own certificates are valid.
    pub(super) terms: Terms,
    /// Counts for `/metrics`.
    pub(super) numbers: Counts,
}

impl Settings {
    /// As it is deployed.
    pub(super) fn new(
        rules: Protection,
        server: WebhookServer,
        namespace: String,
        numbers: Counts,
    ) -> Self {
        Self {
            rules,
            server,
            namespace,
            configuration: CONFIGURATION.to_owned(),
            secret: SECRET.to_owned(),
            terms: Terms::default(),
            numbers,
        }
    }
}

/// Numbers that are counted here and shown elsewhere. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts(Arc<Mutex<Numbers>>);

impl Counts {
    /// The text of now.
    pub(super) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).text()
    }

    fn with(&self, count: impl FnOnce(&mut Numbers)) {
        count(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// When it ends.
pub(super) struct End {
    /// Whoever asks from then on is to ask another replica next.
    pub(super) leaves: watch::Receiver<bool>,
    /// Nothing is served from then on.
    pub(super) stop: watch::Receiver<bool>,
}

/// Serves until `end`. `ready`: told whether API servers are answered that trust us.
pub(super) async fn run(
    client: Client,
    settings: Settings,
    listener: TcpListener,
    ready: watch::Sender<bool>,
    end: End,
) {
    let End { leaves, mut stop } = end;
    let service = answer::Webhook::new(
        client.clone(),
        settings.rules.clone(),
        settings.numbers.clone(),
        leaves,
    );
    let directory = Path::new(&settings.server.certificates);
    let ended = stop.clone();
    let serving = async {
        let certificates = if directory.is_dir() {
            from_files(directory, &settings.numbers, &ready).await
        } else {
            tracing::info!(
                secret = settings.secret,
                "server.webhooks.serverCertDir is no directory: the operator makes a certificate by itself"
            );
            Certificates::Given(certificate::keep(client, settings.clone(), ready).await)
        };
        serve::serve(listener, Some(certificates), Arc::new(service), ended).await;
    };
    tokio::select! {
        () = serving => {}
        // With a certificate, serving ends by itself, and in order.
        () = without_one(&mut stop) => {}
    }
}

/// Long after `stop`.
async fn without_one(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|it| *it).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
}

/// Those of `server.webhooks.serverCertDir`, by the names that etcd-druid reads.
async fn from_files(
    directory: &Path,
    numbers: &Counts,
    ready: &watch::Sender<bool>,
) -> Certificates {
    let (cert, key) = (directory.join("tls.crt"), directory.join("tls.key"));
    let certificates = loop {
        match Certificates::read(&cert, &key) {
            Ok(certificates) => break certificates,
            Err(error) => tracing::error!(
                %error,
                "the webhook cannot be served with what is in server.webhooks.serverCertDir: put tls.crt and \
                 tls.key there, or remove the directory for a certificate of the operator's own"
            ),
        }
        tokio::time::sleep(LOOK).await;
    };
    ready.send_replace(true);
    let numbers = numbers.clone();
    tokio::spawn(async move {
        loop {
            let pem = tokio::fs::read(&cert).await.unwrap_or_default();
            let each = CertificateDer::pem_slice_iter(&pem);
            let each = each.filter_map(|it| not_after(&it.ok()?).ok());
            if let Some(expires) = expiry(Use::Own, each) {
                numbers.with(|it| it.serves_until(expires));
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    certificates
}
