//! Figures as pictures of points, for what shows no SVG: slides, chats, some papers.
//!
//! A library that draws any SVG brings 33 crates. What [`plotters`] writes are seven elements
//! with a dozen attributes, which are drawn here; anything else is refused by its name, so that
//! no figure is drawn in part.

use roxmltree::{Document, Node};
use tiny_skia::{Color, FillRule, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

use crate::{ReportError, render as failed};

/// Points of the picture for each of the figure's: what is looked at on a page is sharp.
const SCALE: f32 = 2.0;

/// Fonts of the program's own, the first of which that has it draws a letter.
const FONTS: [&[u8]; 2] = [
    epaint_default_fonts::UBUNTU_LIGHT,
    epaint_default_fonts::HACK_REGULAR,
];

/// Draws the figure `svg`, which is one of this crate's, on white, twice its size across and
/// down: the same bytes on every machine.
///
/// # Errors
/// If it is another SVG than those, or of no size that a picture can have.
pub fn png(svg: &str) -> Result<Vec<u8>, ReportError> {
    draw(svg)
        .and_then(|picture| encode(&picture))
        .map_err(|why| failed("PNG", why))
}

fn draw(svg: &str) -> Result<Pixmap, String> {
    let document = Document::parse(svg).map_err(|e| e.to_string())?;
    let root = document.root_element();
    let side = |name| Ok::<_, String>((number(root, name)? * SCALE).ceil() as u32);
    let (width, height) = (side("width")?, side("height")?);
    let picture = Pixmap::new(width, height);
    let mut picture = picture.ok_or_else(|| format!("{width} x {height} points"))?;
    picture.fill(Color::WHITE);
    let faces = FONTS.map(|font| Face::parse(font, 0));
    let faces: Result<Vec<_>, _> = faces.into_iter().collect();
    let faces = faces.map_err(|e| e.to_string())?;
    for element in root.children().filter(Node::is_element) {
        let here = Transform::from_scale(SCALE, SCALE);
        let turned = match element.attribute("transform") {
            None => here,
            Some(text) => here.pre_concat(rotation(text)?),
        };
        match element.tag_name().name() {
            "text" => letters(&mut picture, element, &faces, turned)?,
            _ => {
                if let Some(path) = outline(element)? {
                    paint(&mut picture, element, &path, turned)?;
                }
            }
        }
    }
    Ok(picture)
}

/// The outline of a shape; `None` of one that has no extent.
fn outline(element: Node<'_, '_>) -> Result<Option<Path>, String> {
    let get = |name| number(element, name);
    let mut path = PathBuilder::new();
    match element.tag_name().name() {
        "rect" => {
            let rect = Rect::from_xywh(get("x")?, get("y")?, get("width")?, get("height")?);
            if let Some(rect) = rect {
                path.push_rect(rect);
            }
        }
        "circle" => path.push_circle(get("cx")?, get("cy")?, get("r")?),
        "line" => {
            path.move_to(get("x1")?, get("y1")?);
            path.line_to(get("x2")?, get("y2")?);
        }
        name @ ("polyline" | "polygon") => {
            let points = element.attribute("points").unwrap_or_default();
            for (i, point) in points.split_whitespace().enumerate() {
                let at = point
                    .split_once(',')
                    .and_then(|(x, y)| Some((x.parse::<f32>().ok()?, y.parse::<f32>().ok()?)));
                let (x, y) = at.ok_or_else(|| format!("`{point}` is no point"))?;
                match i {
                    0 => path.move_to(x, y),
                    _ => path.line_to(x, y),
                }
            }
            if name == "polygon" {
                path.close();
            }
        }
        name => return Err(format!("an element <{name}> that no figure has")),
    }
    Ok(path.finish())
}

/// Fills and strokes a path as its element says.
fn paint(
    picture: &mut Pixmap,
    element: Node<'_, '_>,
    path: &Path,
    turned: Transform,
) -> Result<(), String> {
    if let Some(ink) = ink(element, "fill")? {
        picture.fill_path(path, &ink, FillRule::Winding, turned, None);
    }
    if let Some(ink) = ink(element, "stroke")? {
        let width = element.attribute("stroke-width").unwrap_or("1");
        let width = width.parse().map_err(|_| format!("stroke-width {width}"))?;
        let stroke = Stroke {
            width,
            ..Stroke::default()
        };
        picture.stroke_path(path, &ink, &stroke, turned, None);
    }
    Ok(())
}

/// The paint of an attribute; `None` for `none`, and where it is absent.
fn ink(element: Node<'_, '_>, name: &str) -> Result<Option<Paint<'static>>, String> {
    let color = match element.attribute(name) {
        None | Some("none") => return Ok(None),
        Some(color) => color,
    };
    let part = |at: usize| u8::from_str_radix(color.get(at..at + 2)?, 16).ok();
    let parts = [1, 3, 5].map(part);
    let ([Some(red), Some(green), Some(blue)], 7) = (parts, color.len()) else {
        return Err(format!("`{color}` is no colour"));
    };
    let opacity = match element.attribute("opacity") {
        None => 1.0,
        Some(_) => number(element, "opacity")?,
    };
    let mut ink = Paint::default();
    let alpha = (opacity.clamp(0.0, 1.0) * 255.0).round() as u8;
    ink.set_color_rgba8(red, green, blue, alpha);
    Ok(Some(ink))
}

/// Draws a text from the outlines of its letters.
fn letters(
    picture: &mut Pixmap,
    element: Node<'_, '_>,
    faces: &[Face<'_>],
    turned: Transform,
) -> Result<(), String> {
    let size = number(element, "font-size")?;
    let text = element.text().unwrap_or_default().trim();
    let first = faces.first().ok_or("no font")?;
    let of = |letter: char| {
        let found = faces.iter().find_map(|face| {
            let glyph = face.glyph_index(letter)?;
            Some((face, glyph))
        });
        // What no font has is a box, as everywhere.
        found.unwrap_or((first, GlyphId(0)))
    };
    let mut path = Letters::default();
    for letter in text.chars() {
        let (face, glyph) = of(letter);
        path.scale = size / f32::from(face.units_per_em());
        face.outline_glyph(glyph, &mut path);
        let advance = face.glyph_hor_advance(glyph).unwrap_or_default();
        path.x += f32::from(advance) * path.scale;
    }
    let x_height = first.x_height().map_or(0.5, |height| {
        f32::from(height) / f32::from(first.units_per_em())
    });
    let down = match element.attribute("dy") {
        None => 0.0,
        Some(dy) => {
            let (count, unit) = dy.split_at(dy.len().saturating_sub(2));
            let count: f32 = count.parse().map_err(|_| format!("dy {dy}"))?;
            match unit {
                "em" => count * size,
                "ex" => count * size * x_height,
                _ => return Err(format!("dy {dy}")),
            }
        }
    };
    let left = match element.attribute("text-anchor") {
        None | Some("start") => 0.0,
        Some("middle") => path.x / 2.0,
        Some("end") => path.x,
        Some(other) => return Err(format!("text-anchor {other}")),
    };
    let at = (number(element, "x")? - left, number(element, "y")? + down);
    if let (Some(path), Some(ink)) = (path.path.finish(), ink(element, "fill")?) {
        let place = turned.pre_translate(at.0, at.1);
        picture.fill_path(&path, &ink, FillRule::Winding, place, None);
    }
    Ok(())
}

/// The outlines of a line of letters, the base line at 0 and the first at 0.
struct Letters {
    path: PathBuilder,
    scale: f32,
    x: f32,
}

impl Default for Letters {
    fn default() -> Self {
        Self {
            path: PathBuilder::new(),
            scale: 1.0,
            x: 0.0,
        }
    }
}

impl Letters {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.scale, -y * self.scale)
    }
}

impl OutlineBuilder for Letters {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2)) = (self.at(x1, y1), self.at(x2, y2));
        let (x, y) = self.at(x, y);
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

/// `rotate(degrees, x, y)`.
fn rotation(text: &str) -> Result<Transform, String> {
    let inner = text
        .strip_prefix("rotate(")
        .and_then(|rest| rest.strip_suffix(')'));
    let numbers = inner.map(|inner| inner.split(',').map(|n| n.trim().parse::<f32>().ok()));
    let numbers: Option<Vec<f32>> = numbers.and_then(Iterator::collect);
    match numbers.as_deref() {
        Some(&[degrees, x, y]) => Ok(Transform::from_rotate_at(degrees, x, y)),
        _ => Err(format!("transform {text}")),
    }
}

fn number(element: Node<'_, '_>, name: &str) -> Result<f32, String> {
    let text = element.attribute(name).unwrap_or("absent");
    let found = text.parse::<f32>().ok().filter(|x| x.is_finite());
    found.ok_or_else(|| format!("<{}>: {name} is {text}", element.tag_name().name()))
}

/// The picture's points, without their opacity, as PNG: every row as it is.
fn encode(picture: &Pixmap) -> Result<Vec<u8>, String> {
    let (width, height) = (picture.width(), picture.height());
    let mut rows = Vec::new();
    for row in picture.pixels().chunks(width as usize) {
        rows.push(0);
        rows.extend(row.iter().flat_map(|p| [p.red(), p.green(), p.blue()]));
    }
    let mut packer = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut packed = vec![0; packer.zlib_compress_bound(rows.len())];
    let length = packer.zlib_compress(&rows, &mut packed);
    packed.truncate(length.map_err(|e| e.to_string())?);
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |name: &[u8; 4], data: &[u8]| -> Result<(), String> {
        let length = u32::try_from(data.len()).map_err(|e| e.to_string())?;
        out.extend(length.to_be_bytes());
        let begin = out.len();
        out.extend(name);
        out.extend(data);
        let mut sum = libdeflater::Crc::new();
        sum.update(&out[begin..]);
        out.extend(sum.sum().to_be_bytes());
        Ok(())
    };
    let mut header = Vec::new();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    // Eight bits of each of three colours; packed, filtered and ordered in the one way there is.
    header.extend([8, 2, 0, 0, 0]);
    chunk(b"IHDR", &header)?;
    chunk(b"IDAT", &packed)?;
    chunk(b"IEND", &[])?;
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn figure(inside: &str) -> String {
        format!(
            "<svg width=\"60\" height=\"20\" xmlns=\"http://www.w3.org/2000/svg\">{inside}</svg>"
        )
    }

    /// Where the dark points are: left, top, right, bottom, and how many.
    fn dark(inside: &str) -> ([usize; 4], usize) {
        let picture = draw(&figure(inside)).unwrap();
        assert_eq!((picture.width(), picture.height()), (120, 40));
        let dark = picture.pixels().iter().enumerate();
        let dark = dark.filter(|(_, p)| p.red() < 128);
        let mut found = ([usize::MAX, usize::MAX, 0, 0], 0);
        for (at, _) in dark {
            let ([left, top, right, bottom], count) = &mut found;
            let (x, y) = (at % 120, at / 120);
            (*left, *top) = ((*left).min(x), (*top).min(y));
            (*right, *bottom) = ((*right).max(x), (*bottom).max(y));
            *count += 1;
        }
        found
    }

    #[test]
    fn shapes_are_where_they_are_in_the_svg() {
        let black = "fill=\"#000000\" opacity=\"1\" stroke=\"none\"";
        let (at, count) = dark(&format!(
            "<rect x=\"10\" y=\"5\" width=\"20\" height=\"10\" {black}/>"
        ));
        assert_eq!((at, count), ([20, 10, 59, 29], 800));
        let line = "stroke=\"#000000\" stroke-width=\"2\" fill=\"none\"";
        let (at, count) = dark(&format!("<polyline {line} points=\"5,10 25,10 \"/>"));
        assert_eq!((at, count), ([10, 18, 49, 21], 160));
        let (at, _) = dark(&format!("<circle cx=\"30\" cy=\"10\" r=\"5\" {black}/>"));
        assert_eq!(at, [50, 10, 69, 29]);
        let (at, count) = dark(&format!(
            "<polygon {black} points=\"0,0 20,0 20,20 0,20\"/>"
        ));
        assert_eq!((at, count), ([0, 0, 39, 39], 1600));
        // A quarter of black on white is light.
        let light = "fill=\"#000000\" opacity=\"0.25\"";
        assert_eq!(
            dark(&format!(
                "<rect x=\"0\" y=\"0\" width=\"60\" height=\"20\" {light}/>"
            ))
            .1,
            0
        );
    }

    #[test]
    fn letters_are_drawn_without_a_font_of_the_machine_and_stand_where_they_should() {
        let text = |x: f32, anchor: &str, more: &str, words: &str| {
            dark(&format!(
                "<text x=\"{x}\" y=\"10\" dy=\"0.5ex\" text-anchor=\"{anchor}\" \
                 font-family=\"sans-serif\" font-size=\"12\" fill=\"#000000\" {more}>\n{words}\n</text>"
            ))
        };
        // The minus of the figures and an arrow are no letters of Latin; the last no font has.
        for words in [
            "SPAR",
            "66.8",
            "\u{2212}1.2",
            "\u{2192}",
            "\u{b1}",
            "\u{6f22}",
        ] {
            assert!(text(2.0, "start", "", words).1 > 8, "{words}");
        }
        let ([left, ..], _) = text(2.0, "start", "", "xxx");
        let ([_, _, right, _], _) = text(58.0, "end", "", "xxx");
        assert!((4..8).contains(&left) && (111..116).contains(&right));
        let ([left, top, right, bottom], _) = text(30.0, "middle", "", "xxx");
        assert!((left + right).abs_diff(120) < 4, "{left} {right}");
        assert!((top + bottom).abs_diff(40) < 3, "{top} {bottom}");
        let turned = "transform=\"rotate(270, 30, 10)\"";
        let ([l, t, r, b], _) = text(30.0, "middle", turned, "xxx");
        assert!(b - t > r - l && right - left > bottom - top);
    }

    #[test]
    fn what_no_figure_has_is_refused_by_its_name() {
        for (inside, fact) in [
            ("<image href=\"x\"/>", "<image>"),
            ("<rect x=\"1\"/>", "y is absent"),
            ("<circle cx=\"1\" cy=\"1\" r=\"1\" fill=\"red\"/>", "`red`"),
            (
                "<line x1=\"0\" y1=\"0\" x2=\"1\" y2=\"1\" transform=\"skewX(3)\"/>",
                "skewX",
            ),
        ] {
            let error = png(&figure(inside)).unwrap_err().to_string();
            assert!(error.contains(fact), "{error}");
        }
        assert!(png("no figure").is_err());
    }
}
