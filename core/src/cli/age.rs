//! How long ago something was.

use jiff::{SignedDuration, Timestamp};

use crate::api::Time;

/// `42s`, `5m10s`, `3h5m`, `2d4h`, `40d`: short, for a column. `-` if nobody knows.
pub(crate) fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    match since {
        Some(since) => length(now.duration_since(since)),
        None => "-".to_owned(),
    }
}

/// The same of a moment of an object.
pub(crate) fn age_of(since: Option<&Time>, now: Timestamp) -> String {
    age(since.and_then(Time::at), now)
}

/// Clocks differ: what is yet to come is now.
pub(crate) fn length(length: SignedDuration) -> String {
    let seconds = length.as_secs().max(0);
    let two = |large, unit, small, other| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{other}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(seconds / 60, "m", seconds % 60, "s"),
        600..7200 => format!("{}m", seconds / 60),
        7200..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        86_400..691_200 => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short_and_never_negative() {
        let of = |seconds| length(SignedDuration::from_secs(seconds));
        let seconds = [
            -5, 0, 119, 120, 310, 600, 7199, 7200, 11_100, 86_400, 190_000, 700_000,
        ];
        let said = [
            "0s", "0s", "119s", "2m", "5m10s", "10m", "119m", "2h", "3h5m", "1d", "2d4h", "8d",
        ];
        assert_eq!(seconds.map(of), said);
        assert_eq!(age(None, Timestamp::UNIX_EPOCH), "-");
    }
}
