//! Trains SPAR on data of an environment of one's own, evaluates it there and writes the
//! policy to the file named on the command line.

use std::{env, error::Error, fs, sync::Arc};

use spar_core::{EnvId, EnvSpec, Stream};
use spar_data::{Dataset, Steps, Transitions};
use spar_env::{Env, EnvError, Step};
use spar_policy::Policy;
use spar_train::{Method, TrainConfig, Trainer};

/// A cart on a rail that has to be brought to the middle and held there.
struct Cart {
    id: EnvId,
    state: [f64; 2],
}

impl Env for Cart {
    fn id(&self) -> EnvId {
        self.id
    }

    fn reset(&mut self, stream: &mut Stream) -> Result<(), EnvError> {
        self.state = [stream.uniform(-1.0, 1.0), 0.0];
        Ok(())
    }

    fn obs(&self) -> &[f64] {
        &self.state
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        let values = action.iter().map(|&a| f64::from(a));
        spar_env::check_input(self.id, "action", values, 1)?;
        let force = f64::from(action[0]).clamp(-1.0, 1.0);
        let [x, v] = &mut self.state;
        *v += 0.1 * (2.0 * force - 0.3 * *v);
        *x += 0.1 * *v;
        let reward = 1.0 - x.abs() - 0.01 * force * force;
        Ok(Step {
            reward,
            terminal: false,
        })
    }
}

/// Episodes of a careless driver.
fn logged(id: EnvId, episodes: usize) -> Result<Dataset, Box<dyn Error>> {
    let mut cart = spar_env::make(id)?;
    let (mut stream, mut steps) = (Stream::new(0, "driver"), Steps::default());
    for _ in 0..episodes {
        cart.reset(&mut stream)?;
        for t in 1..=id.horizon() {
            let [x, v] = [cart.obs()[0], cart.obs()[1]];
            let action = (-0.5 * x - 0.3 * v + 0.5 * stream.normal()).clamp(-1.0, 1.0) as f32;
            steps.observations.extend([x as f32, v as f32]);
            let step = cart.step(&[action])?;
            steps.actions.push(action);
            steps.rewards.push(step.reward as f32);
            steps.terminals.push(step.terminal);
            steps.timeouts.push(t == id.horizon());
        }
    }
    Ok(Dataset::in_memory("cart-logs", 2, 1, steps)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = env::args_os().nth(1).ok_or("name the file of the policy")?;
    let spec = EnvSpec {
        name: "cart".into(),
        obs_dim: 2,
        act_dim: 1,
        horizon: 50,
        terminates: false,
        reference_returns: None,
    };
    let id = EnvId::register(spec.clone())?;
    spar_env::register(spec, "none", move || {
        Ok(Box::new(Cart {
            id,
            state: [0.0; 2],
        }))
    })?;

    let data = Transitions::new(Arc::new(logged(id, 60)?), id.horizon())?;
    let mut config = TrainConfig {
        batch_size: 64,
        updates: 1500,
        ..TrainConfig::default()
    };
    config.anchor.updates = 500;
    config.rectify.warmup = 500;
    for hidden in [
        &mut config.anchor.hidden,
        &mut config.critic.hidden,
        &mut config.rectify.hidden,
    ] {
        *hidden = vec![32, 32];
    }
    let mut trainer = Trainer::new(Method::Spar, config, &data, 0)?;
    let mut anchor = None;
    while trainer.step()? {
        if trainer.phase() == spar_train::Phase::Anchor {
            anchor = Some(trainer.policy()?);
        }
    }
    let networks = trainer.policy()?;
    let mean = |policy: &dyn spar_core::Policy| -> Result<f64, Box<dyn Error>> {
        let played = spar_eval::rollout(id, policy, 20, 1, 1)?;
        Ok(played.iter().map(|episode| episode.ret).sum::<f64>() / 20.0)
    };
    let before = mean(&anchor.ok_or("there was no anchor")?)?;
    println!("anchor {before:.3}, SPAR {:.3}", mean(&networks)?);
    let policy = Policy::new(networks, Some(trainer.about(Some(id))), None);
    fs::write(file, policy.to_bytes()?)?;
    Ok(())
}
