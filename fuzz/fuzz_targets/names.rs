//! The keys that a store lists: what is read is printed again byte for byte, and whatever the names,
//! a chain has no hole.
#![no_main]

use druid_core::backup::listing::{Listing, Refusal};
use druid_core::backup::names::{Key, Prefix};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (prefix, keys) = text.split_once('\n').unwrap_or(("p", text));
    let Ok(prefix) = Prefix::parse(prefix) else {
        return;
    };
    for key in keys.lines() {
        if let Ok(read) = Key::parse(&prefix, key) {
            assert_eq!(read.to_string(), key);
        }
    }
    let listed = keys.lines().map(|key| (key, Some(key.len() as u64)));
    let chain = match Listing::read(&prefix, listed).newest() {
        Ok(chain) => chain,
        Err(Refusal::Delta { reach, .. } | Refusal::Hole { reach, .. }) => *reach,
        Err(_) => return,
    };
    let mut reached = chain.from;
    for delta in &chain.deltas {
        assert_eq!(delta.after, reached);
        assert!(delta.object.key.name.last() > reached);
        reached = delta.object.key.name.last();
    }
    assert_eq!(reached, chain.to);
});
