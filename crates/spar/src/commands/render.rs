//! `spar render`: episodes of a policy as films.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use spar_core::{
    ClipsRecord, EnvId, FinishedRun,
    clips::{CLIPS_FILE, CLIPS_FOLDER, CLIPS_SCHEMA, Clip},
    sha256_file, sha256_hex, write_atomic,
};
use spar_env::Scene;
use spar_eval::Episode;
use spar_policy::Policy;
use spar_render::{Film, Options, to_mp4};
use spar_train::policy_file;

mod off_screen;

use super::{counts, eval};
use crate::{failure::Usage, output};

/// Fewest and most points across a picture.
const LEAST_WIDTH: u32 = 16;
const MOST_WIDTH: u32 = 4096;

/// Most episodes of a film.
const MOST_EPISODES: u32 = 100;

/// Of a run's films, pictures a second and seconds at most: what a page of many runs can hold.
const CLIP_FPS: f64 = 12.5;
const CLIP_SECONDS: f64 = 10.0;

/// What to draw, and where to.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folders of finished runs: the best and the worst episode of each one's evaluation go to
    /// `clips/best.svg` and `clips/worst.svg` in it, which `spar report` shows
    #[arg(value_name = "RUN", conflicts_with_all = ["policy", "out", "env"], required_unless_present = "policy")]
    runs: Vec<PathBuf>,
    /// Policy: a file `spar train` wrote, its run's folder, or a plain network
    /// (safetensors)
    #[arg(long, value_name = "FILE", requires = "out")]
    policy: Option<PathBuf>,
    /// Environment to play [default: the one the policy was trained for]
    #[arg(long)]
    env: Option<EnvId>,
    /// Film to write: .svg, which plays by itself, .gif, or, where ffmpeg is on PATH, .mp4;
    /// nothing may be there
    #[arg(long, value_name = "FILE", requires = "policy")]
    out: Option<PathBuf>,
    /// Seed of the episodes: those of `spar eval` with the same one
    #[arg(long, default_value_t = super::train::EVAL_SEED, conflicts_with = "runs")]
    seed: u64,
    /// The first episode to show, from 0
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "runs")]
    episode: u32,
    /// Episodes to show, one after the other
    #[arg(long, value_name = "N", default_value = "1", value_parser = counts(MOST_EPISODES), conflicts_with = "runs")]
    episodes: u32,
    /// Steps of each episode to show at most [default: all]
    #[arg(long, value_name = "N", value_parser = counts(u32::MAX), conflicts_with = "runs")]
    steps: Option<u32>,
    /// Pictures a second at most; time passes as in the simulation
    #[arg(long, value_name = "N", default_value = "25", value_parser = counts(1000), conflicts_with = "runs")]
    fps: u32,
    /// Points across a picture
    #[arg(long, value_name = "N", default_value = "480", value_parser = width, conflicts_with = "runs")]
    width: u32,
    /// Print one line of JSON: of the film, or for each run
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  spar render --policy runs/mine --out clip.svg
  spar render --policy runs/mine --episode 3 --steps 300 --out clip.gif
  spar render runs/hopper-medium/*/seed-*";

fn width(text: &str) -> Result<u32, String> {
    let width = counts(MOST_WIDTH)(text)?;
    match width >= LEAST_WIDTH {
        true => Ok(width),
        false => Err(format!("{width} is not in {LEAST_WIDTH}..={MOST_WIDTH}")),
    }
}

/// What is written.
#[derive(Clone, Copy, PartialEq)]
enum Format {
    Svg,
    Gif,
    Mp4,
}

/// What `--json` prints, and a line says.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(serialize_with = "output::path")]
    file: &'a Path,
    bytes: u64,
    env: &'a str,
    episodes: Vec<Played>,
    frames: usize,
    seconds: f64,
    width: u32,
    height: u32,
    /// Whose pictures they are: `spar`, or `mujoco`.
    renderer: &'static str,
}

/// What `--json` prints of a run.
#[derive(Serialize)]
struct OfRun<'a> {
    #[serde(serialize_with = "output::path")]
    run: &'a Path,
    #[serde(flatten)]
    clips: &'a ClipsRecord,
}

/// What was made of a film.
struct Made {
    episodes: Vec<Played>,
    frames: usize,
    seconds: f64,
    size: (u32, u32),
    renderer: &'static str,
}

#[derive(Clone, Copy, Serialize)]
struct Played {
    episode: usize,
    #[serde(rename = "return")]
    ret: f64,
    length: usize,
    shown: usize,
    terminated: bool,
}

/// Draws what is asked for.
pub(crate) fn run(args: &Args) -> Result<()> {
    match (&args.policy, &args.out) {
        (Some(policy), Some(out)) => film(args, policy, out),
        _ => args.runs.iter().try_for_each(|run| clips(run, args.json)),
    }
}

impl Format {
    fn of(out: &Path) -> Result<Self> {
        let extension = out.extension().unwrap_or_default().to_string_lossy();
        match extension.to_ascii_lowercase().as_str() {
            "svg" => Ok(Self::Svg),
            "gif" => Ok(Self::Gif),
            "mp4" => Ok(Self::Mp4),
            _ => Err(Usage(format!(
                "--out {}: expected a name that ends with .svg, .gif or .mp4",
                out.display()
            ))
            .into()),
        }
    }
}

/// One film of a policy.
fn film(args: &Args, policy: &Path, out: &Path) -> Result<()> {
    let format = Format::of(out)?;
    if out.exists() {
        bail!("{}: is there already; choose another --out", out.display());
    }
    let file = spar_policy::file_of(policy)?;
    let env = eval::environment(&file, &Policy::load(&file)?, args.env)?;
    let policy = policy_file::read(&file, env)?;
    let made = match off_screen::camera(args, format, env)? {
        Some(mut camera) => off_screen::film(args, format, out, (env, &policy), &mut camera)?,
        None => drawn(args, format, out, (env, &policy))?,
    };
    let (width, height) = made.size;
    let written = Written {
        file: out,
        bytes: fs::metadata(out).map_or(0, |found| found.len()),
        env: env.name(),
        episodes: made.episodes,
        frames: made.frames,
        seconds: made.seconds,
        width,
        height,
        renderer: made.renderer,
    };
    if args.json {
        return output::json(&written);
    }
    output::text(&said(&written))
}

/// The numbers of the episodes to show, and how many steps of each.
fn asked(args: &Args) -> (std::ops::Range<usize>, usize) {
    let first = args.episode as usize;
    let most = args.steps.map_or(usize::MAX, |steps| steps as usize);
    (first..first + args.episodes as usize, most)
}

fn options(args: &Args) -> Options {
    Options {
        width: args.width,
        fps: f64::from(args.fps),
    }
}

/// A film that is drawn here.
fn drawn(args: &Args, format: Format, out: &Path, (env, policy): (EnvId, &Policy)) -> Result<Made> {
    let (numbers, most) = asked(args);
    let (mut scenes, mut episodes) = (Vec::new(), Vec::new());
    for episode in numbers {
        let (seen, played) = watch(env, policy, episode, args.seed, most)?;
        episodes.push(played);
        scenes.extend(seen);
    }
    let film = Film::of(&scenes, &options(args))?;
    write(&film, format, out, &title(env, &episodes))?;
    Ok(Made {
        episodes,
        frames: film.frames(),
        seconds: film.seconds(),
        size: film.size(),
        renderer: "spar",
    })
}

fn said(written: &Written<'_>) -> String {
    let returns = written.episodes.iter().map(|played| {
        let Played {
            episode,
            ret,
            length,
            ..
        } = played;
        format!("episode {episode} (return {ret:.2}, {length} steps)")
    });
    format!(
        "{}: {}, {}; {} frames, {:.1} s, {} x {}, {} bytes{}",
        written.file.display(),
        written.env,
        returns.collect::<Vec<_>>().join(", "),
        written.frames,
        written.seconds,
        written.width,
        written.height,
        written.bytes,
        match written.renderer {
            "mujoco" => ", by MuJoCo's renderer",
            _ => "",
        }
    )
}

fn title(env: EnvId, episodes: &[Played]) -> String {
    let each = episodes
        .iter()
        .map(|played| format!("episode {}, return {:.2}", played.episode, played.ret));
    format!("{env}: {}", each.collect::<Vec<_>>().join("; "))
}

/// What is to be seen of an episode of an evaluation, `most` steps of it.
fn watch(
    env: EnvId,
    policy: &Policy,
    episode: usize,
    seed: u64,
    most: usize,
) -> Result<(Vec<Scene>, Played)> {
    let mut scenes = Vec::new();
    let mut blind = false;
    let played = spar_eval::watch(env, policy, episode, seed, &mut |now| {
        // The state that an episode starts in is seen too.
        if scenes.len() <= most && !blind {
            match now.scene() {
                Some(scene) => scenes.push(scene),
                None => blind = true,
            }
        }
    })?;
    if blind {
        bail!("{env}: its simulation does not say what there is to see, so it cannot be drawn");
    }
    let Episode {
        ret,
        length,
        terminated,
    } = played;
    let played = Played {
        episode,
        ret,
        length,
        shown: scenes.len().saturating_sub(1),
        terminated,
    };
    Ok((scenes, played))
}

/// Writes the film at once, or nothing.
fn write(film: &Film, format: Format, out: &Path, title: &str) -> Result<()> {
    match format {
        Format::Svg => write_atomic(out, film.svg(title).as_bytes())?,
        Format::Gif => write_atomic(out, &film.gif()?)?,
        Format::Mp4 => at_once(out, |partial| Ok(to_mp4(film, partial)?))?,
    }
    Ok(())
}

/// Has `make` write beside `out`, as ffmpeg does by itself, and then puts all of it there.
fn at_once<T>(out: &Path, make: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let partial = out.with_file_name(format!(".{name}.part"));
    let made = make(&partial).and_then(|made| {
        fs::rename(&partial, out).with_context(|| out.display().to_string())?;
        Ok(made)
    });
    if made.is_err() {
        // What is not there need not be removed.
        let _ = fs::remove_file(&partial);
    }
    made
}

/// The best and the worst episode of a finished run's evaluation, in its folder.
fn clips(folder: &Path, json: bool) -> Result<()> {
    let run = FinishedRun::read(folder)?.ok_or_else(|| {
        anyhow!(
            "{}: holds no finished run; give a policy by itself with --policy and --out",
            folder.display()
        )
    })?;
    let record = run.record;
    let name = folder.display();
    let env = record.known_env().filter(|_| !record.returns.is_empty());
    let Some(env) = env else {
        bail!("{name}: the run was evaluated in no environment, so there is nothing to draw");
    };
    let file = spar_policy::file_of(folder)?;
    let policy = policy_file::read(&file, env)?;
    let returns = record.returns.iter().enumerate();
    let best = returns.clone().rev().max_by(|a, b| a.1.total_cmp(b.1));
    let worst = returns.min_by(|a, b| a.1.total_cmp(b.1));
    let mut found = ClipsRecord {
        schema: CLIPS_SCHEMA,
        policy_sha256: sha256_file(&file)?,
        eval_seed: record.eval_seed,
        clips: Vec::new(),
    };
    let mut films = Vec::new();
    for (name, episode) in [("best", best), ("worst", worst)] {
        let Some((episode, &expected)) = episode else {
            continue;
        };
        let (mut scenes, played) = watch(env, &policy, episode, record.eval_seed, usize::MAX)?;
        if played.ret.to_bits() != expected.to_bits() {
            bail!(
                "{}: episode {episode} gives {} here, but {expected} in the run's record: it was \
                 evaluated by another simulator, machine or version",
                folder.display(),
                played.ret
            );
        }
        let seconds = scenes.first().map_or(1.0, |scene| scene.step_seconds);
        // Steps last milliseconds at least.
        scenes.truncate((CLIP_SECONDS / seconds) as usize + 1);
        let options = Options {
            fps: CLIP_FPS,
            ..Options::default()
        };
        let svg = Film::of(&scenes, &options)?.svg(&title(env, &[played]));
        found.clips.push(Clip {
            name: name.to_owned(),
            episode,
            ret: played.ret,
            length: played.length,
            shown: scenes.len().saturating_sub(1),
            sha256: sha256_hex(svg.as_bytes()),
        });
        films.push(svg);
    }
    let below = folder.join(CLIPS_FOLDER);
    for (clip, film) in found.clips.iter().zip(&films) {
        write_atomic(&below.join(format!("{}.svg", clip.name)), film.as_bytes())?;
    }
    let text = serde_json::to_string_pretty(&found).context("cannot write JSON")?;
    write_atomic(&below.join(CLIPS_FILE), (text + "\n").as_bytes())?;
    if json {
        return output::json(&OfRun {
            run: folder,
            clips: &found,
        });
    }
    let each = found.clips.iter().zip(&films).map(|(clip, film)| {
        format!(
            "{}.svg episode {} (return {:.2}, {} of {} steps, {} bytes)",
            clip.name,
            clip.episode,
            clip.ret,
            clip.shown,
            clip.length,
            film.len()
        )
    });
    output::text(&format!("{name}: {}", each.collect::<Vec<_>>().join(", ")))
}
