//! Choosing behaviour policies among the snapshots of a training.

use std::{fs, path::Path};

use spar_core::{EnvId, TaskId, files::in_file, write_atomic};
use spar_eval::rollout;

use crate::{
    CollectError, behavior,
    card::{Card, Level, REPLAY_SEGMENTS, Segment},
    online::{CURVE_FILE, CurvePoint, Training, read_curve, snapshot},
};

/// Snapshots looked at more closely, and the episodes each then plays.
const CANDIDATES: usize = 12;
const CANDIDATE_EPISODES: usize = 20;

/// Episodes by which the chosen policies are described.
const CARD_EPISODES: usize = 100;

/// The mean return the medium policy should have: the middle of what D4RL's
/// medium policies have (mean returns of the episodes in its `medium-v2` files:
/// 4770, 1422 and 2852) and its paper's third of the expert's. Those of ant are not known
/// here; d3rlpy's BCQ ends at 3,650 on `ant-medium-v2` and reached 5,340 on
/// `ant-medium-expert-v2` (d3rlpy-benchmarks), so that two thirds of the expert's are asked
/// for. None where D4RL has no data: then a third of the best there is.
fn medium_return(env: EnvId) -> Option<f64> {
    match env.name() {
        "halfcheetah" => Some(5000.0),
        "hopper" => Some(1400.0),
        "walker2d" => Some(3000.0),
        "ant" => Some(3000.0),
        _ => None,
    }
}

/// Evaluates the snapshots in `training` (as [`crate::online::train`] leaves
/// them), copies medium, expert and replay policies with card and curve below
/// `behavior` and returns the card.
///
/// Expert is the snapshot of the highest mean return among those with the highest
/// on the training curve. Medium is the one nearest the environment's medium
/// return among those nearest to it on the curve, all of them before the expert;
/// the earliest where several are within 5 % of it, as training stopped there.
///
/// # Errors
/// If a snapshot is unreadable, an environment fails or a file cannot be
/// written.
pub fn select(training: &Path, behavior: &Path, threads: usize) -> Result<Card, CollectError> {
    let Training { env, seed, config } = Training::read(training)?;
    let curve = read_curve(training)?;
    let learned: Vec<(usize, f64)> = curve
        .iter()
        .filter(|p| p.step > config.start_steps)
        .filter_map(|p| Some((p.step, p.mean_return?)))
        .collect();
    let evaluate = |step: usize, episodes: usize| -> Result<Level, CollectError> {
        let policy = behavior::read(&snapshot(training, step), env)?;
        let played = rollout(env, &policy, episodes, seed, threads)?;
        let returns: Vec<f64> = played.iter().map(|e| e.ret).collect();
        let mean_return = spar_stats::mean(&returns);
        Ok(Level {
            step,
            mean_return,
            std_return: spar_stats::std(&returns, 0),
            normalized_score: env.normalized_score(mean_return),
            episodes,
        })
    };
    // Of the candidates that are best by the curve, the best by a closer look, or
    // the first that is good enough.
    let best = |mut candidates: Vec<(usize, f64)>, distance: &dyn Fn(f64) -> f64, enough: f64| {
        candidates.sort_by(|a, b| distance(a.1).total_cmp(&distance(b.1)));
        candidates.truncate(CANDIDATES);
        candidates.sort_by_key(|c| c.0);
        let levels = candidates
            .iter()
            .map(|&(step, _)| evaluate(step, CANDIDATE_EPISODES))
            .collect::<Result<Vec<_>, _>>()?;
        let near = |l: &Level| distance(l.mean_return).max(enough);
        let chosen = levels
            .iter()
            .min_by(|a, b| near(a).total_cmp(&near(b)))
            .ok_or_else(|| CollectError::Policy {
                file: training.display().to_string(),
                why: "no snapshot after the first update; train longer".to_owned(),
            })?;
        evaluate(chosen.step, CARD_EPISODES)
    };
    let expert = best(learned.clone(), &|ret| -ret, f64::NEG_INFINITY)?;
    let target = medium_return(env).unwrap_or(expert.mean_return / 3.0);
    let before = |p: &(usize, f64)| p.0 <= expert.step;
    let early = learned.iter().copied().filter(before).collect();
    let medium = best(early, &|ret| (ret - target).abs(), 0.05 * target.abs())?;

    let trained_steps = curve.last().map_or(0, |p| p.step);
    let card = Card {
        env,
        algorithm: "SAC (automatic temperature), spar behavior train".to_owned(),
        seed,
        config,
        trained_steps,
        // Where data of a replay buffer are wanted.
        replay: match TaskId::of(env, spar_core::Level::MediumReplay) {
            Some(_) => segments(&curve, medium.step, trained_steps),
            None => Vec::new(),
        },
        medium,
        expert,
    };
    let copy = |step: usize, name: &str| -> Result<(), CollectError> {
        let from = snapshot(training, step);
        let bytes = fs::read(&from).map_err(|e| in_file(e, &from))?;
        Ok(write_atomic(&card.policy_file(behavior, name), &bytes)?)
    };
    copy(card.medium.step, "medium")?;
    copy(card.expert.step, "expert")?;
    for (i, segment) in card.replay.iter().enumerate() {
        copy(segment.step, &format!("replay-{i}"))?;
    }
    let from = training.join(CURVE_FILE);
    let bytes = fs::read(&from).map_err(|e| in_file(e, &from))?;
    write_atomic(&Card::folder(behavior, env).join(CURVE_FILE), &bytes)?;
    card.write(behavior)?;
    Ok(card)
}

/// [`REPLAY_SEGMENTS`] equal stretches up to step `medium`, and as many from there
/// to step `end`, each with the snapshot nearest its middle.
fn segments(curve: &[CurvePoint], medium: usize, end: usize) -> Vec<Segment> {
    let nearest = |middle: usize| {
        let steps = curve.iter().map(|p| p.step);
        steps.min_by_key(|step| step.abs_diff(middle))
    };
    let stretch = |from: usize, to: usize| {
        (0..REPLAY_SEGMENTS).filter_map(move |i| {
            let at = |n: usize| from + (to - from) * n / (2 * REPLAY_SEGMENTS);
            Some(Segment {
                step: nearest(at(2 * i + 1))?,
                until: at(2 * i + 2),
            })
        })
    };
    if end <= medium {
        return stretch(0, medium).collect();
    }
    stretch(0, medium).chain(stretch(medium, end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_the_training_without_gaps() {
        let curve: Vec<_> = (1..=40)
            .map(|i| CurvePoint {
                step: 50 * i,
                mean_return: None,
                mean_length: None,
                alpha: None,
                critic_loss: None,
            })
            .collect();
        let found = segments(&curve, 400, 2000);
        assert_eq!(found.len(), 2 * REPLAY_SEGMENTS);
        assert_eq!(found[REPLAY_SEGMENTS - 1].until, 400);
        assert_eq!(found[2 * REPLAY_SEGMENTS - 1].until, 2000);
        let mut from = 0;
        for segment in found {
            assert!(from < segment.until);
            let middle = (from + segment.until) / 2;
            assert!(segment.step.abs_diff(middle) <= 25, "{segment:?}");
            from = segment.until;
        }
        assert_eq!(segments(&curve, 2000, 2000).len(), REPLAY_SEGMENTS);
    }
}
