//! The plot of `docs/performance.md`: runs side by side and the two sweeps.

use anyhow::{Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::scaling::{Point, Scaling, WORKLOADS};

/// Okabe and Ito's colours, told apart by colour-blind readers too: one for each
/// workload, and grey for what would be ideal.
const COLORS: [RGBColor; 2] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0)];
const GREY: RGBColor = RGBColor(95, 95, 95);
const FONT: &str = "sans-serif";
const SIZE: (u32, u32) = (1080, 380);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<T> = Result<T, Box<dyn std::error::Error>>;

/// A line and its name.
struct Line {
    name: String,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

/// One of the plot's three parts.
struct Panel {
    title: &'static str,
    x: &'static str,
    y: &'static str,
    /// What the marks of the horizontal axis say, at 0, 1, and so on.
    marks: Vec<String>,
    lines: Vec<Line>,
}

/// The plot as SVG.
///
/// # Errors
/// Only if plotters fails.
pub(crate) fn render(scaling: &Scaling) -> Result<String> {
    sheet(scaling).map_err(|error| anyhow!("cannot draw the plot: {error}"))
}

fn sheet(scaling: &Scaling) -> Drawn<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let panels = [
            runs(scaling),
            sweep(
                "batch, hidden layers 256 wide",
                "transitions per batch",
                |workload| scaling.batches(workload),
                |point| point.rows,
            ),
            sweep(
                "hidden width, batch of 256",
                "width of hidden layers",
                |workload| scaling.widths(workload),
                |point| point.width,
            ),
        ];
        for (area, panel) in root.split_evenly((1, panels.len())).iter().zip(&panels) {
            draw(area, panel)?;
        }
        root.present()?;
    }
    Ok(svg)
}

fn runs(scaling: &Scaling) -> Panel {
    let rows = &scaling.side_by_side;
    let one = rows.first().map_or(0.0, |row| row.steps_per_s);
    let at = rows.iter().enumerate().map(|(i, row)| (i as f64, row));
    let line = |name: &str, color, value: &dyn Fn(f64, f64) -> f64| Line {
        name: name.to_owned(),
        color,
        points: at
            .clone()
            .map(|(x, row)| (x, value(row.steps_per_s, row.runs as f64)))
            .collect(),
    };
    Panel {
        title: "runs side by side",
        x: "runs of one thread",
        y: "SPAR updates/s in all",
        marks: rows.iter().map(|row| row.runs.to_string()).collect(),
        lines: vec![
            line("measured", COLORS[1], &|rate, _| rate),
            line("as many times one", GREY, &|_, runs| runs * one),
        ],
    }
}

fn sweep<'a>(
    title: &'static str,
    x: &'static str,
    points: impl Fn(&str) -> Vec<&'a Point>,
    by: impl Fn(&Point) -> usize,
) -> Panel {
    let line = |(workload, color): (&str, RGBColor)| Line {
        name: match workload {
            "mlp" => "one network's step".to_owned(),
            "spar" => "SPAR update".to_owned(),
            other => other.to_owned(),
        },
        color,
        points: points(workload)
            .iter()
            .enumerate()
            .map(|(i, point)| (i as f64, 100.0 * point.of_fma_peak))
            .collect(),
    };
    let mut lines: Vec<_> = WORKLOADS.into_iter().zip(COLORS).map(line).collect();
    let marks: Vec<_> = points(WORKLOADS[0])
        .iter()
        .map(|point| by(point).to_string())
        .collect();
    lines.push(Line {
        name: "floor: all multiply-adds at the peak".to_owned(),
        color: GREY,
        points: (0..marks.len()).map(|i| (i as f64, 100.0)).collect(),
    });
    Panel {
        title,
        x,
        y: "% of the multiply-add peak",
        marks,
        lines,
    }
}

fn text(size: f64, side: HPos) -> TextStyle<'static> {
    let font = (FONT, size).into_font().color(&BLACK);
    font.pos(Pos::new(side, VPos::Center))
}

fn draw(area: &Area<'_>, panel: &Panel) -> Drawn<()> {
    let middle = area.dim_in_pixel().0 as i32 / 2;
    let title = Text::new(panel.title, (middle, 16), text(17.0, HPos::Center));
    area.draw(&title)?;
    for (i, line) in panel.lines.iter().enumerate() {
        let y = 40 + 18 * i as i32;
        let style = line.color.stroke_width(3);
        area.draw(&PathElement::new([(70, y), (94, y)], style))?;
        area.draw(&Text::new(
            line.name.clone(),
            (102, y),
            text(13.0, HPos::Left),
        ))?;
    }
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let highest = points().map(|(_, y)| *y).fold(1e-9, f64::max);
    let last = panel.marks.len().saturating_sub(1).max(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .margin_top(48 + 18 * panel.lines.len() as u32)
        .margin_right(22)
        .margin_left(6)
        .margin_bottom(4)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(-0.1..last + 0.1, 0.0..1.05 * highest)?;
    let mark = |x: &f64| {
        let near = x.round();
        let here = (x - near).abs() < 1e-6 && near >= 0.0;
        let mark = here.then(|| panel.marks.get(near as usize)).flatten();
        mark.cloned().unwrap_or_default()
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GREY.mix(0.2))
        .axis_style(GREY)
        .x_labels(panel.marks.len() + 1)
        .y_labels(6)
        .x_label_formatter(&mark)
        .y_label_formatter(&|y| format!("{y:.0}"))
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 14))
        .x_desc(panel.x)
        .y_desc(panel.y)
        .draw()?;
    for line in &panel.lines {
        let style = line.color.stroke_width(2).filled();
        let size = if line.color == GREY { 0 } else { 3 };
        chart.draw_series(LineSeries::new(line.points.clone(), style).point_size(size))?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::bench::scaling::tests::scaling;

    #[test]
    fn every_mark_and_every_line_is_drawn() {
        let svg = render(&scaling()).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for (mark, times) in [("64", 2), ("512", 2), ("1024", 2), ("1", 1), ("2", 1)] {
            let drawn = svg.lines().filter(|line| line.trim() == mark).count();
            assert!(drawn >= times, "{mark} is marked {drawn} times:\n{svg}");
        }
        for name in ["measured", "SPAR update", "runs of one thread"] {
            assert!(svg.contains(name), "{name}");
        }
        for (color, lines) in [("#0072B2", 2), ("#D55E00", 3), ("#5F5F5F", 3)] {
            // Each is drawn, and named above.
            let of_color = format!("stroke=\"{color}\"");
            let drawn = svg
                .lines()
                .filter(|line| line.starts_with("<polyline") && line.contains(&of_color));
            assert!(drawn.count() >= 2 * lines, "{color}:\n{svg}");
        }
        assert!(!svg.contains("NaN"));
    }
}
