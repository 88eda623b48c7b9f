//! D4RL's antmaze: an ant that has to reach a goal in a maze.
//!
//! Semantics are those of the `-v2` tasks (`locomotion/ant.py`, `maze_env.py`,
//! `goal_reaching_env.py` and `wrappers.py` of github.com/Farama-Foundation/D4RL at 89141a6;
//! studied, not copied). D4RL's ant is not gym's: its steps are twice as long, its contacts
//! softer, its motors are weaker. Its model is gymnasium's file with those edits, the
//! maze's walls put in.
//!
//! The goal is drawn anew at each reset and is not observed. An episode ends, with the only
//! reward there is, where the ant comes within half a metre of it; falling over ends none.

use std::{fmt::Write, path::Path};

use spar_core::{EnvId, Stream};

use crate::{
    Env, EnvError, Physics, Scene, Solid, Step, View,
    ant::{MODEL_FILE, MODEL_SHA256},
    check_input,
    mujoco::{self, Library, Model, Simulation},
};

/// What makes gymnasium's ant D4RL's, and leaves out what is only seen.
const EDITS: [(&str, &str); 4] = [
    ("<compiler ", "<compiler discardvisual=\"true\" "),
    ("timestep=\"0.01\"", "timestep=\"0.02\""),
    (
        "<geom conaffinity=\"0\" ",
        "<geom solref=\".02 1\" solimp=\".8 .8 .01\" conaffinity=\"0\" ",
    ),
    ("ctrlrange=\"-1.0 1.0\"", "ctrlrange=\"-30.0 30.0\""),
];

/// Removed from every motor.
const GEAR: &str = " gear=\"150\"";

/// Physics steps per step, and seconds of each.
const FRAME_SKIP: usize = 5;
const TIMESTEP: f64 = 0.02;

/// Side of a cell in metres; the ant starts in the middle of cell (1, 1).
const CELL: f64 = 4.0;

/// Distance within which the goal is reached.
pub(crate) const REACHED: f64 = 0.5;

/// Width of an action.
pub(crate) const ACTIONS: usize = 8;

/// Largest control of a motor: actions are parts of it.
const MOTOR: f64 = 30.0;

/// Noise of initial positions, and of velocities.
const START: f64 = 0.1;

/// Maps by the name after `antmaze-`; see [`map`].
const MAPS: [(&str, &str); 3] = [
    ("umaze", "#####/#R..#/###.#/#G..#/#####"),
    (
        "medium",
        "########/#R.##..#/#..#...#/##...###/#..#...#/#.#..#.#/#...#.G#/########",
    ),
    (
        "large",
        "############/#R...#.....#/#.##.#.#.#.#/#......#...#/#.####.###.#/#..#.#.....#/\
         ##.#.#.#.###/#..#...#.G.#/############",
    ),
];

/// The map of `env`: rows, divided by `/`, are `y`, columns `x`; `#` a wall, `R` where the ant
/// starts, `G` the goal of evaluation. `None` if it is no antmaze.
pub fn map(env: EnvId) -> Option<&'static str> {
    let name = env.name().strip_prefix("antmaze-")?;
    let found = MAPS.iter().find(|(known, _)| *known == name);
    found.map(|(_, map)| *map)
}

/// Every antmaze environment.
pub(crate) fn all() -> impl Iterator<Item = EnvId> {
    EnvId::all().into_iter().filter(|env| map(*env).is_some())
}

/// Where the middle of a cell is along an axis.
fn middle(index: usize) -> f64 {
    CELL * index as f64 - CELL
}

/// The cells of `map` that hold `what`, as row and column.
fn cells(map: &str, what: u8) -> impl Iterator<Item = (usize, usize)> {
    map.split('/').enumerate().flat_map(move |(i, row)| {
        let row = row.bytes().enumerate();
        row.filter(move |(_, cell)| *cell == what)
            .map(move |(j, _)| (i, j))
    })
}

/// The maze `map` with the ant in it, as a model of MuJoCo's.
fn mjcf(ant: &str, map: &str) -> Result<String, String> {
    let mut xml = ant.to_owned();
    for (from, to) in EDITS {
        if !xml.contains(from) {
            return Err(format!("{MODEL_FILE} has no `{from}` to be edited"));
        }
        xml = xml.replace(from, to);
    }
    xml = xml.replace(GEAR, "");
    let mut walls = String::new();
    for (i, j) in cells(map, b'#') {
        let (x, y, half) = (middle(j), middle(i), CELL / 2.0);
        // Writing to a string cannot fail.
        let _ = write!(
            walls,
            "<geom name=\"block_{i}_{j}\" type=\"box\" pos=\"{x:.6} {y:.6} 1.000000\" \
             size=\"{half:.6} {half:.6} 1.000000\" contype=\"1\" conaffinity=\"1\"/>"
        );
    }
    match xml.rfind("</worldbody>") {
        Some(end) => xml.insert_str(end, &walls),
        None => return Err(format!("{MODEL_FILE} has no worldbody")),
    }
    Ok(xml)
}

/// The ant's model with the walls of `map`, which may be empty.
pub(crate) fn model(library: &'static Library, map: &str) -> Result<Model, EnvError> {
    let (path, ant) = mujoco::model_file(MODEL_FILE, MODEL_SHA256)?;
    let refused = |why: String| EnvError::Model {
        path: path.clone(),
        why,
    };
    let ant = String::from_utf8(ant).map_err(|e| refused(e.to_string()))?;
    let xml = mjcf(&ant, map).map_err(refused)?;
    Model::parse(library, xml.as_bytes(), &[], Path::new(&path))
}

/// What turns actions into controls: parts of a motor's range.
#[derive(Default)]
pub(crate) struct Motors {
    ctrl: [f64; ACTIONS],
}

impl Motors {
    /// One step of `simulation` under `action`.
    ///
    /// # Errors
    /// As [`Simulation::step`].
    pub(crate) fn step(
        &mut self,
        simulation: &mut Simulation,
        action: &[f32],
    ) -> Result<(), String> {
        for (out, &a) in self.ctrl.iter_mut().zip(action) {
            let scaled = -MOTOR + (f64::from(a) + 1.0) * 0.5 * (2.0 * MOTOR);
            *out = scaled.clamp(-MOTOR, MOTOR);
        }
        simulation.step(&self.ctrl, FRAME_SKIP)
    }
}

/// One ant in its maze, over its own simulation.
pub(crate) struct AntMaze {
    id: EnvId,
    simulation: Simulation,
    rest: Vec<f64>,
    /// The middle of the goal's cell, `x` and `y`.
    goal_cell: [f64; 2],
    goal: [f64; 2],
    motors: Motors,
    obs: Vec<f64>,
}

impl AntMaze {
    /// The environment `id`, which has to be an antmaze. Until it is reset the goal is the
    /// middle of its cell.
    pub(crate) fn new(id: EnvId) -> Result<Self, EnvError> {
        let found = map(id).and_then(|map| Some((map, cells(map, b'G').next()?)));
        let Some((map, (i, j))) = found else {
            return Err(EnvError::NotSimulated {
                env: id,
                simulated: all().collect(),
            });
        };
        let simulation = Simulation::new(mujoco::model(id, |library| model(library, map))?)?;
        let goal_cell = [middle(j), middle(i)];
        let mut env = Self {
            id,
            rest: simulation.qpos().to_vec(),
            goal_cell,
            goal: goal_cell,
            motors: Motors::default(),
            obs: vec![0.0; id.obs_dim()],
            simulation,
        };
        env.observe();
        Ok(env)
    }

    fn observe(&mut self) {
        let positions = self.simulation.qpos();
        let (head, tail) = self.obs.split_at_mut(positions.len());
        head.copy_from_slice(positions);
        tail.copy_from_slice(self.simulation.qvel());
    }

    fn unstable(&self, why: String) -> EnvError {
        EnvError::Unstable { env: self.id, why }
    }
}

impl Env for AntMaze {
    fn id(&self) -> EnvId {
        self.id
    }

    fn reset(&mut self, stream: &mut Stream) -> Result<(), EnvError> {
        let start = self.rest.iter().map(|q| q + stream.uniform(-START, START));
        let qpos: Vec<f64> = start.collect();
        let qvel = self.simulation.qvel().iter();
        let qvel: Vec<f64> = qvel.map(|_| START * stream.normal()).collect();
        self.goal = self.goal_cell.map(|middle| {
            let noise = stream.uniform(0.0, 1.0) + stream.uniform(0.0, 0.5);
            (middle + noise).max(0.0)
        });
        self.set_state(&qpos, &qvel)
    }

    fn obs(&self) -> &[f64] {
        &self.obs
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        let values = action.iter().map(|&a| f64::from(a));
        check_input(self.id, "action", values, ACTIONS)?;
        let stepped = self.motors.step(&mut self.simulation, action);
        stepped.map_err(|why| self.unstable(why))?;
        self.observe();
        let [dx, dy] = [self.obs[0] - self.goal[0], self.obs[1] - self.goal[1]];
        let reached = (dx * dx + dy * dy).sqrt() <= REACHED;
        Ok(Step {
            reward: if reached { 1.0 } else { 0.0 },
            terminal: reached,
        })
    }

    state_of_simulation!();

    fn scene(&self) -> Option<Scene> {
        let mut solids = self.simulation.solids();
        solids.push(Solid::goal(self.goal[0], self.goal[1], REACHED));
        Some(Scene {
            view: View::Above,
            step_seconds: TIMESTEP * FRAME_SKIP as f64,
            solids,
        })
    }
}

/// The goal is no part of the state: it stays.
impl Physics for AntMaze {
    physics_of_simulation!();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn goals_lie_in_the_squares_of_d4rl() {
        // Of umaze, medium and large: x and y from here on, a metre and a half.
        let corners = [
            ("antmaze-umaze", [0.0, 8.0]),
            ("antmaze-medium", [20.0, 20.0]),
            ("antmaze-large", [32.0, 24.0]),
        ];
        assert_eq!(all().count(), corners.len());
        let mut stream = Stream::new(0, "goals");
        for (name, corner) in corners {
            let mut env = AntMaze::new(EnvId::named(name).unwrap()).unwrap();
            assert_eq!(env.goal, corner, "{name}");
            let mut seen = [[f64::INFINITY, f64::NEG_INFINITY]; 2];
            for _ in 0..200 {
                env.reset(&mut stream).unwrap();
                for (seen, x) in seen.iter_mut().zip(env.goal) {
                    *seen = [seen[0].min(x), seen[1].max(x)];
                }
                let [x, y] = [env.obs()[0], env.obs()[1]];
                assert!(x.abs() <= 0.1 && y.abs() <= 0.1);
            }
            for ([low, high], from) in seen.into_iter().zip(corner) {
                assert!((from..from + 0.3).contains(&low), "{name}: {low}");
                assert!((from + 1.2..=from + 1.5).contains(&high), "{name}: {high}");
            }
        }
    }

    #[test]
    fn the_goal_ends_an_episode_and_nothing_else_does() {
        let mut env = AntMaze::new(EnvId::named("antmaze-umaze").unwrap()).unwrap();
        let at = |env: &mut AntMaze, x: f64, y: f64, upright: f64| {
            let mut qpos = env.rest.clone();
            (qpos[0], qpos[1], qpos[3], qpos[4]) = (x, y, upright, 1.0 - upright);
            let qvel = vec![0.0; 14];
            env.set_state(&qpos, &qvel).unwrap();
            env.step(&[0.0; 8]).unwrap()
        };
        let reached = at(&mut env, 0.0, 7.7, 1.0);
        assert!(reached.terminal && reached.reward == 1.0);
        let far = at(&mut env, 0.0, 7.2, 1.0);
        assert!(!far.terminal && far.reward == 0.0);
        let on_its_back = at(&mut env, 0.0, 0.0, 0.0);
        assert!(!on_its_back.terminal);
    }
}
