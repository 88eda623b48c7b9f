//! Branches from recorded states, against episodes that took the same way, and the diagnosis
//! of policies whose critics are known to be right, wrong and indifferent.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;

use spar_core::{EnvId, Normalizer, Stream};
use spar_env::{Env, EnvError, MakeEnv, Step};
use spar_eval::{
    Branch, DiagnoseConfig, DiagnoseError, Diagnosis, EvalError, Snapshot, Span, branch, diagnose,
    visited,
};
use spar_kernels::{Head, MlpShape};
use spar_policy::{Conservatism, Networks, PlainPolicy, Policy, Residual, RowMlp, SparPolicy};

const SPAN: Span = Span {
    discount: 0.97,
    steps: 300,
    threads: 1,
};

/// A layer of these weights, `[out, in]`, and biases.
fn layer(input: usize, weights: &[f32], biases: &[f32], head: Head) -> RowMlp {
    let shape = MlpShape::relu(input, [], biases.len())
        .unwrap()
        .with_head(head);
    RowMlp::from_params(&shape, &[weights, biases].concat()).unwrap()
}

/// A linear feedback in any environment, a little different for each component.
fn feedback(env: EnvId) -> Policy {
    let (obs, act) = (env.obs_dim(), env.act_dim());
    let mut weights = vec![0.0; obs * act];
    Stream::new(1, "feedback").fill_normal(0.3, &mut weights);
    Policy::new(
        Networks::Plain(PlainPolicy {
            normalizer: Normalizer::identity(obs),
            net: layer(obs, &weights, &vec![0.0; act], Head::Tanh),
            affine: None,
        }),
        None,
        None,
    )
}

fn act(policy: &Policy, obs: &[f64]) -> Vec<f32> {
    let obs: Vec<f32> = obs.iter().map(|&x| x as f32).collect();
    let mut action = vec![0.0; policy.act_dim()];
    policy.act(&obs, &mut action);
    action
}

/// What an episode earned after the step that `from` was observed at.
fn tail_of_episode(env: EnvId, policy: &Policy, seed: u64, from: &Snapshot) -> f64 {
    let mut env = env.make().unwrap();
    env.reset(&mut Stream::new(seed, "eval/0/reset")).unwrap();
    let (mut found, mut weight, mut sum) = (false, 1.0, 0.0);
    for step in 0.. {
        found |= env.obs() == from.obs;
        assert!(found || step < env.id().horizon(), "the state was not met");
        let done = env.step(&act(policy, env.obs())).unwrap();
        if found {
            sum += weight * done.reward;
            weight *= SPAN.discount;
        }
        if done.terminal || (found && weight < SPAN.discount.powi(SPAN.steps as i32 - 1) * 0.999) {
            break;
        }
    }
    sum
}

/// Taking in a state what the policy takes there is the episode that it was recorded in.
#[test]
fn a_branch_by_the_policys_own_action_is_the_rest_of_its_episode() {
    for env in [EnvId::POINT_MASS, EnvId::HOPPER, EnvId::HALF_CHEETAH] {
        let policy = feedback(env);
        let states = visited(env, &policy, 1, 3, 5, 1).unwrap().remove(0);
        assert_eq!(states.len(), 3, "{env}");
        let first: Vec<Vec<f32>> = states.iter().map(|s| act(&policy, &s.obs)).collect();
        let branches = states.iter().zip(&first);
        let branches: Vec<_> = branches
            .map(|(from, first)| Branch { from, first })
            .collect();
        let got = branch(env, &policy, &branches, SPAN).unwrap();
        for (from, got) in states.iter().zip(got) {
            let expected = tail_of_episode(env, &policy, 5, from);
            assert!(
                (got - expected).abs() < 1e-6 * (1.0 + expected.abs()),
                "{env}: {got} {expected}"
            );
        }
    }
}

#[test]
fn threads_and_neighbours_change_no_bit_of_a_branch() {
    let env = EnvId::HOPPER;
    let policy = feedback(env);
    let states = visited(env, &policy, 3, 9, 1, 1).unwrap();
    assert_eq!(states, visited(env, &policy, 3, 9, 1, 3).unwrap());
    let states: Vec<_> = states.iter().flatten().collect();
    let action = [0.3, -0.2, 0.1];
    let all: Vec<_> = states
        .iter()
        .map(|from| Branch {
            from,
            first: &action,
        })
        .collect();
    let together = branch(env, &policy, &all, SPAN).unwrap();
    assert_eq!(
        together,
        branch(env, &policy, &all, Span { threads: 3, ..SPAN }).unwrap()
    );
    for (one, expected) in all.iter().zip(&together) {
        assert_eq!(branch(env, &policy, &[*one], SPAN).unwrap(), [*expected]);
    }
}

/// A point mass whose state cannot be seen.
struct Hidden(Box<dyn Env>);

impl Env for Hidden {
    fn id(&self) -> EnvId {
        self.0.id()
    }
    fn reset(&mut self, stream: &mut Stream) -> Result<(), EnvError> {
        self.0.reset(stream)
    }
    fn obs(&self) -> &[f64] {
        self.0.obs()
    }
    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        self.0.step(action)
    }
}

#[test]
fn a_state_that_cannot_be_read_or_set_again_is_refused() {
    let env = EnvId::POINT_MASS;
    let policy = feedback(env);
    let hidden = (env, || -> Result<Box<dyn Env>, EnvError> {
        Ok(Box::new(Hidden(env.make()?)))
    });
    let error = visited(hidden, &policy, 1, 1, 0, 1).unwrap_err();
    assert!(matches!(error, EvalError::NotSettable { .. }), "{error}");
    let error = branch(env, &feedback(EnvId::HOPPER), &[], SPAN).unwrap_err();
    assert!(matches!(error, EvalError::Width { .. }), "{error}");
    let (state, wide) = (visited(env, &policy, 1, 1, 0, 1).unwrap(), [0.0; 2]);
    let one = Branch {
        from: &state[0][0],
        first: &wide,
    };
    let error = branch(env, &policy, &[one], SPAN).unwrap_err();
    assert!(matches!(error, EvalError::Width { got: 2, .. }), "{error}");
    // Another observation than the state has.
    let elsewhere = Snapshot {
        qpos: vec![0.5],
        qvel: vec![0.0],
        obs: vec![0.4, 0.0],
    };
    let action = [0.0];
    let one = Branch {
        from: &elsewhere,
        first: &action,
    };
    let error = branch(env, &policy, &[one], SPAN).unwrap_err();
    assert!(
        error.to_string().contains("observes something else"),
        "{error}"
    );
}

/// SPAR on the point mass: an anchor that does nothing, candidates `0.5 tanh(z_1)`, and critics
/// whose value is `-worth a`: right where the origin lies to the left, for a `worth` above 0.
fn spar(worth: f32) -> Policy {
    let critic = layer(3, &[0.0, 0.0, -worth], &[0.0], Head::Linear);
    Policy::new(
        Networks::Spar(SparPolicy {
            normalizer: Normalizer::identity(2),
            anchor: layer(2, &[0.0, 0.0], &[0.0], Head::Tanh),
            residual: Some(Residual {
                decoder: layer(5, &[0.0, 0.0, 0.0, 1.0, 0.0], &[0.0], Head::Tanh),
                rho: 0.5,
                critics: vec![critic.clone(), critic],
                conservatism: Conservatism::Min,
                sigma_z: 1.0,
                best_of: NonZeroUsize::MIN,
            }),
        }),
        None,
        None,
    )
}

/// A point mass that always starts at `x = 1`, so that the push to the left is right.
struct FromTheRight(Box<dyn Env>);

impl Env for FromTheRight {
    fn id(&self) -> EnvId {
        self.0.id()
    }
    fn reset(&mut self, _: &mut Stream) -> Result<(), EnvError> {
        match self.0.physics_mut() {
            Some(physics) => physics.set_state(&[1.0], &[0.0]),
            None => Ok(()),
        }
    }
    fn obs(&self) -> &[f64] {
        self.0.obs()
    }
    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        self.0.step(action)
    }
    fn physics(&self) -> Option<&dyn spar_env::Physics> {
        self.0.physics()
    }
    fn physics_mut(&mut self) -> Option<&mut dyn spar_env::Physics> {
        self.0.physics_mut()
    }
}

fn diagnosed(worth: f32, threads: usize) -> Diagnosis {
    let env = EnvId::POINT_MASS;
    let env = (env, move || -> Result<Box<dyn Env>, EnvError> {
        Ok(Box::new(FromTheRight(env.make()?)))
    });
    let config = DiagnoseConfig {
        episodes: 4,
        states: 3,
        steps: 10,
        ..DiagnoseConfig::default()
    };
    diagnose(env, &spar(worth), &config, threads).unwrap()
}

/// Critics that order candidates as the simulator does choose the best, those that order them
/// the other way the worst but never below the policy's own where they prefer it.
#[test]
fn the_diagnosis_tells_critics_that_know_from_those_that_do_not() {
    let right = diagnosed(1.0, 1);
    assert_eq!(right.states, 12);
    assert_eq!(right, diagnosed(1.0, 3));
    let ranks = right.ranks.unwrap().value;
    assert!(ranks > 0.999, "{ranks}");
    assert!(right.reach.value > 0.0);
    assert!(
        (right.choice.value - right.reach.value).abs() < 1e-12,
        "{right:?}"
    );
    // Copies that hardly differ gain hardly anything: the physics is smooth.
    assert!(right.chance.value < 0.02 * right.reach.value, "{right:?}");
    // At z = 0 the residual is nothing.
    assert!(right.base.value.abs() < 1e-12);
    let wrong = diagnosed(-1.0, 1);
    assert!(wrong.ranks.unwrap().value < -0.999);
    assert_eq!((wrong.reach, wrong.value), (right.reach, right.value));
    assert!(wrong.choice.value < 0.0);
    let indifferent = diagnosed(0.0, 1);
    assert_eq!((indifferent.ranks, indifferent.value_ranks), (None, None));
}

#[test]
fn a_policy_without_candidates_is_refused_before_anything_is_played() {
    let env = EnvId::POINT_MASS;
    let error = diagnose(env, &feedback(env), &DiagnoseConfig::default(), 1).unwrap_err();
    assert!(matches!(error, DiagnoseError::Policy(_)), "{error}");
    let widths = diagnose(EnvId::HOPPER, &spar(1.0), &DiagnoseConfig::default(), 1).unwrap_err();
    assert!(widths.to_string().contains("width"), "{widths}");
}
