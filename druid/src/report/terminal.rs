//! What a rehearsal shows while it runs, and its last words.
//!
//! On a terminal: finished steps above, a bar for the present one, a live table of the members and
//! a line of counts. Elsewhere (a pipe, CI): one plain line per event.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use comfy_table::{Attribute, Cell, Color, Table, presets};
use druid_core::report::{Outcome, Report, StepResult};
use druid_core::version::Version;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::text::{
    bytes, counted, data_words, duration, grouped, history_words, source_words, survived_words,
};

/// Plain lines say the counts this often.
const COUNTS_EVERY: Duration = Duration::from_secs(10);

/// How to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Bars and a live table.
    Live,
    /// One line per event.
    Lines,
    /// Nothing but the last words.
    Quiet,
}

impl Mode {
    /// Live if standard error is a terminal that can move its cursor, and nobody said CI.
    pub(crate) fn detect() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        if io::stderr().is_terminal() && !dumb && std::env::var_os("CI").is_none() {
            Self::Live
        } else {
            Self::Lines
        }
    }
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberRow {
    pub(crate) name: String,
    /// What it runs, or was started as.
    pub(crate) version: Version,
    pub(crate) role: Role,
    pub(crate) state: State,
    /// The size of its database, if it says.
    pub(crate) db_size: Option<u64>,
    /// Raft entries that it has yet to apply, if it says.
    pub(crate) lag: Option<u64>,
}

/// What a member is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Leader,
    Follower,
    Learner,
    Unknown,
}

/// How a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It answers, and is ready.
    Healthy,
    /// It answers, and is not ready.
    NotReady,
    /// It was started and does not answer yet.
    Starting,
    /// There is no process.
    Down,
}

/// What the load has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Acknowledged writes.
    pub(crate) acknowledged: u64,
    /// The longest time without one.
    pub(crate) longest_gap_ms: u64,
    /// Watch events.
    pub(crate) events: u64,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Learner => "learner",
            Self::Unknown => "-",
        }
    }
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::NotReady => "not ready",
            Self::Starting => "starting",
            Self::Down => "down",
        }
    }
}

/// Shows a rehearsal. Every task may use it at once.
pub(crate) struct Ui {
    began: Instant,
    screen: Mutex<Screen>,
}

enum Screen {
    Live(Live),
    Lines(Lines),
    Quiet,
}

impl Ui {
    /// Writes to standard error.
    pub(crate) fn new(mode: Mode) -> Self {
        let screen = match mode {
            Mode::Live => Screen::Live(Live::new(colours_wanted())),
            Mode::Lines => Screen::Lines(Lines::to(Box::new(io::stderr()))),
            Mode::Quiet => Screen::Quiet,
        };
        Self {
            began: Instant::now(),
            screen: Mutex::new(screen),
        }
    }

    /// A step begins; `total` if it is known how many parts it has.
    pub(crate) fn step_started(&self, name: &str, total: Option<u64>) {
        match &mut *self.screen() {
            Screen::Live(live) => live.step_started(name, total),
            Screen::Lines(lines) => {
                lines.step.replace_range(.., name);
                lines.line(self.began.elapsed(), "begins");
            }
            Screen::Quiet => {}
        }
    }

    /// So many parts of the present step are done.
    pub(crate) fn step_progress(&self, done: u64) {
        if let Screen::Live(live) = &*self.screen()
            && let Some(bar) = &live.bar
        {
            bar.set_position(done);
        }
    }

    /// The present step ended, and what came of it.
    pub(crate) fn step_ended(&self, name: &str, result: StepResult, detail: &str) {
        let said = if detail.is_empty() {
            result.to_string()
        } else {
            format!("{result}: {detail}")
        };
        match &mut *self.screen() {
            Screen::Live(live) => live.step_ended(name, result, detail),
            Screen::Lines(lines) => {
                lines.step.replace_range(.., name);
                lines.line(self.began.elapsed(), &said);
                lines.step.clear();
            }
            Screen::Quiet => {}
        }
    }

    /// The members as they are now.
    pub(crate) fn members(&self, rows: &[MemberRow]) {
        match &mut *self.screen() {
            Screen::Live(live) => live.table.set_message(table(rows, live.colours)),
            Screen::Lines(lines) => lines.members(self.began.elapsed(), rows),
            Screen::Quiet => {}
        }
    }

    /// What the load has done so far.
    pub(crate) fn counters(&self, counters: Counters) {
        match &mut *self.screen() {
            Screen::Live(live) => live.counts.set_message(format!("  {}", counts(counters))),
            Screen::Lines(lines) => lines.counters(self.began.elapsed(), counters),
            Screen::Quiet => {}
        }
    }

    /// Something worth a line of its own.
    pub(crate) fn say(&self, text: &str) {
        match &mut *self.screen() {
            Screen::Live(live) => live.say(&format!("  {text}")),
            Screen::Lines(lines) => lines.line(self.began.elapsed(), text),
            Screen::Quiet => {}
        }
    }

    /// Takes the bars and the table away; what was said stays.
    pub(crate) fn finish(&self) {
        if let Screen::Live(live) = &mut *self.screen() {
            live.clear();
        }
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        // A half-drawn screen is still a screen.
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        self.finish();
    }
}

/// <https://no-color.org>: set and not empty means no.
fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

struct Live {
    all: MultiProgress,
    bar: Option<ProgressBar>,
    table: ProgressBar,
    counts: ProgressBar,
    colours: bool,
    step_began: Instant,
}

impl Live {
    fn new(colours: bool) -> Self {
        let all = MultiProgress::new();
        let text = || ProgressBar::new_spinner().with_style(style("{msg}"));
        let table = all.add(text());
        let counts = all.add(text());
        Self {
            all,
            bar: None,
            table,
            counts,
            colours,
            step_began: Instant::now(),
        }
    }

    fn step_started(&mut self, name: &str, total: Option<u64>) {
        self.drop_bar();
        let shape = match (total.is_some(), self.colours) {
            (true, true) => "{spinner:.cyan} {prefix:24} {bar:24.cyan/238} {pos}/{len}  {elapsed}",
            (true, false) => "{spinner} {prefix:24} {bar:24} {pos}/{len}  {elapsed}",
            (false, true) => "{spinner:.cyan} {prefix:24} {elapsed}",
            (false, false) => "{spinner} {prefix:24} {elapsed}",
        };
        let bar = ProgressBar::new(total.unwrap_or(0)).with_style(style(shape));
        let bar = self.all.insert_before(&self.table, bar);
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        self.bar = Some(bar);
        self.step_began = Instant::now();
    }

    fn step_ended(&mut self, name: &str, result: StepResult, detail: &str) {
        self.drop_bar();
        let (sign, colour) = match result {
            StepResult::Passed => ("\u{2714}", "32"),
            StepResult::Failed => ("\u{2718}", "31"),
            StepResult::Refused => ("\u{2298}", "33"),
            StepResult::Halted => ("\u{25a0}", "33"),
            StepResult::PutBack => ("\u{21a9}", "33"),
            StepResult::Skipped => ("\u{00b7}", "90"),
        };
        let took = millis(self.step_began.elapsed());
        let sign = self.paint(sign, colour);
        let word = match result {
            StepResult::Passed | StepResult::Skipped => String::new(),
            StepResult::Failed | StepResult::Refused | StepResult::Halted | StepResult::PutBack => {
                format!("{result}  ")
            }
        };
        let detail = self.paint(detail, "2");
        self.say(&format!(
            "{sign} {name:24} {:>8}  {word}{detail}",
            duration(took)
        ));
    }

    fn paint(&self, text: &str, code: &str) -> String {
        if self.colours && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn say(&self, line: &str) {
        // A terminal that is gone has nobody to tell.
        let _ = self.all.println(line);
    }

    fn drop_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }

    fn clear(&mut self) {
        self.drop_bar();
        self.table.finish_and_clear();
        self.counts.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates are constants of this file")
        .progress_chars("\u{2501}\u{2578}\u{2500}")
}

struct Lines {
    out: Box<dyn Write + Send>,
    step: String,
    members: Vec<MemberRow>,
    counts_due: Duration,
}

impl Lines {
    fn to(out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            step: String::new(),
            members: Vec::new(),
            counts_due: COUNTS_EVERY,
        }
    }

    fn line(&mut self, at: Duration, text: &str) {
        let colon = if self.step.is_empty() { "" } else { ": " };
        let ms = millis(at);
        // Standard error that is gone has nobody to tell.
        let _ = writeln!(
            self.out,
            "[{:>5}.{}s] {}{colon}{text}",
            ms / 1000,
            ms % 1000 / 100,
            self.step
        );
    }

    fn members(&mut self, at: Duration, rows: &[MemberRow]) {
        for row in rows {
            let before = self.members.iter().find(|old| old.name == row.name);
            if let Some(text) = change(before, row) {
                self.line(at, &text);
            }
        }
        self.members = rows.to_vec();
    }

    fn counters(&mut self, at: Duration, counters: Counters) {
        if at >= self.counts_due {
            self.counts_due = at + COUNTS_EVERY;
            self.line(at, &counts(counters));
        }
    }
}

fn change(before: Option<&MemberRow>, now: &MemberRow) -> Option<String> {
    let version = match before {
        Some(old) if (old.version, old.state, old.role) == (now.version, now.state, now.role) => {
            return None;
        }
        Some(old) if old.version != now.version => format!("{} -> {}", old.version, now.version),
        Some(_) | None => now.version.to_string(),
    };
    let role = match (now.state, now.role) {
        (State::Down | State::Starting, _) | (_, Role::Unknown) => String::new(),
        (_, role) => format!(", {}", role.word()),
    };
    Some(format!("{} {version} {}{role}", now.name, now.state.word()))
}

fn counts(counters: Counters) -> String {
    format!(
        "{} acknowledged, longest gap {}, {}",
        counted(counters.acknowledged, "write"),
        duration(counters.longest_gap_ms),
        counted(counters.events, "watch event")
    )
}

fn table(rows: &[MemberRow], colours: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if colours {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let title = |text| Cell::new(text).add_attribute(Attribute::Dim);
    table.set_header(
        [
            "  MEMBER", "VERSION", "ROLE", "STATE", "DB SIZE", "RAFT LAG",
        ]
        .map(title),
    );
    let oldest = rows.iter().map(|row| row.version).min();
    for row in rows {
        let version = Cell::new(row.version).fg(if Some(row.version) == oldest {
            Color::Blue
        } else {
            Color::Green
        });
        let state = Cell::new(row.state.word()).fg(match row.state {
            State::Healthy => Color::Green,
            State::NotReady | State::Starting => Color::Yellow,
            State::Down => Color::Red,
        });
        let role = match row.role {
            Role::Leader => Cell::new(row.role.word()).add_attribute(Attribute::Bold),
            Role::Follower | Role::Learner | Role::Unknown => Cell::new(row.role.word()),
        };
        table.add_row([
            Cell::new(format!("  {}", row.name)),
            version,
            role,
            state,
            Cell::new(row.db_size.map_or_else(|| "-".to_owned(), bytes)),
            Cell::new(row.lag.map_or_else(|| "-".to_owned(), grouped)),
        ]);
    }
    table.to_string()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The last words: the verdict first, then the figures, then where to read on.
pub(crate) fn summary(report: &Report, written: Option<&Path>) -> String {
    let mut text = format!("{}\n{}\n", report.verdict(), report.outcome.meaning());
    if report.outcome != Outcome::Passed {
        let _ = writeln!(text, "\nreason: {}", report.reason);
    }
    for broken in report.broken_promises() {
        let _ = writeln!(text, "  - {broken}");
    }
    for refusal in &report.refusals {
        let _ = writeln!(text, "\n{refusal}\n  remedy: {}", refusal.remedy);
    }
    text.push('\n');
    for (name, value) in figures(report) {
        let _ = writeln!(text, "  {name:9} {value}");
    }
    for warning in &report.warnings {
        let _ = writeln!(
            text,
            "\nwarning: {}: {}\n  remedy: {}",
            warning.code, warning.message, warning.remedy
        );
    }
    if let Some(directory) = written {
        let _ = writeln!(
            text,
            "\nreport: {}",
            directory.join("report.html").display()
        );
    }
    text
}

fn figures(report: &Report) -> Vec<(&'static str, String)> {
    let (writes, watch) = (&report.writes, &report.watch);
    let mut figures = Vec::new();
    if let Some(source) = &report.source {
        figures.push(("backup", source_words(source)));
        figures.push(("its keys", survived_words(&source.survived)));
    }
    figures.push((
        "writes",
        format!(
            "{} acknowledged, {} lost",
            grouped(writes.acknowledged),
            grouped(writes.lost)
        ),
    ));
    if !report.rolls.is_empty() {
        figures.push((
            "write gap",
            format!(
                "longest {}, {} over 100 ms",
                duration(writes.longest_gap_ms),
                grouped(writes.gaps_over_100ms)
            ),
        ));
    }
    figures.push((
        "watch",
        format!(
            "{}, {} missing, {} twice",
            counted(watch.events, "event"),
            grouped(watch.missing),
            grouped(watch.duplicated)
        ),
    ));
    figures.push(("data", data_words(&report.hash_kv)));
    figures.push(("history", history_words(report.linearizable).to_owned()));
    for roll in &report.rolls {
        figures.push((
            "roll",
            format!(
                "{} {} \u{2192} {}: {}, {}, {}",
                roll.direction,
                roll.from,
                roll.to,
                duration(roll.duration_ms),
                counted(roll.leader_changes, "leader change"),
                counted(roll.restarts, "restart")
            ),
        ));
    }
    figures.push(("took", duration(report.duration_ms())));
    figures.push(("seed", report.seed.to_string()));
    figures
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::report::tests::small;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            said.write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn row(name: &str, version: &str, role: Role, state: State) -> MemberRow {
        MemberRow {
            name: name.to_owned(),
            version: version.parse().unwrap(),
            role,
            state,
            db_size: Some(14_256_000),
            lag: None,
        }
    }

    #[test]
    fn plain_lines_say_what_changed_and_nothing_twice() {
        let out = Shared::default();
        let ui = Ui {
            began: Instant::now(),
            screen: Mutex::new(Screen::Lines(Lines::to(Box::new(out.clone())))),
        };
        ui.step_started("upgrade", Some(3));
        let before = row("etcd-1", "3.4.34", Role::Follower, State::Healthy);
        ui.members(std::slice::from_ref(&before));
        ui.members(&[MemberRow {
            lag: Some(3),
            ..before
        }]);
        ui.members(&[row("etcd-1", "3.5.27", Role::Unknown, State::Healthy)]);
        ui.counters(Counters::default());
        ui.step_ended("upgrade", StepResult::PutBack, "it exits at once");
        ui.say("bye");
        let said = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let said: Vec<&str> = said
            .lines()
            .map(|line| line.split_once("s] ").unwrap().1)
            .collect();
        assert_eq!(
            said,
            [
                "upgrade: begins",
                "upgrade: etcd-1 3.4.34 healthy, follower",
                "upgrade: etcd-1 3.4.34 -> 3.5.27 healthy",
                "upgrade: put back: it exits at once",
                "bye",
            ]
        );
    }

    #[test]
    fn counts_come_every_ten_seconds() {
        let out = Shared::default();
        let mut lines = Lines::to(Box::new(out.clone()));
        for second in 0..25 {
            lines.counters(Duration::from_secs(second), Counters::default());
        }
        let said = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert_eq!(said.lines().count(), 2, "{said}");
    }

    #[test]
    fn a_table_without_colours_is_plain_text() {
        let rows = [
            row("etcd-0", "3.4.34", Role::Leader, State::Healthy),
            row("etcd-1", "3.5.27", Role::Learner, State::NotReady),
        ];
        let plain = table(&rows, false);
        assert!(!plain.contains('\u{1b}'), "{plain:?}");
        for word in [
            "etcd-0",
            "3.4.34",
            "leader",
            "healthy",
            "14.2 MB",
            "not ready",
        ] {
            assert!(plain.contains(word), "{word} in {plain}");
        }
        assert!(table(&rows, true).contains('\u{1b}'));
    }

    #[test]
    fn the_last_words_begin_with_the_verdict_and_name_each_remedy() {
        let mut report = small();
        assert!(summary(&report, None).starts_with("Passed: a cluster of 3 members"));
        report.outcome = Outcome::Failed;
        report.writes.lost = 3;
        let refusal = druid_core::refusal::Refusal::AuthEnabled.report();
        report.refusals = vec![refusal.clone()];
        let words = summary(&report, Some(Path::new("/x")));
        for text in [
            "Failed: ",
            "  - 3 of 4210 acknowledged writes were lost\n",
            refusal.remedy.as_str(),
            "report: /x/report.html\n",
        ] {
            assert!(words.contains(text), "{text} in {words}");
        }
    }
}
