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

use super::{Found, GoldensError, Report, file_name, listed, object};

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
type Objects = BTreeMap<String, Value>;

/// Renders a case and compares.
pub(super) fn compare(
    case: &str,
    directory: &Path,
    release: Release,
    report: &mut Report,
) -> Result<(), GoldensError> {
    let mut theirs = Objects::new();
    let (mut etcd, mut task) = (None, None);
    for path in listed(directory)? {
        if !file_name(&path).ends_with(".yaml") {
            continue;
        }
        let object = object(&path)?;
        match object["kind"].as_str() {
            Some("Etcd") => etcd = Some(object),
            Some("EtcdCopyBackupsTask") => task = Some(object),
            Some(_) | None => {
                theirs.insert(called(&object), object);
            }
        }
    }
    let rendering = match (etcd, task) {
        (Some(etcd), _) => of_etcd(case, etcd, release)?,
        (None, Some(task)) => of_task(case, task, release)?,
        (None, None) => {
            return Err(GoldensError::Case {
                case: case.to_owned(),
                why: "there is no Etcd and no EtcdCopyBackupsTask in it".to_owned(),
            });
        }
    };
    report.cases += 1;
    rendering.compare_with(case, theirs, report);
    Ok(())
}

fn called(object: &Value) -> String {
    let text = |it: &Value| it.as_str().unwrap_or("?").to_owned();
    let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
    format!("{}/{}", text(kind), text(name))
}

/// What is rendered of a case.
#[derive(Default)]
struct Rendering {
    ours: Objects,
    /// Jobs are made on occasion: it is no difference if there is none.
    occasional: Objects,
    /// Objects as etcd-druid is known to misread the case, if it does.
    misread: Objects,
}

impl Rendering {
    fn compare_with(mut self, case: &str, theirs: Objects, report: &mut Report) {
        for (name, there) in &theirs {
            let ours = self.ours.remove(name).or(self.occasional.remove(name));
            report.objects += 1;
            let differences = match &ours {
                None => vec![Difference {
                    path: String::new(),
                    theirs: Some(json!("an object")),
                    ours: None,
                }],
                Some(ours) => render::compare(there, ours),
            };
            for difference in differences {
                self.judge(case, name, difference, report);
            }
        }
        for name in std::mem::take(&mut self.ours).into_keys() {
            let difference = Difference {
                path: String::new(),
                theirs: None,
                ours: Some(json!("an object")),
            };
            self.judge(case, &name, difference, report);
        }
    }

    /// A difference is meant if it is in the list, value by value, or if etcd-druid misread the case.
    fn judge(&self, case: &str, name: &str, difference: Difference, report: &mut Report) {
        let text = |value: &Option<Value>| value.as_ref().map(Value::to_string);
        let kind = name.split('/').next().unwrap_or_default();
        let listed = deviations::FIELDS.iter().any(|it| {
            it.kind == kind
                && it.path == difference.path
                && Some(it.theirs.to_owned()) == text(&difference.theirs)
                && it.ours.map(str::to_owned) == text(&difference.ours)
        });
        let misread = self.misread.get(name);
        let misread = misread.and_then(|it| it.pointer(&difference.path));
        if listed || (misread.is_some() && misread == difference.theirs.as_ref()) {
            let meant = format!("{kind} {}", difference.path);
            *report.meant.entry(meant).or_default() += 1;
        } else {
            report.differences.push(Found {
                case: case.to_owned(),
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

fn of_etcd(case: &str, etcd: Value, release: Release) -> Result<Rendering, GoldensError> {
    let etcd: Etcd = parsed(case, etcd)?;
    let spec = Spec::parse(&etcd).map_err(|problems| GoldensError::Case {
        case: case.to_owned(),
        why: problems.to_string(),
    })?;
    if spec.suspended {
        return Ok(Rendering::default());
    }
    let images = images(case, release)?;
    let store = spec.pods.as_ref().ok().and_then(|it| it.store.as_ref());
    let facts = Facts {
        release,
        images: &images,
        live_images: &images,
        settings: &Settings::default(),
        host_paths: &host_paths(store.and_then(render::Store::secret)),
    };
    let misread = deviations::as_etcd_druid_reads(&spec);
    let mut rendering = Rendering {
        ours: rendered(&spec, &facts),
        ..Rendering::default()
    };
    if misread != spec {
        rendering.misread = rendered(&misread, &facts);
    }
    add(
        &mut rendering.occasional,
        render::compaction_job(&spec, &facts),
    );
    Ok(rendering)
}

fn rendered(spec: &Spec, facts: &Facts<'_>) -> Objects {
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

fn of_task(case: &str, task: Value, release: Release) -> Result<Rendering, GoldensError> {
    let task: EtcdCopyBackupsTask = parsed(case, task)?;
    let mut rendering = Rendering::default();
    // Why it cannot be is what the task's status says: there is no Job.
    let Ok(spec) = CopySpec::parse(&task) else {
        return Ok(rendering);
    };
    let mut paths = host_paths(spec.source.store.secret());
    paths.0.extend(host_paths(spec.target.store.secret()).0);
    let job = render::copy_job(&spec, &images(case, release)?, &paths);
    add(&mut rendering.ours, job.map(Some));
    Ok(rendering)
}

/// Whatever cannot be rendered is not there.
fn add<T: Serialize>(objects: &mut Objects, object: Result<Option<T>, Problems>) {
    if let Ok(Some(object)) = object {
        insert(objects, &object);
    }
}

fn insert<T: Serialize>(objects: &mut Objects, object: &T) {
    // Nothing in these types is without a form in JSON.
    let mut object = serde_json::to_value(object).unwrap_or_default();
    render::stored::fill(&mut object);
    given_by_the_cluster(&mut object);
    objects.insert(called(&object), object);
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
            let address = match &spec["clusterIP"] {
                Value::Null => json!(ADDRESS),
                none => none.clone(),
            };
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
