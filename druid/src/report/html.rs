//! `report.html`: one file, without a script or anything from outside, that someone who never saw
//! etcd can read from the top and an engineer to the end.

use std::fmt::Write as _;

use druid_core::report::{Outcome, Report, StepResult};

use super::svg;
use super::text::{
    bytes, counted, data_words, duration, grouped, history_words, source_words, survived_words,
};

/// The whole page.
pub(crate) fn render(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta \
         name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>etcd {} \u{2192} \
         {}: {}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n",
        report.from,
        report.to,
        report.outcome,
        include_str!("report.css")
    );
    page += &verdict(report);
    page += &figures(report);
    page += &refusals(report);
    page += &warnings(report);
    page += &promises(report);
    page += &timeline(report);
    page += &steps(report);
    page += &rolls(report);
    page += &members(report);
    page += &again(report);
    page += &log(report);
    page += &footer(report);
    page += "</main>\n</body>\n</html>\n";
    page
}

/// Text as HTML, also inside attributes. Control characters, which HTML cannot hold, become `\u{fffd}`.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            _ if character.is_control() => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}

fn verdict(report: &Report) -> String {
    let (class, sign) = match report.outcome {
        Outcome::Passed => ("good", "\u{2713}"),
        Outcome::Failed => ("bad", "\u{2715}"),
        Outcome::Refused => ("odd", "!"),
        Outcome::Halted => ("odd", "\u{2016}"),
        Outcome::PutBack => ("odd", "\u{21a9}"),
    };
    let faults = if report.faults.is_empty() {
        String::new()
    } else {
        format!(
            " &middot; faults injected on purpose: <b>{}</b>",
            escape(&report.faults.join(", "))
        )
    };
    format!(
        "<div class=\"top\"><span><b>etcd upgrade rehearsal</b> &middot; {} &rarr; {}{faults}</span>\
         <span>{} UTC</span></div>\n<section class=\"verdict {class}\"><div class=\"sign\" \
         aria-hidden=\"true\">{sign}</div><div><h1>{}</h1><p>{}</p><p class=\"why\">{}</p></div>\
         </section>\n",
        report.from,
        report.to,
        report.started.strftime("%Y-%m-%d %H:%M"),
        escape(&report.verdict()),
        escape(report.outcome.meaning()),
        escape(&sentence(&report.reason))
    )
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    let mut sentence: String = first.into_iter().flatten().chain(characters).collect();
    if !sentence.is_empty() && !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

fn figures(report: &Report) -> String {
    let writes = &report.writes;
    let lost = if writes.lost > 0 { " bad" } else { "" };
    let mut cards = format!(
        "<div class=\"figure\"><b>{}</b><span>writes acknowledged</span></div>\n\
         <div class=\"figure{lost}\"><b>{}</b><span>of them lost</span></div>\n",
        grouped(writes.acknowledged),
        grouped(writes.lost)
    );
    if !report.rolls.is_empty() {
        let changes: u64 = report.rolls.iter().map(|roll| roll.leader_changes).sum();
        let _ = write!(
            cards,
            "<div class=\"figure\"><b>{}</b><span>longest time without a write</span></div>\n\
             <div class=\"figure\"><b>{changes}</b><span>leader changes in {}</span></div>\n",
            duration(writes.longest_gap_ms),
            counted(count(&report.rolls), "roll")
        );
    }
    format!(
        "<section class=\"figures\">\n{cards}<div class=\"figure\"><b>{}</b><span>whole \
         rehearsal</span></div>\n</section>\n",
        duration(report.duration_ms())
    )
}

fn count<T>(list: &[T]) -> u64 {
    u64::try_from(list.len()).unwrap_or(u64::MAX)
}

fn refusals(report: &Report) -> String {
    if report.refusals.is_empty() {
        return String::new();
    }
    let mut html = "<h2>Why it was refused, and what to do</h2>\n".to_owned();
    for refusal in &report.refusals {
        let member = refusal.member.as_deref().map_or_else(String::new, |name| {
            format!(" <span class=\"tag none\">{}</span>", escape(name))
        });
        let _ = writeln!(
            html,
            "<div class=\"refusal\"><code>{}</code>{member}<p>{}</p><p class=\"remedy\"><b>What to \
             do:</b> {}</p></div>",
            escape(&refusal.code),
            escape(&sentence(&refusal.message)),
            escape(&sentence(&refusal.remedy))
        );
    }
    html
}

fn warnings(report: &Report) -> String {
    if report.warnings.is_empty() {
        return String::new();
    }
    let mut html = "<h2>What to look after</h2>\n".to_owned();
    for warning in &report.warnings {
        let _ = writeln!(
            html,
            "<div class=\"refusal\"><code>{}</code><p>{}</p><p class=\"remedy\"><b>What to do:</b> \
             {}</p></div>",
            escape(&warning.code),
            escape(&sentence(&warning.message)),
            escape(&sentence(&warning.remedy))
        );
    }
    html
}

/// What was promised, in the words of someone who needs the promise, and what was found.
fn promises(report: &Report) -> String {
    let (writes, watch) = (&report.writes, &report.watch);
    let kept = |kept: bool| {
        if kept {
            ("good", "kept")
        } else {
            ("bad", "broken")
        }
    };
    let unless_none = |fact: Option<bool>| fact.map_or(("none", "not checked"), kept);
    // What a preflight refused was not broken by the upgrade.
    let same_data = match (report.outcome, report.hash_kv.equal) {
        (Outcome::Refused, Some(false)) => ("odd", "not so before"),
        (_, equal) => unless_none(equal),
    };
    let mut rows = vec![
        (
            "Nothing that was saved is lost",
            format!(
                "{} acknowledged, {} lost",
                counted(writes.acknowledged, "write"),
                grouped(writes.lost)
            ),
            kept(writes.lost == 0),
        ),
        (
            "Whoever follows changes sees each exactly once",
            format!(
                "{}: {} missing, {} twice",
                counted(watch.events, "watch event"),
                grouped(watch.missing),
                grouped(watch.duplicated)
            ),
            kept(watch.missing == 0 && watch.duplicated == 0),
        ),
        (
            "All members hold the same data",
            format!("HashKV {}", data_words(&report.hash_kv)),
            same_data,
        ),
        (
            "Nobody ever reads an outdated answer",
            format!("recorded history {}", history_words(report.linearizable)),
            unless_none(report.linearizable),
        ),
    ];
    if let Some(source) = &report.source {
        rows.push((
            "The data of the backup is as it was",
            survived_words(&source.survived),
            unless_none(source.survived.same),
        ));
    }
    let mut html = checked(rows);
    let broken = report.broken_promises();
    if !broken.is_empty() {
        html += "<ul>\n";
        for promise in broken {
            let _ = writeln!(html, "<li>{}</li>", escape(&sentence(&promise)));
        }
        html += "</ul>\n";
    }
    html
}

/// The table of promises: in words, what was found, and the class and word of the verdict.
fn checked(rows: Vec<(&str, String, (&str, &str))>) -> String {
    let mut html = "<h2>What was checked</h2>\n<div class=\"wide\"><table>\n<tr><th>Promise</th>\
                    <th>Found</th><th>Result</th></tr>\n"
        .to_owned();
    for (promise, found, (class, word)) in rows {
        let _ = writeln!(
            html,
            "<tr><td>{promise}</td><td>{found}</td><td><span class=\"tag {class}\">{word}</span>\
             </td></tr>"
        );
    }
    html += "</table></div>\n";
    html
}

fn timeline(report: &Report) -> String {
    let mut legend = String::new();
    for (version, class) in svg::version_classes(report) {
        let _ = write!(
            legend,
            "<span><i class=\"{class}\"></i>runs {version}</span>"
        );
    }
    let picture = svg::timeline(report);
    legend += "<span><i class=\"down\"></i>down</span><span><i class=\"lead\"></i>leads</span>";
    if picture.contains("class=\"silence\"") {
        legend += "<span><i class=\"silent\"></i>no write for 0.1 s or more</span>";
    }
    format!(
        "<h2>What happened when</h2>\n<div class=\"legend\">{legend}</div>\n<div \
         class=\"chart\">{picture}</div>\n"
    )
}

fn tag(result: StepResult) -> String {
    let class = match result {
        StepResult::Passed => "good",
        StepResult::Failed => "bad",
        StepResult::Refused | StepResult::Halted | StepResult::PutBack => "odd",
        StepResult::Skipped => "none",
    };
    format!("<span class=\"tag {class}\">{result}</span>")
}

fn steps(report: &Report) -> String {
    let mut html = "<h2>Every step</h2>\n<div class=\"wide\"><table>\n<tr><th class=\"n\">#</th>\
                    <th>Step</th><th>Found</th><th class=\"n\">Took</th><th>Result</th></tr>\n"
        .to_owned();
    for (at, step) in report.steps.iter().enumerate() {
        let ended = report.since_start_ms(step.ended);
        let took = ended.saturating_sub(report.since_start_ms(step.started));
        let _ = writeln!(
            html,
            "<tr><td class=\"n\">{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            at + 1,
            escape(&step.name),
            escape(&step.detail),
            duration(took),
            tag(step.result)
        );
    }
    html + "</table></div>\n"
}

fn rolls(report: &Report) -> String {
    if report.rolls.is_empty() {
        return String::new();
    }
    let mut html = "<h2>Each pass over the members</h2>\n<div class=\"wide\"><table>\n<tr>\
                    <th>Pass</th><th>From</th><th>To</th><th class=\"n\">Took</th>\
                    <th class=\"n\">Longest write gap</th><th class=\"n\">Gaps over 100 ms</th>\
                    <th class=\"n\">Leader changes</th><th class=\"n\">Restarts</th></tr>\n"
        .to_owned();
    for roll in &report.rolls {
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            roll.direction,
            roll.from,
            roll.to,
            duration(roll.duration_ms),
            duration(roll.longest_gap_ms),
            grouped(roll.gaps_over_100ms),
            grouped(roll.leader_changes),
            grouped(roll.restarts)
        );
    }
    html + "</table></div>\n<p class=\"note\">A write gap is a time in which no writer had a write \
            acknowledged.</p>\n"
}

fn members(report: &Report) -> String {
    let mut html = "<h2>For engineers</h2>\n<div class=\"wide\"><table>\n<tr><th>Member</th>\
                    <th>Releases, in order</th><th class=\"n\">Restarts</th></tr>\n"
        .to_owned();
    for member in &report.members {
        let versions: Vec<String> = member.versions.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
            escape(&member.name),
            versions.join(" &rarr; "),
            grouped(member.restarts)
        );
    }
    let load = &report.load;
    let _ = writeln!(
        html,
        "</table></div>\n<p>Load: {}, {}; the longest that one writer waited for one write was {}. \
         {} failed without saying whether they were done; both were allowed in the check.</p>",
        counted(load.writers, "writer"),
        counted(load.reads, "linearizable read"),
        duration(load.longest_stall_ms),
        counted(load.ambiguous_writes, "write")
    );
    if let Some(source) = &report.source {
        let _ = writeln!(
            html,
            "<p>Held on the backup <code>{}</code>: <code>{}</code> and {}: {}; the restored database \
             has {}.</p>",
            escape(&source.store),
            escape(&source.base),
            counted(source.deltas, "delta"),
            source_words(source),
            bytes(source.restored_bytes)
        );
    }
    if let Some(snapshot) = &report.snapshot {
        let _ = writeln!(
            html,
            "<p>Snapshot before the first restart: revision {}, {}, SHA-256 <code>{}</code>.</p>",
            snapshot.revision,
            bytes(snapshot.bytes),
            escape(&snapshot.sha256)
        );
    }
    html
}

fn again(report: &Report) -> String {
    format!(
        "<p>The same choices again (seed {}):</p>\n<pre>{}</pre>\n",
        report.seed,
        escape(&report.command)
    )
}

fn log(report: &Report) -> String {
    if report.log.is_empty() {
        return String::new();
    }
    let mut lines = String::new();
    for line in &report.log {
        let (seconds, millis) = (line.at_ms / 1000, line.at_ms % 1000);
        let _ = writeln!(lines, "{seconds:>5}.{millis:03}  {}", escape(&line.text));
    }
    format!(
        "<details><summary>Log, {}</summary>\n<pre>{lines}</pre></details>\n",
        counted(count(&report.log), "line")
    )
}

fn footer(report: &Report) -> String {
    format!(
        "<footer>Made by druid {} from a throwaway cluster of real etcd processes on one machine; \
         nothing else was touched. The same facts for programs: report.json beside this \
         file.</footer>\n",
        escape(&report.druid)
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::tests::small;

    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/report.html");

    #[test]
    fn the_page_of_a_small_report_is_the_golden_one() {
        let page = render(&small());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(GOLDEN, &page).unwrap();
        }
        let golden = std::fs::read_to_string(GOLDEN).unwrap();
        assert!(
            page == golden,
            "the page is not {GOLDEN}; if that is meant, run again with UPDATE_GOLDEN=1 and look \
             at the difference"
        );
    }

    #[test]
    fn a_refusal_is_shown_with_its_remedy() {
        let mut report = small();
        report.outcome = Outcome::Refused;
        report.refusals = vec![druid_core::refusal::Refusal::AuthEnabled.report()];
        let page = render(&report);
        for text in ["AuthEnabled", "etcdctl auth disable", "verdict odd"] {
            assert!(page.contains(text), "{text}");
        }
    }

    fn source() -> druid_core::report::Source {
        druid_core::report::Source {
            store: "/backups".to_owned(),
            base: "v2/Full-00000000-00000101-1795355041.gz".to_owned(),
            deltas: 1,
            revision: 102,
            keys: 101,
            database_bytes: 36_864,
            bytes_in_use: 32_768,
            restored_bytes: 32_768,
            restore_ms: 6,
            survived: druid_core::report::Survived {
                keys: 100,
                sha256: "00".to_owned(),
                checks: 3,
                same: Some(true),
            },
        }
    }

    #[test]
    fn a_backup_is_shown_with_what_became_of_it() {
        let mut report = small();
        report.source = Some(source());
        report.warnings = vec![druid_core::warnings::Warning::FlagsRemoved.report()];
        let page = render(&report);
        for text in [
            "/backups",
            "1 delta: revision 102, 101 keys",
            "the same in 3 checks",
            "What to look after",
            "capnslog",
        ] {
            assert!(page.contains(text), "{text}");
        }
        if let Some(source) = &mut report.source {
            source.survived.same = Some(false);
        }
        assert!(render(&report).contains("not the same later"));
    }

    proptest! {
        #[test]
        fn no_text_can_become_markup(text in ".{0,40}") {
            let mut report = small();
            let evil = format!("<script>\"'&{text}</script>");
            report.reason.clone_from(&evil);
            report.command.clone_from(&evil);
            report.druid.clone_from(&evil);
            report.faults = vec![evil.clone()];
            report.steps[0].name.clone_from(&evil);
            report.steps[0].detail.clone_from(&evil);
            report.members[0].name.clone_from(&evil);
            report.timeline.members[0].name.clone_from(&evil);
            report.timeline.leaders[0].member = Some(evil.clone());
            report.timeline.marks[0].label.clone_from(&evil);
            report.log[0].text.clone_from(&evil);
            report.warnings = vec![druid_core::report::Warning {
                code: evil.clone(),
                message: evil.clone(),
                remedy: evil.clone(),
            }];
            report.source = Some(druid_core::report::Source {
                store: evil.clone(),
                base: evil.clone(),
                ..source()
            });
            let page = render(&report);
            prop_assert!(!page.contains("<script"));
            // The same number of elements as the same page with harmless text.
            let signs = |page: &str| page.matches('<').count();
            let mut tame = report;
            tame.reason = "x".repeat(evil.len());
            let tame = serde_json::to_string(&tame).unwrap();
            let tame: Report = serde_json::from_str(
                &tame.replace(&serde_json::to_string(&evil).unwrap(), "\"x\"")
            ).unwrap();
            prop_assert_eq!(signs(&page), signs(&render(&tame)));
        }

        #[test]
        fn escaped_text_holds_nothing_that_html_reads(text in any::<String>()) {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'', '\0']));
        }
    }
}
