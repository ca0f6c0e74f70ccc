//! The Helm chart makes what `cargo xtask deploy` makes, puts each value where it belongs, and refuses what
//! would be to no effect.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot look fails"
)]

use std::collections::BTreeMap;
use std::process::Output;

use druid_core::operator::Config;
use serde_json::{Map, Value, json};
use xtask::cluster;
use xtask::deploy::{self, Build, NAME, NAMESPACE, monitoring};

/// Objects by kind and name.
type Objects = BTreeMap<(String, String), Value>;

/// What Helm, or the chart for it, adds to every object.
const HELMS: [&str; 4] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
];

fn helm(args: &[&str]) -> Output {
    helm_in(NAMESPACE, args)
}

fn helm_in(namespace: &str, args: &[&str]) -> Output {
    let keeps = tempfile::tempdir().unwrap();
    let mut helm = cluster::helm(keeps.path()).unwrap();
    helm.args(args).args(["--namespace", namespace]);
    helm.current_dir(xtask::root()).output().unwrap()
}

/// What comes of these values.
fn rendered(values: &Value) -> Objects {
    let output = template(values);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{values}: {why}");
    objects(output)
}

/// What Helm says of values.
fn template(values: &Value) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, values.to_string()).unwrap();
    let path = file.path().to_str().unwrap();
    let template = ["template", NAME, deploy::CHART, "--include-crds"];
    helm(&[&template[..], &["--values", path]].concat())
}

fn objects(output: Output) -> Objects {
    let text = String::from_utf8(output.stdout).unwrap();
    by_name(serde_saphyr::from_multiple(&text).unwrap())
}

/// Why nothing comes of a value that is set as `helm --set` takes it.
fn refusal(set: &str) -> String {
    let output = helm(&["template", NAME, deploy::CHART, "--set", set]);
    assert!(!output.status.success(), "{set} is taken");
    String::from_utf8(output.stderr).unwrap()
}

fn by_name(objects: Vec<Value>) -> Objects {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let named = objects
        .into_iter()
        .map(|it| ((text(&it["kind"]), text(&it["metadata"]["name"])), it));
    named.collect()
}

fn of<'a>(objects: &'a Objects, kind: &str, name: &str) -> &'a Value {
    objects
        .get(&(kind.to_owned(), name.to_owned()))
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn pod(objects: &Objects) -> &Value {
    &of(objects, "Deployment", "druid")["spec"]["template"]
}

fn container(objects: &Objects) -> &Value {
    &pod(objects)["spec"]["containers"][0]
}

/// The operator's configuration file.
fn config(objects: &Objects) -> Value {
    let map = of(objects, "ConfigMap", "druid-config");
    serde_saphyr::from_str(map["data"]["config.yaml"].as_str().unwrap()).unwrap()
}

fn map(value: &mut Value) -> &mut Map<String, Value> {
    value.as_object_mut().unwrap()
}

/// Files are compared by what they say, and the digests of them, which have to be there, not at all.
fn comparable(mut objects: Objects) -> Objects {
    for object in objects.values_mut() {
        if object["kind"] == "ConfigMap" {
            for file in map(&mut object["data"]).values_mut() {
                *file = serde_saphyr::from_str(file.as_str().unwrap()).unwrap();
            }
        }
        if object["kind"] == "Deployment" {
            let annotations = &mut object["spec"]["template"]["metadata"]["annotations"];
            for (name, digest) in map(annotations) {
                if ["checksum/config", "checksum/images"].contains(&name.as_str()) {
                    assert_eq!(digest.as_str().unwrap().len(), 64);
                    *digest = json!("a digest");
                }
            }
        }
    }
    objects
}

#[test]
fn the_chart_makes_the_objects_of_the_manifests() {
    let pulled = Build::pulled("r.example/a/druid");
    for (values, gate, build) in [
        (json!({}), false, None),
        (deploy::values(true, None), true, None),
        (deploy::values(false, Some(&pulled)), false, Some(&pulled)),
    ] {
        let mut chart = rendered(&values);
        for ((kind, name), object) in &mut chart {
            // Helm takes these as they are.
            if kind == "CustomResourceDefinition" {
                continue;
            }
            let labels = map(&mut object["metadata"]["labels"]);
            for helms in HELMS {
                assert!(labels.remove(helms).is_some(), "{kind} {name}: {helms}");
            }
        }
        let mut manifests = by_name(deploy::objects(gate, build).unwrap());
        // Whoever installs a chart says in which namespace, and makes it.
        let namespace = ("Namespace".to_owned(), NAMESPACE.to_owned());
        manifests.remove(&namespace).unwrap();
        let (chart, manifests) = (comparable(chart), comparable(manifests));
        assert!(chart.keys().eq(manifests.keys()), "{:?}", chart.keys());
        for (which, object) in chart {
            assert_eq!(object, manifests[&which], "{which:?}");
        }
    }
}

#[test]
fn the_webhook_is_there_when_it_is_switched_on_and_what_it_needs_is_that_of_the_manifests() {
    let enabled = json!({ "etcdComponentProtection": { "enabled": true } });
    let mut objects = rendered(&json!({ "operatorConfig": { "webhooks": enabled } }));
    let mut loaded = Config::read(config(&objects)).unwrap();
    assert_eq!(loaded.warnings, []);
    let protection = loaded.config.protection.take().unwrap();
    let druid = format!("system:serviceaccount:{NAMESPACE}:{NAME}");
    assert_eq!(protection.operator.to_string(), druid);
    let exempt = "system:serviceaccount:kube-system:generic-garbage-collector";
    assert_eq!(protection.exempt, [exempt.to_owned()].into());
    let port = loaded.config.webhook_server.listen.port;
    let ports = container(&objects)["ports"].as_array().unwrap();
    assert_eq!(
        ports[1],
        json!({ "name": "webhook", "containerPort": port })
    );

    let off = rendered(&json!({}));
    objects.retain(|which, _| !off.contains_key(which));
    for object in objects.values_mut() {
        let labels = map(&mut object["metadata"]["labels"]);
        labels.retain(|label, _| !HELMS.contains(&label.as_str()));
    }
    assert!(
        objects == by_name(deploy::webhook_objects()),
        "{objects:#?}"
    );
}

#[test]
fn the_webhook_follows_the_port_the_account_and_who_is_said_to_be_the_operator() {
    let rendered = |protection: Value| {
        rendered(&json!({
            "serviceAccount": { "name": "somebody" },
            "operatorConfig": {
                "server": { "webhooks": { "port": 1234 } },
                "webhooks": { "etcdComponentProtection": protection },
            },
        }))
    };
    let objects = rendered(json!({ "enabled": true }));
    let service = of(&objects, "Service", "druid-webhook");
    assert_eq!(service["spec"]["ports"][0]["targetPort"], 1234);
    assert_eq!(container(&objects)["ports"][1]["containerPort"], 1234);
    for kind in ["RoleBinding", "ClusterRoleBinding"] {
        let subject = &of(&objects, kind, "druid-webhook")["subjects"][0];
        assert_eq!(subject["name"], "somebody");
    }
    let operator = |objects: &Objects| {
        let loaded = Config::read(config(objects)).unwrap();
        loaded.config.protection.unwrap().operator.name
    };
    assert_eq!(operator(&objects), "somebody");
    let other = json!({ "name": "other", "namespace": "n" });
    let objects = rendered(json!({ "enabled": true, "serviceAccountInfo": other }));
    assert_eq!(operator(&objects), "other");
}

#[test]
fn what_watches_it_is_there_when_it_is_switched_on_and_is_that_of_the_manifests() {
    let watched = json!({ "enabled": true, "labels": { "release": "my-prometheus" } });
    let mut objects = rendered(&json!({ "monitoring": watched }));
    let off = rendered(&json!({}));
    objects.retain(|which, _| !off.contains_key(which));
    for object in objects.values_mut() {
        let labels = map(&mut object["metadata"]["labels"]);
        labels.retain(|label, _| !HELMS.contains(&label.as_str()));
    }
    let map_of = ("ConfigMap".to_owned(), "druid-dashboard".to_owned());
    let shown = objects.remove(&map_of).unwrap();
    assert_eq!(shown["metadata"]["labels"]["grafana_dashboard"], "1");
    let dashboard = shown["data"]["dashboard.json"].as_str().unwrap();
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    assert!(dashboard == monitoring::dashboard());
    let mut manifests = monitoring::monitors();
    manifests.push(monitoring::rules());
    for object in &mut manifests {
        object["metadata"]["labels"]["release"] = json!("my-prometheus");
    }
    assert!(objects == by_name(manifests), "{objects:#?}");
}

#[test]
fn the_texts_of_alerts_name_the_namespace_of_the_release() {
    let watched = "monitoring.enabled=true";
    let template = ["template", NAME, deploy::CHART, "--set", watched];
    let output = helm_in("elsewhere", &template);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("kubectl logs -n elsewhere deployment/druid"));
    assert!(!said.contains(NAMESPACE));
}

#[test]
fn lint_finds_nothing() {
    let output = helm(&["lint", deploy::CHART, "--strict"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(
        !said.contains("[WARNING]") && !said.contains("[ERROR]"),
        "{said}"
    );
}

#[test]
fn each_value_arrives_where_it_belongs() {
    let affinity = json!({ "nodeAffinity": {} });
    let tolerations = json!([{ "key": "a", "operator": "Exists" }]);
    let spread = json!([{
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": { "matchLabels": { "app.kubernetes.io/name": "druid" } },
    }]);
    let images = json!({ "images": [{ "name": "alpine", "ref": "r.example/alpine:1" }] });
    let objects = rendered(&json!({
        "image": { "repository": "r.example/druid", "tag": "t", "imagePullPolicy": "Always" },
        "replicas": 3,
        "resources": { "limits": { "memory": "1Gi" }, "requests": { "cpu": "1" } },
        "nodeSelector": { "disk": "fast" },
        "affinity": affinity,
        "tolerations": tolerations,
        "topologySpreadConstraints": spread,
        "podAnnotations": { "note": "1" },
        "serviceAccount": { "name": "somebody" },
        "featureGates": { "UpgradeEtcdVersion": true },
        "imageVectorOverwrite": images,
        "operatorConfig": {
            "server": { "metrics": { "port": 9999 } },
            "controllers": { "compaction": { "eventsThreshold": 2_000_000 } },
        },
    }));
    assert_eq!(of(&objects, "Deployment", "druid")["spec"]["replicas"], 3);
    let template = pod(&objects);
    assert_eq!(template["metadata"]["annotations"]["note"], "1");
    let spec = &template["spec"];
    assert_eq!(spec["nodeSelector"], json!({ "disk": "fast" }));
    assert_eq!(spec["affinity"], affinity);
    assert_eq!(spec["tolerations"], tolerations);
    assert_eq!(spec["topologySpreadConstraints"], spread);
    assert_eq!(spec["serviceAccountName"], "somebody");
    let container = container(&objects);
    assert_eq!(container["image"], "r.example/druid:t");
    assert_eq!(container["imagePullPolicy"], "Always");
    // The memory is not that of the default, the rest of it is.
    let resources = json!({
        "limits": { "memory": "1Gi" },
        "requests": { "cpu": "1", "memory": "64Mi" },
    });
    assert_eq!(container["resources"], resources);
    assert_eq!(container["ports"][0]["containerPort"], 9999);
    let service = of(&objects, "Service", "druid-metrics");
    assert_eq!(service["spec"]["ports"][0]["port"], 9999);
    of(&objects, "ServiceAccount", "somebody");
    let binding = of(&objects, "ClusterRoleBinding", "druid-operator");
    assert_eq!(binding["subjects"][0]["name"], "somebody");

    let config = config(&objects);
    // Not 2e+06, which is no whole number.
    assert_eq!(
        config["controllers"]["compaction"]["eventsThreshold"],
        2_000_000
    );
    // The rest of the section is that of the default.
    assert_eq!(config["leaderElection"]["enabled"], true);
    assert_eq!(config["featureGates"]["UpgradeEtcdVersion"], true);
    assert_eq!(Config::read(config).unwrap().warnings, []);

    let mounts = container["volumeMounts"].as_array().unwrap();
    let path = |name| mounts.iter().find(|it| it["name"] == name).unwrap()["mountPath"].clone();
    let environment = container["env"].as_array().unwrap();
    let vector = environment
        .iter()
        .find(|it| it["name"] == "IMAGEVECTOR_OVERWRITE")
        .unwrap();
    let file = vector["value"].as_str().unwrap();
    let directory = path("druid-images");
    let file = file.strip_prefix(directory.as_str().unwrap()).unwrap();
    let stored = &of(&objects, "ConfigMap", "druid-images")["data"][&file[1..]];
    let stored: Value = serde_saphyr::from_str(stored.as_str().unwrap()).unwrap();
    assert_eq!(stored, images);
}

#[test]
fn whatever_the_pod_reads_at_its_start_replaces_it() {
    let template = |values: Value| pod(&rendered(&values)).clone();
    let first = template(json!({}));
    assert_eq!(first, template(json!({ "replicas": 2 })));
    let image = |name: &str| json!({ "imageVectorOverwrite": { "images": [{ "name": name }] } });
    assert_ne!(template(image("a")), template(image("b")));
    for values in [
        json!({ "featureGates": { "UpgradeEtcdVersion": true } }),
        json!({ "operatorConfig": { "logging": { "logLevel": "debug" } } }),
    ] {
        assert_ne!(first, template(values));
    }
}

#[test]
fn a_gate_by_itself_is_stronger_than_that_of_the_file() {
    for (gate, file) in [(false, true), (true, false)] {
        let objects = rendered(&json!({
            "featureGates": { "UpgradeEtcdVersion": gate },
            "operatorConfig": { "featureGates": { "UpgradeEtcdVersion": file } },
        }));
        assert_eq!(config(&objects)["featureGates"]["UpgradeEtcdVersion"], gate);
    }
    let file = json!({ "operatorConfig": { "featureGates": { "UpgradeEtcdVersion": true } } });
    let config = config(&rendered(&file));
    assert_eq!(config["featureGates"]["UpgradeEtcdVersion"], true);
}

#[test]
fn several_operators_have_a_budget_and_one_has_not() {
    let budget = |replicas: u32| {
        let objects = rendered(&json!({ "replicas": replicas }));
        let kind = "PodDisruptionBudget".to_owned();
        objects.get(&(kind, "druid".to_owned())).cloned()
    };
    assert_eq!(budget(1), None);
    let objects = rendered(&json!({ "replicas": 2 }));
    let spec = &budget(2).unwrap()["spec"];
    assert_eq!(spec["maxUnavailable"], 1);
    let labels = &pod(&objects)["metadata"]["labels"];
    assert_eq!(spec["selector"]["matchLabels"], *labels);
}

#[test]
fn without_an_election_there_are_never_two_operators() {
    let strategy = |enabled| {
        let election = json!({ "leaderElection": { "enabled": enabled } });
        let objects = rendered(&json!({ "operatorConfig": election }));
        of(&objects, "Deployment", "druid")["spec"]["strategy"].clone()
    };
    assert_eq!(strategy(false), json!({ "type": "Recreate" }));
    assert_eq!(strategy(true), json!(null));
    let why = refusal("replicas=2,operatorConfig.leaderElection.enabled=false");
    assert!(
        why.contains("replicas: 2 operators need operatorConfig.leaderElection.enabled: true"),
        "{why}"
    );
}

#[test]
fn without_its_sections_the_file_says_no_more_than_what_it_is() {
    let config = json!({
        "clientConnection": null, "controllers": null, "featureGates": null,
        "leaderElection": null, "logging": null, "server": null, "webhooks": null,
    });
    let objects = rendered(&json!({ "operatorConfig": config }));
    let loaded = Config::read(self::config(&objects)).unwrap();
    assert_eq!(loaded.warnings, []);
    let port = &container(&objects)["ports"][0]["containerPort"];
    assert_eq!(*port, loaded.config.metrics.port);
}

#[test]
fn what_is_misspelt_or_cannot_be_is_refused_by_name() {
    for (set, why) in [
        ("replica=2", "'replica' not allowed"),
        ("monitoring.enable=true", "'enable' not allowed"),
        ("replicas=two", "'/replicas'"),
        ("replicas=-1", "'/replicas'"),
        ("image.tags=a", "'/image': additional properties 'tags'"),
        ("image.repository=", "'/image/repository'"),
        ("image.imagePullPolicy=Ever", "'/image/imagePullPolicy'"),
        ("nodeSelector.disk=true", "'/nodeSelector/disk'"),
        ("tolerations=all", "'/tolerations'"),
        ("serviceAccount.create=false", "'create' not allowed"),
        ("serviceAccount.name=", "'/serviceAccount/name'"),
        ("featureGates.Nonsense=true", "'Nonsense' not allowed"),
        (
            "featureGates.UpgradeEtcdVersion=yes",
            "'/featureGates/Upgrade",
        ),
        (
            "featureGates.UseEtcdWrapper=false",
            "'/featureGates/UseEtcd",
        ),
        ("imageVectorOverwrite.image=a", "'image' not allowed"),
        ("operatorConfig.apiVersion=v1", "'apiVersion' not allowed"),
        (
            "operatorConfig.controllers.etcd.concurrentSyncs=0",
            "'/operatorConfig/controllers/etcd/concurrentSyncs'",
        ),
        (
            "operatorConfig.leaderElection.leaseDuration=a while",
            "'/operatorConfig/leaderElection/leaseDuration'",
        ),
        (
            "operatorConfig.logging.logLevel=warn",
            "'/operatorConfig/logging/logLevel': value must be one of 'debug', 'info', 'error'",
        ),
        (
            "operatorConfig.server.metrics.port=0",
            "'/operatorConfig/server/metrics/port'",
        ),
    ] {
        let said = refusal(set);
        assert!(said.contains(why), "{set}: {said}");
    }
}

/// Values of etcd-druid's chart that have no meaning here, and what is said of them.
const WITHOUT_MEANING: [(&str, &str); 7] = [
    ("controllerManager", "write it to operatorConfig ("),
    ("controllers", "write it to operatorConfig.controllers"),
    ("enabledOperatorConfig", "leave it out"),
    (
        "operatorConfig.clientConnection.acceptContentType",
        "write it to acceptContentTypes",
    ),
    (
        "operatorConfig.logConfiguration",
        "write it to operatorConfig.logging",
    ),
    ("webhookPKI", "leave it out"),
    ("webhooks", "write it to operatorConfig.webhooks"),
];

#[test]
fn values_of_etcd_druids_chart_are_taken_or_refused_with_a_remedy() {
    let path = xtask::root().join("xtask/tests/data/etcd-druid-values.yaml");
    let mut values: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let guide = std::fs::read_to_string(xtask::root().join("docs/migration.md")).unwrap();
    let mut left = WITHOUT_MEANING.to_vec();
    let objects = loop {
        let output = template(&values);
        if output.status.success() {
            break objects(output);
        }
        let why = String::from_utf8(output.stderr).unwrap();
        let refused = |(name, _): &&(&str, &str)| why.contains(&format!("{name}: "));
        let (name, remedy) = *left.iter().find(refused).unwrap_or_else(|| panic!("{why}"));
        assert!(why.contains(remedy), "{why}");
        assert!(
            guide.contains(&format!("`{name}`")),
            "the guide does not say {name}"
        );
        left.retain(|(it, _)| *it != name);
        let pointer = format!("/{}", name.replace('.', "/"));
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        map(values.pointer_mut(parent).unwrap())
            .remove(field)
            .unwrap();
    };
    assert_eq!(left, []);
    let loaded = Config::read(config(&objects)).unwrap();
    assert_eq!(loaded.warnings, []);
    assert!(loaded.config.election.is_none() && !loaded.config.etcd.auto_reconcile);
    of(&objects, "ServiceAccount", "etcd-druid");
}
