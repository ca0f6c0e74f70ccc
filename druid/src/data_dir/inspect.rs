//! Looks at a data directory and changes nothing in it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use druid_core::backup::Revision;
use druid_core::backup::initialize::{Data, Looked, Probe};
use druid_core::bolt::{Reader, WalkError};
use druid_core::data_dir::ClusterId;
use druid_core::data_dir::alone::{Standing, standing};
use druid_core::data_dir::check::newest_revision;
use druid_core::data_dir::facts::{Database, RowDamage, Rows};
use druid_core::data_dir::members::{Stored, stored};
use druid_core::data_dir::snap_file::{self, Position, position_of_name};
use druid_core::data_dir::wal_read::{
    End, Overview, Pending, SegmentName, Segments, Tail, WalError, overview, tail,
};
use druid_core::member::MemberId;
use druid_core::mvcc::bucket;
use nix::fcntl::FlockArg;
use thiserror::Error;

use super::{DataDir, DataDirError, database_of, is_absent, snap_dir, wal_dir};
use crate::read_at::FileAt;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inspection {
    /// For the decision.
    pub(crate) data: Data,
    /// What the log says, if it was read and is whole.
    pub(crate) log: Option<LogFacts>,
}

/// What a log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogFacts {
    /// Whose it is.
    pub(crate) member: MemberId,
    /// Of which cluster.
    pub(crate) cluster: ClusterId,
    /// If it is torn, etcd cuts the last record off.
    pub(crate) end: End,
    /// What the database has not applied.
    pub(crate) pending: Pending,
}

/// Why a look at something ended.
enum Stop {
    /// It is broken, and how.
    Broken(String),
    /// It could not be looked at.
    Failed(DataDirError),
}

impl From<DataDirError> for Stop {
    fn from(error: DataDirError) -> Self {
        Self::Failed(error)
    }
}

/// The names in a directory; `None` if it is not there.
type Names = Option<Vec<String>>;

impl DataDir {
    /// Looks, as far as `probes` ask for. What is broken is part of the answer; an error is that it
    /// could not be read, of which nothing follows for what is in it.
    pub(crate) fn inspect(&self, probes: &[Probe]) -> Result<Inspection, DataDirError> {
        let seen = |data| Ok(Inspection { data, log: None });
        match fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                let path = self.path.clone();
                return Err(DataDirError::NotADirectory { path });
            }
            Err(error) if is_absent(&error) => return seen(Data::Absent),
            Err(error) => return Err(DataDirError::io(&self.path)(error)),
        }
        let _held = match self.hold(FlockArg::LockSharedNonblock) {
            Ok(held) => held,
            Err(DataDirError::Locked { .. }) => return seen(Data::Locked),
            Err(error) => return Err(error),
        };
        match self.look(probes) {
            Ok(inspection) => Ok(inspection),
            Err(Stop::Broken(why)) => seen(Data::Broken(why)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn look(&self, probes: &[Probe]) -> Result<Inspection, Stop> {
        let snaps = names(&snap_dir(&self.path))?;
        let segments = names(&wal_dir(&self.path))?;
        let database = read_database(&database_of(&self.path), Depth::LastRow)?;
        let Some(segments) = segments.filter(|names| has_segment(names)) else {
            return match database {
                Some(database) if !database.is_fresh() => Err(Stop::Broken(format!(
                    "it has a database of revision {} and no write-ahead log",
                    database.revision
                ))),
                // The first start was interrupted.
                Some(_) | None => Ok(Inspection {
                    data: Data::Incomplete,
                    log: None,
                }),
            };
        };
        let snaps = snaps.unwrap_or_default();
        // Without a database etcd makes one from the log.
        let database = database.unwrap_or_else(Database::none);
        let found = if probes.is_empty() {
            Looked::NotYet
        } else {
            looked(self.log(&segments, &snaps, &database))?
        };
        let deep = match (probes.contains(&Probe::Deep), &found) {
            (true, Looked::Found(_)) => {
                let whole = read_database(&database_of(&self.path), Depth::Whole);
                looked(whole.map(drop))?
            }
            (true, Looked::Broken(why)) => Looked::Broken(why.clone()),
            (true, Looked::NotYet) | (false, _) => Looked::NotYet,
        };
        let (newest, log) = match found {
            Looked::Found((newest, facts)) => (Looked::Found(newest), Some(facts)),
            Looked::Broken(why) => (Looked::Broken(why), None),
            Looked::NotYet => (Looked::NotYet, None),
        };
        let data = Data::Readable {
            database: database.revision,
            // It was read for the deep check too, and may as well be told.
            log: newest,
            deep,
        };
        Ok(Inspection { data, log })
    }

    /// Reads the whole log, and compares it with the database.
    fn log(
        &self,
        segments: &[String],
        snaps: &[String],
        database: &Database,
    ) -> Result<(Revision, LogFacts), Stop> {
        let segments = self.segments(segments)?;
        let overview = overview(&segments).map_err(|error| self.stop(error))?;
        let start = self.start(snaps, &overview)?;
        let tail: Tail = tail(&segments, start).map_err(|error| self.stop(error))?;
        let received = snaps.contains(&format!("{:016x}.snap.db", start.index));
        let newest = newest_revision(database, &tail, received);
        let (newest, pending) = newest.map_err(|why| Stop::Broken(why.to_string()))?;
        let facts = LogFacts {
            member: overview.member,
            cluster: overview.cluster,
            end: overview.end,
            pending,
        };
        Ok((newest, facts))
    }

    fn segments(&self, names: &[String]) -> Result<Segments<impl Fn(SegmentName) -> Opened>, Stop> {
        let dir = wal_dir(&self.path);
        let names = names.iter().filter_map(|name| SegmentName::parse(name));
        let segments = Segments::new(names.collect(), move |name: SegmentName| {
            let file = File::open(dir.join(name.to_string()))?;
            let length = file.metadata()?.len();
            Ok((file, length))
        });
        segments.map_err(|damage| self.stop(damage.into()))
    }

    fn stop(&self, error: WalError) -> Stop {
        match error {
            WalError::Damage(damage) => Stop::Broken(format!("its log: {damage}")),
            WalError::Read { segment, source } => {
                DataDirError::io(&wal_dir(&self.path).join(segment.to_string()))(source).into()
            }
        }
    }

    /// How far its log is, and who the others are; `None` if there is no data. Nothing may run on it.
    pub(crate) fn standing(&self) -> Result<Option<Standing>, StandingError> {
        if !self.is_there()? {
            return Ok(None);
        }
        let _held = self.hold(FlockArg::LockSharedNonblock)?;
        match self.read_standing() {
            Ok(standing) => Ok(standing),
            Err(Stop::Broken(why)) => Err(StandingError::Broken(why)),
            Err(Stop::Failed(error)) => Err(StandingError::DataDir(error)),
        }
    }

    fn read_standing(&self) -> Result<Option<Standing>, Stop> {
        let segments = names(&wal_dir(&self.path))?;
        let Some(segments) = segments.filter(|names| has_segment(names)) else {
            return Ok(None);
        };
        let snaps = names(&snap_dir(&self.path))?.unwrap_or_default();
        let segments = self.segments(&segments)?;
        let overview = overview(&segments).map_err(|error| self.stop(error))?;
        let start = self.start(&snaps, &overview)?;
        let members = read_members(&database_of(&self.path))?;
        let standing = standing(&segments, start, &members);
        standing.map(Some).map_err(|error| self.stop(error))
    }

    /// The position of the `.snap` file that etcd would start from: the newest that is whole, and
    /// recorded and committed in the log. Before all entries if there is none.
    fn start(&self, snaps: &[String], overview: &Overview) -> Result<Position, Stop> {
        let named = snaps
            .iter()
            .filter_map(|name| Some((position_of_name(name)?, name)));
        let mut named: Vec<_> = named.collect();
        named.sort_unstable();
        for (_, name) in named.into_iter().rev() {
            let path = snap_dir(&self.path).join(name);
            let file = fs::read(&path).map_err(DataDirError::io(&path))?;
            match snap_file::decode(&file) {
                Ok(position) if overview.may_start_from(position) => return Ok(position),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(Position::default())
    }
}

/// Why it is not known how far a log is.
#[derive(Debug, Error)]
pub(crate) enum StandingError {
    /// It is damaged.
    #[error("the data is broken: {0}")]
    Broken(String),
    /// It could not be read.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

/// A segment and its length.
type Opened = io::Result<(File, u64)>;

/// What is broken is an answer too.
fn looked<T>(answer: Result<T, Stop>) -> Result<Looked<T>, DataDirError> {
    match answer {
        Ok(found) => Ok(Looked::Found(found)),
        Err(Stop::Broken(why)) => Ok(Looked::Broken(why)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn names(dir: &Path) -> Result<Names, DataDirError> {
    let read = || -> io::Result<Vec<String>> {
        let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<io::Result<Vec<_>>>()?.into_iter();
        // Names that are no text are not etcd's.
        Ok(names.filter_map(|name| name.into_string().ok()).collect())
    };
    match read() {
        Ok(names) => Ok(Some(names)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(DataDirError::io(dir)(error)),
    }
}

/// As etcd decides whether a member has ever started.
fn has_segment(names: &[String]) -> bool {
    let ending = |name: &String| Path::new(name).extension().is_some_and(|it| it == "wal");
    names.iter().any(ending)
}

/// How much of a database is read.
#[derive(Clone, Copy)]
enum Depth {
    /// What gives its revision.
    LastRow,
    /// Every page.
    Whole,
}

/// The members that a database names; none if there is no database.
fn read_members(path: &Path) -> Result<Vec<Stored>, Stop> {
    let Some(file) = open_database(path)? else {
        return Ok(Vec::new());
    };
    members(file).map_err(|error| unreadable(path, error))
}

fn members(file: FileAt) -> Result<Vec<Stored>, WalkError<io::Error, RowDamage>> {
    let mut all = Vec::new();
    let mut reader = Reader::open(file)?;
    if reader.names().iter().any(|name| name == bucket::MEMBERS) {
        reader.rows(bucket::MEMBERS, |row| {
            let member = stored(row.key, row.value);
            all.push(member.ok_or(RowDamage::Malformed("members"))?);
            Ok(())
        })?;
    }
    Ok(all)
}

/// `None` if it is absent, or empty, which etcd takes for the same.
fn open_database(path: &Path) -> Result<Option<FileAt>, Stop> {
    let file = match FileAt::open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(DataDirError::io(path)(error).into()),
    };
    Ok((druid_core::bolt::ReadAt::size(&file) > 0).then_some(file))
}

fn unreadable(path: &Path, error: WalkError<io::Error, RowDamage>) -> Stop {
    match error {
        WalkError::Read(error) => DataDirError::io(path)(error).into(),
        WalkError::Damage(damage) => Stop::Broken(format!("its database: {damage}")),
        WalkError::Visit(damage) => Stop::Broken(format!("its database: {damage}")),
    }
}

/// `None` if it is absent, or empty, which etcd takes for the same.
fn read_database(path: &Path, depth: Depth) -> Result<Option<Database>, Stop> {
    let Some(file) = open_database(path)? else {
        return Ok(None);
    };
    let rows = rows(file, depth).map_err(|error| unreadable(path, error))?;
    Ok(Some(rows.done()))
}

fn rows(file: FileAt, depth: Depth) -> Result<Rows, WalkError<io::Error, RowDamage>> {
    let mut rows = Rows::default();
    let mut reader = Reader::open(file)?;
    let last = match depth {
        Depth::LastRow => reader.last_key(bucket::KEY)?,
        Depth::Whole => None,
    };
    let buckets = match &last {
        Some(last) => {
            let row = rows.row(bucket::KEY, last, &[]);
            row.map_err(WalkError::Visit)?;
            vec![bucket::META.to_vec(), bucket::CLUSTER.to_vec()]
        }
        None => reader.names(),
    };
    for name in buckets {
        reader.rows(&name, |row| rows.row(row.bucket, row.key, row.value))?;
    }
    Ok(rows)
}
