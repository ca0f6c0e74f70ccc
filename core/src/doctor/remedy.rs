//! What mends it: for each finding one command after the other.

use serde::Serialize;

use super::finding::Finding;
use super::orders::By;
use crate::agent::recovery::{INSTRUCTION, Order, REPORT};
use crate::api::names;
use crate::cli::colour::clean;
use crate::member::MemberId;
use crate::observed::AlarmKind;
use crate::refusal::Refusal;

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Act {
    /// What, and when.
    pub say: String,
    /// The command, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// The Etcd that commands are about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    /// Its namespace.
    pub(super) namespace: &'a str,
    /// Its name.
    pub(super) name: &'a str,
}

pub(crate) fn run(say: &str, command: String) -> Act {
    Act {
        say: say.to_owned(),
        command: Some(command),
    }
}

pub(crate) fn only(say: impl Into<String>) -> Act {
    Act {
        say: say.into(),
        command: None,
    }
}

/// The warnings about volumes.
const CLAIMS: &str =
    "get events --field-selector involvedObject.kind=PersistentVolumeClaim,type=Warning";

/// What the preflight says of an alarm.
fn alarm(kind: AlarmKind) -> String {
    let member = MemberId::NOBODY;
    Refusal::AlarmActive { member, kind }.remedy()
}

/// Where `deploy/` puts it.
fn operator() -> Act {
    let command = "kubectl logs -n druid-system deployment/druid --tail=100";
    run(
        "see whether the operator runs, and what it says",
        command.to_owned(),
    )
}

impl Target<'_> {
    /// `kubectl druid VERB NAME -n NAMESPACE FLAGS`.
    fn druid(self, verb: &str, flags: &str) -> String {
        let Self { namespace, name } = self;
        let command = format!("kubectl druid {verb} {name} -n {namespace} {flags}");
        command.trim_end().to_owned()
    }

    fn kubectl(self, what: &str) -> String {
        clean(&format!("kubectl {what} -n {}", self.namespace))
    }

    /// Looks at a field of the Etcd, or changes it.
    fn edit(self, field: &str, verb: &str) -> String {
        let (verb, flags) = verb.split_once(' ').unwrap_or((verb, ""));
        let command = self.kubectl(&format!("{verb} etcd {} {flags}", self.name));
        format!("{}  # {field}", command.replace("  ", " "))
    }

    fn members(self) -> String {
        self.edit("status.members", "get -o yaml")
    }

    fn reconciliation(self, verb: &str) -> Vec<Act> {
        let command = self.druid(&format!("reconciliation {verb}"), "");
        vec![run("to let it go on", command)]
    }

    fn describe(self, pod: &str) -> String {
        self.kubectl(&format!("describe pod {pod}"))
    }

    /// Why members are down.
    fn down(self, pods: &[String]) -> Vec<Act> {
        let mut all = vec![run("see why", self.describe(&pods.join(" ")))];
        let logs = |pod: &String| self.kubectl(&format!("logs {pod} -c etcd --tail=50"));
        all.extend(pods.iter().map(|pod| run("read its last words", logs(pod))));
        all
    }

    fn quorum(self, down: &[String]) -> Vec<Act> {
        let mut all = vec![only(
            "delete no volume. If pods of a majority can start again (a node, an image, a Secret), let \
             them: nothing is lost then",
        )];
        if !down.is_empty() {
            all.extend(self.down(down));
        }
        all.push(run(
            "only if the data of a majority is gone for good: start again from the member that knows most, or \
             from the backup if that knows more",
            self.druid("recover", "--confirm --wait"),
        ));
        all
    }

    fn certificate(self, secret: &str, key: &str) -> Vec<Act> {
        let key = key.replace('.', "\\.");
        let read = self.kubectl(&format!(
            "get secret {secret} -o jsonpath='{{.data.{key}}}'"
        ));
        vec![run(
            "have its issuer renew it in the same Secret; pods read it again by themselves. To see the issuer",
            format!("{read} | base64 -d | openssl x509 -noout -issuer -enddate"),
        )]
    }

    fn secret(self, secret: &str) -> Vec<Act> {
        vec![run(
            "have whoever made it make it again under the same name, and restart no pod before",
            self.kubectl(&format!("get secret {secret}")),
        )]
    }

    fn snapshot(self, say: &str) -> Vec<Act> {
        let label = format!("{}={}", names::PART_OF, self.name);
        let logs = self.kubectl(&format!("logs -c backup-restore --prefix -l {label}"));
        vec![
            run(say, self.druid("snapshot", "--full --wait")),
            run("if it fails, see what the sidecars say", logs),
        ]
    }

    fn task(self, name: &str, kind: &str) -> Vec<Act> {
        let again = match kind {
            "onDemandSnapshot" => self.druid("snapshot", "--full --wait"),
            "onDemandSnapshotCompaction" => self.druid("snapshot", "--compacted --wait"),
            "recoverFromQuorumLoss" => self.druid("recover", "--confirm --wait"),
            _ => self.druid("defrag", "--wait"),
        };
        vec![
            run("remove the cause, then ask again", again),
            run(
                "or forget this one",
                self.kubectl(&format!("delete eot {name}")),
            ),
        ]
    }

    /// What a member is told by a recovery.
    fn order(self, member: &str, order: Order, by: &By) -> Vec<Act> {
        match (by, order) {
            (By::UnderWay(_), _) => vec![run(
                "to follow it",
                clean(&format!(
                    "kubectl druid tasks {} -n {} -w",
                    self.name, self.namespace
                )),
            )],
            (By::Over(task), Order::Hold) => vec![run(
                "delete the task: that lets the members start as they were",
                self.kubectl(&format!("delete eot {task}")),
            )],
            (By::Gone, Order::Hold) => {
                vec![self.take_away(member, "take it away: the member starts with what it holds")]
            }
            (By::Over(_) | By::Gone, Order::Join) => vec![
                only("leave it until the member serves"),
                self.take_away(member, "then take it away"),
            ],
            (By::Over(_) | By::Gone, Order::Alone | Order::Restore) => vec![
                only(
                    "delete no volume of this member, and see first whether the others serve with it",
                ),
                self.take_away(member, "if they do, take it away"),
                run(
                    "if nobody serves, recover again: that gives it another order",
                    self.druid("recover", "--confirm --wait"),
                ),
            ],
        }
    }

    /// An order that nobody will take back.
    fn take_away(self, member: &str, say: &str) -> Act {
        let command = format!("annotate lease {member} {INSTRUCTION}- {REPORT}-");
        run(say, self.kubectl(&command))
    }

    fn quota(self) -> Act {
        run(
            "if the data itself needs more, raise the quota; members restart one at a time",
            self.edit("spec.etcd.quota", "edit"),
        )
    }

    fn defragment(self, say: &str) -> Act {
        run(say, self.druid("defrag", "--wait"))
    }

    fn compact(self, say: &str) -> Act {
        run(say, self.druid("compact", "--defrag --wait"))
    }

    fn upgrade(self) -> Vec<Act> {
        vec![
            run(
                "see what stands against an upgrade",
                self.druid("preflight", ""),
            ),
            run(
                "then upgrade",
                self.edit("spec.upgrade.enabled: true", "edit"),
            ),
        ]
    }

    fn follow(self, say: &str) -> Act {
        run(say, self.druid("upgrade status", ""))
    }
}

impl Finding {
    /// What mends it.
    pub(super) fn remedy(&self, of: Target<'_>) -> Vec<Act> {
        match self {
            Self::QuorumLost { down, .. } => of.quorum(down),
            Self::Corrupt => vec![only(alarm(AlarmKind::Corrupt))],
            Self::UnknownAlarm => vec![only(alarm(AlarmKind::Unknown))],
            Self::ClusterIdMismatch(_) => vec![
                only("delete no volume: one of them holds the data"),
                run("see which member is of another cluster", of.members()),
            ],
            Self::NoSpace => vec![
                of.compact("make room, one member after the other; then the alarm is cleared"),
                of.quota(),
            ],
            Self::CertificateExpired { secret, key, .. }
            | Self::CertificateExpires { secret, key, .. }
            | Self::NoCertificate { secret, key } => of.certificate(secret, key),
            Self::SecretMissing(secret) => of.secret(secret),
            Self::BackupOld { quorate: true, .. } => of.snapshot("take one now"),
            Self::BackupOld { quorate: false, .. } => {
                of.snapshot("take one as soon as there is a quorum")
            }
            Self::MemberDown { pod, .. } => of.down(std::slice::from_ref(pod)),
            Self::PodNotReady { pod, .. } => vec![run("see why", of.describe(pod))],
            Self::OperatorFailed(_) => vec![run(
                "do what it says; the operator tries again by itself",
                of.edit("status.lastErrors", "get -o yaml"),
            )],
            Self::OperatorSilent(_) => vec![operator()],
            Self::Spec(problem) => vec![run(&problem.remedy(), of.edit("spec", "edit"))],
            Self::NearQuota { hollow: true, .. } | Self::Fragmented { .. } => {
                vec![of.defragment("give the free space back, one member after the other")]
            }
            Self::NearQuota { hollow: false, .. } => vec![
                of.compact("forget the history that is backed up, and give the space back"),
                of.quota(),
            ],
            Self::RecoveryOrder { member, order, by } => of.order(member, *order, by),
            Self::RecoveryOrderUnreadable { member, .. } => {
                vec![of.take_away(member, "take it away")]
            }
            Self::TaskFailed { name, kind, .. } => of.task(name, kind),
            Self::Volumes(_) => vec![run("see which", of.kubectl(CLAIMS))],
            Self::UpgradeHalted { .. } => vec![
                run(
                    "remove the cause; to see what still stands against it",
                    of.druid("preflight", ""),
                ),
                run("then let it go on", of.druid("upgrade acknowledge", "")),
            ],
            Self::UpgradeRefused { .. } => vec![run(
                "do what it says, and it goes on by itself; to see what still stands against it",
                of.druid("preflight", ""),
            )],
            Self::KnownBad { .. } => of.upgrade(),
            Self::NoConsistentList { .. } => {
                let restart = "then restart kube-apiserver: it does not ask a second time";
                of.upgrade().into_iter().chain([only(restart)]).collect()
            }
            Self::VersionsDiffer { .. } => vec![of.follow("see what was done last"), operator()],
            Self::UpgradeWaiting { .. } | Self::Acknowledged => vec![of.follow("to follow it")],
            Self::Paused => vec![run("to let them go on", of.druid("upgrade resume", ""))],
            Self::Deleting => vec![only("wait until it is gone")],
            Self::Suspended => of.reconciliation("resume"),
            Self::NotReconciled => of.reconciliation("trigger"),
            Self::NoStore => vec![run("to have backups", of.edit("spec.backup.store", "edit"))],
        }
    }
}
