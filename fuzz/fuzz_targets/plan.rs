//! Any bytes as a CIB: what can be read has a plan, and there is no panic on the way.
//!
//! `cargo +nightly fuzz run plan -- -dict=fuzz/plan.dict -timeout=10 -rss_limit_mb=1024`, or without cargo-fuzz see
//! `fuzz/run`.
#![no_main]

use hakudo_base::UnixTime;
use hakudo_cib::Document;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(cib) = Document::parse(text) {
        let plan = hakudo_scheduler::plan(&cib, UnixTime::from_seconds(1_700_000_000));
        std::hint::black_box(plan.transition.to_xml());
    }
});
