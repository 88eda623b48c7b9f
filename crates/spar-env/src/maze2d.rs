//! D4RL's maze2d: a ball that is pushed through a maze seen from above.
//!
//! Geometry, rewards and resets are those of D4RL's `pointmaze/maze_model.py`
//! (github.com/Farama-Foundation/D4RL at 89141a6; studied, not copied). An environment is a
//! map and a kind of reward: `maze2d-umaze` has one where the ball is within half a cell of
//! the goal, `maze2d-umaze-dense` everywhere.
//!
//! A free cell `(i, j)` of the map, row and column, is where positions are near `(i, j)`.
//! The ball's body starts at `(1.2, 1.2)` in the world where the walls' boxes are centred on
//! `(i + 1, j + 1)`: in positions a free cell reaches from 0.6 below its numbers to 0.2
//! above.

use std::{fmt::Write, path::Path};

use spar_core::{EnvId, Stream};

use crate::{
    Env, EnvError, Physics, Scene, Solid, Step, View, check_input,
    mujoco::{self, Model, Simulation},
};

/// Largest speed along an axis: faster balls are slowed down before each step.
const SPEED: f64 = 5.0;

/// Distance of the goal within which there is the sparse reward.
const NEAR: f64 = 0.5;

/// Where the ball's body starts along each axis: positions are from there.
const ORIGIN: f64 = 1.2;

/// Half the side of the square in which an episode starts around a cell's numbers.
const START: f64 = 0.1;

/// Maps by the name between `maze2d-` and `-dense`: rows, first coordinate first; `#` a
/// wall, `G` the goal.
const MAPS: [(&str, &str); 7] = [
    ("open", "#######/#.....#/#..G..#/#.....#/#######"),
    ("umaze", "#####/#G..#/###.#/#...#/#####"),
    (
        "medium",
        "########/#..##..#/#..#...#/##...###/#..#...#/#.#..#.#/#...#.G#/########",
    ),
    (
        "large",
        "############/#....#.....#/#.##.#.#.#.#/#......#...#/#.####.###.#/#..#.#.....#/\
         ##.#.#.#.###/#..#...#.G.#/############",
    ),
    ("eval-umaze", "#####/#..G#/#.###/#...#/#####"),
    (
        "eval-medium",
        "########/#.....G#/#.#.##.#/#....#.#/###..###/#......#/#..##..#/########",
    ),
    (
        "eval-large",
        "############/#..#...#.G.#/##.###.#.#.#/#..#.#.....#/#.##.#..##.#/#......#...#/\
         #.##.#.#.###/#....#.....#/############",
    ),
];

/// A cell of a map: row and column.
pub type Cell = (usize, usize);

/// The maze of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maze {
    /// Whether each cell is a wall, row by row.
    walls: Vec<Vec<bool>>,
    free: Vec<Cell>,
    goal: Cell,
}

impl Maze {
    /// The maze of `env`; `None` if it is no maze2d.
    pub fn of(env: EnvId) -> Option<Self> {
        let name = env.name().strip_prefix("maze2d-")?;
        let name = name.strip_suffix("-dense").unwrap_or(name);
        let (_, map) = MAPS.iter().find(|(known, _)| *known == name)?;
        Self::parse(map)
    }

    fn parse(map: &str) -> Option<Self> {
        let rows: Vec<&[u8]> = map.split('/').map(str::as_bytes).collect();
        let (mut free, mut goal) = (Vec::new(), None);
        for (i, row) in rows.iter().enumerate() {
            for (j, cell) in row.iter().enumerate() {
                if *cell != b'#' {
                    free.push((i, j));
                }
                if *cell == b'G' {
                    goal = Some((i, j));
                }
            }
        }
        let walls = rows
            .iter()
            .map(|row| row.iter().map(|cell| *cell == b'#').collect());
        Some(Self {
            walls: walls.collect(),
            free,
            goal: goal?,
        })
    }

    /// Whether the ball cannot be in a cell. Beyond the map it can nowhere be.
    pub fn is_wall(&self, (i, j): Cell) -> bool {
        let cell = self.walls.get(i).and_then(|row| row.get(j));
        cell.copied().unwrap_or(true)
    }

    /// Every cell the ball can be in, the goal's too, row by row.
    pub fn free(&self) -> &[Cell] {
        &self.free
    }

    /// Number of rows and of columns.
    pub fn size(&self) -> (usize, usize) {
        (self.walls.len(), self.walls.first().map_or(0, Vec::len))
    }

    /// The goal's cell. Its numbers are the goal's position.
    pub fn goal(&self) -> Cell {
        self.goal
    }

    /// A free cell drawn uniformly, and a position drawn around its numbers.
    pub fn draw(&self, stream: &mut Stream) -> [f64; 2] {
        let (i, j) = self.free[stream.index(self.free.len())];
        [
            i as f64 + stream.uniform(-START, START),
            j as f64 + stream.uniform(-START, START),
        ]
    }

    /// The maze as a model of MuJoCo's.
    fn mjcf(&self) -> String {
        let mut xml = String::from(
            "<mujoco model=\"point_maze\">\
             <compiler inertiafromgeom=\"true\" angle=\"radian\"/>\
             <option timestep=\"0.01\" gravity=\"0 0 0\" iterations=\"20\" integrator=\"Euler\"/>\
             <default>\
             <joint damping=\"1\" limited=\"false\"/>\
             <geom friction=\".5 .1 .1\" density=\"1000\" margin=\"0.002\" condim=\"1\" \
             contype=\"2\" conaffinity=\"1\"/>\
             </default>\
             <worldbody>\
             <geom name=\"ground\" type=\"plane\" size=\"40 40 0.25\" pos=\"0 0 -0.1\" \
             contype=\"1\" conaffinity=\"0\"/>\
             <body name=\"particle\" pos=\"1.2 1.2 0\">\
             <geom name=\"particle_geom\" type=\"sphere\" size=\"0.1\" pos=\"0 0 0\" contype=\"1\"/>\
             <joint name=\"ball_x\" type=\"slide\" pos=\"0 0 0\" axis=\"1 0 0\"/>\
             <joint name=\"ball_y\" type=\"slide\" pos=\"0 0 0\" axis=\"0 1 0\"/>\
             </body>",
        );
        for (i, row) in self.walls.iter().enumerate() {
            for (j, _) in row.iter().enumerate().filter(|(_, wall)| **wall) {
                // Writing to a string cannot fail.
                let _ = write!(
                    xml,
                    "<geom name=\"wall_{i}_{j}\" type=\"box\" pos=\"{}.0 {}.0 0\" \
                     size=\"0.5 0.5 0.2\" conaffinity=\"1\"/>",
                    i + 1,
                    j + 1
                );
            }
        }
        xml.push_str(
            "</worldbody>\
             <actuator>\
             <motor joint=\"ball_x\" ctrlrange=\"-1.0 1.0\" ctrllimited=\"true\" gear=\"100\"/>\
             <motor joint=\"ball_y\" ctrlrange=\"-1.0 1.0\" ctrllimited=\"true\" gear=\"100\"/>\
             </actuator></mujoco>",
        );
        xml
    }
}

/// What being at a position is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reward {
    goal: [f64; 2],
    dense: bool,
}

impl Reward {
    /// That of `env`; `None` if it is no maze2d.
    pub fn of(env: EnvId) -> Option<Self> {
        let (i, j) = Maze::of(env)?.goal();
        Some(Self {
            goal: [i as f64, j as f64],
            dense: env.name().ends_with("-dense"),
        })
    }

    /// The reward at `position`: 1 within 0.5 of the goal and else 0; dense,
    /// `exp(-distance)`. Steps have that of the position they lead to, D4RL's data that of
    /// the position a row starts from.
    pub fn at(&self, position: [f64; 2]) -> f64 {
        let [dx, dy] = [position[0] - self.goal[0], position[1] - self.goal[1]];
        let distance = (dx * dx + dy * dy).sqrt();
        match self.dense {
            true => (-distance).exp(),
            false if distance <= NEAR => 1.0,
            false => 0.0,
        }
    }
}

/// Every maze2d environment.
pub(crate) fn all() -> impl Iterator<Item = EnvId> {
    let envs = EnvId::all().into_iter();
    envs.filter(|env| Maze::of(*env).is_some())
}

/// One maze over its own simulation.
pub(crate) struct PointMaze {
    id: EnvId,
    maze: Maze,
    reward: Reward,
    simulation: Simulation,
    /// Positions, then velocities.
    obs: [f64; 4],
}

impl PointMaze {
    /// The environment `id`, which has to be a maze2d.
    pub(crate) fn new(id: EnvId) -> Result<Self, EnvError> {
        let (Some(maze), Some(reward)) = (Maze::of(id), Reward::of(id)) else {
            return Err(EnvError::NotSimulated {
                env: id,
                simulated: all().collect(),
            });
        };
        let model = mujoco::model(id, |library| {
            let xml = maze.mjcf();
            Model::parse(library, xml.as_bytes(), &[], Path::new(id.name()))
        })?;
        let mut env = Self {
            id,
            maze,
            reward,
            simulation: Simulation::new(model)?,
            obs: [0.0; 4],
        };
        env.observe();
        Ok(env)
    }

    fn observe(&mut self) {
        self.obs[..2].copy_from_slice(self.simulation.qpos());
        self.obs[2..].copy_from_slice(self.simulation.qvel());
    }

    fn unstable(&self, why: String) -> EnvError {
        EnvError::Unstable { env: self.id, why }
    }
}

impl Env for PointMaze {
    fn id(&self) -> EnvId {
        self.id
    }

    fn reset(&mut self, stream: &mut Stream) -> Result<(), EnvError> {
        let qpos = self.maze.draw(stream);
        let qvel = [0.1 * stream.normal(), 0.1 * stream.normal()];
        self.set_state(&qpos, &qvel)
    }

    fn obs(&self) -> &[f64] {
        &self.obs
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        let values = action.iter().map(|&a| f64::from(a));
        check_input(self.id, "action", values, 2)?;
        let ctrl = [action[0], action[1]].map(|a| f64::from(a).clamp(-1.0, 1.0));
        let [vx, vy] = [self.obs[2], self.obs[3]].map(|v| v.clamp(-SPEED, SPEED));
        // Also where nothing is too fast: computing forward changes the solver's warm start.
        let slowed = self.simulation.set_qvel(&[vx, vy]);
        let stepped = slowed.and_then(|()| self.simulation.step(&ctrl, 1));
        stepped.map_err(|why| self.unstable(why))?;
        self.observe();
        Ok(Step {
            reward: self.reward.at([self.obs[0], self.obs[1]]),
            terminal: false,
        })
    }

    state_of_simulation!();

    fn scene(&self) -> Option<Scene> {
        let (i, j) = self.maze.goal();
        let mut solids = self.simulation.solids();
        solids.push(Solid::goal(ORIGIN + i as f64, ORIGIN + j as f64, NEAR));
        Some(Scene {
            view: View::Above,
            step_seconds: 0.01,
            solids,
        })
    }
}

impl Physics for PointMaze {
    physics_of_simulation!();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_maze2d_of_d4rl_has_a_closed_map_with_a_goal() {
        assert_eq!(all().count(), 14);
        for env in all() {
            let maze = Maze::of(env).unwrap();
            let (rows, columns) = maze.size();
            assert!(maze.walls.iter().all(|row| row.len() == columns), "{env}");
            for (i, j) in maze.free() {
                let inside = (1..rows - 1).contains(i) && (1..columns - 1).contains(j);
                assert!(inside, "{env}: {i} {j} is on the border");
            }
            assert!(maze.free().contains(&maze.goal()));
            assert!(maze.is_wall((0, 0)) && maze.is_wall((rows, 1)));
        }
        assert!(Maze::of(EnvId::HOPPER).is_none());
    }

    #[test]
    fn rewards_are_those_of_the_distance_to_the_goal() {
        let of = |name: &str| Reward::of(EnvId::named(name).unwrap()).unwrap();
        let sparse = of("maze2d-umaze");
        assert_eq!(sparse.at([1.0, 1.5]), 1.0);
        assert_eq!(sparse.at([1.0, 1.500_001]), 0.0);
        let dense = of("maze2d-umaze-dense");
        assert_eq!(dense.at([4.0, 5.0]), (-5f64).exp());
    }
}
