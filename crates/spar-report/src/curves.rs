//! Learning curves as SVG: normalized score, or return, against updates, mean over seeds
//! with a band from the lowest to the highest seed.

use std::collections::BTreeMap;

use plotters::{prelude::*, style::text_anchor::HPos};
use spar_core::{Origin, TaskId};

use crate::{
    ReportError, ReportRequest,
    chart::{Area, Axes, Drawn, GREY, Look, RED_INK, builder, plain, svg, text, title},
    compare::ANCHOR,
    find::Step,
    legend::Legend,
    names,
    read::{Finished, Run},
    render as render_error,
    results::Unit,
};

/// The curves of one task.
#[derive(Clone, Debug)]
pub(crate) struct TaskCurves {
    task: TaskId,
    methods: Vec<Curve>,
    /// Seeds every curve should have.
    seeds: usize,
    /// Whether every run drawn was trained on an official D4RL file.
    official: bool,
    /// What is counted along the horizontal axis.
    x: &'static str,
    /// What the numbers are.
    unit: Unit,
}

/// One method's curve.
#[derive(Clone, Debug)]
struct Curve {
    label: String,
    look: Look,
    /// Drawn as a level instead of a curve: the anchor beside other methods,
    /// whose updates it does not share.
    level: bool,
    /// Seeds drawn.
    seeds: usize,
    points: Vec<Point>,
}

/// Scores of all seeds at one update.
#[derive(Clone, Copy, Debug)]
struct Point {
    update: f64,
    mean: f64,
    low: f64,
    high: f64,
}

pub(crate) fn collect(request: &ReportRequest, runs: &[Run], unit: Unit) -> Vec<TaskCurves> {
    let others = || request.methods.iter().filter(|m| *m != ANCHOR);
    let curve = |task, method: &String| {
        let mut drawn = finished(runs, task);
        drawn.retain(|run| run.record.method == *method);
        let level = method == ANCHOR && others().next().is_some();
        if !level {
            drawn.retain(|run| !run.curve.is_empty());
        }
        Curve {
            label: names::label(method),
            look: Look::of(&request.methods, method),
            level,
            seeds: drawn.len(),
            points: if level {
                final_level(&drawn, unit)
            } else {
                points(&drawn, unit)
            },
        }
    };
    let curves = |&task| TaskCurves {
        task,
        methods: request.methods.iter().map(|m| curve(task, m)).collect(),
        seeds: request.seeds.len(),
        official: finished(runs, task)
            .iter()
            .all(|run| run.record.dataset.origin == Origin::Official),
        x: "updates",
        unit,
    };
    request.tasks.iter().map(curves).collect()
}

fn finished(runs: &[Run], task: TaskId) -> Vec<&Finished> {
    let of_task = runs.iter().filter(|run| run.task == task);
    of_task
        .filter_map(|run| run.outcome.as_ref().ok())
        .collect()
}

/// The final scores, as one point at update 0.
fn final_level(runs: &[&Finished], unit: Unit) -> Vec<Point> {
    let scores: Vec<f64> = runs
        .iter()
        .filter_map(|run| match unit {
            Unit::NormalizedScore => run.record.normalized_score(),
            Unit::Return => Some(run.record.mean_return()),
        })
        .collect();
    point(0, &scores).into_iter().collect()
}

/// The updates every seed was evaluated at.
fn points(runs: &[&Finished], unit: Unit) -> Vec<Point> {
    let mut by_update: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for row in runs.iter().flat_map(|run| &run.curve) {
        by_update
            .entry(row.update)
            .or_default()
            .extend(row.value(unit));
    }
    by_update.retain(|_, scores| scores.len() == runs.len());
    by_update
        .iter()
        .filter_map(|(&update, scores)| point(update, scores))
        .collect()
}

/// The rows of one run's curve over steps.
pub(crate) type Steps<'a> = &'a [Step];

/// A figure of runs that were fine-tuned: of each of `methods`, with the curves of its seeds,
/// the score over steps, and as a level the score it began with.
pub(crate) fn of_steps(
    task: TaskId,
    methods: &[(String, Vec<Steps<'_>>)],
    official: bool,
) -> Result<String, ReportError> {
    let names: Vec<String> = methods.iter().map(|(name, _)| name.clone()).collect();
    let curve = |(name, runs): &(String, Vec<Steps<'_>>)| {
        let mut by_step: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for row in runs.iter().copied().flatten() {
            let scores = by_step.entry(row.step).or_default();
            scores.extend(row.normalized_score);
        }
        by_step.retain(|_, scores| scores.len() == runs.len());
        let points = by_step.iter();
        let points: Vec<Point> = points.filter_map(|(&s, scores)| point(s, scores)).collect();
        let start = points.first().filter(|first| first.update == 0.0);
        let of = |label, level, points| Curve {
            label,
            look: Look::of(&names, name),
            level,
            seeds: runs.len(),
            points,
        };
        let label = names::short(name);
        let offline = of(
            format!("{label} offline"),
            true,
            start.copied().into_iter().collect(),
        );
        [of(label, false, points), offline]
    };
    let curves = TaskCurves {
        task,
        methods: methods.iter().flat_map(curve).collect(),
        seeds: methods
            .iter()
            .map(|(_, runs)| runs.len())
            .max()
            .unwrap_or(0),
        official,
        x: "steps in the environment",
        unit: Unit::NormalizedScore,
    };
    let drawn = sheet(std::slice::from_ref(&curves), 1, (720, 400));
    drawn.map_err(|e| render_error(&format!("the curves of {task}"), e))
}

fn point(update: u64, scores: &[f64]) -> Option<Point> {
    (!scores.is_empty()).then(|| Point {
        update: update as f64,
        mean: spar_stats::mean(scores),
        low: scores.iter().copied().fold(f64::INFINITY, f64::min),
        high: scores.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    })
}

/// Each task's figure without a legend, for a page that has one: name and SVG.
pub(crate) fn panels(tasks: &[TaskCurves]) -> Result<Vec<(TaskId, String)>, ReportError> {
    let panel = |curves: &TaskCurves| {
        let drawn = svg((400, 300), |root| draw_task(root, curves));
        let name = || format!("the curves of {}", curves.task);
        Ok((curves.task, drawn.map_err(|e| render_error(&name(), e))?))
    };
    tasks.iter().map(panel).collect()
}

/// One SVG per task and, where there are several tasks, one with all of them.
pub(crate) fn render(tasks: &[TaskCurves]) -> Result<Vec<(String, String)>, ReportError> {
    let mut files = Vec::new();
    let mut add = |name: String, tasks, columns, size| {
        let svg = sheet(tasks, columns, size).map_err(|e| render_error(&name, e))?;
        files.push((name, svg));
        Ok::<_, ReportError>(())
    };
    for curves in tasks {
        let name = format!("curves/{}.svg", curves.task);
        add(name, std::slice::from_ref(curves), 1, (720, 400))?;
    }
    if tasks.len() > 1 {
        let columns = tasks.len().min(3);
        let size = (380 * columns, 270 * tasks.len().div_ceil(columns));
        let size = (size.0 as u32, size.1 as u32);
        add("curves/overview.svg".to_owned(), tasks, columns, size)?;
    }
    Ok(files)
}

/// `size` is that of the figures, without the legend.
fn sheet(tasks: &[TaskCurves], columns: usize, size: (u32, u32)) -> Drawn<String> {
    let legend = legend(tasks);
    let above = legend.height(size.0);
    svg((size.0, size.1 + above), |root| {
        let (head, below) = root.split_vertically(above);
        legend.draw(&head)?;
        let rows = tasks.len().div_ceil(columns);
        for (area, curves) in below.split_evenly((rows, columns)).iter().zip(tasks) {
            draw_task(area, curves)?;
        }
        Ok(())
    })
}

/// What each line is, and the spread around it.
pub(crate) fn legend(tasks: &[TaskCurves]) -> Legend {
    let curves = tasks.first().map_or(&[][..], |first| &first.methods);
    let mut note = match tasks.first() {
        Some(first) if first.seeds == 1 => "One seed.".to_owned(),
        _ => "Mean over seeds, band from lowest to highest.".to_owned(),
    };
    let mut note_ink = GREY;
    if !tasks.iter().all(|curves| curves.official) {
        note += " NOT the official D4RL data.";
        note_ink = RED_INK;
    }
    Legend {
        entries: curves.iter().map(|c| (c.words(), c.look())).collect(),
        note,
        note_ink,
    }
}

fn draw_task(area: &Area<'_>, curves: &TaskCurves) -> Drawn<()> {
    let drawn = || curves.methods.iter().flat_map(|curve| &curve.points);
    let (width, height) = area.dim_in_pixel();
    let middle = (width as i32 / 2, height as i32 / 2);
    title(area, &curves.task.to_string())?;
    if drawn().next().is_none() {
        area.draw(&Text::new(
            "missing",
            middle,
            text(18.0, GREY, HPos::Center),
        ))?;
        return Ok(());
    }
    let longest = drawn().map(|p| p.update).fold(0.0, f64::max);
    let (last, x_labels) = if longest > 0.0 {
        (longest, 5)
    } else {
        (1.0, 0)
    };
    let low = drawn().map(|p| p.low).fold(0.0, f64::min);
    let high = drawn().map(|p| p.high).fold(low + 1.0, f64::max);
    let margin = 0.05 * (high - low);
    let mut chart = builder(area).build_cartesian_2d(0.0..last, (low - margin)..(high + margin))?;
    let axes = Axes {
        x: curves.x,
        y: curves.unit.words(),
        x_labels,
        y_labels: 6,
        x_format: Some(&thousands),
        y_format: None,
    };
    axes.draw(&mut chart)?;
    for curve in &curves.methods {
        let points = curve.spanned(last);
        let line = |of: fn(&Point) -> f64| -> Vec<(f64, f64)> {
            points.iter().map(|p| (p.update, of(p))).collect()
        };
        if points.len() > 1 && points.iter().any(|p| p.low < p.high) {
            let (low, high) = (line(|p| p.low), line(|p| p.high));
            let bands = curves.methods.len();
            curve.look.band(&mut chart, &low, &high, bands)?;
        }
        let means = line(|p| p.mean);
        match means[..] {
            // A line of one point is not seen.
            [only] => {
                let dot = Circle::new(only, 4, curve.look.color.filled());
                chart.draw_series([dot])?;
            }
            _ => curve.look().line(&mut chart, &means)?,
        }
    }
    let incomplete: Vec<String> = curves
        .methods
        .iter()
        .filter(|curve| curve.seeds < curves.seeds)
        .map(|curve| format!("{}: {}/{} seeds", curve.label, curve.seeds, curves.seeds))
        .collect();
    if !incomplete.is_empty() {
        let corner = (width as i32 - 30, height as i32 - 72);
        let style = text(15.0, GREY, HPos::Right);
        area.draw(&Text::new(incomplete.join(", "), corner, style))?;
    }
    Ok(())
}

impl Curve {
    /// The curve's name in a legend.
    fn words(&self) -> String {
        if self.level {
            format!("{}, final score", self.label)
        } else {
            self.label.clone()
        }
    }

    /// A level is broken, so that nobody takes it for a curve.
    fn look(&self) -> Look {
        let dash = if self.level {
            Some((7, 5))
        } else {
            self.look.dash
        };
        Look { dash, ..self.look }
    }

    /// The points as drawn: a level spans the whole axis.
    fn spanned(&self, last: f64) -> Vec<Point> {
        match (self.level, self.points.first()) {
            (true, Some(&start)) => vec![
                start,
                Point {
                    update: last,
                    ..start
                },
            ],
            _ => self.points.clone(),
        }
    }
}

/// Updates as they are spoken of, in thousands and millions.
fn thousands(digits: usize, updates: f64) -> String {
    let short = |x: f64| {
        let text = plain(digits, x);
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    };
    match updates {
        x if x >= 1e6 => short(x / 1e6) + "M",
        x if x >= 1e3 => short(x / 1e3) + "k",
        x => short(x),
    }
}
