//! `druid verify`: reads every byte of a store.

use std::path::PathBuf;
use std::process::ExitCode;

use druid_core::backup::inventory::{self, Inventory, Read};
use druid_core::backup::listing::Listing;
use thiserror::Error;
use tokio::runtime::Handle;

use super::at::{StoreAt, StoreAtError};
use super::output::{self, Format};
use super::table;
use crate::clock;
use crate::restore::survey::{SurveyError, survey};
use crate::store::StoreError;

/// Read every byte of a backup store: is all of it whole, and up to which revision can it be restored?
///
/// Unpacks every snapshot, checks its digest, every page of the databases and every event of the
/// deltas, and whether they connect. Nothing is written into the store; one database at a time is
/// unpacked into a file without a name in --temp-dir.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes: 0 every object is whole and everything that the store ever had can be restored, 2 an object \
is damaged or something cannot be restored, 1 it could not be found out.

Examples:
  druid verify /backups/etcd-main
  druid verify s3://bucket/etcd-main --output json
  druid verify --storage-provider=Local --store-container=/backups --store-prefix=etcd-main")]
pub(crate) struct Args {
    #[command(flatten)]
    at: StoreAt,
    /// Where there is room for one unpacked database. The system's place for such things if not given.
    #[arg(long, value_name = "DIR")]
    temp_dir: Option<PathBuf>,
    /// Read only what a restore would take, not the older snapshots.
    #[arg(long)]
    newest: bool,
    /// How to say it.
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// Why it is not known.
#[derive(Debug, Error)]
enum VerifyError {
    #[error(transparent)]
    At(#[from] StoreAtError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Survey(#[from] Box<SurveyError>),
    #[error("the reader died: {0}")]
    Died(#[from] tokio::task::JoinError),
}

/// The exit code of a store of which something is damaged or lost.
const NOT_WHOLE: u8 = 2;

/// Reads everything and says what was found.
pub(crate) async fn run(args: Args) -> ExitCode {
    match verify(&args).await {
        Err(error) => output::fail("verify", &error),
        Ok(found) => {
            match args.output {
                Format::Json => output::json(&found),
                Format::Text => output::say(&table::text(&found, clock::now())),
            }
            if found.is_whole() {
                ExitCode::SUCCESS
            } else {
                NOT_WHOLE.into()
            }
        }
    }
}

async fn verify(args: &Args) -> Result<Inventory, VerifyError> {
    let location = args.at.open()?;
    let listing = location.listing().await?;
    let directory = args.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
    let newest = args.newest;
    let runtime = Handle::current();
    let reading = tokio::task::spawn_blocking(move || {
        let listing = if newest {
            only_newest(&listing)
        } else {
            listing
        };
        let bar = output::bar(packed(&listing));
        let known = survey(&runtime, &location, &listing, &directory, &|bytes| {
            bar.inc(bytes);
        })?;
        bar.finish_and_clear();
        Ok(inventory::of(&listing, &known, Read::Everything))
    });
    reading.await?
}

/// What a restore would take if nothing is damaged, and everything newer.
fn only_newest(listing: &Listing) -> Listing {
    let Some(base) = listing.bases().next() else {
        return listing.clone();
    };
    let floor = base.key.name.last();
    listing.without(|key| key.name.last() < floor || key.name.last() == floor && *key != base.key)
}

/// Bytes in the store, where it says so of all.
fn packed(listing: &Listing) -> Option<u64> {
    listing.snapshots().iter().map(|it| it.bytes).sum()
}
