//! Episodes that are kept apart from training, so that a policy that can be played nowhere
//! can be validated on what it was not trained on.

use std::ops::Range;

use spar_core::Stream;

use crate::dataset::{Dataset, Ends};

/// An episode of a data file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldOut {
    /// Its number in the file, from 0.
    pub episode: usize,
    /// Its rows.
    pub rows: Range<usize>,
}

/// The episodes of `data` to hold out, by rising number: `fraction` of them, drawn from
/// `stream` without replacement. If there are two or more and the fraction is not 0, at
/// least one is held out and one is left; of a single one, none is. `horizon` is that of
/// [`Dataset::episodes`].
pub fn held_out(
    data: &Dataset,
    horizon: usize,
    fraction: f64,
    stream: &mut Stream,
) -> Vec<HeldOut> {
    let mut episodes: Vec<HeldOut> = data
        .episodes(horizon)
        .enumerate()
        .map(|(episode, found)| HeldOut {
            episode,
            rows: found.rows,
        })
        .collect();
    let all = episodes.len();
    let count = match fraction > 0.0 && all > 1 {
        true => ((fraction * all as f64).round() as usize).clamp(1, all - 1),
        false => 0,
    };
    for place in 0..count {
        let drawn = place + stream.index(all - place);
        episodes.swap(place, drawn);
    }
    episodes.truncate(count);
    episodes.sort_unstable_by_key(|held| held.episode);
    episodes
}

impl Dataset {
    /// The data without the episodes `held`, given in the file's order: nothing of them is
    /// left, in observations, rewards or returns.
    pub fn without(&self, held: &[HeldOut]) -> Self {
        let mut kept: Vec<Range<usize>> = Vec::with_capacity(held.len() + 1);
        let mut start = 0;
        for held in held {
            kept.push(start..held.rows.start);
            start = held.rows.end;
        }
        kept.push(start..self.rows());
        kept.retain(|rows| !rows.is_empty());
        let nums = |values: &[f32], width: usize| floats(&kept, values, width);
        let flags = |values: &[bool]| -> Vec<bool> {
            let parts = kept.iter().map(|rows| &values[rows.clone()]);
            parts.flatten().copied().collect()
        };
        let state = |values: &Option<Vec<f64>>| {
            let width = |values: &Vec<f64>| values.len() / self.rows();
            values.as_ref().map(|v| floats(&kept, v, width(v)))
        };
        let ends = |ends: &Option<Ends>| ends.as_ref().map(|ends| ends_in(&kept, ends));
        Self {
            obs_dim: self.obs_dim,
            act_dim: self.act_dim,
            observations: nums(&self.observations, self.obs_dim),
            actions: nums(&self.actions, self.act_dim),
            rewards: nums(&self.rewards, 1),
            rewarded: self.rewarded,
            terminals: flags(&self.terminals),
            timeouts: self.timeouts.as_deref().map(flags),
            past_terminals: self.past_terminals,
            next_observations: self
                .next_observations
                .as_ref()
                .map(|next| nums(next, self.obs_dim)),
            next: self.next,
            breaks: ends(&self.breaks),
            ends: ends(&self.ends),
            qpos: state(&self.qpos),
            qvel: state(&self.qvel),
            action_bounds: self.action_bounds.clone(),
            metadata: self.metadata.clone(),
            identity: self.identity.clone(),
            notes: self.notes.clone(),
        }
    }
}

fn floats<T: Copy>(kept: &[Range<usize>], values: &[T], width: usize) -> Vec<T> {
    let parts = kept
        .iter()
        .map(|rows| &values[rows.start * width..rows.end * width]);
    parts.flatten().copied().collect()
}

/// `ends` of the rows `kept` alone, counted among those.
fn ends_in(kept: &[Range<usize>], ends: &Ends) -> Ends {
    let (mut stops, mut observations) = (Vec::new(), Vec::new());
    let mut before = 0;
    for rows in kept {
        for stop in rows.start + 1..=rows.end {
            if let Some(observation) = ends.after(stop - 1) {
                stops.push(before + stop - rows.start);
                observations.extend_from_slice(observation);
            }
        }
        before += rows.len();
    }
    Ends {
        stops,
        observations,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::*;
    use crate::{dataset::Steps, transitions::Transitions};

    /// Episodes of these lengths, alternately terminated and cut; every number says its row.
    fn data(lengths: &[usize]) -> Dataset {
        let mut steps = Steps::default();
        for (episode, &length) in lengths.iter().enumerate() {
            for step in 1..=length {
                let row = steps.rewards.len() as f32;
                steps.observations.push(row);
                steps.actions.push(-row);
                steps.rewards.push(row);
                steps.terminals.push(step == length && episode % 2 == 0);
                steps.timeouts.push(step == length && episode % 2 == 1);
            }
        }
        Dataset::in_memory("mine", 1, 1, steps).unwrap()
    }

    #[test]
    fn a_share_of_the_episodes_is_held_out_the_same_with_the_same_stream() {
        let of = |episodes: usize, fraction, seed| {
            let data = data(&vec![3; episodes]);
            held_out(&data, 1000, fraction, &mut Stream::new(seed, "held-out"))
        };
        for (episodes, fraction, count) in [
            (1, 0.1, 0),
            (2, 0.1, 1),
            (3, 0.1, 1),
            (20, 0.1, 2),
            (20, 0.99, 19),
            (20, 0.0, 0),
        ] {
            assert_eq!(
                of(episodes, fraction, 0).len(),
                count,
                "{episodes} {fraction}"
            );
        }
        assert_eq!(of(20, 0.25, 1), of(20, 0.25, 1));
        let drawn: BTreeSet<usize> = (0..100)
            .flat_map(|seed| of(20, 0.1, seed))
            .map(|held| held.episode)
            .collect();
        assert_eq!(drawn.len(), 20, "every episode can be held out");
    }

    #[test]
    fn nothing_of_an_episode_held_out_is_left() {
        let all = Arc::new(data(&[3, 4, 2, 5, 3]));
        let held: Vec<HeldOut> = all
            .episodes(1000)
            .enumerate()
            .filter(|(episode, _)| [1, 4].contains(episode))
            .map(|(episode, found)| HeldOut {
                episode,
                rows: found.rows,
            })
            .collect();
        let rest = all.without(&held);
        let gone: Vec<f32> = (3..7).chain(14..17).map(|row| row as f32).collect();
        assert!(rest.observations.iter().all(|x| !gone.contains(x)));
        let lengths: Vec<usize> = rest.episodes(1000).map(|e| e.rows.len()).collect();
        assert_eq!(lengths, [3, 2, 5]);
        // No transition leads from one episode into another but at a terminal.
        let transitions = Transitions::new(Arc::new(rest), 1000).unwrap();
        assert!(transitions.len() > 5);
        for i in 0..transitions.len() {
            let step = transitions.next_obs(i)[0] - transitions.obs(i)[0];
            assert!(step == 1.0 || transitions.terminal(i), "{i}");
        }
    }

    #[test]
    fn ends_of_the_layout_are_counted_among_what_is_left() {
        let mut all = data(&[2, 3, 2]);
        all.timeouts = None;
        all.terminals = vec![false; 7];
        all.ends = Some(Ends {
            stops: vec![2, 5, 7],
            observations: vec![10.0, 20.0, 30.0],
        });
        let rest = all.without(&[HeldOut {
            episode: 0,
            rows: 0..2,
        }]);
        let ends = rest.ends.as_ref().unwrap();
        assert_eq!(
            (&*ends.stops, &*ends.observations),
            (&[3, 5][..], &[20.0, 30.0][..])
        );
        assert_eq!(rest.observations, [2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(rest.end_after(2), Some(&[20.0][..]));
    }
}
