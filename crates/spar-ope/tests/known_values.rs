//! Policies whose value is known from elsewhere: dynamic programming, and the simulator.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use spar_core::{EnvId, Policy, Stream};
use spar_data::{Dataset, Steps, Transitions};
use spar_ope::{Evaluation, FqeConfig, OpeError, evaluate};

const STATES: usize = 6;
const DISCOUNT: f64 = 0.9;

/// Where each of two actions leads from each state, for which reward; the last state's
/// second action ends the episode.
const NEXT: [[usize; 2]; STATES] = [[1, 2], [3, 0], [4, 1], [5, 2], [0, 5], [3, 5]];
const REWARD: [[f64; 2]; STATES] = [
    [1.0, -0.5],
    [0.0, 2.0],
    [-1.0, 0.5],
    [3.0, 0.0],
    [0.5, -2.0],
    [1.0, 4.0],
];

fn ends(state: usize, choice: usize) -> bool {
    state == STATES - 1 && choice == 1
}

/// The second action with a state's probability.
struct Table([f64; STATES]);

impl Policy for Table {
    fn obs_dim(&self) -> usize {
        STATES
    }

    fn act_dim(&self) -> usize {
        1
    }

    fn act(&self, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        let rows = obs.chunks_exact(STATES).zip(streams).zip(actions);
        for ((obs, stream), action) in rows {
            let state = obs.iter().position(|&x| x == 1.0).unwrap();
            let second = stream.uniform(0.0, 1.0) < self.0[state];
            *action = if second { 1.0 } else { -1.0 };
        }
    }
}

/// Values by dynamic programming: after `sweeps` steps at most.
fn values(policy: &Table, sweeps: usize) -> [f64; STATES] {
    let mut values = [0.0; STATES];
    for _ in 0..sweeps {
        let old = values;
        for (state, value) in values.iter_mut().enumerate() {
            let of = |choice: usize| {
                let goes_on = if ends(state, choice) { 0.0 } else { DISCOUNT };
                REWARD[state][choice] + goes_on * old[NEXT[state][choice]]
            };
            let second = policy.0[state];
            *value = (1.0 - second) * of(0) + second * of(1);
        }
    }
    values
}

/// Episodes of random actions, cut after `cut` steps, from states drawn uniformly. Returns
/// the initial states too.
fn logs(rows: usize, cut: usize) -> (Transitions, Vec<usize>) {
    let mut stream = Stream::new(1, "logs");
    let mut steps = Steps::default();
    let (mut state, mut length, mut starts) = (0, 0, Vec::new());
    for _ in 0..rows {
        if length == 0 {
            state = stream.index(STATES);
            starts.push(state);
        }
        let choice = stream.index(2);
        let mut obs = [0.0; STATES];
        obs[state] = 1.0;
        steps.observations.extend(obs);
        steps.actions.push([-1.0, 1.0][choice]);
        steps.rewards.push(REWARD[state][choice] as f32);
        let terminal = ends(state, choice);
        length += 1;
        let timeout = !terminal && length == cut;
        steps.terminals.push(terminal);
        steps.timeouts.push(timeout);
        if terminal || timeout {
            length = 0;
        }
        state = NEXT[state][choice];
    }
    let data = Dataset::in_memory("chain", STATES, 1, steps).unwrap();
    (
        Transitions::new(Arc::new(data), usize::MAX).unwrap(),
        starts,
    )
}

fn small() -> FqeConfig {
    FqeConfig {
        updates: 3000,
        batch: 128,
        hidden: vec![32, 32],
        lr: 2e-3,
        tau: 0.05,
        discount: DISCOUNT,
        ..FqeConfig::default()
    }
}

fn found(policy: &Table, draws: bool, data: &Transitions, config: &FqeConfig) -> Evaluation {
    evaluate(policy, draws, data, config, &mut |_, _| {}).unwrap()
}

fn mean(states: &[usize], values: &[f64; STATES]) -> f64 {
    states.iter().map(|&s| values[s]).sum::<f64>() / states.len() as f64
}

#[test]
fn a_table_s_value_is_that_of_dynamic_programming_and_a_cut_is_no_end() {
    let policy = Table([0.0, 1.0, 0.0, 1.0, 1.0, 0.0]);
    let (data, starts) = logs(4000, 5);
    let expected = mean(&starts, &values(&policy, 1000));
    let cut = mean(&starts, &values(&policy, 5));
    assert!(
        (expected - cut).abs() > 0.15 * expected.abs(),
        "a cut that counted would show"
    );
    let Evaluation {
        value,
        held_out,
        training,
        support,
    } = found(&policy, false, &data, &small());
    let got = value.discounted_return;
    assert!(
        (got - expected).abs() < 0.02 * expected.abs(),
        "{got}, expected {expected}"
    );
    assert_eq!(value.initial_states, starts.len());
    assert!(value.low.unwrap() < got && got < value.high.unwrap());
    assert_eq!(value.estimators.len(), 2);
    // Nothing is left of the equation's error where nothing is random.
    let held_out = held_out.unwrap();
    for errors in [training, held_out] {
        assert!(errors.rms < 0.15 && errors.mean.abs() < 0.05, "{errors:?}");
        assert!(errors.value_std > 1.0);
    }
    assert!(held_out.transitions < training.transitions);
    // Half of the data's actions are the policy's, the other half are 2 apart.
    assert!((support.distance - 2f64.sqrt()).abs() < 0.1, "{support:?}");
    assert!((support.spread - 1.0).abs() < 0.05 && support.outside == 0.0);
}

#[test]
fn a_policy_that_draws_is_worth_the_mean_of_its_draws() {
    let policy = Table([0.5, 0.2, 0.9, 0.5, 0.1, 0.7]);
    let (data, starts) = logs(6000, 9);
    let expected = mean(&starts, &values(&policy, 1000));
    let config = FqeConfig {
        draws: 4,
        ..small()
    };
    let got = found(&policy, true, &data, &config).value.discounted_return;
    assert!(
        (got - expected).abs() < 0.05 * expected.abs(),
        "{got}, expected {expected}"
    );
}

/// A spring that pulls a point to the middle, of which the data show pushes at random.
struct Spring;

impl Policy for Spring {
    fn obs_dim(&self) -> usize {
        2
    }

    fn act_dim(&self) -> usize {
        1
    }

    fn act(&self, obs: &[f32], _: &mut [Stream], actions: &mut [f32]) {
        for ([x, v], force) in obs.as_chunks::<2>().0.iter().zip(actions) {
            *force = (-x - v).clamp(-1.0, 1.0);
        }
    }
}

#[test]
fn the_value_of_a_controller_is_what_the_simulator_gives() {
    let mut stream = Stream::new(2, "pushes");
    let mut env = spar_env::make(EnvId::POINT_MASS).unwrap();
    let mut steps = Steps::default();
    let mut expected = Vec::new();
    for _ in 0..300 {
        env.reset(&mut stream).unwrap();
        let start = env.obs().to_vec();
        let physics = env.physics_mut().unwrap();
        let (mut discounted, mut weight) = (0.0, 1.0);
        physics.set_state(&start[..1], &start[1..]).unwrap();
        for _ in 0..300 {
            let obs = [env.obs()[0] as f32, env.obs()[1] as f32];
            let mut action = [0.0];
            Spring.act(&obs, &mut [], &mut action);
            discounted += weight * env.step(&action).unwrap().reward;
            weight *= 0.95;
        }
        expected.push(discounted);
        env.physics_mut()
            .unwrap()
            .set_state(&start[..1], &start[1..])
            .unwrap();
        for step in 1..=40 {
            steps
                .observations
                .extend(env.obs().iter().map(|&x| x as f32));
            let action = stream.uniform(-1.0, 1.0) as f32;
            let found = env.step(&[action]).unwrap();
            steps.actions.push(action);
            steps.rewards.push(found.reward as f32);
            steps.terminals.push(found.terminal);
            steps.timeouts.push(!found.terminal && step == 40);
            if found.terminal {
                break;
            }
        }
    }
    let expected = expected.iter().sum::<f64>() / expected.len() as f64;
    let data = Dataset::in_memory("pushes", 2, 1, steps).unwrap();
    let data = Transitions::new(Arc::new(data), usize::MAX).unwrap();
    let config = FqeConfig {
        discount: 0.95,
        hidden: vec![64, 64],
        ..small()
    };
    let value = evaluate(&Spring, false, &data, &config, &mut |_, _| {})
        .unwrap()
        .value;
    let got = value.discounted_return;
    // The data's own are far from it: a point that is pushed at random drifts away.
    let logged = value.data_discounted_return.unwrap();
    assert!(
        (got - expected).abs() < 0.05 * expected,
        "{got}, expected {expected}"
    );
    assert!((logged - expected).abs() > 0.15 * expected, "{logged}");
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_one_others() {
    let policy = Table([0.5; STATES]);
    let (data, _) = logs(500, 5);
    let of = |seed| {
        let config = FqeConfig {
            updates: 60,
            seed,
            ..small()
        };
        found(&policy, true, &data, &config)
    };
    let (one, again, other) = (of(3), of(3), of(4));
    assert_eq!(one, again);
    assert_ne!(one.value.estimators, other.value.estimators);
    assert_ne!(one.value.estimators[0], one.value.estimators[1]);
}

#[test]
fn progress_ends_at_all_updates_of_all_estimators() {
    let (data, _) = logs(100, 5);
    let config = FqeConfig {
        updates: 250,
        estimators: 2,
        ..small()
    };
    let mut told = Vec::new();
    evaluate(
        &Table([0.0; STATES]),
        false,
        &data,
        &config,
        &mut |done, all| told.push((done, all)),
    )
    .unwrap();
    assert_eq!(told, [100, 200, 250, 350, 450, 500].map(|done| (done, 500)));
}

/// One state of one number.
fn line(rewards: &[f32], terminals: &[bool], timeouts: &[bool]) -> Transitions {
    let rows = rewards.len();
    let steps = Steps {
        observations: (0..rows).map(|row| (row % 7) as f32).collect(),
        actions: (0..rows).map(|row| [-0.5, 0.25][row % 2]).collect(),
        rewards: rewards.to_vec(),
        terminals: terminals.to_vec(),
        timeouts: timeouts.to_vec(),
    };
    let data = Dataset::in_memory("line", 1, 1, steps).unwrap();
    Transitions::new(Arc::new(data), usize::MAX).unwrap()
}

/// Always the same number.
struct Constant(f32);

impl Policy for Constant {
    fn obs_dim(&self) -> usize {
        1
    }

    fn act_dim(&self) -> usize {
        1
    }

    fn act(&self, _: &[f32], _: &mut [Stream], actions: &mut [f32]) {
        actions.fill(self.0);
    }
}

fn tiny() -> FqeConfig {
    FqeConfig {
        updates: 50,
        batch: 16,
        hidden: vec![8],
        ..small()
    }
}

fn of(policy: &dyn Policy, data: &Transitions, config: &FqeConfig) -> Result<Evaluation, OpeError> {
    evaluate(policy, false, data, config, &mut |_, _| {})
}

#[test]
fn data_without_ends_rewards_or_more_than_one_episode_have_a_value() {
    let none = [false; 40];
    // One endless episode: nothing is held out, and one initial state has no interval.
    let endless = of(&Constant(0.0), &line(&[0.0; 40], &none, &none), &tiny()).unwrap();
    assert!(endless.held_out.is_none());
    let value = endless.value;
    assert_eq!(
        (value.initial_states, value.low, value.high),
        (1, None, None)
    );
    assert_eq!(value.data_discounted_return, None);
    assert!(value.discounted_return.abs() < 0.5);
    // Every row ends: a value is a reward.
    let ends = of(
        &Constant(0.0),
        &line(&[2.0; 40], &[true; 40], &none),
        &tiny(),
    )
    .unwrap();
    assert!((ends.value.discounted_return - 2.0).abs() < 0.3, "{ends:?}");
    assert_eq!(ends.value.data_discounted_return, Some(2.0));
    let beyond = of(&Constant(1.0), &line(&[0.0; 40], &none, &none), &tiny()).unwrap();
    assert_eq!(beyond.support.outside, 1.0);
}

#[test]
fn what_has_no_value_is_refused_in_words() {
    let none = [false; 40];
    let data = line(&[1.0; 40], &none, &none);
    let said = |policy: &dyn Policy, data: &Transitions, config: &FqeConfig| {
        of(policy, data, config).unwrap_err().to_string()
    };
    let widths = said(&Spring, &data, &tiny());
    assert!(
        widths.starts_with("the policy maps 2 observations to 1 actions, the data have 1 and 1")
    );
    let nan = said(&Constant(f32::NAN), &data, &tiny());
    assert_eq!(
        nan,
        "the policy's action in row 0 of the data is not finite: component 0 is NaN"
    );
    let huge = said(&Constant(0.0), &line(&[3e38; 40], &none, &none), &tiny());
    assert!(
        huge.contains("cannot be added up in single precision"),
        "{huge}"
    );
    for (config, expected) in [
        (
            FqeConfig {
                discount: 1.0,
                ..tiny()
            },
            "`discount` is 1, expected from 0 to below 1",
        ),
        (
            FqeConfig {
                held_out: f64::NAN,
                ..tiny()
            },
            "`held_out` is NaN, expected",
        ),
        (
            FqeConfig {
                updates: 0,
                ..tiny()
            },
            "`updates` is 0, expected",
        ),
        (FqeConfig { tau: 1.5, ..tiny() }, "`tau` is 1.5, expected"),
        (
            FqeConfig {
                hidden: vec![0],
                ..tiny()
            },
            "`hidden` is 0, expected",
        ),
    ] {
        let error = said(&Constant(0.0), &data, &config);
        assert!(error.starts_with(expected), "{error}");
    }
}
