//! The rules and the dashboard in `deploy/monitoring/` ask for what there is, and fire when they should.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot read fails"
)]

#[path = "../common_cluster/mod.rs"]
mod common_cluster;
#[path = "../common_preflight/mod.rs"]
mod common_preflight;
mod exported;
mod expression;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common_cluster::Cluster;
use exported::Exported;
use expression::Expression;
use serde_json::Value;
use xtask::deploy::monitoring;
use xtask::promtool::{NoPromtool, promtool};

/// What the Prometheus operator adds to every series of a pod.
const OF_TARGET: [&str; 6] = [
    "container",
    "endpoint",
    "instance",
    "job",
    "namespace",
    "pod",
];

/// Each series that there is, with the labels that its target adds.
fn sources() -> [(Exported, Vec<String>); 3] {
    let monitors = monitoring::monitors();
    let endpoints = monitors[1]["spec"]["podMetricsEndpoints"]
        .as_array()
        .unwrap();
    let of_member = |index: usize| {
        let relabelings = endpoints[index]["relabelings"].as_array().unwrap();
        let added = relabelings
            .iter()
            .filter_map(|it| it["targetLabel"].as_str());
        let added = added.map(str::to_owned);
        OF_TARGET
            .map(str::to_owned)
            .into_iter()
            .chain(added)
            .collect()
    };
    [
        (exported::operator(), OF_TARGET.map(str::to_owned).into()),
        (exported::etcd(), of_member(0)),
        (exported::sidecar(), of_member(1)),
    ]
}

/// Every alert.
fn alerts() -> Vec<Value> {
    let rule = monitoring::rules();
    let groups = rule["spec"]["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|it| it["rules"].as_array().unwrap());
    rules.cloned().collect()
}

/// Every expression, by where it is.
fn expressions() -> Vec<(String, String)> {
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    let mut all: Vec<_> = alerts()
        .iter()
        .map(|it| (text(&it["alert"]), text(&it["expr"])))
        .collect();
    let dashboard = monitoring::dashboard();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            all.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"]["query"].as_str() {
            all.push((text(&variable["name"]), query.to_owned()));
        }
    }
    all
}

#[test]
fn rules_and_dashboard_ask_only_for_what_is_exported() {
    let sources = sources();
    let find = |metric: &str| {
        let mut found = sources
            .iter()
            .filter_map(|(exported, added)| Some((exported.labels(metric)?, added)));
        found.next()
    };
    let expressions = expressions();
    assert!(expressions.len() > 40, "{}", expressions.len());
    for (place, text) in &expressions {
        let parsed = Expression::parse(text);
        let mut known = BTreeSet::new();
        for selector in &parsed.selectors {
            let metric = &selector.metric;
            let (labels, added) =
                find(metric).unwrap_or_else(|| panic!("{place}: nobody exports {metric}"));
            known.extend(labels.keys().chain(added));
            for (label, value) in &selector.matchers {
                if added.contains(label) {
                    continue;
                }
                let values = labels
                    .get(label)
                    .unwrap_or_else(|| panic!("{place}: {metric} has no label {label}"));
                // What is chosen in the dashboard.
                let chosen = value.starts_with('$');
                assert!(
                    chosen || values.contains(value),
                    "{place}: {label} of {metric} is never {value}, but one of {values:?}"
                );
            }
        }
        assert!(!parsed.selectors.is_empty(), "{place}: {text}");
        for label in &parsed.labels {
            assert!(known.contains(label), "{place}: no {label} in {text}");
        }
    }
}

#[test]
fn no_label_of_ours_is_hidden_by_one_of_the_target() {
    for (exported, added) in [
        (exported::operator(), OF_TARGET.map(str::to_owned).to_vec()),
        (exported::sidecar(), sources()[2].1.clone()),
    ] {
        for metric in exported.names() {
            let labels = exported.labels(metric).unwrap();
            let mut hidden: BTreeSet<_> = labels.keys().filter(|it| added.contains(it)).collect();
            if metric.starts_with("etcdbr_defragmentation_") {
                // etcd-backup-restore's label. It is scraped as `exported_endpoint`.
                assert!(hidden.remove(&"endpoint".to_owned()));
            }
            assert_eq!(hidden, BTreeSet::new(), "{metric}");
        }
    }
}

#[test]
fn the_commands_that_alerts_tell_of_are_there() {
    let mut told = BTreeSet::new();
    for alert in alerts() {
        let runbook = alert["annotations"]["runbook"].as_str().unwrap();
        let commands = runbook.split('`').skip(1).step_by(2);
        told.extend(
            commands
                .filter_map(|it| it.strip_prefix("kubectl druid "))
                .map(|it| expand(it, &example_labels())),
        );
    }
    assert!(told.len() >= 4, "{told:?}");
    for command in told {
        let output = assert_cmd::Command::cargo_bin("druid")
            .unwrap()
            .arg("kubectl")
            .args(command.split_whitespace())
            .arg("--help")
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    }
}

fn example_labels() -> BTreeMap<String, String> {
    ["etcd_namespace", "etcd", "pod", "secret", "key"]
        .map(|it| (it.to_owned(), it.replace('_', "-")))
        .into()
}

/// A text of an alert as Prometheus writes it.
fn expand(text: &str, labels: &BTreeMap<String, String>) -> String {
    let mut text = text.to_owned();
    for (label, value) in labels {
        text = text.replace(&format!("{{{{ $labels.{label} }}}}"), value);
    }
    assert!(!text.contains("{{"), "a label is not there: {text}");
    text
}

/// promtool; nothing, with the reason printed, where it cannot be had.
fn tool() -> Option<PathBuf> {
    match promtool() {
        Ok(found) => Some(found),
        Err(why @ (NoPromtool::NotRoot | NoPromtool::NoPackages)) => {
            eprintln!("skipped: {why}");
            None
        }
        Err(why) => panic!("{why}"),
    }
}

/// The rules as Prometheus itself reads them, in a directory.
fn write_rules(directory: &Path) -> PathBuf {
    let path = directory.join("rules.yaml");
    let text = serde_saphyr::to_string(&monitoring::rules()["spec"]).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|it| String::from_utf8_lossy(it).into_owned())
        .concat()
}

#[test]
fn prometheus_accepts_the_rules() {
    let Some(promtool) = tool() else { return };
    let directory = tempfile::tempdir().unwrap();
    let rules = write_rules(directory.path());
    let output = Command::new(promtool)
        .args(["check", "rules", "--lint-fatal"])
        .arg(rules)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let found = format!("SUCCESS: {} rules found", alerts().len());
    assert!(said(&output).contains(&found), "{}", said(&output));
}

#[test]
fn every_alert_fires_when_it_should_and_not_when_it_should_not() {
    let Some(promtool) = tool() else { return };
    let directory = tempfile::tempdir().unwrap();
    write_rules(directory.path());
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/monitoring/alerts");
    let alerts = alerts();
    let files = fs::read_dir(&cases).unwrap().count();
    assert_eq!(files, alerts.len(), "each alert has a file in {cases:?}");
    for alert in &alerts {
        let name = alert["alert"].as_str().unwrap();
        let text = fs::read_to_string(cases.join(format!("{name}.yaml"))).unwrap();
        let mut file: Value = serde_saphyr::from_str(&text).unwrap();
        whole(&file, alert);
        annotate(&mut file, alert);
        let path = directory.path().join(format!("{name}.yaml"));
        fs::write(&path, serde_saphyr::to_string(&file).unwrap()).unwrap();
        let output = Command::new(&promtool)
            .args(["test", "rules"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", said(&output));
    }
}

/// Whether a file looks at all that an alert promises.
fn whole(file: &Value, alert: &Value) {
    let name = alert["alert"].as_str().unwrap();
    let tests = file["tests"].as_array().unwrap();
    let cases = tests
        .iter()
        .flat_map(|it| it["alert_rule_test"].as_array().unwrap());
    let fires = |case: &Value| {
        case["exp_alerts"]
            .as_array()
            .is_some_and(|it| !it.is_empty())
    };
    let (mut fire, mut silent) = (false, false);
    for case in cases {
        assert_eq!(case["alertname"], *name);
        fire |= fires(case);
        silent |= !fires(case);
    }
    assert!(fire && silent, "{name} fires, and is silent");
    let mut promised = vec!["hibernated"];
    if name.contains("Backup") {
        promised.push("without a store");
    }
    for word in promised {
        let mut of_it = tests
            .iter()
            .filter(|it| it["name"].as_str().unwrap().contains(word))
            .peekable();
        assert!(of_it.peek().is_some(), "{name}: {word}");
        for test in of_it {
            let cases = test["alert_rule_test"].as_array().unwrap();
            assert!(!cases.iter().any(fires), "{name} fires: {word}");
        }
    }
}

/// What each alert that is expected says: the texts of its rule with its labels, which promtool compares.
fn annotate(file: &mut Value, alert: &Value) {
    let texts = alert["annotations"].as_object().unwrap();
    for test in file["tests"].as_array_mut().unwrap() {
        for case in test["alert_rule_test"].as_array_mut().unwrap() {
            for expected in case["exp_alerts"].as_array_mut().into_iter().flatten() {
                let labels: BTreeMap<String, String> =
                    serde_json::from_value(expected["exp_labels"].clone()).unwrap();
                let told = texts.iter().map(|(name, text)| {
                    let text = expand(text.as_str().unwrap(), &labels);
                    (name.clone(), Value::from(text))
                });
                expected["exp_annotations"] = told.collect::<serde_json::Map<_, _>>().into();
            }
        }
    }
}

#[test]
fn the_component_adds_rules_monitors_and_dashboard_to_what_is_deployed() {
    let cluster = Cluster::shared();
    let directory = tempfile::tempdir().unwrap();
    let copied = directory.path().join("deploy");
    let made = xtask::deploy::manifests().unwrap();
    for component in ["images", "monitoring"] {
        fs::create_dir_all(copied.join(component)).unwrap();
    }
    let manifests = made.iter().map(|(path, _)| path);
    for path in manifests.filter(|it| it.starts_with("deploy/")) {
        fs::copy(xtask::root().join(path), directory.path().join(path)).unwrap();
    }
    let build = |directory: &Path| {
        let text = cluster.kubectl(&["kustomize", directory.to_str().unwrap()]);
        serde_saphyr::from_multiple::<Value>(&text).unwrap()
    };
    let count =
        |objects: &[Value], kind: &str| objects.iter().filter(|it| it["kind"] == kind).count();
    let plain = build(&copied);
    let ours = ["PrometheusRule", "ServiceMonitor", "PodMonitor"];
    assert_eq!(ours.map(|it| count(&plain, it)), [0, 0, 0]);
    let with = "resources: [deploy]\ncomponents: [deploy/monitoring]\n";
    fs::write(directory.path().join("kustomization.yaml"), with).unwrap();
    let watched = build(directory.path());
    assert_eq!(ours.map(|it| count(&watched, it)), [1, 1, 1]);
    assert_eq!(watched.len(), plain.len() + 4);
    let dashboard = watched
        .iter()
        .find(|it| it["metadata"]["name"] == "druid-dashboard")
        .unwrap();
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    let text = dashboard["data"]["dashboard.json"].as_str().unwrap();
    let imported: Value = serde_json::from_str(text).unwrap();
    assert_eq!(imported, monitoring::dashboard());
}

#[test]
fn no_panel_of_the_dashboard_lies_on_another() {
    let dashboard = monitoring::dashboard();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|it| panel["gridPos"][it].as_u64().unwrap());
        assert!(x + w <= 24, "{panel}");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{panel}");
        }
    }
}
