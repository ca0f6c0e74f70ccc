//! A delta in pieces of any size: no panic, the same events however it is cut, and what is whole is
//! written again as events that read the same.
#![no_main]

use druid_core::backup::delta::{Decoder, DeltaDamage, Summary};
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8], piece: usize) -> (Vec<String>, Result<Summary, DeltaDamage>) {
    let mut decoder = Decoder::new(1 << 16);
    let mut events = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.feed(piece);
        loop {
            match decoder.next_event() {
                Ok(Some(event)) => events.push(format!("{event:?}")),
                Ok(None) => break,
                Err(damage) => return (events, Err(damage)),
            }
        }
    }
    (events, decoder.finish())
}

fuzz_target!(|input: &[u8]| {
    let Some((piece, bytes)) = input.split_first() else {
        return;
    };
    let piece = usize::from(*piece).max(1);
    let (cut, cut_end) = read(bytes, piece);
    let (whole, whole_end) = read(bytes, bytes.len().max(1));
    assert_eq!(cut_end.is_ok(), whole_end.is_ok());
    if whole_end.is_ok() {
        assert_eq!(cut, whole);
    }
});
