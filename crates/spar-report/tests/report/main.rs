//! Reports of synthetic run folders: what is printed, what is refused.
#![allow(clippy::unwrap_used)]

mod films;
mod foreign;
mod many;
mod outputs;
mod page;
mod refusals;
mod returns;
mod runs;
mod versus;
mod without_simulator;
mod words;

use std::collections::BTreeMap;

use spar_report::Report;

fn check(got: &str, expected: expect_test::Expect) {
    expected.assert_eq(got);
}

fn file(report: &Report, name: &str) -> String {
    let files: BTreeMap<String, String> = report.files().unwrap().into_iter().collect();
    files[name].clone()
}
