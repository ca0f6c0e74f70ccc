//! The load: `druid load` on this machine, which finds members by the cluster's name server.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::Duration;

use druid_core::demo::{Account, Ask, Said};
use jiff::Timestamp;

use super::stage::{ETCD, NAMESPACE};

/// How long it may take to begin.
const BEGINS: Duration = Duration::from_mins(1);
/// How long it may take to judge all that it has written down.
const JUDGES: Duration = Duration::from_mins(5);
/// It runs where another name server is asked.
const WITH_NAMES: &str = r#"mount --bind "$1" /etc/resolv.conf; shift; exec "$@""#;

/// One that runs until it is dropped.
pub(super) struct Load {
    child: Child,
    ask: ChildStdin,
    said: Receiver<Said>,
}

impl Load {
    /// Puts it on the first members. `log`: where it says what nobody asked for.
    pub(super) fn start(
        druid: &Path,
        members: u32,
        seed: u64,
        origin: Timestamp,
        names: Ipv4Addr,
        directory: &Path,
    ) -> Result<Self, Box<dyn Error>> {
        let resolv = directory.join("resolv.conf");
        std::fs::write(&resolv, format!("nameserver {names}\noptions ndots:1\n"))?;
        let url = |it: u32| {
            format!("{ETCD}-{it}=http://{ETCD}-{it}.{ETCD}-peer.{NAMESPACE}.svc.cluster.local:2379")
        };
        let members: Vec<_> = (0..members).map(url).collect();
        let mut child = Command::new("unshare")
            .args(["--mount", "--", "sh", "-ec", WITH_NAMES, "sh"])
            .arg(&resolv)
            .arg(druid)
            .arg("load")
            .arg(format!("--members={}", members.join(",")))
            .arg(format!("--seed={seed}"))
            .arg(format!("--origin={origin}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(directory.join("load.log"))?)
            .spawn()?;
        let (Some(ask), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the load has no pipes; please report this".into());
        };
        let (tell, said) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let said = serde_json::from_str(&line)
                    .unwrap_or_else(|error| Said::Failed(format!("{error}: {line}")));
                if tell.send(said).is_err() {
                    return;
                }
            }
        });
        let mut load = Self { child, ask, said };
        match load.ask(&Ask::Start, BEGINS)? {
            Said::Started => Ok(load),
            said @ (Said::Passed(_) | Said::Ended(_) | Said::Reread(_) | Said::Failed(_)) => {
                Err(other(&said))
            }
        }
    }

    fn ask(&mut self, ask: &Ask, within: Duration) -> Result<Said, Box<dyn Error>> {
        writeln!(self.ask, "{}", serde_json::to_string(ask)?)?;
        self.ask.flush()?;
        match self.said.recv_timeout(within) {
            Ok(said) => Ok(said),
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("the load does not answer within {} s", within.as_secs()).into())
            }
            Err(RecvTimeoutError::Disconnected) => Err("the load has ended".into()),
        }
    }

    /// Why it could not go on, if it could not.
    pub(super) fn failed(&self) -> Option<String> {
        match self.said.try_recv() {
            Ok(Said::Failed(why)) => Some(why),
            Ok(said @ (Said::Started | Said::Passed(_) | Said::Ended(_) | Said::Reread(_))) => {
                Some(other(&said).to_string())
            }
            Err(TryRecvError::Disconnected) => Some("it has ended".to_owned()),
            Err(TryRecvError::Empty) => None,
        }
    }

    /// Stops all clients. What it came to; one that cannot say so has an account that says that.
    pub(super) fn stop(&mut self) -> Account {
        let account = match self.ask(&Ask::Stop, JUDGES) {
            Ok(Said::Ended(account)) => Ok(*account),
            Ok(said @ (Said::Started | Said::Passed(_) | Said::Reread(_) | Said::Failed(_))) => {
                Err(other(&said))
            }
            Err(error) => Err(error),
        };
        account.unwrap_or_else(|why| silent(&why.to_string()))
    }

    /// After it was stopped: what of that another etcd does not hold.
    pub(super) fn reread(&mut self, url: &str) -> Result<Vec<String>, Box<dyn Error>> {
        let url = url.to_owned();
        match self.ask(&Ask::Reread { url }, JUDGES)? {
            Said::Reread(broken) => Ok(broken),
            said @ (Said::Started | Said::Passed(_) | Said::Ended(_) | Said::Failed(_)) => {
                Err(other(&said))
            }
        }
    }
}

/// Nothing is known of what was written.
fn silent(why: &str) -> Account {
    Account {
        broken: vec![format!("nothing is known of the writes: {why}")],
        ..Account::default()
    }
}

fn other(said: &Said) -> Box<dyn Error> {
    match said {
        Said::Failed(why) => format!("the load: {why}").into(),
        Said::Started | Said::Passed(_) | Said::Ended(_) | Said::Reread(_) => {
            "the load answered another question; please report this".into()
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // If it has ended, that is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
