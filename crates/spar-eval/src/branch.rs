//! The same state twice: what an action is worth is what follows it.
//!
//! The physics is deterministic and its state can be set, so that the value of an action under
//! a policy, `Q(s, a) = r(s, a) + discount V(s')`, needs no estimate: take the action in the
//! state, then act by the policy, and add up. [`visited`] collects states that a policy comes
//! to, [`branch`] goes on from them.

use spar_core::{EnvId, Policy, Stream};
use spar_env::{Env, EnvError, MakeEnv};

use crate::rollouts::{EvalError, check_widths, each, watch};

/// Branches that one thread plays together.
const LANE: usize = 16;

/// A state of a simulation, and what is observed in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Generalized positions.
    pub qpos: Vec<f64>,
    /// Generalized velocities.
    pub qvel: Vec<f64>,
    /// The observation, `[obs_dim]`.
    pub obs: Vec<f64>,
}

/// An action to take in a state, before the policy acts.
#[derive(Clone, Copy, Debug)]
pub struct Branch<'a> {
    /// Where from.
    pub from: &'a Snapshot,
    /// The action, `[act_dim]`.
    pub first: &'a [f32],
}

/// How branches are played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// Discount of rewards that follow.
    pub discount: f64,
    /// Steps, the first one included; what would be earned after them is left out. An
    /// episode's horizon is no end, as in training.
    pub steps: usize,
    /// Threads; they do not change a result.
    pub threads: usize,
}

/// What a branch can differ by at most from the recorded observation: states are set in double
/// precision, and what is observed follows from them.
const SAME: f64 = 1e-6;

fn not_settable(env: EnvId, why: &'static str) -> EvalError {
    EvalError::NotSettable { env, why }
}

fn snapshot(env: &dyn Env) -> Result<Snapshot, EvalError> {
    let Some(physics) = env.physics() else {
        return Err(not_settable(env.id(), "it has no state that can be read"));
    };
    if physics.lags() {
        let why = "what it observes does not follow from its state alone";
        return Err(not_settable(env.id(), why));
    }
    Ok(Snapshot {
        qpos: physics.qpos().to_vec(),
        qvel: physics.qvel().to_vec(),
        obs: env.obs().to_vec(),
    })
}

/// States that `policy` comes to: of each of `episodes` of [`crate::rollout`] with this seed,
/// `states` of those it acts in, drawn from the stream `branch/<episode>` without replacement,
/// in the order of the episode; all, if it has no more.
///
/// # Errors
/// As [`crate::rollout`]; and if the environment's state cannot be read.
pub fn visited(
    env: impl MakeEnv,
    policy: &dyn Policy,
    episodes: usize,
    states: usize,
    seed: u64,
    threads: usize,
) -> Result<Vec<Vec<Snapshot>>, EvalError> {
    let env: &dyn MakeEnv = &env;
    snapshot(&*env.make()?)?;
    let of_episode = |&episode: &usize| {
        // An episode's length is known at its end: a reservoir holds a uniform choice
        // throughout.
        let mut stream = Stream::new(seed, &format!("branch/{episode}"));
        let (mut kept, mut seen) = (Vec::new(), 0usize);
        let mut failed = None;
        let mut see = |env: &dyn Env| {
            let place = if kept.len() < states {
                kept.len()
            } else {
                stream.index(seen + 1)
            };
            if place < states {
                match snapshot(env) {
                    Ok(found) if place < kept.len() => kept[place] = (seen, found),
                    Ok(found) => kept.push((seen, found)),
                    Err(error) => failed = Some(error),
                }
            }
            seen += 1;
        };
        let played = watch(env, policy, episode, seed, &mut see)?;
        if let Some(error) = failed {
            return Err(error);
        }
        // The state that an episode ended in is not acted in.
        kept.retain(|(step, _)| *step < played.length);
        kept.sort_by_key(|(step, _)| *step);
        Ok(kept.into_iter().map(|(_, found)| found).collect())
    };
    let episodes: Vec<usize> = (0..episodes).collect();
    each(threads, &episodes, of_episode)
}

/// The discounted return of each branch: its first action, then `policy`.
///
/// Branch `i` has the stream `branch/<i>/policy` of seed zero for a policy that draws.
///
/// # Errors
/// If a width does not fit, if the environment cannot be put into a state and observe there
/// what was observed, or if it fails.
pub fn branch(
    env: impl MakeEnv,
    policy: &dyn Policy,
    branches: &[Branch<'_>],
    span: Span,
) -> Result<Vec<f64>, EvalError> {
    let env: &dyn MakeEnv = &env;
    check_widths(env.id(), policy)?;
    let act_dim = env.id().act_dim();
    if let Some(other) = branches.iter().find(|one| one.first.len() != act_dim) {
        return Err(EvalError::Width {
            env: env.id(),
            what: "action",
            expected: act_dim,
            got: other.first.len(),
        });
    }
    let lanes: Vec<usize> = (0..branches.len()).step_by(LANE).collect();
    let play = |&first: &usize| {
        let end = branches.len().min(first + LANE);
        play(env, policy, (first, &branches[first..end]), span)
    };
    Ok(each(span.threads, &lanes, play)?.concat())
}

fn play(
    maker: &dyn MakeEnv,
    policy: &dyn Policy,
    (first, branches): (usize, &[Branch<'_>]),
    span: Span,
) -> Result<Vec<f64>, EvalError> {
    let id = maker.id();
    let mut returns = vec![0.0; branches.len()];
    // Those under way: which branch it is, and where it stands.
    let mut running = Vec::with_capacity(branches.len());
    let mut noise = Vec::with_capacity(branches.len());
    let mut actions = Vec::new();
    for (place, branch) in branches.iter().enumerate() {
        let mut env = maker.make()?;
        put(&mut *env, branch.from)?;
        running.push((place, env));
        noise.push(Stream::new(0, &format!("branch/{}/policy", first + place)));
        actions.extend_from_slice(branch.first);
    }
    let mut obs = Vec::new();
    let mut weight = 1.0;
    for step in 0..span.steps {
        if step > 0 {
            obs.clear();
            for (_, env) in &running {
                obs.extend(env.obs().iter().map(|&x| x as f32));
            }
            actions.resize(running.len() * id.act_dim(), 0.0);
            policy.act(&obs, &mut noise, &mut actions);
        }
        let mut ended = Vec::new();
        let taken = actions.chunks_exact(id.act_dim());
        for (row, ((place, env), action)) in running.iter_mut().zip(taken).enumerate() {
            let failed = |source: EnvError| EvalError::Env {
                episode: first + *place,
                step,
                source,
            };
            let done = env.step(action).map_err(failed)?;
            returns[*place] += weight * done.reward;
            if done.terminal {
                ended.push(row);
            }
        }
        for row in ended.into_iter().rev() {
            running.remove(row);
            noise.remove(row);
        }
        if running.is_empty() {
            break;
        }
        weight *= span.discount;
    }
    Ok(returns)
}

/// Puts `env` into a state.
fn put(env: &mut dyn Env, state: &Snapshot) -> Result<(), EvalError> {
    let id = env.id();
    let Some(physics) = env.physics_mut() else {
        return Err(not_settable(id, "it has no state that can be set"));
    };
    physics.set_observed(&state.qpos, &state.qvel, &state.obs)?;
    let same = env.obs().len() == state.obs.len()
        && env.obs().iter().zip(&state.obs).all(|(now, then)| {
            let scale = 1.0 + then.abs();
            (now - then).abs() <= SAME * scale
        });
    match same {
        true => Ok(()),
        false => Err(not_settable(
            id,
            "put into a recorded state, it observes something else",
        )),
    }
}
