//! The action square: the ledge, the data on it, what TD3+BC's critic believes, SPAR's
//! candidates with their weights, and where each policy went.

use std::f64::consts::PI;

use super::{
    Actor, HAIR, INK, LEFT, QUIET, Shape, contour,
    svg::{Sheet, Side, Type, points, px},
};
use crate::demo::{
    Demo,
    problem::{self, Point},
    train::{self, Candidates},
};

/// The square's upper left corner and side, pixels.
pub(super) const TOP: f64 = 100.0;
pub(super) const SIDE: f64 = 480.0;

/// Colour of all that is worth nothing.
pub(super) const GROUND: &str = "#f3f3f3";
/// Logged actions that are drawn.
const DOTS: usize = 400;
/// Pieces the ledge is coloured in.
const PIECES: usize = 40;
/// Steps between a critic's lines.
const STEP: f64 = 0.1;

/// Where action `a` stands.
pub(super) fn place(a: Point) -> (f64, f64) {
    let along = |x: f64| 0.5 * (x + 1.0) * SIDE;
    (LEFT + along(a[0]), TOP + SIDE - along(a[1]))
}

const SMALL: Type<'static> = Type {
    size: 13,
    ink: QUIET,
    side: Side::Middle,
    bold: false,
};

pub(super) fn draw(sheet: &mut Sheet, demo: &Demo, actors: &[Actor<'_>], stages: usize) {
    ground(sheet);
    beliefs(sheet, demo, stages);
    data(sheet, demo.seed);
    frame(sheet);
    for actor in actors {
        trail(sheet, actor, stages);
    }
    goal(sheet);
    candidates(sheet, &demo.spar.candidates, demo.spar.k, stages);
    for actor in actors {
        marker(sheet, actor, stages);
    }
    legend(sheet, demo.spar.k);
}

/// Everything worth nothing, and over it the ledge in the colours of its worth.
fn ground(sheet: &mut Sheet) {
    let (x, y) = place([-1.0, 1.0]);
    let (x, y, side) = (px(x), px(y), px(SIDE));
    sheet.leaf(
        "rect",
        &[
            ("x", &x),
            ("y", &y),
            ("width", &side),
            ("height", &side),
            ("fill", &GROUND),
        ],
    );
    let first = problem::USUAL - problem::ANGLE_REACH;
    let angle = |i: usize| first + 2.0 * problem::ANGLE_REACH * i as f64 / PIECES as f64;
    let rim = |angle: f64, out: f64| place(problem::point(0.0, angle, problem::RADIUS + out));
    for i in 0..PIECES {
        // A hair into the next, so that no seam shows.
        let (from, to) = (angle(i), angle(i + 1) + 0.004);
        let ledge = problem::LEDGE;
        let corners = [
            rim(from, -ledge),
            rim(to, -ledge),
            rim(to, ledge),
            rim(from, ledge),
        ];
        let worth = problem::value(0.0, problem::point(0.0, 0.5 * (from + to), problem::RADIUS));
        sheet.leaf(
            "polygon",
            &[("points", &points(corners)), ("fill", &sand(worth))],
        );
    }
    // The ledge reaches around the arc's ends.
    for (end, turn) in [(first, -1.0), (-first, 1.0)] {
        let middle = problem::point(0.0, end, problem::RADIUS);
        let around = (0..=16).map(|i| {
            let (sin, cos) = (end + turn * PI * f64::from(i) / 16.0).sin_cos();
            place([
                middle[0] + problem::LEDGE * cos,
                middle[1] + problem::LEDGE * sin,
            ])
        });
        let worth = problem::value(0.0, middle);
        sheet.leaf(
            "polygon",
            &[("points", &points(around)), ("fill", &sand(worth))],
        );
    }
}

/// Sand, the deeper the more an action is worth.
pub(super) fn sand(worth: f64) -> String {
    let share = ((worth - 0.2) / 0.7).clamp(0.0, 1.0);
    let mix = |from: f64, to: f64| (from + share * (to - from)).round() as u8;
    format!(
        "#{:02x}{:02x}{:02x}",
        mix(252.0, 233.0),
        mix(247.0, 196.0),
        mix(226.0, 106.0)
    )
}

/// Lines of equal value of TD3+BC's critic.
fn beliefs(sheet: &mut Sheet, demo: &Demo, stages: usize) {
    let all = &demo.td3bc.opinions;
    let last = all.len().saturating_sub(1);
    let scale = 2.0 / (train::GRID - 1) as f64;
    for (i, opinion) in all.iter().enumerate() {
        if i < last && !sheet.moves() {
            continue;
        }
        sheet.open(
            "g",
            &[
                ("stroke", &"#d55e00"),
                ("fill", &"none"),
                ("opacity", &u8::from(i == last)),
            ],
        );
        let visible: Vec<bool> = (0..stages).map(|j| j == i).collect();
        sheet.show(&visible);
        for level in 0..=20 {
            let worth = STEP * f64::from(level);
            let mut path = String::new();
            for [a, b] in contour::line(opinion, train::GRID, worth) {
                let ends = [a, b].map(|(x, y)| place([scale * x - 1.0, scale * y - 1.0]));
                let [(ax, ay), (bx, by)] = ends;
                path += &format!("M{} {}L{} {}", px(ax), px(ay), px(bx), px(by));
            }
            if path.is_empty() {
                continue;
            }
            let strong = level % 5 == 0;
            let (width, faint) = if strong { (1.4, 0.6) } else { (0.8, 0.4) };
            sheet.leaf(
                "path",
                &[
                    ("d", &path),
                    ("stroke-width", &width),
                    ("stroke-opacity", &faint),
                ],
            );
        }
        sheet.close("g");
    }
}

/// Some of the logged actions, each turned as if its context had been `0`.
fn data(sheet: &mut Sheet, seed: u64) {
    sheet.open("g", &[("fill", &"#4d4536"), ("fill-opacity", &0.45)]);
    for (s, a) in problem::draws(seed).take(DOTS) {
        let (x, y) = place(problem::turned_back(s, a));
        let (x, y) = (px(x), px(y));
        sheet.leaf("circle", &[("cx", &x), ("cy", &y), ("r", &1.3)]);
    }
    sheet.close("g");
}

fn frame(sheet: &mut Sheet) {
    let (x, y) = place([-1.0, 1.0]);
    let (left, top, side) = (px(x), px(y), px(SIDE));
    sheet.leaf(
        "rect",
        &[
            ("x", &left),
            ("y", &top),
            ("width", &side),
            ("height", &side),
            ("fill", &"none"),
            ("stroke", &HAIR),
        ],
    );
    for tick in [-1.0, 0.0, 1.0] {
        let words = format!("{tick}");
        let (along, below) = place([tick, -1.0]);
        sheet.text(along, below + 12.0, SMALL, &words);
        let (before, up) = place([-1.0, tick]);
        let set = Type {
            side: Side::End,
            ..SMALL
        };
        sheet.text(before - 6.0, up, set, &words);
    }
    let (middle, below) = place([0.5, -1.0]);
    sheet.text(middle, below + 12.0, SMALL, "first action component");
    let (before, up) = place([-1.0, 0.5]);
    let turn = format!("rotate(-90 {} {})", px(before - 12.0), px(up));
    let more: [(&str, &dyn std::fmt::Display); 1] = [("transform", &turn)];
    sheet.text_with(
        before - 12.0,
        up,
        SMALL,
        &more,
        "second action component",
        |_| {},
    );
    let (x, y) = place([-0.45, -0.55]);
    halo(sheet, x, y - 9.0, SMALL, "no data here:");
    halo(
        sheet,
        x,
        y + 9.0,
        SMALL,
        "off the ledge the true value is 0",
    );
}

fn goal(sheet: &mut Sheet) {
    let (x, y) = place(problem::goal(0.0));
    let star = (0..10).map(|i| {
        let reach = if i % 2 == 0 { 9.0 } else { 3.8 };
        let (sin, cos) = (PI * f64::from(i) / 5.0).sin_cos();
        (x + reach * sin, y - reach * cos)
    });
    sheet.leaf(
        "polygon",
        &[
            ("points", &points(star)),
            ("fill", &"#ffffff"),
            ("stroke", &INK),
            ("stroke-width", &1.3),
        ],
    );
    let set = Type {
        ink: INK,
        side: Side::End,
        ..SMALL
    };
    halo(sheet, x - 14.0, y, set, "goal");
}

/// A text that stays legible over lines.
fn halo(sheet: &mut Sheet, x: f64, y: f64, set: Type<'_>, words: &str) {
    let more: [(&str, &dyn std::fmt::Display); 4] = [
        ("stroke", &GROUND),
        ("stroke-width", &3.5),
        ("stroke-linejoin", &"round"),
        ("paint-order", &"stroke"),
    ];
    sheet.text_with(x, y, set, &more, words, |_| {});
}

/// Where a policy went, from where it parts from what it grew out of.
fn trail(sheet: &mut Sheet, actor: &Actor<'_>, stages: usize) {
    if actor.shape == Shape::Square {
        return;
    }
    let way: Vec<(f64, f64)> = (actor.from..stages)
        .map(|i| place(actor.stage(i).action))
        .collect();
    let dash = if actor.dashed { "4 3" } else { "none" };
    sheet.open(
        "g",
        &[
            ("fill", &"none"),
            ("stroke", &actor.color),
            ("stroke-width", &1.8),
            ("stroke-opacity", &0.85),
            ("stroke-dasharray", &dash),
        ],
    );
    for (i, pair) in way.windows(2).enumerate() {
        let [(ax, ay), (bx, by)] = [pair[0], pair[1]].map(|(x, y)| (px(x), px(y)));
        sheet.open(
            "line",
            &[("x1", &ax), ("y1", &ay), ("x2", &bx), ("y2", &by)],
        );
        let visible: Vec<bool> = (0..stages).map(|j| j > i + actor.from).collect();
        sheet.show(&visible);
        sheet.close("line");
    }
    sheet.close("g");
}

/// Candidates, their areas by their weights.
fn candidates(sheet: &mut Sheet, seen: &[Candidates], k: usize, stages: usize) {
    let Some(last) = seen.last() else { return };
    let before = stages - seen.len();
    // The stage's candidates; the first ones before there are any.
    let at = |i: usize| &seen[i.saturating_sub(before)];
    let reach = |w: f64| px(1.8 + 7.0 * w.sqrt());
    sheet.open(
        "g",
        &[
            ("fill", &"#56b4e9"),
            ("fill-opacity", &0.55),
            ("stroke", &"#0072b2"),
            ("stroke-width", &0.9),
        ],
    );
    let visible: Vec<bool> = (0..stages).map(|i| i >= before).collect();
    sheet.show(&visible);
    for i in 0..train::SETS * k {
        let (x, y) = place(last.actions[i]);
        let (x, y, r) = (px(x), px(y), reach(last.weights[i]));
        sheet.open("circle", &[("cx", &x), ("cy", &y), ("r", &r)]);
        let of = |f: &dyn Fn(&Candidates) -> String| -> Vec<String> {
            (0..stages).map(|j| f(at(j))).collect()
        };
        sheet.animate("cx", &of(&|c| px(place(c.actions[i]).0)));
        sheet.animate("cy", &of(&|c| px(place(c.actions[i]).1)));
        sheet.animate("r", &of(&|c| reach(c.weights[i])));
        sheet.close("circle");
    }
    sheet.close("g");
}

/// A policy where it is now.
fn marker(sheet: &mut Sheet, actor: &Actor<'_>, stages: usize) {
    let at = |i: usize| {
        let (x, y) = place(actor.stage(i).action);
        format!("{} {}", px(x), px(y))
    };
    let last = format!("translate({})", at(stages - 1));
    sheet.open("g", &[("transform", &last)]);
    let visible: Vec<bool> = (0..stages).map(|i| i >= actor.from).collect();
    sheet.show(&visible);
    let way: Vec<String> = (0..stages).map(at).collect();
    sheet.travel(&way);
    shape(sheet, actor, 0.0, 0.0);
    sheet.close("g");
}

/// A policy's sign with its middle at `(x, y)`.
pub(super) fn shape(sheet: &mut Sheet, actor: &Actor<'_>, x: f64, y: f64) {
    let by = |corners: &[(f64, f64)]| points(corners.iter().map(|(i, j)| (x + i, y + j)));
    let corners = match actor.shape {
        Shape::Disc | Shape::Ring => None,
        Shape::Square => Some(by(&[(-6.5, -6.5), (6.5, -6.5), (6.5, 6.5), (-6.5, 6.5)])),
        Shape::Triangle => Some(by(&[(0.0, -9.5), (8.5, 6.0), (-8.5, 6.0)])),
        Shape::Diamond => Some(by(&[(0.0, -9.0), (9.0, 0.0), (0.0, 9.0), (-9.0, 0.0)])),
    };
    match corners {
        Some(corners) => sheet.leaf(
            "polygon",
            &[
                ("points", &corners),
                ("fill", &actor.color),
                ("stroke", &"#ffffff"),
                ("stroke-width", &1.6),
            ],
        ),
        None => {
            let ring = actor.shape == Shape::Ring;
            let (fill, stroke, width) = if ring {
                ("#ffffff", &actor.color[..], 2.6)
            } else {
                (&actor.color[..], "#ffffff", 1.6)
            };
            let (x, y) = (px(x), px(y));
            sheet.leaf(
                "circle",
                &[
                    ("cx", &x),
                    ("cy", &y),
                    ("r", &7.0),
                    ("fill", &fill),
                    ("stroke", &stroke),
                    ("stroke-width", &width),
                ],
            );
        }
    }
}

/// What the signs are that no policy has, in two rows below the square.
fn legend(sheet: &mut Sheet, k: usize) {
    let set = Type {
        side: Side::Start,
        ..SMALL
    };
    let rows = [TOP + SIDE + 38.0, TOP + SIDE + 60.0];
    let columns = [LEFT, LEFT + 130.0];
    let mut words = |column: usize, row: usize, words: &str| {
        sheet.text(columns[column] + 24.0, rows[row], set, words);
    };
    words(0, 0, "logged action");
    words(0, 1, "ledge");
    let draws = train::SETS;
    let of = format!("SPAR's candidates in one context, {draws} draws of {k}; area: weight");
    words(1, 0, &of);
    words(
        1,
        1,
        "equal value, lines 0.1 apart, as TD3+BC's critic guesses it",
    );

    let [x, right] = columns.map(|x| x + 9.0);
    let (dot, y) = (px(x), px(rows[0]));
    sheet.leaf(
        "circle",
        &[("cx", &dot), ("cy", &y), ("r", &2), ("fill", &"#4d4536")],
    );
    let (left, top) = (px(x - 8.0), px(rows[1] - 6.0));
    sheet.leaf(
        "rect",
        &[
            ("x", &left),
            ("y", &top),
            ("width", &16),
            ("height", &12),
            ("fill", &sand(0.8)),
        ],
    );
    let middle = px(right);
    sheet.leaf(
        "circle",
        &[
            ("cx", &middle),
            ("cy", &y),
            ("r", &6),
            ("fill", &"#56b4e9"),
            ("fill-opacity", &0.55),
            ("stroke", &"#0072b2"),
        ],
    );
    let (from, to, y) = (px(right - 9.0), px(right + 9.0), px(rows[1]));
    sheet.leaf(
        "line",
        &[
            ("x1", &from),
            ("y1", &y),
            ("x2", &to),
            ("y2", &y),
            ("stroke", &"#d55e00"),
            ("stroke-width", &1.4),
            ("stroke-opacity", &0.7),
        ],
    );
}
