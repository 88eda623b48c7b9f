//! From scenes to frames of one picture.

use std::f64::consts::FRAC_1_SQRT_2;

use spar_env::{Role, Scene, Shape, Solid, View};

use crate::{
    RenderError,
    mark::{Form, Mark, NOTHING, Paint, union},
    project::Camera,
};

/// How a film is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Width of the picture in points; its height follows from what there is to see.
    pub width: u32,
    /// Pictures a second at most: every so many steps are shown that time passes as in the
    /// simulation.
    pub fps: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            width: 480,
            fps: 25.0,
        }
    }
}

/// A film: frames of equal duration, in points.
#[derive(Clone, Debug, PartialEq)]
pub struct Film {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Seconds that a frame lasts.
    pub(crate) frame_seconds: f64,
    /// Of each frame, how far the world is moved, so that what walks stays in the picture.
    pub(crate) pan: Vec<[f64; 2]>,
    /// What belongs to the world, before it is moved, from back to front.
    pub(crate) world: Vec<Mark>,
    /// What moves, from back to front: of each its paint, and its form in every frame, moved
    /// with the world already.
    pub(crate) moving: Vec<(Paint, Vec<Form>)>,
}

/// Part of the extent of what is seen that is left free on each side.
const MARGIN: f64 = 0.12;

/// Least extent of a picture, in metres.
const LEAST: f64 = 0.4;

/// Greatest height of a picture for its width, and least.
const TALL: f64 = 1.0;
const FLAT: f64 = 0.45;

/// Most lines of a floor along an axis.
const MOST_LINES: f64 = 400.0;

/// How thick a line of the floor is, in points.
const LINE: f64 = 1.5;

impl Film {
    /// The film of `scenes`, one for each step of an episode, or of several.
    ///
    /// # Errors
    /// If there is none, they are not of one environment, or a solid is nowhere.
    pub fn of(scenes: &[Scene], options: &Options) -> Result<Self, RenderError> {
        let first = scenes.first().ok_or(RenderError::Empty)?;
        check(scenes, first.solids.len())?;
        let steps = steps_of_a_frame(options.fps, first.step_seconds);
        let shown: Vec<&Scene> = scenes.iter().step_by(steps).collect();
        let camera = Camera::of(first.view);
        let follow = matches!(first.view, View::Side | View::Slant { follow: true });
        let pan: Vec<[f64; 2]> = shown
            .iter()
            .map(|scene| pan(scene, camera, follow))
            .collect();

        // In metres, the world not moved.
        let still = still(first, camera);
        let moving = moving(&shown, camera);
        let mut extent = NOTHING;
        for (_, forms) in &moving {
            for (form, pan) in forms.iter().zip(&pan) {
                extent = union(extent, form.moved(*pan).extent());
            }
        }
        // A whole map is seen; of a world around what walks, only its surroundings.
        if !follow && first.view == View::Above {
            for mark in &still {
                extent = union(extent, mark.form.extent());
            }
        }
        let picture = Picture::around(extent, options.width)?;
        let floor = floor(&picture, &pan, first, camera);
        let world = floor.into_iter().chain(still).map(|mark| Mark {
            form: picture.points(&mark.form),
            ..mark
        });
        Ok(Self {
            width: picture.width,
            height: picture.height,
            frame_seconds: first.step_seconds * steps as f64,
            world: world.map(hairline).collect(),
            moving: moving
                .into_iter()
                .map(|(paint, forms)| {
                    let forms = forms.iter().zip(&pan);
                    let forms = forms.map(|(form, pan)| picture.points(&form.moved(*pan)));
                    (paint, forms.collect())
                })
                .collect(),
            pan: pan.iter().map(|by| by.map(|x| x * picture.scale)).collect(),
        })
    }

    /// Width and height in points.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.pan.len()
    }

    /// Seconds from the first frame to the end of the last.
    pub fn seconds(&self) -> f64 {
        self.frame_seconds * self.frames() as f64
    }

    /// Everything in frame `index`, from back to front.
    pub(crate) fn frame(&self, index: usize) -> impl Iterator<Item = Mark> + '_ {
        let by = self.pan[index];
        let world = self.world.iter().map(move |mark| Mark {
            form: mark.form.moved(by),
            paint: mark.paint,
        });
        let moving = self.moving.iter().map(move |(paint, forms)| Mark {
            form: forms[index].clone(),
            paint: *paint,
        });
        world.chain(moving)
    }
}

/// How many steps of the simulation a frame lasts.
pub(crate) fn steps_of_a_frame(fps: f64, step_seconds: f64) -> usize {
    let steps = (1.0 / (fps * step_seconds)).round().max(1.0);
    // A step lasts milliseconds, a frame at most minutes.
    steps.min(1e9) as usize
}

/// Refuses scenes that no film can be made of.
fn check(scenes: &[Scene], expected: usize) -> Result<(), RenderError> {
    for (frame, scene) in scenes.iter().enumerate() {
        let got = scene.solids.len();
        if got != expected {
            return Err(RenderError::Mixed {
                frame,
                got,
                expected,
            });
        }
        // Beyond this no point of a picture is a number any more.
        let somewhere = |x: &f64| x.abs() < 1e9;
        let drawable = |solid: &Solid| {
            let numbers = solid.position.iter().chain(&solid.rotation);
            numbers.copied().all(|x| somewhere(&x))
        };
        if let Some(solid) = scene.solids.iter().position(|solid| !drawable(solid)) {
            return Err(RenderError::Nowhere { frame, solid });
        }
    }
    Ok(())
}

/// How far the world is moved so that the first thing that moves stays where it is.
fn pan(scene: &Scene, camera: Camera, follow: bool) -> [f64; 2] {
    let first = scene.solids.iter().find(|solid| solid.role == Role::Body);
    match first.filter(|_| follow) {
        None => [0.0; 2],
        Some(solid) => {
            // A jump is seen as one: only the way along the floor is taken away.
            let [x, y, _] = solid.position;
            camera.point([x, y, 0.0]).map(|x| -x)
        }
    }
}

/// Solids of the world and no planes, from back to front.
fn still(scene: &Scene, camera: Camera) -> Vec<Mark> {
    let mut solids: Vec<&Solid> = scene
        .solids
        .iter()
        .filter(|solid| solid.role == Role::World)
        .collect();
    solids.sort_by(|a, b| {
        let near = |solid: &Solid| camera.nearness(solid.position);
        near(a).total_cmp(&near(b))
    });
    let marks = solids.into_iter().filter_map(|solid| {
        Some(Mark {
            form: camera.outline(solid)?,
            paint: Paint::World,
        })
    });
    marks.collect()
}

/// What moves, goals first, then from back to front as in the mean of all frames.
fn moving(shown: &[&Scene], camera: Camera) -> Vec<(Paint, Vec<Form>)> {
    let Some(first) = shown.first() else {
        return Vec::new();
    };
    let bodies: Vec<usize> = (0..first.solids.len())
        .filter(|&i| first.solids[i].role == Role::Body)
        .collect();
    let goals = (0..first.solids.len()).filter(|&i| first.solids[i].role == Role::Goal);
    let paint = |place: usize| match place {
        0 => Paint::Trunk,
        place if 2 * place <= bodies.len() => Paint::Limb,
        _ => Paint::OtherLimb,
    };
    let nearness = |i: usize| -> f64 {
        let near = shown
            .iter()
            .map(|scene| camera.nearness(scene.solids[i].position));
        near.sum::<f64>()
    };
    let mut order: Vec<(f64, Paint, usize)> = bodies
        .iter()
        .enumerate()
        .map(|(place, &i)| (nearness(i), paint(place), i))
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let goals = goals.map(|i| (Paint::Goal, i));
    let bodies = order.into_iter().map(|(_, paint, i)| (paint, i));
    let forms = |i: usize| -> Option<Vec<Form>> {
        let of = |scene: &&Scene| camera.outline(&scene.solids[i]);
        shown.iter().map(of).collect()
    };
    let marks = goals.chain(bodies);
    marks
        .filter_map(|(paint, i)| Some((paint, forms(i)?)))
        .collect()
}

/// Metres to points.
struct Picture {
    width: u32,
    height: u32,
    scale: f64,
    /// What is at the upper left corner, in metres.
    origin: [f64; 2],
}

impl Picture {
    /// Of so many points across, around `extent` in metres.
    fn around([low, high]: [[f64; 2]; 2], width: u32) -> Result<Self, RenderError> {
        let middle = [0, 1].map(|i| (low[i] + high[i]) / 2.0);
        let side = |i: usize| ((high[i] - low[i]) * (1.0 + 2.0 * MARGIN)).max(LEAST);
        let (mut across, mut down) = (side(0), side(1));
        across = across.max(down / TALL);
        down = down.max(across * FLAT);
        let scale = f64::from(width) / across;
        let height = (down * scale).round();
        let fits = width > 0 && scale.is_finite() && (1.0..=16_384.0).contains(&height);
        if !fits {
            let height = if height.is_finite() { height as u32 } else { 0 };
            return Err(RenderError::Size { width, height });
        }
        Ok(Self {
            width,
            height: height as u32,
            scale,
            origin: [middle[0] - across / 2.0, middle[1] - down / 2.0],
        })
    }

    fn points(&self, form: &Form) -> Form {
        let at = |[x, y]: [f64; 2]| {
            [
                (x - self.origin[0]) * self.scale,
                (y - self.origin[1]) * self.scale,
            ]
        };
        match form {
            Form::Line { from, to, width } => Form::Line {
                from: at(*from),
                to: at(*to),
                width: width * self.scale,
            },
            Form::Disc { at: middle, radius } => Form::Disc {
                at: at(*middle),
                radius: radius * self.scale,
            },
            Form::Polygon(corners) => Form::Polygon(corners.iter().map(|c| at(*c)).collect()),
        }
    }

    /// What of the world is ever seen, in metres.
    fn seen(&self, pan: &[[f64; 2]]) -> [[f64; 2]; 2] {
        let [x, y] = self.origin;
        let size = [self.width, self.height].map(|points| f64::from(points) / self.scale);
        pan.iter().fold(NOTHING, |all, by| {
            let low = [x - by[0], y - by[1]];
            union(all, [low, [low[0] + size[0], low[1] + size[1]]])
        })
    }
}

/// The floor, where there is a level plane: its line and a tick each metre from the side, a
/// grid of metres at a slant; nothing from above, where walls say where one is.
fn floor(picture: &Picture, pan: &[[f64; 2]], scene: &Scene, camera: Camera) -> Vec<Mark> {
    let level = scene
        .solids
        .iter()
        .find(|solid| solid.shape == Shape::Plane && solid.rotation[8].abs() > FRAC_1_SQRT_2);
    let (Some(plane), false) = (level, scene.view == View::Above) else {
        return Vec::new();
    };
    let z = plane.position[2];
    let [low, high] = picture.seen(pan);
    let line = |from: [f64; 2], to: [f64; 2]| Mark {
        form: Form::Line {
            from,
            to,
            width: 0.0,
        },
        paint: Paint::Floor,
    };
    let mut marks = Vec::new();
    if scene.view == View::Side {
        let down = -z;
        marks.push(line([low[0], down], [high[0], down]));
        let tick = 0.08 * f64::from(picture.height) / picture.scale;
        for x in metres(low[0], high[0]) {
            marks.push(line([x, down], [x, down + tick]));
        }
        return marks;
    }
    // The corners of what is seen, on the floor, by where the axes go.
    let [[a, b], [c, d]] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]].map(|axis| camera.point(axis));
    let zero = camera.point([0.0, 0.0, z]);
    let turn = a * d - b * c;
    let corners = [
        [low[0], low[1]],
        [low[0], high[1]],
        [high[0], low[1]],
        [high[0], high[1]],
    ];
    let on_floor = corners.map(|[x, y]| {
        let (x, y) = (x - zero[0], y - zero[1]);
        [(x * d - y * c) / turn, (y * a - x * b) / turn]
    });
    let around = on_floor
        .iter()
        .fold(NOTHING, |all, at| union(all, [*at, *at]));
    for x in metres(around[0][0], around[1][0]) {
        let end = |y: f64| camera.point([x, y, z]);
        marks.push(line(end(around[0][1]), end(around[1][1])));
    }
    for y in metres(around[0][1], around[1][1]) {
        let end = |x: f64| camera.point([x, y, z]);
        marks.push(line(end(around[0][0]), end(around[1][0])));
    }
    marks
}

/// Whole metres from `low` to `high`; fewer, where there are many.
fn metres(low: f64, high: f64) -> impl Iterator<Item = f64> {
    let apart = ((high - low) / MOST_LINES).ceil().max(1.0);
    let first = (low / apart).ceil();
    let count = ((high / apart).floor() - first + 1.0).clamp(0.0, MOST_LINES + 1.0);
    (0..count as usize).map(move |i| (first + i as f64) * apart)
}

/// A line of the floor has the same width in every picture.
fn hairline(mark: Mark) -> Mark {
    match (mark.paint, mark.form) {
        (Paint::Floor, Form::Line { from, to, .. }) => Mark {
            form: Form::Line {
                from,
                to,
                width: LINE,
            },
            paint: Paint::Floor,
        },
        (paint, form) => Mark { form, paint },
    }
}
