//! The demo as one drawing: a still, or a film of the same sheet.
//!
//! Left is the action square of the context `0`; in the middle stand the policies'
//! names with their numbers, right their courses over the updates. Colours are those
//! of every figure of a report.

mod contour;
pub(super) mod modes;
mod panels;
mod square;
mod svg;

use self::svg::{Sheet, Side, Type};
use super::{
    Demo,
    train::{self, Course, Stage},
};

/// Ink of what is to be read first, of the rest, and of lines.
pub(super) const INK: &str = "#1b1b1b";
pub(super) const QUIET: &str = "#5f5f5f";
pub(super) const HAIR: &str = "#c9c9c9";

const WIDTH: u32 = 1080;
const HEIGHT: u32 = 704;

/// How a policy's marker looks: told apart without colours too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Square,
    Disc,
    Ring,
    Triangle,
    Diamond,
}

/// A policy as it is drawn everywhere on the sheet.
struct Actor<'a> {
    name: &'a str,
    color: String,
    shape: Shape,
    /// Whether its lines are broken.
    dashed: bool,
    last: &'a Stage,
    /// Where it was at each stage; of the anchor while it learned.
    stages: &'a [Stage],
    /// The stage at which it parts from the policy it grows out of.
    from: usize,
}

/// Names of the series as the drawing says them.
const SERIES: [&str; 5] = [
    "frozen anchor (BC)",
    "SPAR",
    "SPAR, less fit",
    "TD3+BC",
    "AWR",
];

fn actors(demo: &Demo) -> [Actor<'_>; 5] {
    let methods = ["bc", "spar", "td3bc", "awr"].map(str::to_owned);
    let color = |method| spar_report::method_color(&methods, method);
    let [anchor, spar, looser, td3bc, awr] = SERIES;
    let frozen = (train::ANCHOR_UPDATES / train::EVERY) as usize;
    let fork = ((train::ANCHOR_UPDATES + train::WARMUP) / train::EVERY) as usize;
    let actor = |name, method, shape, course, from| Actor {
        name,
        color: color(method),
        shape,
        dashed: shape == Shape::Ring,
        last: Course::last(course),
        stages: &course.stages[..],
        from,
    };
    [
        Actor {
            stages: &demo.spar.course.stages[..=frozen],
            last: &demo.spar.anchor,
            ..actor(anchor, "bc", Shape::Square, &demo.spar.course, 0)
        },
        actor(looser, "spar", Shape::Ring, &demo.looser.course, fork),
        actor(td3bc, "td3bc", Shape::Triangle, &demo.td3bc.course, 0),
        actor(awr, "awr", Shape::Diamond, &demo.awr.course, 0),
        // Over the others.
        actor(spar, "spar", Shape::Disc, &demo.spar.course, frozen),
    ]
}

impl Actor<'_> {
    /// The stage after `i` steps of the course; the anchor stays what it became.
    fn stage(&self, i: usize) -> &Stage {
        self.stages.get(i).unwrap_or(self.last)
    }
}

/// The sheet: a film, or a still of its end.
pub(super) fn draw(demo: &Demo, film: bool) -> String {
    let stages = demo.td3bc.course.stages.len();
    let title = "SPAR, TD3+BC and AWR on logged actions that lie on a curve";
    let mut sheet = Sheet::new(WIDTH, HEIGHT, title, film.then_some(stages));
    heading(&mut sheet, demo, stages);
    let actors = actors(demo);
    square::draw(&mut sheet, demo, &actors, stages);
    panels::draw(&mut sheet, &actors, stages);
    footer(&mut sheet, demo);
    sheet.finish()
}

fn heading(sheet: &mut Sheet, demo: &Demo, stages: usize) {
    let set = |size, ink, bold| Type {
        size,
        ink,
        side: Side::Start,
        bold,
    };
    let words = "Climb the value, stay where the data are";
    sheet.text(LEFT, 30.0, set(24, INK, true), words);
    let words = "Logged actions lie on a ledge. The value grows towards a goal beyond its edge, \
                 and past the edge one falls: what a critic says there is a guess.";
    sheet.text(LEFT, 58.0, set(15, QUIET, false), words);
    if !sheet.moves() {
        return;
    }
    for (i, stage) in demo.td3bc.course.stages.iter().enumerate().take(stages) {
        let update = stage.update;
        let phase = match update {
            u if u < train::ANCHOR_UPDATES => "SPAR's anchor clones the data",
            u if u < train::ANCHOR_UPDATES + train::WARMUP => {
                "the anchor is frozen; SPAR fits the data's residuals around it"
            }
            _ => "Latent Self-Imitation",
        };
        let words = format!("update {update}: {phase}");
        let seen: Vec<bool> = (0..stages).map(|j| j == i).collect();
        let hidden: [svg::Attribute<'_>; 1] = [("opacity", &u8::from(i + 1 == stages))];
        let style = set(15, INK, true);
        sheet.text_with(LEFT, 82.0, style, &hidden, &words, |sheet| {
            sheet.show(&seen)
        });
    }
}

/// Where headings, square and legends begin.
const LEFT: f64 = 62.0;

fn footer(sheet: &mut Sheet, demo: &Demo) {
    let set = Type {
        size: 13,
        ink: QUIET,
        side: Side::Start,
        bold: false,
    };
    let lines = [
        format!(
            "Seed {}. {} updates of {} for each method, SPAR's anchor included; true value and \
             distance are means over {} contexts, each of which turns the square's content.",
            demo.seed,
            train::UPDATES,
            train::BATCH,
            train::CONTEXTS
        ),
        format!(
            "TD3+BC: published alpha 2.5. AWR: best of 9 settings. SPAR: fit weighed {} beside \
             self-imitation; less fit: {}.",
            demo.spar.w_fit, demo.looser.w_fit
        ),
    ];
    for (i, line) in lines.iter().enumerate() {
        sheet.text(LEFT, 668.0 + 19.0 * i as f64, set, line);
    }
}
