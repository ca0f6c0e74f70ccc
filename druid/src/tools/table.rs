//! A store's inventory, for people.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use druid_core::backup::inventory::{Inventory, Restore, Snapshot, SnapshotKind, State};
use jiff::{SignedDuration, Timestamp};

use crate::report::text;

/// The table, what a restore would do, and what somebody should look at.
pub(super) fn text(inventory: &Inventory, now: Timestamp) -> String {
    let mut out = String::new();
    if !inventory.snapshots.is_empty() {
        for line in table(inventory, now).to_string().lines() {
            let _ = writeln!(out, "{}", line.trim_end());
        }
        out.push('\n');
    }
    for snapshot in &inventory.snapshots {
        if let Some(damage) = &snapshot.damage {
            let _ = writeln!(out, "damaged: {}: {damage}", snapshot.key);
        }
    }
    for foreign in &inventory.foreign {
        let _ = writeln!(out, "passed over: {foreign}");
    }
    if inventory.parts > 0 {
        let parts = text::counted(inventory.parts as u64, "part");
        let _ = writeln!(out, "passed over: {parts} of uploads");
    }
    for warning in &inventory.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    let _ = writeln!(out, "{}", restore(&inventory.restore, now));
    out
}

fn table(inventory: &Inventory, now: Timestamp) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "", "KIND", "FROM", "TO", "SIZE", "AGE", "CODEC", "STATE", "NAME",
    ]);
    for snapshot in &inventory.snapshots {
        table.add_row(row(snapshot, now));
    }
    for column in [2, 3, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn row(snapshot: &Snapshot, now: Timestamp) -> [String; 9] {
    let kind = match (snapshot.kind, snapshot.is_final) {
        (SnapshotKind::Full, false) => "full",
        (SnapshotKind::Full, true) => "full, final",
        (SnapshotKind::Delta, false) => "delta",
        (SnapshotKind::Delta, true) => "delta, final",
    };
    let state = match snapshot.state {
        State::Unread => "not read",
        State::Whole => "whole",
        State::Damaged => "DAMAGED",
    };
    [
        if snapshot.restored { "*" } else { "" }.to_owned(),
        kind.to_owned(),
        snapshot.start.to_string(),
        snapshot.last.to_string(),
        snapshot.bytes.map_or_else(|| "?".to_owned(), text::bytes),
        age(now.duration_since(snapshot.created)),
        snapshot.codec.clone(),
        state.to_owned(),
        name(&snapshot.key).to_owned(),
    ]
}

/// The last component of a key.
fn name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// `3 d 4 h`, in the two largest units.
fn age(age: SignedDuration) -> String {
    let seconds = age.as_secs();
    let (sign, seconds) = (if seconds < 0 { "-" } else { "" }, seconds.unsigned_abs());
    let text = match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    };
    format!("{sign}{text}")
}

fn restore(restore: &Restore, now: Timestamp) -> String {
    match restore {
        Restore::Yes {
            revision,
            written,
            base,
            deltas,
        } => format!(
            "Restorable up to revision {revision}, written {} ago: {} and {} (*).",
            age(now.duration_since(*written)),
            name(base),
            text::counted(*deltas as u64, "delta"),
        ),
        Restore::Partly { why, .. } => format!("NOT WHOLLY RESTORABLE: {why}."),
        Restore::No { why } => format!("NOT RESTORABLE: {why}."),
    }
}

#[cfg(test)]
mod tests {
    use druid_core::backup::inventory::{self, Read};
    use druid_core::backup::listing::Listing;
    use druid_core::backup::names::Prefix;
    use druid_core::backup::restorable::Known;

    use super::*;

    #[test]
    fn a_store_is_shown_with_what_a_restore_would_take() {
        let listed = [
            ("p/v2/Full-00000000-00000101-1000.gz", Some(14_256_000)),
            ("p/v2/Incr-00000102-00000110-4000.gz", Some(900)),
            ("p/v2/Incr-00000120-00000130-90000.gz", None),
            ("p/v2/else", Some(1)),
        ];
        let listing = Listing::read(&Prefix::parse("p").unwrap(), listed);
        let found = inventory::of(&listing, &Known::default(), Read::Nothing);
        let shown = text(&found, Timestamp::from_second(100_000).unwrap());
        let expected = "\
\x20   KIND   FROM   TO     SIZE         AGE  CODEC  STATE     NAME
 *  full      0  101  14.2 MB     1 d 3 h  gzip   not read  Full-00000000-00000101-1000.gz
 *  delta   102  110    900 B     1 d 2 h  gzip   not read  Incr-00000102-00000110-4000.gz
    delta   120  130        ?  2 h 46 min  gzip   not read  Incr-00000120-00000130-90000.gz

passed over: else is no snapshot's name: it does not have four parts
NOT WHOLLY RESTORABLE: no object has the revisions 111 to 119: the next, \
p/v2/Incr-00000120-00000130-90000.gz, begins after them; only revision 110 can be restored: to \
accept that loss, restore with --accept-loss.
";
        assert_eq!(shown, expected);
    }
}
