//! Waiting until a cluster has nothing more to do.

use crate::exit::{Exit, Failure};
use crate::input::{self, Source};
use crate::planning;
use crate::world::World;
use std::time::{Duration, Instant};

/// Waits until the cluster does nothing, and a plan for its CIB would do nothing either: a change that the leader has not looked at yet
/// is not mistaken for one that is carried out. On a terminal, says how much is left.
pub(crate) fn wait(source: &Source, seconds: u64, world: &mut World) -> Result<(), Failure> {
    let mut client = source.client("waiting")?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut shown = false;
    loop {
        let state = client.cluster()?;
        let cib = input::parse(&client.cib()?, &source.name())?;
        let now = planning::wall_time(jiff::Timestamp::now().as_second(), &world.zone);
        let left = planning::steps_left(&cib, now)?;
        if state.settled && state.actions_left == 0 && left == 0 {
            break;
        }
        if Instant::now() >= end {
            finish_progress(shown, world)?;
            return Err(Failure::new(
                Exit::TIMEOUT,
                format!(
                    "the cluster is still busy after {seconds} s ({left} actions left): it goes on; look at `hakudo status` and `hakudo events`"
                ),
            ));
        }
        if world.terminal {
            write!(world.err, "\r\x1b[K{left} actions left")?;
            shown = true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    finish_progress(shown, world)
}

fn finish_progress(shown: bool, world: &mut World) -> Result<(), Failure> {
    if shown {
        write!(world.err, "\r\x1b[K")?;
    }
    Ok(())
}
