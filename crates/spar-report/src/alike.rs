//! Refuses runs that may not stand in one row of a table: a row compares like with like.

use std::path::PathBuf;

use spar_core::{RunRecord, Scope, TaskId};

use crate::{ReportError, read::Run};

/// Refuses runs of one task that may not stand in one row.
pub(crate) fn may_stand_in_a_row(task: TaskId, row: &[&Run]) -> Result<(), ReportError> {
    refuse_mixtures(&task, row)?;
    refuse_lengths(&task, row)?;
    refuse_other_settings(&task, row)
}

/// A row compares like with like: one data set, one physics, one evaluation.
pub(crate) fn refuse_mixtures<T: ToString>(task: &T, runs: &[&Run<T>]) -> Result<(), ReportError> {
    let finished = |run: &&Run<T>| run.outcome.is_ok();
    let runs = || runs.iter().copied();
    let Some(first) = runs().find(finished) else {
        return Ok(());
    };
    for run in runs().filter(finished) {
        // The bytes decide: the same data under another name are the same data.
        if data_sha256(first) != data_sha256(run) {
            same(task, first, run, "data sets", |r| {
                let data = &r.dataset;
                format!("`{}` ({}, sha256 {})", data.id, data.origin, data.sha256)
            })?;
        }
        same(task, first, run, "environments", |r| {
            r.env.clone().unwrap_or_default()
        })?;
        same(task, first, run, "MuJoCo versions", |r| {
            r.mujoco_version.clone()
        })?;
        same(task, first, run, "evaluations", |r| {
            format!("{} episodes of seed {}", r.returns.len(), r.eval_seed)
        })?;
        let of_method = |other: &&Run<T>| finished(other) && other.method == run.method;
        if let Some(twin) = runs().filter(of_method).find(|other| twins(other, run)) {
            return Err(copied(task, twin, run));
        }
    }
    Ok(())
}

/// Runs that are averaged were trained for one length, method by method.
pub(crate) fn refuse_lengths<T: ToString>(task: &T, runs: &[&Run<T>]) -> Result<(), ReportError> {
    let finished = |run: &&&Run<T>| run.outcome.is_ok();
    for run in runs.iter().filter(finished) {
        let of_method = |other: &&&Run<T>| finished(other) && other.method == run.method;
        if let Some(sibling) = runs.iter().find(of_method) {
            same(task, sibling, run, "lengths of training", length)?;
        }
    }
    Ok(())
}

/// How long a run was trained, in words.
pub(crate) fn length(record: &RunRecord) -> String {
    format!("{} updates after {}", record.updates, record.anchor_updates)
}

fn data_sha256<T>(run: &Run<T>) -> Option<&str> {
    let done = run.outcome.as_ref().ok()?;
    Some(&done.record.dataset.sha256)
}

/// Seeds of one method are averaged: they differ in nothing else.
pub(crate) fn refuse_other_settings<T: ToString>(
    task: &T,
    runs: &[&Run<T>],
) -> Result<(), ReportError> {
    for (place, run) in runs.iter().enumerate() {
        let mut siblings = runs[..place].iter().filter(|r| r.method == run.method);
        let sibling = siblings.find_map(|other| other.outcome.as_ref().ok());
        let (Ok(done), Some(sibling)) = (&run.outcome, sibling) else {
            continue;
        };
        let differences = done.identity.differences(&sibling.identity, Scope::Seeds);
        if let Some(difference) = differences.into_iter().next() {
            return Err(ReportError::Settings {
                task: task.to_string().into(),
                method: run.method.clone(),
                difference: Box::new(difference),
                first_file: sibling.file.clone(),
                second_file: done.file.clone(),
            });
        }
    }
    Ok(())
}

/// Whether two training seeds left the same returns to the last bit because one run is a
/// copy of the other, which makes the spread over seeds a lie. Few different returns, as
/// zeros and ones, are the same by chance: then the clock has to say the same too, which
/// counts nanoseconds.
fn twins<T>(one: &Run<T>, other: &Run<T>) -> bool {
    let (Ok(a), Ok(b)) = (&one.outcome, &other.outcome) else {
        return false;
    };
    let (a, b) = (&a.record, &b.record);
    let round = |x: &f64| (x * 1000.0 - (x * 1000.0).round()).abs() < 1e-6;
    let by_chance = a.returns.iter().all(round);
    let one_clock = a.wall_s.to_bits() == b.wall_s.to_bits();
    one.seed < other.seed && a.returns == b.returns && (one_clock || !by_chance)
}

fn copied<T: ToString>(task: &T, one: &Run<T>, other: &Run<T>) -> ReportError {
    let file = |run: &Run<T>| match &run.outcome {
        Ok(done) => done.file.clone(),
        Err(_) => PathBuf::new(),
    };
    ReportError::Copied {
        task: task.to_string().into(),
        method: one.method.clone(),
        seeds: (one.seed, other.seed),
        first_file: file(one),
        second_file: file(other),
    }
}

fn same<T: ToString>(
    task: &T,
    first: &Run<T>,
    second: &Run<T>,
    what: &'static str,
    of: impl Fn(&RunRecord) -> String,
) -> Result<(), ReportError> {
    let (Ok(one), Ok(other)) = (&first.outcome, &second.outcome) else {
        return Ok(());
    };
    let (first, second) = (of(&one.record), of(&other.record));
    if first == second {
        return Ok(());
    }
    Err(ReportError::Mixed {
        task: task.to_string().into(),
        what,
        first: first.into(),
        first_file: one.file.clone(),
        second: second.into(),
        second_file: other.file.clone(),
    })
}
