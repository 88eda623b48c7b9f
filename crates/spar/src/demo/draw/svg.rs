//! A sheet of SVG whose elements may move: plotters, which draws the report's
//! figures, knows no animation, and the demo's still and its film have to be one
//! drawing.

use std::fmt::{Display, Write};

/// Seconds of one showing of the film.
const SECONDS: u32 = 14;
/// Share of a showing after which the last stage stands still.
const MOVING: f64 = 0.8;

/// Horizontal place of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Start,
    Middle,
    End,
}

/// How a text is set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type<'a> {
    pub(super) size: u32,
    pub(super) ink: &'a str,
    pub(super) side: Side,
    pub(super) bold: bool,
}

/// The name and value of an attribute.
pub(super) type Attribute<'a> = (&'a str, &'a dyn Display);

/// An SVG under way.
pub(super) struct Sheet {
    out: String,
    /// When each stage of the film is reached, as shares of a showing; none in a
    /// still.
    times: Option<Vec<f64>>,
}

impl Sheet {
    /// An empty sheet of `width` by `height` pixels, titled for readers who do not
    /// see; a film of so many `stages`, or a still.
    pub(super) fn new(width: u32, height: u32, title: &str, stages: Option<usize>) -> Self {
        let at = |i: usize, n: usize| MOVING * i as f64 / n.saturating_sub(1).max(1) as f64;
        let mut sheet = Self {
            out: String::new(),
            times: stages.map(|n| (0..n).map(|i| at(i, n)).collect()),
        };
        let view = format!("0 0 {width} {height}");
        sheet.open(
            "svg",
            &[
                ("xmlns", &"http://www.w3.org/2000/svg"),
                ("viewBox", &view),
                ("width", &width),
                ("height", &height),
                ("font-family", &"Helvetica, Arial, sans-serif"),
                ("role", &"img"),
            ],
        );
        sheet.out.push_str("<title>");
        sheet.escaped(title);
        sheet.out.push_str("</title>\n");
        sheet.leaf(
            "rect",
            &[("width", &width), ("height", &height), ("fill", &"#ffffff")],
        );
        sheet
    }

    /// Whether this is a film.
    pub(super) fn moves(&self) -> bool {
        self.times.is_some()
    }

    /// The whole document.
    pub(super) fn finish(mut self) -> String {
        self.close("svg");
        self.out
    }

    pub(super) fn open(&mut self, tag: &str, attributes: &[Attribute<'_>]) {
        self.start(tag, attributes);
        self.out.push_str(">\n");
    }

    pub(super) fn leaf(&mut self, tag: &str, attributes: &[Attribute<'_>]) {
        self.start(tag, attributes);
        self.out.push_str("/>\n");
    }

    pub(super) fn close(&mut self, tag: &str) {
        self.out.push_str("</");
        self.out.push_str(tag);
        self.out.push_str(">\n");
    }

    fn start(&mut self, tag: &str, attributes: &[Attribute<'_>]) {
        self.out.push('<');
        self.out.push_str(tag);
        for (name, value) in attributes {
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str("=\"");
            self.escaped(&value.to_string());
            self.out.push('"');
        }
    }

    fn escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                c => self.out.push(c),
            }
        }
    }

    /// `words` with their middle line at `(x, y)`.
    pub(super) fn text(&mut self, x: f64, y: f64, set: Type<'_>, words: &str) {
        self.text_with(x, y, set, &[], words, |_| {});
    }

    /// The same with more attributes, and animations that `inside` adds.
    pub(super) fn text_with(
        &mut self,
        x: f64,
        y: f64,
        set: Type<'_>,
        more: &[Attribute<'_>],
        words: &str,
        inside: impl FnOnce(&mut Self),
    ) {
        let (x, y) = (px(x), px(y + 0.35 * f64::from(set.size)));
        let anchor = match set.side {
            Side::Start => "start",
            Side::Middle => "middle",
            Side::End => "end",
        };
        let mut attributes: Vec<Attribute<'_>> = vec![
            ("x", &x),
            ("y", &y),
            ("font-size", &set.size),
            ("fill", &set.ink),
            ("text-anchor", &anchor),
        ];
        if set.bold {
            attributes.push(("font-weight", &"bold"));
        }
        attributes.extend_from_slice(more);
        self.start("text", &attributes);
        self.out.push('>');
        inside(self);
        self.escaped(words);
        self.close("text");
    }

    /// In a film, lets `attribute` of the open element run through `values`, one for
    /// each stage.
    pub(super) fn animate(&mut self, attribute: &str, values: &[String]) {
        let run = self.run("linear", values);
        self.animation("animate", &[("attributeName", &attribute)], run);
    }

    /// In a film, moves the open element by `values`, `x y` for each stage.
    pub(super) fn travel(&mut self, values: &[String]) {
        let run = self.run("linear", values);
        let how: [Attribute<'_>; 2] = [("attributeName", &"transform"), ("type", &"translate")];
        self.animation("animateTransform", &how, run);
    }

    /// In a film, shows the open element only where `visible` says so of a stage.
    pub(super) fn show(&mut self, visible: &[bool]) {
        let values: Vec<String> = visible.iter().map(|v| u8::from(*v).to_string()).collect();
        let run = self.run("discrete", &values);
        self.animation("animate", &[("attributeName", &"opacity")], run);
    }

    fn animation(&mut self, tag: &str, how: &[Attribute<'_>], run: Option<[(String, String); 3]>) {
        let Some(run) = run else { return };
        let dur = format!("{SECONDS}s");
        let mut attributes = how.to_vec();
        attributes.extend(
            run.iter()
                .map(|(name, value)| (&name[..], value as &dyn Display)),
        );
        attributes.push(("dur", &dur));
        attributes.push(("repeatCount", &"indefinite"));
        self.leaf(tag, &attributes);
    }

    /// `calcMode`, `values` and `keyTimes`, without the stages in which nothing
    /// changes.
    fn run(&self, mode: &str, values: &[String]) -> Option<[(String, String); 3]> {
        let times = self.times.as_ref()?;
        let (mut kept, mut at) = (String::new(), String::new());
        for (i, (value, time)) in values.iter().zip(times).enumerate() {
            let same = |j: usize| values.get(j).is_none_or(|other| other == value);
            let before = i > 0 && same(i - 1);
            if before && (mode == "discrete" || (same(i + 1) && i + 1 < values.len())) {
                continue;
            }
            if i > 0 {
                kept.push(';');
                at.push(';');
            }
            kept.push_str(value);
            let _ = write!(at, "{}", (1e4 * time).round() / 1e4);
        }
        if mode != "discrete" {
            kept.push(';');
            kept.push_str(values.last().map_or("", String::as_str));
            at.push_str(";1");
        }
        let pair = |name: &str, value: String| (name.to_owned(), value);
        Some([
            pair("calcMode", mode.to_owned()),
            pair("values", kept),
            pair("keyTimes", at),
        ])
    }
}

/// A length in pixels to a tenth.
pub(super) fn px(x: f64) -> String {
    let tenths = (10.0 * x).round() / 10.0;
    // Not `-0`.
    format!("{}", tenths + 0.0)
}

/// Points as a path's or polyline's numbers.
pub(super) fn points(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut text = String::new();
    for (x, y) in points {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&px(x));
        text.push(',');
        text.push_str(&px(y));
    }
    text
}
