//! Data of antmaze by D4RL's recipe: D4RL's own goal-reaching ant, steered from waypoint to
//! waypoint by a planner that knows the map.
//!
//! `scripts/generation/generate_ant_maze_datasets.py` and `relabel_antmaze_rewards.py` of
//! github.com/Farama-Foundation/D4RL at 89141a6 (studied, not copied), for the `-v2` tasks.
//! Episodes are 1,001 rows; reaching the goal ends none. Rewards and terminals are those of
//! one evaluation goal that is drawn for the file: 1 and true in each row whose *next row*
//! is within half a metre of it, whatever the ant was steered to.
//!
//! **D4RL's behaviour policy is third-party data** and not in this repository:
//! `antmaze/ant_hierarch_pol.safetensors` in the folder that `SPAR_UPSTREAM_DIR` names, the
//! policy of D4RL's `ant_hierarch_pol.pkl`, proven by its sha256. Where no folder is named, the
//! ant of `datasets/behavior/antmaze-ant` acts, if it is there; files say who did.
//!
//! Unlike D4RL's files these have `infos/qpos` and `infos/qvel` of the state *before* the
//! step, as those of the other suites: each row can be stepped from its own state.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::Path,
};

use spar_core::{EnvId, Policy, Stream, TaskId, files::in_file, sha256_hex};
use spar_data::{MetaValue, Row, Writer};
use spar_env::{Env, antmaze};
use spar_nn::{Activation, RowMlp};

use crate::{
    CollectError, behavior as stored,
    card::Card,
    facts::{Behavior, End, EpisodeFacts},
    gaussian::GaussianPolicy,
    recipe::{self, Generated},
    upstream::{Upstream, Weights},
};

/// Who acts, in the file's metadata and its card.
const BEHAVIOR: &str = "D4RL's goal-reaching ant";
const OWN_BEHAVIOR: &str =
    "goal-reaching ant of this project, spar behavior train --env antmaze-ant";

/// Where the ant of this project is trained.
const OWN: &str = "antmaze-ant";

/// Its policy, by its name in the folder of behaviour policies.
const OWN_POLICY: &str = "expert";

const POLICY: Upstream = Upstream {
    file: "antmaze/ant_hierarch_pol.safetensors",
    sha256: "5d124ab563c88db153012ae619329c9bf8e3c7862659cb4d0627b331c76d6054",
    instead: ", or train another ant with `cargo xtask data behavior --env antmaze-ant`",
};

/// Steps counted from zero after which an episode is cut.
const LAST_STEP: usize = 1000;

/// Standard deviation of what is added to the policy's own noise.
const NOISE: f64 = 0.2;

/// Length of the direction that the policy is shown.
const DIRECTION: f64 = 10.0;

/// Distance within which the evaluation's goal is reached.
const REACHED: f64 = 0.5;

/// Goals of the data by maze, as row and column, where they are not the evaluation's.
const GOALS: [(&str, &[Cell]); 2] = [
    ("medium", &[(2, 6), (5, 1), (6, 5)]),
    (
        "large",
        &[(1, 6), (3, 5), (3, 10), (5, 2), (7, 4), (7, 6), (7, 9)],
    ),
];

/// Row and column of a map.
type Cell = (usize, usize);

/// Reads D4RL's goal-reaching ant from the folder that `SPAR_UPSTREAM_DIR` names.
///
/// # Errors
/// If the variable is not set, the file is missing or is another one.
pub fn behavior() -> Result<GaussianPolicy, CollectError> {
    let (path, bytes) = POLICY.read()?;
    let weights = Weights::of(&path, &bytes)?;
    Ok(GaussianPolicy::new(RowMlp {
        layers: vec![
            weights.linear(&["fc0"])?,
            weights.linear(&["fc1"])?,
            weights.linear(&["last_fc", "last_fc_log_std"])?,
        ],
        hidden: Activation::Relu,
        output: Activation::Identity,
        input_norm: None,
    }))
}

/// Who acts.
struct Actor {
    name: &'static str,
    policy: GaussianPolicy,
    sha256: String,
}

impl Actor {
    /// D4RL's ant where a folder of third-party data is named or there is no other, else
    /// the one below the folder `behavior`.
    fn chosen(behavior: &Path) -> Result<Self, CollectError> {
        let own = EnvId::named(OWN).map(|env| {
            let file = format!("{OWN_POLICY}.safetensors");
            (env, Card::folder(behavior, env).join(file))
        });
        match own {
            Some((env, path)) if !Upstream::is_named() && path.exists() => Ok(Self {
                name: OWN_BEHAVIOR,
                policy: stored::read(&path, env)?,
                sha256: sha256_hex(&fs::read(&path).map_err(|e| in_file(e, &path))?),
            }),
            _ => Ok(Self {
                name: BEHAVIOR,
                policy: self::behavior()?,
                sha256: POLICY.sha256.to_owned(),
            }),
        }
    }
}

/// The map of an antmaze, as the planner sees it.
#[derive(Clone, Debug)]
pub struct Map {
    rows: Vec<Vec<u8>>,
}

impl Map {
    /// Of the environment of `task`; `None` if that is no antmaze.
    pub fn of(task: TaskId) -> Option<Self> {
        let rows = antmaze::map(task.env())?.split('/');
        Some(Self {
            rows: rows.map(|row| row.bytes().collect()).collect(),
        })
    }

    fn is_wall(&self, (i, j): Cell) -> bool {
        let cell = self.rows.get(i).and_then(|row| row.get(j));
        cell.is_none_or(|cell| *cell == b'#')
    }

    fn cells(&self) -> impl Iterator<Item = Cell> {
        let rows = self.rows.iter().enumerate();
        rows.flat_map(|(i, row)| (0..row.len()).map(move |j| (i, j)))
    }

    /// The evaluation's goal.
    fn goal(&self) -> Option<Cell> {
        self.cells().find(|(i, j)| self.rows[*i][*j] == b'G')
    }

    /// The cell a point is in, by D4RL's planner: half a cell off against the walls.
    fn cell([x, y]: [f64; 2]) -> Cell {
        let index = |x: f64| (1.0 + x.max(1e-4) / 4.0).floor() as usize;
        (index(y), index(x))
    }

    fn middle((i, j): Cell) -> [f64; 2] {
        [4.0 * j as f64 - 4.0, 4.0 * i as f64 - 4.0]
    }

    /// Where to steer from `position` on the shortest way to `goal`: a point of the next
    /// cell, noise and all, or the goal itself if that is in it.
    pub fn waypoint(&self, position: [f64; 2], goal: [f64; 2], stream: &mut Stream) -> [f64; 2] {
        let (from, to) = (Self::cell(position), Self::cell(goal));
        if from == to {
            return goal;
        }
        let mut seen = vec![to];
        let mut queue = VecDeque::from([to]);
        while let Some((i, j)) = queue.pop_front() {
            let left = (i, j.wrapping_sub(1));
            let up = (i.wrapping_sub(1), j);
            for next in [left, (i, j + 1), (i + 1, j), up] {
                if next == from {
                    return match (i, j) == to {
                        true => goal,
                        false => {
                            Self::middle((i, j)).map(|middle| middle + stream.uniform(0.0, 1.0))
                        }
                    };
                }
                if !self.is_wall(next) && !seen.contains(&next) {
                    seen.push(next);
                    queue.push_back(next);
                }
            }
        }
        goal
    }
}

/// Action of `policy`, steered from the state `obs` to `waypoint`, with the noise of the
/// data. The two streams draw the policy's own noise and what is added to it.
pub fn steered(
    policy: &GaussianPolicy,
    obs: &[f64],
    waypoint: [f64; 2],
    own: &mut Stream,
    added: &mut Stream,
) -> [f32; 8] {
    let toward = [waypoint[0] - obs[0], waypoint[1] - obs[1]];
    let length = toward[0].hypot(toward[1]).max(1e-9);
    let mut seen: Vec<f32> = obs[2..].iter().map(|&x| x as f32).collect();
    seen.extend(toward.map(|x| (DIRECTION * x / length) as f32));
    let mut action = [0f32; 8];
    policy.act(&seen, std::slice::from_mut(own), &mut action);
    action.map(|a| (f64::from(a) + NOISE * added.normal()).clamp(-1.0, 1.0) as f32)
}

/// Rows of the local file of `task` at scale `rows`; `None` if there is no recipe for it.
pub(crate) fn rows_of(task: TaskId, rows: usize) -> Option<usize> {
    Map::of(task).map(|_| rows)
}

/// The metadata of a local file; see [`crate::recipe::metadata`].
pub(crate) fn metadata(
    task: TaskId,
    rows: usize,
    seed: u64,
    behavior: &Path,
) -> Result<BTreeMap<String, MetaValue>, CollectError> {
    let Actor { name, sha256, .. } = Actor::chosen(behavior)?;
    let mut metadata = recipe::made_from(task, rows, seed)?;
    let mut text = |key: &str, value: String| {
        metadata.insert(key.to_owned(), MetaValue::Text(value));
    };
    text("algorithm", name.to_owned());
    text("spar_policies_sha256", sha256);
    if let Some(goal) = Map::of(task).and_then(|map| map.goal()) {
        let [x, y] = near(goal, &mut Stream::new(seed, "antmaze/relabel"));
        text("spar_goal", format!("{x} {y}"));
    }
    Ok(metadata)
}

/// A point of a goal's cell, as environments draw it.
fn near(cell: Cell, stream: &mut Stream) -> [f64; 2] {
    Map::middle(cell).map(|middle| {
        let noise = stream.uniform(0.0, 1.0) + stream.uniform(0.0, 0.5);
        (middle + noise).max(0.0)
    })
}

/// Makes the data of `task`, an antmaze, with `rows` rows from `seed` into `out`.
pub(crate) fn generate(
    task: TaskId,
    rows: usize,
    seed: u64,
    behavior: &Path,
    out: &Path,
) -> Result<Generated, CollectError> {
    let none = || CollectError::NoRecipe(task);
    let map = Map::of(task).ok_or_else(none)?;
    let evaluated = map.goal().ok_or_else(none)?;
    let Actor { name, policy, .. } = Actor::chosen(behavior)?;
    let metadata = metadata(task, rows, seed, behavior)?;
    let mut run = Run {
        world: spar_env::make(task.env())?,
        goals: goals(task, &map, evaluated),
        starts: starts(task, &map, evaluated),
        map,
        policy,
        relabelled: near(evaluated, &mut Stream::new(seed, "antmaze/relabel")),
        draws: Draws::new(seed),
        goal: [0.0; 2],
        episodes: Vec::new(),
        held: None,
    };
    let mut writer = Writer::create(out, 29, 8, 15, 14, &metadata)?;
    let mut written = 0;
    while written < rows {
        let length = (rows - written).min(LAST_STEP + 1);
        run.episode(length, &mut writer)?;
        written += length;
    }
    run.release(None, &mut writer)?;
    let identity = writer.finish()?;
    let behavior = vec![Behavior::of(name, 0, &run.episodes)];
    Ok(Generated {
        identity,
        episodes: run.episodes,
        behavior,
        policies: None,
    })
}

/// Where the ant is steered to, episode by episode.
fn goals(task: TaskId, map: &Map, evaluated: Cell) -> Vec<Cell> {
    if task.name().contains("diverse") {
        return map.cells().filter(|cell| !map.is_wall(*cell)).collect();
    }
    marked(task, evaluated)
}

/// The cells that the maps of data collection mark as goals.
fn marked(task: TaskId, evaluated: Cell) -> Vec<Cell> {
    let own = GOALS.iter().find(|(name, _)| task.name().contains(name));
    own.map_or_else(|| vec![evaluated], |(_, goals)| goals.to_vec())
}

/// Where episodes start; nothing for the origin.
fn starts(task: TaskId, map: &Map, evaluated: Cell) -> Vec<Cell> {
    let umaze = task.name().contains("umaze") && !task.name().contains("diverse");
    if umaze {
        return Vec::new();
    }
    let goals = marked(task, evaluated);
    let free = map.cells().filter(|cell| !map.is_wall(*cell));
    free.filter(|cell| !goals.contains(cell)).collect()
}

/// One stream for each thing that is drawn.
struct Draws {
    resets: Stream,
    starts: Stream,
    goals: Stream,
    waypoints: Stream,
    policy: Stream,
    noise: Stream,
}

impl Draws {
    fn new(seed: u64) -> Self {
        let of = |name: &str| Stream::new(seed, &format!("antmaze/{name}"));
        Self {
            resets: of("resets"),
            starts: of("starts"),
            goals: of("goals"),
            waypoints: of("waypoints"),
            policy: of("policy"),
            noise: of("noise"),
        }
    }
}

struct Run {
    world: Box<dyn Env>,
    goals: Vec<Cell>,
    starts: Vec<Cell>,
    map: Map,
    policy: GaussianPolicy,
    /// The goal that rewards are of.
    relabelled: [f64; 2],
    draws: Draws,
    goal: [f64; 2],
    episodes: Vec<EpisodeFacts>,
    /// The last row, whose reward the next one decides.
    held: Option<Held>,
}

/// A row without its reward.
struct Held {
    obs: Vec<f32>,
    action: [f32; 8],
    next_obs: Vec<f32>,
    qpos: Vec<f64>,
    qvel: Vec<f64>,
    timeout: bool,
}

impl Run {
    /// One episode of `length` rows.
    fn episode(&mut self, length: usize, writer: &mut Writer) -> Result<(), CollectError> {
        self.world.reset(&mut self.draws.resets)?;
        if !self.starts.is_empty() {
            let cell = self.starts[self.draws.starts.index(self.starts.len())];
            let mut noise = || self.draws.starts.uniform(0.0, 1.0);
            let at = Map::middle(cell).map(|middle| (middle + noise()).max(0.0));
            if let Some(state) = self.world.physics_mut() {
                let (mut qpos, qvel) = (state.qpos().to_vec(), state.qvel().to_vec());
                qpos[..2].copy_from_slice(&at);
                state.set_state(&qpos, &qvel)?;
            }
        }
        let goal = self.goals[self.draws.goals.index(self.goals.len())];
        self.goal = near(goal, &mut self.draws.goals);
        self.episodes.push(EpisodeFacts {
            stage: 0,
            ret: 0.0,
            length,
            terminals: 0,
            end: match length > LAST_STEP {
                true => End::Timeout,
                false => End::Unfinished,
            },
        });
        for t in 0..length {
            let obs = self.world.obs().to_vec();
            let single: Vec<f32> = obs.iter().map(|&x| x as f32).collect();
            self.release(Some(&single), writer)?;
            let draws = &mut self.draws;
            let waypoint = self
                .map
                .waypoint([obs[0], obs[1]], self.goal, &mut draws.waypoints);
            let (own, added) = (&mut draws.policy, &mut draws.noise);
            let action = steered(&self.policy, &obs, waypoint, own, added);
            let state = self.world.physics();
            let state = state.map(|state| (state.qpos().to_vec(), state.qvel().to_vec()));
            let (qpos, qvel) = state.unwrap_or_default();
            self.world.step(&action)?;
            self.held = Some(Held {
                obs: single,
                action,
                next_obs: self.world.obs().iter().map(|&x| x as f32).collect(),
                qpos,
                qvel,
                timeout: t == LAST_STEP,
            });
        }
        Ok(())
    }

    /// Writes the row that was held back, now that the next row's observation is known;
    /// `None` after the last.
    fn release(
        &mut self,
        next_row: Option<&[f32]>,
        writer: &mut Writer,
    ) -> Result<(), CollectError> {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        let reached = next_row.is_some_and(|next| {
            let [dx, dy] = [0, 1].map(|i| f64::from(next[i]) - self.relabelled[i]);
            (dx * dx + dy * dy).sqrt() <= REACHED
        });
        // Of the episode that the row is of: a row after a timeout is the next one's.
        let own = match (held.timeout, next_row) {
            (true, Some(_)) => self.episodes.len().saturating_sub(2),
            _ => self.episodes.len().saturating_sub(1),
        };
        if let Some(episode) = self.episodes.get_mut(own).filter(|_| reached) {
            // The environment would have ended it there: it pays for the first alone.
            episode.ret = 1.0;
            episode.terminals += 1;
        }
        writer.push(&Row {
            obs: &held.obs,
            action: &held.action,
            reward: if reached { 1.0 } else { 0.0 },
            terminal: reached,
            timeout: held.timeout,
            next_obs: &held.next_obs,
            qpos: &held.qpos,
            qvel: &held.qvel,
        })?;
        Ok(())
    }
}
