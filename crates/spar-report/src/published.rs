//! Numbers of other people's tables, each with its source, its version of the
//! data and its protocol. They are shown apart: tables on the same cell disagree
//! by tens of points, and runs on local data are not comparable with any.

use std::collections::BTreeSet;

use serde::Deserialize;
use spar_core::{Origin, TaskId};

use crate::{
    ReportError, render as render_error,
    results::{Cell, Published, Results},
    table::{self, Grid},
};

const TABLE: &str = include_str!("../data/published.csv");

/// A line of the file. Scores stay text: they are shown as they were printed.
#[derive(Deserialize)]
struct Line {
    method: String,
    task: String,
    data: String,
    score: String,
    std: String,
    seeds: String,
    protocol: String,
    source: String,
}

/// What is known of `tasks`, in the file's order: source by source.
pub(crate) fn of(tasks: &[TaskId]) -> Result<Vec<Published>, ReportError> {
    let mut found = Vec::new();
    for line in csv::Reader::from_reader(TABLE.as_bytes()).into_deserialize() {
        let line: Line = line.map_err(|e| render_error("published numbers", e))?;
        let Some(&task) = tasks.iter().find(|task| task.to_string() == line.task) else {
            continue;
        };
        found.push(Published {
            method: line.method,
            task,
            data: line.data,
            score: line.score,
            std: line.std,
            seeds: line.seeds,
            protocol: line.protocol,
            source: line.source,
        });
    }
    Ok(found)
}

/// Where a block of rows stands, and how it was made.
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) data: &'a str,
    pub(crate) protocol: &'a str,
}

/// The sources of what is published, in the order their rows are shown. A row
/// refers to one by its place, counted from one.
pub(crate) fn sources(results: &Results) -> Vec<Source<'_>> {
    let mut sources: Vec<Source<'_>> = Vec::new();
    for p in &results.published {
        if sources.iter().all(|source| source.name != p.source) {
            sources.push(Source {
                name: &p.source,
                data: &p.data,
                protocol: &p.protocol,
            });
        }
    }
    sources
}

/// Published numbers: a row for each method of each source, a column for each task.
pub(crate) fn grid(results: &Results) -> Grid {
    let mut header = vec!["method".to_owned(), "source".to_owned()];
    header.extend(results.tasks.iter().map(TaskId::to_string));
    header.push("seeds".to_owned());
    let mut rows = Vec::new();
    for (index, source) in sources(results).iter().enumerate() {
        let of_source = || results.published.iter().filter(|p| p.source == source.name);
        let mut methods: Vec<&str> = Vec::new();
        for p in of_source() {
            if !methods.contains(&p.method.as_str()) {
                methods.push(&p.method);
            }
        }
        for method in methods {
            let of_method = || of_source().filter(|p| p.method == method);
            let cell = |task: &TaskId| match of_method().find(|p| p.task == *task) {
                Some(p) if p.std.is_empty() => p.score.clone(),
                Some(p) => format!("{} ± {}", p.score, p.std),
                None => "–".to_owned(),
            };
            let seeds: BTreeSet<&str> = of_method().map(|p| p.seeds.as_str()).collect();
            let seeds = table::list(seeds.into_iter().filter(|seeds| !seeds.is_empty()));
            let mut row = vec![method.to_owned(), format!("[{}]", index + 1)];
            row.extend(results.tasks.iter().map(cell));
            row.push(if seeds.is_empty() {
                "–".to_owned()
            } else {
                seeds
            });
            rows.push(row);
        }
    }
    Grid::of(header, rows)
}

/// How far the report's own numbers may be held against these.
pub(crate) fn caution(results: &Results) -> String {
    let official = |cell: &Cell| cell.dataset_origin == Origin::Official;
    if results.cells.iter().all(official) {
        return "What others printed for the same data files. Protocols differ from source to source, and from this report's: see the list below.".to_owned();
    }
    "NOT comparable with this report's own numbers: those come from data that are not the official D4RL files, these from the official ones.".to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_one_and_says_where_it_is_from() {
        let tasks = TaskId::all();
        let lines = of(&tasks).unwrap();
        assert_eq!(lines.len(), TABLE.lines().count() - 1, "a task is unknown");
        let mut seen = BTreeSet::new();
        for p in &lines {
            assert!(p.score.parse::<f64>().unwrap().is_finite(), "{p:?}");
            assert!(
                p.std.is_empty() || p.std.parse::<f64>().unwrap() >= 0.0,
                "{p:?}"
            );
            assert!(
                p.seeds.is_empty() || p.seeds.parse::<u32>().unwrap() > 0,
                "{p:?}"
            );
            for text in [&p.method, &p.data, &p.protocol, &p.source] {
                assert!(!text.trim().is_empty(), "{p:?}");
            }
            assert!(seen.insert((&p.source, &p.method, p.task)), "twice: {p:?}");
        }
    }
}
