//! D4RL's recipes: behaviour policies rolled out into files of D4RL's layout.
//!
//! | level | rows | by D4RL's recipe | here |
//! |---|---|---|---|
//! | medium | `rows` | one early-stopped stochastic SAC policy | the same |
//! | medium-replay | 20, 40, 30 % of `rows` for halfcheetah, hopper, walker2d | the replay buffer up to medium | rollouts of the policies SAC had on the way there, in order, with the uniformly random start |
//! | medium-expert | up to `2 rows` | medium up to its last finished episode, then expert | the same, with the best policy trained so far as expert |
//!
//! Other levels have no recipe here and are refused ([`CollectError::NoRecipe`]):
//! their data are D4RL's official files only.
//!
//! The stand-in for the replay buffer keeps its mixture of policies but not its
//! exact rows: the buffer itself would have to be committed or SAC trained
//! again on every user's machine. Files say so in their metadata, and they are
//! named and labelled local everywhere.

use std::{fs, path::Path};

use spar_core::{
    DatasetIdentity, EnvId, Level, Policy, Stream, TaskId, files::in_file, sha256_hex,
};
use spar_data::{MetaValue, Row, Writer, local_metadata};
use spar_env::Env;

use crate::{CollectError, card::Card};

/// Version of the recipes: part of every file's metadata, so that a file made
/// by an older recipe is not taken for a new one.
pub const RECIPE_VERSION: u32 = 1;

/// Rows of the local file of `task` at scale `rows`, which is the size of
/// `medium`: D4RL's proportions. For medium-expert it is the most there can be.
pub fn rows_of(task: TaskId, rows: usize) -> usize {
    match (task.level, task.env) {
        (Level::Random | Level::Medium | Level::FullReplay | Level::Expert, _) => rows,
        (Level::MediumExpert, _) => 2 * rows,
        (Level::MediumReplay, EnvId::HalfCheetah) => rows / 5,
        (Level::MediumReplay, EnvId::Hopper) => rows * 2 / 5,
        (Level::MediumReplay, _) => rows * 3 / 10,
    }
}

/// The metadata of a local file: what it was made from. Two files with equal
/// metadata hold the same rows on the same machine.
///
/// # Errors
/// If the behaviour policies' card cannot be read.
pub fn metadata(
    task: TaskId,
    rows: usize,
    seed: u64,
    behavior: &Path,
) -> Result<std::collections::BTreeMap<String, MetaValue>, CollectError> {
    let card = Card::read(behavior, task.env)?;
    let mut metadata = local_metadata(task);
    let (names, policies) = policies_of(task, &card)?;
    let mut bytes = Vec::new();
    for name in &names {
        let path = Card::folder(behavior, task.env).join(format!("{name}.safetensors"));
        bytes.extend(fs::read(&path).map_err(|e| in_file(e, &path))?);
    }
    let mut text = |key: &str, value: String| {
        metadata.insert(key.to_owned(), MetaValue::Text(value));
    };
    text("algorithm", "SAC".to_owned());
    text("spar_policies", policies);
    text("spar_policies_sha256", sha256_hex(&bytes));
    text("spar_rows", rows.to_string());
    text("spar_seed", seed.to_string());
    text("spar_recipe", RECIPE_VERSION.to_string());
    text("spar_physics", spar_env::physics_version(task.env)?);
    Ok(metadata)
}

/// Names of the policies that make data of `task`, in the order they act, and
/// what the file's metadata say of them.
fn policies_of(task: TaskId, card: &Card) -> Result<(Vec<String>, String), CollectError> {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Ok(match task.level {
        Level::Random | Level::FullReplay | Level::Expert => {
            return Err(CollectError::NoRecipe { task });
        }
        Level::Medium => (
            names(&["medium"]),
            format!("medium: SAC at step {}", card.medium.step),
        ),
        Level::MediumExpert => (
            names(&["medium", "expert"]),
            format!(
                "medium: SAC at step {}; then the best policy so far: SAC at step {}",
                card.medium.step, card.expert.step
            ),
        ),
        Level::MediumReplay => (
            (0..card.replay_steps.len())
                .map(|i| format!("replay-{i}"))
                .collect(),
            format!(
                "stand-in for the replay buffer up to step {}: {} uniformly random steps' share, \
                 then SAC at steps {:?}",
                card.medium.step, card.config.start_steps, card.replay_steps
            ),
        ),
    })
}

/// Rolls out the data of `task` at scale `rows` from `seed` into `out`, with
/// the behaviour policies below the folder `behavior`.
///
/// # Errors
/// If a policy is missing, an environment fails or the file cannot be written;
/// nothing half-written stays.
pub fn generate(
    task: TaskId,
    rows: usize,
    seed: u64,
    behavior: &Path,
    out: &Path,
) -> Result<DatasetIdentity, CollectError> {
    let card = Card::read(behavior, task.env)?;
    let mut roller = Roller::new(task, seed, &metadata(task, rows, seed, behavior)?, out)?;
    match task.level {
        Level::Random | Level::FullReplay | Level::Expert => {
            return Err(CollectError::NoRecipe { task });
        }
        Level::Medium => {
            roller.roll("medium", &card.policy(behavior, "medium")?, rows, Tail::Cut)?;
        }
        Level::MediumExpert => {
            roller.roll(
                "medium",
                &card.policy(behavior, "medium")?,
                rows,
                Tail::LeaveOut,
            )?;
            let rest = 2 * rows - roller.written();
            roller.roll("expert", &card.policy(behavior, "expert")?, rest, Tail::Cut)?;
        }
        Level::MediumReplay => {
            let total = rows_of(task, rows);
            let random = total * card.config.start_steps / card.medium.step.max(1);
            roller.roll("random", &UniformPolicy(task.env), random, Tail::Finish)?;
            let (names, _) = policies_of(task, &card)?;
            for (i, name) in names.iter().enumerate() {
                let until = random + (total - random) * (i + 1) / names.len();
                let count = until.saturating_sub(roller.written());
                let tail = if i + 1 == names.len() {
                    Tail::Cut
                } else {
                    Tail::Finish
                };
                roller.roll(name, &card.policy(behavior, name)?, count, tail)?;
            }
        }
    }
    Ok(roller.writer.finish()?)
}

/// Uniformly random actions: what SAC's replay buffer starts with.
struct UniformPolicy(EnvId);

impl Policy for UniformPolicy {
    fn obs_dim(&self) -> usize {
        self.0.obs_dim()
    }

    fn act_dim(&self) -> usize {
        self.0.act_dim()
    }

    fn act(&self, _obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        let rows = actions.chunks_exact_mut(self.act_dim());
        for (action, stream) in rows.zip(streams) {
            stream.fill_uniform(-1.0, 1.0, action);
        }
    }
}

/// What becomes of the episode that reaches the number of rows asked for.
#[derive(Clone, Copy, PartialEq)]
enum Tail {
    /// It is cut where the file ends, unfinished, as in D4RL's files.
    Cut,
    /// It is finished, beyond the number asked for.
    Finish,
    /// It is left out.
    LeaveOut,
}

/// One recorded step, owned.
struct Recorded {
    obs: Vec<f32>,
    action: Vec<f32>,
    reward: f32,
    terminal: bool,
    next_obs: Vec<f32>,
    qpos: Vec<f64>,
    qvel: Vec<f64>,
}

/// Rolls policies out into one file.
struct Roller {
    task: TaskId,
    seed: u64,
    env: Box<dyn Env>,
    writer: Writer,
}

impl Roller {
    fn new(
        task: TaskId,
        seed: u64,
        metadata: &std::collections::BTreeMap<String, MetaValue>,
        out: &Path,
    ) -> Result<Self, CollectError> {
        let env = spar_env::make(task.env)?;
        let (obs, act) = (task.env.obs_dim(), task.env.act_dim());
        let writer = Writer::create(out, obs, act, env.nq(), env.nv(), metadata)?;
        Ok(Self {
            task,
            seed,
            env,
            writer,
        })
    }

    fn written(&self) -> usize {
        self.writer.rows()
    }

    /// Writes episodes of `policy` until there are `rows` rows of it, the last
    /// as `tail` says. Episode `i` of policy `name` draws from streams of its
    /// own, so files of one seed share their medium episodes.
    fn roll(
        &mut self,
        name: &str,
        policy: &dyn Policy,
        rows: usize,
        tail: Tail,
    ) -> Result<(), CollectError> {
        let end = self.written() + rows;
        for episode in 0.. {
            if self.written() >= end {
                break;
            }
            let mut steps = self.episode(name, policy, episode)?;
            let left = end - self.written();
            match tail {
                Tail::LeaveOut if steps.len() > left => break,
                Tail::Cut => steps.truncate(left),
                _ => {}
            }
            for (i, step) in steps.iter().enumerate() {
                self.writer.push(&Row {
                    obs: &step.obs,
                    action: &step.action,
                    reward: step.reward,
                    terminal: step.terminal,
                    timeout: i + 1 == self.task.env.horizon() && !step.terminal,
                    next_obs: &step.next_obs,
                    qpos: &step.qpos,
                    qvel: &step.qvel,
                })?;
            }
        }
        Ok(())
    }

    fn episode(
        &mut self,
        name: &str,
        policy: &dyn Policy,
        index: usize,
    ) -> Result<Vec<Recorded>, CollectError> {
        let id = self.task.env;
        let stream = |what| Stream::new(self.seed, &format!("data/{id}/{name}/{index}/{what}"));
        let mut noise = [stream("policy")];
        self.env.reset(&mut stream("reset"))?;
        let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let mut steps = Vec::new();
        let mut obs = narrow(self.env.obs());
        while steps.len() < id.horizon() {
            let mut action = vec![0.0; id.act_dim()];
            policy.act(&obs, &mut noise, &mut action);
            let (qpos, qvel) = (self.env.qpos().to_vec(), self.env.qvel().to_vec());
            let outcome = self.env.step(&action)?;
            let next_obs = narrow(self.env.obs());
            steps.push(Recorded {
                obs: std::mem::replace(&mut obs, next_obs.clone()),
                action,
                reward: outcome.reward as f32,
                terminal: outcome.terminal,
                next_obs,
                qpos,
                qvel,
            });
            if outcome.terminal {
                break;
            }
        }
        Ok(steps)
    }
}
