//! The arbitrator as a program of its own, which is small: `hakudo arbitrator` reads the command line and becomes this program where
//! it lies beside it. What it is told stands in one word, as JSON ([`hakudo_arbitrator::Config`]), behind the word `arbitrator`, as where
//! `hakudo` begins itself anew.

use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Exit code of what stands wrong in a configuration (`EX_CONFIG` of sysexits.h), as Pacemaker's programs use it.
const CONFIG: u8 = 78;
/// Exit code of a wrong call (`EX_USAGE`).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (Some("arbitrator"), Some(text), None) = (words.next().as_deref(), words.next(), words.next()) else {
        eprintln!("hakudo-arbitrator is what `hakudo arbitrator` becomes: call that, which takes the options");
        return ExitCode::from(USAGE);
    };
    let config = match serde_json::from_str(&text) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("hakudo-arbitrator: {error} in what `hakudo arbitrator` told it: are both of the same version?");
            return ExitCode::from(USAGE);
        }
    };
    let filter = EnvFilter::try_from_env("HAKUDO_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    match hakudo_arbitrator::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hakudo: {error:#}");
            ExitCode::from(CONFIG)
        }
    }
}
