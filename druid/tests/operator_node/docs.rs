//! The commands of the guides, as they stand there.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use tempfile::TempDir;

use crate::common_operator::etcd::Address;
use crate::common_operator::space::{Space, condition};
use crate::common_operator::writer::Writer;
use crate::common_operator::{NEW, OLD, Operator};
use crate::recovery::{await_loss, destroy, leader, others};

/// A block of a guide.
pub(crate) enum Block {
    /// Commands, and the code that they end with.
    Shell(String, i32),
    /// An object.
    Object(String),
}

/// The blocks of a guide, in order.
pub(crate) fn blocks(guide: &str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(guide);
    let text = std::fs::read_to_string(path).unwrap();
    let mut blocks = Vec::new();
    let mut fences = text.split("\n```").skip(1);
    while let (Some(inside), Some(_)) = (fences.next(), fences.next()) {
        let (kind, body) = inside.split_once('\n').unwrap();
        let body = body.to_owned();
        blocks.push(match kind.split_once(" exit=") {
            Some(("sh", code)) => Block::Shell(body, code.parse().unwrap()),
            None if kind == "sh" => Block::Shell(body, 0),
            None if kind == "yaml" => Block::Object(body),
            Some(_) | None => panic!("{guide}: nobody runs a block of {kind}"),
        });
    }
    assert!(blocks.len() > 3, "{guide}");
    blocks
}

impl Block {
    /// The same about an Etcd of another name than `main`.
    pub(crate) fn about(self, name: &str) -> Self {
        let renamed = |text: String| {
            let ends = ["/main ", "=main,", " main "];
            ends.iter().fold(text, |text, end| {
                text.replace(end, &end.replace("main", name))
            })
        };
        match self {
            Self::Shell(commands, code) => Self::Shell(renamed(commands), code),
            Self::Object(object) => Self::Object(renamed(object)),
        }
    }
}

/// kubectl with its plugin, in the namespace of a test.
pub(crate) struct Shell {
    dir: TempDir,
}

impl Shell {
    pub(crate) fn new(space: &Space) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cluster = &space.operator.cluster;
        let kubectl = cluster.kubectl_alone();
        symlink(kubectl.get_program(), dir.path().join("kubectl")).unwrap();
        symlink(cargo_bin("druid"), dir.path().join("kubectl-druid")).unwrap();
        let config = cluster.kubectl(&["config", "view", "--raw", "--flatten"]);
        std::fs::write(dir.path().join("config"), config).unwrap();
        let shell = Self { dir };
        let namespace = format!(
            "kubectl config set-context --current --namespace={}",
            space.name
        );
        shell.run(&namespace, 0);
        shell
    }

    fn run(&self, commands: &str, code: i32) {
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", commands])
            .env("PATH", format!("{}:{path}", self.dir.path().display()))
            .env("KUBECONFIG", self.dir.path().join("config"))
            .env("KUBECACHEDIR", self.dir.path().join("cache"))
            .env("KUBERC", "off")
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        let said = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
        eprintln!("$ {commands}\n{}{}", said[0], said[1]);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{commands}\n{}{}",
            said[0],
            said[1]
        );
    }

    pub(crate) fn follow(&self, blocks: impl IntoIterator<Item = Block>) {
        for block in blocks {
            match block {
                Block::Shell(commands, code) => self.run(&commands, code),
                Block::Object(object) => {
                    let file = self.dir.path().join("object.yaml");
                    std::fs::write(&file, object).unwrap();
                    self.run("kubectl apply --dry-run=server -f object.yaml", 0);
                }
            }
        }
    }
}

/// A cluster that has been backed up once.
fn backed_up(space: &Space) -> Writer {
    space.ready("main", &space.spec("main"));
    space.until("main", "is backed up", |it| {
        (condition(it, "BackupReady") == "True").then_some(())
    });
    Writer::start(Address::plain(space.client("main")))
}

#[test]
fn the_upgrade_guide_leads_up_and_back_again() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "guide-upgrade");
    let writer = backed_up(&space);
    Shell::new(&space).follow(blocks("upgrade.md"));
    space.await_release("main", OLD);
    assert!(!space.versions("main", None).contains(NEW));
    writer.finish();
}

#[test]
fn the_guide_to_the_plugin_leaves_the_cluster_as_it_was() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "guide-plugin");
    let writer = backed_up(&space);
    Shell::new(&space).follow(blocks("plugin.md"));
    space.await_ready("main");
    writer.finish();
}

#[test]
fn the_recovery_guide_brings_a_cluster_back() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "guide-recovery");
    let writer = backed_up(&space);
    let survivor = leader(&space);
    destroy(&space, &others(&survivor));
    await_loss(&space);
    Shell::new(&space).follow(blocks("recovery.md"));
    space.await_ready("main");
    writer.finish();
}
