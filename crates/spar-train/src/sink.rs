//! Where the numbers of a run are shown while it is under way.
//!
//! `metrics.jsonl` and `eval.csv` are the run's own record. A [`Sink`] is a copy of it for
//! a program that people already watch runs with. It never decides anything: a run has the
//! same bits with any sinks.
//!
//! A new one is a file beside `tensorboard.rs` and a line in `all`.

mod event_file;
mod tensorboard;

use std::{io, path::Path};

use serde_json::Value;
use spar_core::RunRecord;

/// Numbers of one moment of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// What they are of: the phase whose update it is (`anchor`, `spar`, `method`), or
    /// `eval` and `validation`, points of the run's curves.
    pub group: String,
    /// The update of its phase, from one.
    pub update: u64,
    /// Numbers by name, none of them infinite or not a number.
    pub values: Vec<(String, f64)>,
    /// When it was measured, in seconds since 1970.
    pub at: f64,
    /// Updates per second since the point before it, without the time of evaluations;
    /// absent where there was none in this process.
    pub updates_per_s: Option<f64>,
}

/// What a sink may say of the run before its numbers.
#[derive(Clone, Debug)]
pub struct About {
    /// Settings by dotted name, as in `config.critic.expectile`: every leaf of `spec.json`.
    pub settings: Vec<(String, Value)>,
    /// When this process began with the run, in seconds since 1970.
    pub at: f64,
}

/// A place for a run's numbers.
///
/// It begins whenever a process begins or resumes the run, with every point up to the
/// checkpoint that it resumes from. What an earlier process had shown beyond that will be
/// measured again, so it has to be forgotten: a resumed run has each point once.
pub trait Sink {
    /// Begins with all points so far.
    ///
    /// # Errors
    /// If it cannot be written; the run stops, resumably.
    fn begin(&mut self, run: &About, so_far: &[Point]) -> io::Result<()>;

    /// Adds a point, and makes it visible to whoever looks.
    ///
    /// # Errors
    /// As [`Sink::begin`].
    fn point(&mut self, point: &Point) -> io::Result<()>;

    /// The run is finished, with this record.
    ///
    /// # Errors
    /// As [`Sink::begin`].
    fn end(&mut self, record: &RunRecord) -> io::Result<()>;
}

/// The sinks of a run in `folder`.
pub(crate) fn all(folder: &Path) -> Vec<Box<dyn Sink>> {
    vec![Box::new(tensorboard::TensorBoard::of(folder))]
}

/// The leaves of `value` by dotted name.
pub(crate) fn leaves(value: &Value) -> Vec<(String, Value)> {
    fn walk(name: &str, value: &Value, found: &mut Vec<(String, Value)>) {
        let Value::Object(fields) = value else {
            return found.push((name.to_owned(), value.clone()));
        };
        for (key, value) in fields {
            let inner = match name {
                "" => key.clone(),
                name => format!("{name}.{key}"),
            };
            walk(&inner, value, found);
        }
    }
    let mut found = Vec::new();
    walk("", value, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn leaves_have_dotted_names() {
        let found = leaves(&json!({ "a": 1, "b": { "c": [1, 2], "d": { "e": "f" } } }));
        let expected = [
            ("a", json!(1)),
            ("b.c", json!([1, 2])),
            ("b.d.e", json!("f")),
        ];
        assert_eq!(
            found,
            expected.map(|(name, value)| (name.to_owned(), value))
        );
    }
}
