//! The numbers of the operator as a whole, for `/metrics`. The first two have the names that
//! Kubernetes' own programs give them.

use std::fmt::{self, Write as _};

use super::gates::{Gate, Gates, Stage};
use crate::exposition::{escaped, head, text};

/// What is told of the operator.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its version.
    pub version: &'a str,
    /// The feature gates.
    pub gates: Gates,
    /// The name of its Lease, if there may be several operators.
    pub lease: Option<&'a str>,
    /// Whether it leads.
    pub leads: bool,
}

impl About<'_> {
    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        text(|it| self.write(it))
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let mut last = "";
        let leads = u8::from(self.leads);
        if let Some(lease) = self.lease {
            let name = "leader_election_master_status";
            head(
                text,
                &mut last,
                name,
                "Whether this operator leads.",
                "gauge",
            )?;
            writeln!(text, "{name}{{name=\"{}\"}} {leads}", escaped(lease))?;
        }
        for gate in Gate::ALL {
            let name = "kubernetes_feature_enabled";
            head(
                text,
                &mut last,
                name,
                "Whether a feature gate is on.",
                "gauge",
            )?;
            let stage = match gate.stage() {
                Stage::Alpha => "ALPHA",
                Stage::Ga => "",
            };
            let on = u8::from(self.gates.is_on(gate));
            let gate = gate.word();
            writeln!(text, "{name}{{name=\"{gate}\",stage=\"{stage}\"}} {on}")?;
        }
        let name = "etcddruid_build_info";
        head(
            text,
            &mut last,
            name,
            "The version of the operator.",
            "gauge",
        )?;
        writeln!(text, "{name}{{version=\"{}\"}} 1", escaped(self.version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_is() {
        let set = [("UpgradeEtcdVersion".to_owned(), true)];
        let about = About {
            version: "1.2.3",
            gates: Gates::new(&set.into()).unwrap(),
            lease: Some("the-lease"),
            leads: true,
        };
        let text = about.text();
        for line in [
            "leader_election_master_status{name=\"the-lease\"} 1",
            "kubernetes_feature_enabled{name=\"UseEtcdWrapper\",stage=\"\"} 1",
            "kubernetes_feature_enabled{name=\"UpgradeEtcdVersion\",stage=\"ALPHA\"} 1",
            "etcddruid_build_info{version=\"1.2.3\"} 1",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        let alone = About {
            lease: None,
            gates: Gates::default(),
            ..about
        };
        let text = alone.text();
        assert!(!text.contains("leader_election"), "{text}");
        assert!(text.contains("stage=\"ALPHA\"} 0"), "{text}");
        assert_eq!(text.matches("# TYPE").count(), 2, "{text}");
    }
}
