//! `druid bulk`: many writes, as fast as a member takes them or at a given rate. For measurements
//! and for trying things out; hidden, because nobody should point it at a cluster that matters.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::etcd::{self, Client, Endpoint};

/// Write many keys to one member.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The member.
    #[arg(long, value_name = "URL")]
    endpoint: Endpoint,
    /// How many writes.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    puts: u64,
    /// To how many keys, in turn.
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    keys: u64,
    /// The size of the values, bytes: random text.
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    value_size: usize,
    /// How many writes a second at most; 0 is as many as go.
    #[arg(long, value_name = "N", default_value_t = 0)]
    rate: u64,
    /// How many are under way at once.
    #[arg(long, value_name = "N", default_value_t = 128)]
    at_once: u64,
    /// What the values are made from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Why it stopped.
#[derive(Debug, Error)]
enum BulkError {
    /// A write was not acknowledged.
    #[error(transparent)]
    Etcd(#[from] etcd::Error),
    /// A writer died.
    #[error("a writer died: {0}")]
    Died(#[from] tokio::task::JoinError),
}

/// How long one write may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// More than one connection, or their single writer task is what is measured.
const CONNECTIONS: u64 = 4;
/// Base64 without padding, so that it does not compress better than what people store.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Runs it and says how fast it was.
pub(crate) async fn run(args: Args) -> ExitCode {
    let began = Instant::now();
    let mut out = std::io::stdout();
    let (words, code) = match write_all(&args).await {
        Ok(revision) => {
            let seconds = began.elapsed().as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = args.puts as f64 / seconds;
            (
                format!(
                    "{} writes in {seconds:.2} s, {rate:.0} a second, revision {revision}",
                    args.puts
                ),
                ExitCode::SUCCESS,
            )
        }
        Err(error) => (format!("druid bulk: {error}"), ExitCode::FAILURE),
    };
    // Nobody reads it: the exit code still tells.
    let _ = writeln!(out, "{words}");
    code
}

async fn write_all(args: &Args) -> Result<i64, BulkError> {
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut writers = JoinSet::new();
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::new(args.endpoint.clone(), None)?);
    }
    for (writer, client) in (0..args.at_once).zip(clients.iter().cycle()) {
        let (client, next, args) = (client.clone(), next.clone(), args.clone());
        let random = SmallRng::seed_from_u64(args.seed << 16 | writer);
        writers.spawn(write(client, next, args, random, began));
    }
    let mut revision = 0;
    while let Some(ended) = writers.join_next().await {
        revision = revision.max(ended??);
    }
    Ok(revision)
}

async fn write(
    client: Client,
    next: Arc<AtomicU64>,
    args: Args,
    mut random: SmallRng,
    began: Instant,
) -> Result<i64, etcd::Error> {
    let mut revision = 0;
    let mut value = vec![0; args.value_size];
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= args.puts {
            return Ok(revision);
        }
        if let Some(due) = (number * 1_000_000).checked_div(args.rate) {
            tokio::time::sleep_until(began + Duration::from_micros(due)).await;
        }
        random.fill_bytes(&mut value);
        for byte in &mut value {
            *byte = ALPHABET[usize::from(*byte & 63)];
        }
        let key = format!("/bulk/{:08}", number % args.keys.max(1));
        revision = client.put(key.as_bytes(), &value, None, DEADLINE).await?;
    }
}
