//! One look at one Etcd: observe, decide, act, report.

use std::collections::BTreeMap;
use std::time::Duration;

use druid_core::api::{self, names};
use druid_core::make::{Make, Template};
use druid_core::ops_task::{at_work, recovering};
use druid_core::reconcile::{Makes, Pace, Writing, release_of, stranded, wish};
use druid_core::render::{self, Facts, HostPaths, Provider, Release, Spec};
use druid_core::status::conditions::{Kind, find};
use druid_core::status::numbers::Expiries;
use druid_core::status::operation::{Code, Component, Failure, Outcome};
use druid_core::status::{ClaimWarning, Sought};
use druid_core::upgrade::{Limits, Needs, Policy, Record, Shown, Step, Want};
use druid_core::version::{Direction, Version};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use serde_json::json;
use thiserror::Error;

use super::Context;
use super::children::{self, Child};
use super::claims;
use super::heard::LeaseHeard;
use super::members::{self, Certificates, Clients, MembersError};
use super::removal::remove;
use super::world::{self, World};
use crate::clock::now;
use crate::engine;
use crate::expiry::expiry;
use crate::observe::Survey;
use crate::operator::known::{Known, Named};
use crate::operator::request::ApiError;
use crate::operator::turns::Next;

/// So many rounds of the engine in one look at most: what people are told must not wait for long.
const ROUNDS: usize = 6;

/// For so long something that has changed is looked at often.
const NEWS: SignedDuration = SignedDuration::from_mins(1);

/// What is remembered of an Etcd between two looks. All of it can be lost.
#[derive(Debug, Default)]
pub(super) struct Memo {
    pub(super) clients: Clients,
    /// The record, where it is further than the stored one, and the stored one that it goes on from.
    pub(super) record: Option<(Option<api::UpgradeRecord>, Record)>,
    /// The last snapshot that was verified, by the name that the engine gave it.
    pub(super) verified: Option<(String, Verified)>,
    /// What the next round needs to know.
    pub(super) needs: Needs,
    /// Set if all was well, and as people are told.
    pub(super) quiet: Option<Quiet>,
    /// What was last logged of an upgrade.
    pub(super) logged: String,
    /// Since when the status says something else than what is so.
    pub(super) unwritten: Option<Timestamp>,
}

/// How far the verification of a snapshot is, which goes on beside all looks.
pub(super) type Verified = tokio::sync::watch::Receiver<druid_core::observed::SnapshotWork>;

/// An Etcd of which nothing is to be heard but that its members renew their leases.
#[derive(Clone, Debug)]
pub(super) struct Quiet {
    /// The leases.
    pub(super) leases: Vec<String>,
    /// When something else is due.
    pub(super) until: Option<Timestamp>,
}

/// When to look again, if time alone is the reason to look now and nothing is due: the members have
/// renewed their leases. This is what an idle Etcd costs.
pub(super) fn still(context: &Context, leases: &Known<LeaseHeard>, named: &Named) -> Option<Next> {
    let quiet = context.quiet(named)?;
    let at = now();
    let mut first = quiet.until;
    for name in quiet.leases {
        let lease = leases.get(&Named {
            namespace: named.namespace.clone(),
            name,
        })?;
        let old = lease
            .renewed?
            .checked_add(context.config.thresholds.unknown)
            .ok()?;
        first = Some(first.map_or(old, |first| first.min(old)));
    }
    let wait = first?.duration_since(at);
    wait.is_positive()
        .then(|| Next::After(wait.unsigned_abs() + Duration::from_millis(1)))
}

/// Why a look ended early.
#[derive(Debug, Error)]
pub(super) enum LookError {
    /// The API server.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Members cannot be asked.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// The StatefulSet's controller has not seen the newest template.
    #[error("the StatefulSet's controller is behind")]
    Behind,
    /// A member said no.
    #[error(transparent)]
    Etcd(#[from] crate::etcd::Error),
    /// Something cannot be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Looks once.
pub(super) async fn look(context: &Context, named: &Named) -> Next {
    let memo = context.memo(named);
    match Box::pin(looked(context, named, memo)).await {
        Ok(next) => {
            context.numbers.looked(false);
            next
        }
        Err(LookError::Api(error)) if error.status() == Some(409) => {
            tracing::debug!(%error, name = named.name, "it has changed meanwhile");
            Next::After(Duration::ZERO)
        }
        Err(LookError::Behind) => Next::After(Duration::from_millis(100)),
        Err(error) => {
            context.numbers.looked(true);
            tracing::warn!(%error, namespace = named.namespace, name = named.name, "a look failed");
            Next::Failed
        }
    }
}

async fn looked(context: &Context, named: &Named, memo: Memo) -> Result<Next, LookError> {
    let Some(etcd) = context.apis.etcd(named).await? else {
        context.forget(named);
        return Ok(Next::Heard);
    };
    let etcd = match etcd.0 {
        Ok(etcd) => etcd,
        Err(invalid) => {
            tracing::warn!(
                name = named.name,
                error = invalid.error,
                "no Etcd can be read from it"
            );
            return Ok(Next::Heard);
        }
    };
    if etcd.metadata.deletion_timestamp.is_some() {
        let gone = remove(&context.apis, named, &etcd).await?;
        return Ok(if gone {
            Next::Heard
        } else {
            Next::After(Duration::from_secs(1))
        });
    }
    let unknown = !guarded(&etcd);
    let etcd = with_finalizer(context, etcd).await?;
    match Spec::parse(&etcd) {
        Err(problems) => super::report::unusable(context, &etcd, &problems).await,
        Ok(spec) => {
            let mut look = Box::pin(Look::begin(context, named, etcd, spec, memo)).await?;
            look.unknown = unknown;
            let next = Box::pin(look.run()).await;
            context.keep(named, look.memo);
            next
        }
    }
}

/// Whether it has our finalizer: the first thing that is written of an Etcd.
fn guarded(etcd: &api::Etcd) -> bool {
    let finalizers = etcd.metadata.finalizers.as_deref().unwrap_or_default();
    finalizers.iter().any(|it| it == names::FINALIZER)
}

async fn with_finalizer(context: &Context, etcd: api::Etcd) -> Result<api::Etcd, ApiError> {
    if guarded(&etcd) {
        return Ok(etcd);
    }
    let mut finalizers = etcd.metadata.finalizers.clone().unwrap_or_default();
    finalizers.push(names::FINALIZER.to_owned());
    let metadata = json!({ "finalizers": finalizers });
    context.apis.write_metadata(&etcd, metadata).await
}

/// What was brought to what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Synced {
    /// The pods, and what they need. The next look does the rest, when it is its turn.
    Begun,
    /// All, as far as that went.
    All,
}

/// One look, as far as it has come.
pub(super) struct Look<'a> {
    pub(super) context: &'a Context,
    pub(super) named: &'a Named,
    /// As it was last read or written.
    pub(super) etcd: api::Etcd,
    pub(super) spec: Spec,
    pub(super) memo: Memo,
    pub(super) world: World,
    /// The volumes that its pods wait for.
    pub(super) claims: Sought<BTreeMap<String, Vec<ClaimWarning>>>,
    pub(super) survey: Option<Survey>,
    pub(super) certificates: Certificates,
    /// When certificates expire, once the Secrets that it refers to were looked at.
    pub(super) expiries: Option<Expiries>,
    pub(super) hosts: HostPaths,
    pub(super) makes: Makes,
    /// What the newest revision makes.
    pub(super) template: Make,
    pub(super) failures: Vec<Failure>,
    /// The task that takes the snapshot, once it was looked for.
    pub(super) task: Option<druid_core::upgrade::SnapshotTask>,
    pub(super) snapshot: Option<api::TaskSnapshot>,
    pub(super) shown: Option<Shown>,
    pub(super) step: Option<Step>,
    /// For what it waits, if that is no matter of its own.
    pub(super) waits: Option<String>,
    /// When something is due that is not about members' leases.
    pub(super) rest: Option<Timestamp>,
    /// Whether all that belongs to it is as this generation of it asks for.
    pub(super) followed: bool,
    /// Whether this is the first look at it that anybody took.
    unknown: bool,
}

impl<'a> Look<'a> {
    async fn begin(
        context: &'a Context,
        named: &'a Named,
        etcd: api::Etcd,
        spec: Spec,
        memo: Memo,
    ) -> Result<Self, LookError> {
        let world = world::world(&context.apis, named, &spec).await?;
        let claims = claims::claims(&context.apis, &named.namespace, &world).await;
        let upgrade = etcd.status.as_ref().and_then(|it| it.upgrade.as_ref());
        let makes = Makes::read(upgrade.and_then(|it| it.revisions.as_deref()));
        let mut look = Self {
            context,
            named,
            etcd,
            spec,
            memo,
            world,
            claims,
            survey: None,
            certificates: Certificates::default(),
            expiries: None,
            hosts: HostPaths::default(),
            makes,
            template: Make::plain(super::BASE),
            failures: Vec::new(),
            task: None,
            snapshot: None,
            shown: None,
            step: None,
            waits: None,
            rest: None,
            followed: false,
            unknown: false,
        };
        look.ask().await;
        look.template = look.template()?;
        Ok(look)
    }

    /// The page.
    async fn run(&mut self) -> Result<Next, LookError> {
        // Observe and decide: what there is to be, if the spec is to be followed now.
        if self.follows() {
            self.adopt().await?;
            if Box::pin(self.sync()).await? == Synced::Begun {
                return Ok(Next::After(Duration::ZERO));
            }
        }
        // Observe, decide, act: which member may go.
        Box::pin(self.roll()).await?;
        // Report.
        let writing = self.report().await?;
        self.answered().await?;
        Ok(self.next(writing))
    }

    /// Asks the members, if there are any.
    pub(super) async fn ask(&mut self) {
        match members::certificates(&self.context.apis, &self.spec).await {
            Ok(certificates) => self.certificates = certificates,
            Err(error) => {
                self.memo.clients.forget();
                self.survey = Some(world::nobody(&error.to_string()));
                return;
            }
        }
        let members = self.members();
        self.survey = Some(self.world.survey(&self.spec, &members).await);
    }

    pub(super) fn members(&mut self) -> Vec<(druid_core::member::MemberName, crate::etcd::Client)> {
        world::clients(
            &mut self.memo.clients,
            &self.spec,
            &self.world,
            &self.certificates,
        )
    }

    /// Whether the spec is to be followed now: always, when asked, or if it never was.
    fn follows(&self) -> bool {
        let asked = [names::OPERATION, names::LEGACY_OPERATION]
            .into_iter()
            .any(|it| {
                let annotations = self.etcd.metadata.annotations.as_ref();
                annotations
                    .and_then(|all| all.get(it))
                    .is_some_and(|it| it == names::OPERATION_RECONCILE)
            });
        let observed = self
            .etcd
            .status
            .as_ref()
            .and_then(|it| it.observed_generation);
        // What was followed once is kept so: drift heals.
        let kept = observed == self.etcd.metadata.generation;
        !self.spec.suspended
            && (self.context.config.auto_reconcile || asked || kept || observed.is_none())
    }

    /// The release that it is to run.
    pub(super) fn wanted(&self) -> Release {
        self.context.gates.release(self.spec.upgrade.enabled)
    }

    /// Whether nothing runs: then the next pods may be of any release.
    fn hibernates(&self) -> bool {
        self.world.pods.is_empty() && self.world.wanted() == 0
    }

    /// The release that its template is of. Only the engine changes that of pods that run.
    pub(super) fn release(&self) -> Release {
        match &self.world.set {
            Some(set) if !self.hibernates() => release_of(set, &self.context.releases, &self.makes),
            Some(_) | None => self.wanted(),
        }
    }

    /// The version of etcd that pods of a release run. Somebody may have chosen an image himself: it
    /// is the same whatever the release.
    pub(super) fn version(&self, release: Release) -> Version {
        let releases = &self.context.releases;
        let Some(image) = self.own_image() else {
            return releases.of(release).0;
        };
        let survey = self.survey.as_ref();
        let mut answers = survey.into_iter().flat_map(|it| it.etcd.answers());
        let runs = answers.next().map(|(_, status)| status.version);
        releases
            .version_in(image)
            .or(runs)
            .unwrap_or(releases.of(release).0)
    }

    /// The image of etcd, if somebody has chosen it himself.
    pub(super) fn own_image(&self) -> Option<&str> {
        self.spec.pods.as_ref().ok()?.etcd_image.as_deref()
    }

    /// What the newest revision makes, as far as that is known before the spec is followed.
    fn template(&self) -> Result<Make, LookError> {
        let known = self.world.newest().and_then(|it| self.makes.0.get(it));
        let observed = self
            .etcd
            .status
            .as_ref()
            .and_then(|it| it.observed_generation);
        let template = match known {
            Some(make) => make.template.clone(),
            // Taken over: what was there followed the spec, or nobody knows.
            None if observed == self.etcd.metadata.generation => wish(&self.etcd.spec)?,
            None => Template("unknown".to_owned()),
        };
        Ok(Make {
            version: self.version(self.release()),
            template,
        })
    }

    /// Remembers what pods were made from before their template changes.
    async fn adopt(&mut self) -> Result<(), LookError> {
        let Some(newest) = self.world.newest().map(str::to_owned) else {
            return Ok(());
        };
        if !self.makes.is_empty() || self.world.pods.is_empty() {
            return Ok(());
        }
        let mut make = self.template.clone();
        let answers = self
            .survey
            .as_ref()
            .into_iter()
            .flat_map(|it| it.etcd.answers());
        if let Some((_, status)) = answers.into_iter().next() {
            make.version = status.version;
        }
        let pods = self.world.pods.values().filter_map(world::revision);
        self.makes.note(&newest, make, pods);
        self.write().await
    }

    pub(super) fn facts(&self, release: Release) -> Facts<'_> {
        let releases = &self.context.releases;
        Facts {
            release,
            images: &releases.of(release).1,
            live_images: &releases.of(release).1,
            settings: &self.context.render,
            host_paths: &self.hosts,
        }
    }

    pub(super) fn rendered(&self, release: Release) -> Result<Vec<Child>, LookError> {
        let objects = render::objects(&self.spec, &self.facts(release));
        Ok(children::children(&objects)?)
    }

    /// Makes all that belongs to it what its spec asks for, on the release that its template is of.
    async fn sync(&mut self) -> Result<Synced, LookError> {
        self.secrets().await?;
        let release = self.release();
        let objects = render::objects(&self.spec, &self.facts(release));
        if let Err(problems) = &objects.stateful_set {
            self.refuse(problems.0.iter().map(ToString::to_string));
        }
        let all = children::children(&objects)?;
        let uid = self.spec.identity.uid.clone();
        let held = !self.failures.is_empty();
        let all: Vec<_> = all
            .into_iter()
            .filter(|it| !held || it.component != Component::StatefulSet)
            .collect();
        let (apis, namespace) = (&self.context.apis, &self.named.namespace);
        // Only the first look hopes that nothing is there: one that ended early left something.
        if !held && self.unknown && self.world.set.is_none() {
            self.failures = children::begin(apis, namespace, &uid, &all).await;
            if self.failures.is_empty() {
                return Ok(Synced::Begun);
            }
        } else {
            let failed = children::sync(apis, namespace, &uid, &all).await;
            self.failures.extend(failed);
        }
        self.followed = self.failures.is_empty();
        if self.followed {
            let before = self.template.clone();
            self.world = world::world(&self.context.apis, self.named, &self.spec).await?;
            self.template = Make {
                version: self.version(release),
                template: wish(&self.etcd.spec)?,
            };
            if self.template != before {
                tracing::info!(name = self.named.name, version = %self.template.version,
                    template = self.template.template.0, "another template");
            }
            self.note();
        }
        Ok(Synced::All)
    }

    /// Notes what the newest revision makes.
    pub(super) fn note(&mut self) {
        if let Some(newest) = self.world.newest().map(str::to_owned) {
            let pods = self.world.pods.values().filter_map(world::revision);
            self.makes.note(&newest, self.template.clone(), pods);
        }
    }

    pub(super) fn refuse(&mut self, why: impl Iterator<Item = String>) {
        let message = format!("StatefulSet {}/{}", self.named.namespace, self.named.name);
        self.failures.extend(why.map(|cause| Failure {
            code: Code::Sync(Component::StatefulSet),
            message: message.clone(),
            cause,
        }));
    }

    /// Looks at the Secrets that it refers to: those that a Local store needs, when certificates expire,
    /// and which are missing. With one missing, no pod could start again, so none is touched.
    async fn secrets(&mut self) -> Result<(), LookError> {
        let mut there = std::collections::BTreeSet::new();
        let pods = self.spec.pods.as_ref();
        let certificates = pods.map(render::certificates).unwrap_or_default();
        let mut expiries = Expiries::new();
        for reference in render::secret_references(&self.etcd) {
            let name = &reference.name;
            if there.contains(name) {
                continue;
            }
            let Some(secret) = self
                .context
                .apis
                .secret(&self.named.namespace, name)
                .await?
            else {
                continue;
            };
            there.insert(name.clone());
            for of in certificates.iter().filter(|it| it.secret == name) {
                if let Some(expires) = expiry(&secret, of) {
                    expiries.insert((name.clone(), of.key.to_owned()), expires);
                }
            }
            let local = self
                .spec
                .pods
                .as_ref()
                .ok()
                .and_then(|it| it.store.as_ref());
            let local = local.is_some_and(|it| match &it.provider {
                Provider::Local { secret } => secret.as_ref() == Some(name),
                Provider::Unset | Provider::Ecs { .. } | Provider::Cloud { .. } => false,
            });
            if local {
                self.hosts.add(name, &secret);
            }
        }
        self.expiries = Some(expiries);
        let missing = render::missing_secrets(&self.etcd, &there);
        self.refuse(missing.iter().map(|it| format!("{it}: {}", it.remedy())));
        Ok(())
    }

    /// What is wanted of the engine.
    pub(super) fn want(&self) -> Want {
        let annotations = self.etcd.metadata.annotations.as_ref();
        let acknowledged = annotations.and_then(|it| it.get(names::ACKNOWLEDGE_HALT));
        Want {
            target: Make {
                version: self.version(self.wanted()),
                template: self.template.template.clone(),
            },
            snapshot: self.spec.has_store,
            policy: Policy {
                paused: self.spec.upgrade.paused,
                pause_after: None,
                hold_last: self.spec.upgrade.hold_last,
            },
            acknowledged: acknowledged
                .and_then(|it| it.parse().ok())
                .unwrap_or_default(),
            limits: Limits::default(),
        }
    }

    /// Lets the engine go on, if there is anything to do.
    async fn roll(&mut self) -> Result<(), LookError> {
        let Some(newest) = self.world.newest() else {
            return Ok(());
        };
        let newest = newest.to_owned();
        let scales = self.world.wanted() != i32::from(self.spec.replicas);
        if self.spec.replicas == 0 || scales || self.spec.suspended || !self.failures.is_empty() {
            return Ok(());
        }
        let want = self.want();
        let mut record = match self.record() {
            Ok(record) => record,
            Err(cause) => {
                self.refuse(std::iter::once(cause));
                return Ok(());
            }
        };
        let of = |pod| self.world.make(pod, &self.makes, &self.template, None);
        let pods = || self.world.pods.values();
        let settled = record.phase == druid_core::upgrade::Phase::Done
            && record.current.is_none()
            && record.to == want.target;
        let there = self.template == want.target && pods().all(|it| of(it) == want.target);
        let complete = pods().count() == usize::from(self.spec.replicas);
        // A cluster that is yet to come up is no roll.
        if there && (settled || record.attempt == 0) || !complete && record.attempt == 0 {
            self.context.leave(self.named);
            if there {
                self.replace_stranded(&newest).await?;
            }
            return Ok(());
        }
        let crosses =
            want.target.version != record.to.version || record.direction() != Direction::Same;
        let under_way = record.touched || record.current.is_some();
        if crosses && !self.context.enter(self.named, under_way) {
            let most = self.context.config.max_upgrades;
            self.waits = Some(format!(
                "{most} upgrades are under way, and no more at once \
                 (controllers.etcd.maxConcurrentUpgrades)"
            ));
            return Ok(());
        }
        // A member that is in hand comes first, unless all of them are held; the next one waits.
        if self.others_work(record.current.is_some()).await? {
            return Ok(());
        }
        tracing::debug!(name = self.named.name, newest, "a roll");
        for _ in 0..ROUNDS {
            let needs = std::mem::take(&mut self.memo.needs);
            let step = engine::round(self, &want, &mut record, &needs).await?;
            let again = matches!(step, Step::Act(_) | Step::Look(_));
            if let Step::Look(needs) = &step {
                self.memo.needs.clone_from(needs);
            }
            let over = matches!(step, Step::Done | Step::Refuse(_) | Step::Halt(_));
            if over {
                self.context.leave(self.named);
            }
            // What stands against it does not pass in a moment.
            if !self.failures.is_empty() {
                break;
            }
            self.step = Some(step);
            if !again {
                break;
            }
        }
        Ok(())
    }

    /// Whether a task works on the members: no member is restarted meanwhile. With one in hand, whether
    /// that task is a recovery.
    async fn others_work(&mut self, in_hand: bool) -> Result<bool, LookError> {
        let tasks = self.context.apis.tasks(&self.named.namespace).await?;
        let task = if in_hand {
            recovering(&self.named.name, &tasks)
        } else {
            at_work(&self.named.name, &tasks)
        };
        self.waits = task.map(|it| format!("EtcdOpsTask {it} is at work on the members"));
        Ok(self.waits.is_some())
    }

    /// Lets pods be made anew that wait for an image which the newest template names no more: where only
    /// images differ there is no roll, and nobody else would ever replace them.
    async fn replace_stranded(&mut self, newest: &str) -> Result<(), LookError> {
        let pods = self.world.pods.values();
        let old = pods.filter(|it| world::revision(it) != Some(newest));
        let all: Vec<_> = old.filter(|it| stranded(it)).cloned().collect();
        if all.is_empty() || self.others_work(true).await? {
            return Ok(());
        }
        for pod in &all {
            tracing::info!(
                namespace = self.named.namespace,
                pod = pod.name_any(),
                "it waits for an image that is asked for no more, and is made anew"
            );
            self.context.apis.delete_pod(pod).await?;
        }
        Ok(())
    }

    /// How far the engine is.
    fn record(&self) -> Result<Record, String> {
        let stored = self.stored();
        if let Some((base, record)) = &self.memo.record
            && *base == stored
        {
            return Ok(record.clone());
        }
        match stored {
            Some(stored) => {
                Record::read(&stored, &self.template.template).map_err(|it| it.to_string())
            }
            None => Ok(Record::new(self.begun_from(), now())),
        }
    }

    pub(super) fn stored(&self) -> Option<api::UpgradeRecord> {
        let upgrade = self.etcd.status.as_ref().and_then(|it| it.upgrade.as_ref());
        upgrade.and_then(|it| it.record.clone())
    }

    /// What the members were made from before the first roll of their life.
    fn begun_from(&self) -> Make {
        let mut pods = self.world.pods.values();
        let of = |pod| self.world.make(pod, &self.makes, &self.template, None);
        pods.next().map_or_else(|| self.template.clone(), of)
    }

    /// Takes off the wish to be reconciled, once it was heard.
    async fn answered(&mut self) -> Result<(), LookError> {
        if !self.followed {
            return Ok(());
        }
        let annotations = self.etcd.metadata.annotations.clone().unwrap_or_default();
        let asked = [names::OPERATION, names::LEGACY_OPERATION]
            .into_iter()
            .filter(|it| {
                annotations
                    .get(*it)
                    .is_some_and(|it| it == names::OPERATION_RECONCILE)
            });
        let gone: serde_json::Map<_, _> = asked
            .map(|it| (it.to_owned(), serde_json::Value::Null))
            .collect();
        if !gone.is_empty() {
            let metadata = json!({ "annotations": gone });
            self.etcd = self
                .context
                .apis
                .write_metadata(&self.etcd, metadata)
                .await?;
        }
        Ok(())
    }

    /// Whether all members that there are to be are ready, as people are told.
    fn is_well(&self) -> bool {
        self.spec.replicas == 0 || !self.spec.runtime_components || self.ready().0
    }

    /// Whether it was otherwise a while ago: what changed may soon change again.
    fn is_news(&self) -> bool {
        let since = self.ready().1;
        since.is_none_or(|since| now().duration_since(since) < NEWS)
    }

    /// Whether all members are ready, and since when it is so.
    fn ready(&self) -> (bool, Option<Timestamp>) {
        let status = self.etcd.status.as_ref();
        let condition = status.and_then(|it| find(it, Kind::AllMembersReady));
        let since = condition.and_then(|it| it.last_transition_time.0.parse().ok());
        (condition.is_some_and(|it| it.status == "True"), since)
    }

    /// When to look again.
    fn next(&mut self, (writing, until): (Writing, Option<Timestamp>)) -> Next {
        let mut pace = self.step.as_ref().map_or(Pace::Idle, Pace::of);
        if !self.failures.is_empty() || self.waits.is_some() {
            pace = pace.or(Pace::Seldom);
        }
        let whole = self.outcome() == Outcome::Succeeded && self.is_well();
        if !whole && self.step.is_none() {
            pace = pace.or(if self.is_news() {
                Pace::Often
            } else {
                Pace::Seldom
            });
        }
        let quiet = pace == Pace::Idle && !matches!(writing, Writing::At(_));
        self.memo.quiet = quiet.then(|| Quiet {
            leases: self.spec.members().collect(),
            until: self.rest,
        });
        let at = match writing {
            Writing::At(at) => Some(until.map_or(at, |until| until.min(at))),
            Writing::Nothing | Writing::Now => until,
        };
        let timed = at.map(|at| {
            let wait = at.duration_since(now()).max(SignedDuration::from_millis(1));
            wait.unsigned_abs() + Duration::from_millis(1)
        });
        let paced = pace.after().map(SignedDuration::unsigned_abs);
        match (timed, paced) {
            (None, None) => Next::Heard,
            (Some(one), None) | (None, Some(one)) => Next::After(one),
            (Some(one), Some(other)) => Next::After(one.min(other)),
        }
    }
}
