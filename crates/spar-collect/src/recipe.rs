//! D4RL's recipes: behaviour policies rolled out into files of D4RL's layout.
//!
//! | level | rows | by D4RL's recipe | here |
//! |---|---|---|---|
//! | random | `rows` | a randomly initialized policy | SAC's actor before its first update |
//! | medium | `rows` | one early-stopped stochastic SAC policy | the same |
//! | expert | `rows` | SAC trained to the end | the best policy of the training |
//! | medium-expert | up to `2 rows` | medium up to its last finished episode, then expert | the same |
//! | medium-replay | 20.2, 40.2, 30.2 % of `rows` for halfcheetah, hopper, walker2d | the replay buffer up to medium | rollouts of the policies SAC had on the way there, in order, with the uniformly random start |
//! | full-replay | `rows` | the replay buffer of the whole training | the same of the whole training |
//!
//! The stand-ins for the replay buffer keep its mixture of policies, each with
//! the share of rows its stretch of training had, but not its exact rows: the
//! buffer itself would have to be committed or SAC trained again on every user's
//! machine. Files say so in their metadata, and they are named and labelled local
//! everywhere.

use std::{collections::BTreeMap, fs, path::Path, sync::mpsc::sync_channel, thread};

use spar_core::{
    DatasetIdentity, EnvId, Level, Policy, Stream, TaskId, files::in_file, sha256_hex,
};
use spar_data::{MetaValue, Row, Writer, local_metadata};

use crate::{
    CollectError,
    card::Card,
    facts::{Behavior, EpisodeFacts},
    roll::{Stage, Steps, Tail, play},
    sac::Sac,
};

/// Version of the recipes: part of every file's metadata, so that a file made
/// by an older recipe is not taken for a new one.
pub const RECIPE_VERSION: u32 = 2;

/// Rows of D4RL's `medium` files.
pub const D4RL_ROWS: usize = 1_000_000;

/// Finished episodes that wait to be written: some 16 MB of the widest.
const WAITING: usize = 32;

/// Rows of the local file of `task` at scale `rows`, which is the size of
/// `medium`: D4RL's proportions. For medium-expert it is the most there can be.
pub fn rows_of(task: TaskId, rows: usize) -> usize {
    match (task.level, task.env) {
        (Level::Random | Level::Medium | Level::FullReplay | Level::Expert, _) => rows,
        (Level::MediumExpert, _) => 2 * rows,
        (Level::MediumReplay, EnvId::HalfCheetah) => rows * 202 / 1000,
        (Level::MediumReplay, EnvId::Hopper) => rows * 402 / 1000,
        (Level::MediumReplay, _) => rows * 302 / 1000,
    }
}

/// The metadata of a local file: what it was made from. Two files with equal
/// metadata hold the same rows on the same machine.
///
/// # Errors
/// If the behaviour policies' card or a policy cannot be read.
pub fn metadata(
    task: TaskId,
    rows: usize,
    seed: u64,
    behavior: &Path,
) -> Result<BTreeMap<String, MetaValue>, CollectError> {
    let card = Card::read(behavior, task.env)?;
    let mut metadata = local_metadata(task);
    let mut bytes = Vec::new();
    let mut said = Vec::new();
    for Part { name, about, file } in parts_of(task, &card, behavior) {
        match file {
            Some(path) => bytes.extend(fs::read(&path).map_err(|e| in_file(e, &path))?),
            None => bytes.extend(name.bytes().chain(card.seed.to_le_bytes())),
        }
        said.push(format!("{name}: {about}"));
    }
    let mut text = |key: &str, value: String| {
        metadata.insert(key.to_owned(), MetaValue::Text(value));
    };
    text("algorithm", "SAC".to_owned());
    text("spar_policies", said.join("; "));
    text("spar_policies_sha256", sha256_hex(&bytes));
    text("spar_rows", rows.to_string());
    text("spar_seed", seed.to_string());
    text("spar_recipe", RECIPE_VERSION.to_string());
    text("spar_physics", spar_env::physics_version(task.env)?);
    Ok(metadata)
}

/// One policy of a recipe, in words.
struct Part {
    name: String,
    about: String,
    /// Where it is stored; none for what is made when it is needed.
    file: Option<std::path::PathBuf>,
}

/// The policies that make data of `task`, in the order they act.
fn parts_of(task: TaskId, card: &Card, behavior: &Path) -> Vec<Part> {
    let stored = |name: &str, step: usize| Part {
        name: name.to_owned(),
        about: format!("SAC at step {step}"),
        file: Some(card.policy_file(behavior, name)),
    };
    let medium = || stored("medium", card.medium.step);
    let expert = || stored("expert", card.expert.step);
    let replay = |until: usize| {
        let start = Part {
            name: "uniform".to_owned(),
            about: format!(
                "stand-in for the replay buffer up to step {until}, uniformly random up to step {}",
                card.config.start_steps
            ),
            file: None,
        };
        let segments = card.replay.iter().enumerate();
        let policies =
            segments
                .filter(|(_, segment)| segment.until <= until)
                .map(|(i, segment)| {
                    let mut part = stored(&format!("replay-{i}"), segment.step);
                    part.about = format!("{} up to step {}", part.about, segment.until);
                    part
                });
        [start].into_iter().chain(policies).collect()
    };
    match task.level {
        Level::Random => vec![Part {
            name: "random".to_owned(),
            about: format!("SAC's actor before its first update, seed {}", card.seed),
            file: None,
        }],
        Level::Medium => vec![medium()],
        Level::Expert => vec![expert()],
        Level::MediumExpert => vec![medium(), expert()],
        Level::MediumReplay => replay(card.medium.step),
        Level::FullReplay => replay(card.trained_steps),
    }
}

/// The stages of `task` at scale `rows`: who acts until which row.
fn stages(
    task: TaskId,
    rows: usize,
    card: &Card,
    behavior: &Path,
) -> Result<Vec<Stage>, CollectError> {
    let total = rows_of(task, rows);
    let stage = |name: &str, until: usize, tail: Tail| -> Result<Stage, CollectError> {
        let policy: Box<dyn Policy> = match name {
            "uniform" => Box::new(UniformPolicy(task.env)),
            "random" => Box::new(Sac::new(card.config.clone(), task.env, card.seed)?.policy()?),
            stored => Box::new(card.policy(behavior, stored)?),
        };
        Ok(Stage {
            name: name.to_owned(),
            policy,
            until,
            tail,
        })
    };
    let replay = |steps: usize| -> Result<Vec<Stage>, CollectError> {
        // Each stretch of training has its share of the rows.
        let share = |until: usize| (total as u128 * until as u128 / steps.max(1) as u128) as usize;
        let segments = card.replay.iter().enumerate();
        let segments = segments.filter(|(_, segment)| segment.until <= steps);
        let mut stages = vec![stage(
            "uniform",
            share(card.config.start_steps),
            Tail::Finish,
        )?];
        for (i, segment) in segments {
            let until = share(segment.until);
            stages.push(stage(&format!("replay-{i}"), until, Tail::Finish)?);
        }
        if let Some(last) = stages.last_mut() {
            (last.until, last.tail) = (total, Tail::Cut);
        }
        Ok(stages)
    };
    match task.level {
        Level::Random => Ok(vec![stage("random", total, Tail::Cut)?]),
        Level::Medium => Ok(vec![stage("medium", total, Tail::Cut)?]),
        Level::Expert => Ok(vec![stage("expert", total, Tail::Cut)?]),
        Level::MediumExpert => Ok(vec![
            stage("medium", rows, Tail::LeaveOut)?,
            stage("expert", total, Tail::Cut)?,
        ]),
        Level::MediumReplay => replay(card.medium.step),
        Level::FullReplay => replay(card.trained_steps),
    }
}

/// What [`generate`] made.
#[derive(Debug)]
pub struct Generated {
    /// The file's identity.
    pub identity: DatasetIdentity,
    /// Its episodes, in order.
    pub episodes: Vec<EpisodeFacts>,
    /// Who acted, for how long, and how well.
    pub behavior: Vec<Behavior>,
}

/// Rolls out the data of `task` at scale `rows` from `seed` into `out`, with
/// the behaviour policies below the folder `behavior`, on `threads` threads
/// (0: rayon's number, one per core) beside the one that writes. Memory does not
/// grow with the number of rows, but for a few numbers per episode.
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
    threads: usize,
) -> Result<Generated, CollectError> {
    let card = Card::read(behavior, task.env)?;
    let metadata = metadata(task, rows, seed, behavior)?;
    let stages = stages(task, rows, &card, behavior)?;
    let (obs_dim, act_dim) = (task.env.obs_dim(), task.env.act_dim());
    let world = spar_env::make(task.env)?;
    let mut writer = Writer::create(out, obs_dim, act_dim, world.nq(), world.nv(), &metadata)?;
    drop(world);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|source| spar_eval::EvalError::Threads { threads, source })?;
    let mut episodes = Vec::new();
    thread::scope(|scope| -> Result<(), CollectError> {
        let (send, receive) = sync_channel(WAITING);
        let (pool, stages) = (&pool, &stages);
        let player = scope.spawn(move || pool.install(|| play(task.env, seed, stages, &send)));
        let written = receive.iter().try_for_each(|steps| {
            episodes.push(EpisodeFacts::of(&steps, task.env.horizon()));
            write(&mut writer, task.env, &steps)
        });
        // A player that is still at work ends when nobody listens.
        drop(receive);
        let played = player
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.and(played)
    })?;
    let identity = writer.finish()?;
    let behavior = stages
        .iter()
        .enumerate()
        .map(|(i, stage)| Behavior::of(&stage.name, i, &episodes))
        .collect();
    Ok(Generated {
        identity,
        episodes,
        behavior,
    })
}

fn write(writer: &mut Writer, env: EnvId, steps: &Steps) -> Result<(), CollectError> {
    let n = steps.len();
    let (obs_dim, act_dim) = (env.obs_dim(), env.act_dim());
    let (nq, nv) = (steps.qpos.len() / n, steps.qvel.len() / n);
    for i in 0..n {
        let last = i + 1 == n;
        writer.push(&Row {
            obs: &steps.obs[i * obs_dim..][..obs_dim],
            action: &steps.actions[i * act_dim..][..act_dim],
            reward: steps.rewards[i],
            terminal: last && steps.terminal,
            timeout: i + 1 == env.horizon() && !steps.terminal,
            next_obs: &steps.obs[(i + 1) * obs_dim..][..obs_dim],
            qpos: &steps.qpos[i * nq..][..nq],
            qvel: &steps.qvel[i * nv..][..nv],
        })?;
    }
    Ok(())
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
