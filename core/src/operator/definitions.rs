//! Whether the custom resources are defined as the operator needs them.

use serde_json::Value;
use thiserror::Error;

use crate::api::Kind;

/// Our version.
const VERSION: &str = "v1alpha1";
/// What to do about it.
const REMEDY: &str = "druid crds | kubectl apply --server-side -f -";

/// A definition that the operator cannot work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DefinitionProblem {
    /// It is not there.
    #[error("there is no custom resource {name}: {REMEDY}")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// It does not have our version.
    #[error("custom resource {name} is not served as {VERSION}: {REMEDY}")]
    NotServed {
        /// Its name.
        name: &'static str,
    },
    /// The API server would drop what is written into a field.
    #[error(
        "custom resource {name} has no field {field}, so the API server would drop it: {REMEDY}"
    )]
    NoField {
        /// Its name.
        name: &'static str,
        /// Which field.
        field: &'static str,
    },
    /// It was applied a moment ago.
    #[error("custom resource {name} is not served yet")]
    NotYet {
        /// Its name.
        name: &'static str,
    },
}

impl DefinitionProblem {
    /// Whether it passes by itself.
    pub fn passes(self) -> bool {
        match self {
            Self::NotYet { .. } => true,
            Self::Missing { .. } | Self::NotServed { .. } | Self::NoField { .. } => false,
        }
    }
}

/// What the operator needs: a kind, the name of its definition, and which fields of ours etcd-druid's
/// own definition has not.
#[derive(Clone, Copy, Debug)]
pub struct Needed {
    /// The name of the `CustomResourceDefinition`.
    pub name: &'static str,
    /// The kind.
    pub kind: Kind,
    fields: &'static [&'static str],
}

/// All that it needs.
pub const NEEDED: [Needed; 2] = [
    Needed {
        name: "etcds.druid.gardener.cloud",
        kind: Kind::Etcd,
        fields: &["spec.upgrade", "status.upgrade"],
    },
    Needed {
        name: "etcdopstasks.druid.gardener.cloud",
        kind: Kind::EtcdOpsTask,
        fields: &["status.result"],
    },
];

/// What it needs where it copies backups.
pub const NEEDED_FOR_COPIES: Needed = Needed {
    name: "etcdcopybackupstasks.druid.gardener.cloud",
    kind: Kind::EtcdCopyBackupsTask,
    fields: &[],
};

impl Needed {
    /// Judges the definition as the API server has it; `None`: it has none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, stored: Option<&Value>) -> Result<(), DefinitionProblem> {
        let name = self.name;
        let stored = stored.ok_or(DefinitionProblem::Missing { name })?;
        let versions = stored["spec"]["versions"].as_array();
        let ours = versions
            .into_iter()
            .flatten()
            .find(|it| it["name"] == VERSION && it["served"] == true)
            .ok_or(DefinitionProblem::NotServed { name })?;
        let schema = &ours["schema"]["openAPIV3Schema"];
        for field in self.fields {
            let mut steps = field.split('.');
            if steps
                .try_fold(schema, |at, step| at["properties"].get(step))
                .is_none()
            {
                return Err(DefinitionProblem::NoField { name, field });
            }
        }
        let conditions = stored["status"]["conditions"].as_array();
        let established = |it: &Value| it["type"] == "Established" && it["status"] == "True";
        if conditions.into_iter().flatten().any(established) {
            Ok(())
        } else {
            Err(DefinitionProblem::NotYet { name })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(kind: Kind) -> Value {
        let mut stored = kind.definition().unwrap();
        stored["status"] = json!({ "conditions": [{ "type": "Established", "status": "True" }] });
        stored
    }

    #[test]
    fn our_own_definitions_are_what_is_needed() {
        for needed in NEEDED.into_iter().chain([NEEDED_FOR_COPIES]) {
            let stored = stored(needed.kind);
            assert_eq!(stored["metadata"]["name"], needed.name);
            assert_eq!(needed.check(Some(&stored)), Ok(()));
        }
    }

    #[test]
    fn what_is_missing_is_told_with_the_remedy() {
        let [etcds, tasks] = NEEDED;
        let told = |needed: Needed, stored: Option<&Value>| {
            let problem = needed.check(stored).unwrap_err();
            (problem.to_string(), problem.passes())
        };
        let remedy = "druid crds | kubectl apply";
        let (missing, passes) = told(tasks, None);
        assert!(missing.contains("etcdopstasks") && missing.contains(remedy) && !passes);

        let mut foreign = stored(Kind::Etcd);
        let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
        let fields = foreign.pointer_mut(status).and_then(Value::as_object_mut);
        fields.unwrap().remove("upgrade");
        let (pruned, _) = told(etcds, Some(&foreign));
        assert!(pruned.contains("no field status.upgrade") && pruned.contains(remedy));

        let mut other = stored(Kind::Etcd);
        other["spec"]["versions"][0]["served"] = json!(false);
        assert!(told(etcds, Some(&other)).0.contains("v1alpha1"));

        let fresh = Kind::Etcd.definition().unwrap();
        assert!(told(etcds, Some(&fresh)).1);
    }
}
