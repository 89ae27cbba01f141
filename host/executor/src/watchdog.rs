//! The machine's own way out: a watchdog that resets it when nobody feeds it, and the kernel's reset at once.
//!
//! The device is open only while leases are guarded. It is fed as long as everything that needs a lease is sure to stop in
//! time, so that a machine on which not even this process runs on is reset before another site starts what ran here.

use crate::clock;
use anyhow::{Context, Result, ensure};
use hakudo_base::Instant;
use hakudo_guard::Guards;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks at what is guarded, however long the watchdog waits.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A watchdog that is open tells it is left on purpose with this letter (Linux: Documentation/watchdog/watchdog-api.rst).
const MAGIC_CLOSE: &[u8] = b"V";

pub(crate) struct Watchdog {
    device: Option<PathBuf>,
    /// `/proc/sysrq-trigger`.
    trigger: PathBuf,
    open: Option<Open>,
    /// Tickets that it does not help.
    too_slow: BTreeSet<String>,
    /// The machine is being reset: nothing feeds the watchdog any more.
    resets: bool,
}

struct Open {
    file: File,
    timeout: Duration,
    fed: Instant,
}

impl Watchdog {
    pub(crate) fn new(device: Option<PathBuf>, trigger: PathBuf) -> Self {
        Self { device, trigger, open: None, too_slow: BTreeSet::new(), resets: false }
    }

    /// The machine may be reset.
    pub(crate) fn may_reset(&self) -> bool {
        self.device.is_some()
    }

    /// Opens the device when something is guarded, feeds it as long as that may be, and closes it when nothing is.
    pub(crate) fn tend(&mut self, guards: &Guards) {
        let Some(device) = &self.device else { return };
        if self.resets {
            return;
        }
        if !guards.is_armed() {
            if let Some(mut open) = self.open.take()
                && let Err(error) = open.file.write_all(MAGIC_CLOSE)
            {
                tracing::error!(%error, "the watchdog {} cannot be told to stop: it will reset this machine", device.display());
            }
            return;
        }
        let now = clock::now();
        if self.open.is_none() {
            match open(device) {
                Ok(open) => self.open = Some(open),
                Err(error) => {
                    let place = device.display();
                    tracing::error!("leases are guarded without the watchdog {place}: {error:#}");
                    // Once is enough to say it.
                    self.device = None;
                    return;
                }
            }
        }
        if let Some(open) = &self.open {
            let slow: BTreeSet<String> = guards.not_covered(open.timeout).map(str::to_owned).collect();
            for ticket in slow.difference(&self.too_slow) {
                tracing::warn!(
                    "the watchdog {} takes {} s to reset this machine, longer than the lease of ticket {ticket} and the \
                     time to stop together: it does not help there",
                    device.display(),
                    open.timeout.as_secs()
                );
            }
            self.too_slow = slow;
        }
        if let Some(open) = &mut self.open
            && now.since(open.fed) >= open.pause()
            && guards.feed_until(open.timeout).is_none_or(|end| now <= end)
        {
            open.feed(now);
        }
    }

    /// How long nobody may sleep while something is guarded.
    pub(crate) fn pause(&self) -> Duration {
        self.open.as_ref().map_or(LONGEST_PAUSE, Open::pause)
    }

    /// Resets the machine at once; where the kernel does not, the watchdog does.
    pub(crate) fn reset(&mut self, reason: &str) {
        tracing::error!("this machine is reset: {reason}");
        self.resets = true;
        if let Err(error) = fs::write(&self.trigger, "b") {
            tracing::error!(%error, "{} does not take it: the watchdog will", self.trigger.display());
        }
    }
}

impl Open {
    /// Between two meals.
    fn pause(&self) -> Duration {
        (self.timeout / 8).min(LONGEST_PAUSE)
    }

    fn feed(&mut self, now: Instant) {
        match self.file.write_all(b"\0") {
            Ok(()) => self.fed = now,
            Err(error) => tracing::error!(%error, "the watchdog cannot be fed"),
        }
    }
}

fn open(device: &Path) -> Result<Open> {
    let timeout = timeout(device)?;
    let mut file =
        File::options().write(true).open(device).with_context(|| format!("cannot open {}", device.display()))?;
    // Opening starts it.
    file.write_all(b"\0").with_context(|| format!("cannot feed {}", device.display()))?;
    Ok(Open { file, timeout, fed: clock::now() })
}

/// After how long without food it resets the machine, as its driver says in `/sys/class/watchdog`.
fn timeout(device: &Path) -> Result<Duration> {
    let name = device.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = if name == "watchdog" { "watchdog0" } else { name };
    let place = Path::new("/sys/class/watchdog").join(name).join("timeout");
    let text = fs::read_to_string(&place).with_context(|| format!("cannot read {}", place.display()))?;
    let seconds: u64 = text.trim().parse().with_context(|| format!("{} is no number of seconds", place.display()))?;
    ensure!(seconds > 0, "{} is 0", place.display());
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hakudo_guard::{Guard, Order, Step};

    fn guards(until: Instant) -> Guards {
        let agent = hakudo_base::agent::AgentName { class: "ocf".into(), provider: None, kind: "Test".into() };
        let mut call = crate::server::metadata_call(agent, 1000);
        call.operation = "stop".into();
        let guard = Guard {
            ticket: "T".into(),
            until,
            stop_time: Duration::from_secs(40),
            reset: false,
            first_call: 1,
            steps: vec![Step { call, note: vec![], after: vec![] }],
        };
        let mut guards = Guards::new(true);
        guards.order(clock::now(), Order::Arm(Box::new(guard)), &mut Vec::new());
        guards
    }

    #[test]
    fn it_is_fed_until_it_must_fire_and_left_on_purpose() {
        let folder = std::env::temp_dir().join(format!("hakudo-watchdog-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (device, trigger) = (folder.join("device"), folder.join("trigger"));
        fs::write(&device, "").unwrap();
        let mut watchdog = Watchdog::new(Some(device.clone()), trigger.clone());
        let file = File::options().append(true).open(&device).unwrap();
        watchdog.open = Some(Open { file, timeout: Duration::from_secs(20), fed: Instant::ZERO });
        let food = || fs::read(&device).unwrap().len();
        watchdog.tend(&guards(clock::now() + Duration::from_secs(1000)));
        assert_eq!(food(), 1);
        if let Some(open) = &mut watchdog.open {
            // Not more often than it needs.
            open.fed = clock::now() + Duration::from_secs(500);
        }
        watchdog.tend(&guards(clock::now() + Duration::from_secs(1000)));
        assert_eq!(food(), 1);
        // The lease is over, and less is left of the time to stop than the watchdog needs to fire.
        if let Some(open) = &mut watchdog.open {
            open.fed = Instant::ZERO;
        }
        watchdog.tend(&guards(clock::now().saturating_sub(Duration::from_secs(30))));
        assert_eq!(food(), 1);
        watchdog.tend(&Guards::new(true));
        assert_eq!(fs::read(&device).unwrap(), b"\0V");
        watchdog.reset("of a test");
        assert_eq!(fs::read(&trigger).unwrap(), b"b");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_device_that_is_none_is_done_without() {
        let mut watchdog = Watchdog::new(Some("/nonsense/watchdog".into()), "/nonsense/trigger".into());
        assert!(watchdog.may_reset());
        watchdog.tend(&guards(clock::now() + Duration::from_secs(10)));
        assert!(watchdog.open.is_none());
    }
}
