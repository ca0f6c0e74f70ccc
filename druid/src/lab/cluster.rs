//! The cluster as a whole: its directory, its ports, its members and the template.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use druid_core::make::Make;
#[cfg(test)]
use druid_core::make::Template;
use druid_core::member::MemberName;
use druid_core::observed::Process;
use druid_core::version::Version;
use nix::sys::signal::Signal;
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::binaries::{Binaries, BinaryError};
use super::config::{Config, Joins, TOKEN, Tuning};
use super::events::{Event, Events, What};
use super::ports::{Addresses, Held};
use super::seed::{Seed, SeedError, Seeded};
use super::shim::Shim;
use super::snapshot::Snapshots;
use super::supervisor::{Image, MemberError, Plan, Shared, Supervisor};
use super::workdir::WorkDir;
use super::{lock, probe};

/// How many members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// No fault tolerance, no mixed phase.
    One,
    /// One may be down.
    Three,
    /// Two may be down.
    Five,
}

/// Text that is no size.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("`{0}` members cannot be rehearsed with; choose 1, 3 or 5")]
pub(crate) struct ParseSizeError(String);

impl Size {
    /// As a number.
    pub(crate) fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Three => 3,
            Self::Five => 5,
        }
    }
}

impl FromStr for Size {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "1" => Ok(Self::One),
            "3" => Ok(Self::Three),
            "5" => Ok(Self::Five),
            other => Err(ParseSizeError(other.to_owned())),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.count().fmt(f)
    }
}

/// What to build.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// How many members.
    pub(crate) members: Size,
    /// What they run, and the first template.
    pub(crate) version: Version,
    /// Where releases come from.
    pub(crate) binaries: Binaries,
    /// How this program starts itself as a shim.
    pub(crate) shim: Shim,
    /// Where to make the directory; the system's place for temporary files if `None`.
    pub(crate) parent: Option<PathBuf>,
    /// The fault `bad-image`: a release that exits at its start.
    pub(crate) broken: Option<Version>,
    /// The configuration.
    pub(crate) tuning: Tuning,
    /// What it begins with; nothing if `None`.
    pub(crate) seed: Option<Seed>,
}

/// Why the lab does not do what it was told.
#[derive(Debug, Error)]
pub(crate) enum LabError {
    /// No binary.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// The directory cannot be made or written.
    #[error("{path}: {source}; give --dir a directory that you may write to")]
    Directory {
        /// What was to be made or written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The disk is full, or nearly so.
    #[error("{path}: the disk is full; free {} MiB, or give --dir a directory on another disk", need >> 20)]
    DiskFull {
        /// Where.
        path: PathBuf,
        /// Bytes that the members need for a start.
        need: u64,
    },
    /// No free ports.
    #[error("no free port on 127.0.0.1: {source}; end what uses them, or try again")]
    NoPort {
        /// What the system says.
        source: io::Error,
    },
    /// Other programs took the ports, again and again.
    #[error("{member}: another program took its port {times} times ({last_words}); try again")]
    PortTaken {
        /// Which.
        member: MemberName,
        /// How many times new ports were tried.
        times: u32,
        /// What it said.
        last_words: String,
    },
    /// A member cannot start.
    #[error("{member} ends at its start: {last_words}; try its binary by hand")]
    MemberEnds {
        /// Which.
        member: MemberName,
        /// What it said.
        last_words: String,
    },
    /// They run and do not become a cluster.
    #[error("the members were not healthy within {} s: {silent}; is this machine overloaded?", after.as_secs())]
    NotFormed {
        /// How long it was waited for.
        after: Duration,
        /// Those that are not.
        silent: String,
    },
    /// No such member.
    #[error("there is no member {member} in this lab")]
    NoSuchMember {
        /// What was asked for.
        member: MemberName,
    },
    /// A second member of a name.
    #[error("there is a member {member} in this lab already; choose another name")]
    NameTaken {
        /// Which.
        member: MemberName,
    },
    /// What it was to begin with cannot be had.
    #[error(transparent)]
    Seed(SeedError),
    /// The member refuses.
    #[error(transparent)]
    Member(#[from] MemberError),
}

/// A process and where it listens.
#[derive(Debug)]
struct Member {
    addresses: Addresses,
    supervisor: Supervisor,
}

/// A member that is not in the cluster yet; its ports are held.
#[derive(Debug)]
pub(crate) struct NewMember {
    name: MemberName,
    held: Held,
    addresses: Addresses,
}

impl NewMember {
    /// Where it will answer clients.
    #[cfg(test)]
    pub(crate) fn client(&self) -> std::net::SocketAddrV4 {
        self.addresses.client
    }

    /// What to give to `MemberAdd`.
    pub(crate) fn peer_url(&self) -> String {
        self.addresses.peer_url()
    }
}

/// A running cluster. Dropping it kills every process and removes the directory.
#[derive(Debug)]
pub(crate) struct Lab {
    spec: Spec,
    shared: Shared,
    members: BTreeMap<MemberName, Member>,
    /// Processes that the platform knows nothing of.
    strays: Mutex<BTreeMap<MemberName, Member>>,
    snapshots: Snapshots,
    seeded: Option<Seeded>,
    /// Last, so that the directory goes when nobody writes into it any more.
    dir: WorkDir,
}

/// How long members may take to become a cluster.
const FORMING: Duration = Duration::from_secs(30);
/// How often new ports are tried.
const PORT_TRIES: u32 = 4;
/// Two preallocated WAL segments, the database and some room for it.
const DISK_PER_MEMBER: u64 = 160 << 20;

impl Lab {
    /// Starts the members and waits until each is healthy.
    pub(crate) async fn start(spec: Spec) -> Result<Self, LabError> {
        Self::start_on(spec, |_| Held::pick()).await
    }

    /// `pick` gives the ports of one member; its argument counts the attempts.
    pub(super) async fn start_on(
        spec: Spec,
        pick: impl Fn(u32) -> io::Result<Held>,
    ) -> Result<Self, LabError> {
        let program = spec.binaries.resolve(spec.version).await?;
        let image = Image {
            make: Make::plain(spec.version),
            program,
        };
        let mut attempt = 0;
        loop {
            attempt += 1;
            let held = (0..spec.members.count())
                .map(|_| pick(attempt))
                .collect::<io::Result<Vec<_>>>()
                .map_err(|source| LabError::NoPort { source })?;
            let lab = Self::boot(spec.clone(), &image, held).await?;
            match lab.formed(attempt).await {
                Ok(()) => {
                    lab.configure()?;
                    return Ok(lab);
                }
                Err(LabError::PortTaken { .. }) if attempt < PORT_TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn boot(spec: Spec, image: &Image, held: Vec<Held>) -> Result<Self, LabError> {
        let founders = founders(held)?;
        let mut dir = directory(&spec)?;
        let mut seeded = None;
        if let Some(seed) = spec.seed.clone() {
            let urls =
                |(name, (at, _)): (&MemberName, &(Addresses, Held))| (name.clone(), at.peer_url());
            let planted = seed
                .plant(dir, founders.iter().map(urls).collect(), TOKEN)
                .await;
            let (back, what) = planted.map_err(|error| unseeded(&spec, error))?;
            dir = back;
            seeded = Some(what);
        }
        let mut lab = Self {
            shared: Shared {
                template: Arc::new(Mutex::new(image.clone())),
                processes: Arc::default(),
                events: Events::default(),
            },
            members: BTreeMap::new(),
            strays: Mutex::default(),
            snapshots: Snapshots::new(dir.path().to_owned()),
            seeded,
            spec,
            dir,
        };
        // Those that have data and start at once would each wait 7 s for the data of every other.
        let tuning = Tuning {
            initial_corrupt_check: lab.seeded.is_none() && lab.spec.tuning.initial_corrupt_check,
            ..lab.spec.tuning.clone()
        };
        let cluster = initial_cluster(founders.iter().map(|(name, (at, _))| (name, at)));
        for (name, (addresses, held)) in founders {
            let plan = lab.plan(&name, &addresses, &cluster, Joins::New, &tuning)?;
            drop(held);
            let supervisor = Supervisor::start(plan, image.clone(), lab.shared.clone());
            let member = Member {
                addresses,
                supervisor,
            };
            lab.members.insert(name, member);
        }
        Ok(lab)
    }

    /// Makes the member's directory and configuration file.
    fn plan(
        &self,
        name: &MemberName,
        addresses: &Addresses,
        cluster: &str,
        joins: Joins,
        tuning: &Tuning,
    ) -> Result<Plan, LabError> {
        let home = self.dir.path().join(&name.0);
        let plan = Plan {
            name: name.clone(),
            shim: self.spec.shim.clone(),
            broken: self.spec.broken,
            config: home.join("etcd.yaml"),
            log: home.join("etcd.log"),
            data: home.join("data"),
        };
        let config = Config::new(name, &plan.data, addresses, cluster, joins, tuning);
        // A founder's is there already if it was restored.
        fs::create_dir_all(&home).map_err(|error| unwritable(&home, error))?;
        write(&config, &plan.config)?;
        Ok(plan)
    }

    /// From the next start on, restored founders have the configuration that others began with.
    fn configure(&self) -> Result<(), LabError> {
        if self.seeded.is_none() {
            return Ok(());
        }
        let members = self.members.iter().map(|(name, m)| (name, &m.addresses));
        let cluster = initial_cluster(members.clone());
        for (name, addresses) in members {
            let home = self.dir.path().join(&name.0);
            let (data, tuning) = (home.join("data"), &self.spec.tuning);
            let config = Config::new(name, &data, addresses, &cluster, Joins::New, tuning);
            write(&config, &home.join("etcd.yaml"))?;
        }
        Ok(())
    }

    async fn formed(&self, attempt: u32) -> Result<(), LabError> {
        let until = Instant::now() + FORMING;
        loop {
            let mut silent = Vec::new();
            for (name, member) in &self.members {
                self.check_start(name, &member.supervisor, attempt)?;
                if !probe::healthy(member.addresses.client).await {
                    silent.push(name.to_string());
                }
            }
            if silent.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(LabError::NotFormed {
                    after: FORMING,
                    silent: silent.join(", "),
                });
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn check_start(
        &self,
        name: &MemberName,
        supervisor: &Supervisor,
        times: u32,
    ) -> Result<(), LabError> {
        let Process::Failing {
            exits, last_words, ..
        } = supervisor.process()
        else {
            return Ok(());
        };
        let member = name.clone();
        if last_words.contains("address already in use") {
            return Err(LabError::PortTaken {
                member,
                times,
                last_words,
            });
        }
        if last_words.contains("no space left on device") {
            return Err(LabError::DiskFull {
                path: self.dir.path().to_owned(),
                need: self.spec.members.count() as u64 * DISK_PER_MEMBER,
            });
        }
        if exits < 2 {
            return Ok(());
        }
        Err(LabError::MemberEnds { member, last_words })
    }

    /// The directory that everything is in.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves the directory where it is when the lab ends.
    pub(crate) fn keep(&mut self) {
        self.dir.keep();
    }

    /// The snapshots.
    pub(crate) fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// What the founders were made from, if not from nothing.
    pub(crate) fn seeded(&self) -> Option<&Seeded> {
        self.seeded.as_ref()
    }

    /// What happened so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.shared.events.all()
    }

    /// Where clients reach the members.
    pub(crate) fn client_urls(&self) -> BTreeMap<MemberName, String> {
        self.urls(Addresses::client_url)
    }

    fn urls(&self, url: impl Fn(&Addresses) -> String) -> BTreeMap<MemberName, String> {
        let url = |(name, member): (&MemberName, &Member)| (name.clone(), url(&member.addresses));
        self.members.iter().map(url).collect()
    }

    /// What the platform sees of the members.
    pub(crate) fn processes(&self) -> BTreeMap<MemberName, Process> {
        self.members
            .iter()
            .map(|(name, member)| (name.clone(), member.supervisor.process()))
            .collect()
    }

    /// The number of each process that there is, strays too.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests ask for it so far"))]
    pub(crate) fn pids(&self) -> BTreeMap<MemberName, u32> {
        let strays = lock(&self.strays);
        self.members
            .iter()
            .chain(strays.iter())
            .filter_map(|(name, member)| Some((name.clone(), member.supervisor.pid()?)))
            .collect()
    }

    /// What the next demanded restart brings.
    pub(crate) fn template(&self) -> Make {
        lock(&self.shared.template).make.clone()
    }

    /// Changes all of it but the release; touches no process.
    #[cfg(test)]
    pub(crate) fn ask_for(&self, template: Template) {
        lock(&self.shared.template).make.template = template;
    }

    /// Changes the release of it; touches no process.
    pub(crate) async fn set_template(&self, version: Version) -> Result<(), LabError> {
        if self.template().version == version {
            return Ok(());
        }
        let program = self.spec.binaries.resolve(version).await?;
        {
            let mut image = lock(&self.shared.template);
            image.make.version = version;
            image.program = program;
        }
        self.shared.events.push(What::TemplateSet { version });
        Ok(())
    }

    fn member(&self, name: &MemberName) -> Result<&Supervisor, LabError> {
        match self.members.get(name) {
            Some(member) => Ok(&member.supervisor),
            None => Err(LabError::NoSuchMember {
                member: name.clone(),
            }),
        }
    }

    /// See [`Supervisor::restart`].
    pub(crate) async fn restart(
        &self,
        name: &MemberName,
        expected_incarnation: u64,
    ) -> Result<(), LabError> {
        Ok(self.member(name)?.restart(expected_incarnation).await?)
    }

    /// SIGKILL; it comes back by itself.
    pub(crate) fn kill(&self, name: &MemberName) -> Result<(), LabError> {
        self.member(name)?.signal(Signal::SIGKILL);
        Ok(())
    }

    /// SIGSTOP: it stays a member and says nothing.
    pub(crate) fn pause(&self, name: &MemberName) -> Result<(), LabError> {
        self.member(name)?.signal(Signal::SIGSTOP);
        Ok(())
    }

    /// SIGCONT.
    pub(crate) fn resume(&self, name: &MemberName) -> Result<(), LabError> {
        self.member(name)?.signal(Signal::SIGCONT);
        Ok(())
    }

    /// See [`Supervisor::hold_down`].
    pub(crate) async fn hold_down(&self, name: &MemberName) -> Result<(), LabError> {
        Ok(self.member(name)?.hold_down().await?)
    }

    /// See [`Supervisor::release`].
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests ask for it so far"))]
    pub(crate) async fn release(&self, name: &MemberName) -> Result<(), LabError> {
        Ok(self.member(name)?.release().await?)
    }

    /// See [`Supervisor::flip_byte`].
    pub(crate) async fn flip_byte(&self, name: &MemberName) -> Result<(), LabError> {
        Ok(self.member(name)?.flip_byte().await?)
    }

    /// Holds ports for one more member, which is not among those that the platform runs. Add its
    /// peer URL to the member list, then call [`Lab::add_member_process`].
    pub(crate) fn new_member(&self, name: MemberName) -> Result<NewMember, LabError> {
        if self.members.contains_key(&name) || lock(&self.strays).contains_key(&name) {
            return Err(LabError::NameTaken { member: name });
        }
        let no_port = |source| LabError::NoPort { source };
        let held = Held::pick().map_err(no_port)?;
        let addresses = held.addresses().map_err(no_port)?;
        Ok(NewMember {
            name,
            held,
            addresses,
        })
    }

    /// Starts it, as the template's release. Does not wait for it.
    pub(crate) fn add_member_process(&self, new: NewMember) -> Result<(), LabError> {
        let NewMember {
            name,
            held,
            addresses,
        } = new;
        let members = self.members.iter().map(|(name, m)| (name, &m.addresses));
        let cluster = initial_cluster(members.chain([(&name, &addresses)]));
        let tuning = &self.spec.tuning;
        let plan = self.plan(&name, &addresses, &cluster, Joins::Existing, tuning)?;
        let image = lock(&self.shared.template).clone();
        drop(held);
        let supervisor = Supervisor::start(plan, image, self.shared.clone());
        let member = Member {
            addresses,
            supervisor,
        };
        lock(&self.strays).insert(name, member);
        Ok(())
    }

    /// Stops every process in order, and removes the directory unless it is kept.
    pub(crate) async fn shutdown(self) {
        let strays = std::mem::take(&mut *lock(&self.strays));
        let all: Vec<_> = self.members.values().chain(strays.values()).collect();
        // Each ends in a task of its own: all at once, so that none waits for a quorum.
        let ends = all.iter().map(|member| member.supervisor.begin_end());
        for end in ends.collect::<Vec<_>>() {
            let _ = end.await;
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.shared.processes.close(Duration::from_secs(2));
    }
}

/// The members that it begins with, and the ports that are held for them.
fn founders(held: Vec<Held>) -> Result<BTreeMap<MemberName, (Addresses, Held)>, LabError> {
    let founder = |(number, held): (usize, Held)| {
        let addresses = held
            .addresses()
            .map_err(|source| LabError::NoPort { source })?;
        Ok((MemberName(format!("etcd-{number}")), (addresses, held)))
    };
    held.into_iter().enumerate().map(founder).collect()
}

/// Replaces it as a whole: a member may be about to read it.
fn write(config: &Config<'_>, path: &Path) -> Result<(), LabError> {
    let draft = path.with_extension("new");
    let text = config
        .to_yaml()
        .map_err(|error| unwritable(path, error.into()))?;
    fs::write(&draft, text)
        .and_then(|()| fs::rename(&draft, path))
        .map_err(|error| unwritable(path, error))
}

fn unseeded(spec: &Spec, error: SeedError) -> LabError {
    if error.is_full_disk() {
        LabError::DiskFull {
            path: spec.parent.clone().unwrap_or_else(std::env::temp_dir),
            need: spec.members.count() as u64 * DISK_PER_MEMBER,
        }
    } else {
        LabError::Seed(error)
    }
}

fn initial_cluster<'a>(members: impl Iterator<Item = (&'a MemberName, &'a Addresses)>) -> String {
    let pairs: Vec<_> = members
        .map(|(name, at)| format!("{name}={}", at.peer_url()))
        .collect();
    pairs.join(",")
}

fn directory(spec: &Spec) -> Result<WorkDir, LabError> {
    let parent = spec.parent.clone().unwrap_or_else(std::env::temp_dir);
    let need = spec.members.count() as u64 * DISK_PER_MEMBER;
    // Where the system cannot say how much is free, a full disk shows when it is written to; what
    // has no blocks at all is no disk.
    if let Ok(disk) = nix::sys::statvfs::statvfs(&parent)
        && disk.blocks() > 0
    {
        let free = disk.blocks_available().saturating_mul(disk.fragment_size());
        if free < need {
            return Err(LabError::DiskFull { path: parent, need });
        }
    }
    WorkDir::new(&parent).map_err(|error| unwritable(&parent, error))
}

fn unwritable(path: &Path, source: io::Error) -> LabError {
    let path = path.to_owned();
    if source.kind() == io::ErrorKind::StorageFull {
        let need = DISK_PER_MEMBER;
        LabError::DiskFull { path, need }
    } else {
        LabError::Directory { path, source }
    }
}
