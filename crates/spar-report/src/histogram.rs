//! How often which numbers occur, as SVG.

use plotters::{prelude::*, style::text_anchor::HPos};

use crate::{
    ReportError,
    chart::{Axes, COLORS, Drawn, GREY, builder, svg, text},
    render as render_error,
};

/// Most bars of a figure.
const MAX_BARS: usize = 40;

/// Numbers to be shown by how often they occur.
#[derive(Clone, Debug)]
pub struct Histogram<'a> {
    /// Stands above.
    pub title: &'a str,
    /// Stands below the title, smaller.
    pub note: &'a str,
    /// What the numbers are.
    pub axis: &'a str,
    /// The numbers, all finite, at least one.
    pub values: &'a [f64],
}

/// The bars of a histogram of `values`, all finite: equally wide from the smallest
/// number to the largest, as many as the square root of the count. Each is
/// `(from, to, count)`; the last takes in its end. None without numbers.
pub fn bars(values: &[f64]) -> Vec<(f64, f64, usize)> {
    if values.is_empty() {
        return Vec::new();
    }
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // One value alone still needs a bar of some width.
    let (low, high) = if low < high {
        (low, high)
    } else {
        (low - 0.5, low + 0.5)
    };
    let count = ((values.len() as f64).sqrt().ceil() as usize).clamp(1, MAX_BARS);
    let width = (high - low) / count as f64;
    let mut counts = vec![0; count];
    for value in values {
        let bar = ((value - low) / width) as usize;
        counts[bar.min(count - 1)] += 1;
    }
    let edge = |i: usize| low + i as f64 * width;
    let bar = |(i, n)| (edge(i), edge(i + 1), n);
    counts.into_iter().enumerate().map(bar).collect()
}

impl Histogram<'_> {
    /// The figure.
    ///
    /// # Errors
    /// [`ReportError::Render`] if there is no number to show.
    pub fn svg(&self) -> Result<String, ReportError> {
        if self.values.is_empty() {
            return Err(render_error(self.title, "there is nothing to show"));
        }
        self.draw().map_err(|e| render_error(self.title, e))
    }

    fn draw(&self) -> Drawn<String> {
        let bars = bars(self.values);
        let (from, to) = match (bars.first(), bars.last()) {
            (Some(first), Some(last)) => (first.0, last.1),
            _ => (0.0, 1.0),
        };
        let most = bars.iter().map(|bar| bar.2).max().unwrap_or(1) as f64;
        svg((720, 460), |root| {
            let (head, below) = root.split_vertically(50);
            head.draw(&Text::new(
                self.title,
                (24, 22),
                text(19.0, BLACK, HPos::Left),
            ))?;
            head.draw(&Text::new(
                self.note,
                (24, 46),
                text(15.0, GREY, HPos::Left),
            ))?;
            let mut chart = builder(&below).build_cartesian_2d(from..to, 0.0..1.05 * most)?;
            let axes = Axes {
                x: self.axis,
                y: "episodes",
                x_labels: 8,
                // Counts are whole: no more numbers than there are.
                y_labels: (1 + most as usize).min(6),
                y_format: None,
                x_format: None,
            };
            axes.draw(&mut chart)?;
            let style = COLORS[0].mix(0.8).filled();
            let bar = |&(from, to, n): &(f64, f64, usize)| {
                Rectangle::new([(from, 0.0), (to, n as f64)], style)
            };
            chart.draw_series(bars.iter().map(bar))?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_in_one_bar() {
        // The edges are 0, 1, 2 and 3: an edge belongs to the bar above it, the
        // last to the bar below.
        let found = bars(&[0.0, 0.5, 1.0, 1.5, 1.75, 2.0, 2.5, 3.0]);
        assert_eq!(found, [(0.0, 1.0, 2), (1.0, 2.0, 3), (2.0, 3.0, 3)]);
        assert_eq!(bars(&[7.0; 3]), [(6.5, 7.0, 0), (7.0, 7.5, 3)]);
        assert_eq!(bars(&[]), []);
        let many: Vec<f64> = (0..10_000).map(|i| f64::from(i * i)).collect();
        let found = bars(&many);
        assert_eq!(found.len(), MAX_BARS);
        assert_eq!(found.iter().map(|bar| bar.2).sum::<usize>(), many.len());
    }

    #[test]
    fn nothing_makes_no_figure() {
        let figure = Histogram {
            title: "empty",
            note: "",
            axis: "",
            values: &[],
        };
        let error = figure.svg().map_err(|e| e.to_string());
        assert_eq!(
            error,
            Err("cannot render empty: there is nothing to show".into())
        );
    }
}
