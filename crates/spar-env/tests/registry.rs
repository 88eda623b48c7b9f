//! Environments that a program brings along are found like those of the crate.
#![allow(clippy::unwrap_used)]

use spar_core::{EnvId, EnvSpec, Stream};
use spar_env::{Env, EnvError, MakeEnv, Step};

/// Counts its steps; ends after three.
struct Counter {
    id: EnvId,
    steps: [f64; 1],
}

impl Env for Counter {
    fn id(&self) -> EnvId {
        self.id
    }

    fn reset(&mut self, _: &mut Stream) -> Result<(), EnvError> {
        self.steps = [0.0];
        Ok(())
    }

    fn obs(&self) -> &[f64] {
        &self.steps
    }

    fn step(&mut self, _: &[f32]) -> Result<Step, EnvError> {
        self.steps[0] += 1.0;
        if self.steps[0] > 3.0 {
            return Err(EnvError::Other {
                env: self.id,
                source: "it is over".into(),
            });
        }
        Ok(Step {
            reward: 1.0,
            terminal: self.steps[0] == 3.0,
        })
    }
}

fn spec(name: &'static str) -> EnvSpec {
    EnvSpec {
        name: name.into(),
        obs_dim: 1,
        act_dim: 1,
        horizon: 10,
        terminates: true,
        reference_returns: None,
    }
}

#[test]
fn a_registered_environment_is_made_by_its_id() {
    let maker = |id| move || Ok(Box::new(Counter { id, steps: [0.0] }) as Box<dyn Env>);
    let id = EnvId::register(spec("counter")).unwrap();
    assert_eq!(
        spar_env::register(spec("counter"), "1.2", maker(id)).unwrap(),
        id
    );
    assert!(spar_env::simulated().contains(&id));
    assert_eq!(spar_env::physics_version(id).unwrap(), "1.2");
    let mut env = "counter".parse::<EnvId>().unwrap().make().unwrap();
    assert!(env.physics().is_none());
    let ends: Vec<bool> = (0..3).map(|_| env.step(&[0.0]).unwrap().terminal).collect();
    assert_eq!(ends, [false, false, true]);
    let error = env.step(&[0.0]).unwrap_err().to_string();
    assert_eq!(error, "counter: it is over");

    let again = spar_env::register(spec("counter"), "1.3", maker(id));
    assert!(again.unwrap_err().to_string().contains("already"));
    let hopper = EnvSpec {
        horizon: 7,
        ..EnvId::HOPPER.spec().clone()
    };
    let other = spar_env::register(hopper, "none", maker(EnvId::HOPPER));
    assert!(other.unwrap_err().to_string().contains("`hopper`"));
}

#[test]
fn an_environment_that_nothing_simulates_says_which_there_are() {
    let id = EnvId::register(spec("simulated-nowhere")).unwrap();
    for error in [
        spar_env::make(id).err().unwrap(),
        spar_env::physics_version(id).unwrap_err(),
        id.make().err().unwrap(),
    ] {
        let error = error.to_string();
        assert!(
            error.contains("halfcheetah, hopper, walker2d, pointmass, ant, antmaze-umaze"),
            "{error}"
        );
        assert!(!error.contains('\n'));
    }
}
