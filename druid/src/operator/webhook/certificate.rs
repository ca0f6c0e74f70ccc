//! Keeps a certificate of the operator's own: looks at the Secret and at how API servers call, does what is
//! to be done next, and serves with what is kept when that is trusted. What has been done is seen in the
//! two objects alone, so that whoever looks next goes on from there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use druid_core::api::names;
use druid_core::webhook_certificate::{
    Authority, Caller, Change, Kept, Pair, Step, Trouble, Why, change, is_trusted, next,
};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use super::{Settings, callers, pair};
use crate::clock;
use crate::operator::request::{ApiError, within};

/// After something was written; it is heard of at once.
const WRITTEN: Duration = Duration::from_millis(500);
/// After something went wrong.
const FAILED: Duration = Duration::from_secs(5);
/// Whatever is heard.
const OFTEN: Duration = Duration::from_mins(10);

/// Why something is not done.
#[derive(Debug, Error)]
enum KeepError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("a certificate for the webhook cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// Begins to keep one. Returns when there is one to serve with; `ready` is told whether it is trusted.
pub(super) async fn keep(
    client: Client,
    settings: Settings,
    ready: watch::Sender<bool>,
) -> watch::Receiver<TlsAcceptor> {
    let gvk = ("admissionregistration.k8s.io", "v1");
    let gvk = GroupVersionKind::gvk(gvk.0, gvk.1, "ValidatingWebhookConfiguration");
    let configurations = Api::all_with(client.clone(), &ApiResource::from_gvk(&gvk));
    let secrets = Api::<Secret>::namespaced(client, &settings.namespace);
    let heard = Arc::new(Notify::new());
    let only = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
    let events = watcher(configurations.clone(), only(&settings.configuration));
    tokio::spawn(listen(events.default_backoff(), Arc::clone(&heard)));
    let events = watcher(secrets.clone(), only(&settings.secret));
    tokio::spawn(listen(events.default_backoff(), Arc::clone(&heard)));
    let (give, mut given) = watch::channel(None);
    let keeper = Keeper {
        configurations,
        secrets,
        settings,
        ready,
        give,
        serves: None,
        trusted: None,
        trouble: None,
    };
    tokio::spawn(keeper.run(heard));
    let first = loop {
        if let Some(acceptor) = given.borrow_and_update().clone() {
            break acceptor;
        }
        if given.changed().await.is_err() {
            // Whoever gives is gone at the end of the process alone.
            std::future::pending::<()>().await;
        }
    };
    let (tell, told) = watch::channel(first);
    tokio::spawn(async move {
        while given.changed().await.is_ok() {
            if let Some(acceptor) = given.borrow_and_update().clone() {
                tell.send_replace(acceptor);
            }
        }
    });
    told
}

async fn listen<K>(
    events: impl futures_util::Stream<Item = watcher::Result<watcher::Event<K>>>,
    heard: Arc<Notify>,
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(_) => heard.notify_one(),
            Err(error) => tracing::debug!(%error, "the webhook's objects are listened to again"),
        }
    }
}

struct Keeper {
    configurations: Api<DynamicObject>,
    secrets: Api<Secret>,
    settings: Settings,
    ready: watch::Sender<bool>,
    give: watch::Sender<Option<TlsAcceptor>>,
    /// What is served with.
    serves: Option<Pair>,
    /// Since when which authority is known to be trusted.
    trusted: Option<(Vec<u8>, Timestamp)>,
    /// What was told last.
    trouble: Option<Trouble>,
}

impl Keeper {
    async fn run(mut self, heard: Arc<Notify>) {
        loop {
            let wait = match self.look().await {
                Ok(wait) => wait.min(OFTEN),
                Err(KeepError::Api(error)) if error.status() == Some(409) => {
                    tracing::debug!(%error, "another replica was faster");
                    WRITTEN
                }
                Err(error) => {
                    tracing::warn!(%error, "the certificate of the webhook is not as it should be");
                    FAILED
                }
            };
            tokio::select! {
                () = heard.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Observe, decide, act. How long nothing is to be done.
    async fn look(&mut self) -> Result<Duration, KeepError> {
        let (api, name) = (&self.configurations, &self.settings.configuration);
        let call = "read the ValidatingWebhookConfiguration of the webhook";
        let configuration = within(call, api.get_opt(name)).await?;
        let call = "read the Secret with the certificate of the webhook";
        let secret = within(call, self.secrets.get_opt(&self.settings.secret)).await?;
        let now = clock::now();
        let callers = configuration.as_ref().map(callers::callers);
        let callers = callers.unwrap_or_default();
        let names = callers.iter().filter_map(|it| it.server.clone()).collect();
        let (kept, acceptor) = pair::read(secret.as_ref(), &names, now);
        let changes = self.serve(&kept, acceptor, &callers, now);
        let step = next(&kept, &callers, now, self.settings.terms);
        self.tell_of_trouble(&step);
        let until = match step {
            Step::Make { why, names, before } => {
                self.make(secret, &why, &names, &before, now).await?;
                return Ok(WRITTEN);
            }
            Step::Tell(trusted) => {
                if let Some(configuration) = configuration {
                    self.tell(configuration, &trusted).await?;
                }
                return Ok(WRITTEN);
            }
            Step::Rest(until) => changes.map_or(until, |it| it.min(until)),
            Step::Stuck(_) => return Ok(OFTEN),
        };
        let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
        Ok(wait.max(Duration::from_millis(20)))
    }

    /// Changes to what is kept if it is time. When to see about it again.
    fn serve(
        &mut self,
        kept: &Kept,
        acceptor: Option<TlsAcceptor>,
        callers: &[Caller],
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut again = None;
        if let (Kept::Pair(pair), Some(acceptor)) = (kept, acceptor) {
            let since = self.trusted_since(&pair.authority, callers, now);
            let serves = self.serves.as_ref();
            let serves = serves.map(|it| (it.certificate.as_slice(), it.expires));
            match change(serves, pair, since, now, self.settings.terms) {
                Change::No => {}
                Change::At(when) => again = Some(when),
                Change::Now => {
                    let expires = pair.expires;
                    tracing::info!(%expires, "the webhook is served with the certificate in the Secret");
                    self.settings.numbers.with(|it| it.serves_until(expires));
                    self.serves = Some(pair.clone());
                    self.give.send_replace(Some(acceptor));
                }
            }
        }
        let serves = self.serves.as_ref();
        let trusted = serves.is_some_and(|it| is_trusted(&it.authority, callers));
        let ready = callers.is_empty() || trusted;
        self.ready
            .send_if_modified(|it| std::mem::replace(it, ready) != ready);
        again
    }

    fn trusted_since(
        &mut self,
        authority: &[u8],
        callers: &[Caller],
        now: Timestamp,
    ) -> Option<Timestamp> {
        if callers.is_empty() || !is_trusted(authority, callers) {
            self.trusted = None;
            return None;
        }
        match &self.trusted {
            Some((known, since)) if known == authority => Some(*since),
            Some(_) | None => {
                self.trusted = Some((authority.to_vec(), now));
                Some(now)
            }
        }
    }

    /// Once, until it is over.
    fn tell_of_trouble(&mut self, step: &Step) {
        let trouble = match step {
            Step::Stuck(trouble) => Some(*trouble),
            Step::Make { .. } | Step::Tell(_) | Step::Rest(_) => None,
        };
        if let Some(trouble) = trouble
            && self.trouble != Some(trouble)
        {
            tracing::error!(
                secret = self.settings.secret,
                configuration = self.settings.configuration,
                "{trouble}"
            );
        }
        self.trouble = trouble;
    }

    /// Creates the Secret, or writes what is in it if it is as it was seen.
    async fn make(
        &self,
        secret: Option<Secret>,
        why: &Why,
        names: &BTreeSet<String>,
        before: &[Authority],
        now: Timestamp,
    ) -> Result<(), KeepError> {
        let data = pair::make(names, before, now, self.settings.terms)?;
        let name = &self.settings.secret;
        let mark = names::WEBHOOK_CERTIFICATE.to_owned();
        let says = "made and renewed by the operator".to_owned();
        let version = secret
            .as_ref()
            .and_then(kube::ResourceExt::resource_version);
        let object = Secret {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                annotations: Some([(mark, says)].into()),
                resource_version: version,
                ..ObjectMeta::default()
            },
            string_data: Some(data),
            // It cannot be changed.
            type_: secret.is_none().then(|| "kubernetes.io/tls".to_owned()),
            ..Secret::default()
        };
        if secret.is_some() {
            let (params, patch) = (PatchParams::default(), Patch::Merge(&object));
            let patched = self.secrets.patch_metadata(name, &params, &patch);
            within("write the certificate of the webhook", patched).await?;
        } else {
            let params = PostParams::default();
            let created = self.secrets.create(&params, &object);
            within("create the Secret with the webhook's certificate", created).await?;
        }
        tracing::info!(secret = name, "made a certificate for the webhook: {why}");
        Ok(())
    }

    /// If it is as it was seen.
    async fn tell(
        &self,
        configuration: DynamicObject,
        trusted: &[Authority],
    ) -> Result<(), KeepError> {
        let name = &self.settings.configuration;
        let told = callers::told(configuration, trusted);
        let params = PostParams::default();
        let replaced = self.configurations.replace(name, &params, &told);
        within("tell the API server which authorities to trust", replaced).await?;
        let authorities = trusted.len();
        tracing::info!(authorities, "told the API server whom to trust");
        Ok(())
    }
}
