//! Films read back: by an HTML5 parser, and by a decoder of GIF.
#![allow(clippy::unwrap_used)]

use scraper::{Html, Selector};
use spar_core::{EnvId, Stream};
use spar_env::{Role, Scene, Shape, Solid, View};
use spar_render::{Film, Options};

const UPRIGHT: [f64; 9] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];

fn solid(shape: Shape, role: Role, position: [f64; 3]) -> Solid {
    Solid {
        shape,
        role,
        position,
        rotation: UPRIGHT,
    }
}

/// A capsule that stands on a floor and walks a metre in each step, and a box beside it.
fn walk(steps: usize) -> Vec<Scene> {
    let scene = |step: usize| Scene {
        view: View::Side,
        step_seconds: 0.04,
        solids: vec![
            solid(Shape::Plane, Role::World, [0.0; 3]),
            solid(
                Shape::Capsule {
                    radius: 0.1,
                    half: 0.4,
                },
                Role::Body,
                [step as f64, 0.0, 0.5],
            ),
            solid(
                Shape::Box { half: [0.2; 3] },
                Role::Body,
                [step as f64 + 0.6, 0.0, 0.2 + 0.1 * (step % 2) as f64],
            ),
        ],
    };
    (0..steps).map(scene).collect()
}

fn film(scenes: &[Scene]) -> Film {
    Film::of(scenes, &Options::default()).unwrap()
}

fn parsed(svg: &str) -> Html {
    let page =
        format!("<!DOCTYPE html><html><head><title>x</title></head><body>{svg}</body></html>");
    let html = Html::parse_document(&page);
    assert_eq!(html.errors, [""; 0], "not well-formed");
    html
}

#[test]
fn what_walks_stays_and_the_world_moves_under_it() {
    let film = film(&walk(5));
    let (width, height) = film.size();
    assert_eq!((width, film.frames()), (480, 5));
    assert!((film.seconds() - 0.2).abs() < 1e-12);
    let svg = film.svg("a <walk> & more");
    let html = parsed(&svg);
    let all = |selector: &str| {
        let selector = Selector::parse(selector).unwrap();
        html.select(&selector).collect::<Vec<_>>()
    };
    let title: String = all("title")[1].text().collect();
    assert_eq!(title, "a <walk> & more");
    let moves = all("animateTransform, animatetransform");
    let values: Vec<f64> = moves[0]
        .attr("values")
        .unwrap()
        .split(';')
        .map(|at| at.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(values.len(), 5);
    // A metre is the same distance each time, to the left, in half points.
    let metre = values[0] - values[1];
    assert!(metre > 50.0);
    assert!(
        values
            .windows(2)
            .all(|w| (w[0] - w[1] - metre).abs() <= 1.0),
        "{values:?}"
    );
    // The capsule's line: upright, 0.8 m long between its balls' middles, 0.2 m thick.
    let line = all("path")
        .into_iter()
        .find(|p| p.attr("stroke-linecap").is_some() && p.attr("stroke") == Some("#3c444d"));
    let line = line.unwrap();
    assert!(
        line.first_child().is_none(),
        "it does not move in the picture"
    );
    let numbers: Vec<f64> = line
        .attr("d")
        .unwrap()
        .split(|c: char| !c.is_ascii_digit() && c != '-' && c != '.')
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().unwrap())
        .collect();
    let [ax, ay, bx, by] = numbers[..] else {
        panic!("{numbers:?}");
    };
    assert_eq!(ax, bx);
    assert!(
        ((ay - by).abs() - 0.8 * metre).abs() <= 1.5,
        "{numbers:?} {metre}"
    );
    let thick: f64 = line.attr("stroke-width").unwrap().parse().unwrap();
    assert!((thick - 0.2 * metre).abs() < 0.6, "{thick} {metre}");
    assert!(f64::from(height) > 0.4 * f64::from(width));
}

#[test]
fn a_gif_is_read_back_frame_by_frame() {
    let film = film(&walk(6));
    let bytes = film.gif().unwrap();
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::Indexed);
    let mut decoder = options.read_info(bytes.as_slice()).unwrap();
    let (width, height) = film.size();
    assert_eq!(
        (u32::from(decoder.width()), u32::from(decoder.height())),
        (width, height)
    );
    assert_eq!(decoder.repeat(), gif::Repeat::Infinite);
    let palette: Vec<u8> = decoder.global_palette().unwrap().to_vec();
    let mut screen = vec![0u8; (width * height) as usize];
    let (mut frames, mut hundredths) = (0, 0);
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        let (left, top) = (usize::from(frame.left), usize::from(frame.top));
        let (wide, tall) = (usize::from(frame.width), usize::from(frame.height));
        assert!(
            frames == 0 || wide * tall < screen.len(),
            "only what changed is written"
        );
        for row in 0..tall {
            let at = (top + row) * width as usize + left;
            screen[at..at + wide].copy_from_slice(&frame.buffer[row * wide..][..wide]);
        }
        hundredths += u32::from(frame.delay);
        // What is shown is the frame, up to the nearest colour.
        for (place, expected) in screen.iter().zip(film.rgb(frames).unwrap().chunks(3)) {
            let shown = &palette[3 * usize::from(*place)..][..3];
            let far = shown
                .iter()
                .zip(expected)
                .map(|(a, b)| a.abs_diff(*b))
                .max();
            assert!(far.unwrap() <= 48, "{shown:?}, expected {expected:?}");
        }
        frames += 1;
    }
    assert_eq!((frames, hundredths), (6, 24));
    // The middle of the capsule has its colour exactly.
    assert!(
        screen
            .iter()
            .any(|p| palette[3 * usize::from(*p)..][..3] == [0x3c, 0x44, 0x4d])
    );
}

#[test]
fn the_same_episode_gives_the_same_bytes_in_every_environment() {
    for name in [
        "pointmass",
        "halfcheetah",
        "hopper",
        "walker2d",
        "ant",
        "maze2d-umaze",
        "antmaze-umaze",
        "antmaze-ant",
        "door",
        "kitchen",
    ] {
        let id: EnvId = name.parse().unwrap();
        let make = || {
            let mut env = spar_env::make(id).unwrap();
            env.reset(&mut Stream::new(1, "reset")).unwrap();
            let mut scenes = vec![env.scene().unwrap()];
            let mut actions = Stream::new(2, "actions");
            for _ in 0..12 {
                let mut action = vec![0.0; id.act_dim()];
                actions.fill_uniform(-1.0, 1.0, &mut action);
                env.step(&action).unwrap();
                scenes.push(env.scene().unwrap());
            }
            let options = Options {
                width: 200,
                fps: 50.0,
            };
            let film = Film::of(&scenes, &options).unwrap();
            (film.svg(name), film.gif().unwrap(), film.frames())
        };
        let (svg, gif, frames) = make();
        parsed(&svg);
        assert!(frames >= 3 && svg.contains("<animate"), "{name}");
        assert!(svg.len() < 120_000, "{name}: {} bytes", svg.len());
        assert_eq!((svg, gif, frames), make(), "{name}");
    }
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let said =
        |scenes: &[Scene], options: &Options| Film::of(scenes, options).unwrap_err().to_string();
    let usual = Options::default();
    assert!(said(&[], &usual).starts_with("no frame to draw"));
    let mut scenes = walk(3);
    scenes[1].solids[2].position[0] = f64::NAN;
    assert_eq!(
        said(&scenes, &usual),
        "frame 1: solid 2 is nowhere that could be drawn"
    );
    scenes[1].solids.pop();
    assert!(said(&scenes, &usual).starts_with("frame 1 has 2 solids, the first one 3"));
    let none = Options { width: 0, ..usual };
    assert_eq!(
        said(&walk(2), &none),
        "cannot make a picture of 0 x 0 points"
    );
    // A gap of 10 km in a map takes no memory for each metre.
    let mut far = walk(2);
    far[1].solids[1].position[0] = 1e7;
    assert!(film(&far).svg("far").len() < 100_000);
}
