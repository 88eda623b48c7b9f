//! The legend above a figure: a sample of each method's line and its name, in
//! as many rows as the width asks for, and a note below.

use plotters::{element::DashedPathElement, prelude::*, style::text_anchor::HPos};

use crate::chart::{Area, Drawn, LINE, Look, text};

const MARGIN: i32 = 24;
const SAMPLE: i32 = 32;
const ROW: i32 = 24;

/// What stands above a figure.
pub(crate) struct Legend {
    pub(crate) entries: Vec<(String, Look)>,
    pub(crate) note: String,
    pub(crate) note_ink: RGBColor,
}

impl Legend {
    /// Where each entry stands in a figure of this width: `(x, row)`.
    fn places(&self, width: u32) -> Vec<(i32, i32)> {
        let (mut x, mut row) = (MARGIN, 0);
        let place = |(label, _): &(String, Look)| {
            // No font is at hand to measure with: 8.5 pixels a character is ample.
            let name = (8.5 * label.chars().count() as f64) as i32;
            let entry = SAMPLE + 8 + name;
            if x > MARGIN && x + entry > width as i32 - MARGIN {
                (x, row) = (MARGIN, row + 1);
            }
            let place = (x, row);
            x += entry + MARGIN;
            place
        };
        self.entries.iter().map(place).collect()
    }

    /// How high it is in a figure of this width.
    pub(crate) fn height(&self, width: u32) -> u32 {
        let rows = self.places(width).last().map_or(0, |(_, row)| *row);
        60 + (ROW * rows) as u32
    }

    pub(crate) fn draw(&self, area: &Area<'_>) -> Drawn<()> {
        let (width, height) = area.dim_in_pixel();
        for ((label, look), (x, row)) in self.entries.iter().zip(self.places(width)) {
            let y = 22 + ROW * row;
            let style = look.color.stroke_width(LINE + 1);
            let line = [(x, y), (x + SAMPLE, y)];
            match look.dash {
                Some((stroke, gap)) => {
                    area.draw(&DashedPathElement::new(line, stroke, gap, style))?;
                }
                None => area.draw(&PathElement::new(line, style))?,
            }
            let place = (x + SAMPLE + 8, y);
            area.draw(&Text::new(
                label.clone(),
                place,
                text(18.0, BLACK, HPos::Left),
            ))?;
        }
        let style = text(15.0, self.note_ink, HPos::Left);
        let place = (MARGIN, height as i32 - 14);
        area.draw(&Text::new(self.note.clone(), place, style))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_methods_take_several_rows() {
        let methods: Vec<String> = (0..16).map(|i| format!("method-{i}")).collect();
        let entries = methods.iter().map(|m| (m.clone(), Look::of(&methods, m)));
        let legend = Legend {
            entries: entries.collect(),
            note: String::new(),
            note_ink: BLACK,
        };
        let places = legend.places(720);
        assert!(places.iter().all(|(x, _)| (MARGIN..620).contains(x)));
        assert_eq!(legend.height(720), 60 + 24 * 3);
        assert_eq!(legend.height(5000), 60);
        let looks: Vec<Look> = legend.entries.iter().map(|(_, look)| *look).collect();
        for (i, look) in looks.iter().enumerate() {
            assert!(!looks[..i].contains(look), "{i} looks like another");
        }
    }
}
