//! An ant that runs from goal to goal on an open floor: where the policy is trained that
//! antmaze's data can be made with, where D4RL's own is not at hand.
//!
//! The ant, its motors and the length of a step are antmaze's. A state is observed as D4RL's
//! policy observes it (`scripts/generation/generate_ant_maze_datasets.py`): positions without
//! the place in the plane, velocities, and the direction to the goal, scaled to length 10,
//! so that how far the goal is stays unknown. The reward is the speed at which the goal comes
//! nearer, which sums up to the way made; D4RL trained with the distance itself, which says
//! less in each step. A goal that is reached is followed by another, and an ant on its back
//! ends the episode: in a maze it would lie there.

use spar_core::{EnvId, Stream};

use crate::{
    Env, EnvError, Physics, Scene, Solid, Step, View, antmaze,
    antmaze::{ACTIONS, Motors, REACHED},
    check_input,
    mujoco::{self, Simulation},
};

/// Length of the direction that is observed.
const DIRECTION: f64 = 10.0;

/// Seconds of a step.
const SECONDS: f64 = 0.1;

/// Goals drawn at a reset: more than are reached in an episode.
const GOALS: usize = 64;

/// Least and largest distance of a goal from the one before, in metres.
const APART: [f64; 2] = [2.0, 10.0];

/// Noise of initial positions, and of velocities.
const START: f64 = 0.1;

/// The environment, where the tables have it.
pub(crate) fn id() -> Option<EnvId> {
    EnvId::named("antmaze-ant")
}

/// One ant with its goals, over its own simulation.
pub(crate) struct GoalAnt {
    id: EnvId,
    simulation: Simulation,
    motors: Motors,
    rest: Vec<f64>,
    goals: Vec<[f64; 2]>,
    /// Which of them is next.
    next: usize,
    obs: Vec<f64>,
}

impl GoalAnt {
    /// Until it is reset there is one goal, ten metres ahead.
    pub(crate) fn new(id: EnvId) -> Result<Self, EnvError> {
        let model = mujoco::model(id, |library| antmaze::model(library, ""))?;
        let simulation = Simulation::new(model)?;
        let mut env = Self {
            id,
            motors: Motors::default(),
            rest: simulation.qpos().to_vec(),
            goals: vec![[DIRECTION, 0.0]],
            next: 0,
            obs: vec![0.0; id.obs_dim()],
            simulation,
        };
        env.observe();
        Ok(env)
    }

    /// From where the ant is to the next goal.
    fn way(&self) -> [f64; 2] {
        let goal = self.goals[self.next];
        let at = self.simulation.qpos();
        [goal[0] - at[0], goal[1] - at[1]]
    }

    fn observe(&mut self) {
        let [dx, dy] = self.way();
        let scale = DIRECTION / dx.hypot(dy).max(1e-9);
        let state = self.simulation.qpos()[2..].iter();
        let state = state.chain(self.simulation.qvel()).copied();
        let seen = state.chain([scale * dx, scale * dy]);
        for (out, x) in self.obs.iter_mut().zip(seen) {
            *out = x;
        }
    }

    /// The vertical part of the direction that is up for the torso.
    fn upright(&self) -> f64 {
        let at = self.simulation.qpos();
        let (x, y) = (at[4], at[5]);
        let turns: f64 = at[3..7].iter().map(|q| q * q).sum();
        1.0 - 2.0 * (x * x + y * y) / turns.max(f64::MIN_POSITIVE)
    }

    fn unstable(&self, why: String) -> EnvError {
        EnvError::Unstable { env: self.id, why }
    }
}

impl Env for GoalAnt {
    fn id(&self) -> EnvId {
        self.id
    }

    fn reset(&mut self, stream: &mut Stream) -> Result<(), EnvError> {
        let start = self.rest.iter().map(|q| q + stream.uniform(-START, START));
        let mut qpos: Vec<f64> = start.collect();
        // Turned any way: D4RL's ant comes to a waypoint from everywhere.
        let turn = stream.uniform(0.0, std::f64::consts::PI);
        (qpos[3], qpos[6]) = (qpos[3] * turn.cos(), turn.sin());
        let qvel = self.simulation.qvel().iter();
        let qvel: Vec<f64> = qvel.map(|_| START * stream.normal()).collect();
        let mut at = [qpos[0], qpos[1]];
        self.goals = (0..GOALS)
            .map(|_| {
                let angle = stream.uniform(0.0, std::f64::consts::TAU);
                let far = stream.uniform(APART[0], APART[1]);
                at = [at[0] + far * angle.cos(), at[1] + far * angle.sin()];
                at
            })
            .collect();
        self.set_state(&qpos, &qvel)
    }

    fn obs(&self) -> &[f64] {
        &self.obs
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        let values = action.iter().map(|&a| f64::from(a));
        check_input(self.id, "action", values, ACTIONS)?;
        let [dx, dy] = self.way();
        let before = dx.hypot(dy);
        let stepped = self.motors.step(&mut self.simulation, action);
        stepped.map_err(|why| self.unstable(why))?;
        let [dx, dy] = self.way();
        let left = dx.hypot(dy);
        if left <= REACHED && self.next + 1 < self.goals.len() {
            self.next += 1;
        }
        self.observe();
        Ok(Step {
            reward: (before - left) / SECONDS,
            terminal: self.upright() < 0.0,
        })
    }

    state_of_simulation!();

    fn scene(&self) -> Option<Scene> {
        let [x, y] = self.goals[self.next];
        let mut solids = self.simulation.solids();
        solids.push(Solid::goal(x, y, REACHED));
        Some(Scene {
            view: View::Slant { follow: true },
            step_seconds: SECONDS,
            solids,
        })
    }
}

/// The goals are no part of the state: they stay, and the first is the next.
impl Physics for GoalAnt {
    physics_of_simulation!(|env| env.next = 0);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ant() -> GoalAnt {
        GoalAnt::new(id().unwrap()).unwrap()
    }

    #[test]
    fn rewards_sum_up_to_the_way_made_to_the_goal() {
        let mut env = ant();
        env.reset(&mut Stream::new(3, "goals")).unwrap();
        let mut actions = Stream::new(4, "actions");
        let [dx, dy] = env.way();
        let (before, mut sum) = (dx.hypot(dy), 0.0);
        for _ in 0..50 {
            let mut action = [0.0; ACTIONS];
            actions.fill_uniform(-1.0, 1.0, &mut action);
            sum += env.step(&action).unwrap().reward;
            let [x, y] = [env.obs()[27], env.obs()[28]];
            assert!((x.hypot(y) - DIRECTION).abs() < 1e-9);
        }
        assert_eq!(env.next, 0, "the goal was reached by chance");
        let [dx, dy] = env.way();
        let made = before - dx.hypot(dy);
        assert!((sum * SECONDS - made).abs() < 1e-9, "{sum} {made}");
    }

    #[test]
    fn a_goal_that_is_reached_is_followed_by_the_next() {
        let mut env = ant();
        env.reset(&mut Stream::new(5, "goals")).unwrap();
        let [x, y] = env.goals[0];
        let mut qpos = env.rest.clone();
        qpos[..2].copy_from_slice(&[x + 0.3, y]);
        env.set_state(&qpos, &[0.0; 14]).unwrap();
        let step = env.step(&[0.0; ACTIONS]).unwrap();
        assert!(!step.terminal);
        assert_eq!(env.next, 1);
        let [dx, dy] = env.way();
        assert!((dx.atan2(dy) - env.obs()[27].atan2(env.obs()[28])).abs() < 1e-9);
    }

    #[test]
    fn an_ant_on_its_back_ends_the_episode() {
        let mut env = ant();
        let mut qpos = env.rest.clone();
        qpos[3..7].copy_from_slice(&[0.0, 1.0, 0.0, 0.0]);
        env.set_state(&qpos, &[0.0; 14]).unwrap();
        assert!(env.step(&[0.0; ACTIONS]).unwrap().terminal);
    }
}
