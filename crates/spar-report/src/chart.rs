//! What all figures share: colours, type, margins and axes.

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

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
pub(crate) const RED_INK: RGBColor = RGBColor(176, 0, 0);
const FONT: &str = "sans-serif";

pub(crate) type Drawn<T> = Result<T, Box<dyn std::error::Error>>;
pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

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

/// A chart with room for a title and for [`Axes`].
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

/// The axes of a chart of whole numbers upwards.
pub(crate) struct Axes<'a> {
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    /// About how many numbers stand along the first.
    pub(crate) x_labels: usize,
    /// And along the second.
    pub(crate) y_labels: usize,
    pub(crate) x_format: &'a dyn Fn(&f64) -> String,
}

impl Axes<'_> {
    pub(crate) fn draw(
        &self,
        chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<RangedCoordf64, RangedCoordf64>>,
    ) -> Drawn<()> {
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.2))
            .axis_style(GREY)
            .x_labels(self.x_labels)
            .y_labels(self.y_labels)
            .x_label_formatter(self.x_format)
            .y_label_formatter(&|y| format!("{y:.0}"))
            .label_style((FONT, 15))
            .axis_desc_style((FONT, 16))
            .x_desc(self.x)
            .y_desc(self.y)
            .draw()?;
        Ok(())
    }
}
