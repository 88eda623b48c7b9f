//! Beside the square: each policy's name and numbers with a line to where it is, and
//! its course over the updates.

use super::{
    Actor, HAIR, INK, QUIET, Shape,
    square::{self, SIDE, TOP},
    svg::{Sheet, Side, Type, points, px},
};
use crate::demo::train::{self, Stage};

/// Where the policies' signs stand.
const SIGNS: f64 = 588.0;
/// Between two policies' lines.
const SPACE: f64 = 46.0;
/// The charts' left edge, width and height, and the tops of both.
const CHART: f64 = 804.0;
const CHART_WIDTH: f64 = 236.0;
const CHART_HEIGHT: f64 = 190.0;
const TOPS: [f64; 2] = [TOP + 24.0, TOP + SIDE - CHART_HEIGHT];

const SMALL: Type<'static> = Type {
    size: 13,
    ink: QUIET,
    side: Side::Start,
    bold: false,
};

pub(super) fn draw(sheet: &mut Sheet, actors: &[Actor<'_>], stages: usize) {
    names(sheet, actors, stages);
    let value = |stage: &Stage| stage.value;
    chart(
        sheet,
        actors,
        stages,
        TOPS[0],
        "true value by update",
        0.9,
        &value,
    );
    let distance = |stage: &Stage| stage.distance;
    let far = actors
        .iter()
        .flat_map(|a| (0..stages).map(|i| a.stage(i).distance));
    let top = (10.0 * far.fold(0.1, f64::max)).ceil() / 10.0;
    let title = "distance to the manifold by update";
    chart(sheet, actors, stages, TOPS[1], title, top, &distance);
}

/// The heights of labels wished for at `wishes`, rising, at least [`SPACE`] apart and
/// within the square's.
fn apart(wishes: &[f64]) -> Vec<f64> {
    let mut heights = Vec::with_capacity(wishes.len());
    let mut free = TOP + 20.0;
    for wish in wishes {
        let height = wish.max(free);
        heights.push(height);
        free = height + SPACE;
    }
    let mut limit = TOP + SIDE - 20.0;
    for height in heights.iter_mut().rev() {
        *height = height.min(limit);
        limit = *height - SPACE;
    }
    heights
}

fn names(sheet: &mut Sheet, actors: &[Actor<'_>], stages: usize) {
    let place = |actor: &Actor<'_>, i: usize| square::place(actor.stage(i).action);
    let mut order: Vec<&Actor<'_>> = actors.iter().collect();
    order.sort_by(|a, b| {
        let height = |a: &Actor<'_>| place(a, stages - 1).1;
        height(a).total_cmp(&height(b))
    });
    let wishes: Vec<f64> = order.iter().map(|a| place(a, stages - 1).1).collect();
    for (actor, y) in order.into_iter().zip(apart(&wishes)) {
        let (x2, y2) = place(actor, stages - 1);
        let (from, height, x2, y2) = (px(SIGNS - 12.0), px(y), px(x2), px(y2));
        sheet.open(
            "line",
            &[
                ("x1", &from),
                ("y1", &height),
                ("x2", &x2),
                ("y2", &y2),
                ("stroke", &actor.color),
                ("stroke-width", &0.8),
                ("stroke-opacity", &0.6),
            ],
        );
        let of = |f: fn((f64, f64)) -> f64| -> Vec<String> {
            (0..stages).map(|i| px(f(place(actor, i)))).collect()
        };
        sheet.animate("x2", &of(|p| p.0));
        sheet.animate("y2", &of(|p| p.1));
        let visible: Vec<bool> = (0..stages).map(|i| i >= actor.from).collect();
        sheet.show(&visible);
        sheet.close("line");
        square::shape(sheet, actor, SIGNS, y);
        let bold = Type {
            size: 16,
            ink: INK,
            side: Side::Start,
            bold: true,
        };
        sheet.text(SIGNS + 16.0, y - 9.0, bold, actor.name);
        let last = actor.last;
        let words = format!("end: value {:.2}, off {:.2}", last.value, last.distance);
        sheet.text(SIGNS + 16.0, y + 9.0, SMALL, &words);
    }
}

/// One number of every policy over the updates, from zero to `top`.
fn chart(
    sheet: &mut Sheet,
    actors: &[Actor<'_>],
    stages: usize,
    above: f64,
    title: &str,
    top: f64,
    of: &dyn Fn(&Stage) -> f64,
) {
    let along = |i: usize| CHART + CHART_WIDTH * i as f64 / (stages - 1) as f64;
    let high = |y: f64| above + CHART_HEIGHT * (1.0 - y / top);
    let set = Type {
        size: 15,
        ink: INK,
        side: Side::Start,
        bold: true,
    };
    sheet.text(CHART, above - 16.0, set, title);
    let step = if top > 0.5 { 0.3 } else { 0.1 };
    let lines = (top / step + 1e-9) as usize;
    for line in 0..=lines {
        let level = step * line as f64;
        let (y, from, to) = (px(high(level)), px(CHART), px(CHART + CHART_WIDTH));
        sheet.leaf(
            "line",
            &[
                ("x1", &from),
                ("y1", &y),
                ("x2", &to),
                ("y2", &y),
                ("stroke", &HAIR),
                ("stroke-width", &if line == 0 { 1.0 } else { 0.6 }),
            ],
        );
        let set = Type {
            side: Side::End,
            ..SMALL
        };
        sheet.text(CHART - 6.0, high(level), set, &format!("{level:.1}"));
    }
    for update in [0, train::UPDATES / 2, train::UPDATES] {
        let set = Type {
            side: Side::Middle,
            ..SMALL
        };
        let x = along((update / train::EVERY) as usize);
        sheet.text(x, above + CHART_HEIGHT + 13.0, set, &update.to_string());
    }
    for actor in actors {
        // The anchor as what it became; others from where they part.
        let from = if actor.shape == Shape::Square {
            actor.stages.len() - 1
        } else {
            actor.from
        };
        let way = (from..stages).map(|i| (along(i), high(of(actor.stage(i)).min(top))));
        let dash = match actor.shape {
            Shape::Square => "2 3",
            Shape::Ring => "6 4",
            _ => "none",
        };
        sheet.leaf(
            "polyline",
            &[
                ("points", &points(way)),
                ("fill", &"none"),
                ("stroke", &actor.color),
                ("stroke-width", &2.2),
                ("stroke-dasharray", &dash),
                ("stroke-linejoin", &"round"),
            ],
        );
    }
    if sheet.moves() {
        let (x, y1, y2) = (px(along(stages - 1)), px(above), px(above + CHART_HEIGHT));
        let cursor: [(&str, &dyn std::fmt::Display); 5] = [
            ("x1", &x),
            ("y1", &y1),
            ("x2", &x),
            ("y2", &y2),
            ("stroke", &QUIET),
        ];
        sheet.open("line", &cursor);
        let way: Vec<String> = (0..stages).map(|i| px(along(i))).collect();
        sheet.animate("x1", &way);
        sheet.animate("x2", &way);
        sheet.close("line");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_apart_and_inside() {
        let wishes = [TOP, TOP + 3.0, TOP + 200.0, TOP + SIDE - 1.0, TOP + SIDE];
        let heights = apart(&wishes);
        assert!(heights.windows(2).all(|w| w[1] - w[0] >= SPACE - 1e-9));
        assert!(heights.iter().all(|y| (TOP..=TOP + SIDE).contains(y)));
        assert_eq!(heights[2], wishes[2]);
    }
}
