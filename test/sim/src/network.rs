//! How packets travel: every direction of every link by itself works or is cut; what travels is delayed, lost, doubled and
//! overtaken by chance.

use crate::script::Weather;
use hakudo_base::Random;
use std::collections::BTreeSet;
use std::time::Duration;

/// The network between the nodes of one cluster. Nodes count from 0 here.
#[derive(Debug)]
pub(crate) struct Network {
    weather: Weather,
    /// (from, to, link): packets are lost.
    cut: BTreeSet<(usize, usize, u8)>,
    random: Random,
}

impl Network {
    pub(crate) fn new(weather: Weather, random: Random) -> Self {
        Self { weather, cut: BTreeSet::new(), random }
    }

    pub(crate) fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Packets from `from` to `to` over `link` are lost from now on, or no longer.
    pub(crate) fn set_cut(&mut self, from: usize, to: usize, link: u8, cut: bool) {
        if cut {
            self.cut.insert((from, to, link));
        } else {
            self.cut.remove(&(from, to, link));
        }
    }

    /// All directions of all links work.
    pub(crate) fn mend_all(&mut self) {
        self.cut.clear();
    }

    /// After how long a packet that is sent now arrives: not at all, once, or twice.
    pub(crate) fn travel(&mut self, from: usize, to: usize, link: u8) -> impl Iterator<Item = Duration> + use<> {
        let arrives = !self.cut.contains(&(from, to, link)) && !self.random.percent(self.weather.loss);
        let first = arrives.then(|| self.delay());
        let second = (arrives && self.random.percent(self.weather.twice)).then(|| self.delay() * 3);
        first.into_iter().chain(second)
    }

    fn delay(&mut self) -> Duration {
        let Weather { delay_min_us, delay_max_us, .. } = self.weather;
        Duration::from_nanos(self.random.between(delay_min_us * 1000, delay_max_us.max(delay_min_us) * 1000))
    }
}
