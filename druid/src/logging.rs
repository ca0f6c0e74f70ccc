//! The log of the long-running programs: one line an event, on standard error.

use druid_core::operator::config::{LogFormat, LogLevel, Logging};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts it. `RUST_LOG` says how much, as `LEVEL` or `TARGET=LEVEL,...`; `info` without it.
pub(crate) fn start() {
    start_as(Logging {
        level: LogLevel::Info,
        format: LogFormat::Text,
    });
}

/// Starts it as it is configured. `RUST_LOG` still says how much, if it is set.
pub(crate) fn start_as(logging: Logging) {
    let wanted = std::env::var("RUST_LOG").ok();
    let filter: Option<Targets> = wanted.and_then(|text| text.parse().ok());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match logging.format {
        LogFormat::Text => lines
            .with_filter(filter.unwrap_or_else(|| targets(logging.level)))
            .boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_filter(filter.unwrap_or_else(|| targets(logging.level)))
            .boxed(),
    };
    // Only a test can have started it before.
    let _ = tracing_subscriber::registry().with(lines).try_init();
}

/// Of other people's code only what went wrong or people want to know.
fn targets(level: LogLevel) -> Targets {
    match level {
        LogLevel::Error => Targets::new().with_default(LevelFilter::ERROR),
        LogLevel::Info => Targets::new().with_default(LevelFilter::INFO),
        LogLevel::Debug => Targets::new()
            .with_default(LevelFilter::INFO)
            .with_target("druid", LevelFilter::DEBUG),
    }
}
