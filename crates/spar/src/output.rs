//! What goes to stdout, the data a command was asked for, and the lines on stderr.
//!
//! Both may hold text of foreign files; none of it reaches the terminal as it is
//! ([`printable`]).

use std::{
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result};
use comfy_table::{Table, presets};
use serde::{Serialize, Serializer};
use spar_core::{RunRecord, printable, printable_json, printable_lines};

/// Whoever read stdout has closed it.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(crate) struct Closed;

/// Writes `text` and a line end.
pub(crate) fn text(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", printable_lines(text.trim_end())).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        written => written.context("cannot write to standard output"),
    }
}

/// Writes bytes of our own as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        written => written.context("cannot write to standard output"),
    }
}

/// Writes `value` as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string(value).context("cannot write JSON")?;
    text(&printable_json(&json))
}

/// The name of a file in JSON, which holds none of bytes that are not UTF-8: those stand as
/// U+FFFD.
pub(crate) fn path<S: Serializer>(path: &impl AsRef<Path>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.as_ref().to_string_lossy())
}

/// What was found in a file, and which that is.
#[derive(Serialize)]
pub(crate) struct InFile<'a, T> {
    #[serde(serialize_with = "path")]
    pub(crate) file: &'a Path,
    #[serde(flatten)]
    pub(crate) found: &'a T,
}

/// Writes `line` to stderr, for whoever reads it: one that is gone is no reason to stop.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(line));
}

/// [`say`]s what a user should know.
pub(crate) fn note(note: &str) {
    say(&format!("note: {note}"));
}

/// A header and rows, as text.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.to_vec());
    let shown = |cells: Vec<String>| cells.into_iter().map(|cell| printable(&cell).into_owned());
    table.add_rows(
        rows.into_iter()
            .map(|cells| shown(cells).collect::<Vec<_>>()),
    );
    spar_report::fit(&mut table);
    table.trim_fmt()
}

/// Writes names and values in two columns.
pub(crate) fn facts(facts: &[(&str, String)]) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in facts {
        table.add_row([printable(name), printable(value)]);
    }
    spar_report::fit(&mut table);
    text(&table.trim_fmt())
}

/// Whose returns they are, under the names that every `--json` has for them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Played {
    /// Where.
    pub(crate) env: String,
    /// The policy's file.
    pub(crate) policy: String,
    /// Seed of the episodes.
    pub(crate) seed: u64,
}

impl Played {
    /// The final evaluation of the run in `folder`, if it had one.
    pub(crate) fn of_run(folder: &Path, record: &RunRecord) -> Self {
        Self {
            env: record.env.clone().unwrap_or_default(),
            policy: folder.join("policy.safetensors").display().to_string(),
            seed: record.eval_seed,
        }
    }
}

/// How a policy did: what `train --json` and `eval --json` end with.
#[derive(Debug, Serialize)]
pub(crate) struct Score {
    #[serde(flatten)]
    played: Played,
    /// The unit of what a table shows: `normalized_score`, or `return` where there is none.
    unit: &'static str,
    /// Undiscounted return of every episode.
    returns: Vec<f64>,
    mean_return: f64,
    /// D4RL's normalized score of the mean, in percent; `null` where the
    /// environment, or the data trained on, have no reference scores.
    normalized_score: Option<f64>,
}

impl Score {
    /// Of `returns`, whose mean's normalized score is `normalized_score`.
    pub(crate) fn of(played: Played, normalized_score: Option<f64>, returns: Vec<f64>) -> Self {
        let mean_return = spar_stats::mean(&returns);
        Self {
            played,
            unit: match normalized_score {
                Some(_) => "normalized_score",
                None => "return",
            },
            returns,
            mean_return,
            normalized_score,
        }
    }

    /// Rows for [`facts`].
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let std = spar_stats::std(&self.returns, 0);
        let low = self.returns.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self
            .returns
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        vec![
            ("episodes", self.returns.len().to_string()),
            ("return", format!("{:.2} ± {std:.2}", self.mean_return)),
            ("lowest, highest", format!("{low:.2}, {high:.2}")),
            ("normalized score", optional(self.normalized_score)),
        ]
    }
}

/// `value` with two decimals, or a dash.
pub(crate) fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}
