//! `docs/reference/` is made from the code: what commands say of themselves, what the configuration and
//! the custom resources have, what is told to Prometheus, and every reason that is ever given.
//! `UPDATE_GOLDEN=1` writes it anew.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot read fails"
)]

#[path = "common_preflight/mod.rs"]
mod common_preflight;
#[path = "monitoring/exported.rs"]
mod exported;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use druid_core::api::Kind;
use druid_core::operator::Config;
use druid_core::operator::config::FIELDS;
use druid_core::operator::gates::Gate;
use druid_core::status::conditions;
use druid_core::status::operation::{Code, Component};
use druid_core::upgrade::ShownPhase;
use serde_json::Value;

/// What stands above each page.
const NOTE: &str =
    "<!-- Made from the code by druid/tests/reference.rs: UPDATE_GOLDEN=1 writes it anew. -->";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Sees that a page is what it should be.
fn is(page: &str, text: &str) {
    let path = repository().join("docs/reference").join(page);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "{page} is not what the code says: UPDATE_GOLDEN=1 cargo test --test reference"
    );
}

fn page(title: &str, introduction: &str) -> String {
    format!("{NOTE}\n\n# {title}\n\n{introduction}\n")
}

/// A cell of a table.
fn cell(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn row(text: &mut String, cells: &[&str]) {
    let cells: Vec<_> = cells.iter().map(|it| cell(it)).collect();
    writeln!(text, "| {} |", cells.join(" | ")).unwrap();
}

fn head(text: &mut String, cells: &[&str]) {
    text.push('\n');
    row(text, cells);
    writeln!(text, "|{}", "---|".repeat(cells.len())).unwrap();
}

fn code(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("`{text}`")
    }
}

/// What a command says of itself, in a terminal of a hundred columns.
fn help(words: &[String]) -> String {
    let output = Command::new(cargo_bin("druid"))
        .args(words)
        .arg("--help")
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|it| it.trim_end().to_owned() + "\n")
        .collect()
}

/// The commands below one.
fn commands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|it| *it != "Commands:").skip(1);
    let list = list.take_while(|it| !it.is_empty());
    let names = list.filter_map(|line| {
        let line = line.strip_prefix("  ").filter(|it| !it.starts_with(' '))?;
        line.split(' ').next().map(str::to_owned)
    });
    names.filter(|it| it != "help").collect()
}

fn describe(words: &[String], text: &mut String) {
    let help = help(words);
    let title = [&["druid".to_owned()], words].concat().join(" ");
    let level = "#".repeat(words.len().clamp(1, 3) + 1);
    writeln!(
        text,
        "\n{level} `{title}`\n\n```text\n{}\n```",
        help.trim_end()
    )
    .unwrap();
    for name in commands(&help) {
        describe(&[words, &[name]].concat(), text);
    }
}

#[test]
fn every_command_is_described() {
    let introduction = "What each command says with `--help`. `kubectl druid` is `druid kubectl`.";
    let mut text = page("Commands", introduction);
    describe(&[], &mut text);
    for command in [
        "druid operator",
        "druid server",
        "druid kubectl upgrade status",
    ] {
        assert!(text.contains(&format!("`{command}`\n")), "{command}");
    }
    is("commands.md", &text);
}

/// The values that a schema allows, in words.
fn values(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> = words.iter().filter_map(Value::as_str).map(code).collect();
        return words.join(", ");
    }
    let kind = schema["type"].as_str().unwrap_or("any");
    let bound = |name: &str| schema[name].as_i64();
    let text = match (kind, bound("minimum"), bound("maximum")) {
        ("string", ..)
            if schema["pattern"]
                .as_str()
                .is_some_and(|it| it.contains("us|")) =>
        {
            "a time: `10s`, `5m`, `1h30m`".to_owned()
        }
        ("string", ..) if schema["pattern"].is_string() => "text of a form".to_owned(),
        ("string", ..) => "text".to_owned(),
        ("integer" | "number", Some(least), Some(most)) if most < i64::MAX => {
            format!("{least} to {most}")
        }
        ("integer" | "number", Some(least), _) => format!("{least} or more"),
        ("integer" | "number", ..) => "number".to_owned(),
        ("boolean", ..) => "`true`, `false`".to_owned(),
        ("array", ..) => format!("list of {}", values(&schema["items"])),
        (other, ..) => other.to_owned(),
    };
    if schema["x-kubernetes-int-or-string"] == true {
        return "quantity".to_owned();
    }
    text
}

#[test]
fn every_field_of_the_configuration_is_described() {
    let introduction = "The file that `druid operator --config` reads, of `apiVersion: \
        config.druid.gardener.cloud/v1alpha1` and `kind: OperatorConfiguration`. It is that of etcd-druid \
        v0.37, and `maxConcurrentUpgrades` and `snapshotBeforeHibernation` more. What is misspelt or cannot \
        be is refused by name.";
    let mut text = page("Configuration of the operator", introduction);
    head(&mut text, &["field", "values", "default", "what for"]);
    let schema = Config::schema();
    for field in FIELDS {
        let mut at = &schema;
        for name in field.path.split('.') {
            at = &at["properties"][name];
        }
        let values = values(at);
        let default = field.default.map(code).unwrap_or_default();
        row(
            &mut text,
            &[&code(field.path), &values, &default, field.what],
        );
    }
    text.push_str("\n## Feature gates\n");
    head(&mut text, &["gate", "default"]);
    for gate in Gate::ALL {
        let on = druid_core::operator::Gates::default().is_on(gate);
        row(
            &mut text,
            &[&code(gate.word()), if on { "on" } else { "off" }],
        );
    }
    is("configuration.md", &text);
}

fn fields(path: &str, schema: &Value, text: &mut String) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let what = inner["description"].as_str().unwrap_or_default();
        let default = match inner.get("default") {
            Some(default) => code(&default.to_string().replace('"', "")),
            None if required.iter().any(|it| it == name) => "required".to_owned(),
            None => String::new(),
        };
        row(text, &[&code(&path), &values(inner), &default, what]);
        if inner["properties"].is_object() {
            fields(&path, inner, text);
        } else if inner["items"]["properties"].is_object() {
            fields(&format!("{path}[]"), &inner["items"], text);
        } else if inner["additionalProperties"]["properties"].is_object() {
            fields(&format!("{path}.*"), &inner["additionalProperties"], text);
        }
    }
}

#[test]
fn every_field_of_the_custom_resources_is_described() {
    let introduction = "`druid crds` prints the definitions. They are those of etcd-druid v0.37.1 with some \
        optional fields more. What a field of Kubernetes' own is for is left to its documentation.";
    let mut text = page("Custom resources", introduction);
    for kind in Kind::ALL {
        let definition = serde_json::to_value(kind.definition().unwrap()).unwrap();
        let name = definition["spec"]["names"]["kind"].as_str().unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        writeln!(text, "\n## {name}").unwrap();
        head(&mut text, &["field", "values", "default", "what for"]);
        for part in ["spec", "status"] {
            fields(part, &schema["properties"][part], &mut text);
        }
    }
    is("resources.md", &text);
}

/// Name, kind, help and labels of what Prometheus reads.
fn metrics(text: &str, page: &mut String) {
    let mut all: BTreeMap<&str, (&str, &str, Vec<&str>)> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            all.entry(name).or_default().1 = help;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            all.entry(name).or_default().0 = kind;
        } else if let Some((series, _)) = line.rsplit_once(' ') {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let suffixes = ["_bucket", "_sum", "_count"];
            let whole = suffixes.iter().find_map(|it| name.strip_suffix(it));
            let name = whole.filter(|it| all.contains_key(it)).unwrap_or(name);
            let known = &mut all.entry(name).or_default().2;
            for pair in labels.trim_end_matches('}').split("\",") {
                if let Some((label, _)) = pair.split_once('=')
                    && !known.contains(&label)
                {
                    known.push(label);
                }
            }
        }
    }
    head(page, &["metric", "kind", "labels", "what it tells"]);
    for (name, (kind, help, labels)) in all {
        assert!(!kind.is_empty() && !help.is_empty(), "{name}");
        let labels: Vec<_> = labels.into_iter().map(code).collect();
        row(page, &[&code(name), kind, &labels.join(", "), help]);
    }
}

#[test]
fn every_metric_is_described() {
    let introduction = "What Prometheus reads at `/metrics`. Alerts and a dashboard for them are in \
        `deploy/monitoring`. etcd's own are etcd's.";
    let mut text = page("Metrics", introduction);
    text.push_str("\n## The operator\n");
    metrics(&exported::operator_text(), &mut text);
    text.push_str("\n## The sidecar\n");
    metrics(&exported::sidecar_text(), &mut text);
    is("metrics.md", &text);
}

/// A list of every sentence that another test keeps.
fn golden(name: &str) -> Vec<String> {
    let path = repository().join("core/tests/golden").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The codes of an enum, and what is remarked of the variant of each, as its source has both.
fn codes_of(source: &str, of: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(repository().join("core/src").join(source)).unwrap();
    let after = |text: &str, from: &str, to: &str| {
        let (_, rest) = text.split_once(from).unwrap();
        rest.split_once(to).unwrap().0.to_owned()
    };
    let variants = after(&text, &format!("pub enum {of} {{\n"), "\n}\n");
    let (mut remarks, mut remark) = (BTreeMap::new(), String::new());
    for line in variants.lines().filter_map(|it| it.strip_prefix("    ")) {
        if let Some(said) = line.strip_prefix("/// ") {
            remark = format!("{remark} {said}");
        } else if line.starts_with(char::is_uppercase) {
            let name = line.split(|it: char| !it.is_alphanumeric()).next().unwrap();
            remarks.insert(name.to_owned(), std::mem::take(&mut remark));
        }
    }
    let (_, own) = text.split_once(&format!("impl {of} {{\n")).unwrap();
    let arms = after(own, "fn code(&self) ->", "\n    }\n");
    let arms = arms.lines().filter_map(|it| {
        let (variant, code) = it.trim().strip_prefix("Self::")?.split_once(" => \"")?;
        let name = variant.split(|it: char| !it.is_alphanumeric()).next()?;
        let remark = remarks.get(name).unwrap().trim().to_owned();
        Some((code.trim_end_matches("\",").to_owned(), remark))
    });
    let codes: Vec<_> = arms.collect();
    assert!(codes.len() > 5, "{source}");
    codes
}

/// Sections of codes that are given to people alone.
fn people(text: &mut String) {
    for (title, source, of) in [
        (
            "Why a spec cannot be rendered, also in `kubectl druid preflight` and `doctor` as `SpecProblem`",
            "render/problem.rs",
            "Problem",
        ),
        (
            "What `kubectl druid preflight` finds against an upgrade, besides",
            "cli/preflight/against.rs",
            "Against",
        ),
        (
            "What `kubectl druid doctor` finds",
            "doctor/finding.rs",
            "Finding",
        ),
        ("What a rehearsal warns of", "warnings.rs", "Warning"),
    ] {
        writeln!(text, "\n## {title}").unwrap();
        head(text, &["code", "what it says"]);
        for (name, remark) in codes_of(source, of) {
            row(text, &[&code(&name), &remark]);
        }
    }
}

/// What `status.lastErrors` of an Etcd has.
fn errors(text: &mut String) {
    text.push_str("\n## Errors of an Etcd, in `status.lastErrors[].code`\n");
    head(text, &["code", "what it says"]);
    for component in Component::ALL {
        for (name, failed) in [
            (Code::Get(component), "could not be read"),
            (
                Code::Sync(component),
                "could not be brought to what it should be",
            ),
            (Code::Delete(component), "could not be removed"),
        ] {
            let what = format!("{} {failed}", component.word());
            row(text, &[&code(&name.to_string()), &what]);
        }
    }
    let halted = code(&Code::UpgradeHalted.to_string());
    row(
        text,
        &[&halted, "an upgrade has halted; why is in `status.upgrade`"],
    );
}

#[test]
fn every_reason_is_described() {
    let introduction = "What programs can rely on: conditions, phases, and the code of every reason that is \
        given for what is not done, with an example of what is said. The code of a refusal, a wait, a halt or \
        a task is the same in the status, in Events, in the log and in what `kubectl druid` prints.";
    let mut text = page("Conditions, phases and codes", introduction);
    text.push_str("\n## Conditions of an Etcd\n");
    head(&mut text, &["condition", "`True` says"]);
    for kind in conditions::Kind::ALL {
        row(&mut text, &[&code(kind.word()), kind.meaning()]);
    }
    text.push_str("\n## Phases of an upgrade, in `status.upgrade.phase`\n");
    head(
        &mut text,
        &["phase", "what it says", "a person has to look"],
    );
    for phase in ShownPhase::ALL {
        let halted = if phase.is_halted() { "yes" } else { "" };
        row(&mut text, &[&code(phase.word()), phase.meaning(), halted]);
    }
    text.push_str("\n## Why an upgrade or a restart does not begin (`Refused`)\n");
    head(&mut text, &["code", "for example", "what to do"]);
    let words = golden("words.txt");
    for line in words.iter().filter_map(|it| it.strip_prefix("refusal ")) {
        let (name, rest) = line.split_once(": ").unwrap();
        let (said, remedy) = rest.rsplit_once("] ").unwrap();
        let (said, _) = said.rsplit_once(" [").unwrap();
        row(&mut text, &[&code(name), said, remedy]);
    }
    text.push_str("\n## Why it waits (`Waiting`, `Paused`)\n");
    head(
        &mut text,
        &["code", "for example", "until a person does something"],
    );
    for line in words.iter().filter_map(|it| it.strip_prefix("wait ")) {
        let (name, rest) = line.split_once(" for a person: ").unwrap();
        let (person, said) = rest.split_once(": ").unwrap();
        let person = if person == "true" { "yes" } else { "" };
        row(&mut text, &[&code(name), said, person]);
    }
    text.push_str("\n## Why it halts (`Blocked`, `RolledBack`)\n");
    head(&mut text, &["code", "for example", "what to do"]);
    for line in words.iter().filter_map(|it| it.strip_prefix("halt ")) {
        let (name, rest) = line.split_once(": ").unwrap();
        let (said, remedy) = rest.rsplit_once(" [").unwrap();
        row(
            &mut text,
            &[&code(name), said, remedy.trim_end_matches(']')],
        );
    }
    text.push_str("\n## Why an attempt at an `EtcdOpsTask` fails, in `status.lastErrors[].code`\n");
    head(&mut text, &["code", "for example", "tried again"]);
    for line in golden("task-words.txt") {
        let (name, rest) = line.split_once(' ').unwrap();
        let (again, said) = rest.split_once(": ").unwrap();
        let again = if again == "again" { "yes" } else { "" };
        row(&mut text, &[&code(name), said, again]);
    }
    errors(&mut text);
    people(&mut text);
    is("codes.md", &text);
}

/// The days before the end of a certificate on which an alert fires.
fn days(rules: &Value, alert: &str) -> String {
    let rules = rules["spec"]["groups"].as_array().unwrap().iter();
    let mut rules = rules.flat_map(|it| it["rules"].as_array().unwrap());
    let rule = rules.find(|it| it["alert"] == alert).unwrap();
    let (days, _) = rule["expr"]
        .as_str()
        .unwrap()
        .split_once(" * 86400")
        .unwrap();
    days.rsplit_once(' ').unwrap().1.to_owned()
}

#[test]
fn the_threat_model_says_when_an_expiring_certificate_is_told_of() {
    let rules = xtask::deploy::monitoring::rules();
    let [soon, urgent] = ["EtcdCertificateExpiresSoon", "EtcdCertificateExpires"];
    let said = format!(
        "say so {} days before, and call it critical from {} days on",
        days(&rules, soon),
        days(&rules, urgent)
    );
    let text = std::fs::read_to_string(repository().join("docs/threat-model.md")).unwrap();
    assert!(text.contains(&said), "{said}");
}
