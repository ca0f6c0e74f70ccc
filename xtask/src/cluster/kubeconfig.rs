//! How clients are told of a cluster, and what the API server writes down of them.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use super::layout::Layout;

/// One line in the audit log for each request that was answered: who, what, when, how it ended;
/// not what was sent.
pub(crate) const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// A kubeconfig for the holder of a certificate, with everything in it. JSON is YAML too.
///
/// # Errors
/// A certificate or a key could not be read.
pub(crate) fn kubeconfig(layout: &Layout, server: &str, user: &str) -> io::Result<String> {
    let embedded = |path: &Path| std::fs::read(path).map(|bytes| BASE64.encode(bytes));
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "druid",
            "cluster": {
                "server": server,
                "certificate-authority-data": embedded(&layout.ca())?,
            },
        }],
        "users": [{
            "name": user,
            "user": {
                "client-certificate-data": embedded(&layout.certificate(user))?,
                "client-key-data": embedded(&layout.key(user))?,
            },
        }],
        "contexts": [{
            "name": "druid",
            "context": { "cluster": "druid", "user": user, "namespace": "default" },
        }],
        "current-context": "druid",
    });
    Ok(format!("{config:#}\n"))
}
