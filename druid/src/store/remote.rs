//! A store that is reached over HTTP.
//!
//! The library knows the dialects and the signatures of the providers; deadlines and retries are in
//! [`super::http`]. What it does with an upload was read in its source (opendal 0.59): parts are
//! sent as they are given, the object appears with the last request, `abort` removes the parts, and
//! dropping a writer does not, which is why uploads run in a task of their own here. A listing goes
//! on until the provider says that there is no further page.
//!
//! Retention: a store says why it keeps an object when it is to be deleted, and that becomes
//! [`ErrorKind::Immutable`]. Until when it says of one object that is asked for; listings do not tell.
//!
//! A bucket of S3 with versions, which object lock needs, is listed with them, and the oldest version of
//! an object is the object: see [`druid_core::backup::versions`]. A deletion deletes that version. Where
//! versions are not to be had, because the server or the permissions lack them, the bucket is what it
//! shows.
//!
//! What a killed process leaves of an upload is invisible, but paid for: a lifecycle rule for
//! incomplete uploads removes it.

use std::error::Error as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use druid_core::backup::versions::{Version, oldest};
use opendal::options::{DeleteOptions, ListOptions, ReadOptions, StatOptions};
use opendal::{Buffer, Operator, Writer};
use tokio::sync::{mpsc, oneshot};

use super::parts::{Limits, Plan};
use super::providers::{Connected, Site};
use super::swift::Deletes;
use super::versions::Versions;
use super::{Answer, Body, ErrorKind, Listed, Piece, Store, StoreError, retention};

/// How long a server is given to notice that a connection was cut.
const SETTLE: Duration = Duration::from_millis(500);

/// A bucket.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    operator: Operator,
    deletes: Option<Deletes>,
    address: String,
    container: String,
    limits: Limits,
    lists_sizes: bool,
    versions: Option<Arc<Versions>>,
}

impl Remote {
    /// A bucket of a site, through a client of it.
    pub(crate) fn new(site: &Site, client: Connected, limits: Limits) -> Self {
        Self {
            operator: client.operator,
            deletes: client.deletes,
            address: site.address(),
            container: site.container.clone(),
            limits,
            lists_sizes: site.lists_sizes(),
            versions: site.may_keep_versions().then(Arc::default),
        }
    }

    fn failed(&self, verb: &'static str, key: &str, kind: ErrorKind) -> StoreError {
        StoreError {
            verb,
            object: format!("{}/{key}", self.address),
            kind,
        }
    }

    fn library(&self, verb: &'static str, key: &str, error: &opendal::Error) -> StoreError {
        self.failed(verb, key, kind_of(error, &self.container))
    }

    /// The library cleans paths; an object whose key is not clean would be another one to it.
    fn clean(&self, verb: &'static str, key: &str) -> Result<(), StoreError> {
        let odd = |it: &str| matches!(it, "" | "." | "..");
        if key.trim() == key && !key.split('/').any(odd) {
            return Ok(());
        }
        let why = format!("the key {key:?} begins or ends with a space, or has an empty component");
        Err(self.failed(verb, key, ErrorKind::Other(why)))
    }

    async fn list_all(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        if let Some(versions) = &self.versions
            && versions.may_be_listed()
        {
            match self.list_versions(prefix, versions).await {
                Err(error) if refuses_versions(&error.kind) => {
                    tracing::info!(%error, "the bucket is read without versions");
                    versions.are_not_listed();
                }
                answer => return answer,
            }
        }
        let options = ListOptions {
            recursive: true,
            ..ListOptions::default()
        };
        // The library takes "" for a directory; what it lists is cut to the prefix below.
        let entries = self.operator.list_options(prefix, options).await;
        let entries = entries.map_err(|error| self.library("list", prefix, &error))?;
        Ok(entries
            .into_iter()
            .filter(|it| it.metadata().is_file() && it.path().starts_with(prefix))
            .map(|it| {
                let bytes = it.metadata().content_length();
                let unknown = bytes == 0 && !self.lists_sizes;
                Listed {
                    key: it.path().to_owned(),
                    bytes: (!unknown).then_some(bytes),
                    immutable_until: None,
                }
            })
            .collect())
    }
}

/// Whether the rest of a bucket may be had without versions.
fn refuses_versions(kind: &ErrorKind) -> bool {
    match kind {
        ErrorKind::Denied(_) | ErrorKind::Other(_) | ErrorKind::NotFound => true,
        ErrorKind::NoContainer(_)
        | ErrorKind::Immutable(_)
        | ErrorKind::TimedOut { .. }
        | ErrorKind::Unavailable { .. }
        | ErrorKind::Full
        | ErrorKind::Abandoned => false,
    }
}

impl Store for Remote {
    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<Listed>> {
        Box::pin(self.list_all(prefix))
    }

    fn head<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Listed>> {
        Box::pin(async move {
            self.clean("read", key)?;
            let options = StatOptions {
                version: self.version(key),
                ..StatOptions::default()
            };
            let asked = self.operator.stat_options(key, options);
            let (answer, immutable_until) = retention::noting(asked).await;
            match answer {
                Ok(found) => Ok(Some(Listed {
                    key: key.to_owned(),
                    bytes: Some(found.content_length()),
                    immutable_until,
                })),
                Err(error) => match self.library("read", key, &error) {
                    error if error.kind == ErrorKind::NotFound => Ok(None),
                    error => Err(error),
                },
            }
        })
    }

    fn get<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            self.clean("read", key)?;
            if range.is_empty() {
                return Ok(Bytes::new());
            }
            let failed = match self.range(key, range.clone()).await {
                Err(error) if matches!(error.kind, ErrorKind::Other(_)) => error,
                answer => return answer,
            };
            // Providers differ in what they say of a range that goes beyond the end of an object.
            match self.head(key).await?.and_then(|it| it.bytes) {
                Some(bytes) if bytes <= range.start => Ok(Bytes::new()),
                Some(bytes) if bytes < range.end => self.range(key, range.start..bytes).await,
                Some(_) | None => Err(failed),
            }
        })
    }

    fn put<'a>(&'a self, key: &'a str, body: Body) -> Answer<'a, u64> {
        Box::pin(async move {
            self.clean("write", key)?;
            let plan = self.limits.plan(body.at_most);
            // Whoever waits here may go away; then the upload is still aborted, by its own task.
            let (waits, gone) = oneshot::channel();
            let store = self.clone();
            let name = key.to_owned();
            let task =
                tokio::spawn(async move { store.upload(&name, body.pieces, plan, gone).await });
            let answer = task.await;
            drop::<oneshot::Sender<()>>(waits);
            match answer {
                Ok(answer) => answer,
                Err(died) => Err(self.failed("write", key, ErrorKind::Other(died.to_string()))),
            }
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            self.clean("delete", key)?;
            match &self.deletes {
                Some(deletes) => {
                    let gone = deletes.delete(key).await;
                    gone.map_err(|kind| self.failed("delete", key, kind))
                }
                None => self.delete_version(key).await,
            }
        })
    }
}

impl Remote {
    /// Every object in its oldest version.
    async fn list_versions(
        &self,
        prefix: &str,
        versions: &Versions,
    ) -> Result<Vec<Listed>, StoreError> {
        let options = ListOptions {
            recursive: true,
            versions: true,
            ..ListOptions::default()
        };
        let entries = self.operator.list_options(prefix, options).await;
        let entries = entries.map_err(|error| self.library("list", prefix, &error))?;
        let found = entries.into_iter().filter_map(|it| {
            let about = it.metadata();
            let is_ours = about.is_file() && !about.is_deleted() && it.path().starts_with(prefix);
            let written = about.last_modified()?.into_inner();
            is_ours.then(|| Version {
                key: it.path().to_owned(),
                id: about.version().unwrap_or_default().to_owned(),
                bytes: about.content_length(),
                written,
            })
        });
        let oldest = oldest(found);
        versions.listed(prefix, &oldest);
        let listed = oldest.into_values().map(|it| Listed {
            key: it.key,
            bytes: Some(it.bytes),
            immutable_until: None,
        });
        Ok(listed.collect())
    }

    /// The version of an object that counts, if it has a name.
    fn version(&self, key: &str) -> Option<String> {
        self.versions.as_ref()?.of(key)
    }

    /// The version that counts. To delete an object without saying which would only hide it.
    async fn delete_version(&self, key: &str) -> Result<(), StoreError> {
        let options = DeleteOptions {
            version: self.version(key),
            ..DeleteOptions::default()
        };
        let gone = self.operator.delete_options(key, options).await;
        gone.map_err(|error| self.library("delete", key, &error))
    }

    async fn range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let options = ReadOptions {
            range: range.into(),
            version: self.version(key),
            ..ReadOptions::default()
        };
        let bytes = self.operator.read_options(key, options).await;
        let bytes = bytes.map_err(|error| self.library("read", key, &error))?;
        Ok(bytes.to_bytes())
    }

    async fn upload(
        &self,
        key: &str,
        pieces: mpsc::Receiver<Piece>,
        plan: Plan,
        mut gone: oneshot::Receiver<()>,
    ) -> Result<u64, StoreError> {
        let writer = self.operator.writer_with(key).concurrent(plan.parallel);
        let mut writer = writer
            .await
            .map_err(|error| self.library("write", key, &error))?;
        let container = &self.container;
        let sending = async {
            let bytes = send(&mut writer, pieces, plan.part, container).await?;
            let closed = writer.close().await;
            let Err(error) = closed else {
                return Ok(bytes);
            };
            let kind = kind_of(&error, container);
            // The answer to an earlier try was lost: the upload is not there any more because it
            // has become the object.
            if kind == ErrorKind::NotFound && self.is_there(key, bytes).await {
                return Ok(bytes);
            }
            Err(kind)
        };
        let sent = tokio::select! {
            biased;
            _ = &mut gone => Err(ErrorKind::Abandoned),
            sent = sending => sent,
        };
        let kind = match sent {
            Ok(bytes) => return Ok(bytes),
            Err(kind) => kind,
        };
        // A part whose connection was cut may still be put away by the server, and an upload that
        // is aborted before is there again.
        tokio::time::sleep(SETTLE).await;
        if let Err(error) = writer.abort().await {
            let why = kind_of(&error, &self.container);
            tracing::warn!(
                object = %format!("{}/{key}", self.address),
                %why,
                "the parts of an upload that failed could not be removed"
            );
        }
        Err(self.failed("write", key, kind))
    }

    async fn is_there(&self, key: &str, bytes: u64) -> bool {
        matches!(self.head(key).await, Ok(Some(found)) if found.bytes == Some(bytes))
    }
}

/// Sends everything but what closing sends. One part is filled while others
/// are on their way.
async fn send(
    writer: &mut Writer,
    mut pieces: mpsc::Receiver<Piece>,
    part: usize,
    container: &str,
) -> Result<u64, ErrorKind> {
    let mut rest = Bytes::new();
    let mut next = fill(&mut pieces, &mut rest, part).await?;
    let mut bytes = 0;
    while !next.is_empty() {
        bytes += next.len() as u64;
        let is_last = next.len() < part;
        let write = writer.write(next);
        if is_last {
            write.await.map_err(|error| kind_of(&error, container))?;
            break;
        }
        let (written, filled) = tokio::join!(write, fill(&mut pieces, &mut rest, part));
        written.map_err(|error| kind_of(&error, container))?;
        next = filled?;
    }
    Ok(bytes)
}

/// The next part, without copying: full, or the last. `rest` is what of a piece did not fit.
async fn fill(
    pieces: &mut mpsc::Receiver<Piece>,
    rest: &mut Bytes,
    part: usize,
) -> Result<Buffer, ErrorKind> {
    let mut held = Vec::new();
    let mut room = part;
    loop {
        let fits = rest.split_to(rest.len().min(room));
        room -= fits.len();
        if !fits.is_empty() {
            held.push(fits);
        }
        if room == 0 {
            return Ok(Buffer::from(held));
        }
        match pieces.recv().await {
            Some(Piece::Bytes(piece)) => *rest = piece,
            Some(Piece::End) => {
                pieces.close();
                return Ok(Buffer::from(held));
            }
            None => return Err(ErrorKind::Abandoned),
        }
    }
}

/// What an error of the library is to us. Ours are inside of it.
fn kind_of(error: &opendal::Error, container: &str) -> ErrorKind {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(kind) = inner.downcast_ref::<ErrorKind>() {
            return kind.clone();
        }
        cause = inner.source();
    }
    let is = |kind| error.kind() == kind;
    if is(opendal::ErrorKind::NotFound) {
        ErrorKind::NotFound
    } else if is(opendal::ErrorKind::PermissionDenied) {
        ErrorKind::Denied(error.message().to_owned())
    } else if is(opendal::ErrorKind::ConfigInvalid) && error.message().contains("NoSuchBucket") {
        ErrorKind::NoContainer(container.to_owned())
    } else {
        ErrorKind::Other(said(error))
    }
}

/// On one line, without the headers of the answer.
fn said(error: &opendal::Error) -> String {
    let mut text = format!("{}: {}", error.kind(), error.message());
    if let Some(cause) = error.source() {
        text = format!("{text}: {cause}");
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
