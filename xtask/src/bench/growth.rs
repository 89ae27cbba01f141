//! How the time of a plan grows with the cluster, phase by phase.

use super::large::Series;
use super::scheduler::Figures;

/// A phase that is steeper than n log n by more than this in the exponent is named; less is the noise of a measurement.
const TOLERANCE: f64 = 0.12;
/// A phase that takes less than this share of the largest plan is not judged.
const NEGLIGIBLE: f64 = 0.03;

/// Prints a series: the time of reading, of the plan, and of each phase that matters, at each size.
pub(super) fn report(series: &Series, sizes: &[(usize, Figures)]) {
    let (Some((_, first)), Some((_, last))) = (sizes.first(), sizes.last()) else { return };
    let what = if series.of_nodes { "nodes" } else { "resources" };
    println!("\nFrom {}, doubling {what}; n log n has exponent {:.2}.\n", series.smallest.name(), n_log_n(sizes));
    let counts: Vec<String> = sizes.iter().map(|(count, _)| count.to_string()).collect();
    println!("| {what} | {} | exponent |", counts.join(" | "));
    println!("|---|{}---|", "---|".repeat(sizes.len()));
    let mut steep = Vec::new();
    let mut line = |name: &str, times: Vec<f64>| {
        let exponent = exponent(sizes, &times);
        let cells: Vec<String> = times.iter().map(|time| format!("{time:.1}")).collect();
        println!("| {name} | {} | {exponent:.2} |", cells.join(" | "));
        if exponent > n_log_n(sizes) + TOLERANCE {
            steep.push(format!("{name} ({exponent:.2})"));
        }
    };
    line("reading", sizes.iter().map(|(_, figures)| figures.read).collect());
    line("plan", sizes.iter().map(|(_, figures)| figures.plan).collect());
    for (at, (phase, took)) in last.phases.iter().enumerate() {
        if *took >= NEGLIGIBLE * last.plan && at < first.phases.len() {
            line(phase, sizes.iter().map(|(_, figures)| figures.phases[at].1).collect());
        }
    }
    match steep.as_slice() {
        [] => println!("\nNothing is steeper than n log n."),
        steep => println!("\nSteeper than n log n: {}.", steep.join(", ")),
    }
}

/// By which power of the number that doubles a time grows, from the smallest size to the largest.
fn exponent(sizes: &[(usize, Figures)], times: &[f64]) -> f64 {
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return 0.0 };
    (last / first.max(1e-3)).ln() / ratio(sizes).ln()
}

/// The exponent that n log n has between the smallest size and the largest.
fn n_log_n(sizes: &[(usize, Figures)]) -> f64 {
    let (Some((first, _)), Some((last, _))) = (sizes.first(), sizes.last()) else { return 1.0 };
    1.0 + ((*last as f64).ln() / (*first as f64).ln()).ln() / ratio(sizes).ln()
}

fn ratio(sizes: &[(usize, Figures)]) -> f64 {
    let (Some((first, _)), Some((last, _))) = (sizes.first(), sizes.last()) else { return 1.0 };
    *last as f64 / *first as f64
}
