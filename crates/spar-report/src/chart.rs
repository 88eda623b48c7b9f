//! What all figures share: colours, type, margins, axes, and how a method is
//! told from the others.

use plotters::{
    coord::{
        Shift,
        ranged1d::{BoldPoints, Ranged},
        types::RangedCoordf64,
    },
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::compare::{ANCHOR, METHOD};

/// Okabe and Ito's colours, told apart by colour-blind readers too; grey is
/// kept for the anchor.
pub(crate) const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
pub(crate) const GREY: RGBColor = RGBColor(95, 95, 95);
/// How thick a method's line is.
pub(crate) const LINE: u32 = 2;
pub(crate) const RED_INK: RGBColor = RGBColor(176, 0, 0);
const FONT: &str = "sans-serif";

pub(crate) type Drawn<T> = Result<T, Box<dyn std::error::Error>>;
pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(crate) type Chart<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// How a method is drawn in every figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Look {
    pub(crate) color: RGBColor,
    /// Lengths of a stroke and of the gap after it; none for an unbroken line.
    pub(crate) dash: Option<(u32, u32)>,
}

impl Look {
    /// The compared method and its anchor keep their colours in every report; the
    /// others take turns, with broken lines once the colours are used up.
    pub(crate) fn of(methods: &[String], method: &str) -> Self {
        let unbroken = |color| Self { color, dash: None };
        match method {
            ANCHOR => return unbroken(GREY),
            METHOD => return unbroken(COLORS[0]),
            _ => {}
        }
        let turns = &COLORS[1..];
        let mut others = methods.iter().filter(|m| *m != ANCHOR && *m != METHOD);
        let rank = others.position(|m| m == method).unwrap_or(0);
        let dash = match rank / turns.len() {
            0 => None,
            1 => Some((9, 4)),
            2 => Some((2, 3)),
            _ => Some((14, 3)),
        };
        Self {
            color: turns[rank % turns.len()],
            dash,
        }
    }

    /// A line through `points` of a chart.
    pub(crate) fn line(self, chart: &mut Chart<'_, '_>, points: &[(f64, f64)]) -> Drawn<()> {
        let style = self.color.stroke_width(LINE);
        let points = points.iter().copied();
        match self.dash {
            None => {
                chart.draw_series(LineSeries::new(points, style))?;
            }
            Some((stroke, gap)) => {
                let series = DashedLineSeries::new(points, stroke, gap, style);
                chart.draw_series(series)?;
            }
        }
        Ok(())
    }

    /// A band between two lines, one of `bands`: where many lie over each other,
    /// each is fainter.
    pub(crate) fn band(
        self,
        chart: &mut Chart<'_, '_>,
        low: &[(f64, f64)],
        high: &[(f64, f64)],
        bands: usize,
    ) -> Drawn<()> {
        let outline: Vec<(f64, f64)> = high.iter().chain(low.iter().rev()).copied().collect();
        let fill = self.color.mix(if bands > 6 { 0.07 } else { 0.16 }).filled();
        chart.draw_series([Polygon::new(outline, fill)])?;
        Ok(())
    }
}

/// What `draw` puts on a white sheet of `size` pixels, as SVG.
pub(crate) fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn<()>) -> Drawn<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        draw(&root)?;
        root.present()?;
    }
    Ok(svg)
}

pub(crate) fn text(size: f64, color: RGBColor, side: HPos) -> TextStyle<'static> {
    let font = (FONT, size).into_font().color(&color);
    font.pos(Pos::new(side, VPos::Center))
}

/// A chart with space for a title and for [`Axes`].
pub(crate) fn builder<'a, 'b>(area: &'a Area<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart
        .margin_top(30)
        .margin_right(24)
        .margin_left(6)
        .margin_bottom(4)
        .x_label_area_size(44)
        .y_label_area_size(56);
    chart
}

/// A figure's title, above everything else.
pub(crate) fn title(area: &Area<'_>, words: &str) -> Drawn<()> {
    let (width, _) = area.dim_in_pixel();
    let style = text(19.0, BLACK, HPos::Center);
    area.draw(&Text::new(words.to_owned(), (width as i32 / 2, 14), style))?;
    Ok(())
}

/// The axes of a chart.
pub(crate) struct Axes<'a> {
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    /// About how many numbers stand along the first.
    pub(crate) x_labels: usize,
    /// And along the second.
    pub(crate) y_labels: usize,
    pub(crate) x_format: Option<Write<'a>>,
    pub(crate) y_format: Option<Write<'a>>,
}

/// Writes a number of an axis with this many digits; [`plain`] where an axis names none.
pub(crate) type Write<'a> = &'a dyn Fn(usize, f64) -> String;

/// A number with `digits` decimals.
pub(crate) fn plain(digits: usize, x: f64) -> String {
    let text = format!("{x:.digits$}");
    match text.strip_prefix('-') {
        // A zero has no sign.
        Some(positive) if text.parse() == Ok(0.0) => positive.to_owned(),
        _ => text,
    }
}

/// Most digits an axis shows.
const MOST_DIGITS: usize = 9;

/// The fewest digits with which all numbers that plotters puts along an axis over `range`,
/// about `labels` of them, are told apart and, where they are written plainly, right: a
/// number rounded to another stands at a wrong place.
pub(crate) fn digits(
    range: &std::ops::Range<f64>,
    labels: usize,
    write: Option<Write<'_>>,
) -> usize {
    let points = RangedCoordf64::from(range.clone()).key_points(BoldPoints(labels));
    let steps = points.windows(2).map(|pair| (pair[1] - pair[0]).abs());
    let step = steps.fold(f64::INFINITY, f64::min);
    let fits = |digits: &usize| {
        let written: Vec<String> = match write {
            Some(write) => points.iter().map(|&x| write(*digits, x)).collect(),
            None => points.iter().map(|&x| plain(*digits, x)).collect(),
        };
        let right = |(text, x): (&String, &f64)| {
            let read: Result<f64, _> = text.parse();
            read.is_ok_and(|read| (read - x).abs() < 0.01 * step)
        };
        let mut pairs = written.windows(2);
        pairs.all(|pair| pair[0] != pair[1])
            && (write.is_some() || written.iter().zip(&points).all(right))
    };
    (0..MOST_DIGITS).find(fits).unwrap_or(MOST_DIGITS)
}

impl Axes<'_> {
    pub(crate) fn draw(&self, chart: &mut Chart<'_, '_>) -> Drawn<()> {
        let x_digits = digits(&chart.x_range(), self.x_labels, self.x_format);
        let y_digits = digits(&chart.y_range(), self.y_labels, self.y_format);
        let (x_write, y_write) = (
            self.x_format.unwrap_or(&plain),
            self.y_format.unwrap_or(&plain),
        );
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.2))
            .axis_style(GREY)
            .x_labels(self.x_labels)
            .y_labels(self.y_labels)
            .x_label_formatter(&|x| x_write(x_digits, *x))
            .y_label_formatter(&|y| y_write(y_digits, *y))
            .label_style((FONT, 15))
            .axis_desc_style((FONT, 16))
            .x_desc(self.x)
            .y_desc(self.y)
            .draw()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands along an axis.
    fn labels(range: std::ops::Range<f64>, most: usize) -> Vec<String> {
        let digits = digits(&range, most, None);
        let points = RangedCoordf64::from(range).key_points(BoldPoints(most));
        points.iter().map(|&x| plain(digits, x)).collect()
    }

    #[test]
    fn no_two_numbers_of_an_axis_are_rounded_to_one() {
        assert_eq!(labels(0.0..2.1, 6), ["0.0", "0.5", "1.0", "1.5", "2.0"]);
        assert_eq!(labels(-20.0..105.0, 6), ["0", "50", "100"]);
        for exponent in -6..7 {
            for (low, high) in [
                (0.0, 1.0),
                (-1.0, 1.1),
                (3.0, 4.7),
                (-0.26, 0.04),
                (99.0, 100.0),
            ] {
                let scale = 10f64.powi(exponent);
                let found = labels(low * scale..high * scale, 6);
                let read: Vec<f64> = found.iter().filter_map(|text| text.parse().ok()).collect();
                assert_eq!(read.len(), found.len());
                assert!(found.len() > 1, "{found:?}");
                assert!(read.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
                assert!(
                    !found
                        .iter()
                        .any(|text| text.trim_matches(['-', '0', '.']).is_empty()
                            && text.starts_with('-')),
                    "{found:?}"
                );
                // The steps are even, as those of the points are.
                let steps: Vec<f64> = read.windows(2).map(|pair| pair[1] - pair[0]).collect();
                assert!(
                    steps.iter().all(|s| (s / steps[0] - 1.0).abs() < 0.05),
                    "{found:?}"
                );
            }
        }
    }

    #[test]
    fn a_zero_has_no_sign() {
        assert_eq!(plain(1, -0.0), "0.0");
        assert_eq!(plain(0, -0.4), "0");
        assert_eq!(plain(1, -0.05), "-0.1");
    }
}
