//! `report.json`.

use druid_core::report::Report;

/// The report for programs, one field a line, so that two of them can be compared.
pub(crate) fn render(report: &Report) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
}
