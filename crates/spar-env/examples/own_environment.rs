//! An environment of one's own: a pendulum that has to be swung up and held, as in
//! gymnasium's `Pendulum-v1`.
//!
//! Once registered it has an [`EnvId`] like any other: `spar_eval::rollout` plays in it, a
//! run is evaluated in it, a suite's tasks name it.

use std::f64::consts::PI;

use spar_core::{EnvId, EnvSpec, Stream};
use spar_env::{Env, EnvError, NotRegistered, Step};

/// Angle from upright and its rate; observation `[cos, sin, rate]`.
struct Pendulum {
    id: EnvId,
    angle: f64,
    rate: f64,
    obs: [f64; 3],
}

impl Pendulum {
    const DT: f64 = 0.05;
    const LARGEST_TORQUE: f64 = 2.0;

    fn register() -> Result<EnvId, NotRegistered> {
        let spec = EnvSpec {
            name: "pendulum".into(),
            obs_dim: 3,
            act_dim: 1,
            horizon: 200,
            terminates: false,
            reference_returns: None,
        };
        let id = EnvId::register(spec.clone())?;
        spar_env::register(spec, "none", move || Ok(Box::new(Self::hanging(id))))
    }

    fn hanging(id: EnvId) -> Self {
        let mut env = Self {
            id,
            angle: PI,
            rate: 0.0,
            obs: [0.0; 3],
        };
        env.observe();
        env
    }

    fn observe(&mut self) {
        self.obs = [self.angle.cos(), self.angle.sin(), self.rate];
    }
}

impl Env for Pendulum {
    fn id(&self) -> EnvId {
        self.id
    }

    fn reset(&mut self, stream: &mut Stream) -> Result<(), EnvError> {
        self.angle = stream.uniform(-PI, PI);
        self.rate = stream.uniform(-1.0, 1.0);
        self.observe();
        Ok(())
    }

    fn obs(&self) -> &[f64] {
        &self.obs
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        let values = action.iter().map(|&a| f64::from(a));
        spar_env::check_input(self.id, "action", values, 1)?;
        let torque = Self::LARGEST_TORQUE * f64::from(action[0]).clamp(-1.0, 1.0);
        let off = (self.angle + PI).rem_euclid(2.0 * PI) - PI;
        let cost = off * off + 0.1 * self.rate * self.rate + 0.001 * torque * torque;
        let gravity = 15.0 * self.angle.sin();
        self.rate = (self.rate + (gravity + 3.0 * torque) * Self::DT).clamp(-8.0, 8.0);
        self.angle += self.rate * Self::DT;
        self.observe();
        Ok(Step {
            reward: -cost,
            terminal: false,
        })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let id = Pendulum::register()?;
    let mut env = spar_env::make(id)?;
    env.reset(&mut Stream::new(0, "example"))?;
    let mut total = 0.0;
    for _ in 0..id.horizon() {
        // Pushes along with the swing: enough to gain height, not to stay up.
        let along = env.obs()[2].signum() as f32;
        total += env.step(&[along])?.reward;
    }
    println!("{id}: return {total:.1} in {} steps", id.horizon());
    Ok(())
}
