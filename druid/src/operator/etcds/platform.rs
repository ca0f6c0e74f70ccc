//! Pods, as what the engine of upgrades runs on.

use druid_core::observed::{Answered, Looked, Observed, SnapshotWork, Verifier};
use druid_core::ops_task::Cluster;
use druid_core::reconcile::{incarnation, snapshot_task, snapshot_work, task_name};
use druid_core::status::operation::Component;
use druid_core::upgrade::{Act, Decision, Limits, Needs, Record, SnapshotTask, shown};
use druid_core::version::Version;

use tokio::sync::watch;

use super::children;
use super::look::{Look, LookError};
use super::sidecar;
use super::world::{self, DEADLINE};
use crate::clock::now;
use crate::engine::Platform;
use crate::observe;
use crate::operator::leading::Sidecars;

impl Platform for Look<'_> {
    type Error = LookError;

    async fn observe(&mut self, snapshot: &str, needs: &Needs) -> Result<Observed, LookError> {
        self.world = world::world(&self.context.apis, self.named, &self.spec).await?;
        if self.world.newest().is_none() {
            return Err(LookError::Behind);
        }
        self.note();
        self.ask().await;
        let members = self.members();
        let survey = self
            .survey
            .clone()
            .unwrap_or_else(|| world::nobody("nobody was asked"));
        let looked = match needs {
            Needs::Nothing => Looked::Nothing,
            Needs::Preflight => {
                let deep = observe::deep(&members, &survey, DEADLINE, false);
                let (mut deep, verifier) = tokio::join!(Box::pin(deep), Box::pin(self.verifier()));
                deep.verifier = verifier;
                Looked::Preflight(deep)
            }
            Needs::Data => Looked::Data(observe::hashes(&members, &survey.etcd, DEADLINE).await),
            Needs::Member(name) => observe::member(name, &members, DEADLINE).await,
        };
        let work = self.snapshot_work(snapshot).await?;
        Ok(Observed {
            template: self.template.clone(),
            processes: self.world.processes(
                &self.spec,
                &survey.etcd,
                &self.makes,
                &self.template,
                Limits::default().exits,
            ),
            etcd: survey.etcd,
            snapshot_name: snapshot.to_owned(),
            snapshot: work,
            looked,
        })
    }

    /// What is lost before the next act is found out again; it is written before every act.
    async fn record(&mut self, record: &Record) -> Result<(), LookError> {
        self.memo.record = Some((self.stored(), record.clone()));
        Ok(())
    }

    async fn report(&mut self, decision: &Decision, seen: &Observed) -> Result<(), LookError> {
        let upgrade = self.etcd.status.as_ref().and_then(|it| it.upgrade.as_ref());
        let shown = shown(decision, seen, self.task.as_ref(), upgrade, now());
        if let Some(shown) = shown {
            if self.memo.logged != shown.message {
                self.memo.logged.clone_from(&shown.message);
                tracing::info!(
                    namespace = self.named.namespace,
                    name = self.named.name,
                    phase = shown.phase.word(),
                    "{}",
                    shown.message
                );
            }
            self.shown = Some(shown);
        }
        Ok(())
    }

    async fn act(&mut self, act: &Act) -> Result<(), LookError> {
        if let Act::SetTemplate(version) = act
            && let Err(why) = self.context.releases.can_make(*version, self.own_image())
        {
            self.refuse(std::iter::once(why.to_string()));
            return Ok(());
        }
        self.write().await?;
        tracing::info!(
            namespace = self.named.namespace,
            name = self.named.name,
            "{act}"
        );
        match act {
            Act::TakeSnapshot(name) => {
                let task = snapshot_task(&self.spec.identity, name);
                self.context.apis.make_task(&task).await?;
            }
            Act::VerifySnapshot(name) => {
                if let Some(snapshot) = self.snapshot.clone() {
                    let (tell, told) = watch::channel(SnapshotWork::Verifying);
                    let client = self.context.apis.client.clone();
                    let asked = Cluster::of(&self.etcd).sidecar;
                    tokio::spawn(async move {
                        let work = sidecar::verify(&client, &asked, &snapshot);
                        tokio::select! {
                            work = work => drop(tell.send_replace(work)),
                            () = tell.closed() => {}
                        }
                    });
                    self.memo.verified = Some((name.clone(), told));
                }
            }
            Act::SetTemplate(version) => self.set_template(*version).await?,
            Act::MoveLeader { from, to } => {
                let members = self.members();
                let client = members.iter().find(|(name, _)| name == from);
                let survey = self.survey.as_ref();
                let status = survey.and_then(|it| it.etcd.members.get(to)?.status());
                if let (Some((_, client)), Some(status)) = (client, status) {
                    // Whether it was done is seen in the next look.
                    if let Err(error) = client.move_leader(status.id, DEADLINE).await {
                        tracing::warn!(%error, "the leadership was not handed over");
                    }
                }
            }
            Act::Restart {
                member,
                incarnation: seen,
            } => {
                let ordinals = 0..self.spec.replicas;
                let mut named = ordinals.filter(|it| self.spec.member(*it) == member.0);
                let pod = named.next().map(|it| self.spec.pod(it));
                let pod = pod.and_then(|it| self.world.pods.get(&it));
                if let Some(pod) = pod.filter(|it| incarnation(it) == *seen) {
                    self.context.apis.delete_pod(pod).await?;
                }
            }
        }
        Ok(())
    }
}

impl Look<'_> {
    /// Whether the snapshot of an upgrade could be verified; nothing if none would be taken.
    async fn verifier(&self) -> Option<Answered<Verifier>> {
        if !self.spec.has_store {
            return None;
        }
        let asked = Cluster::of(&self.etcd).sidecar;
        let client = &self.context.apis.client;
        Some(sidecar::verifier(client, &Sidecars::Pods, &asked).await)
    }

    async fn snapshot_work(&mut self, name: &str) -> Result<SnapshotWork, LookError> {
        let task = task_name(&self.spec.identity.name, name);
        let found = self.context.apis.task(&self.named.namespace, &task).await?;
        let (work, snapshot) = snapshot_work(found.as_ref(), &self.spec.identity.uid);
        self.task = Some(SnapshotTask {
            name: task,
            object: snapshot.as_ref().map(|it| it.name.clone()),
        });
        self.snapshot = snapshot;
        Ok(match (&work, &self.memo.verified) {
            (SnapshotWork::Taken, Some((of, told))) if of == name => told.borrow().clone(),
            _ => work,
        })
    }

    /// Makes the template one of another release: the pods, then the configuration. Which release the
    /// template is of is known by the pods', so whoever finds only half of it done does the other
    /// half. Each release takes the configuration of the other.
    async fn set_template(&mut self, version: Version) -> Result<(), LookError> {
        let releases = &self.context.releases;
        let release = releases.with(version).unwrap_or_else(|| self.wanted());
        let all = self.rendered(release)?;
        let (apis, namespace) = (&self.context.apis, &self.named.namespace);
        for component in [Component::StatefulSet, Component::ConfigMap] {
            for child in all.iter().filter(|it| it.component == component) {
                let failed = children::one(apis, namespace, &self.spec.identity.uid, child).await;
                self.failures.extend(failed);
            }
        }
        if self.failures.is_empty() {
            self.template.version = self.version(release);
        }
        Ok(())
    }
}
