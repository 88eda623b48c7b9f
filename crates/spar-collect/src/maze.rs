//! Data of maze2d by D4RL's recipe: a planner that knows the map, and a controller that
//! follows its waypoints to one drawn target after another.
//!
//! One run that is never reset (`scripts/generation/generate_maze2d_datasets.py` and
//! `pointmaze/waypoint_controller.py` of github.com/Farama-Foundation/D4RL at 89141a6;
//! studied, not copied), in bounded memory. As in D4RL's released files there is no noise,
//! a row is cut by a timeout where a target is reached or missed for a horizon, and **the row
//! after a timeout repeats the observation before it**: the generator continues from it. The
//! reward of a row is that of its own position at the evaluation's goal, whatever the
//! target.
//!
//! Not in these files: `infos/goal`, the drawn target, which nothing learns from.

use std::{collections::BTreeMap, path::Path};

use spar_core::{EnvId, Stream, TaskId};
use spar_data::{MetaValue, Row, Writer};
use spar_env::{
    Env, EnvError,
    maze2d::{Cell, Maze, Reward},
};

use crate::{
    CollectError,
    facts::{Behavior, End, EpisodeFacts},
    recipe::{self, Generated},
};

/// Who acts, in the file's metadata and its card.
const CONTROLLER: &str = "waypoint controller";

/// Distance from a waypoint, and from the position before, within which it is reached.
const REACHED: f64 = 0.1;

/// Sweeps of the planner's value iteration, and its discount.
const SWEEPS: usize = 50;
const DISCOUNT: f64 = 0.99;

/// Most cells of a plan.
const LONGEST: usize = 100;

/// How far below a cell's numbers a waypoint may lie, along each axis: there is more room
/// than above them.
const JITTER: f64 = 0.2;

/// D4RL's planner and controller of one maze.
///
/// It keeps its plan until the target's *cell* changes, also over the ends of episodes, as
/// in the runs behind D4RL's reference returns.
#[derive(Clone, Debug)]
pub struct Controller {
    maze: Maze,
    plan: Option<Plan>,
}

#[derive(Clone, Debug)]
struct Plan {
    target: Cell,
    waypoints: Vec<[f64; 2]>,
    /// The waypoint that is aimed at.
    next: usize,
    /// Where the ball was at the last call.
    before: [f64; 2],
}

impl Controller {
    /// Of the maze of `env`; `None` if it is no maze2d.
    pub fn of(env: EnvId) -> Option<Self> {
        let maze = Maze::of(env)?;
        Some(Self { maze, plan: None })
    }

    /// The action, within `[-1, 1]`, at `position` and `velocity`, and whether the target
    /// is reached. `stream` draws the waypoints of a new plan.
    pub fn act(
        &mut self,
        position: [f64; 2],
        velocity: [f64; 2],
        target: [f64; 2],
        stream: &mut Stream,
    ) -> ([f64; 2], bool) {
        let cell = self.cell(target);
        let plan = match self.plan.take() {
            Some(plan) if plan.target == cell => plan,
            _ => self.planned(self.cell(position), cell, stream),
        };
        let plan = self.plan.insert(plan);
        let goal = numbers(plan.target);
        let still = distance(plan.before, position) < REACHED;
        let solved = distance(position, goal) < REACHED && still;
        let aim = match solved {
            true => goal,
            false => plan.waypoints[plan.next],
        };
        let action = |i: usize| (10.0 * (aim[i] - position[i]) - velocity[i]).clamp(-1.0, 1.0);
        if !solved && still && distance(position, aim) < REACHED {
            plan.next = (plan.next + 1).min(plan.waypoints.len() - 1);
        }
        plan.before = position;
        ([action(0), action(1)], solved)
    }

    /// The cell whose numbers are nearest.
    fn cell(&self, [x, y]: [f64; 2]) -> Cell {
        let (rows, columns) = self.maze.size();
        let nearest = |x: f64, count: usize| {
            let most = (count - 1) as f64;
            x.round_ties_even().clamp(0.0, most) as usize
        };
        (nearest(x, rows), nearest(y, columns))
    }

    fn planned(&self, start: Cell, target: Cell, stream: &mut Stream) -> Plan {
        let values = self.values(target);
        let (mut at, mut waypoints) = (start, Vec::new());
        for _ in 0..LONGEST {
            let moves = self.moves(at);
            let value = |cell: Cell| values[cell.0][cell.1];
            // The first of equals.
            let best = moves[1..].iter().fold(moves[0], |best, &next| {
                if value(next) > value(best) {
                    next
                } else {
                    best
                }
            });
            at = best;
            if at == target {
                break;
            }
            let [x, y] = numbers(at);
            let below = [
                x - stream.uniform(0.0, JITTER),
                y - stream.uniform(0.0, JITTER),
            ];
            waypoints.push(below);
        }
        waypoints.push(numbers(target));
        Plan {
            target,
            waypoints,
            next: 0,
            before: numbers(start),
        }
    }

    /// Where each action leads from a cell: staying, then a column less or more, a row less
    /// or more. Into a wall it stays.
    fn moves(&self, (i, j): Cell) -> [Cell; 5] {
        let to = |cell: Cell| {
            if self.maze.is_wall(cell) {
                (i, j)
            } else {
                cell
            }
        };
        [
            (i, j),
            to((i, j.wrapping_sub(1))),
            to((i, j + 1)),
            to((i.wrapping_sub(1), j)),
            to((i + 1, j)),
        ]
    }

    /// Values of all cells, those of walls too, where being at `target` is worth one.
    fn values(&self, target: Cell) -> Vec<Vec<f64>> {
        let (rows, columns) = self.maze.size();
        let mut values = vec![vec![0.0; columns]; rows];
        for _ in 0..SWEEPS {
            let old = values.clone();
            for (i, row) in values.iter_mut().enumerate() {
                for (j, value) in row.iter_mut().enumerate() {
                    let next = self.moves((i, j)).map(|(k, l)| old[k][l]);
                    let best = next.into_iter().fold(f64::NEG_INFINITY, f64::max);
                    let here = if (i, j) == target { 1.0 } else { 0.0 };
                    *value = here + DISCOUNT * best;
                }
            }
        }
        values
    }
}

/// A cell as a position.
fn numbers((i, j): Cell) -> [f64; 2] {
    [i as f64, j as f64]
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    let [dx, dy] = [a[0] - b[0], a[1] - b[1]];
    (dx * dx + dy * dy).sqrt()
}

/// Rows of the local file of `task` at scale `rows`: D4RL's proportions, a million of umaze
/// to two of medium and four of large. `None` if it is no maze2d task.
pub(crate) fn rows_of(task: TaskId, rows: usize) -> Option<usize> {
    Maze::of(task.env())?;
    let sizes = [("large", 4), ("medium", 2)];
    let size = sizes.iter().find(|(name, _)| task.name().contains(name));
    Some(rows * size.map_or(1, |(_, times)| *times))
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
    text("algorithm", CONTROLLER.to_owned());
    Ok(metadata)
}

/// Makes the data of `task`, a maze2d, at scale `rows` from `seed` into `out`.
pub(crate) fn generate(
    task: TaskId,
    rows: usize,
    seed: u64,
    out: &Path,
) -> Result<Generated, CollectError> {
    let env = task.env();
    let (Some(controller), Some(reward), Some(total)) =
        (Controller::of(env), Reward::of(env), rows_of(task, rows))
    else {
        return Err(CollectError::NoRecipe(task));
    };
    let mut writer = Writer::create(out, 4, 2, 2, 2, &metadata(task, rows, seed)?)?;
    let mut run = Run::new(env, controller, reward, seed)?;
    for _ in 0..total {
        run.row(&mut writer)?;
    }
    let identity = writer.finish()?;
    let mut episodes = run.episodes;
    if run.since > 0 {
        episodes.push(EpisodeFacts {
            stage: 0,
            ret: run.ret,
            length: run.since,
            terminals: 0,
            end: End::Unfinished,
        });
    }
    let behavior = vec![Behavior::of(CONTROLLER, 0, &episodes)];
    Ok(Generated {
        identity,
        episodes,
        behavior,
        policies: None,
    })
}

/// The one run that a file is of.
struct Run {
    env: Box<dyn Env>,
    maze: Maze,
    controller: Controller,
    reward: Reward,
    targets: Stream,
    waypoints: Stream,
    target: [f64; 2],
    /// The observation that the next row has: the present one, but after a timeout the one
    /// before.
    seen: [f64; 4],
    /// Rows since the last timeout, and their rewards.
    since: usize,
    ret: f64,
    episodes: Vec<EpisodeFacts>,
}

impl Run {
    fn new(
        env: EnvId,
        controller: Controller,
        reward: Reward,
        seed: u64,
    ) -> Result<Self, EnvError> {
        let maze = controller.maze.clone();
        let mut targets = Stream::new(seed, "maze2d/targets");
        let target = maze.draw(&mut targets);
        let mut env = spar_env::make(env)?;
        env.reset(&mut Stream::new(seed, "maze2d/reset"))?;
        let seen = observation(&*env);
        Ok(Self {
            env,
            maze,
            controller,
            reward,
            targets,
            waypoints: Stream::new(seed, "maze2d/waypoints"),
            target,
            seen,
            since: 0,
            ret: 0.0,
            episodes: Vec::new(),
        })
    }

    /// One step, and its row.
    fn row(&mut self, writer: &mut Writer) -> Result<(), CollectError> {
        let [x, y, vx, vy] = self.seen;
        let (action, solved) =
            self.controller
                .act([x, y], [vx, vy], self.target, &mut self.waypoints);
        let done = solved || self.since >= self.env.id().horizon();
        let state = self.env.physics();
        let state = state.map(|state| (state.qpos().to_vec(), state.qvel().to_vec()));
        let (qpos, qvel) = state.unwrap_or_default();
        let (obs, action) = (self.seen.map(|x| x as f32), action.map(|a| a as f32));
        self.env.step(&action)?;
        let next = observation(&*self.env);
        // As D4RL's relabelling reads it from the file.
        let reward = self.reward.at([f64::from(obs[0]), f64::from(obs[1])]) as f32;
        writer.push(&Row {
            obs: &obs,
            action: &action,
            reward,
            terminal: false,
            timeout: done,
            next_obs: &next.map(|x| x as f32),
            qpos: &qpos,
            qvel: &qvel,
        })?;
        self.since += 1;
        self.ret += f64::from(reward);
        if done {
            self.episodes.push(EpisodeFacts {
                stage: 0,
                ret: self.ret,
                length: self.since,
                terminals: 0,
                end: End::Timeout,
            });
            (self.since, self.ret) = (0, 0.0);
            self.target = self.maze.draw(&mut self.targets);
        } else {
            self.seen = next;
        }
        Ok(())
    }
}

fn observation(env: &dyn Env) -> [f64; 4] {
    let obs = env.obs();
    [obs[0], obs[1], obs[2], obs[3]]
}
