//! Why a policy of SPAR is not better: nothing better in reach, or the wrong choice of it?
//!
//! Self-imitation moves the policy towards those of its candidates that the critics prefer. It
//! gains nothing where no candidate is better than what the policy does (reach), and nothing
//! where the critics prefer others (choice). The simulator knows which: in states that the
//! policy comes to, each candidate is taken once, and the policy acts from then on. With
//!
//! `gain(a) = Q(s, a) - Q(s, pi(s))`, `Q` the discounted return of the branch,
//!
//! reach is the mean over states of `max(0, max_k gain(a_k))`, choice that of the gain of what
//! the critics value most among the candidates and the policy's own action. `Q` is computed,
//! not estimated ([`crate::branch()`]), but it need not be smooth: where what follows an action
//! hangs on its last digits, the best of K is better than the policy by chance. So as many
//! copies of the policy's own action, moved by [`JITTER`], are taken too, and reach is to be
//! compared with theirs.

use serde::Serialize;
use spar_core::Stream;
use spar_env::MakeEnv;
use spar_policy::{Policy, PolicyError};
use spar_stats::{Bootstrap, Estimate, StatsError, hierarchical_mean, mean, spearman};

use crate::{
    branch::{Branch, Snapshot, Span, branch, visited},
    rollouts::EvalError,
};

/// Standard deviation by which copies of the policy's own action are moved, of each component:
/// far below what tells candidates apart.
pub const JITTER: f32 = 1e-3;

/// How a policy is diagnosed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DiagnoseConfig {
    /// Episodes that states are taken from.
    pub episodes: usize,
    /// States of each.
    pub states: usize,
    /// Candidates in each state, K.
    pub candidates: usize,
    /// Discount of rewards that follow.
    pub discount: f64,
    /// Steps of a branch.
    pub steps: usize,
    /// Seed of episodes, states and candidates.
    pub seed: u64,
}

impl Default for DiagnoseConfig {
    /// 64 states; steps after which a reward counts less than a hundredth.
    fn default() -> Self {
        Self {
            episodes: 16,
            states: 4,
            candidates: 8,
            discount: 0.99,
            steps: 460,
            seed: 42,
        }
    }
}

/// What was found: means over states with their 95% intervals (episodes resampled, then states
/// within them). Gains are in discounted return, in the units of the environment's rewards.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// States looked at.
    pub states: usize,
    /// `Q(s, pi(s))`, what the policy earns from a state on.
    pub value: Estimate,
    /// Gain of the base's action: negative where rectification is right.
    pub base: Estimate,
    /// Mean gain of the candidates: what drawing one at random costs.
    pub candidate: Estimate,
    /// Gain of the best candidate, 0 where none is better than the policy.
    pub reach: Estimate,
    /// [`Self::reach`] of as many copies of the policy's own action, moved by [`JITTER`].
    pub chance: Estimate,
    /// Gain of what the critics value most, the policy's own action included.
    pub choice: Estimate,
    /// Rank correlation of the critics' values with the simulator's among a state's
    /// candidates, mean over the states that have one; `None` if none has.
    pub ranks: Option<Estimate>,
    /// Rank correlation of the critics' values of the policy's own action with the simulator's,
    /// between states; `None` where either does not vary.
    pub value_ranks: Option<f64>,
}

/// Why a policy could not be diagnosed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiagnoseError {
    /// The policy has no candidates.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A branch could not be played.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// There was nothing to take a mean of.
    #[error(transparent)]
    Stats(#[from] StatsError),
}

/// What is known of one state.
struct Found {
    value: f64,
    base: f64,
    candidate: f64,
    reach: f64,
    chance: f64,
    choice: f64,
    ranks: Option<f64>,
    critics: f64,
}

/// Diagnoses `policy` in environments that `env` makes, on `threads` threads, which do not
/// change a result.
///
/// # Errors
/// If the policy has no candidates and critics, or another width than the environment; if the
/// environment cannot be put back into a state.
pub fn diagnose(
    env: impl MakeEnv,
    policy: &Policy,
    config: &DiagnoseConfig,
    threads: usize,
) -> Result<Diagnosis, DiagnoseError> {
    let env: &dyn MakeEnv = &env;
    // A policy without candidates is refused before anything is played.
    let unseen = vec![0.0; policy.obs_dim()];
    policy.candidates(&unseen, 0, &mut Stream::new(0, "diagnose"))?;
    let episodes = visited(
        env,
        policy,
        config.episodes,
        config.states,
        config.seed,
        threads,
    )?;
    let span = Span {
        discount: config.discount,
        steps: config.steps,
        threads,
    };
    let found = in_states(env, policy, &episodes, (config, span))?;
    Ok(summary(&found)?)
}

/// Each state's candidates by both the critics and the simulator.
fn in_states(
    env: &dyn MakeEnv,
    policy: &Policy,
    episodes: &[Vec<Snapshot>],
    (config, span): (&DiagnoseConfig, Span),
) -> Result<Vec<Vec<Found>>, DiagnoseError> {
    let width = policy.act_dim();
    // Of each state the base's action, the policy's own, the candidates, and the copies.
    let k = config.candidates;
    let each = 2 + 2 * k;
    let (mut actions, mut critics) = (Vec::new(), Vec::new());
    for (episode, states) in episodes.iter().enumerate() {
        let stream = |name| Stream::new(config.seed, &format!("diagnose/{episode}/{name}"));
        let (mut jitter, mut stream) = (stream("jitter"), stream("candidates"));
        for state in states {
            let obs: Vec<f32> = state.obs.iter().map(|&x| x as f32).collect();
            let from = actions.len();
            let found = policy.candidates(&obs, k, &mut stream)?;
            for some in [&found.base, &found.own, &found.drawn] {
                actions.extend_from_slice(some);
            }
            let values = policy.values(&obs, &actions[from..])?;
            critics.push(values.into_iter().map(f64::from).collect::<Vec<_>>());
            for _ in 0..k {
                let mut moved = vec![0.0; width];
                jitter.fill_normal(JITTER, &mut moved);
                actions.extend(found.own.iter().zip(moved).map(|(a, by)| a + by));
            }
        }
    }
    let states: Vec<&Snapshot> = episodes.iter().flatten().collect();
    let rows = actions.chunks_exact(width).enumerate();
    let branches: Vec<Branch<'_>> = rows
        .map(|(row, first)| Branch {
            from: states[row / each],
            first,
        })
        .collect();
    let returns = branch(env, policy, &branches, span)?;
    let mut found = returns
        .chunks_exact(each)
        .zip(&critics)
        .map(|(simulated, critics)| of_state(simulated, critics, k));
    let of_episode = |states: &Vec<Snapshot>| found.by_ref().take(states.len()).collect();
    Ok(episodes.iter().map(of_episode).collect())
}

/// Of values of the base's action, the policy's own, `k` candidates and as many copies.
fn of_state(simulated: &[f64], critics: &[f64], k: usize) -> Found {
    let own = simulated[1];
    let gains: Vec<f64> = simulated[2..].iter().map(|q| q - own).collect();
    let (candidates, copies) = gains.split_at(k);
    let best = |gains: &[f64]| gains.iter().copied().fold(0.0, f64::max);
    // The policy's own action among them: where the critics prefer it, nothing is gained.
    let among = simulated[1..].iter().zip(&critics[1..]);
    let preferred = among.max_by(|(_, a), (_, b)| a.total_cmp(b));
    Found {
        value: own,
        base: simulated[0] - own,
        candidate: mean(candidates),
        reach: best(candidates),
        chance: best(copies),
        choice: preferred.map_or(0.0, |(q, _)| q - own),
        ranks: spearman(&critics[2..], &simulated[2..2 + k]),
        critics: critics[1],
    }
}

fn summary(found: &[Vec<Found>]) -> Result<Diagnosis, StatsError> {
    let over = |of: &dyn Fn(&Found) -> Option<f64>| {
        let episodes = found.iter().map(|states| states.iter().filter_map(of));
        let episodes = episodes.map(Iterator::collect::<Vec<_>>);
        let some: Vec<_> = episodes.filter(|states| !states.is_empty()).collect();
        Ok::<_, StatsError>(hierarchical_mean(&[some], &Bootstrap::coarse())?.overall)
    };
    let all = || found.iter().flatten();
    let ranked = all().any(|state| state.ranks.is_some());
    let (critics, simulated): (Vec<f64>, Vec<f64>) =
        all().map(|state| (state.critics, state.value)).unzip();
    Ok(Diagnosis {
        states: all().count(),
        value: over(&|state| Some(state.value))?,
        base: over(&|state| Some(state.base))?,
        candidate: over(&|state| Some(state.candidate))?,
        reach: over(&|state| Some(state.reach))?,
        chance: over(&|state| Some(state.chance))?,
        choice: over(&|state| Some(state.choice))?,
        ranks: match ranked {
            true => Some(over(&|state| state.ranks)?),
            false => None,
        },
        value_ranks: spearman(&critics, &simulated),
    })
}
