//! Who this process is, and where.

use crate::clock;

/// Where a pod is told its namespace.
const NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Who and where.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The name of the pod.
    pub(super) pod: Option<String>,
    /// How it is told from all other operators.
    pub(super) identity: String,
    /// Where the lease is.
    pub(super) namespace: String,
}

impl Place {
    /// From the environment; a process that is in no pod is in the namespace that it works on.
    pub(super) fn find(namespace: Option<&str>) -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let file = || std::fs::read_to_string(NAMESPACE).ok();
        let found = text("POD_NAMESPACE")
            .or_else(file)
            .or_else(|| namespace.map(str::to_owned));
        let pod = text("POD_NAME");
        Self {
            // A container that takes the place of one that died in the same pod need not wait for
            // the lease of that: the dead one does nothing any more.
            identity: pod
                .clone()
                .map_or_else(process, |pod| match text("POD_UID") {
                    Some(uid) => format!("{pod}_{uid}"),
                    None => pod,
                }),
            pod,
            namespace: found.map_or_else(|| "default".to_owned(), |it| it.trim().to_owned()),
        }
    }
}

/// Of this process alone, on whatever machine.
fn process() -> String {
    let host = nix::unistd::gethostname().ok();
    let host = host.and_then(|it| it.into_string().ok());
    format!(
        "{}_{}-{:x}",
        host.unwrap_or_else(|| "druid".to_owned()),
        std::process::id(),
        clock::now().as_nanosecond()
    )
}
