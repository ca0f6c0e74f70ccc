//! What has been done so far: the steps, the log and the marks of the report, shown as they come.

use std::sync::Arc;
use std::time::Instant;

use druid_core::report::{LogLine, Mark, Step, StepResult};
use jiff::Timestamp;

use crate::clock;
use crate::report::terminal::Ui;

/// The story of a rehearsal.
pub(super) struct Story {
    pub(super) started: Timestamp,
    /// The same moment, for what is measured and not shown.
    pub(super) origin: Instant,
    pub(super) steps: Vec<Step>,
    pub(super) log: Vec<LogLine>,
    pub(super) marks: Vec<Mark>,
    ui: Arc<Ui>,
    open: Option<(String, Timestamp)>,
    detail: String,
}

impl Story {
    pub(super) fn new(ui: Arc<Ui>) -> Self {
        let (steps, log, marks) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            started: clock::now(),
            origin: Instant::now(),
            steps,
            log,
            marks,
            ui,
            open: None,
            detail: String::new(),
        }
    }

    /// A moment in milliseconds since the start.
    pub(super) fn since(&self, moment: Timestamp) -> u64 {
        let since = moment.as_millisecond() - self.started.as_millisecond();
        u64::try_from(since).unwrap_or(0)
    }

    /// Begins a step. One that is open has passed.
    pub(super) fn begin(&mut self, name: &str, total: Option<u64>) {
        self.end(StepResult::Passed);
        let now = clock::now();
        self.open = Some((name.to_owned(), now));
        self.marks.push(Mark {
            at_ms: self.since(now),
            label: name.to_owned(),
        });
        self.ui.step_started(name, total);
    }

    /// The name of the step that is open.
    pub(super) fn current(&self) -> Option<&str> {
        self.open.as_ref().map(|(name, _)| name.as_str())
    }

    /// What the open step has found, in one clause.
    pub(super) fn found(&mut self, detail: String) {
        self.detail = detail;
    }

    /// Ends the step that is open, if there is one.
    pub(super) fn end(&mut self, result: StepResult) {
        let detail = std::mem::take(&mut self.detail);
        let Some((name, started)) = self.open.take() else {
            return;
        };
        self.ui.step_ended(&name, result, &detail);
        let ended = clock::now();
        self.steps.push(Step {
            name,
            result,
            started,
            ended,
            detail,
        });
    }

    /// How far the open step is.
    pub(super) fn progress(&self, done: u64) {
        self.ui.step_progress(done);
    }

    /// Something worth a line.
    pub(super) fn say(&mut self, text: &str) {
        self.ui.say(text);
        self.log.push(LogLine {
            at_ms: self.since(clock::now()),
            text: text.to_owned(),
        });
    }
}
