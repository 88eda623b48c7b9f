//! rliable's figures: aggregates with their intervals, performance profiles,
//! and how probably each method is better than each other.

use plotters::{prelude::*, style::FontTransform, style::text_anchor::HPos};

use crate::{
    ReportError,
    chart::{
        Area, Axes, COLORS, Drawn, GREY, Look, RED_INK, builder, digits, plain, svg, text, title,
    },
    legend::Legend,
    names, render as render_error,
    results::{Aggregates, Bounded, Profiles, Results},
    sweeps, table,
};

/// What a figure shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One aggregate of each method with its interval.
    Interval,
    /// Performance profiles.
    Profiles,
    /// How probably each method is better than each other.
    Matrix,
    /// A number of SPAR's settings at several values.
    Sweep,
}

/// A figure for a page: what it is called there, and its SVG.
pub(crate) struct Figure {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) svg: String,
}

/// One of the four aggregates.
struct Aggregate {
    name: &'static str,
    of: fn(&Aggregates) -> Bounded,
}

const AGGREGATES: [Aggregate; 4] = [
    Aggregate {
        name: "IQM of runs",
        of: |a| a.iqm,
    },
    Aggregate {
        name: "mean",
        of: |a| a.mean,
    },
    Aggregate {
        name: "median of tasks",
        of: |a| a.median,
    },
    Aggregate {
        name: "optimality gap (less is better)",
        of: |a| a.optimality_gap,
    },
];

/// Pixels of one method's row in an interval plot, and of what is around them.
const ROW: u32 = 26;
const AROUND: u32 = 90;
/// Pixels of one cell of the matrix.
const SQUARE: u32 = 42;

/// The figures of a page, without legends. Those of which there are no numbers
/// are left out.
pub(crate) fn panels(results: &Results) -> Result<Vec<Figure>, ReportError> {
    let mut figures = Vec::new();
    let mut add = |kind, name: &str, drawn: Drawn<String>| {
        let svg = drawn.map_err(|e| render_error(name, e))?;
        let name = name.to_owned();
        figures.push(Figure { kind, name, svg });
        Ok::<_, ReportError>(())
    };
    let rows = aggregated(results).len() as u32;
    if rows > 0 {
        for aggregate in &AGGREGATES {
            let size = (400, AROUND + ROW * rows);
            let drawn = svg(size, |root| draw_intervals(root, results, aggregate));
            add(Kind::Interval, aggregate.name, drawn)?;
        }
    }
    if let Some(profiles) = &results.profiles {
        let drawn = svg((400, 320), |root| draw_profiles(root, results, profiles));
        add(Kind::Profiles, "performance profiles", drawn)?;
    }
    if !results.improvements.is_empty() {
        let drawn = svg(matrix_size(results), |root| draw_matrix(root, results));
        add(Kind::Matrix, "probability of improvement", drawn)?;
    }
    for sweep in sweeps::drawable(results) {
        let drawn = svg(sweeps::PANEL, |root| sweeps::draw(root, results, sweep));
        add(Kind::Sweep, &format!("sweep of {}", sweep.setting), drawn)?;
    }
    Ok(figures)
}

/// The same as files of their own.
pub(crate) fn render(results: &Results) -> Result<Vec<(String, String)>, ReportError> {
    let mut files = Vec::new();
    let mut add = |name: &str, drawn: Drawn<String>| {
        let name = format!("plots/{name}.svg");
        let svg = drawn.map_err(|e| render_error(&name, e))?;
        files.push((name, svg));
        Ok::<_, ReportError>(())
    };
    let rows = aggregated(results).len() as u32;
    if rows > 0 {
        let sheet = (880, 2 * (AROUND + ROW * rows));
        let drawn = with_legend(results, Vec::new(), note(results), sheet, |below| {
            for (area, aggregate) in below.split_evenly((2, 2)).iter().zip(&AGGREGATES) {
                draw_intervals(area, results, aggregate)?;
            }
            Ok(())
        });
        add("intervals", drawn)?;
    }
    if let Some(profiles) = &results.profiles {
        let draw = |below: &Area<'_>| draw_profiles(below, results, profiles);
        add(
            "profiles",
            with_legend(results, legend(results), note(results), (720, 420), draw),
        )?;
    }
    if !results.improvements.is_empty() {
        let size = matrix_size(results);
        let draw = |below: &Area<'_>| draw_matrix(below, results);
        add(
            "improvement",
            with_legend(results, Vec::new(), note(results), size, draw),
        )?;
    }
    let swept = sweeps::drawable(results);
    if !swept.is_empty() {
        let (width, height) = sweeps::PANEL;
        let columns = swept.len().min(2);
        let rows = swept.len().div_ceil(columns);
        // Wide enough for the note.
        let sheet = ((width * columns as u32).max(800), height * rows as u32);
        let draw = |below: &Area<'_>| {
            for (area, sweep) in below.split_evenly((rows, columns)).iter().zip(&swept) {
                sweeps::draw(area, results, sweep)?;
            }
            Ok(())
        };
        let legend = sweeps::legend(results);
        add(
            "sweeps",
            with_legend(results, legend, sweeps::NOTE, sheet, draw),
        )?;
    }
    Ok(files)
}

fn with_legend(
    results: &Results,
    entries: Vec<(String, Look)>,
    note: &str,
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Drawn<()>,
) -> Drawn<String> {
    let mut note = note.to_owned();
    let mut note_ink = GREY;
    if table::warning(results).is_some() {
        note += " NOT the official D4RL data.";
        note_ink = RED_INK;
    }
    let legend = Legend {
        entries,
        note,
        note_ink,
    };
    let above = legend.height(size.0);
    svg((size.0, size.1 + above), |root| {
        let (head, below) = root.split_vertically(above);
        legend.draw(&head)?;
        draw(&below)
    })
}

/// The methods that are drawn, and how.
pub(crate) fn legend(results: &Results) -> Vec<(String, Look)> {
    let methods = aggregated(results).into_iter();
    methods
        .map(|(name, _)| (names::label(name), Look::of(&results.methods, name)))
        .collect()
}

/// What the intervals and bands of these figures are.
pub(crate) fn note(results: &Results) -> &'static str {
    match results.seeds.len() {
        1 => "One seed: no interval can be given.",
        _ => "95% intervals, stratified bootstrap over seeds.",
    }
}

fn aggregated(results: &Results) -> Vec<(&String, &Aggregates)> {
    let complete = results.summary.iter();
    complete
        .filter_map(|summary| Some((&summary.method, summary.aggregates.as_ref()?)))
        .collect()
}

fn draw_intervals(area: &Area<'_>, results: &Results, aggregate: &Aggregate) -> Drawn<()> {
    let rows: Vec<(&String, Bounded)> = aggregated(results)
        .into_iter()
        .map(|(method, aggregates)| (method, (aggregate.of)(aggregates)))
        .collect();
    title(area, aggregate.name)?;
    let ends = |b: &Bounded| [b.low.unwrap_or(b.value), b.high.unwrap_or(b.value)];
    let ends = rows.iter().flat_map(|(_, bounded)| ends(bounded));
    let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
        (low.min(x), high.max(x))
    });
    let margin = 0.08 * (high - low).max(1.0);
    let (left, right) = (low - margin, high + margin);
    let last = rows.len() as f64 - 0.5;
    let labels = 6;
    let shown = digits(&(left..right), labels, None);
    let mut chart = builder(area)
        .y_label_area_size(110)
        .build_cartesian_2d(left..right, last..-0.5)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GREY.mix(0.2))
        .axis_style(GREY)
        .x_labels(labels)
        .y_labels(0)
        .x_label_formatter(&|x| plain(shown, *x))
        .label_style(text(15.0, BLACK, HPos::Center))
        .axis_desc_style(text(16.0, BLACK, HPos::Center))
        .x_desc("normalized score")
        .draw()?;
    for (row, (method, bounded)) in rows.iter().enumerate() {
        let color = Look::of(&results.methods, method).color;
        let y = row as f64;
        let name = EmptyElement::at((left, y))
            + Text::new(
                names::label(method),
                (-10, 0),
                text(15.0, BLACK, HPos::Right),
            );
        chart.draw_series([name])?;
        if let (Some(low), Some(high)) = (bounded.low, bounded.high) {
            let bar = Rectangle::new(
                [(low, y - 0.28), (high, y + 0.28)],
                color.mix(0.45).filled(),
            );
            chart.draw_series([bar])?;
        }
        let point = EmptyElement::at((bounded.value, y))
            + Rectangle::new([(-1, -9), (2, 9)], color.filled());
        chart.draw_series([point])?;
    }
    Ok(())
}

fn draw_profiles(area: &Area<'_>, results: &Results, profiles: &Profiles) -> Drawn<()> {
    title(area, "performance profiles")?;
    let (Some(&first), Some(&last)) = (profiles.levels.first(), profiles.levels.last()) else {
        return Ok(());
    };
    let mut chart = builder(area).build_cartesian_2d(first..last, 0.0..1.0)?;
    Axes {
        x: "normalized score",
        y: "part of runs above it",
        x_labels: 8,
        y_labels: 6,
        x_format: None,
        y_format: None,
    }
    .draw(&mut chart)?;
    for profile in &profiles.methods {
        let look = Look::of(&results.methods, &profile.method);
        let line = |of: fn(&Bounded) -> Option<f64>| -> Option<Vec<(f64, f64)>> {
            let points = profiles.levels.iter().zip(&profile.above);
            points.map(|(&x, y)| Some((x, of(y)?))).collect()
        };
        if let (Some(low), Some(high)) = (line(|b| b.low), line(|b| b.high)) {
            look.band(&mut chart, &low, &high, profiles.methods.len())?;
        }
        look.line(&mut chart, &line(|b| Some(b.value)).unwrap_or_default())?;
    }
    Ok(())
}

/// Pixels of the names beside the matrix. No font is at hand to measure with:
/// 7 pixels a character are ample.
fn names_width(results: &Results) -> u32 {
    let methods = aggregated(results).into_iter();
    let characters = methods.map(|(method, _)| names::label(method).chars().count());
    16 + 7 * characters.max().unwrap_or(0) as u32
}

fn matrix_size(results: &Results) -> (u32, u32) {
    let side = names_width(results) + SQUARE * aggregated(results).len() as u32 + 16;
    (side.max(260), side + 30)
}

/// Rows against columns: the cell says how probably the row's method is better.
fn draw_matrix(area: &Area<'_>, results: &Results) -> Drawn<()> {
    title(area, "P(row scores above column)")?;
    let methods: Vec<&String> = aggregated(results).into_iter().map(|(m, _)| m).collect();
    let names = names_width(results) as i32;
    let side = SQUARE as i32;
    // In the middle of a sheet that a short title made wider.
    let (width, _) = area.dim_in_pixel();
    let spare = width as i32 - names - side * methods.len() as i32 - 16;
    let (left, top) = (names + spare / 2, names + 30);
    let middle = |start: i32, i: usize| start + side * i as i32 + side / 2;
    for (i, method) in methods.iter().enumerate() {
        let name = names::label(method);
        let place = (left - 8, middle(top, i));
        area.draw(&Text::new(
            name.clone(),
            place,
            text(15.0, BLACK, HPos::Right),
        ))?;
        let upright = text(15.0, BLACK, HPos::Left).transform(FontTransform::Rotate270);
        area.draw(&Text::new(name, (middle(left, i), top - 8), upright))?;
    }
    for (i, row) in methods.iter().enumerate() {
        for (j, column) in methods.iter().enumerate() {
            let (x, y) = (left + side * j as i32, top + side * i as i32);
            let square = [(x + 1, y + 1), (x + side - 1, y + side - 1)];
            let Some(p) = better(results, row, column) else {
                area.draw(&Rectangle::new(square, GREY.mix(0.08).filled()))?;
                continue;
            };
            // The further from a coin's toss, the deeper.
            let color = if p.value >= 0.5 { COLORS[0] } else { COLORS[1] };
            let depth = 1.2 * (p.value - 0.5).abs();
            area.draw(&Rectangle::new(square, color.mix(depth).filled()))?;
            if p.low > Some(0.5) || p.high.is_some_and(|high| high < 0.5) {
                area.draw(&Rectangle::new(square, color.stroke_width(2)))?;
            }
            let place = (middle(left, j), middle(top, i));
            let number = format!("{:.2}", p.value);
            area.draw(&Text::new(number, place, text(16.0, BLACK, HPos::Center)))?;
        }
    }
    Ok(())
}

/// How probably `method` scores above `over`, whichever way it was computed.
fn better(results: &Results, method: &str, over: &str) -> Option<Bounded> {
    let known = |a: &str, b: &str| {
        let mut all = results.improvements.iter();
        all.find(|known| known.method == a && known.over == b)
            .map(|known| known.probability)
    };
    known(method, over).or_else(|| {
        let back = known(over, method)?;
        Some(Bounded {
            value: 1.0 - back.value,
            low: back.high.map(|high| 1.0 - high),
            high: back.low.map(|low| 1.0 - low),
        })
    })
}
