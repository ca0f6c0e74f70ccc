//! `kubectl druid upgrade status -w`.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use druid_core::cli::{Changes, Found, Progress, bars};
use futures_util::StreamExt as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};

use super::api::{Object, Which};
use super::connect::Cluster;
use super::output::{INTERRUPTED, colours, is_live, say, tell};
use crate::clock;

/// How long one watch lasts, seconds: less than [`super::connect::SILENCE`].
const WATCH: u32 = 25;
/// How often times are drawn anew.
const TICK: Duration = Duration::from_secs(1);

/// Shows what is there, and what it becomes, until interrupted or nobody reads on.
pub(super) async fn run(cluster: &Cluster, which: Which<'_>, found: Vec<Found>) -> ExitCode {
    tokio::select! {
        read = follow(cluster, which, found) => match read {
            // Whoever closed the pipe does not want to know.
            Ok(()) | Err(_) => ExitCode::SUCCESS,
        },
        _ = tokio::signal::ctrl_c() => {
            if is_live() {
                // What comes next does not begin behind the last line. Nobody need read that.
                let _ = say("");
            }
            INTERRUPTED.into()
        }
    }
}

async fn follow(cluster: &Cluster, which: Which<'_>, found: Vec<Found>) -> io::Result<()> {
    let mut config = watcher::Config::default().timeout(WATCH);
    if let Which::Named(name) = which {
        config = config.fields(&format!("metadata.name={name}"));
    }
    let mut screen = Screen::new();
    let mut etcds = Etcds::default();
    etcds
        .known
        .extend(found.into_iter().map(|it| (it.key(), it)));
    screen.show(&etcds)?;
    let mut events = std::pin::pin!(watcher(cluster.etcds(which), config).default_backoff());
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => if etcds.heard(event) {
                    screen.show(&etcds)?;
                },
                Some(Err(error)) => screen.trouble(&meaning(cluster, error)),
                None => return Ok(()),
            },
            _ = tick.tick() => screen.tick(&etcds),
        }
    }
}

/// What is known.
#[derive(Default)]
struct Etcds {
    known: BTreeMap<(String, String), Found>,
    /// What a listing under way has brought so far.
    listed: BTreeMap<(String, String), Found>,
}

impl Etcds {
    /// Whether it is worth a look.
    fn heard(&mut self, event: Event<Object>) -> bool {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                let found = Found::of(object);
                self.listed.insert(found.key(), found);
            }
            Event::InitDone => {
                self.known = std::mem::take(&mut self.listed);
                return true;
            }
            Event::Apply(object) => {
                let found = Found::of(object);
                self.known.insert(found.key(), found);
                return true;
            }
            Event::Delete(object) => {
                self.known.remove(&Found::of(object).key());
                return true;
            }
        }
        false
    }

    fn progress(&self) -> Vec<Progress> {
        Progress::all(self.known.values())
    }
}

enum Screen {
    Live(ProgressBar),
    Lines { changes: Changes, trouble: String },
}

impl Screen {
    fn new() -> Self {
        if !is_live() {
            return Self::Lines {
                changes: Changes::default(),
                trouble: String::new(),
            };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout())
            .with_finish(ProgressFinish::Abandon);
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Self::Live(bar)
    }

    fn show(&mut self, etcds: &Etcds) -> io::Result<()> {
        let all = etcds.progress();
        match self {
            Self::Live(bar) => draw(bar, &all),
            Self::Lines { changes, trouble } => {
                trouble.clear();
                for line in changes.next(&all, clock::now()) {
                    say(&line)?;
                }
            }
        }
        Ok(())
    }

    /// Time has passed.
    fn tick(&self, etcds: &Etcds) {
        match self {
            Self::Live(bar) => draw(bar, &etcds.progress()),
            Self::Lines { .. } => {}
        }
    }

    /// What is shown may be old; the watch begins anew by itself.
    fn trouble(&mut self, error: &str) {
        let said = format!("warning: the watch broke off and begins anew: {error}");
        match self {
            Self::Live(bar) => bar.suspend(|| tell(&said)),
            Self::Lines { trouble, .. } if *trouble == said => {}
            Self::Lines { trouble, .. } => {
                tell(&said);
                *trouble = said;
            }
        }
    }
}

fn meaning(cluster: &Cluster, error: watcher::Error) -> String {
    let error = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::WatchError(status) => kube::Error::Api(status),
        error @ watcher::Error::NoResourceVersion => return error.to_string(),
    };
    cluster.failed("watch Etcds", error).to_string()
}

fn draw(bar: &ProgressBar, all: &[Progress]) {
    bar.set_message(bars(all, clock::now(), colours()).trim_end().to_owned());
    bar.tick();
}
