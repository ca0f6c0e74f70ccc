//! kube-apiserver with etcd behind it: objects, watches, authentication, authorization, admission
//! by CRDs and policies. No controller runs: nothing makes pods of a `StatefulSet`, nothing is
//! collected as garbage, a namespace that is deleted stays `Terminating`.

use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::kubeconfig::{AUDIT_POLICY, kubeconfig};
use super::layout::{Layout, write_private};
use super::node::room;
use super::pki::{self, PkiError};
use super::ports;
use super::process::{Component, ProcessError};
use super::site::{NODE_PORT, Site};
use super::tools::{Tools, ToolsError};

/// It takes 5 s on two idle cores.
const READY_WITHIN: Duration = Duration::from_secs(90);
const POLL_EVERY: Duration = Duration::from_millis(100);
/// From closing its standard input to its end.
const ENDED_WITHIN: Duration = Duration::from_secs(5);
/// How much of a log is shown when a component fails.
const LAST_LINES: usize = 8;

/// Why there is no control plane.
#[derive(Debug, Error)]
pub enum ControlPlaneError {
    /// The components could not be built.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// etcd is not for this kind of machine.
    #[error("there is no etcd 3.5.27 for this kind of machine: {0}")]
    Etcd(String),
    /// Certificates could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A component did not start.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// No port is free.
    #[error("no free port on 127.0.0.1: {0}")]
    Ports(io::Error),
    /// The path cannot be told to the components.
    #[error("{} is no absolute path in UTF-8; choose another directory", .0.display())]
    Path(PathBuf),
    /// A file could not be read or written.
    #[error("{}: {source}; free some space or choose another directory", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A component ended before the API server was ready.
    #[error("{component} ended before the API server was ready. {} ends with:\n{last}", log.display())]
    Ended {
        /// Which.
        component: &'static str,
        /// Where it says why.
        log: PathBuf,
        /// The end of that.
        last: String,
    },
    /// The API server was not ready in time.
    #[error(
        "the API server was not ready within {READY_WITHIN:?}; is the machine busy? {} ends with:\n{last}",
        log.display()
    )]
    NotReady {
        /// Where it says why.
        log: PathBuf,
        /// The end of that.
        last: String,
    },
}

/// What is to be started, and where its files and ports are.
#[derive(Debug)]
pub(crate) struct Plan {
    site: Site,
    layout: Layout,
    /// The same files, as the components see them.
    seen: Layout,
    tools: Tools,
    etcd_port: u16,
    peer_port: u16,
    port: u16,
}

impl Plan {
    /// Chooses ports, makes certificates, and writes whatever the components read.
    pub(crate) fn prepare(
        layout: Layout,
        tools: Tools,
        site: Site,
    ) -> Result<Self, ControlPlaneError> {
        let (ports, is_node) = match site {
            Site::Machine => (ports::free().map_err(ControlPlaneError::Ports)?, false),
            Site::Node(_) => ([2379, 2380, NODE_PORT], true),
        };
        let [etcd_port, peer_port, port] = ports;
        let plan = Self {
            site,
            seen: site.seen(&layout),
            layout,
            tools,
            etcd_port,
            peer_port,
            port,
        };
        let mut names = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "127.0.0.1",
        ]
        .map(str::to_owned)
        .to_vec();
        names.extend([site.address(), site.service_of_the_api()].map(|it| it.to_string()));
        pki::make(&plan.layout, &names, is_node)?;
        let path = plan.layout.kubeconfig();
        let failed = |path| |source| ControlPlaneError::File { path, source };
        let text =
            kubeconfig(&plan.layout, &plan.server(), pki::ADMIN).map_err(failed(path.clone()))?;
        write_private(&path, &text).map_err(failed(path))?;
        let path = plan.layout.audit_policy();
        write_private(&path, AUDIT_POLICY).map_err(failed(path))?;
        Ok(plan)
    }

    pub(crate) fn server(&self) -> String {
        format!("https://{}:{}", self.site.address(), self.port)
    }

    /// In the order in which they are started.
    pub(crate) fn components(&self) -> Result<[Component; 2], ControlPlaneError> {
        let (etcd, kube_apiserver) = match self.site {
            Site::Machine => (etcd()?, self.tools.kube_apiserver()),
            Site::Node(_) => (room::ETCD.into(), room::component("kube-apiserver")),
        };
        Ok([
            Component {
                name: "etcd",
                program: etcd,
                arguments: self.etcd_arguments()?,
            },
            Component {
                name: "kube-apiserver",
                program: kube_apiserver,
                arguments: self.apiserver_arguments()?,
            },
        ])
    }

    fn etcd_arguments(&self) -> Result<Vec<String>, ControlPlaneError> {
        let client = format!("http://127.0.0.1:{}", self.etcd_port);
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        Ok(vec![
            "--name=etcd".to_owned(),
            flag("--data-dir", &self.seen.etcd())?,
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=etcd={peer}"),
            // Whoever wants this cluster after a power failure makes another one.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ])
    }

    fn apiserver_arguments(&self) -> Result<Vec<String>, ControlPlaneError> {
        let files = &self.seen;
        let mut arguments = vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            format!("--secure-port={}", self.port),
            format!("--advertise-address={}", self.site.address()),
            flag("--client-ca-file", &files.ca())?,
            flag("--tls-cert-file", &files.certificate(pki::API_SERVER))?,
            flag("--tls-private-key-file", &files.key(pki::API_SERVER))?,
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            flag(
                "--service-account-key-file",
                &files.service_account_public(),
            )?,
            flag(
                "--service-account-signing-key-file",
                &files.key(pki::SERVICE_ACCOUNT),
            )?,
            format!("--service-cluster-ip-range={}", self.site.services()),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--allow-privileged".to_owned(),
            "--profiling=false".to_owned(),
            flag("--audit-policy-file", &files.audit_policy())?,
            flag("--audit-log-path", &files.audit_log())?,
            // In MB. Requests are counted in it, so it is not to be cut.
            "--audit-log-maxsize=4096".to_owned(),
        ];
        match self.site {
            Site::Machine => arguments.extend([
                "--bind-address=127.0.0.1".to_owned(),
                // A loopback address must not be an endpoint of a service.
                "--endpoint-reconciler-type=none".to_owned(),
                // It wants the account `default` of each namespace, which a controller makes.
                "--disable-admission-plugins=ServiceAccount".to_owned(),
            ]),
            Site::Node(_) => arguments.extend([
                // All addresses of the node, which this machine alone can reach.
                "--bind-address=0.0.0.0".to_owned(),
                flag(
                    "--kubelet-client-certificate",
                    &files.certificate(pki::KUBELET_CLIENT),
                )?,
                flag("--kubelet-client-key", &files.key(pki::KUBELET_CLIENT))?,
                "--kubelet-preferred-address-types=InternalIP".to_owned(),
            ]),
        }
        Ok(arguments)
    }

    /// Until the API server answers that it is ready and the namespace `default` is there.
    pub(crate) fn await_ready(
        &self,
        running: &mut [(&'static str, Child)],
    ) -> Result<(), ControlPlaneError> {
        let start = Instant::now();
        loop {
            for (component, child) in &mut *running {
                if !matches!(child.try_wait(), Ok(None)) {
                    let log = self.layout.log(component);
                    let last = last_lines(&log);
                    return Err(ControlPlaneError::Ended {
                        component,
                        log,
                        last,
                    });
                }
            }
            // kubectl costs more than a connection.
            let listens = TcpStream::connect((self.site.address(), self.port)).is_ok();
            if listens && is_ready(&self.tools, &self.layout) {
                return Ok(());
            }
            if start.elapsed() > READY_WITHIN {
                let log = self.layout.log("kube-apiserver");
                let last = last_lines(&log);
                return Err(ControlPlaneError::NotReady { log, last });
            }
            std::thread::sleep(POLL_EVERY);
        }
    }
}

/// Whether the API server answers that it is ready, and the namespace `default` is there.
pub(crate) fn is_ready(tools: &Tools, layout: &Layout) -> bool {
    ["/readyz", "/api/v1/namespaces/default"]
        .iter()
        .all(|path| {
            kubectl(tools, layout)
                .args(["get", "--request-timeout=5s", "--raw", path])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
}

/// kubectl as the administrator. It leaves nothing in the home directory and takes nothing from it.
pub(crate) fn kubectl(tools: &Tools, layout: &Layout) -> Command {
    let mut command = Command::new(tools.kubectl());
    command
        .env("KUBECONFIG", layout.kubeconfig())
        .env("KUBECACHEDIR", layout.kubectl_cache())
        .env("KUBERC", "off");
    command
}

/// The etcd that keeps the objects.
pub(crate) fn etcd() -> Result<PathBuf, ControlPlaneError> {
    etcd35::etcd_bin_path()
        .map(ToOwned::to_owned)
        .map_err(|why| ControlPlaneError::Etcd(why.to_string()))
}

pub(crate) fn flag(name: &str, path: &Path) -> Result<String, ControlPlaneError> {
    match path.to_str() {
        Some(text) if path.is_absolute() => Ok(format!("{name}={text}")),
        Some(_) | None => Err(ControlPlaneError::Path(path.to_owned())),
    }
}

pub(crate) fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

/// A control plane of its own on free ports, for a test. It ends when it is dropped, and also when
/// the program that started it ends in any other way.
#[derive(Debug)]
pub struct ControlPlane {
    layout: Layout,
    tools: Tools,
    server: String,
    running: Vec<(&'static str, Child)>,
}

impl ControlPlane {
    /// Starts one that keeps its files in `directory`, which has to be an absolute path, and waits
    /// until it is ready: 5 s, and some minutes more the first time, when it is built.
    pub fn start(directory: &Path) -> Result<Self, ControlPlaneError> {
        let plan = Plan::prepare(
            Layout::new(directory),
            Tools::control_plane()?,
            Site::Machine,
        )?;
        let mut control_plane = Self {
            layout: plan.layout.clone(),
            tools: plan.tools.clone(),
            server: plan.server(),
            running: Vec::new(),
        };
        for component in plan.components()? {
            let child = component.leashed(&plan.tools.leash(), &plan.layout)?;
            control_plane.running.push((component.name, child));
        }
        plan.await_ready(&mut control_plane.running)?;
        Ok(control_plane)
    }

    /// Where it is: `https://127.0.0.1:PORT`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Its files: kubeconfig, certificates, logs.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Command {
        kubectl(&self.tools, &self.layout)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            drop(child.stdin.take());
        }
        let start = Instant::now();
        for (_, child) in &mut self.running {
            while matches!(child.try_wait(), Ok(None)) {
                if start.elapsed() > ENDED_WITHIN {
                    let _ = child.kill();
                    let _ = child.wait();
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
