//! The second picture: two places, and a square for each policy that learned of them.

use super::{
    HAIR, INK, LEFT, QUIET,
    square::{self, GROUND},
    svg::{Sheet, Side, Type, px},
};
use crate::demo::{
    modes::{self, CONTEXTS, Modes, Played},
    problem::Point,
    train,
};

const WIDTH: u32 = 1080;
const HEIGHT: u32 = 424;
/// The squares' upper edge, side, and the space between two.
const TOP: f64 = 124.0;
const SIDE: f64 = 226.0;
const SPACE: f64 = 18.0;
/// Logged actions that are drawn.
const DOTS: usize = 160;

const SMALL: Type<'static> = Type {
    size: 13,
    ink: QUIET,
    side: Side::Start,
    bold: false,
};

/// The sheet.
pub(in crate::demo) fn draw(modes: &Modes) -> String {
    let title = "Clones of logged actions in two places, and SPAR around each";
    let mut sheet = Sheet::new(WIDTH, HEIGHT, title, None);
    let set = |size, ink, bold| Type {
        size,
        ink,
        bold,
        ..SMALL
    };
    let words = "Any frozen anchor: lift it to where the data are worth most";
    sheet.text(LEFT, 30.0, set(24, INK, true), words);
    let words = "Logged actions (grey) lie in two places; the right one is worth more, and between \
                 them an action is worth nothing.";
    sheet.text(LEFT, 58.0, set(15, QUIET, false), words);
    for (i, played) in modes.played.iter().enumerate() {
        square(
            &mut sheet,
            LEFT + (SIDE + SPACE) * i as f64,
            played,
            modes.seed,
        );
    }
    let words = format!(
        "Seed {}. One action in each of {CONTEXTS} contexts, turned back to the context 0. {} of \
         {} for SPAR after its anchor.",
        modes.seed,
        format_args!("{} updates", modes::SPAR_UPDATES),
        train::BATCH
    );
    sheet.text(LEFT, TOP + SIDE + 56.0, SMALL, &words);
    sheet.finish()
}

/// One policy's square, its left edge at `left`.
fn square(sheet: &mut Sheet, left: f64, played: &Played, seed: u64) {
    let methods = ["bc", "bc-diffusion", "spar"].map(str::to_owned);
    let color = spar_report::method_color(&methods, played.method);
    let along = |x: f64| 0.5 * (x.clamp(-1.0, 1.0) + 1.0) * SIDE;
    let place = |a: Point| (px(left + along(a[0])), px(TOP + SIDE - along(a[1])));
    let name = Type {
        size: 16,
        ink: INK,
        bold: true,
        ..SMALL
    };
    sheet.text(left, TOP - 18.0, name, played.name);
    let (x, y, side) = (px(left), px(TOP), px(SIDE));
    sheet.leaf(
        "rect",
        &[
            ("x", &x),
            ("y", &y),
            ("width", &side),
            ("height", &side),
            ("fill", &GROUND),
            ("stroke", &HAIR),
        ],
    );
    let mut disc = |a: Point, radius: f64, fill: &str, opacity: f64| {
        let (x, y) = place(a);
        sheet.leaf(
            "circle",
            &[
                ("cx", &x),
                ("cy", &y),
                ("r", &px(radius)),
                ("fill", &fill),
                ("fill-opacity", &opacity),
            ],
        );
    };
    for center in modes::PLACES {
        let worth = square::sand(modes::value(center));
        disc(center, 0.5 * SIDE * modes::REACH, &worth, 1.0);
    }
    for (_, a) in modes::draws(seed).take(DOTS) {
        disc(a, 1.4, QUIET, 0.45);
    }
    for a in &played.actions {
        disc(*a, 2.6, &color, 0.7);
    }
    let (x, y) = place(modes::GOAL);
    let cross = format!("M{x} {y}m-5 -5l10 10m0 -10l-10 10");
    sheet.leaf(
        "path",
        &[("d", &cross), ("stroke", &INK), ("stroke-width", &1.6)],
    );
    let words = format!(
        "true value {:.2}, {:.0}% in neither place",
        played.stage.value,
        100.0 * played.stage.fallen
    );
    sheet.text(left, TOP + SIDE + 18.0, SMALL, &words);
}
