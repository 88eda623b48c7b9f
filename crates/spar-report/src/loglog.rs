//! Powers of one quantity, as SVG with two logarithmic axes.

use plotters::{prelude::*, style::text_anchor::HPos};

use crate::{
    ReportError,
    chart::{Axes, COLORS, Drawn, GREY, Look, builder, svg, text},
    render as render_error,
};

/// Pixels of one entry of the legend.
const ENTRY: i32 = 20;

/// A figure of lines on logarithmic axes.
#[derive(Clone, Debug)]
pub struct LogLog<'a> {
    /// Stands above.
    pub title: &'a str,
    /// Along the first axis.
    pub x: &'a str,
    /// Along the second.
    pub y: &'a str,
    /// What is drawn, in the order of the legend.
    pub lines: Vec<LogLine<'a>>,
}

/// One line of a [`LogLog`].
#[derive(Clone, Copy, Debug)]
pub struct LogLine<'a> {
    /// In the legend.
    pub name: &'a str,
    /// Positive numbers.
    pub points: &'a [(f64, f64)],
    /// A slope to compare with, drawn broken and grey through the first point.
    pub slope: Option<f64>,
}

impl LogLog<'_> {
    /// The figure.
    ///
    /// # Errors
    /// [`ReportError::Render`] if there is nothing to draw, or a number that has no
    /// logarithm.
    pub fn svg(&self) -> Result<String, ReportError> {
        let mut points = self.lines.iter().flat_map(|line| line.points).peekable();
        let drawable = |&(x, y): &(f64, f64)| x > 0.0 && y > 0.0 && (x * y).is_finite();
        if points.peek().is_none() || !points.all(drawable) {
            return Err(render_error(self.title, "no positive numbers to show"));
        }
        self.draw().map_err(|e| render_error(self.title, e))
    }

    fn draw(&self) -> Drawn<String> {
        let lines: Vec<Vec<(f64, f64)>> = self.lines.iter().map(logarithms).collect();
        let guides: Vec<Option<[(f64, f64); 2]>> = self
            .lines
            .iter()
            .zip(&lines)
            .map(|(line, points)| guide(line.slope?, points))
            .collect();
        let all = || {
            lines
                .iter()
                .flatten()
                .chain(guides.iter().flatten().flatten())
        };
        let (left, right) = range(all().map(|p| p.0));
        let (low, high) = range(all().map(|p| p.1));
        let legend = 40 + ENTRY * lines.len() as i32;
        svg((720, 420 + legend as u32), |root| {
            let (head, below) = root.split_vertically(legend);
            head.draw(&Text::new(
                self.title,
                (24, 18),
                text(19.0, BLACK, HPos::Left),
            ))?;
            for (i, line) in self.lines.iter().enumerate() {
                let y = 44 + ENTRY * i as i32;
                let style = look(i).color.stroke_width(3);
                head.draw(&PathElement::new(vec![(24, y), (54, y)], style))?;
                let slope = line
                    .slope
                    .map_or(String::new(), |s| format!(" (broken: slope {s:.2})"));
                let words = format!("{}{slope}", line.name);
                head.draw(&Text::new(words, (64, y), text(15.0, BLACK, HPos::Left)))?;
            }
            let mut chart = builder(&below).build_cartesian_2d(left..right, low..high)?;
            let power = |digits: usize, x: f64| {
                let digits = digits.max(1);
                format!("{:.digits$e}", 10f64.powf(x))
            };
            Axes {
                x: self.x,
                y: self.y,
                x_labels: 6,
                y_labels: 6,
                x_format: Some(&power),
                y_format: Some(&power),
            }
            .draw(&mut chart)?;
            for (i, (points, guide)) in lines.iter().zip(&guides).enumerate() {
                if let Some(guide) = guide {
                    let broken = Look {
                        color: GREY,
                        dash: Some((6, 5)),
                    };
                    broken.line(&mut chart, guide)?;
                }
                look(i).line(&mut chart, points)?;
                let dots = points
                    .iter()
                    .map(|&p| Circle::new(p, 4, look(i).color.filled()));
                chart.draw_series(dots)?;
            }
            Ok(())
        })
    }
}

/// Colours take turns.
fn look(line: usize) -> Look {
    Look {
        color: COLORS[line % COLORS.len()],
        dash: None,
    }
}

fn logarithms(line: &LogLine<'_>) -> Vec<(f64, f64)> {
    let points = line.points.iter();
    points.map(|(x, y)| (x.log10(), y.log10())).collect()
}

/// A line of `slope` through the first of `points`, as far as they go.
fn guide(slope: f64, points: &[(f64, f64)]) -> Option<[(f64, f64); 2]> {
    let (first, last) = (points.first()?, points.last()?);
    Some([*first, (last.0, first.1 + slope * (last.0 - first.0))])
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
        (low.min(x), high.max(x))
    });
    let margin = 0.05 * (high - low).max(0.2);
    (low - margin, high + margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(points: &'a [(f64, f64)]) -> LogLog<'a> {
        LogLog {
            title: "powers",
            x: "x",
            y: "y",
            lines: vec![LogLine {
                name: "square",
                points,
                slope: Some(2.0),
            }],
        }
    }

    #[test]
    fn a_power_is_a_line_on_its_own_guide() {
        let points = [(0.1, 0.01), (1.0, 1.0), (10.0, 100.0)];
        let svg = of(&points).svg().unwrap_or_default();
        assert!(svg.contains("slope 2.00") && svg.contains("square"));
        let logs = logarithms(&of(&points).lines[0]);
        assert_eq!(guide(2.0, &logs), Some([(-1.0, -2.0), (1.0, 2.0)]));
    }

    #[test]
    fn what_has_no_logarithm_makes_no_figure() {
        for points in [&[][..], &[(1.0, 0.0)], &[(-1.0, 1.0)], &[(1.0, f64::NAN)]] {
            let error = of(points).svg().map_err(|e| e.to_string());
            assert_eq!(
                error,
                Err("cannot render powers: no positive numbers to show".into())
            );
        }
    }
}
