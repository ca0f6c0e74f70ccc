//! The timeline as inline SVG: the steps, a lane per member, who leads, the writes. One time axis
//! for all of it. Colours come from the page's style sheet.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use druid_core::report::{Lane, Report, StepResult, UpDown, WriteBucket};
use druid_core::version::Version;

use super::html::escape;
use super::text::grouped;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 14.0;
const STEPS_HEIGHT: f64 = 22.0;
const LANE_HEIGHT: f64 = 30.0;
const BAR_HEIGHT: f64 = 20.0;
const CHART_HEIGHT: f64 = 58.0;
const GAP: f64 = 16.0;
/// Advance of a character of the small type, roughly; a label that may not fit is left out.
const CHARACTER: f64 = 6.2;
/// Points on the charts; more than this the eye does not see.
const COLUMNS: u64 = 440;

/// The class of each release's colour: the lowest has `v0`.
pub(super) fn version_classes(report: &Report) -> BTreeMap<Version, String> {
    let spans = report.timeline.members.iter().flat_map(|lane| &lane.spans);
    let mut versions: Vec<Version> = spans.map(|span| span.version).collect();
    versions.extend([report.from, report.to]);
    versions.sort_unstable();
    versions.dedup();
    versions
        .into_iter()
        .enumerate()
        .map(|(at, version)| (version, format!("v{}", at % 4)))
        .collect()
}

/// The whole picture.
pub(super) fn timeline(report: &Report) -> String {
    let mut picture = Picture {
        report,
        total_ms: report.duration_ms().max(1),
        body: String::new(),
        y: 2.0,
    };
    picture.steps();
    picture.lanes();
    picture.marks();
    picture.charts();
    picture.axis();
    let height = picture.y;
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"Timeline of the \
         rehearsal: steps, members, leader and writes\">\n<defs><pattern id=\"down\" width=\"6\" \
         height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect \
         width=\"6\" height=\"6\" class=\"down-back\"/><rect width=\"2.5\" height=\"6\" \
         class=\"down-line\"/></pattern></defs>\n{}</svg>\n",
        picture.body
    )
}

struct Picture<'a> {
    report: &'a Report,
    total_ms: u64,
    body: String,
    /// Where the next row begins.
    y: f64,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a picture needs no more than a few digits"
)]
fn float(number: u64) -> f64 {
    number as f64
}

impl Picture<'_> {
    fn x(&self, ms: u64) -> f64 {
        let part = float(ms.min(self.total_ms)) / float(self.total_ms);
        LEFT + part * (WIDTH - LEFT - RIGHT)
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = self.body.write_fmt(element);
        self.body.push('\n');
    }

    fn row_label(&mut self, y: f64, label: &str) {
        let x = LEFT - 10.0;
        let label = escape(label);
        self.put(format_args!(
            "<text x=\"{x}\" y=\"{y:.1}\" class=\"row\">{label}</text>"
        ));
    }

    fn steps(&mut self) {
        let y = self.y;
        self.row_label(y + 15.0, "steps");
        for (at, step) in self.report.steps.iter().enumerate() {
            let from = self.x(self.report.since_start_ms(step.started));
            let to = self.x(self.report.since_start_ms(step.ended));
            let width = (to - from).max(1.5);
            let class = match step.result {
                StepResult::Passed => "step",
                StepResult::Failed => "step bad",
                StepResult::Refused | StepResult::Halted | StepResult::PutBack => "step odd",
                StepResult::Skipped => continue,
            };
            self.put(format_args!(
                "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{STEPS_HEIGHT}\" \
                 class=\"{class}\"><title>{}. {}: {}</title></rect>",
                at + 1,
                escape(&step.name),
                step.result
            ));
            let number = (at + 1).to_string();
            let label = [step.name.as_str(), number.as_str()]
                .into_iter()
                .find(|label| text_width(label) + 6.0 < width);
            if let Some(label) = label {
                self.put(format_args!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" class=\"mid\">{}</text>",
                    from + width / 2.0,
                    y + 15.0,
                    escape(label)
                ));
            }
        }
        self.y += STEPS_HEIGHT + 12.0;
    }

    fn lanes(&mut self) {
        let report = self.report;
        let classes = version_classes(report);
        let top = self.y;
        for lane in &report.timeline.members {
            self.lane(lane, &classes);
        }
        self.leaders(top);
        self.y += 4.0;
    }

    fn lane(&mut self, lane: &Lane, classes: &BTreeMap<Version, String>) {
        let y = self.y;
        self.row_label(y + 14.5, &lane.name);
        for span in &lane.spans {
            let (from, to) = (self.x(span.from_ms), self.x(span.to_ms));
            let width = (to - from).max(1.0);
            let (class, word) = match span.state {
                UpDown::Up => (
                    classes.get(&span.version).map_or("v3", String::as_str),
                    "runs",
                ),
                UpDown::Down => ("is-down", "down, becoming"),
            };
            let version = span.version;
            self.put(format_args!(
                "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" \
                 class=\"bar {class}\"><title>{}: {word} {version}, {} to {}</title></rect>",
                escape(&lane.name),
                seconds(span.from_ms),
                seconds(span.to_ms)
            ));
            let label = version.to_string();
            if span.state == UpDown::Up && text_width(&label) + 26.0 < width {
                self.put(format_args!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" class=\"in-bar {class}\">{label}</text>",
                    to - 8.0,
                    y + 14.0
                ));
            }
        }
        self.y += LANE_HEIGHT;
    }

    /// A line under the bar of whoever leads, and a crown where it begins.
    fn leaders(&mut self, top: f64) {
        let timeline = &self.report.timeline;
        let lane_of = |name: &str| timeline.members.iter().position(|lane| lane.name == name);
        let mut before: Option<f64> = None;
        for (at, leader) in timeline.leaders.iter().enumerate() {
            let ends = timeline.leaders.get(at + 1);
            let from = self.x(leader.at_ms);
            let to = self.x(ends.map_or(self.total_ms, |next| next.at_ms));
            let lane = leader.member.as_deref().and_then(lane_of);
            let Some(lane) = lane.and_then(|lane| u32::try_from(lane).ok()) else {
                before = None;
                continue;
            };
            let y = top + f64::from(lane) * LANE_HEIGHT + BAR_HEIGHT + 3.0;
            let start = before.unwrap_or(y);
            self.put(format_args!(
                "<path d=\"M{from:.1} {start:.1}V{y:.1}H{to:.1}\" class=\"leader\"/>\
                 <path d=\"M{:.1} {:.1}l-1.5 -9l4 3.6l3.5 -5.6l3.5 5.6l4 -3.6l-1.5 9z\" \
                 class=\"crown\"><title>{} leads from {} on</title></path>",
                from + 4.0,
                y - 6.5,
                escape(leader.member.as_deref().unwrap_or_default()),
                seconds(leader.at_ms)
            ));
            before = Some(y);
        }
    }

    /// Named moments: a dashed line through all rows, a label where there is room for one.
    fn marks(&mut self) {
        let report = self.report;
        if report.timeline.marks.is_empty() {
            return;
        }
        let (top, y) = (STEPS_HEIGHT + 8.0, self.y + 9.0);
        let bottom = y + GAP + 2.0 * (CHART_HEIGHT + GAP) - 12.0;
        let mut free_from = LEFT;
        for mark in &report.timeline.marks {
            let x = self.x(mark.at_ms);
            let label = escape(&mark.label);
            self.put(format_args!(
                "<path d=\"M{x:.1} {top}V{bottom:.1}\" class=\"mark\"><title>{label} at {}</title>\
                 </path>",
                seconds(mark.at_ms)
            ));
            let width = text_width(&mark.label);
            let (anchor, from) = if x + width + 4.0 > WIDTH {
                ("end", x - width - 4.0)
            } else {
                ("start", x + 4.0)
            };
            if from >= free_from {
                let at = if anchor == "end" { x - 4.0 } else { from };
                self.put(format_args!(
                    "<text x=\"{at:.1}\" y=\"{y:.1}\" class=\"mark-label {anchor}\">{label}</text>"
                ));
                free_from = from + width + 8.0;
            }
        }
        self.y += 14.0;
    }

    fn charts(&mut self) {
        if self.report.timeline.writes.is_empty() {
            return;
        }
        let columns = self.columns();
        self.throughput(&columns);
        self.latency(&columns);
    }

    fn columns(&self) -> Vec<Column> {
        // Whole buckets per column: otherwise some columns hold one more than their neighbours.
        let buckets = self.total_ms.div_ceil(WriteBucket::WIDTH_MS);
        let width = buckets.div_ceil(COLUMNS) * WriteBucket::WIDTH_MS;
        let count = self.total_ms.div_ceil(width);
        let mut columns: Vec<Column> = (0..count)
            .map(|at| Column {
                at_ms: at * width + width / 2,
                count: 0,
                slowest_ms: None,
            })
            .collect();
        for bucket in &self.report.timeline.writes {
            let at = usize::try_from(bucket.at_ms / width).unwrap_or(usize::MAX);
            if let Some(column) = columns.get_mut(at)
                && bucket.count > 0
            {
                column.count += bucket.count;
                column.slowest_ms = column.slowest_ms.max(Some(bucket.max_latency_ms));
            }
        }
        for column in &mut columns {
            column.count = column.count * 1000 / width;
        }
        columns
    }

    fn throughput(&mut self, columns: &[Column]) {
        let most = columns
            .iter()
            .map(|column| column.count)
            .max()
            .unwrap_or(0)
            .max(1);
        let (base, y) = (self.y + CHART_HEIGHT, self.y);
        self.row_label(y + 12.0, "writes / s");
        self.scale(y, base, &grouped(most));
        let mut path = format!("M{LEFT} {base:.1}");
        for column in columns {
            let height = float(column.count) / float(most) * (CHART_HEIGHT - 4.0);
            let _ = write!(path, "L{:.1} {:.1}", self.x(column.at_ms), base - height);
        }
        let _ = write!(path, "L{:.1} {base:.1}Z", self.x(self.total_ms));
        self.put(format_args!("<path d=\"{path}\" class=\"count\"/>"));
        self.silences(base);
        self.y = base + GAP;
    }

    /// Marks every bucket of a roll in which not one write was acknowledged.
    fn silences(&mut self, base: f64) {
        let report = self.report;
        let busy: Vec<u64> = report
            .timeline
            .writes
            .iter()
            .filter(|bucket| bucket.count > 0)
            .map(|bucket| bucket.at_ms / WriteBucket::WIDTH_MS)
            .collect();
        for roll in &report.rolls {
            let first = roll.started_ms.div_ceil(WriteBucket::WIDTH_MS);
            let last = (roll.started_ms + roll.duration_ms) / WriteBucket::WIDTH_MS;
            let silent = (first..last).filter(|bucket| busy.binary_search(bucket).is_err());
            for (first, last) in runs(silent) {
                let from = self.x(first * WriteBucket::WIDTH_MS);
                let to = self.x((last + 1) * WriteBucket::WIDTH_MS);
                let width = (to - from).max(1.0);
                let y = base - CHART_HEIGHT;
                self.put(format_args!(
                    "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
                     height=\"{CHART_HEIGHT}\" class=\"silence\"><title>no write for {} ms or \
                     more</title></rect>",
                    (last + 1 - first) * WriteBucket::WIDTH_MS
                ));
            }
        }
    }

    fn latency(&mut self, columns: &[Column]) {
        let most = columns.iter().filter_map(|column| column.slowest_ms).max();
        let most = most.unwrap_or(0).max(100);
        let (base, y) = (self.y + CHART_HEIGHT, self.y);
        self.row_label(y + 12.0, "slowest");
        self.row_label(y + 26.0, "write");
        self.scale(y, base, &format!("{} ms", grouped(most)));
        let height = |ms: u64| base - float(ms) / float(most) * (CHART_HEIGHT - 4.0);
        if most > 150 {
            let limit = height(100);
            self.put(format_args!(
                "<path d=\"M{LEFT} {limit:.1}H{:.1}\" class=\"limit\"><title>100 ms</title></path>",
                WIDTH - RIGHT
            ));
        }
        let (mut path, mut pen) = (String::new(), "M");
        for column in columns {
            if let Some(slowest) = column.slowest_ms {
                let _ = write!(
                    path,
                    "{pen}{:.1} {:.1}",
                    self.x(column.at_ms),
                    height(slowest)
                );
                pen = "L";
            } else {
                pen = "M";
            }
        }
        self.put(format_args!("<path d=\"{path}\" class=\"latency\"/>"));
        self.y = base + 4.0;
    }

    fn scale(&mut self, top: f64, base: f64, most: &str) {
        let right = WIDTH - RIGHT;
        self.put(format_args!(
            "<path d=\"M{LEFT} {base:.1}H{right}M{LEFT} {:.1}H{right}\" class=\"grid\"/>\
             <text x=\"{right}\" y=\"{:.1}\" class=\"most\">{most}</text>",
            top + 4.0,
            top
        ));
    }

    fn axis(&mut self) {
        let (y, right) = (self.y, WIDTH - RIGHT);
        self.put(format_args!(
            "<path d=\"M{LEFT} {y:.1}H{right}\" class=\"axis\"/>"
        ));
        let step = tick_ms(self.total_ms);
        let mut at = 0;
        while at <= self.total_ms {
            let x = self.x(at);
            self.put(format_args!(
                "<path d=\"M{x:.1} {y:.1}v5\" class=\"axis\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
                 class=\"tick\">{}</text>",
                y + 17.0,
                tick_label(at, step)
            ));
            at += step;
        }
        self.y += 22.0;
    }
}

/// A point of the charts.
struct Column {
    at_ms: u64,
    /// Writes per second.
    count: u64,
    /// `None` without writes.
    slowest_ms: Option<u64>,
}

/// Neighbouring numbers as the first and the last of them.
fn runs(numbers: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            Some(_) | None => runs.push((number, number)),
        }
    }
    runs
}

fn text_width(text: &str) -> f64 {
    text.chars().map(|_| CHARACTER).sum()
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// The distance of ticks that gives at most twelve of them.
fn tick_ms(total_ms: u64) -> u64 {
    let mut unit = 100;
    loop {
        for step in [unit, unit * 2, unit * 5] {
            if total_ms / step <= 12 {
                return step;
            }
        }
        unit *= 10;
    }
}

fn tick_label(ms: u64, step: u64) -> String {
    if step < 1000 {
        seconds(ms)
    } else {
        format!("{} s", ms / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_enough_ticks_and_not_too_many() {
        for total in [1, 99, 1000, 7300, 68_000, 3_600_000, 86_400_000] {
            let count = total / tick_ms(total);
            assert!(
                count <= 12 && (count >= 4 || total < 500),
                "{total}: {count}"
            );
        }
    }

    #[test]
    fn a_roll_without_writes_is_marked_where_there_are_none() {
        let mut report = crate::report::tests::small();
        report.rolls.truncate(1);
        report.rolls[0].started_ms = 3000;
        report.rolls[0].duration_ms = 1000;
        assert!(!timeline(&report).contains("silence"));
        report.timeline.writes.remove(4);
        report.timeline.writes[6].count = 0;
        assert_eq!(timeline(&report).matches("silence").count(), 2);
        report.timeline.writes.remove(6);
        report.timeline.writes.remove(6);
        let picture = timeline(&report);
        assert_eq!(picture.matches("silence").count(), 2);
        assert!(picture.contains("no write for 200 ms"), "{picture}");
    }
}
