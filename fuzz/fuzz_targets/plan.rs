//! Any bytes as a CIB: what can be read has a plan, and there is no panic on the way.
//!
//! `fuzz/run plan -timeout=5 -rss_limit_mb=1024`, or with cargo-fuzz
//! `cargo +nightly fuzz run plan -- -dict=fuzz/plan.dict -timeout=5 -rss_limit_mb=1024`.
#![no_main]

mod tree;

use hakudo_base::UnixTime;
use hakudo_cib::Document;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|text: &str| {
    if let Ok(cib) = Document::parse(text) {
        let plan = hakudo_scheduler::plan(&cib, UnixTime::from_seconds(1_700_000_000));
        std::hint::black_box(plan.transition.to_xml());
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    // One change in eight is made without knowing what XML is.
    let text = std::str::from_utf8(&data[..size]).ok().filter(|_| !seed.is_multiple_of(8));
    match text.and_then(|text| tree::changed(text, u64::from(seed))) {
        Some(text) if text.len() <= max_size => {
            data[..text.len()].copy_from_slice(text.as_bytes());
            text.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
});
