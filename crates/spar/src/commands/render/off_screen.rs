//! Films of MuJoCo's own pictures, which need OpenGL: of adroit and the kitchen, where boxes for
//! meshes say little. Where there is none, spar draws as it does everywhere.

use std::path::Path;

use anyhow::Result;
use spar_core::{EnvId, write_atomic};
use spar_env::{Env, OffScreen};
use spar_eval::Episode;
use spar_policy::Policy;
use spar_render::Recorder;

use super::{Args, Format, Made, Played, asked, at_once, options};

/// MuJoCo's own renderer, for pictures of points of what it is better at, if it works here.
pub(super) fn camera(args: &Args, format: Format, env: EnvId) -> Result<Option<OffScreen>> {
    // What is in an SVG are forms.
    if format == Format::Svg || spar_env::make(env)?.subject().is_none() {
        return Ok(None);
    }
    let height = (args.width * 3 / 4).max(1);
    match OffScreen::new(args.width, height) {
        Ok(camera) => Ok(Some(camera)),
        Err(why) => {
            eprintln!("note: {why}; spar draws by itself instead: boxes for meshes");
            Ok(None)
        }
    }
}

/// A film of MuJoCo's pictures, written as the episodes are played.
pub(super) fn film(
    args: &Args,
    format: Format,
    out: &Path,
    (env, policy): (EnvId, &Policy),
    camera: &mut OffScreen,
) -> Result<Made> {
    let (numbers, most) = asked(args);
    let (options, (_, height)) = (options(args), camera.size());
    let scene = spar_env::make(env)?.scene();
    let step = scene.map_or(1.0, |scene| scene.step_seconds);
    let film = |mut film: Recorder| -> Result<(Vec<u8>, Made)> {
        let mut episodes = Vec::new();
        for episode in numbers {
            let played = record(&mut film, camera, (env, policy), episode, (args.seed, most))?;
            episodes.push(played);
        }
        let made = Made {
            episodes,
            frames: film.frames(),
            seconds: film.seconds(),
            size: film.size(),
            renderer: "mujoco",
        };
        Ok((film.finish()?, made))
    };
    if format == Format::Mp4 {
        return at_once(out, |partial| {
            Ok(film(Recorder::mp4(height, &options, step, partial)?)?.1)
        });
    }
    let (gif, made) = film(Recorder::gif(height, &options, step)?)?;
    write_atomic(out, &gif)?;
    Ok(made)
}

/// Gives MuJoCo's pictures of an episode of an evaluation, `most` steps of it, to `film`.
fn record(
    film: &mut Recorder,
    camera: &mut OffScreen,
    (env, policy): (EnvId, &Policy),
    episode: usize,
    (seed, most): (u64, usize),
) -> Result<Played> {
    let mut shown = 0;
    let mut failed = None;
    let mut see = |now: &dyn Env| {
        if shown > most || failed.is_some() {
            return;
        }
        let Some(subject) = now.subject() else {
            return;
        };
        shown += 1;
        let step = film.step::<anyhow::Error>(|| Ok(camera.picture(&subject)?));
        failed = step.err();
    };
    let Episode {
        ret,
        length,
        terminated,
    } = spar_eval::watch(env, policy, episode, seed, &mut see)?;
    match failed {
        Some(why) => Err(why),
        None => Ok(Played {
            episode,
            ret,
            length,
            shown: shown.saturating_sub(1),
            terminated,
        }),
    }
}
