//! Data of adroit by D4RL's recipe: the published experts, acting with the noise they were
//! trained with.
//!
//! `scripts/generation/hand_dapg_policies.py` of github.com/Farama-Foundation/D4RL at 89141a6
//! (studied, not copied): 5,000 episodes of each task, so half as many rows of pen, whose
//! horizon is half the others'. An action is the sampled one within its bounds. D4RL's
//! reference returns are those of the same noisy actions, whatever its scripts call them. What
//! an action was drawn from is in the file too, as in D4RL's: `infos/action_mean`, before any
//! bound, and `infos/action_log_std`.
//!
//! **The policies are third-party data** and not in this repository: the DAPG policies of
//! github.com/aravindr93/hand_dapg at 9a1de23, in the folder that `SPAR_UPSTREAM_DIR` names.

use std::{collections::BTreeMap, path::Path};

use spar_core::{EnvId, Policy, Stream, TaskId};
use spar_data::MetaValue;
use spar_nn::{Activation, RowMlp, RowWork};

use crate::{
    CollectError,
    facts::{Behavior, EpisodeFacts},
    recipe::{self, Generated},
    roll::{Stage, Tail},
    upstream::{Upstream, Weights},
};

/// Who acts, in the file's metadata and its card.
pub(crate) const BEHAVIOR: &str = "DAPG's expert";

const fn policy(file: &'static str, sha256: &'static str) -> Upstream {
    Upstream {
        file,
        sha256,
        instead: "",
    }
}

/// The policy of each environment.
#[rustfmt::skip] // a table: one row a file
const POLICIES: [(&str, Upstream); 4] = [
    ("pen", policy("hand_dapg/policies/pen-v0.safetensors", "b100193d41cfe97d5bd519af60c3ab42446f0e4156cba217bf1c067f9d88471c")),
    ("door", policy("hand_dapg/policies/door-v0.safetensors", "d2b39e323fb4f20efcc5282ad1e03daa8d6fe0af928c72ad0a0681ebefe8b9ba")),
    ("hammer", policy("hand_dapg/policies/hammer-v0.safetensors", "b6982fe903f751b565a637f8cb54cfd2a19ff991ba8a148041cd83fdb3ff22a3")),
    ("relocate", policy("hand_dapg/policies/relocate-v0.safetensors", "bb5158d968571af32b1c2b7bb8fa8bda7a5f99b6380e2a27e8e4be072cf5e36e")),
];

/// What a file has of each action beside it, in `infos`.
pub(crate) const INFOS: [&str; 2] = ["action_mean", "action_log_std"];

/// Added to the deviations that observations are divided by, as in mjrl.
const SCALE_EPS: f32 = 1e-8;

/// A Gaussian policy of mjrl's: two layers of tanh over scaled observations give the mean,
/// and the noise is the same in every state.
#[derive(Clone, Debug, PartialEq)]
pub struct Expert {
    net: RowMlp,
    in_shift: Vec<f32>,
    in_scale: Vec<f32>,
    out_shift: Vec<f32>,
    out_scale: Vec<f32>,
    log_std: Vec<f32>,
    std: Vec<f32>,
}

impl Expert {
    /// Reads the expert of `env` from the folder that `SPAR_UPSTREAM_DIR` names.
    ///
    /// # Errors
    /// If there is none for `env`, the variable is not set, or the file is missing or is
    /// another one.
    pub fn of(env: EnvId) -> Result<Self, CollectError> {
        let found = POLICIES.iter().find(|(name, _)| *name == env.name());
        let Some((_, file)) = found else {
            return Err(CollectError::Policy {
                file: env.to_string(),
                why: "there is a published expert of pen, door, hammer and relocate only".into(),
            });
        };
        let (path, bytes) = file.read()?;
        let weights = Weights::of(&path, &bytes)?;
        let log_std = weights.values("log_std")?;
        Ok(Self {
            net: RowMlp {
                input_norm: None,
                layers: vec![
                    weights.linear(&["fc0"])?,
                    weights.linear(&["fc1"])?,
                    weights.linear(&["fc2"])?,
                ],
                hidden: Activation::Tanh,
                output: Activation::Identity,
            },
            in_shift: weights.values("in_shift")?,
            in_scale: weights.values("in_scale")?,
            out_shift: weights.values("out_shift")?,
            out_scale: weights.values("out_scale")?,
            std: log_std.iter().map(|x| x.exp()).collect(),
            log_std,
        })
    }

    /// The mean of its actions at `obs`, `[n, obs_dim]`, before any bound: `[n, act_dim]`.
    pub fn means(&self, obs: &[f32]) -> Vec<f32> {
        let mut means = vec![0.0; obs.len() / self.obs_dim() * self.act_dim()];
        self.means_into(obs, &mut means);
        means
    }

    /// Logarithms of the noise's deviations, `[act_dim]`, the same in every state.
    pub fn log_std(&self) -> &[f32] {
        &self.log_std
    }

    fn means_into(&self, obs: &[f32], means: &mut [f32]) {
        let scales = self.in_shift.iter().zip(&self.in_scale).cycle();
        let scaled = obs.iter().zip(scales);
        let scaled = scaled.map(|(x, (shift, scale))| (x - shift) / (scale + SCALE_EPS));
        let scaled: Vec<f32> = scaled.collect();
        self.net.rows(&scaled, &mut RowWork::default(), means);
        for row in means.chunks_exact_mut(self.act_dim()) {
            for (i, a) in row.iter_mut().enumerate() {
                *a = *a * self.out_scale[i] + self.out_shift[i];
            }
        }
    }

    /// The same policy acting by its mean.
    #[must_use]
    pub fn deterministic(mut self) -> Self {
        self.std.fill(0.0);
        self
    }
}

impl Policy for Expert {
    fn obs_dim(&self) -> usize {
        self.in_shift.len()
    }

    fn act_dim(&self) -> usize {
        self.out_shift.len()
    }

    fn act(&self, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        self.means_into(obs, actions);
        let rows = actions.chunks_exact_mut(self.act_dim());
        for (row, stream) in rows.zip(streams) {
            for (i, a) in row.iter_mut().enumerate() {
                let noise = self.std[i] * stream.normal() as f32;
                *a = (*a + noise).clamp(-1.0, 1.0);
            }
        }
    }
}

/// Whether `env` is one of the four.
pub(crate) fn is_simulated(env: EnvId) -> bool {
    POLICIES.iter().any(|(name, _)| *name == env.name())
}

/// Whether `task` is one of an expert's data.
pub(crate) fn is_expert(task: TaskId) -> bool {
    let env = task.env();
    is_simulated(env) && task.name().strip_prefix(env.name()) == Some("-expert")
}

/// Rows of as many episodes of `env` as `rows` are of an environment with the usual horizon.
pub(crate) fn scaled(env: EnvId, rows: usize) -> usize {
    const USUAL_HORIZON: usize = 200;
    rows * env.horizon() / USUAL_HORIZON
}

/// Rows of the local file of `task` at scale `rows`; `None` if there is no recipe for it.
pub(crate) fn rows_of(task: TaskId, rows: usize) -> Option<usize> {
    is_expert(task).then(|| scaled(task.env(), rows))
}

/// The metadata of a local file; see [`crate::recipe::metadata`].
pub(crate) fn metadata(
    task: TaskId,
    rows: usize,
    seed: u64,
) -> Result<BTreeMap<String, MetaValue>, CollectError> {
    let mut metadata = recipe::made_from(task, rows, seed)?;
    let mut text = |key: &str, value: String| {
        metadata.insert(key.to_owned(), MetaValue::Text(value));
    };
    let policy = POLICIES.iter().find(|(name, _)| *name == task.env().name());
    text("algorithm", BEHAVIOR.to_owned());
    text("spar_infos", INFOS.join(", "));
    if let Some((_, file)) = policy {
        text("spar_policies_sha256", file.sha256.to_owned());
    }
    Ok(metadata)
}

/// Plays the expert's data of `task` at scale `rows` into `out`.
pub(crate) fn generate(
    task: TaskId,
    rows: usize,
    seed: u64,
    out: &Path,
    threads: usize,
) -> Result<Generated, CollectError> {
    let env = task.env();
    let total = rows_of(task, rows).ok_or(CollectError::NoRecipe(task))?;
    let expert = Expert::of(env)?;
    let stages = [Stage {
        name: BEHAVIOR.to_owned(),
        policy: Box::new(expert.clone()),
        until: total,
        tail: Tail::Cut,
    }];
    let mut writer = recipe::writer(env, out, &metadata(task, rows, seed)?)?;
    for name in INFOS {
        writer = writer.with_info(name, env.act_dim())?;
    }
    let mut episodes = Vec::new();
    recipe::rolled(env, seed, &stages, threads, |steps| {
        episodes.push(EpisodeFacts::of(&steps, env.horizon()));
        let cut = steps.len() == env.horizon() && !steps.terminal;
        let means = expert.means(&steps.obs[..steps.len() * env.obs_dim()]);
        let spread = expert.log_std().repeat(steps.len());
        recipe::write(&mut writer, env, &steps, cut, &[&means, &spread])
    })?;
    let identity = writer.finish()?;
    let behavior = vec![Behavior::of(BEHAVIOR, 0, &episodes)];
    Ok(Generated {
        identity,
        episodes,
        behavior,
        policies: None,
    })
}
