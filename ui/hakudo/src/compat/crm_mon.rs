//! `crm_mon`: `hakudo status` under the name and with the options of Pacemaker 2.1 and 3. Without `-1` it goes on and shows the
//! status whenever it changes.

use crate::cli::Global;
use crate::command::status::{self, Shown};
use crate::exit::{Exit, Failure, Outcome};
use crate::world::World;
use clap::{ArgAction, Parser, ValueEnum};
use hakudo_view::{ClusterStatus, html};
use std::path::PathBuf;

/// The options of crm_mon.
#[derive(Debug, Parser)]
#[command(name = "crm_mon", about = "Show the status of the cluster", disable_help_flag = true)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of crm_mon")]
pub(crate) struct Options {
    #[command(flatten)]
    shown: Shown,
    #[command(flatten)]
    global: Global,
    /// Show this help
    #[arg(short = '?', long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Show the status once and end
    #[arg(short = '1', long)]
    one_shot: bool,
    /// Show the status once in one line
    #[arg(short = 's', long)]
    simple_status: bool,
    /// How often to look: the status is shown whenever it changes, and so this only says how often a page asks for itself
    #[arg(short = 'i', long, value_name = "TIMESPEC")]
    interval: Option<String>,
    /// The form of the output
    #[arg(long, value_enum, value_name = "FORMAT")]
    output_as: Option<Format>,
    /// Write to this file, anew each time; - is standard output
    #[arg(long, value_name = "DEST")]
    output_to: Option<PathBuf>,
    /// The same as --output-as=xml; the status is shown once
    #[arg(short = 'X', long)]
    as_xml: bool,
    /// The same as --output-as=html --output-to=FILE
    #[arg(short = 'h', long, value_name = "FILE")]
    as_html: Option<PathBuf>,
    /// The title of the page, with --output-as=html
    #[arg(long, value_name = "TITLE", default_value = "Cluster Status")]
    html_title: String,
    /// The same as --output-as=text
    #[arg(short = 'N', long)]
    disable_ncurses: bool,
    /// Accepted for scripts
    #[arg(short = 'V', long, hide = true, action = ArgAction::Count)]
    verbose: u8,
    /// Accepted for scripts
    #[arg(short = 'Q', long, hide = true)]
    quiet: bool,
    /// Show the version
    #[arg(short = '$', long)]
    version: bool,
    #[arg(short = 'd', long, hide = true)]
    daemonize: bool,
    #[arg(short = 'p', long, hide = true)]
    pid_file: Option<PathBuf>,
    #[arg(short = 'E', long, hide = true)]
    external_agent: Option<PathBuf>,
    #[arg(short = 'e', long, hide = true)]
    external_recipient: Option<String>,
    #[arg(short = 'W', long, hide = true)]
    watch_fencing: bool,
}

/// The forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text, on a terminal always of now
    Console,
    /// Text
    Text,
    /// A page for browsers
    Html,
    /// For programs
    Xml,
}

/// What crm_mon ends with where it finds no cluster to tell a monitoring system of.
const CRITICAL: Exit = Exit(2);

pub(crate) fn run(options: &Options, world: &mut World) -> Outcome {
    if options.version {
        writeln!(world.out, "Pacemaker {}\nhakudo {}", super::PACEMAKER_VERSION, env!("CARGO_PKG_VERSION"))?;
        return Ok(Exit::OK);
    }
    if options.external_agent.is_some() || options.watch_fencing {
        return Err(Failure::usage(
            "crm_mon runs no programs here: <alerts> of the configuration do, or read `hakudo events --follow`",
        ));
    }
    if options.daemonize {
        return Err(Failure::usage(
            "crm_mon does not go into the background: leave -d away, and let a service manager run it (with --output-to)",
        ));
    }
    let source = options.global.source(world);
    let format = match (options.output_as, options.as_xml, &options.as_html) {
        (_, true, _) => Format::Xml,
        (_, _, Some(_)) => Format::Html,
        (format, ..) => format.unwrap_or(Format::Console),
    };
    let form = if format == Format::Xml { crate::output::Format::Xml } else { crate::output::Format::Text };
    let file = options.as_html.as_ref().or(options.output_to.as_ref()).filter(|file| file.as_os_str() != "-");
    let seconds = options.interval.as_deref().map(interval).transpose()?;
    let render = |status: &ClusterStatus, world: &World| -> Result<String, Failure> {
        if options.simple_status {
            return Ok(simple(status));
        }
        let text = options.shown.render(status, form, "crm_mon", world)?;
        Ok(match format {
            Format::Html => html::page(&options.html_title, &text, seconds),
            _ => text,
        })
    };
    let put = |text: &str, world: &mut World| -> Result<(), Failure> {
        match file {
            None => status::show_again(text, world),
            Some(file) => std::fs::write(file, text).map_err(|error| {
                Failure::new(Exit::CANNOT_CREATE, format!("cannot write {}: {error}", file.display()))
            }),
        }
    };
    // A file does not change by itself, and a program wants one document.
    let once = options.one_shot || options.simple_status || format == Format::Xml || !source.is_live();
    if !once {
        return status::watch(&options.shown, &source, world, render, put);
    }
    let status = match status::read_shown(&options.shown, &source, world.now) {
        // A plug-in reads the line, and the code as that of a critical state.
        Err(failure) if options.simple_status && failure.exit == Exit::DISCONNECTED => {
            writeln!(world.out, "CLUSTER CRIT: Connection to cluster failed: {failure}")?;
            return Ok(CRITICAL);
        }
        status => status?,
    };
    let text = render(&status, world)?;
    match file {
        None => write!(world.out, "{text}")?,
        Some(_) => put(&text, world)?,
    }
    Ok(Exit::OK)
}

fn interval(text: &str) -> Result<u64, Failure> {
    let milliseconds = hakudo_cib::values::milliseconds(text).ok_or_else(|| {
        Failure::usage(format!("--interval {text}: this is no time; a time is written 5s, 500ms, 2min or PT1H"))
    })?;
    Ok(milliseconds.div_ceil(1000).max(1))
}

/// One line, as plug-ins of monitoring systems read it.
fn simple(status: &ClusterStatus) -> String {
    let offline = status.nodes.iter().filter(|node| !node.online).map(|node| format!("offline node: {}", node.name));
    let no_dc = status.summary.dc.is_none().then(|| "No DC".to_owned());
    let warnings: Vec<String> = no_dc.into_iter().chain(offline).collect();
    if !warnings.is_empty() {
        return format!("CLUSTER WARN: {}\n", warnings.join(", "));
    }
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let count =
        |fits: &dyn Fn(&hakudo_view::status::Node) -> bool| status.nodes.iter().filter(|node| fits(node)).count();
    let (standby, maintenance) = (count(&|node| node.standby), count(&|node| !node.standby && node.maintenance));
    let online = status.nodes.len() - standby - maintenance;
    let mut line = format!("CLUSTER OK: {online} node{} online", plural(online));
    for (number, kind) in [(standby, "standby"), (maintenance, "maintenance")] {
        if number > 0 {
            line.push_str(&format!(", {number} {kind} node{}", plural(number)));
        }
    }
    let resources = status.summary.counts.resources;
    line + &format!(", {resources} resource instance{} configured\n", plural(resources))
}

#[cfg(test)]
mod tests {
    use crate::testing::{self, TWO_NODES, TemporaryFile};
    use expect_test::{Expect, expect};
    use std::ffi::OsString;

    fn on(cib: &str, words: &[&str]) -> String {
        let cib = TemporaryFile::new(cib);
        let (mut world, written) = testing::world();
        world.cib_file = Some(cib.name().into());
        let arguments = std::iter::once("crm_mon").chain(words.iter().copied()).map(OsString::from).collect();
        let exit = crate::run(arguments, &mut world);
        let code = if exit.0 == 0 { String::new() } else { format!("[exit {}]\n", exit.0) };
        written.text() + &code
    }

    fn check(words: &[&str], expected: &Expect) {
        expected.assert_eq(&on(TWO_NODES, words));
    }

    #[test]
    fn one_line_is_enough_for_a_plug_in() {
        check(
            &["-s"],
            &expect![[r#"
            CLUSTER OK: 2 nodes online, 2 resource instances configured
        "#]],
        );
        let offline = TWO_NODES
            .replace(r#"uname="beta" in_ccm="true" crmd="online""#, r#"uname="beta" in_ccm="false" crmd="offline""#);
        assert_eq!(on(&offline, &["--simple-status"]), "CLUSTER WARN: offline node: beta\n");
        assert_eq!(on(&TWO_NODES.replace(r#" dc-uuid="1""#, ""), &["-s"]), "CLUSTER WARN: No DC\n");
        let standby = TWO_NODES.replace(
            r#"uname="beta"/>"#,
            r#"uname="beta"><instance_attributes id="i"><nvpair id="j" name="standby" value="on"/></instance_attributes></node>"#,
        );
        assert_eq!(
            on(&standby, &["-s"]),
            "CLUSTER OK: 1 node online, 1 standby node, 2 resource instances configured\n"
        );
    }

    #[test]
    fn a_cluster_that_is_away_is_critical() {
        let (mut world, written) = testing::world();
        let exit = crate::run(["crm_mon", "-s"].map(OsString::from).into(), &mut world);
        assert_eq!(exit.0, 2);
        assert!(written.text().starts_with("CLUSTER CRIT: Connection to cluster failed: "), "{}", written.text());
    }

    #[test]
    fn less_than_the_whole_is_shown() {
        check(
            &["-1", "-I", "none,nodes"],
            &expect![[r#"
            Node List:
              * Online: [ alpha beta ]
        "#]],
        );
        check(
            &["-1", "--exclude=summary,nodes", "--resource=web"],
            &expect![[r#"
            Active Resources:
              * web	(ocf:hakudo:Http):	 Started alpha
        "#]],
        );
        check(
            &["-1", "-D", "--node", "beta"],
            &expect![[r#"
            Node List:
              * Online: [ beta ]

            Active Resources:
              * No active resources
        "#]],
        );
        let listed = on(TWO_NODES, &["-1", "--include=list"]);
        assert!(listed.contains("all, attributes, bans[:PREFIX], counts, dc, default,"), "{listed}");
        assert!(listed.ends_with("[exit 64]\n"), "{listed}");
    }

    #[test]
    fn other_forms_and_old_options_are_taken() {
        let xml = on(TWO_NODES, &["-X"]);
        assert!(xml.starts_with("<?xml") && xml.contains(r#"request="crm_mon""#), "{xml}");
        assert_eq!(on(TWO_NODES, &["--as-xml"]), on(TWO_NODES, &["--output-as=xml"]));
        assert_eq!(on(TWO_NODES, &["-N", "-1", "-i", "10s"]), on(TWO_NODES, &["-1"]));
        let page = on(TWO_NODES, &["-1", "--output-as=html", "--html-title", "Ours"]);
        assert!(page.contains("<title>Ours</title>") && page.contains("<h2>Node List</h2>"), "{page}");
        let file = TemporaryFile::new("");
        assert_eq!(on(TWO_NODES, &["-1", "-h", file.name()]), "");
        assert!(file.text().starts_with("<!DOCTYPE html>"));
        assert!(on(TWO_NODES, &["-d", "-h", file.name()]).contains("service manager"));
        assert!(on(TWO_NODES, &["-E", "/bin/true"]).contains("<alerts>"));
        assert!(on(TWO_NODES, &["-i", "soon"]).contains("this is no time"));
    }
}
