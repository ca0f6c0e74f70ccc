//! `kubectl druid upgrade status -w`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use druid_core::cli::{Changes, Documents, Found, Key, Progress, Scope, Targets, bars};
use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, select_all};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};

use super::api::Object;
use super::args::Format;
use super::connect::Cluster;
use super::output::{INTERRUPTED, colours, document, is_live, say, tell};
use crate::clock;

/// How long one watch lasts, seconds: less than [`super::connect::SILENCE`].
const WATCH: u32 = 25;
/// How often times are drawn anew.
const TICK: Duration = Duration::from_secs(1);

/// Shows what is there, and what it becomes, until interrupted or nobody reads on.
pub(super) async fn run(
    cluster: &Cluster,
    targets: &Targets,
    found: Vec<Found>,
    format: Format,
) -> ExitCode {
    tokio::select! {
        read = follow(cluster, targets, found, format) => match read {
            // Whoever closed the pipe does not want to know.
            Ok(()) | Err(_) => ExitCode::SUCCESS,
        },
        _ = tokio::signal::ctrl_c() => {
            if is_live() && format == Format::Text {
                // What comes next does not begin behind the last line. Nobody need read that.
                let _ = say("");
            }
            INTERRUPTED.into()
        }
    }
}

async fn follow(
    cluster: &Cluster,
    targets: &Targets,
    found: Vec<Found>,
    format: Format,
) -> io::Result<()> {
    let watches = watches(cluster, targets);
    let mut screen = Screen::new(format);
    let mut etcds = Etcds::new(watches.len(), found);
    screen.show(&etcds)?;
    let each = watches
        .into_iter()
        .enumerate()
        .map(|(at, watch)| watch.map(move |event| (at, event)).boxed());
    let mut events = select_all(each);
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some((at, Ok(event))) => if etcds.heard(at, event) {
                    screen.show(&etcds)?;
                },
                Some((_, Err(error))) => screen.trouble(&meaning(cluster, error)),
                None => return Ok(()),
            },
            _ = tick.tick() => screen.tick(&etcds),
        }
    }
}

type Watch = BoxStream<'static, watcher::Result<Event<Object>>>;

/// One for each Etcd that was named, or one for all that are found.
fn watches(cluster: &Cluster, targets: &Targets) -> Vec<Watch> {
    let config = || watcher::Config::default().timeout(WATCH);
    let watch = |namespace: Option<&str>, config| {
        let api = cluster.etcds(namespace);
        watcher(api, config).default_backoff().boxed()
    };
    match targets {
        Targets::Named(keys) => keys
            .iter()
            .map(|(namespace, name)| {
                let named = config().fields(&format!("metadata.name={name}"));
                watch(Some(namespace), named)
            })
            .collect(),
        Targets::Found(Scope {
            namespace,
            selector,
        }) => {
            let config = match selector {
                Some(selector) => config().labels(selector),
                None => config(),
            };
            vec![watch(namespace.as_deref(), config)]
        }
    }
}

/// What is known.
struct Etcds {
    known: BTreeMap<Key, Found>,
    /// What a listing under way has brought so far, watch by watch.
    listed: Vec<BTreeMap<Key, Found>>,
    /// What each watch has told of.
    told: Vec<BTreeSet<Key>>,
}

impl Etcds {
    /// Before any of so many watches has told anything.
    fn new(watches: usize, found: Vec<Found>) -> Self {
        let known: BTreeMap<_, _> = found.into_iter().map(|it| (it.key(), it)).collect();
        let mut told = vec![BTreeSet::new(); watches];
        for (at, key) in known.keys().enumerate() {
            // One watch has told of all, or each of one, in the same order.
            if let Some(told) = told.get_mut(if watches == 1 { 0 } else { at }) {
                told.insert(key.clone());
            }
        }
        Self {
            known,
            listed: vec![BTreeMap::new(); watches],
            told,
        }
    }

    /// Whether what a watch tells is worth a look.
    fn heard(&mut self, at: usize, event: Event<Object>) -> bool {
        let (Some(listed), Some(told)) = (self.listed.get_mut(at), self.told.get_mut(at)) else {
            return false;
        };
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                let found = Found::of(object);
                listed.insert(found.key(), found);
            }
            Event::InitDone => {
                for gone in std::mem::take(told) {
                    self.known.remove(&gone);
                }
                let listed = std::mem::take(listed);
                *told = listed.keys().cloned().collect();
                self.known.extend(listed);
                return true;
            }
            Event::Apply(object) => {
                let found = Found::of(object);
                told.insert(found.key());
                self.known.insert(found.key(), found);
                return true;
            }
            Event::Delete(object) => {
                let key = Found::of(object).key();
                told.remove(&key);
                self.known.remove(&key);
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
    Lines {
        changes: Changes,
        trouble: String,
    },
    Documents {
        changes: Documents<Progress>,
        format: Format,
    },
}

impl Screen {
    fn new(format: Format) -> Self {
        if format != Format::Text {
            return Self::Documents {
                changes: Documents::default(),
                format,
            };
        }
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
            Self::Documents { changes, format } => {
                for change in changes.next(&all) {
                    document(&change, *format)?;
                }
            }
        }
        Ok(())
    }

    /// Time has passed.
    fn tick(&self, etcds: &Etcds) {
        match self {
            Self::Live(bar) => draw(bar, &etcds.progress()),
            Self::Lines { .. } | Self::Documents { .. } => {}
        }
    }

    /// What is shown may be old; the watch begins anew by itself.
    fn trouble(&mut self, error: &str) {
        let said = format!("warning: the watch broke off and begins anew: {error}");
        match self {
            Self::Live(bar) => bar.suspend(|| tell(&said)),
            Self::Documents { .. } => tell(&said),
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
