//! A frozen policy of a file in the place of SPAR's anchor.
//!
//! What it does is a function of the data: its actions are computed once, for every
//! transition, and looked up in every update. The policy that is trained around it holds
//! it, and acts by itself.
//!
//! One that draws its action does so several times in each state ([`AnchorConfig::draws`]),
//! and the draw nearest to the data's action is the one that is rectified there: the residual
//! `a - b` from a draw that knows nothing of the action is larger than what there is to
//! rectify, and undoes a part of the draw. In the state after a transition the one draw is
//! that of acting.

use std::{path::Path, ptr};

use spar_anchor::AnchorConfig;
use spar_core::{ActionBounds, files::in_file, sha256_file};
use spar_data::Transitions;
use spar_nn::{BaseActions, Device, Result as TensorResult, Tensor};
use spar_policy::{Policy, file_of, import};

use crate::{error::TrainError, spec::Method};

/// A policy, and what it does in every state of the data.
pub(crate) struct Given {
    policy: Policy,
    /// In the state before each transition, the nearest of its draws, `[transitions, act_dim]`.
    at: Vec<f32>,
    /// In the state after it.
    next: Vec<f32>,
}

/// The error of the policy in `file`.
fn unfit(file: &Path, why: String) -> TrainError {
    TrainError::AnchorFile {
        file: file.to_owned(),
        why,
    }
}

/// Records which file `config` names, where it names one.
///
/// # Errors
/// If the file cannot be read, or is not the one recorded before.
pub(crate) fn pin(config: &mut AnchorConfig) -> Result<(), TrainError> {
    let Some(file) = &config.file else {
        return Ok(());
    };
    let file = file_of(Path::new(file))?;
    let found = sha256_file(&file).map_err(|e| in_file(e, &file))?;
    match &config.sha256 {
        Some(recorded) if *recorded != found => Err(unfit(
            &file,
            format!("its SHA-256 is {found}, expected {recorded}: another policy is another run"),
        )),
        _ => {
            config.sha256 = Some(found);
            Ok(())
        }
    }
}

/// Refuses a method that would not know what to do with a policy of a file.
pub(crate) fn check_method(config: &AnchorConfig, method: Method) -> Result<(), TrainError> {
    if config.file.is_some() && method.anchored() && method != Method::Spar {
        return Err(TrainError::Config(format!(
            "`anchor.file` is spar's, and the method is {}; leave it out",
            method.name()
        )));
    }
    Ok(())
}

/// Refuses a policy of other widths than the data's.
///
/// # Errors
/// What they are, in words.
pub(crate) fn check_widths(policy: &Policy, data: &Transitions) -> Result<(), String> {
    let (obs, act) = (policy.obs_dim(), policy.act_dim());
    if (obs, act) == (data.obs_dim(), data.act_dim()) {
        return Ok(());
    }
    Err(format!(
        "maps {obs} observations to {act} actions, the data have {} and {}",
        data.obs_dim(),
        data.act_dim()
    ))
}

/// Puts each action of `other` in the place of that of `nearest` if it is nearer to the one of
/// `actions`, all `[rows, width]`.
fn keep_nearer(nearest: &mut [f32], other: &[f32], actions: &[f32], width: usize) {
    let distance = |b: &[f32], a: &[f32]| -> f32 {
        let apart = b.iter().zip(a).map(|(b, a)| b - a);
        apart.map(|x| x * x).sum()
    };
    let rows = other.chunks(width).zip(actions.chunks(width));
    for (nearest, (other, action)) in nearest.chunks_mut(width).zip(rows) {
        if distance(other, action) < distance(nearest, action) {
            nearest.copy_from_slice(other);
        }
    }
}

impl Given {
    /// The policy that `config` names, where it names one, in every state of `data`.
    ///
    /// # Errors
    /// If the file cannot be read, is not the one recorded or no policy, or if the policy
    /// does not fit the data.
    pub(crate) fn of(
        config: &AnchorConfig,
        data: &Transitions,
    ) -> Result<Option<Self>, TrainError> {
        let Some(file) = &config.file else {
            return Ok(None);
        };
        pin(&mut config.clone())?;
        let file = file_of(Path::new(file))?;
        let place = import::Place {
            name: "the data".to_owned(),
            obs_dim: data.obs_dim(),
            act_dim: data.act_dim(),
        };
        let options = import::Options {
            place: Some(place),
            ..import::Options::default()
        };
        // A network under another program's names is that network, also of other widths,
        // which are told of below; what is neither is told of as a policy file.
        let policy = Policy::load(&file).or_else(|error| {
            let imported = import::load(&file, &options)
                .or_else(|_| import::load(&file, &import::Options::default()));
            imported.map(|(policy, _)| policy).map_err(|_| error)
        })?;
        check_widths(&policy, data)
            .and_then(|()| Self::on(policy, config.draws.unwrap_or(1), data))
            .map(Some)
            .map_err(|why| unfit(&file, why))
    }

    /// `policy` in every state of `data`; if it draws, the nearest of so many `draws`.
    ///
    /// # Errors
    /// Why it cannot act there, in words.
    pub(crate) fn on(policy: Policy, draws: usize, data: &Transitions) -> Result<Self, String> {
        let set = data.dataset();
        let width = data.act_dim();
        let mut of_rows = vec![0.0; set.rows() * width];
        policy.base_actions(&set.observations, &mut of_rows);
        let mut nearest = of_rows.clone();
        // Of a policy that does not draw each would be the same.
        if policy.draws() {
            let mut other = vec![0.0; of_rows.len()];
            for draw in 1..draws {
                policy.base_draw(draw, &set.observations, &mut other);
                keep_nearer(&mut nearest, &other, &set.actions, width);
            }
        }
        let row_of = |row: usize| row * width..(row + 1) * width;
        let (mut at, mut next) = (Vec::new(), Vec::new());
        for i in 0..data.len() {
            let row = data.row(i);
            at.extend_from_slice(&nearest[row_of(row)]);
            // Most often the next row's own observation; not where an episode was cut and
            // the file knows what came after.
            let after = data.next_obs(i);
            let follows = row + 1 < set.rows() && ptr::eq(after, set.observation(row + 1));
            let end = next.len() + width;
            if follows {
                next.extend_from_slice(&of_rows[row_of(row + 1)]);
            } else {
                next.resize(end, 0.0);
                policy.base_actions(after, &mut next[end - width..]);
            }
        }
        for (i, action) in at.chunks(width).zip(next.chunks(width)).enumerate() {
            let (at, next) = action;
            if at.iter().chain(next).any(|a| !a.is_finite()) {
                let row = data.row(i);
                return Err(format!(
                    "its action in or after row {row} of the data is not finite"
                ));
            }
        }
        Ok(Self { policy, at, next })
    }

    /// The policy.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Refuses a policy whose actions are in other units than those of a run whose actions
    /// are scaled by `bounds`; `None` stands for `[-1, 1]`.
    pub(crate) fn check_bounds(
        &self,
        config: &AnchorConfig,
        bounds: Option<&ActionBounds>,
    ) -> Result<(), TrainError> {
        let scaled = |bounds: Option<&ActionBounds>| {
            let bounds = bounds.filter(|bounds| !bounds.are_usual());
            bounds.map(|bounds| bounds.components().to_vec())
        };
        let (own, wanted) = (scaled(self.policy.action_bounds()), scaled(bounds));
        if own == wanted {
            return Ok(());
        }
        let shown = |bounds: Option<Vec<(f32, f32)>>| match bounds {
            None => "[-1, 1]".to_owned(),
            Some(bounds) => format!("{bounds:?}"),
        };
        Err(unfit(
            Path::new(config.file.as_deref().unwrap_or_default()),
            format!(
                "its actions lie in {}, those of the run in {}; give --action-bounds of the policy's",
                shown(own),
                shown(wanted)
            ),
        ))
    }

    /// What the policy does before and after the transitions `index`.
    pub(crate) fn gather(&self, index: &[usize]) -> TensorResult<BaseActions> {
        let width = self.policy.act_dim();
        let rows = |all: &[f32]| {
            let rows = index.iter().flat_map(|i| &all[i * width..(i + 1) * width]);
            let rows: Vec<f32> = rows.copied().collect();
            Tensor::from_vec(rows, (index.len(), width), &Device::Cpu)
        };
        Ok(BaseActions {
            at: rows(&self.at)?,
            next: rows(&self.next)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row by row: the first keeps its draw, the second takes the other, and of two as near
    /// the earlier stays.
    #[test]
    fn the_nearer_of_two_draws_is_kept() {
        let actions = [0.5, 0.5, -1.0, 0.0, 0.0, 0.0];
        let mut nearest = [0.4, 0.5, 1.0, 0.0, 0.1, 0.0];
        let other = [0.5, 0.3, -0.5, 0.5, 0.0, 0.1];
        keep_nearer(&mut nearest, &other, &actions, 2);
        assert_eq!(nearest, [0.4, 0.5, -0.5, 0.5, 0.1, 0.0]);
    }
}
