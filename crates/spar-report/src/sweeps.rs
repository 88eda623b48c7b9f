//! One number of SPAR's settings at several values: which variants of a suite are
//! such a sweep, and its curve.

use std::collections::BTreeMap;

use plotters::{prelude::*, style::text_anchor::HPos};
use spar_core::{Suite, TaskId};
use toml::{Table, Value};

use crate::{
    ReportError,
    chart::{Area, Axes, Drawn, GREY, Look, builder, text, title},
    compare::METHOD,
    results::{Comparison, Results, Sweep, SweepPoint},
};

/// The sweeps among the variants in the report: those that change one number alone,
/// put together by that number. SPAR's own value is one of the points; a number that
/// SPAR has different values of on the report's tasks has no place to stand at, and
/// makes no sweep.
pub(crate) fn of(suite: &Suite, results: &Results) -> Result<Vec<Sweep>, ReportError> {
    let mut sweeps: BTreeMap<String, Vec<SweepPoint>> = BTreeMap::new();
    // What is drawn is in points of score.
    if !results.unit.is_score() {
        return Ok(Vec::new());
    }
    for name in &results.methods {
        let variant = suite.variant.get(name);
        if let Some((setting, value)) = variant.and_then(|v| only_number(&v.settings)) {
            let method = name.clone();
            let points = sweeps.entry(setting).or_default();
            points.push(SweepPoint { value, method });
        }
    }
    let mut found = Vec::new();
    for (setting, mut points) in sweeps {
        let Some(value) = own(suite, results, &setting)? else {
            continue;
        };
        let method = METHOD.to_owned();
        points.push(SweepPoint { value, method });
        points.sort_by(|a, b| a.value.total_cmp(&b.value));
        found.push(Sweep { setting, points });
    }
    Ok(found)
}

/// The one number `settings` hold, and where.
fn only_number(settings: &Table) -> Option<(String, f64)> {
    let mut entries = settings.iter();
    let (Some((key, value)), None) = (entries.next(), entries.next()) else {
        return None;
    };
    match value {
        Value::Table(below) => {
            let (path, value) = only_number(below)?;
            Some((format!("{key}.{path}"), value))
        }
        value => Some((key.clone(), number(value)?)),
    }
}

fn number(value: &Value) -> Option<f64> {
    let whole = value.as_integer().map(|n| n as f64);
    value.as_float().or(whole)
}

/// SPAR's own value of `setting`, if all tasks of the report have the same.
fn own(suite: &Suite, results: &Results, setting: &str) -> Result<Option<f64>, ReportError> {
    let mut found = None;
    for task in &results.tasks {
        let settings = suite.run_settings(&results.preset, &task.to_string(), METHOD)?;
        let mut keys = setting.split('.');
        let first = keys.next().and_then(|key| settings.get(key));
        let value = keys.fold(first, |value, key| value?.get(key));
        let value = value.and_then(number);
        if value.is_none() || found.is_some_and(|other| Some(other) != value) {
            return Ok(None);
        }
        found = value;
    }
    Ok(found)
}

/// What the figure's points and intervals are.
pub(crate) const NOTE: &str =
    "Points of score above SPAR as it is (the ring); 95% paired intervals over seeds and episodes.";

/// Pixels of one sweep's panel.
pub(crate) const PANEL: (u32, u32) = (400, 300);

/// The sweeps of which there is more than SPAR's own point.
pub(crate) fn drawable(results: &Results) -> Vec<&Sweep> {
    let mean = |found: &Comparison| Some([found.mean_difference?, found.low?, found.high?]);
    let sweeps = results.sweeps.iter();
    sweeps
        .filter(|sweep| curve(results, sweep, mean).len() > 1)
        .collect()
}

/// What is drawn, and how: the mean of the tasks, and each task where there are
/// several.
pub(crate) fn legend(results: &Results) -> Vec<(String, Look)> {
    let mut entries = vec![(mean_name(results), Look::of(&[], METHOD))];
    entries.extend(looks(results));
    entries
}

fn mean_name(results: &Results) -> String {
    match results.tasks.as_slice() {
        [only] => only.to_string(),
        tasks => format!("mean of {} tasks", tasks.len()),
    }
}

/// The line of each task, where the mean is not the only task's.
fn looks(results: &Results) -> Vec<(String, Look)> {
    let tasks: Vec<String> = results.tasks.iter().map(TaskId::to_string).collect();
    if tasks.len() < 2 {
        return Vec::new();
    }
    let look = |task: &String| (task.clone(), Look::of(&tasks, task));
    tasks.iter().map(look).collect()
}

/// One sweep: by how much each value is better than SPAR's own, which is ringed.
pub(crate) fn draw(area: &Area<'_>, results: &Results, sweep: &Sweep) -> Drawn<()> {
    title(area, &sweep.setting)?;
    let mean = curve(results, sweep, |found| {
        Some([found.mean_difference?, found.low?, found.high?])
    });
    let of_task = |index: usize| {
        curve(results, sweep, |found| {
            let task = found.tasks.get(index)?;
            Some([task.difference?, task.low?, task.high?])
        })
    };
    let looks = looks(results);
    let tasks: Vec<_> = (0..looks.len()).map(of_task).collect();
    let ends = mean.iter().flat_map(|(_, estimate)| *estimate);
    let ends = ends.chain(tasks.iter().flatten().map(|(_, [value, ..])| *value));
    let (low, high) = ends.fold((0.0f64, 0.0f64), |(low, high), y| (low.min(y), high.max(y)));
    let margin = 0.08 * (high - low).max(1.0);
    let last = sweep.points.len() as f64 - 0.5;
    let mut chart =
        builder(area).build_cartesian_2d(-0.5..last, (low - margin)..(high + margin))?;
    Axes {
        x: "",
        y: "points above SPAR",
        x_labels: 0,
        y_labels: 6,
        x_format: None,
        y_format: None,
    }
    .draw(&mut chart)?;
    let zero = [(-0.5, 0.0), (last, 0.0)];
    chart.draw_series(LineSeries::new(zero, GREY.mix(0.6)))?;
    for (place, point) in sweep.points.iter().enumerate() {
        let number = EmptyElement::at((place as f64, low - margin))
            + Text::new(
                point.value.to_string(),
                (0, 14),
                text(15.0, BLACK, HPos::Center),
            );
        chart.plotting_area().draw(&number)?;
    }
    for ((_, look), points) in looks.iter().zip(&tasks) {
        let line: Vec<(f64, f64)> = points.iter().map(|(x, [y, ..])| (*x, *y)).collect();
        look.line(&mut chart, &line)?;
    }
    let bold = Look::of(&[], METHOD);
    let line: Vec<(f64, f64)> = mean.iter().map(|(x, [y, ..])| (*x, *y)).collect();
    chart.draw_series(LineSeries::new(line, bold.color.stroke_width(4)))?;
    for (x, [y, low, high]) in mean {
        let whisker = PathElement::new([(x, low), (x, high)], bold.color.stroke_width(2));
        chart.draw_series([whisker])?;
        let own = sweep
            .points
            .get(x as usize)
            .is_some_and(|p| p.method == METHOD);
        let ink = if own {
            WHITE.filled()
        } else {
            bold.color.filled()
        };
        chart.draw_series([Circle::new((x, y), 5, ink)])?;
        chart.draw_series([Circle::new((x, y), 5, bold.color.stroke_width(2))])?;
    }
    Ok(())
}

/// The points of a sweep that have numbers, by place: a difference to SPAR and its
/// interval, which is zero for SPAR itself.
fn curve(
    results: &Results,
    sweep: &Sweep,
    of: impl Fn(&Comparison) -> Option<[f64; 3]>,
) -> Vec<(f64, [f64; 3])> {
    let points = sweep.points.iter().enumerate();
    points
        .filter_map(|(place, point)| {
            let mut all = results.differences.iter().map(|d| &d.comparison);
            let estimate = match all.find(|found| found.method == point.method) {
                Some(found) => of(found),
                None => Some([0.0; 3]),
            };
            Some((place as f64, estimate?))
        })
        .collect()
}
