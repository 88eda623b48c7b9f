//! What a failure looks like: one line on stderr, and an exit code.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use spar_core::{EnvId, TaskId, signals::Asked, suite::SuiteError};
use spar_suite::RunnerError;
use spar_train::{Method, TrainError};

use crate::output::{self, Closed};

/// The command line asks for something there is not: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// A signal asked for the end of a run, which has written its checkpoint: the exit code
/// is the signal's.
#[derive(Debug, thiserror::Error)]
#[error("{}: stopped at {unit} {update}; the same command resumes it", asked.name)]
pub(crate) struct Ended {
    pub(crate) asked: Asked,
    /// What is counted: updates, or steps in an environment.
    pub(crate) unit: &'static str,
    pub(crate) update: u64,
}

/// A signal asked for the end of a command that has nothing to save.
#[derive(Debug, thiserror::Error)]
#[error("{}: ended", asked.name)]
pub(crate) struct Interrupted {
    pub(crate) asked: Asked,
}

/// Prints `error` as one line and returns its exit code. A reader that closed
/// stdout has what it wanted: no line, and success.
pub(crate) fn print(error: &anyhow::Error) -> ExitCode {
    if error.is::<Closed>() {
        return ExitCode::SUCCESS;
    }
    if let Some(ended) = error.downcast_ref::<Ended>() {
        output::say(&ended.to_string());
        return ExitCode::from(ended.asked.exit_code());
    }
    if let Some(ended) = error.downcast_ref::<Interrupted>() {
        output::say(&ended.to_string());
        return ExitCode::from(ended.asked.exit_code());
    }
    output::say(&format!("error: {}", line(error)));
    if matches!(error.downcast_ref(), Some(RunnerError::Waits { .. })) {
        return ExitCode::from(spar_suite::NOT_YET);
    }
    let usage = error.is::<Usage>()
        || matches!(error.downcast_ref(), Some(SuiteError::Preset { .. }))
        || matches!(error.downcast_ref(), Some(RunnerError::Usage(_)))
        || matches!(error.downcast_ref(), Some(TrainError::Method { .. }));
    ExitCode::from(if usage { 2 } else { 1 })
}

/// Prints what clap has to say of the command line: help as it is, an error as
/// one line like every other, its tips as hints.
pub(crate) fn print_unparsed(error: &clap::Error) -> ExitCode {
    let rendered = error.to_string();
    let mut paragraphs = rendered.split("\n\n");
    match paragraphs.next() {
        Some(first) if first.starts_with("error: ") => {
            let words: Vec<&str> = first.split_whitespace().collect();
            output::say(&words.join(" "));
        }
        _ => error.exit(),
    }
    for paragraph in paragraphs {
        if let Some(tip) = paragraph.trim_start().strip_prefix("tip: ") {
            output::say(&format!("hint: {}", flat(tip)));
        }
    }
    if let Some(name) = meant(error) {
        output::say(&format!("hint: did you mean `{name}`?"));
    }
    output::say("hint: --help says what there is");
    ExitCode::from(2)
}

/// The method, environment or task that a name of none is close to.
fn meant(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (argument, got) = (
        text(ContextKind::InvalidArg)?,
        text(ContextKind::InvalidValue)?,
    );
    let names: Vec<String> = match argument.split_whitespace().next()? {
        "--method" => Method::all()
            .map(|method| method.name().to_owned())
            .collect(),
        "--env" => EnvId::all()
            .iter()
            .map(|env| env.name().to_owned())
            .collect(),
        "--task" => TaskId::all().iter().map(|task| task.to_string()).collect(),
        _ => return None,
    };
    closest(got, names)
}

/// The one of `names` that is most alike `got`, if any is.
fn closest(got: &str, names: Vec<String>) -> Option<String> {
    // What clap asks of its own options.
    const ALIKE: f64 = 0.7;
    let got = got.to_lowercase();
    let alike = names
        .into_iter()
        .map(|name| (strsim::jaro(&got, &name), name));
    let alike = alike.filter(|(alike, _)| *alike > ALIKE);
    alike
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// The error and its causes, each said once, on one line.
fn line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = flat(&cause.to_string());
        if line.contains(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
    }
    line
}

/// `text` on one line, without the lines in which a parser draws the place.
fn flat(text: &str) -> String {
    let drawn = |line: &str| {
        let line = line.trim_start();
        line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ')
            .starts_with('|')
    };
    let lines = text.lines().filter(|l| !l.trim().is_empty() && !drawn(l));
    lines.map(str::trim).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_name_that_is_nearly_one_is_told_which() {
        let names = || {
            ["td3bc", "iql", "spar", "hopper"]
                .map(str::to_owned)
                .to_vec()
        };
        for (got, expected) in [
            ("sparr", Some("spar")),
            ("TD3+BC", Some("td3bc")),
            ("hoper", Some("hopper")),
            ("walker", None),
            ("", None),
        ] {
            assert_eq!(closest(got, names()).as_deref(), expected, "{got}");
        }
    }

    #[test]
    fn causes_are_said_once_and_on_one_line() {
        let error = anyhow!("disk full")
            .context("a.txt: disk full")
            .context("cannot save");
        assert_eq!(line(&error), "cannot save: a.txt: disk full");
        let toml =
            "TOML parse error at line 3, column 1\n  |\n3 | x = 1\n  | ^\nunknown field `x`\n";
        let expected = "TOML parse error at line 3, column 1: unknown field `x`";
        assert_eq!(line(&anyhow!(toml)), expected);
    }
}
