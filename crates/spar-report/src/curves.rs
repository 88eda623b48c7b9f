//! Learning curves as SVG: normalized score against updates, mean over seeds
//! with a band from the lowest to the highest seed.

use std::collections::BTreeMap;

use plotters::{element::DashedPathElement, prelude::*, style::text_anchor::HPos};
use spar_core::{Origin, TaskId};

use crate::{
    ReportError, ReportRequest,
    chart::{Area, Axes, COLORS, Drawn, GREY, RED_INK, builder, svg, text},
    compare::ANCHOR,
    read::{Finished, Run},
    render as render_error, table,
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
}

/// One method's curve.
#[derive(Clone, Debug)]
struct Curve {
    label: String,
    color: RGBColor,
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

pub(crate) fn collect(request: &ReportRequest, runs: &[Run]) -> Vec<TaskCurves> {
    let others = || request.methods.iter().filter(|m| *m != ANCHOR);
    let curve = |task, method: &String| {
        let mut drawn = finished(runs, task);
        drawn.retain(|run| run.record.method == *method);
        let level = method == ANCHOR && others().next().is_some();
        if !level {
            drawn.retain(|run| !run.curve.is_empty());
        }
        let rank = others().position(|m| m == method);
        Curve {
            label: table::label(method),
            color: rank.map_or(GREY, |rank| COLORS[rank % COLORS.len()]),
            level,
            seeds: drawn.len(),
            points: if level {
                final_level(&drawn)
            } else {
                points(&drawn)
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
fn final_level(runs: &[&Finished]) -> Vec<Point> {
    let scores: Vec<f64> = runs
        .iter()
        .filter_map(|run| run.record.normalized_score())
        .collect();
    point(0, &scores).into_iter().collect()
}

/// The updates every seed was evaluated at.
fn points(runs: &[&Finished]) -> Vec<Point> {
    let mut by_update: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for row in runs.iter().flat_map(|run| &run.curve) {
        by_update
            .entry(row.update)
            .or_default()
            .push(row.normalized_score);
    }
    by_update.retain(|_, scores| scores.len() == runs.len());
    by_update
        .iter()
        .filter_map(|(&update, scores)| point(update, scores))
        .collect()
}

fn point(update: u64, scores: &[f64]) -> Option<Point> {
    (!scores.is_empty()).then(|| Point {
        update: update as f64,
        mean: spar_eval::stats::mean(scores),
        low: scores.iter().copied().fold(f64::INFINITY, f64::min),
        high: scores.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    })
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
        add(name, std::slice::from_ref(curves), 1, (720, 460))?;
    }
    if tasks.len() > 1 {
        let columns = tasks.len().min(3);
        let size = (380 * columns, 60 + 270 * tasks.len().div_ceil(columns));
        let size = (size.0 as u32, size.1 as u32);
        add("curves/overview.svg".to_owned(), tasks, columns, size)?;
    }
    Ok(files)
}

fn sheet(tasks: &[TaskCurves], columns: usize, size: (u32, u32)) -> Drawn<String> {
    svg(size, |root| {
        let (legend, below) = root.split_vertically(60);
        draw_legend(&legend, tasks)?;
        let rows = tasks.len().div_ceil(columns);
        for (area, curves) in below.split_evenly((rows, columns)).iter().zip(tasks) {
            draw_task(area, curves)?;
        }
        Ok(())
    })
}

fn draw_legend(area: &Area<'_>, tasks: &[TaskCurves]) -> Drawn<()> {
    let mut x = 24;
    for curve in tasks.first().map_or(&[][..], |first| &first.methods) {
        let style = curve.color.stroke_width(3);
        let line = [(x, 22), (x + 32, 22)];
        let label = if curve.level {
            area.draw(&DashedPathElement::new(line, 7, 5, style))?;
            format!("{}, final score", curve.label)
        } else {
            area.draw(&PathElement::new(line, style))?;
            curve.label.clone()
        };
        // No font is at hand to measure with: 8.5 pixels a character is ample.
        let width = (8.5 * label.chars().count() as f64) as i32;
        area.draw(&Text::new(
            label,
            (x + 40, 22),
            text(18.0, BLACK, HPos::Left),
        ))?;
        x += 40 + width + 24;
    }
    let mut note = match tasks.first() {
        Some(first) if first.seeds == 1 => "One seed.".to_owned(),
        _ => "Mean over seeds, band from lowest to highest.".to_owned(),
    };
    let mut ink = GREY;
    if !tasks.iter().all(|curves| curves.official) {
        note += " NOT the official D4RL data.";
        ink = RED_INK;
    }
    area.draw(&Text::new(note, (24, 46), text(15.0, ink, HPos::Left)))?;
    Ok(())
}

fn draw_task(area: &Area<'_>, curves: &TaskCurves) -> Drawn<()> {
    let drawn = || curves.methods.iter().flat_map(|curve| &curve.points);
    let (width, height) = area.dim_in_pixel();
    let middle = (width as i32 / 2, height as i32 / 2);
    let title = Text::new(
        curves.task.to_string(),
        (middle.0, 14),
        text(19.0, BLACK, HPos::Center),
    );
    area.draw(&title)?;
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
        x: "updates",
        y: "normalized score",
        x_labels,
        y_labels: 6,
        x_format: &|x| thousands(*x),
    };
    axes.draw(&mut chart)?;
    for curve in &curves.methods {
        let points = curve.spanned(last);
        let above = points.iter().map(|p| (p.update, p.high));
        let below = points.iter().rev().map(|p| (p.update, p.low));
        let band: Vec<(f64, f64)> = above.chain(below).collect();
        if points.len() > 1 && points.iter().any(|p| p.low < p.high) {
            chart.draw_series([Polygon::new(band, curve.color.mix(0.16).filled())])?;
        }
        let means: Vec<(f64, f64)> = points.iter().map(|p| (p.update, p.mean)).collect();
        let style = curve.color.stroke_width(2);
        if curve.level {
            chart.draw_series(DashedLineSeries::new(means, 7, 5, style))?;
        } else {
            let size = if means.len() == 1 { 4 } else { 0 };
            chart.draw_series(LineSeries::new(means, style.filled()).point_size(size))?;
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

fn thousands(updates: f64) -> String {
    match updates {
        x if x >= 1e6 => format!("{}M", x / 1e6),
        x if x >= 1e3 => format!("{}k", x / 1e3),
        x => format!("{x}"),
    }
}
