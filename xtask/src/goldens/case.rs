//! One case: an Etcd, or a copy task, with all that was made for it.

use std::collections::BTreeMap;
use std::path::Path;

use druid_core::api::{Etcd, EtcdCopyBackupsTask};
use druid_core::images::ImageVector;
use druid_core::render::{
    self, CopySpec, Difference, Facts, HostPaths, Problems, Release, Settings, Spec, deviations,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Found, GoldensError, Report, listed, object};

/// The folders with cases, and which release was rendered in them.
pub(super) const FOLDERS: [(&str, Release); 4] = [
    ("gate-off", Release::Base),
    ("gate-on", Release::Next),
    ("gate-off-copy", Release::Base),
    ("gate-on-copy", Release::Next),
];

/// What stands for every uid, and for every address.
const UID: &str = "UID";
const ADDRESS: &str = "CLUSTERIP";

/// Objects by kind and name.
pub type Objects = BTreeMap<String, Value>;

/// A case as it was rendered, by etcd-druid and by us.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// Its directory.
    pub name: String,
    /// What etcd-druid rendered, as it was stored.
    pub theirs: Objects,
    /// What we render.
    pub ours: Objects,
    /// What we render on occasion: it is no difference if they have no such thing.
    pub occasional: Objects,
    /// What we render if we misread the case as etcd-druid is known to, if it does.
    pub misread: Objects,
}

/// Reads and renders a case.
pub(super) fn read(name: String, directory: &Path, release: Release) -> Result<Case, GoldensError> {
    let mut case = Case {
        name,
        ..Case::default()
    };
    let (mut etcd, mut task) = (None, None);
    for path in listed(directory)? {
        if path.extension().is_none_or(|it| it != "yaml") {
            continue;
        }
        let object = object(&path)?;
        match object["kind"].as_str() {
            Some("Etcd") => etcd = Some(object),
            Some("EtcdCopyBackupsTask") => task = Some(object),
            Some(_) | None => {
                case.theirs.insert(called(&object), object);
            }
        }
    }
    match (etcd, task) {
        (Some(etcd), _) => of_etcd(&mut case, etcd, release)?,
        (None, Some(task)) => of_task(&mut case, task, release)?,
        (None, None) => {
            return Err(GoldensError::Case {
                case: case.name,
                why: "there is no Etcd and no EtcdCopyBackupsTask in it".to_owned(),
            });
        }
    }
    Ok(case)
}

fn called(object: &Value) -> String {
    let text = |it: &Value| it.as_str().unwrap_or("?").to_owned();
    let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
    format!("{}/{}", text(kind), text(name))
}

impl Case {
    /// Compares.
    pub(super) fn compare(mut self, report: &mut Report) {
        report.cases += 1;
        for (name, there) in std::mem::take(&mut self.theirs) {
            let (name, there) = (&name, &there);
            let ours = self.ours.remove(name).or(self.occasional.remove(name));
            report.objects += 1;
            let differences = match &ours {
                None => vec![Difference {
                    path: String::new(),
                    theirs: Some(json!("an object")),
                    ours: None,
                }],
                Some(ours) => render::compare(there, &as_stored(ours)),
            };
            for difference in differences {
                self.judge(name, difference, report);
            }
        }
        for name in std::mem::take(&mut self.ours).into_keys() {
            let difference = Difference {
                path: String::new(),
                theirs: None,
                ours: Some(json!("an object")),
            };
            self.judge(&name, difference, report);
        }
    }

    /// A difference is meant if it is in the list, value by value, or if etcd-druid misread the case.
    fn judge(&self, name: &str, difference: Difference, report: &mut Report) {
        let text = |value: &Option<Value>| value.as_ref().map(Value::to_string);
        let kind = name.split('/').next().unwrap_or_default();
        let listed = deviations::FIELDS.iter().any(|it| {
            it.kind == kind
                && it.path == difference.path
                && it.theirs.map(str::to_owned) == text(&difference.theirs)
                && it.ours.map(str::to_owned) == text(&difference.ours)
        });
        let misread = self.misread.get(name).map(as_stored);
        let misread = misread.and_then(|it| it.pointer(&difference.path).cloned());
        if listed || (misread.is_some() && misread == difference.theirs) {
            let meant = format!("{kind} {}", difference.path);
            *report.meant.entry(meant).or_default() += 1;
        } else {
            report.differences.push(Found {
                case: self.name.clone(),
                object: name.to_owned(),
                difference,
            });
        }
    }
}

fn parsed<T: DeserializeOwned>(case: &str, mut object: Value) -> Result<T, GoldensError> {
    object["metadata"]["uid"] = json!(UID);
    serde_json::from_value(object).map_err(|error| GoldensError::Case {
        case: case.to_owned(),
        why: error.to_string(),
    })
}

fn images(case: &str, release: Release) -> Result<render::Images, GoldensError> {
    let vector = ImageVector::default();
    vector.images(release).map_err(|error| GoldensError::Case {
        case: case.to_owned(),
        why: error.to_string(),
    })
}

/// The Secrets that there were: one says where its buckets are, those whose names begin with
/// `absent` were not there.
fn host_paths(secret: Option<&str>) -> HostPaths {
    let mut paths = HostPaths::default();
    match secret {
        None => {}
        Some(name) if name.starts_with("absent") => {}
        Some(name) => {
            let path = (name == "local-secret").then(|| "/var/lib/golden-buckets".to_owned());
            paths.0.insert(name.to_owned(), path);
        }
    }
    paths
}

fn of_etcd(case: &mut Case, etcd: Value, release: Release) -> Result<(), GoldensError> {
    let etcd: Etcd = parsed(&case.name, etcd)?;
    let spec = Spec::parse(&etcd).map_err(|problems| GoldensError::Case {
        case: case.name.clone(),
        why: problems.to_string(),
    })?;
    if spec.suspended {
        return Ok(());
    }
    let images = images(&case.name, release)?;
    let store = spec.pods.as_ref().ok().and_then(|it| it.store.as_ref());
    let facts = Facts {
        release,
        images: &images,
        live_images: &images,
        settings: &Settings::default(),
        host_paths: &host_paths(store.and_then(render::Store::secret)),
    };
    let misread = deviations::as_etcd_druid_reads(&spec);
    case.ours = rendered(&spec, &facts);
    if misread != spec {
        case.misread = rendered(&misread, &facts);
    }
    add(&mut case.occasional, render::compaction_job(&spec, &facts));
    Ok(())
}

/// Everything of an Etcd but its Jobs, by kind and name.
pub fn rendered(spec: &Spec, facts: &Facts<'_>) -> Objects {
    let mut objects = Objects::new();
    let rendered = render::objects(spec, facts);
    if let Some(runtime) = rendered.runtime {
        insert(&mut objects, &runtime.service_account);
        insert(&mut objects, &runtime.role);
        insert(&mut objects, &runtime.role_binding);
        insert(&mut objects, &runtime.disruption_budget);
        insert(&mut objects, &runtime.client_service);
        insert(&mut objects, &runtime.peer_service);
        for lease in runtime.member_leases.iter().chain(&runtime.snapshot_leases) {
            insert(&mut objects, lease);
        }
    }
    insert(&mut objects, &rendered.config_map);
    add(&mut objects, rendered.stateful_set.map(Some));
    objects
}

fn of_task(case: &mut Case, task: Value, release: Release) -> Result<(), GoldensError> {
    let task: EtcdCopyBackupsTask = parsed(&case.name, task)?;
    // Why it cannot be is what the task's status says: there is no Job.
    let Ok(spec) = CopySpec::parse(&task) else {
        return Ok(());
    };
    let mut paths = host_paths(spec.source.store.secret());
    paths.0.extend(host_paths(spec.target.store.secret()).0);
    let job = render::copy_job(&spec, &images(&case.name, release)?, &paths);
    add(&mut case.ours, job.map(Some));
    Ok(())
}

/// Whatever cannot be rendered is not there.
fn add<T: Serialize>(objects: &mut Objects, object: Result<Option<T>, Problems>) {
    if let Ok(Some(object)) = object {
        insert(objects, &object);
    }
}

fn insert<T: Serialize>(objects: &mut Objects, object: &T) {
    // Nothing in these types is without a form in JSON.
    let object = serde_json::to_value(object).unwrap_or_default();
    objects.insert(called(&object), object);
}

/// What is stored of an object that is rendered, as the goldens spell it.
pub fn as_stored(rendered: &Value) -> Value {
    let mut object = rendered.clone();
    render::stored::fill(&mut object);
    given_by_the_cluster(&mut object);
    object
}

/// What the API server gives out, as the goldens spell it.
fn given_by_the_cluster(object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    let kind = object["kind"].clone();
    let Some(spec) = object.get_mut("spec") else {
        return;
    };
    match kind.as_str() {
        Some("Service") => {
            let address = spec.get("clusterIP").cloned();
            let address = address.unwrap_or_else(|| json!(ADDRESS));
            spec["clusterIPs"] = json!([address]);
            spec["clusterIP"] = address;
            spec["ipFamilies"] = json!(["IPv4"]);
            spec["ipFamilyPolicy"] = json!("SingleStack");
        }
        Some("Job") => {
            let uid = "batch.kubernetes.io/controller-uid";
            spec["selector"] = json!({ "matchLabels": { uid: UID } });
            let labels = &mut spec["template"]["metadata"]["labels"];
            labels[uid] = json!(UID);
            labels["controller-uid"] = json!(UID);
            labels["batch.kubernetes.io/job-name"] = name.clone();
            labels["job-name"] = name;
        }
        Some(_) | None => {}
    }
}
