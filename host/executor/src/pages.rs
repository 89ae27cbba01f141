//! Huge pages, which a daemon does without.
//!
//! Where the system hands out huge pages by itself, an allocator's areas grow by two megabytes at a touch, and a daemon that needs three holds
//! twenty. So the processes of a node do without them. What they start inherits that, and must not: a database may count on them.

use rustix::thread::{disable_transparent_huge_pages, transparent_huge_pages_are_disabled};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// This process does without, and what it starts would not by itself.
static ONLY_HERE: AtomicBool = AtomicBool::new(false);

/// From now on this process takes no huge pages; false where it took none before, or the system cannot do that: then memory is all
/// that it costs.
pub fn do_without_huge_pages() -> bool {
    let ends = transparent_huge_pages_are_disabled().is_ok_and(|already| !already)
        && disable_transparent_huge_pages(true).is_ok();
    if ends {
        only_this_process_does_without();
    }
    ends
}

/// Whoever started this process had it do without huge pages, and it alone.
pub fn only_this_process_does_without() {
    ONLY_HERE.store(true, Ordering::Relaxed);
}

/// Starts a program as if this process took huge pages.
pub fn with_huge_pages_for_child<T>(start: impl FnOnce() -> T) -> T {
    if !ONLY_HERE.load(Ordering::Relaxed) {
        return start();
    }
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // What fails here was possible a moment ago; without it the program runs, too.
    let _ = disable_transparent_huge_pages(false);
    let started = start();
    let _ = disable_transparent_huge_pages(true);
    started
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn takes_them(status: &str) -> bool {
        status.lines().any(|line| line.split_whitespace().eq(["THP_enabled:", "1"]))
    }

    #[test]
    fn a_child_takes_them() {
        let own = || takes_them(&std::fs::read_to_string("/proc/self/status").unwrap());
        let before = own();
        do_without_huge_pages();
        assert!(!own());
        let child = with_huge_pages_for_child(|| Command::new("cat").arg("/proc/self/status").output()).unwrap();
        assert_eq!((takes_them(&String::from_utf8_lossy(&child.stdout)), own()), (before, false));
    }
}
