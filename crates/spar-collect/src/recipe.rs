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
//!
//! Data of maze2d, antmaze and adroit have recipes of their own, [`crate::maze`],
//! [`crate::ant_maze`], [`crate::adroit`], [`crate::demonstrations`] and [`crate::cloned`].

use std::{collections::BTreeMap, fs, path::Path, sync::mpsc::sync_channel, thread};

use spar_anchor::AnchorConfig;
use spar_core::{
    DatasetIdentity, EnvId, Level, Policy, Stream, TaskId, files::in_file, sha256_hex,
};
use spar_data::{MetaValue, Row, Writer, local_metadata};
use spar_env::maze2d::Maze;

use crate::{
    CollectError, adroit, ant_maze,
    card::Card,
    cloned, demonstrations,
    facts::{Behavior, EpisodeFacts},
    maze,
    roll::{Stage, Steps, Tail, play},
    sac::Sac,
};

/// Version of the recipes: part of every file's metadata, so that a file made
/// by an older recipe is not taken for a new one.
pub const RECIPE_VERSION: u32 = 2;

/// Finished episodes that wait to be written: some 16 MB of the widest.
const WAITING: usize = 32;

/// Rows of the local file of `task` at scale `rows`, which is the size of
/// `medium`: D4RL's proportions. For medium-expert it is the most there can be. `None` if
/// there is no recipe for the task.
pub fn rows_of(task: TaskId, rows: usize) -> Option<usize> {
    let own = maze::rows_of(task, rows)
        .or_else(|| ant_maze::rows_of(task, rows))
        .or_else(|| adroit::rows_of(task, rows))
        .or_else(|| demonstrations::rows_of(task))
        .or_else(|| cloned::rows_of(task, rows));
    if own.is_some() {
        return own;
    }
    let shares = [(EnvId::HALF_CHEETAH, 202), (EnvId::HOPPER, 402)];
    let share = shares.iter().find(|(env, _)| *env == task.env());
    let medium_replay = share.map_or(302, |(_, thousandths)| *thousandths);
    Some(match task.level()? {
        Level::Random | Level::Medium | Level::FullReplay | Level::Expert => rows,
        Level::MediumExpert => 2 * rows,
        Level::MediumReplay => rows * medium_replay / 1000,
    })
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
    if Maze::of(task.env()).is_some() {
        return maze::metadata(task, rows, seed);
    }
    if ant_maze::Map::of(task).is_some() {
        return ant_maze::metadata(task, rows, seed, behavior);
    }
    if adroit::is_expert(task) {
        return adroit::metadata(task, rows, seed);
    }
    if demonstrations::is_replayed(task) {
        return demonstrations::metadata(task, seed);
    }
    if cloned::is_cloned(task) {
        return cloned::metadata(task, rows, seed, &AnchorConfig::default());
    }
    let card = Card::read(behavior, task.env())?;
    let mut metadata = made_from(task, rows, seed)?;
    let mut bytes = Vec::new();
    let mut said = Vec::new();
    for Part { name, about, .. } in parts(task, rows, &card)? {
        match name.as_str() {
            UNIFORM | RANDOM => bytes.extend(name.bytes().chain(card.seed.to_le_bytes())),
            stored => {
                let path = card.policy_file(behavior, stored);
                bytes.extend(fs::read(&path).map_err(|e| in_file(e, &path))?);
            }
        }
        said.push(format!("{name}: {about}"));
    }
    let mut text = |key: &str, value: String| {
        metadata.insert(key.to_owned(), MetaValue::Text(value));
    };
    text("algorithm", "SAC".to_owned());
    text("spar_policies", said.join("; "));
    text("spar_policies_sha256", sha256_hex(&bytes));
    Ok(metadata)
}

/// What every local file of `task` says of its making: scale, seed, version of the recipe and
/// the physics. Who acted is the recipe's to add.
pub(crate) fn made_from(
    task: TaskId,
    rows: usize,
    seed: u64,
) -> Result<BTreeMap<String, MetaValue>, CollectError> {
    let mut metadata = local_metadata(task);
    let mut text = |key: &str, value: String| {
        metadata.insert(key.to_owned(), MetaValue::Text(value));
    };
    text("spar_rows", rows.to_string());
    text("spar_seed", seed.to_string());
    text("spar_recipe", RECIPE_VERSION.to_string());
    text("spar_physics", spar_env::physics_version(task.env())?);
    Ok(metadata)
}

/// Uniformly random actions.
const UNIFORM: &str = "uniform";
/// SAC's actor before its first update.
const RANDOM: &str = "random";

/// One policy's part in a recipe.
struct Part {
    /// [`UNIFORM`], [`RANDOM`], or the name of a stored policy.
    name: String,
    /// What it is, for the file's metadata.
    about: String,
    /// Rows the file has when the part is over.
    until: usize,
    /// What becomes of the episode that reaches them.
    tail: Tail,
}

/// Who makes the data of `task` at scale `rows`, in the order they act.
fn parts(task: TaskId, rows: usize, card: &Card) -> Result<Vec<Part>, CollectError> {
    let (Some(level), Some(total)) = (task.level(), rows_of(task, rows)) else {
        return Err(CollectError::NoRecipe(task));
    };
    let part = |name: &str, about: String, until, tail| Part {
        name: name.to_owned(),
        about,
        until,
        tail,
    };
    let stored = |name: &str, step: usize, until, tail| {
        part(name, format!("SAC at step {step}"), until, tail)
    };
    let medium = |tail| stored("medium", card.medium.step, rows, tail);
    let expert = || stored("expert", card.expert.step, total, Tail::Cut);
    Ok(match level {
        Level::Random => {
            let about = format!("SAC's actor before its first update, seed {}", card.seed);
            vec![part(RANDOM, about, total, Tail::Cut)]
        }
        Level::Medium => vec![medium(Tail::Cut)],
        Level::Expert => vec![expert()],
        Level::MediumExpert => vec![medium(Tail::LeaveOut), expert()],
        Level::MediumReplay => replay(card, card.medium.step, total),
        Level::FullReplay => replay(card, card.trained_steps, total),
    })
}

/// The stand-in for the replay buffer after `steps` of training, in `total` rows:
/// each stretch of training has its share of them.
fn replay(card: &Card, steps: usize, total: usize) -> Vec<Part> {
    let share = |until: usize| (total as u128 * until as u128 / steps.max(1) as u128) as usize;
    let random = card.config.start_steps;
    let start = Part {
        name: UNIFORM.to_owned(),
        about: format!(
            "stand-in for the replay buffer up to step {steps}, uniformly random up to step {random}"
        ),
        until: share(random),
        tail: Tail::Finish,
    };
    let segments = card.replay.iter().enumerate();
    let segments = segments.filter(|(_, segment)| segment.until <= steps);
    let policies = segments.map(|(i, segment)| Part {
        name: format!("replay-{i}"),
        about: format!("SAC at step {} up to step {}", segment.step, segment.until),
        until: share(segment.until),
        tail: Tail::Finish,
    });
    let mut parts: Vec<_> = [start].into_iter().chain(policies).collect();
    if let Some(last) = parts.last_mut() {
        (last.until, last.tail) = (total, Tail::Cut);
    }
    parts
}

/// The policy called `name`.
fn policy(
    name: &str,
    env: EnvId,
    card: &Card,
    behavior: &Path,
) -> Result<Box<dyn Policy>, CollectError> {
    Ok(match name {
        UNIFORM => Box::new(UniformPolicy(env)),
        RANDOM => Box::new(Sac::new(card.config.clone(), env, card.seed)?.policy()?),
        stored => Box::new(card.policy(behavior, stored)?),
    })
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
    /// How the behaviour policies were trained; `None` where nobody was.
    pub policies: Option<Card>,
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
    if Maze::of(task.env()).is_some() {
        return maze::generate(task, rows, seed, out);
    }
    if ant_maze::Map::of(task).is_some() {
        return ant_maze::generate(task, rows, seed, behavior, out);
    }
    if adroit::is_expert(task) {
        return adroit::generate(task, rows, seed, out, threads);
    }
    if demonstrations::is_replayed(task) {
        return demonstrations::generate(task, seed, out);
    }
    if cloned::is_cloned(task) {
        return cloned::generate(task, rows, seed, &AnchorConfig::default(), out, threads);
    }
    let metadata = metadata(task, rows, seed, behavior)?;
    let card = Card::read(behavior, task.env())?;
    let stages = parts(task, rows, &card)?.into_iter().map(|part| {
        Ok(Stage {
            policy: policy(&part.name, task.env(), &card, behavior)?,
            name: part.name,
            until: part.until,
            tail: part.tail,
        })
    });
    let stages = stages.collect::<Result<Vec<_>, CollectError>>()?;
    Ok(Generated {
        policies: Some(card),
        ..roll_out(task, seed, &stages, &metadata, out, threads)?
    })
}

/// Plays `stages` into the file `out`; see [`generate`].
fn roll_out(
    task: TaskId,
    seed: u64,
    stages: &[Stage],
    metadata: &BTreeMap<String, MetaValue>,
    out: &Path,
    threads: usize,
) -> Result<Generated, CollectError> {
    let env = task.env();
    let mut writer = writer(env, out, metadata)?;
    let mut episodes = Vec::new();
    rolled(env, seed, stages, threads, |steps| {
        episodes.push(EpisodeFacts::of(&steps, env.horizon()));
        let cut = steps.len() == env.horizon() && !steps.terminal;
        write(&mut writer, env, &steps, cut, &[])
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
        policies: None,
    })
}

/// A file of rows of `env` at `out`, to be written.
pub(crate) fn writer(
    env: EnvId,
    out: &Path,
    metadata: &BTreeMap<String, MetaValue>,
) -> Result<Writer, CollectError> {
    let world = spar_env::make(env)?;
    let (nq, nv) = world
        .physics()
        .map_or((0, 0), |state| (state.nq(), state.nv()));
    Ok(Writer::create(
        out,
        env.obs_dim(),
        env.act_dim(),
        nq,
        nv,
        metadata,
    )?)
}

/// Plays `stages` in `env` on `threads` threads and hands each episode to `take`, in order, on
/// this one.
pub(crate) fn rolled(
    env: EnvId,
    seed: u64,
    stages: &[Stage],
    threads: usize,
    mut take: impl FnMut(Steps) -> Result<(), CollectError>,
) -> Result<(), CollectError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|source| spar_eval::EvalError::Threads { threads, source })?;
    thread::scope(|scope| {
        let (send, receive) = sync_channel(WAITING);
        let pool = &pool;
        let player = scope.spawn(move || pool.install(|| play(env, seed, stages, &send)));
        let taken = receive.iter().try_for_each(&mut take);
        // A player that is still at work ends when nobody listens.
        drop(receive);
        let played = player
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        taken.and(played)
    })
}

/// Writes an episode; `cut` if it ended with its last step, but not by the environment.
/// `infos` are those of the writer's own arrays, `[n, width]` each.
pub(crate) fn write(
    writer: &mut Writer,
    env: EnvId,
    steps: &Steps,
    cut: bool,
    infos: &[&[f32]],
) -> Result<(), CollectError> {
    let n = steps.len();
    let (obs_dim, act_dim) = (env.obs_dim(), env.act_dim());
    let (nq, nv) = (steps.qpos.len() / n, steps.qvel.len() / n);
    for i in 0..n {
        let last = i + 1 == n;
        let row = Row {
            obs: &steps.obs[i * obs_dim..][..obs_dim],
            action: &steps.actions[i * act_dim..][..act_dim],
            reward: steps.rewards[i],
            terminal: last && steps.terminal,
            timeout: last && cut,
            next_obs: &steps.obs[(i + 1) * obs_dim..][..obs_dim],
            qpos: &steps.qpos[i * nq..][..nq],
            qvel: &steps.qvel[i * nv..][..nv],
        };
        let infos = infos.iter().map(|all| {
            let width = all.len() / n;
            &all[i * width..][..width]
        });
        writer.push_with(&row, &infos.collect::<Vec<_>>())?;
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
