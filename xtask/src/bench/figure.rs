//! Figures and the table of them.

use super::systems::System;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Line {
    ColdStart,
    FollowerDies,
    LeaderDies,
    OneOfTwoDies,
    LeaderOfTwoDies,
    OneOfSixteenDies,
    LeaderOfSixteenDies,
    Vanishes,
    Move,
    ManyStart,
    ManyStartRatio,
    ManyStartWork,
    ManyReturn,
    ManyReturnRatio,
    ManyReturnWork,
    IdleDaemons,
    IdleAll,
    Memory,
    RoundTrip,
    RoundTripLate,
    SmallMessages,
    LargeMessages,
}

impl Line {
    /// All, in the order of the table.
    pub(super) const ALL: &[Line] = &[
        Line::ColdStart,
        Line::FollowerDies,
        Line::LeaderDies,
        Line::OneOfTwoDies,
        Line::LeaderOfTwoDies,
        Line::OneOfSixteenDies,
        Line::LeaderOfSixteenDies,
        Line::Vanishes,
        Line::Move,
        Line::ManyStart,
        Line::ManyStartRatio,
        Line::ManyStartWork,
        Line::ManyReturn,
        Line::ManyReturnRatio,
        Line::ManyReturnWork,
        Line::IdleDaemons,
        Line::IdleAll,
        Line::Memory,
        Line::RoundTrip,
        Line::RoundTripLate,
        Line::SmallMessages,
        Line::LargeMessages,
    ];

    fn title(self) -> &'static str {
        match self {
            Line::ColdStart => "power on of 3 nodes to a resource running, s",
            Line::FollowerDies => "power cut of the resource's node, 3 nodes, to running elsewhere, s",
            Line::LeaderDies => "the same, that node leads (is the DC), s",
            Line::OneOfTwoDies => "the same, 2 nodes, s",
            Line::LeaderOfTwoDies => "the same, 2 nodes, that node leads, s",
            Line::OneOfSixteenDies => "the same, 16 nodes, s",
            Line::LeaderOfSixteenDies => "the same, 16 nodes, that node leads, s",
            Line::Vanishes => "a resource vanishes, monitor 1 s, to running again, s",
            Line::Move => "resource move, to running there, s",
            Line::ManyStart => "500 Dummy resources, 3 nodes, configuration loaded to all started, s",
            Line::ManyStartRatio => "… from the first call, in times of the bare agent calls",
            Line::ManyStartWork | Line::ManyReturnWork => "… processor time, in times of that of the bare agent calls",
            Line::ManyReturn => "power cut of one of these nodes, to all its resources back, s",
            Line::ManyReturnRatio => "… from the first start, in times of the bare agent calls",
            Line::IdleDaemons => {
                "idle with 10 resources a node, monitor 10 s, % of a core a node: the cluster's processes"
            }
            Line::IdleAll => "… with the agents that they run",
            Line::Memory => "… resident memory of the cluster's processes, MiB a node",
            Line::RoundTrip => "ordered message of 200 bytes, 3 nodes, to its own delivery, ms",
            Line::RoundTripLate => "… the 99th of 100, ms",
            Line::SmallMessages => "ordered messages of 64 bytes from one node, a second",
            Line::LargeMessages => "ordered messages of 8000 bytes from one node, MB/s",
        }
    }

    /// What hakudo is held to, in the unit of the line; the median counts.
    fn target(self) -> Option<f64> {
        match self {
            Line::ColdStart => Some(2.0),
            Line::FollowerDies
            | Line::LeaderDies
            | Line::OneOfTwoDies
            | Line::LeaderOfTwoDies
            | Line::OneOfSixteenDies
            | Line::LeaderOfSixteenDies => Some(1.2),
            Line::Vanishes => Some(0.6),
            // Beyond what the agents need, which is little: they only write a line.
            Line::Move => Some(0.1),
            Line::ManyStartRatio | Line::ManyReturnRatio => Some(1.3),
            Line::IdleAll => Some(0.5),
            Line::Memory => Some(40.0),
            _ => None,
        }
    }

    /// More of it is better.
    fn counts_up(self) -> bool {
        matches!(self, Line::SmallMessages | Line::LargeMessages)
    }
}

/// The outcome of a measurement, in the unit that its line says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    /// Ascending, never empty.
    values: Vec<f64>,
}

impl Figure {
    /// Of all runs.
    pub(super) fn of(mut values: Vec<f64>) -> Result<Self> {
        values.sort_by(f64::total_cmp);
        anyhow::ensure!(!values.is_empty(), "nothing was measured");
        Ok(Self { values })
    }

    /// Of one run.
    pub(super) fn one(value: f64) -> Self {
        Self { values: vec![value] }
    }

    fn median(&self) -> f64 {
        let (below, above) = (self.values[(self.values.len() - 1) / 2], self.values[self.values.len() / 2]);
        f64::midpoint(below, above)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.median() >= 1000.0 { 0 } else { 2 };
        write!(f, "{:.digits$}", self.median())?;
        if let [least, .., most] = self.values[..] {
            write!(f, " ({least:.digits$}–{most:.digits$}, {} runs)", self.values.len())?;
        }
        Ok(())
    }
}

/// What was measured so far, by all threads.
#[derive(Default)]
pub(super) struct Table {
    figures: Mutex<BTreeMap<(Line, System), Figure>>,
}

impl Table {
    /// Notes a figure, and says it.
    pub(super) fn note(&self, line: Line, system: System, figure: Figure) {
        println!("{}: {}: {figure}", system.title(), line.title());
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).insert((line, system), figure);
    }

    /// Notes the figure of several runs.
    pub(super) fn note_runs(&self, line: Line, system: System, values: Vec<f64>) -> Result<()> {
        self.note(line, system, Figure::of(values).with_context(|| line.title())?);
        Ok(())
    }

    /// The table in Markdown; the ratio is that of a peer's median to that of the first system.
    pub(super) fn write(&self, systems: &[System]) -> String {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::from("| | target |");
        systems.iter().for_each(|system| text += &format!(" {} |", system.title()));
        text += "\n|---|---|";
        systems.iter().for_each(|_| text += "---|");
        for line in Line::ALL {
            let row: Vec<Option<&Figure>> = systems.iter().map(|system| figures.get(&(*line, *system))).collect();
            if row.iter().all(Option::is_none) {
                continue;
            }
            text += &format!("\n| {} |", line.title());
            let ours = figures.get(&(*line, System::Hakudo)).map(Figure::median);
            text += &match (line.target(), ours) {
                (None, _) => " |".to_owned(),
                (Some(target), None) => format!(" {target} |"),
                (Some(target), Some(ours)) if ours <= target => format!(" {target}: met |"),
                (Some(target), Some(_)) => format!(" {target}: **missed** |"),
            };
            let first = row.first().copied().flatten().map(Figure::median).filter(|median| *median > 0.0);
            for (at, figure) in row.into_iter().enumerate() {
                text += &match (figure, first.filter(|_| at > 0)) {
                    (None, _) => " – |".to_owned(),
                    (Some(figure), None) => format!(" {figure} |"),
                    (Some(figure), Some(ours)) => {
                        let ratio = if line.counts_up() { ours / figure.median() } else { figure.median() / ours };
                        format!(" {figure} **{ratio:.1}×** |")
                    }
                };
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_medians_ranges_and_ratios() {
        let table = Table::default();
        let peer = System::Pacemaker { token_ms: None };
        table.note_runs(Line::Move, System::Hakudo, vec![0.4, 0.1, 0.2]).unwrap();
        table.note_runs(Line::Move, peer, vec![0.5, 0.3]).unwrap();
        table.note(Line::SmallMessages, System::Hakudo, Figure::one(50_000.0));
        table.note(Line::SmallMessages, peer, Figure::one(25_000.0));
        table.note(Line::Memory, peer, Figure::one(200.0));
        assert!(table.note_runs(Line::Vanishes, peer, Vec::new()).is_err());
        table.note(Line::ColdStart, System::Hakudo, Figure::one(0.3));
        let expected = "| | target | hakudo | Pacemaker, default |\n|---|---|---|---|\n\
            | power on of 3 nodes to a resource running, s | 2: met | 0.30 | – |\n\
            | resource move, to running there, s | 0.1: **missed** | 0.20 (0.10–0.40, 3 runs) | 0.40 (0.30–0.50, 2 runs) **2.0×** |\n\
            | … resident memory of the cluster's processes, MiB a node | 40 | – | 200.00 |\n\
            | ordered messages of 64 bytes from one node, a second | | 50000 | 25000 **2.0×** |";
        assert_eq!(table.write(&[System::Hakudo, peer]), expected);
    }
}
