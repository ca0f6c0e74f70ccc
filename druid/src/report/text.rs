//! Numbers and findings as people read them.

use druid_core::report::{HashKv, Source, Survived};

/// `12345` is `12,345`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1` and `member` are `1 member`, `2` and `member` are `2 members`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(number))
}

/// A size in the unit that leaves one to three digits before the point.
pub(crate) fn bytes(size: u64) -> String {
    let mut unit = "B";
    let mut tenths = size.saturating_mul(10);
    for larger in ["kB", "MB", "GB", "TB"] {
        if tenths < 10_000 {
            break;
        }
        tenths /= 1000;
        unit = larger;
    }
    if unit == "B" {
        format!("{size} B")
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// A duration: `41 ms`, `1.2 s`, `3 min 20 s`.
pub(crate) fn duration(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..120_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

/// Whether the members hold the same data.
pub(super) fn data_words(hash_kv: &HashKv) -> String {
    let at = hash_kv
        .revision
        .and_then(|revision| u64::try_from(revision).ok())
        .map_or_else(String::new, |revision| {
            format!(" at revision {}", grouped(revision))
        });
    match hash_kv.equal {
        Some(true) => format!("equal on all members{at}"),
        Some(false) => format!("not equal on all members{at}"),
        None => "not compared".to_owned(),
    }
}

/// What was restored.
pub(super) fn source_words(source: &Source) -> String {
    let revision = u64::try_from(source.revision).unwrap_or(0);
    format!(
        "revision {}, {}, a database of {}, {} in use, restored in {}",
        grouped(revision),
        counted(source.keys, "key"),
        bytes(source.database_bytes),
        bytes(source.bytes_in_use),
        duration(source.restore_ms)
    )
}

/// Whether it is still there.
pub(super) fn survived_words(survived: &Survived) -> String {
    let keys = counted(survived.keys, "key");
    match survived.same {
        Some(true) => format!(
            "{keys} without a lease, the same in {}",
            counted(survived.checks, "check")
        ),
        Some(false) => format!("{keys} without a lease at the start, not the same later"),
        None => format!("{keys} without a lease, not compared"),
    }
}

/// Whether the recorded history is linearizable.
pub(super) fn history_words(linearizable: Option<bool>) -> &'static str {
    match linearizable {
        Some(true) => "linearizable",
        Some(false) => "not linearizable",
        None => "not decided",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(counted(1, "member"), "1 member");
        assert_eq!(counted(1200, "write"), "1,200 writes");
        assert_eq!(
            [0, 999, 1000, 14_256_000, 8_000_000_000].map(bytes),
            ["0 B", "999 B", "1.0 kB", "14.2 MB", "8.0 GB"]
        );
        assert_eq!(
            [41, 1250, 119_999, 200_000].map(duration),
            ["41 ms", "1.2 s", "119.9 s", "3 min 20 s"]
        );
    }
}
