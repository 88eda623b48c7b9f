//! A frame of a film as a picture of points.

use tiny_skia::{
    Color, FillRule, LineCap, Paint as Ink, Path, PathBuilder, Pixmap, Stroke, Transform,
};

use crate::{
    RenderError,
    film::Film,
    mark::{BACKGROUND, Form, Mark, Paint},
};

impl Film {
    /// Frame `index` as red, green and blue of each point, row by row.
    ///
    /// # Errors
    /// If the film has no size that a picture can have.
    ///
    /// # Panics
    /// If there is no such frame.
    pub fn rgb(&self, index: usize) -> Result<Vec<u8>, RenderError> {
        let (width, height) = self.size();
        let size = RenderError::Size { width, height };
        let mut picture = Pixmap::new(width, height).ok_or(size)?;
        let [r, g, b] = BACKGROUND;
        picture.fill(Color::from_rgba8(r, g, b, 255));
        for mark in self.frame(index) {
            draw(&mut picture, &mark);
        }
        let points = picture.pixels().iter();
        Ok(points
            .flat_map(|p| [p.red(), p.green(), p.blue()])
            .collect())
    }
}

fn draw(picture: &mut Pixmap, mark: &Mark) {
    let mut ink = Ink::default();
    let [r, g, b] = mark.paint.color();
    ink.set_color_rgba8(r, g, b, 255);
    let at = |[x, y]: [f64; 2]| (x as f32, y as f32);
    let stroke = |path: &Path, width: f64, ink: &Ink<'_>, picture: &mut Pixmap| {
        let stroke = Stroke {
            width: width as f32,
            line_cap: LineCap::Round,
            ..Stroke::default()
        };
        picture.stroke_path(path, ink, &stroke, Transform::identity(), None);
    };
    // A form that has no area, as a box seen from its edge, is no path and not seen.
    match &mark.form {
        Form::Line { from, to, width } => {
            let ((ax, ay), (bx, by)) = (at(*from), at(*to));
            let mut line = PathBuilder::new();
            line.move_to(ax, ay);
            line.line_to(bx, by);
            // A line to where it is has no direction: it is the disc of its ends.
            let short = (ax - bx).hypot(ay - by) < 1e-3;
            match (short, line.finish()) {
                (false, Some(path)) => stroke(&path, *width, &ink, picture),
                _ => disc(picture, *from, width / 2.0, &ink),
            }
        }
        Form::Disc { at, radius } => disc(picture, *at, *radius, &ink),
        Form::Polygon(corners) => {
            let mut outline = PathBuilder::new();
            for (i, corner) in corners.iter().enumerate() {
                let (x, y) = at(*corner);
                if i == 0 {
                    outline.move_to(x, y);
                } else {
                    outline.line_to(x, y);
                }
            }
            outline.close();
            if let Some(path) = outline.finish() {
                let rule = FillRule::Winding;
                picture.fill_path(&path, &ink, rule, Transform::identity(), None);
                let mut edge = Ink::default();
                edge.set_color_rgba8(255, 255, 255, 153);
                stroke(&path, 0.5, &edge, picture);
            }
        }
    }
}

fn disc(picture: &mut Pixmap, at: [f64; 2], radius: f64, ink: &Ink<'_>) {
    if let Some(path) = PathBuilder::from_circle(at[0] as f32, at[1] as f32, radius as f32) {
        picture.fill_path(&path, ink, FillRule::Winding, Transform::identity(), None);
    }
}

/// The colours of a film's pictures, close enough: every paint, and what lies between two of
/// them and the background where an edge is smooth.
pub(crate) fn palette() -> Vec<[u8; 3]> {
    let mut base = vec![BACKGROUND];
    base.extend(Paint::ALL.map(Paint::color));
    let mut all = base.clone();
    for (i, a) in base.iter().enumerate() {
        for b in &base[..i] {
            for part in 1..=4u32 {
                let mix = |c: usize| {
                    let sum = u32::from(a[c]) * part + u32::from(b[c]) * (5 - part);
                    (sum / 5) as u8
                };
                all.push([mix(0), mix(1), mix(2)]);
            }
        }
    }
    all
}
