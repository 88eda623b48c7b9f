//! Choosing behaviour policies among the snapshots of a training.

use std::{
    fs,
    path::{Path, PathBuf},
};

use spar_core::{files::in_file, write_atomic};
use spar_eval::{rollout, stats};

use crate::{
    CollectError, behavior,
    card::{Card, Level, REPLAY_SEGMENTS},
    online::{CURVE_FILE, Training, read_curve, snapshot},
};

/// Share of the expert's normalized score the medium policy should have (Fu et
/// al. 2020: "approximately 1/3 the performance of the expert").
const MEDIUM_SHARE: f64 = 1.0 / 3.0;

/// Episodes by which candidates are compared, and by which the chosen ones are
/// described.
const CANDIDATE_EPISODES: usize = 5;
const CARD_EPISODES: usize = 50;

/// Judges the snapshots in `training` (as [`crate::online::train`] leaves
/// them), copies medium, expert and replay policies with card and curve below
/// `behavior` and returns the card.
///
/// Expert is the snapshot of the highest mean return; medium the one whose
/// normalized score is nearest a third of the expert's among those before it.
///
/// # Errors
/// If a snapshot is unreadable, an environment fails or a file cannot be
/// written.
pub fn select(training: &Path, behavior: &Path, threads: usize) -> Result<Card, CollectError> {
    let Training { env, seed, config } = Training::read(training)?;
    let points = read_curve(training)?;
    let learned: Vec<usize> = points
        .iter()
        .map(|p| p.step)
        .filter(|&s| s > config.start_steps)
        .collect();
    let judge = |step: usize, episodes: usize| -> Result<Level, CollectError> {
        let policy = behavior::read(&snapshot(training, step), env)?;
        let played = rollout(env, &policy, episodes, seed, threads)?;
        let returns: Vec<f64> = played.iter().map(|e| e.ret).collect();
        let mean_return = stats::mean(&returns);
        Ok(Level {
            step,
            mean_return,
            std_return: stats::std(&returns, 0),
            normalized_score: env.normalized_score(mean_return),
            episodes,
        })
    };
    let none = || CollectError::Policy {
        file: training.display().to_string(),
        why: "no snapshot after the first update; train longer".to_owned(),
    };
    let levels = learned
        .iter()
        .map(|&step| judge(step, CANDIDATE_EPISODES))
        .collect::<Result<Vec<_>, _>>()?;
    let score = |l: &Level| l.normalized_score.unwrap_or(l.mean_return);
    let best = levels
        .iter()
        .max_by(|a, b| score(a).total_cmp(&score(b)))
        .ok_or_else(none)?;
    let target = MEDIUM_SHARE * score(best);
    let distance = |l: &&Level| (score(l) - target).abs();
    let before = levels.iter().filter(|l| l.step < best.step);
    let middle = before
        .min_by(|a, b| distance(a).total_cmp(&distance(b)))
        .ok_or_else(none)?;

    let nearest = |middle: usize| learned.iter().copied().min_by_key(|s| s.abs_diff(middle));
    let replay_steps = (0..REPLAY_SEGMENTS)
        .filter_map(|i| nearest((2 * i + 1) * middle.step / (2 * REPLAY_SEGMENTS)))
        .collect::<Vec<_>>();
    let card = Card {
        env,
        algorithm: "SAC (automatic temperature), spar behavior train".to_owned(),
        seed,
        config,
        trained_steps: points.last().map_or(0, |p| p.step),
        medium: judge(middle.step, CARD_EPISODES)?,
        expert: judge(best.step, CARD_EPISODES)?,
        replay_steps,
    };
    let folder = Card::folder(behavior, env);
    let copy = |step: usize, name: String| -> Result<(), CollectError> {
        let from: PathBuf = snapshot(training, step);
        let bytes = fs::read(&from).map_err(|e| in_file(e, &from))?;
        Ok(write_atomic(
            &folder.join(format!("{name}.safetensors")),
            &bytes,
        )?)
    };
    copy(card.medium.step, "medium".to_owned())?;
    copy(card.expert.step, "expert".to_owned())?;
    for (i, &step) in card.replay_steps.iter().enumerate() {
        copy(step, format!("replay-{i}"))?;
    }
    let curve_path = training.join(CURVE_FILE);
    let curve = fs::read(&curve_path).map_err(|e| in_file(e, &curve_path))?;
    write_atomic(&folder.join(CURVE_FILE), &curve)?;
    card.write(behavior)?;
    Ok(card)
}
