//! The components that run pods, and the files that they read.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::kubeconfig::kubeconfig;
use super::super::layout::{Layout, write_private};
use super::super::pki;
use super::super::process::Component;
use super::NodeError;
use super::network::Network;
use super::room::{component, seen};

/// The name of the node.
pub(crate) const NODE: &str = "node-0";
/// What holds the namespaces of a pod. It is in no registry.
pub(crate) const PAUSE_IMAGE: &str = "druid.local/pause:1";
const DOMAIN: &str = "cluster.local";

/// The one class of volumes: directories of the node, made and removed with their claims.
pub(crate) fn storage_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "host-path",
            "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
        },
        "provisioner": "kubernetes.io/host-path",
    })
}

/// What is to be started in a node beside the control plane.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) network: Network,
    pub(crate) server: &'a str,
    /// The control group of all pods.
    pub(crate) cgroup: &'a str,
    /// Where the plugins that connect pods are.
    pub(crate) cni_plugins: &'a Path,
}

impl Plan<'_> {
    /// Writes whatever the components read.
    pub(crate) fn write(&self) -> Result<(), NodeError> {
        for user in [
            pki::CONTROLLER_MANAGER,
            pki::KUBELET,
            pki::PROXY,
            pki::SCHEDULER,
        ] {
            let path = self.layout.kubeconfig_of(user);
            let text = kubeconfig(self.layout, self.server, user).map_err(file(&path))?;
            write_private(&path, &text).map_err(file(&path))?;
        }
        let kubelet = format!("{:#}\n", self.kubelet());
        let cni = format!("{:#}\n", self.cni());
        let directory = self.layout.directory();
        std::fs::create_dir_all(directory.join("cni")).map_err(file(directory))?;
        for (name, text) in [
            ("containerd.toml", self.containerd_config()),
            ("cni/druid.conflist", cni),
            ("kubelet.json", kubelet),
            ("Corefile", self.corefile()),
            // Names from outside are not for pods.
            ("resolv.conf", String::new()),
        ] {
            let path = directory.join(name);
            write_private(&path, &text).map_err(file(&path))?;
        }
        Ok(())
    }

    /// What can be started at once.
    pub(crate) fn containerd() -> Component {
        Component {
            name: "containerd",
            program: "containerd".into(),
            arguments: vec![format!("--config={}", path("containerd.toml"))],
        }
    }

    /// What wants an API server, and containerd.
    pub(crate) fn components(&self) -> [Component; 5] {
        let kubeconfig = |of| format!("--kubeconfig={}", seen().kubeconfig_of(of).display());
        let named = |name, arguments| Component {
            name,
            program: component(name),
            arguments,
        };
        let host = format!("--hostname-override={NODE}");
        [
            named(
                "kube-controller-manager",
                vec![
                    kubeconfig(pki::CONTROLLER_MANAGER),
                    format!(
                        "--service-account-private-key-file={}",
                        seen().key(pki::SERVICE_ACCOUNT).display()
                    ),
                    format!("--root-ca-file={}", seen().ca().display()),
                    "--leader-elect=false".to_owned(),
                    "--enable-hostpath-provisioner=true".to_owned(),
                    "--profiling=false".to_owned(),
                ],
            ),
            named(
                "kube-scheduler",
                vec![
                    kubeconfig(pki::SCHEDULER),
                    kubeconfig(pki::SCHEDULER).replace("--", "--authentication-"),
                    kubeconfig(pki::SCHEDULER).replace("--", "--authorization-"),
                    "--leader-elect=false".to_owned(),
                    // A pod whose claim is bound while it is found not to be is not heard of again for
                    // five minutes else.
                    "--pod-max-in-unschedulable-pods-duration=10s".to_owned(),
                    "--profiling=false".to_owned(),
                ],
            ),
            named(
                "kubelet",
                vec![
                    kubeconfig(pki::KUBELET),
                    host.clone(),
                    format!("--config={}", path("kubelet.json")),
                    format!("--node-ip={}", self.network.node()),
                ],
            ),
            named(
                "kube-proxy",
                vec![
                    kubeconfig(pki::PROXY),
                    host,
                    "--proxy-mode=iptables".to_owned(),
                    format!("--cluster-cidr={}", self.network.pods()),
                    // Limits of the whole machine, which no node may change.
                    "--conntrack-max-per-core=0".to_owned(),
                    "--conntrack-tcp-timeout-established=0s".to_owned(),
                    "--conntrack-tcp-timeout-close-wait=0s".to_owned(),
                ],
            ),
            named("coredns", vec![format!("-conf={}", path("Corefile"))]),
        ]
    }

    fn containerd_config(&self) -> String {
        let cni = self.cni_plugins.display();
        format!(
            r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{cni}"
  conf_dir = "{}"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
"#,
            seen().containerd_socket().display(),
            path("cni"),
        )
    }

    /// Each pod has its own link to the node. On a bridge, answers that pods give one another would
    /// pass by the rules for services, unless the kernel has a module for that.
    fn cni(&self) -> Value {
        json!({
            "cniVersion": "0.4.0",
            "name": "druid",
            "plugins": [
                {
                    "type": "ptp",
                    "ipMasq": false,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{ "subnet": self.network.pods() }]],
                        "routes": [{ "dst": "0.0.0.0/0" }],
                    },
                },
                { "type": "portmap", "capabilities": { "portMappings": true } },
            ],
        })
    }

    fn kubelet(&self) -> Value {
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": { "enabled": false },
                "webhook": { "enabled": true },
                "x509": { "clientCAFile": seen().ca() },
            },
            "authorization": { "mode": "Webhook" },
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}", self.cgroup),
            "clusterDNS": [self.network.node()],
            "clusterDomain": DOMAIN,
            "containerRuntimeEndpoint": format!("unix://{}", seen().containerd_socket().display()),
            // A full disk or a busy machine is not what is tested.
            "enforceNodeAllocatable": [],
            "evictionHard": {},
            "imageGCHighThresholdPercent": 100,
            "localStorageCapacityIsolation": false,
            "failCgroupV1": false,
            "failSwapOn": false,
            "maxPods": 500,
            "resolvConf": path("resolv.conf"),
            "serializeImagePulls": false,
        })
    }

    fn corefile(&self) -> String {
        format!(
            ".:53 {{
    bind {}
    errors
    ready
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        endpoint {}
        tls {} {} {}
        ttl 1
    }}
}}
",
            self.network.node(),
            self.server,
            seen().certificate(pki::DNS).display(),
            seen().key(pki::DNS).display(),
            seen().ca().display(),
        )
    }
}

/// A file of the cluster, as its components see it.
fn path(name: &str) -> String {
    seen().directory().join(name).display().to_string()
}

/// Makes an error of one that the system reported for a file.
pub(crate) fn file(path: &Path) -> impl Fn(io::Error) -> NodeError + use<> {
    let path: PathBuf = path.to_owned();
    move |source| NodeError::File {
        path: path.clone(),
        source,
    }
}
