//! `hakudo config`: show, edit, load, compare and check the configuration as CIB XML.

use crate::change;
use crate::check;
use crate::cli::Global;
use crate::difference;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::{self, Source};
use crate::scratch::Scratch;
use crate::world::World;
use clap::{Args, Subcommand};
use hakudo_base::Severity;
use hakudo_cib::{Document, Element, upgrade};
use hakudo_controller::request::ChangeOperation;
use std::path::PathBuf;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the configuration
    Show(Show),
    /// Edit the configuration in $EDITOR, check it, and put it into effect
    Edit(Force),
    /// Put the configuration of a file into effect
    Load(Load),
    /// Show how a file differs from the configuration; exit code 1 if it does
    Diff(FileArgument),
    /// Show everything that is wrong in a file, with line and column
    Check(Check),
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Only this part: resources, constraints, nodes, crm_config, ...
    section: Option<String>,
    /// Also the status
    #[arg(long)]
    status: bool,
}

/// Whether to insist.
#[derive(Debug, Args)]
pub(crate) struct Force {
    /// Also without quorum, while lost nodes are not fenced yet, and with references to what does not exist
    #[arg(long)]
    force: bool,
}

/// Arguments of `load`.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The file; - is standard input
    cib: PathBuf,
    /// Also without quorum, while lost nodes are not fenced yet, and with references to what does not exist
    #[arg(long)]
    force: bool,
}

/// A file.
#[derive(Debug, Args)]
pub(crate) struct FileArgument {
    /// The file; - is standard input
    cib: PathBuf,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The file; - is standard input; the configuration itself if none is named
    cib: Option<PathBuf>,
}

pub(crate) fn run(command: &Command, global: &Global, world: &mut World) -> Outcome {
    let source = global.source(world);
    match command {
        Command::Show(arguments) => show(arguments, &source, world),
        Command::Edit(arguments) => edit(arguments.force, &source, world),
        Command::Load(arguments) => {
            let file = Source::of(Some(&arguments.cib), None, world);
            let (text, _) = file.text()?;
            load(&text, &file.name(), None, arguments.force, &source, world)
        }
        Command::Diff(arguments) => diff(&Source::of(Some(&arguments.cib), None, world), &source, world),
        Command::Check(arguments) => {
            let source = global.source_or(arguments.cib.as_deref(), world);
            let (text, _) = source.text()?;
            check::run(&text, &source.name(), world)
        }
    }
}

/// The configuration as text, without status unless asked for.
fn shown(cib: &Document, status: bool) -> Document {
    let mut cib = cib.clone();
    if !status {
        cib.root_mut().remove_children(|child| child.name() == "status");
    }
    cib
}

fn show(arguments: &Show, source: &Source, world: &mut World) -> Outcome {
    let (text, _) = source.text()?;
    let cib = input::parse(&text, &source.name())?;
    let text = match arguments.section.as_deref() {
        None | Some("cib" | "all") => shown(&cib, arguments.status).to_xml(),
        Some("configuration") => section(&cib, &["configuration"], "configuration")?,
        Some("status") => section(&cib, &["status"], "status")?,
        Some(name) => section(&cib, &["configuration", name], name)?,
    };
    write!(world.out, "{text}")?;
    Ok(Exit::OK)
}

fn section(cib: &Document, path: &[&str], name: &str) -> Result<String, Failure> {
    let element = cib.section(path).ok_or_else(|| {
        let there: Vec<&str> = cib
            .section(&["configuration"])
            .into_iter()
            .flat_map(|configuration| configuration.children().map(Element::name))
            .collect();
        Failure::no_such(format!("there is no section '{name}' in this configuration: there are {}", there.join(", ")))
    })?;
    Ok(element.to_xml())
}

/// Puts a configuration into effect; the cluster refuses one that has more errors than the present one.
fn load(
    text: &str,
    name: &str,
    if_version: Option<(u64, u64, u64)>,
    force: bool,
    source: &Source,
    world: &mut World,
) -> Outcome {
    let loaded = configuration(text, name, world)?;
    let operations = vec![ChangeOperation::Replace { xml: loaded.to_xml() }];
    match change::make(source, operations, if_version, force) {
        Ok(()) => {
            check::warn(text, name, world)?;
            Ok(Exit::OK)
        }
        // What the cluster says of objects, the file shows at their places.
        Err(failure) if failure.exit == Exit::CONFIG => {
            check::run(text, name, world)?;
            Err(failure)
        }
        Err(failure) => Err(failure),
    }
}

/// The `<configuration>` of a text, in the form of today's schema.
fn configuration(text: &str, name: &str, world: &mut World) -> Result<Element, Failure> {
    let refused = |why: &str| Failure::new(Exit::CONFIG, format!("{name} {why}: nothing was changed"));
    let document = match input::read_configuration(text) {
        Ok(document) => document,
        Err(error) => {
            check::unreadable(&error, text, name, world)?;
            return Err(refused("cannot be read as a configuration"));
        }
    };
    let today = upgrade::upgrade(&document).map_err(|error| refused(&format!("cannot be loaded ({error})")))?;
    for note in today.notes.iter().filter(|note| note.severity != Severity::Info) {
        writeln!(world.err, "{name}: {}: {}", note.id, note.message)?;
    }
    today.document.section(&["configuration"]).cloned().ok_or_else(|| refused("has no <configuration> in its <cib>"))
}

fn edit(force: bool, source: &Source, world: &mut World) -> Outcome {
    if !world.terminal {
        return Err(Failure::usage(
            "there is no terminal to edit on: write a file and load it with `hakudo config load FILE`",
        ));
    }
    let editor = std::env::var("VISUAL").or_else(|_| std::env::var("EDITOR")).unwrap_or_else(|_| "vi".to_owned());
    edit_with(&editor, force, source, world)
}

/// What is edited holds secrets, and so does what an editor puts beside it: both are in a folder that nobody else can see.
/// Nothing of it stays, unless the user's work would be lost.
fn edit_with(editor: &str, force: bool, source: &Source, world: &mut World) -> Outcome {
    let (cib, _) = source.cib()?;
    let version = change::version(&cib);
    let before = shown(&cib, false).to_xml();
    let cannot = |error: std::io::Error| {
        let folder = std::env::temp_dir();
        Failure::new(Exit::CANNOT_CREATE, format!("cannot write a file to edit in {}: {error}", folder.display()))
    };
    let scratch = Scratch::new().map_err(cannot)?;
    let file = scratch.write("configuration.xml", &before).map_err(cannot)?;
    let name = file.display().to_string();
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let ended =
        std::process::Command::new(program).args(words).arg(&file).status().map_err(|error| {
            Failure::new(Exit::ERROR, format!("cannot run the editor '{editor}': {error}: set EDITOR"))
        })?;
    let after = std::fs::read(&file);
    if ended.success() && after.as_ref().is_ok_and(|after| after.as_slice() == before.as_bytes()) {
        writeln!(world.out, "nothing was changed")?;
        return Ok(Exit::OK);
    }
    let loaded = match &after {
        _ if !ended.success() => {
            Err(Failure::new(Exit::ERROR, format!("the editor '{editor}' failed ({ended}): nothing was changed")))
        }
        Ok(after) => input::decoded(after.clone(), &name)
            .and_then(|text| load(&text, &name, Some(version), force, source, world)),
        Err(error) => Err(Failure::new(Exit::NO_INPUT, format!("cannot read {name}: {error}: nothing was changed"))),
    };
    match loaded {
        Err(failure) if after.as_ref().is_ok_and(|after| after.as_slice() != before.as_bytes()) => {
            scratch.keep();
            Err(Failure::new(failure.exit, format!("{failure}\nwhat you wrote is kept in {name}")))
        }
        loaded => loaded,
    }
}

fn diff(file: &Source, source: &Source, world: &mut World) -> Outcome {
    let (now, _) = source.cib()?;
    let (text, _) = file.text()?;
    let new = configuration(&text, &file.name(), world)?;
    let now = now.section(&["configuration"]).map(Element::to_xml).unwrap_or_default();
    let text = difference::unified(&now, &new.to_xml(), &source.name(), &file.name());
    write!(world.out, "{text}")?;
    Ok(if text.is_empty() { Exit::OK } else { Exit::ERROR })
}

#[cfg(test)]
mod tests {
    use crate::input::Source;
    use crate::testing::{self, TWO_NODES, TemporaryFile};
    use expect_test::{Expect, expect};

    fn checked(text: &str, expected: &Expect) {
        let file = TemporaryFile::new(text);
        expected.assert_eq(&testing::hakudo(&["config", "check", file.name()]).replace(file.name(), "CIB"));
    }

    #[test]
    fn what_is_wrong_is_shown_at_its_place() {
        checked(
            "<cib>\n  <configuration>\n    <resources>\n  </configuration>\n</cib>\n",
            &expect![[r#"
                error: expected 'resources' tag, not 'configuration'
                 --> CIB:4:3
                  |
                4 |   </configuration>
                  |   ^

                CIB: 1 error, 0 warnings
                [exit 78]
            "#]],
        );
        checked(
            TWO_NODES,
            &expect![[r#"
            CIB: 0 errors, 0 warnings
        "#]],
        );
        let wrong = TWO_NODES
            .replace("rsc=\"web\"", "rsc=\"wep\"")
            .replace("interval=\"10s\"", "interval=\"soon\"")
            .replace("uname=\"beta\"/>", "uname=\"alpha\"/>")
            .replace("id=\"address-then-web\"", "id=\"9\" sore=\"1\"");
        checked(
            &wrong,
            &expect![[r#"
                error: the node name 'alpha' is used already
                  --> CIB:10:7
                   |
                10 |       <node id="2" uname="alpha"/>
                   |       ^^^^^
                   |
                   = note: the first one is at 9:7

                error: 'soon' is no value for 'interval': it must be a time such as 10s, 500ms, 2min or PT1H
                  --> CIB:15:55
                   |
                15 |           <op id="address-monitor-10s" name="monitor" interval="soon" timeout="20s"/>
                   |                                                       ^^^^^^^^^^^^^^^

                error: 'rsc' refers to 'wep', which does not exist
                  --> CIB:21:45
                   |
                21 |       <rsc_colocation id="web-with-address" rsc="wep" with-rsc="address" score="INFINITY"/>
                   |                                             ^^^^^^^^^
                   |
                   = help: is 'web' meant?

                error: '9' is no value for 'id': an id starts with a letter or _, and goes on with these, digits, '.' and '-'
                  --> CIB:22:18
                   |
                22 |       <rsc_order id="9" sore="1" first="address" then="web"/>
                   |                  ^^^^^^

                error: <rsc_order> has no attribute 'sore'
                  --> CIB:22:25
                   |
                22 |       <rsc_order id="9" sore="1" first="address" then="web"/>
                   |                         ^^^^^^^^
                   |
                   = help: is 'score' meant?

                CIB: 5 errors, 0 warnings
                [exit 78]
            "#]],
        );
    }

    /// A configuration with a group of tickets, some of it wrong.
    fn with_tickets() -> String {
        let sets = r#"<crm_config>
      <cluster_property_set id="hakudo-tickets-member-1">
        <nvpair id="m1" name="site" value="192.0.2.1"/>
      </cluster_property_set>
      <cluster_property_set id="hakudo-tickets-member-2">
        <nvpair id="m2" name="site" value="192.0.2.1"/>
      </cluster_property_set>
      <cluster_property_set id="hakudo-tickets-ticket-1">
        <nvpair id="t1" name="ticket" value="T"/>
        <nvpair id="t2" name="expires" value="10"/>
        <nvpair id="t3" name="renewal-freq" value="soon"/>
      </cluster_property_set>"#;
        let with = TWO_NODES.replacen("<crm_config>", sets, 1);
        assert_ne!(with, TWO_NODES);
        with
    }

    #[test]
    fn what_is_wrong_with_tickets_is_shown_at_its_place() {
        checked(
            &with_tickets(),
            &expect![[r#"
            error: `192.0.2.1` is a member already, in `m1`
             --> CIB:8:37
              |
            8 |         <nvpair id="m2" name="site" value="192.0.2.1"/>
              |                                     ^^^^^^^^^^^^^^^^^

            error: unknown keyword `expires`
              --> CIB:12:25
               |
            12 |         <nvpair id="t2" name="expires" value="10"/>
               |                         ^^^^^^^^^^^^^^
               |
               = help: did you mean `expire`?

            error: `soon` is no time
              --> CIB:13:45
               |
            13 |         <nvpair id="t3" name="renewal-freq" value="soon"/>
               |                                             ^^^^^^^^^^^^
               |
               = help: seconds have no unit, milliseconds have `ms`: 10 or 10000ms

            CIB: 3 errors, 0 warnings
            [exit 78]
        "#]],
        );
    }

    #[test]
    fn a_group_of_tickets_with_mistakes_changes_nothing() {
        let cib = TemporaryFile::new(TWO_NODES);
        let wrong = TemporaryFile::new(&with_tickets());
        let said = testing::hakudo(&["--file", cib.name(), "config", "load", wrong.name()]);
        assert!(said.contains("nothing was changed") && said.ends_with("[exit 78]\n"), "{said}");
        assert!(said.contains("t2: unknown keyword `expires` (did you mean `expire`?)"), "{said}");
        assert_eq!(cib.text(), TWO_NODES);
        let forced = testing::hakudo(&["--file", cib.name(), "config", "load", "--force", wrong.name()]);
        assert!(forced.ends_with("[exit 78]\n"), "{forced}");
        assert_eq!(cib.text(), TWO_NODES);
        // What is wrong already can be mended one thing after the other.
        let broken = TemporaryFile::new(&with_tickets());
        let half = TemporaryFile::new(&with_tickets().replace("expires", "expire"));
        assert_eq!(testing::hakudo(&["--file", broken.name(), "config", "load", half.name()]), "");
    }

    #[test]
    fn a_configuration_alone_is_enough() {
        checked(
            "<configuration>\n  <resources>\n    <primitiv/>\n  </resources>\n</configuration>",
            &expect![[r#"
                warning: fencing-enabled: no fence device is configured, so that no resource will be started
                --> CIB

                warning: primitiv: a <primitiv> without id is ignored
                --> CIB

                error: there is no element <primitiv>
                 --> CIB:3:5
                  |
                3 |     <primitiv/>
                  |     ^^^^^^^^^
                  |
                  = help: is <primitive> meant?

                CIB: 1 error, 2 warnings
                [exit 78]
            "#]],
        );
        let cib = TemporaryFile::new(TWO_NODES);
        let configuration = testing::hakudo(&["--file", cib.name(), "config", "show", "configuration"]);
        let new = TemporaryFile::new(&configuration.replace("20s", "30s"));
        assert_eq!(testing::hakudo(&["--file", cib.name(), "config", "load", new.name()]), "");
        assert!(cib.text().contains("timeout=\"30s\"") && cib.text().contains("<node_state"), "{}", cib.text());
    }

    #[test]
    fn an_older_configuration_is_upgraded() {
        let cib = TemporaryFile::new(TWO_NODES);
        let old = TWO_NODES.replace("pacemaker-4.0", "pacemaker-2.0").replace(
            "<resources>",
            "<resources><master id='m'><primitive id='p' class='ocf' provider='hakudo' type='Stateful'/></master>",
        );
        let old = TemporaryFile::new(&old);
        assert_eq!(testing::hakudo(&["--file", cib.name(), "config", "load", old.name()]), "");
        assert!(cib.text().contains("<clone id=\"m\"") && !cib.text().contains("<master"), "{}", cib.text());
    }

    #[test]
    fn a_broken_file_changes_nothing() {
        let cib = TemporaryFile::new(TWO_NODES);
        let broken = TemporaryFile::new("<cib><configuration>");
        let said = testing::hakudo(&["--file", cib.name(), "config", "load", broken.name()]);
        assert!(said.contains("nothing was changed") && said.ends_with("[exit 78]\n"), "{said}");
        let dangling = TemporaryFile::new(&TWO_NODES.replace("rsc=\"web\"", "rsc=\"wep\""));
        let said = testing::hakudo(&["--file", cib.name(), "config", "load", dangling.name()]);
        assert!(said.contains("web-with-address: 'rsc' refers to 'wep', which does not exist"), "{said}");
        assert!(said.contains("is 'web' meant?") && said.ends_with("[exit 78]\n"), "{said}");
        assert_eq!(cib.text(), TWO_NODES);
        assert_eq!(testing::hakudo(&["--file", cib.name(), "config", "load", "--force", dangling.name()]), "");
        assert!(cib.text().contains("rsc=\"wep\""));
    }

    /// Edits with a script of the shell that is given the file as `$1`.
    fn edited(cib: &TemporaryFile, script: &str) -> String {
        let script = TemporaryFile::new(script);
        let source = Source::File(cib.name().into());
        let (mut world, written) = testing::world();
        let outcome = super::edit_with(&format!("sh -e {}", script.name()), false, &source, &mut world);
        written.text() + &outcome.map_or_else(|failure| failure.to_string(), |_| String::new())
    }

    /// Where the file was that a script was given, as the script wrote it down.
    fn noted(note: &TemporaryFile) -> std::path::PathBuf {
        note.text().lines().next().unwrap_or_default().into()
    }

    #[test]
    fn what_is_edited_is_seen_by_nobody_else_and_does_not_stay() {
        let cib = TemporaryFile::new(TWO_NODES);
        let note = TemporaryFile::new("");
        let noting = format!("{{ echo $1; stat -c %a $1; stat -c %a $(dirname $1); }} > {}\ncp $1 $1~\n", note.name());
        assert_eq!(edited(&cib, &noting), "nothing was changed\n");
        let lines = note.text();
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(lines[1..], ["600", "700"]);
        assert!(!lines[0].contains(&std::process::id().to_string()), "{}", lines[0]);
        assert!(!noted(&note).parent().unwrap().exists());

        assert_eq!(edited(&cib, &format!("{noting} sed -i s/20s/30s/ $1")), "");
        assert!(cib.text().contains("timeout=\"30s\""));
        assert!(!noted(&note).parent().unwrap().exists());
    }

    #[test]
    fn what_was_edited_is_kept_where_it_would_be_lost() {
        let cib = TemporaryFile::new(TWO_NODES);
        let note = TemporaryFile::new("");
        let noting = format!("echo $1 > {}\n", note.name());
        let kept = |said: &str| {
            let file = noted(&note);
            assert!(said.ends_with(&format!("what you wrote is kept in {}", file.display())), "{said}");
            let text = std::fs::read(&file).unwrap();
            std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
            text
        };
        let said = edited(&cib, &format!("{noting} echo broken > $1"));
        assert!(said.contains("nothing was changed"), "{said}");
        assert_eq!(kept(&said), b"broken\n");
        let said = edited(&cib, &format!("{noting} printf '<cib x=\"\\377\"/>' > $1"));
        assert!(said.contains("does not belong into UTF-8"), "{said}");
        assert_eq!(kept(&said), b"<cib x=\"\xff\"/>");
        let said = edited(&cib, &format!("{noting} echo half > $1; exit 3"));
        assert!(said.contains("failed (exit status: 3)"), "{said}");
        assert_eq!(kept(&said), b"half\n");
        // Nothing was written: nothing would be lost.
        let said = edited(&cib, &format!("{noting} exit 3"));
        assert!(!said.contains("is kept") && !noted(&note).parent().unwrap().exists(), "{said}");
        assert_eq!(cib.text(), TWO_NODES);
    }

    #[test]
    fn a_load_replaces_and_a_diff_shows() {
        let cib = TemporaryFile::new(TWO_NODES);
        let new = TemporaryFile::new(&TWO_NODES.replace("20s", "30s"));
        let differs = testing::hakudo(&["--file", cib.name(), "config", "diff", new.name()]);
        assert!(differs.contains("timeout=\"30s\"") && differs.ends_with("[exit 1]\n"), "{differs}");
        assert_eq!(testing::hakudo(&["--file", cib.name(), "config", "load", new.name()]), "");
        assert!(cib.text().contains("timeout=\"30s\"") && cib.text().contains("epoch=\"6\""), "{}", cib.text());
        assert_eq!(testing::hakudo(&["--file", cib.name(), "config", "diff", new.name()]), "");
    }

    #[test]
    fn doubtful_values_are_told_and_taken() {
        let cib = TemporaryFile::new(TWO_NODES);
        let doubtful = TemporaryFile::new(&TWO_NODES.replace("value=\"false\"", "value=\"maybe\""));
        let said = testing::hakudo(&["--file", cib.name(), "config", "load", doubtful.name()]);
        assert_eq!(
            said.replace(doubtful.name(), "CIB"),
            "CIB:5:9: warning: 'maybe' is no value for 'fencing-enabled': it must be true or false\n"
        );
        assert!(cib.text().contains("value=\"maybe\""));
        let cib = TemporaryFile::new(TWO_NODES);
        let meta = |name: &str, value: &str| {
            testing::hakudo(&["--file", cib.name(), "resource", "meta", "web", "set", name, value])
        };
        assert_eq!(meta("is-managed", "yes"), "");
        assert_eq!(
            meta("target-role", "Strated"),
            "warning: web-meta_attributes-target-role: 'Strated' is no value for 'target-role': it must be one of Stopped, \
             Started, Promoted, Unpromoted, Master, Slave (is 'Started' meant?)\n"
        );
        // What was doubtful before is not told again.
        assert_eq!(meta("priority", "5"), "");
    }

    #[test]
    fn a_section_is_shown() {
        let cib = TemporaryFile::new(TWO_NODES);
        let nodes = testing::hakudo(&["--file", cib.name(), "config", "show", "nodes"]);
        expect![[r#"
            <nodes>
              <node id="1" uname="alpha"/>
              <node id="2" uname="beta"/>
            </nodes>
        "#]]
        .assert_eq(&nodes);
        assert!(
            testing::hakudo(&["--file", cib.name(), "config", "show", "x"]).contains("there are crm_config, nodes")
        );
    }
}
