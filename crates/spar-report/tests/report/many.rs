//! A report of many runs: `SPAR_REPORT_SEEDS=20` makes it one of 10 000, and says what it took.
//! The figures of docs/clusters.md are from there.

use std::{env, time::Instant};

use spar_report::Report;

use crate::runs::Runs;

/// Twenty tasks, twenty-five methods and this many seeds.
fn seeds() -> u64 {
    let given = env::var("SPAR_REPORT_SEEDS");
    given.map_or(1, |seeds| seeds.parse().unwrap())
}

#[test]
fn every_one_of_many_runs_is_in_the_report() {
    let began = Instant::now();
    let runs = Runs::many(seeds());
    let made = began.elapsed();
    let report = Report::build(&runs.request).unwrap();
    let built = began.elapsed() - made;
    let folder = tempfile::tempdir().unwrap();
    let files = report.write(folder.path()).unwrap();
    let wrote = began.elapsed() - made - built;
    assert_eq!(report.results.cells.len(), 20 * 25 * seeds() as usize);
    assert_eq!(
        (report.results.missing.len(), report.results.summary.len()),
        (0, 25)
    );
    let bytes: u64 = files
        .iter()
        .map(|file| file.metadata().unwrap().len())
        .sum();
    eprintln!(
        "{} runs: {made:.1?} to make their folders, {built:.1?} to read and compare them, \
         {wrote:.1?} to write {} files of {:.1} MB in all",
        report.results.cells.len(),
        files.len(),
        bytes as f64 / 1e6,
    );
}
