mod model;
mod rules;

use jiff::{SignedDuration, Timestamp};

use super::super::codec::Codec;
use super::super::names::{Name, Prefix, UnixSeconds};
use super::*;

/// Every hour on the hour.
#[derive(Debug)]
struct Hourly;

impl Schedule for Hourly {
    fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let second = (time.as_second().div_euclid(3600) + 1) * 3600;
        Timestamp::from_second(second).ok()
    }

    fn window(&self) -> SignedDuration {
        SignedDuration::from_hours(24)
    }
}

fn at(second: i64) -> Timestamp {
    // Half an hour after a slot.
    Timestamp::from_second(1_700_000_000 / 3600 * 3600 + 1800 + second).unwrap()
}

fn r(revision: i64) -> Revision {
    Revision::new(revision).unwrap()
}

fn config() -> Config {
    Config {
        delta_period: Some(SignedDuration::from_secs(20)),
        delta_limit: 1000,
        collection_period: Some(SignedDuration::from_secs(60)),
        backoff: Backoff::default(),
    }
}

fn full(last: i64, time: Timestamp, is_final: bool) -> Object {
    let time = UnixSeconds::of(time).unwrap();
    object(Name::full(r(last), time, Codec::Gzip, is_final))
}

fn delta(start: i64, last: i64, time: Timestamp) -> Object {
    let time = UnixSeconds::of(time).unwrap();
    object(Name::delta(r(start), r(last), time, Codec::Gzip).unwrap())
}

fn object(name: Name) -> Object {
    Object {
        key: Key::new(&Prefix::parse("p").unwrap(), name),
        bytes: Some(100),
    }
}

fn view(objects: &[Object]) -> StoreView {
    let keys: Vec<String> = objects.iter().map(|it| it.key.to_string()).collect();
    let listed = keys.iter().map(|it| (it.as_str(), Some(100)));
    let prefix = Prefix::parse("p").unwrap();
    StoreView::of(&crate::backup::listing::Listing::read(&prefix, listed))
}
