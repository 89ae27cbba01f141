//! `hakudo config`: show, edit, load, compare and check the configuration as CIB XML.

use crate::change;
use crate::check;
use crate::cli::Global;
use crate::difference;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::{self, Source};
use crate::world::World;
use clap::{Args, Subcommand};
use hakudo_cib::Document;
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
    /// Also without quorum, and while lost nodes are not fenced yet
    #[arg(long)]
    force: bool,
}

/// Arguments of `load`.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The file; - is standard input
    cib: PathBuf,
    /// Also without quorum, and while lost nodes are not fenced yet
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
            .flat_map(|configuration| configuration.children().map(hakudo_cib::Element::name))
            .collect();
        Failure::no_such(format!("there is no section '{name}' in this configuration: there are {}", there.join(", ")))
    })?;
    Ok(element.to_xml())
}

/// Puts a configuration into effect after checking it.
fn load(
    text: &str,
    name: &str,
    if_version: Option<(u64, u64, u64)>,
    force: bool,
    source: &Source,
    world: &mut World,
) -> Outcome {
    let exit = check::errors(text, name, world)?;
    if exit != Exit::OK {
        return Err(Failure::new(
            exit,
            format!("{name} was not loaded, nothing was changed: mend what is wrong in it first"),
        ));
    }
    let cib = input::parse(text, name)?;
    let configuration = cib.section(&["configuration"]).ok_or_else(|| {
        Failure::new(Exit::CONFIG, format!("{name} has no <configuration> in its <cib>: nothing was changed"))
    })?;
    let operations = vec![ChangeOperation::Replace { xml: configuration.to_xml() }];
    change::apply(source, operations, if_version, force, world)?;
    Ok(Exit::OK)
}

fn edit(force: bool, source: &Source, world: &mut World) -> Outcome {
    if !world.terminal {
        return Err(Failure::usage(
            "there is no terminal to edit on: write a file and load it with `hakudo config load FILE`",
        ));
    }
    let (cib, _) = source.cib()?;
    let version = change::version(&cib);
    let before = shown(&cib, false).to_xml();
    let file = std::env::temp_dir().join(format!("hakudo-config-{}.xml", std::process::id()));
    let cannot = |error: std::io::Error| {
        Failure::new(Exit::CANNOT_CREATE, format!("cannot write the file to edit, {}: {error}", file.display()))
    };
    std::fs::write(&file, &before).map_err(cannot)?;
    let editor = std::env::var("VISUAL").or_else(|_| std::env::var("EDITOR")).unwrap_or_else(|_| "vi".to_owned());
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let ended =
        std::process::Command::new(program).args(words).arg(&file).status().map_err(|error| {
            Failure::new(Exit::ERROR, format!("cannot run the editor '{editor}': {error}: set EDITOR"))
        })?;
    if !ended.success() {
        return Err(Failure::new(Exit::ERROR, format!("the editor '{editor}' failed ({ended}): nothing was changed")));
    }
    let after = std::fs::read_to_string(&file).map_err(cannot)?;
    if after == before {
        std::fs::remove_file(&file).map_err(cannot)?;
        writeln!(world.out, "nothing was changed")?;
        return Ok(Exit::OK);
    }
    match load(&after, &file.display().to_string(), Some(version), force, source, world) {
        Ok(exit) => {
            std::fs::remove_file(&file).map_err(cannot)?;
            Ok(exit)
        }
        Err(failure) => {
            Err(Failure::new(failure.exit, format!("{failure}\nwhat you wrote is kept in {}", file.display())))
        }
    }
}

fn diff(file: &Source, source: &Source, world: &mut World) -> Outcome {
    let (now, _) = source.cib()?;
    let (new, _) = file.cib()?;
    let text =
        difference::unified(&shown(&now, false).to_xml(), &shown(&new, false).to_xml(), &source.name(), &file.name());
    write!(world.out, "{text}")?;
    Ok(if text.is_empty() { Exit::OK } else { Exit::ERROR })
}

#[cfg(test)]
mod tests {
    use crate::testing::{self, TWO_NODES, TemporaryFile};
    use expect_test::expect;

    #[test]
    fn what_is_wrong_is_shown_at_its_place() {
        let broken = TemporaryFile::new("<cib>\n  <configuration>\n    <resources>\n  </configuration>\n</cib>\n");
        let said = testing::hakudo(&["config", "check", broken.name()]).replace(broken.name(), "CIB");
        expect![[r#"
            CIB:4:3: error: expected 'resources' tag, not 'configuration'
                 4 | </configuration>
                   | ^
            CIB: 1 error, 0 warnings
            [exit 78]
        "#]]
        .assert_eq(&said);
        let good = TemporaryFile::new(TWO_NODES);
        let said = testing::hakudo(&["config", "check", good.name()]).replace(good.name(), "CIB");
        expect![[r#"
            CIB: 0 errors, 0 warnings
        "#]]
        .assert_eq(&said);
    }

    #[test]
    fn a_broken_file_changes_nothing() {
        let cib = TemporaryFile::new(TWO_NODES);
        let broken = TemporaryFile::new("<cib><configuration>");
        let said = testing::hakudo(&["--file", cib.name(), "config", "load", broken.name()]);
        assert!(said.contains("nothing was changed") && said.ends_with("[exit 78]\n"), "{said}");
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
