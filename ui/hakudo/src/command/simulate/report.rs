//! What a simulation tells, in the form that was asked for.
//!
//! Text is written as it comes, XML and JSON at the end. What concerns nobody but a reader of text (empty lines, notices) is left
//! away in the other forms; `--quiet` concerns text only.

use crate::exit::{Exit, Failure};
use crate::output::{self, Format};
use crate::world::World;
use hakudo_cib::Element;
use hakudo_scheduler::Plan;
use hakudo_scheduler::simulate::Step;
use hakudo_view::text::{self, Sections, Show};
use hakudo_view::{ClusterStatus, simulation, simulation_xml, transition, xml};
use serde_json::{Map, Value};

/// A status before or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Current,
    Revised,
}

/// The report under construction.
pub(super) struct Report {
    format: Format,
    quiet: bool,
    /// Text has titles and bullets.
    fancy: bool,
    /// Something was written: an empty line comes before the next section.
    written: bool,
    parts: Vec<Element>,
    values: Map<String, Value>,
    errors: Vec<String>,
}

impl Report {
    /// `plain` leaves titles and bullets away.
    pub(super) fn new(format: Format, quiet: bool, plain: bool) -> Self {
        Self {
            format,
            quiet: quiet && format == Format::Text,
            fancy: !plain,
            written: false,
            parts: Vec::new(),
            values: Map::new(),
            errors: Vec::new(),
        }
    }

    /// Only what was asked for expressly is told.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// A line for people.
    pub(super) fn notice(&self, line: &str, world: &mut World) -> Result<(), Failure> {
        if self.format == Format::Text && !self.quiet {
            writeln!(world.out, "{line}")?;
        }
        Ok(())
    }

    /// An empty line between sections.
    fn space(&mut self, world: &mut World) -> Result<(), Failure> {
        if self.written {
            writeln!(world.out)?;
        }
        self.written = true;
        Ok(())
    }

    pub(super) fn status(
        &mut self,
        stage: Stage,
        status: &ClusterStatus,
        sections: Sections,
        show: &Show,
        world: &mut World,
    ) -> Result<(), Failure> {
        if self.quiet {
            return Ok(());
        }
        let (title, name, key) = match stage {
            Stage::Current => ("Current cluster status", "cluster_status", "current"),
            Stage::Revised => ("Revised Cluster Status", "revised_cluster_status", "revised"),
        };
        match self.format {
            Format::Text => {
                let head = if stage == Stage::Current { simulation::head(status) } else { String::new() };
                if !head.is_empty() {
                    writeln!(world.out, "{head}")?;
                }
                self.space(world)?;
                write!(world.out, "{}", text::render_titled(title, status, sections, show))?;
            }
            Format::Xml => self.parts.push(simulation_xml::status(name, status, sections, show)),
            Format::Json => self.value(key, status)?,
        }
        Ok(())
    }

    /// What was changed before planning.
    pub(super) fn modifications(&mut self, steps: &[Step], world: &mut World) -> Result<(), Failure> {
        match self.format {
            Format::Text => {
                self.space(world)?;
                if !self.quiet {
                    write!(world.out, "{}", simulation::modifications(steps))?;
                }
            }
            Format::Xml => self.parts.push(simulation_xml::modifications(steps)),
            Format::Json => self.value("modifications", &steps)?,
        }
        Ok(())
    }

    /// Scores and capacities, where these are asked for.
    pub(super) fn scores(
        &mut self,
        plan: &Plan,
        scores: bool,
        utilization: bool,
        world: &mut World,
    ) -> Result<(), Failure> {
        let title = match (scores, utilization) {
            (true, true) => "Assignment Scores and Utilization Information",
            (true, false) => "Assignment Scores",
            (false, true) => "Utilization Information",
            (false, false) => return Ok(()),
        };
        match self.format {
            Format::Text => {
                self.space(world)?;
                if self.fancy {
                    writeln!(world.out, "{title}:")?;
                }
                let bullet = if self.fancy { "  * " } else { "" };
                for line in simulation::score_lines(plan, scores, utilization) {
                    writeln!(world.out, "{bullet}{line}")?;
                }
            }
            Format::Xml => self.parts.push(simulation_xml::scores(plan, scores, utilization)),
            Format::Json => {
                let lines: Vec<String> =
                    simulation::score_lines(plan, scores, utilization).map(ToString::to_string).collect();
                self.value("scores", &lines)?;
            }
        }
        Ok(())
    }

    /// What the plan changes.
    pub(super) fn changes(&mut self, plan: &Plan, world: &mut World) -> Result<(), Failure> {
        match self.format {
            Format::Text if self.quiet => {}
            Format::Text => {
                self.space(world)?;
                write!(world.out, "{}", transition::summary(plan))?;
            }
            Format::Xml => self.parts.push(simulation_xml::changes(&plan.changes)),
            Format::Json => self.value("changes", &plan.changes)?,
        }
        Ok(())
    }

    /// What was done.
    pub(super) fn steps(&mut self, steps: &[Step], world: &mut World) -> Result<(), Failure> {
        match self.format {
            Format::Text => {
                self.space(world)?;
                if !self.quiet {
                    write!(world.out, "{}", simulation::execution(steps))?;
                }
            }
            Format::Xml => self.parts.push(simulation_xml::execution(steps)),
            Format::Json => self.value("steps", &steps)?,
        }
        Ok(())
    }

    /// How long something took.
    pub(super) fn timings(&mut self, timings: &[(String, f64)], world: &mut World) -> Result<(), Failure> {
        match self.format {
            Format::Text => {
                writeln!(world.out, "Timings:")?;
                for (file, seconds) in timings {
                    writeln!(world.out, "  * Testing {file} ... {seconds:.6} secs")?;
                }
            }
            Format::Xml => self.parts.push(simulation_xml::timings(timings)),
            Format::Json => self.value("timings", &timings)?,
        }
        Ok(())
    }

    /// Something that is wrong with the simulation itself.
    pub(super) fn error(&mut self, line: &str, world: &mut World) -> Result<(), Failure> {
        match self.format {
            Format::Text => {
                world.out.flush()?;
                writeln!(world.err, "{line}")?;
            }
            Format::Xml | Format::Json => self.errors.push(line.to_owned()),
        }
        Ok(())
    }

    fn value(&mut self, key: &str, value: &impl serde::Serialize) -> Result<(), Failure> {
        let value = serde_json::to_value(value).map_err(|error| {
            Failure::new(Exit::SOFTWARE, format!("cannot write the {key} of the simulation as JSON: {error}"))
        })?;
        self.values.insert(key.to_owned(), value);
        Ok(())
    }

    /// The end.
    pub(super) fn finish(mut self, exit: Exit, request: &str, world: &mut World) -> Result<Exit, Failure> {
        match self.format {
            Format::Text => {}
            Format::Xml => {
                write!(world.out, "{}", xml::result(request, self.parts, exit.0, &self.errors))?;
            }
            Format::Json => {
                if !self.errors.is_empty() {
                    self.values.insert("errors".to_owned(), Value::from(self.errors));
                }
                write!(world.out, "{}", output::json(&self.values)?)?;
            }
        }
        Ok(exit)
    }
}
