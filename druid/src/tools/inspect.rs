//! `druid inspect`: what is in a store, by its listing.

use std::process::ExitCode;

use druid_core::backup::inventory::{self, Read};
use druid_core::backup::restorable::Known;

use super::at::StoreAt;
use super::output::{self, Format};
use super::table;
use crate::clock;

/// List what is in a backup store, and what a restore would take.
///
/// Reads names and sizes only; `druid verify` reads every byte. Nothing is written.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes: 0 the listing was read, 1 it could not be.

Examples:
  druid inspect /backups/etcd-main
  druid inspect s3://bucket/etcd-main --output json
  druid inspect --storage-provider=S3 --store-container=bucket --store-prefix=etcd-main")]
pub(crate) struct Args {
    #[command(flatten)]
    at: StoreAt,
    /// How to say it.
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// Lists and says what there is.
pub(crate) async fn run(args: Args) -> ExitCode {
    let location = match args.at.open() {
        Ok(location) => location,
        Err(error) => return output::fail("inspect", &error),
    };
    let listing = match location.listing().await {
        Ok(listing) => listing,
        Err(error) => return output::fail("inspect", &error),
    };
    let found = inventory::of(&listing, &Known::default(), Read::Nothing);
    match args.output {
        Format::Json => output::json(&found),
        Format::Text => output::say(&table::text(&found, clock::now())),
    }
    ExitCode::SUCCESS
}
