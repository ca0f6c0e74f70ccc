//! Keystone and Swift of OpenStack: an identity service with a database in a file, and a node of one
//! device that is a directory.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Process;
use super::{BUCKET, free_address, http, tools, write_fields};

const USER: &str = "tester";
const PASSWORD: &str = "tester-secret";
const PROJECT: &str = "backups";
const REGION: &str = "eu";
/// The kinds of servers below the proxy.
const KEEPERS: [&str; 3] = ["account", "container", "object"];
/// How many names Swift gives at once here; it is 10 000 where nobody changes it.
pub(crate) const PAGE: usize = 500;

/// Both, with an account and an empty container.
#[derive(Debug)]
pub(crate) struct OpenStack {
    keystone: Process,
    proxy: Process,
    keepers: Vec<Process>,
    dir: TempDir,
}

impl OpenStack {
    /// Starts them, if there can be any on this machine.
    pub(crate) fn start() -> Option<Self> {
        let tool = tools::python("openstack", prepare_identity)?;
        let dir = TempDir::new().unwrap();
        let [identity, proxy] = [(); 2].map(|()| free_address());
        let ports = KEEPERS.map(|it| (it, free_address()));
        let keystone = start_identity(&tool, dir.path(), identity);
        write_rings(&tool, dir.path(), &ports);
        let start = |kind: &str, address, text: String| {
            let settings = dir.path().join(format!("{kind}.conf"));
            fs::write(&settings, text).unwrap();
            let mut command = Command::new(tool.join(format!("bin/swift-{kind}-server")));
            command.arg(settings).env("PYTHONWARNINGS", "ignore");
            let log = dir.path().join(format!("{kind}.log"));
            Process::spawn(&mut command, address, &log)
        };
        let keepers = ports.map(|(kind, address)| {
            let settings = keeper_settings(kind, dir.path(), address);
            start(kind, address, settings)
        });
        let settings = proxy_settings(dir.path(), proxy, identity);
        let mut stack = Self {
            keystone,
            proxy: start("proxy", proxy, settings),
            keepers: keepers.into(),
            dir,
        };
        stack.keystone.wait();
        stack.proxy.wait();
        stack.keepers.iter_mut().for_each(Process::wait);
        stack.offer(&format!("http://{proxy}"));
        stack.create_container();
        Some(stack)
    }

    /// Where Swift listens.
    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.proxy.address()
    }

    /// Says in the catalogue where Swift is, from now on.
    pub(crate) fn offer(&self, url: &str) {
        let (token, _) = self.log_in();
        let headers = [
            ("X-Auth-Token", token.as_str()),
            ("Content-Type", "application/json"),
        ];
        let ask = |method: &str, path: &str, body: &Value| {
            let url = format!("http://{}/v3/{path}", self.keystone.address());
            let body = if body.is_null() {
                String::new()
            } else {
                body.to_string()
            };
            let answer = http::ask(method, &url, &headers, &body).body;
            serde_json::from_str::<Value>(&answer).unwrap_or_default()
        };
        let found = ask("GET", "endpoints", &Value::Null);
        for old in found["endpoints"].as_array().into_iter().flatten() {
            let id = old["id"].as_str().unwrap();
            ask("DELETE", &format!("endpoints/{id}"), &Value::Null);
        }
        let identity = format!("http://{}/v3", self.keystone.address());
        let store = format!("{url}/v1/AUTH_$(project_id)s");
        for (kind, url) in [("identity", identity), ("object-store", store)] {
            let found = ask("GET", &format!("services?type={kind}"), &Value::Null);
            let id = if let Some(id) = found["services"][0]["id"].as_str() {
                id.to_owned()
            } else {
                let service = json!({"service": {"type": kind, "name": kind}});
                let made = ask("POST", "services", &service);
                made["service"]["id"].as_str().unwrap().to_owned()
            };
            let endpoint = json!({"interface": "public", "region": REGION, "service_id": id,
                "url": url});
            ask("POST", "endpoints", &json!({"endpoint": endpoint}));
        }
    }

    /// What a program needs in its environment, with the right password or another.
    pub(crate) fn variables(&self, right: bool) -> Vec<(String, String)> {
        let password = if right { PASSWORD } else { "wrong" };
        let fields = [
            ("authURL", format!("http://{}/v3", self.keystone.address())),
            ("domainName", "Default".to_owned()),
            ("tenantName", PROJECT.to_owned()),
            ("region", REGION.to_owned()),
            ("username", USER.to_owned()),
            ("password", password.to_owned()),
        ];
        let fields = fields.each_ref().map(|(name, it)| (*name, it.as_str()));
        let directory = write_fields(self.dir.path(), &format!("credentials-{right}"), &fields);
        vec![("OPENSTACK_APPLICATION_CREDENTIALS".to_owned(), directory)]
    }

    /// The same account as `OS_*`, with a credential that was made for an application.
    pub(crate) fn application(&self) -> Vec<(String, String)> {
        let (token, granted) = self.log_in();
        let user = granted["token"]["user"]["id"].as_str().unwrap();
        let url = format!(
            "http://{}/v3/users/{user}/application_credentials",
            self.keystone.address()
        );
        let headers = [
            ("X-Auth-Token", token.as_str()),
            ("Content-Type", "application/json"),
        ];
        let body = json!({"application_credential": {"name": "druid"}}).to_string();
        let made: Value =
            serde_json::from_str(&http::ask("POST", &url, &headers, &body).body).unwrap();
        let of_made = |field: &str| {
            let value = &made["application_credential"][field];
            value.as_str().unwrap().to_owned()
        };
        [
            (
                "OS_AUTH_URL",
                format!("http://{}/v3", self.keystone.address()),
            ),
            ("OS_DOMAIN_NAME", "Default".to_owned()),
            ("OS_TENANT_NAME", PROJECT.to_owned()),
            ("OS_REGION_NAME", REGION.to_owned()),
            ("OS_APPLICATION_CREDENTIAL_ID", of_made("id")),
            ("OS_APPLICATION_CREDENTIAL_SECRET", of_made("secret")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Every object of the container, those that others consist of too.
    pub(crate) fn objects(&self) -> Vec<String> {
        let (token, url) = self.container();
        let mut names: Vec<String> = Vec::new();
        loop {
            let marker = names.last().cloned().unwrap_or_default();
            let page = format!("{url}?marker={marker}");
            let answer = http::ask("GET", &page, &[("X-Auth-Token", &token)], "");
            if answer.body.is_empty() {
                return names;
            }
            names.extend(answer.body.lines().map(str::to_owned));
        }
    }

    fn create_container(&self) {
        let (token, url) = self.container();
        http::ask("PUT", &url, &[("X-Auth-Token", &token)], "");
    }

    /// A token, and the address of the container without anything between.
    fn container(&self) -> (String, String) {
        let (token, granted) = self.log_in();
        let project = granted["token"]["project"]["id"].as_str().unwrap();
        let url = format!("http://{}/v1/AUTH_{project}/{BUCKET}", self.address());
        (token, url)
    }

    fn log_in(&self) -> (String, Value) {
        let domain = json!({"name": "Default"});
        let user = json!({"name": USER, "password": PASSWORD, "domain": domain});
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": PROJECT, "domain": domain}},
        }});
        let url = format!("http://{}/v3/auth/tokens", self.keystone.address());
        let json = [("Content-Type", "application/json")];
        let answer = http::ask("POST", &url, &json, &body.to_string());
        let token = answer.header("X-Subject-Token").unwrap().to_owned();
        (token, serde_json::from_str(&answer.body).unwrap())
    }
}

/// The database and the keys that every Keystone here begins with.
fn prepare_identity(tool: &Path) {
    let seed = tool.join("identity");
    fs::create_dir_all(seed.join("keys")).unwrap();
    let settings = identity_settings(&seed);
    let manage = |words: &[&str]| {
        let mut command = Command::new(tool.join("bin/keystone-manage"));
        command.arg("--config-file").arg(&settings).args(words);
        tools::run(command, "see the log beside its configuration");
    };
    manage(&["db_sync"]);
    // Whoever runs this owns the keys.
    manage(&[
        "fernet_setup",
        "--keystone-user=root",
        "--keystone-group=root",
    ]);
    manage(&[
        "bootstrap",
        &format!("--bootstrap-username={USER}"),
        &format!("--bootstrap-password={PASSWORD}"),
        &format!("--bootstrap-project-name={PROJECT}"),
        &format!("--bootstrap-region-id={REGION}"),
    ]);
}

fn identity_settings(directory: &Path) -> PathBuf {
    let at = directory.display();
    let settings = directory.join("keystone.conf");
    let text = format!(
        "[DEFAULT]\nlog_file = {at}/keystone.log\n\
         [database]\nconnection = sqlite:///{at}/keystone.db\n\
         [fernet_tokens]\nkey_repository = {at}/keys\n\
         [fernet_receipts]\nkey_repository = {at}/keys\n\
         [credential]\nkey_repository = {at}/keys\n\
         [identity]\npassword_hash_rounds = 4\n\
         [cache]\nenabled = false\n"
    );
    fs::write(&settings, text).unwrap();
    settings
}

fn start_identity(tool: &Path, directory: &Path, address: SocketAddrV4) -> Process {
    let (seed, place) = (tool.join("identity"), directory.join("identity"));
    fs::create_dir_all(place.join("keys")).unwrap();
    fs::copy(seed.join("keystone.db"), place.join("keystone.db")).unwrap();
    for key in fs::read_dir(seed.join("keys")).unwrap() {
        let key = key.unwrap();
        fs::copy(key.path(), place.join("keys").join(key.file_name())).unwrap();
    }
    let serve = format!(
        "from werkzeug.serving import run_simple\n\
         from keystone.wsgi.api import application\n\
         run_simple('127.0.0.1', {}, application, threaded=True)",
        address.port()
    );
    let mut command = Command::new(tool.join("bin/python"));
    command
        .args(["-W", "ignore", "-c", &serve])
        .env("OS_KEYSTONE_CONFIG_FILES", identity_settings(&place));
    Process::spawn(&mut command, address, &directory.join("keystone.log"))
}

/// Which server keeps what: each everything.
fn write_rings(tool: &Path, directory: &Path, ports: &[(&str, SocketAddrV4)]) {
    let ring = |(kind, address): &(&str, SocketAddrV4)| {
        let (port, at) = (address.port(), directory.display());
        format!(
            "it = RingBuilder(1, 1, 1)\n\
             it.add_dev({{'region': 1, 'zone': 1, 'ip': '127.0.0.1', 'port': {port},\n\
             \x20 'device': 'd1', 'weight': 1}})\n\
             it.rebalance()\n\
             it.get_ring().save('{at}/{kind}.ring.gz')\n"
        )
    };
    let rings: Vec<String> = ports.iter().map(ring).collect();
    let program = format!(
        "from swift.common.ring import RingBuilder\n{}",
        rings.concat()
    );
    fs::create_dir_all(directory.join("devices/d1")).unwrap();
    let text = format!(
        "[swift-hash]\nswift_hash_path_suffix = tests\n\
         [storage-policy:0]\nname = one\ndefault = yes\n\
         [swift-constraints]\ncontainer_listing_limit = {PAGE}\n"
    );
    fs::write(directory.join("swift.conf"), text).unwrap();
    let mut command = Command::new(tool.join("bin/python"));
    command.args(["-W", "ignore", "-c", &program]);
    tools::run(command, "see the program");
}

fn common_settings(directory: &Path, address: SocketAddrV4) -> String {
    let (port, at) = (address.port(), directory.display());
    format!(
        "[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\nuser = root\n\
         swift_dir = {at}\ndevices = {at}/devices\nmount_check = false\n\
         disable_fallocate = true\ndb_preallocation = off\nlog_level = WARNING\n"
    )
}

fn keeper_settings(kind: &str, directory: &Path, address: SocketAddrV4) -> String {
    let common = common_settings(directory, address);
    format!(
        "{common}[pipeline:main]\npipeline = {kind}-server\n\
         [app:{kind}-server]\nuse = egg:swift#{kind}\n"
    )
}

/// With the middleware that every Swift has, and tokens of Keystone.
fn proxy_settings(directory: &Path, address: SocketAddrV4, identity: SocketAddrV4) -> String {
    let common = common_settings(directory, address);
    let filters = ["catch_errors", "gatekeeper", "bulk", "slo", "dlo"];
    let filters = filters.map(|it| format!("[filter:{it}]\nuse = egg:swift#{it}\n"));
    let filters = filters.concat();
    format!(
        "{common}[pipeline:main]\n\
         pipeline = catch_errors gatekeeper bulk tokens roles slo dlo proxy-server\n\
         {filters}\
         [app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n\
         [filter:roles]\nuse = egg:swift#keystoneauth\noperator_roles = admin\n\
         [filter:tokens]\n\
         paste.filter_factory = keystonemiddleware.auth_token:filter_factory\n\
         www_authenticate_uri = http://{identity}/v3\nauth_url = http://{identity}/v3\n\
         interface = public\nauth_type = password\n\
         username = {USER}\npassword = {PASSWORD}\nproject_name = {PROJECT}\n\
         user_domain_name = Default\nproject_domain_name = Default\n\
         delay_auth_decision = true\n"
    )
}
