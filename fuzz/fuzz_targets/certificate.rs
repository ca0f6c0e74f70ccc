//! Certificates of Secrets: whatever the bytes, there is a date or a reason why not.
#![no_main]

use druid_core::certificate::not_after;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = not_after(bytes);
});
