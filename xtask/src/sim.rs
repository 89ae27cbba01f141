//! `cargo xtask sim`: whole clusters under simulated faults.

use anyhow::{Context, Result, ensure};
use hakudo_sim::script::Script;
use hakudo_sim::{Total, Violation, generate, group, run_seeds, run_traced, shrink, whole};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Which histories to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only this seed; prints what happened, and a shrunken script if a rule is broken.
    #[arg(long, conflicts_with_all = ["from", "count", "minutes", "script"])]
    seed: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 500, conflicts_with = "minutes")]
    count: u64,
    /// As many seeds as are done in so many minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// A script instead of seeds.
    #[arg(long, conflicts_with_all = ["from", "count", "minutes"])]
    script: Option<PathBuf>,
    /// With a seed or a script: writes what the scheduler was given for each plan into this folder, one file a plan.
    #[arg(long, value_name = "FOLDER")]
    plans: Option<PathBuf>,
    /// Groups of sites and arbitrators with tickets, instead of clusters.
    #[arg(long, conflicts_with = "plans")]
    sites: bool,
    /// With `--sites`: each site is a whole simulated cluster, and not only modelled.
    #[arg(long, requires = "sites")]
    whole: bool,
    /// With `--sites`: only groups that speak booth's protocol, which one in five does otherwise.
    #[arg(long, requires = "sites", conflicts_with = "whole")]
    booth: bool,
    /// Also prints how often the histories came to places that matter.
    #[arg(long)]
    reached: bool,
    /// Threads; as many as there are cores unless given.
    #[arg(long)]
    threads: Option<usize>,
}

/// Runs what was asked for.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.whole {
        return whole_sites(arguments);
    }
    if arguments.sites {
        ensure!(arguments.script.is_none(), "histories of groups are run by seed, or with --whole");
        return groups(arguments);
    }
    if let Some(path) = &arguments.script {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let script: Script = text.parse().with_context(|| format!("{} is no script", path.display()))?;
        return one(&script, false, arguments.plans.as_deref());
    }
    if let Some(seed) = arguments.seed {
        return one(&generate::script(seed), true, arguments.plans.as_deref());
    }
    let start = Instant::now();
    let threads = arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let until = arguments.minutes.map(|minutes| start + Duration::from_secs(60 * minutes));
    let total = run_seeds(arguments.from, threads, None, |number| match until {
        Some(until) => Instant::now() >= until,
        None => number >= arguments.count,
    });
    report(&total, start.elapsed(), arguments.reached)
}

/// One history, told line by line.
fn one(script: &Script, shrinks: bool, plans: Option<&Path>) -> Result<()> {
    println!("{script}");
    let outcome = run_traced(script, None);
    outcome.trace.iter().for_each(|line| println!("{line}"));
    if let Some(folder) = plans {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for (number, (at, xml)) in outcome.snapshots.iter().enumerate() {
            let file = folder.join(format!("{number:04}-at-{at}.xml"));
            std::fs::write(&file, xml).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    let Some(violation) = outcome.violation else {
        println!("1 seeds, 0 violations");
        return Ok(());
    };
    if shrinks {
        print_shrunken(script, &violation);
    }
    println!("{violation}");
    println!("1 seeds, 1 violations");
    std::process::exit(1)
}

fn print_shrunken(script: &Script, violation: &Violation) {
    let small = shrink::shrink(script, violation.rule, None);
    println!("\nshrunken; run it with `cargo xtask sim --script FILE`:\n{small}");
}

fn report(total: &Total, took: Duration, reached: bool) -> Result<()> {
    if reached {
        total.sites.counts().for_each(|(name, count)| println!("{count:>10}  {name}"));
        println!("{:>10}  ms at most until a cluster had settled", total.sites.settled_after_ms);
    }
    for (seed, violation) in &total.violations {
        println!("seed {seed}: {violation}");
    }
    if let Some((seed, violation)) = total.violations.first() {
        println!("\nthe first again with `cargo xtask sim --seed {seed}`");
        print_shrunken(&generate::script(*seed), violation);
    }
    tell_time(took, total.seeds);
    end(total.seeds, total.violations.len() as u64)
}

/// Histories of groups of sites.
fn groups(arguments: &Arguments) -> Result<()> {
    let protocol = arguments.booth.then_some(group::Protocol::Booth);
    if let Some(seed) = arguments.seed {
        let script = match protocol {
            None => group::generate::script(seed),
            Some(protocol) => group::generate::script_of(seed, protocol),
        };
        println!("{script}");
        let outcome = group::run_traced(&script, None);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        let violations = u64::from(outcome.violation.is_some());
        if let Some(violation) = outcome.violation {
            println!("\nshrunken:\n{}\n{violation}", group::shrink(&script, violation.rule, None));
        }
        return end(1, violations);
    }
    let start = Instant::now();
    let threads = arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let until = arguments.minutes.map(|minutes| start + Duration::from_secs(60 * minutes));
    let total = group::run_seeds(arguments.from, threads, None, protocol, |number| match until {
        Some(until) => Instant::now() >= until,
        None => number >= arguments.count,
    });
    if arguments.reached {
        total.reached.iter().for_each(|(name, count)| println!("{count:>10}  {name}"));
    }
    for (seed, violation) in &total.violations {
        println!("seed {seed}: {violation}");
    }
    if let Some((seed, _)) = total.violations.first() {
        let booth = if arguments.booth { " --booth" } else { "" };
        println!("\nthe first again with `cargo xtask sim --sites{booth} --seed {seed}`");
    }
    tell_margin(total.margin);
    tell_time(start.elapsed(), total.seeds);
    end(total.seeds, total.violations.len() as u64)
}

/// Histories of whole sites.
fn whole_sites(arguments: &Arguments) -> Result<()> {
    if let Some(path) = &arguments.script {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let script: whole::Script = text.parse().with_context(|| format!("{} is no script", path.display()))?;
        return one_of_whole_sites(&script, false);
    }
    if let Some(seed) = arguments.seed {
        return one_of_whole_sites(&whole::generate::script(seed), true);
    }
    let start = Instant::now();
    let threads = arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let until = arguments.minutes.map(|minutes| start + Duration::from_secs(60 * minutes));
    let total = whole::run_seeds(arguments.from, threads, None, |number| match until {
        Some(until) => Instant::now() >= until,
        None => number >= arguments.count,
    });
    if arguments.reached {
        total.sites.counts().for_each(|(name, count)| println!("{count:>10}  {name}"));
        println!("{:>10}  ms at most until a group had settled", total.sites.settled_after_ms);
    }
    for (seed, violation) in &total.violations {
        println!("seed {seed}: {violation}");
    }
    for (seed, violation) in total.violations.iter().take(3) {
        println!("\nagain with `cargo xtask sim --sites --whole --seed {seed}`");
        print_shrunken_sites(&whole::generate::script(*seed), violation);
    }
    tell_margin(total.margin);
    tell_time(start.elapsed(), total.seeds);
    end(total.seeds, total.violations.len() as u64)
}

/// One history, told line by line.
fn one_of_whole_sites(script: &whole::Script, shrinks: bool) -> Result<()> {
    println!("{script}");
    let outcome = whole::run_traced(script, None);
    outcome.trace.iter().for_each(|line| println!("{line}"));
    let violations = u64::from(outcome.violation.is_some());
    if let Some(violation) = outcome.violation {
        if shrinks {
            print_shrunken_sites(script, &violation);
        }
        println!("{violation}");
    }
    end(1, violations)
}

fn print_shrunken_sites(script: &whole::Script, violation: &whole::Violation) {
    let small = whole::shrink(script, violation.rule, None);
    println!("shrunken; run it with `cargo xtask sim --sites --whole --script FILE`:\n{small}");
}

/// The last line, and failure if a rule was broken.
fn end(seeds: u64, violations: u64) -> Result<()> {
    println!("{seeds} seeds, {violations} violations");
    if violations > 0 {
        std::process::exit(1);
    }
    Ok(())
}

/// The smallest time between two sites, in microseconds.
fn tell_margin(margin: Option<u64>) {
    if let Some(margin) = margin {
        let ms = margin as f64 / 1e3;
        println!("smallest time from a service's end at one site to its start at another: {ms:.3} ms");
    }
}

fn tell_time(took: Duration, seeds: u64) {
    let took = took.as_secs_f64();
    println!("{took:.1} s, {:.2} ms a seed", took * 1000.0 / seeds.max(1) as f64);
}
