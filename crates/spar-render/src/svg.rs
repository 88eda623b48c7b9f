//! A film as one SVG file that plays by itself (SMIL): no script, and small, since only what
//! moves is written for each frame, in whole half points.

use std::fmt::Write;

use crate::{
    film::Film,
    mark::{BACKGROUND, Form, Mark},
};

/// Units of a point.
const UNITS: f64 = 2.0;

impl Film {
    /// The film as SVG, called `title` for who cannot see it. The same film gives the same
    /// bytes.
    pub fn svg(&self, title: &str) -> String {
        let (width, height) = (self.width, self.height);
        let [w, h] = [width, height].map(|points| f64::from(points) * UNITS);
        let [r, g, b] = BACKGROUND;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {w} {h}\" role=\"img\"><title>{}</title>\
             <rect width=\"{w}\" height=\"{h}\" fill=\"#{r:02x}{g:02x}{b:02x}\"/>",
            escape(title)
        );
        let first = self.pan.first().copied().unwrap_or_default();
        let (x, y) = (unit(first[0]), unit(first[1]));
        // Writing to a string cannot fail.
        let _ = write!(svg, "<g transform=\"translate({x} {y})\">");
        for Mark { form, paint } in &self.world {
            self.element(&mut svg, &paint.hex(), std::slice::from_ref(form));
        }
        let places = self
            .pan
            .iter()
            .map(|by| format!("{} {}", unit(by[0]), unit(by[1])));
        let places: Vec<String> = places.collect();
        if changes(&places) {
            let _ = write!(
                svg,
                "<animateTransform attributeName=\"transform\" type=\"translate\" {} \
                 values=\"{}\"/>",
                self.timing(true),
                places.join(";")
            );
        }
        svg += "</g>";
        for (paint, forms) in &self.moving {
            self.element(&mut svg, &paint.hex(), forms);
        }
        svg += "</svg>\n";
        svg
    }

    /// One thing in all frames: a path, and how it moves.
    fn element(&self, svg: &mut String, color: &str, forms: &[Form]) {
        let paths: Vec<String> = forms.iter().map(path).collect();
        let Some(form) = forms.first() else {
            return;
        };
        let ink = match form {
            Form::Line { width, .. } => {
                format!("{} stroke-linecap=\"round\"", stroke(*width, color))
            }
            Form::Disc { radius, .. } => {
                format!("{} stroke-linecap=\"round\"", stroke(2.0 * radius, color))
            }
            Form::Polygon(_) => {
                format!("fill=\"{color}\" stroke=\"#fff\" stroke-width=\"1\" stroke-opacity=\".6\"")
            }
        };
        let _ = write!(svg, "<path {ink} d=\"{}\"", paths[0]);
        if !changes(&paths) {
            *svg += "/>";
            return;
        }
        // The number of a hull's corners changes, and with it what could be between two.
        let between = !matches!(form, Form::Polygon(_));
        let _ = write!(
            svg,
            "><animate attributeName=\"d\" {} values=\"{}\"/></path>",
            self.timing(between),
            paths.join(";")
        );
    }

    fn timing(&self, between: bool) -> String {
        let seconds = (self.seconds() * 1000.0).round() / 1000.0;
        let how = if between {
            ""
        } else {
            " calcMode=\"discrete\""
        };
        format!("dur=\"{seconds}s\" repeatCount=\"indefinite\"{how}")
    }
}

fn stroke(width: f64, color: &str) -> String {
    let width = (width * UNITS * 10.0).round() / 10.0;
    format!("fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\"")
}

fn changes(values: &[String]) -> bool {
    values.windows(2).any(|pair| pair[0] != pair[1])
}

/// Points in whole units.
fn unit(points: f64) -> i64 {
    // Positions are checked to be of the picture's size or near it.
    (points * UNITS).round() as i64
}

fn path(form: &Form) -> String {
    let at = |[x, y]: &[f64; 2]| format!("{} {}", unit(*x), unit(*y));
    match form {
        Form::Line { from, to, .. } => format!("M{}L{}", at(from), at(to)),
        // A line to where it is has round ends alone.
        Form::Disc { at: middle, .. } => format!("M{}h0", at(middle)),
        Form::Polygon(corners) => {
            let corners: Vec<String> = corners.iter().map(at).collect();
            format!("M{}Z", corners.join("L"))
        }
    }
}

/// Text that is none of a file's structure.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            // XML has no other characters below a space.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
