//! What makes an estimate doubtful: errors of its equation, and actions that no data show.

use spar_core::{
    Stream,
    ope::{Support, TdErrors},
};
use spar_stats::{mean, std};

use crate::{config::FqeConfig, error::OpeError, evaluate::Ground, fqe::Fqe};

/// Most transitions that errors are taken over.
const MOST: usize = 20_000;

/// Rows that pass through the networks together.
const ROWS: usize = 4096;

impl Ground<'_> {
    /// Temporal-difference errors of the estimators' mean on the transitions `of`, on
    /// so many drawn from the stream `ope/diagnostics/<name>` where there are more.
    pub(crate) fn td_errors(
        &self,
        estimators: &[Fqe],
        of: &[usize],
        name: &str,
        config: &FqeConfig,
    ) -> Result<TdErrors, OpeError> {
        let mut chosen = of.to_vec();
        if chosen.len() > MOST {
            let mut stream = Stream::new(config.seed, &format!("ope/diagnostics/{name}"));
            for place in 0..MOST {
                let drawn = place + stream.index(chosen.len() - place);
                chosen.swap(place, drawn);
            }
            chosen.truncate(MOST);
        }
        let data = self.data;
        let (mut errors, mut values) = (Vec::new(), Vec::new());
        for some in chosen.chunks(ROWS) {
            let mut q = vec![0.0; some.len()];
            let mut next_q = vec![0.0; some.len()];
            let draws = self.policy.draws();
            let (mut obs, mut next_obs, mut taken) = (Vec::new(), Vec::new(), Vec::new());
            for &i in some {
                obs.extend_from_slice(data.obs(i));
                next_obs.extend_from_slice(data.next_obs(i));
                taken.extend_from_slice(self.taken(data.row(i)));
            }
            self.normalizer.apply(&mut obs);
            self.normalizer.apply(&mut next_obs);
            for draw in 0..draws {
                let next: Vec<f32> = some
                    .iter()
                    .flat_map(|&i| self.policy.next(draw, i))
                    .copied()
                    .collect();
                let share = 1.0 / (estimators.len() * draws) as f64;
                for fqe in estimators {
                    add(
                        &mut next_q,
                        share,
                        &fqe.values(&next_obs, &next, some.len())?,
                    );
                }
            }
            for fqe in estimators {
                let share = 1.0 / estimators.len() as f64;
                add(&mut q, share, &fqe.values(&obs, &taken, some.len())?);
            }
            for ((&i, q), next_q) in some.iter().zip(&q).zip(&next_q) {
                let future = match data.terminal(i) {
                    true => 0.0,
                    false => config.discount * next_q,
                };
                errors.push(f64::from(data.reward(i)) + future - q);
                values.push(*q);
            }
        }
        let squares = errors.iter().map(|e| e * e).sum::<f64>();
        Ok(TdErrors {
            transitions: errors.len(),
            mean: mean(&errors),
            rms: (squares / errors.len() as f64).sqrt(),
            value_mean: mean(&values),
            value_std: std(&values, 0),
        })
    }

    /// The policy's actions beside the data's, on the rows held out, or on all.
    pub(crate) fn support(&self) -> Support {
        let width = self.data.act_dim();
        let all = self.data.dataset().rows();
        let rows: Vec<usize> = match self.held_rows.is_empty() {
            true => (0..all).collect(),
            false => self.held_rows.iter().cloned().flatten().collect(),
        };
        let mut range = vec![(f32::INFINITY, f32::NEG_INFINITY); width];
        let mut center = vec![0f64; width];
        for taken in self.taken.chunks_exact(width) {
            for (((low, high), sum), &a) in range.iter_mut().zip(&mut center).zip(taken) {
                (*low, *high) = (low.min(a), high.max(a));
                *sum += f64::from(a) / all as f64;
            }
        }
        let draws = self.policy.draws();
        let (mut distance, mut spread, mut outside) = (0.0, 0.0, 0usize);
        for &row in &rows {
            let taken = self.taken(row);
            for (&a, center) in taken.iter().zip(&center) {
                spread += (f64::from(a) - center).powi(2);
            }
            for draw in 0..draws {
                for ((&a, &b), &(low, high)) in
                    self.policy.at(draw, row).iter().zip(taken).zip(&range)
                {
                    distance += (f64::from(a) - f64::from(b)).powi(2);
                    outside += usize::from(a < low || a > high);
                }
            }
        }
        let components = (rows.len() * width) as f64;
        let of_policy = components * draws as f64;
        Support {
            rows: rows.len(),
            distance: (distance / of_policy).sqrt(),
            spread: (spread / components).sqrt(),
            outside: outside as f64 / of_policy,
        }
    }
}

/// Adds `share` of `values` to `sums`.
fn add(sums: &mut [f64], share: f64, values: &[f64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += share * value;
    }
}
