//! `OperatorConfiguration` of `config.druid.gardener.cloud/v1alpha1`.

mod fields;
mod sections;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;

use jiff::SignedDuration;
use serde_json::{Value, json};
use thiserror::Error;

use super::gates::Gates;
use super::reader::{ConfigProblem, ConfigWarning, Notes, Section};
use crate::election::Terms;
use crate::status::Thresholds;

pub use fields::{FIELDS, Field};

/// `apiVersion` of the file.
pub const API_VERSION: &str = "config.druid.gardener.cloud/v1alpha1";
/// `kind` of the file.
pub const KIND: &str = "OperatorConfiguration";

/// How the operator works.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How it talks to the API server.
    pub client: Client,
    /// How one of several operators is chosen; `None`: there is one only.
    pub election: Option<Election>,
    /// Where the webhook listens.
    pub webhook_server: WebhookServer,
    /// Where metrics are served.
    pub metrics: Listen,
    /// Whether Leases are read from the API server each time.
    pub without_lease_cache: bool,
    /// The work on Etcds.
    pub etcd: EtcdController,
    /// The making of one snapshot out of many; `None`: switched off.
    pub compaction: Option<Compaction>,
    /// How many `EtcdCopyBackupsTasks` are worked on at once; `None`: they are left alone.
    pub copy_task_workers: Option<NonZeroU32>,
    /// How many Secrets are worked on at once.
    pub secret_workers: NonZeroU32,
    /// The work on `EtcdOpsTasks`.
    pub ops_task: OpsTaskController,
    /// Who may change what belongs to an Etcd; `None`: everybody.
    pub protection: Option<Protection>,
    /// The feature gates.
    pub gates: Gates,
    /// What is logged, and how.
    pub logging: Logging,
}

/// How the operator talks to the API server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Client {
    /// Requests a second; `None`: as many as there are.
    pub per_second: Option<f64>,
    /// So many more for a moment.
    pub burst: u32,
}

/// How one of several operators is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// How long a lease lasts, and how it is kept.
    pub terms: Terms,
    /// The name of the Lease.
    pub lease: String,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// On which address; `None`: on all.
    pub address: Option<IpAddr>,
    /// On which port.
    pub port: u16,
}

/// Where the webhook listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookServer {
    /// Where.
    pub listen: Listen,
    /// The directory with `tls.crt` and `tls.key`.
    pub certificates: String,
}

/// The work on Etcds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EtcdController {
    /// How many Etcds are worked on at once.
    pub workers: NonZeroU32,
    /// Whether a change of a spec is followed without being asked.
    pub auto_reconcile: bool,
    /// Whether pods get no token of their service account.
    pub without_token: bool,
    /// How often an Etcd is looked at, whatever happens.
    pub sync_period: SignedDuration,
    /// When a member's lease counts as old.
    pub thresholds: Thresholds,
    /// How many upgrades are under way at once. 0: none begins.
    pub max_upgrades: u32,
    /// Whether a full snapshot is taken before a cluster is hibernated.
    pub snapshot_before_hibernation: bool,
}

/// The making of one snapshot out of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// How many Etcds are worked on at once.
    pub workers: NonZeroU32,
    /// After how many revisions.
    pub events: i64,
    /// After how many revisions a full snapshot is taken instead.
    pub full_snapshot_events: i64,
    /// How long a Job may take.
    pub deadline: SignedDuration,
    /// How long a Job stays for its metrics to be read.
    pub metrics_wait: SignedDuration,
}

/// The work on `EtcdOpsTasks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpsTaskController {
    /// How many tasks are worked on at once.
    pub workers: NonZeroU32,
    /// When a task is looked at again.
    pub requeue: SignedDuration,
}

/// Who may change what belongs to an Etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// The operator.
    pub operator: ServiceAccount,
    /// Who may, as long as the operator does not.
    pub exempt: BTreeSet<String>,
}

/// A service account. Prints as the user that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ServiceAccount {
    pub(super) fn read(text: &str) -> Option<Self> {
        let (namespace, name) = text
            .strip_prefix("system:serviceaccount:")?
            .split_once(':')?;
        let whole = !namespace.is_empty() && !name.is_empty() && !name.contains(':');
        whole.then(|| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logging {
    /// From which level on.
    pub level: LogLevel,
    /// In which form.
    pub format: LogFormat,
}

/// From which level on something is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What people want to know.
    Info,
    /// What went wrong.
    Error,
}

/// In which form something is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A JSON object a line.
    Json,
    /// For people.
    Text,
}

/// A configuration, and what is hardly meant in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// To be logged.
    pub warnings: Vec<ConfigWarning>,
}

/// A configuration that the operator cannot run with: all that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the operator's configuration cannot be used:{}", lines(.0))]
pub struct ConfigErrors(pub Vec<ConfigProblem>);

fn lines(problems: &[ConfigProblem]) -> String {
    let lines: Vec<_> = problems.iter().map(|it| format!("\n  {it}")).collect();
    lines.concat()
}

impl Config {
    /// Reads the file, as it was parsed from YAML or JSON.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(file: Value) -> Result<Loaded, ConfigErrors> {
        let mut notes = Notes::default();
        let mut root = Section::root(file, &mut notes);
        sections::identified(&mut root, &mut notes);
        let config = sections::config(&mut root, &mut notes);
        root.end(&mut notes);
        if notes.problems.is_empty() {
            let warnings = notes.warnings;
            Ok(Loaded { config, warnings })
        } else {
            Err(ConfigErrors(notes.problems))
        }
    }

    /// The JSON schema of the file without its `apiVersion` and `kind`: every field that is read, and no
    /// other.
    pub fn schema() -> Value {
        let mut notes = Notes::default();
        let mut root = Section::root(json!({}), &mut notes);
        sections::config(&mut root, &mut notes);
        notes
            .asked
            .insert("featureGates".to_owned(), Gates::schema());
        let mut all = section();
        for (path, schema) in notes.asked {
            let mut at = &mut all;
            let (above, field) = path.rsplit_once('.').unwrap_or(("", &path));
            for name in above.split('.').filter(|it| !it.is_empty()) {
                at = &mut at["properties"][name];
                if at.is_null() {
                    *at = section();
                }
            }
            at["properties"][field] = schema;
        }
        all
    }
}

fn section() -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": {} })
}

#[cfg(test)]
mod tests;
