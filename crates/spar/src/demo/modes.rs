//! Logged actions in two places, and what clones and SPAR around them make of those.
//!
//! The mean of two places is in neither: a clone by regression ends between them, where
//! nothing is known and nothing is worth anything. A diffusion policy clones both. SPAR
//! takes either as its frozen anchor; what it adds has to be a residual that the data show,
//! of whichever place the anchor's action is near.
//!
//! Every method is trained by `spar_train::Trainer`, in memory.

use std::sync::Arc;

use spar_core::Stream;
use spar_data::{Dataset, Steps, Transitions};
use spar_policy::Policy;
use spar_train::{Method, TrainConfig, Trainer};

use super::{
    DemoError,
    problem::{Point, between, turned_back},
    train::{self, ANCHOR_UPDATES, BATCH, Stage},
};

/// The two places in the context `0`; the context turns them, and the goal, as it turns the
/// ledge of the other picture.
pub(crate) const PLACES: [Point; 2] = [[-0.5, 0.0], [0.5, 0.0]];
/// Standard deviation of logged actions around theirs.
pub(crate) const STD: f64 = 0.07;
/// Distance from the nearer place beyond which an action is worth nothing: more than four
/// standard deviations.
pub(crate) const REACH: f64 = 0.3;
/// Where value would be greatest, in the context `0`: beside the second place.
pub(crate) const GOAL: Point = [0.62, 0.18];
/// How much worth is lost per unit of distance from the goal.
const SLOPE: f64 = 0.6;
/// Logged episodes, each of one step.
const ROWS: usize = 4000;
/// Of the diffusion policy: widths of its layers, steps of its chain (with the source's five a
/// third of its draws lie in neither place), updates and their learning rate.
const CLONE_HIDDEN: [i64; 3] = [128; 3];
const CLONE_STEPS: i64 = 20;
const CLONE_UPDATES: u64 = 3000;
const CLONE_LR: f64 = 1e-3;
/// Updates of SPAR after its anchor's, and of those in which it only fits.
pub(crate) const SPAR_UPDATES: u64 = 2400;
const WARMUP: u64 = 1200;
/// Contexts in which policies act, evenly spaced on `[-1, 1]`.
pub(crate) const CONTEXTS: usize = 201;

/// What the policies of the second picture do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Modes {
    /// Seed of data and methods.
    pub(crate) seed: u64,
    /// The clone by regression, the one by diffusion, and SPAR around each.
    pub(crate) played: [Played; 4],
}

/// What one policy does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Played {
    /// As the picture calls it.
    pub(crate) name: &'static str,
    /// The method that it is drawn as.
    pub(crate) method: &'static str,
    /// Its action in every context, turned as if the context were `0`.
    pub(crate) actions: Vec<Point>,
    /// What it is worth, and how far from the places it acts.
    pub(crate) stage: Stage,
}

/// Distance of action `a`, turned as if the context were `0`, from the nearer place.
fn distance(a: Point) -> f64 {
    let [left, right] = PLACES.map(|place| between(a, place));
    left.min(right)
}

/// The true worth of such an action.
pub(crate) fn value(a: Point) -> f64 {
    match distance(a) <= REACH {
        true => 1.0 - SLOPE * between(a, GOAL),
        false => 0.0,
    }
}

/// What the behaviour did, without end: contexts uniform on `[-1, 1]`, either place as often,
/// turned as if the context were `0`. Drawn from the stream `demo/modes` of `seed`.
pub(crate) fn draws(seed: u64) -> impl Iterator<Item = (f64, Point)> {
    let mut stream = Stream::new(seed, "demo/modes");
    std::iter::repeat_with(move || {
        let s = stream.uniform(-1.0, 1.0);
        let [x, y] = PLACES[usize::from(stream.uniform(0.0, 1.0) < 0.5)];
        (s, [x + STD * stream.normal(), y + STD * stream.normal()])
    })
}

/// The logged data, each episode one step whose reward is the action's true worth.
fn logged(seed: u64) -> Result<Transitions, DemoError> {
    let mut steps = Steps::default();
    // D4RL's layout makes no transition of a file's last row.
    for (s, a) in draws(seed).take(ROWS + 1) {
        steps.observations.push(s as f32);
        steps.actions.extend(turned_back(-s, a).map(|x| x as f32));
        steps.rewards.push(value(a) as f32);
        steps.terminals.push(true);
        steps.timeouts.push(false);
    }
    let data = Dataset::in_memory("demo", 1, 2, steps)?;
    Ok(Transitions::new(Arc::new(data), 1)?)
}

impl Modes {
    /// Logs the data and trains on them, on this thread.
    ///
    /// # Errors
    /// See [`DemoError`].
    pub(crate) fn train(seed: u64) -> Result<Self, DemoError> {
        let data = logged(seed)?;
        let spar = spar_config()?;
        let trained = |method, config| finished(Trainer::new(method, config, &data, seed)?);
        let bc = trained(Method::Bc, spar.clone())?;
        let diffusion: Method = "bc-diffusion".parse()?;
        let clone = trained(diffusion, clone_config(diffusion)?)?;
        let of_clones = [
            played("BC", "bc", &bc),
            played("diffusion clone", "bc-diffusion", &clone),
        ];
        let around_bc = trained(Method::Spar, spar.clone())?;
        let around_clone = finished(Trainer::around(clone, spar, &data, seed)?)?;
        let [bc, clone] = of_clones;
        Ok(Self {
            seed,
            played: [
                bc,
                clone,
                played("SPAR around BC", "spar", &around_bc),
                played("SPAR around the clone", "spar", &around_clone),
            ],
        })
    }
}

/// The policy at the end of a training.
fn finished(mut trainer: Trainer<'static>) -> Result<Policy, DemoError> {
    while trainer.step()? {}
    Ok(Policy::new(trainer.policy()?, None, None))
}

/// SPAR's usual hyper-parameters in the demo's size.
fn spar_config() -> Result<TrainConfig, DemoError> {
    let mut config = train::spar_config()?;
    config.batch_size = BATCH;
    config.anchor.updates = ANCHOR_UPDATES;
    config.updates = SPAR_UPDATES;
    config.rectify.warmup = WARMUP;
    // Returns are worths: they stay about as they are.
    config.reward_range = 1.0;
    Ok(config)
}

/// The diffusion clone's: the source's but for sizes and the learning rate.
fn clone_config(method: Method) -> Result<TrainConfig, DemoError> {
    let changes: [(&str, toml::Value); 5] = [
        ("updates", (CLONE_UPDATES as i64).into()),
        ("data.batch_size", (BATCH as i64).into()),
        ("hidden", CLONE_HIDDEN.to_vec().into()),
        ("steps", CLONE_STEPS.into()),
        ("lr", CLONE_LR.into()),
    ];
    let changes = changes.map(|(key, value)| (key.to_owned(), value));
    Ok(TrainConfig::default().with(method, &changes)?)
}

/// What `policy` does in every context: the action that it would be an anchor by, which of a
/// policy that draws is one draw for each context.
fn played(name: &'static str, method: &'static str, policy: &Policy) -> Played {
    let context = |i: usize| 2.0 * i as f64 / (CONTEXTS - 1) as f64 - 1.0;
    let states: Vec<f32> = (0..CONTEXTS).map(|i| context(i) as f32).collect();
    let mut actions = vec![0f32; 2 * CONTEXTS];
    policy.base_actions(&states, &mut actions);
    let (rows, _) = actions.as_chunks::<2>();
    let turned = |(i, a): (usize, &[f32; 2])| turned_back(context(i), a.map(f64::from));
    let actions: Vec<Point> = rows.iter().enumerate().map(turned).collect();
    let mean = |of: fn(Point) -> f64| actions.iter().map(|a| of(*a)).sum::<f64>() / CONTEXTS as f64;
    Played {
        name,
        method,
        stage: Stage {
            update: 0,
            action: actions[CONTEXTS / 2],
            value: mean(value),
            distance: mean(distance),
            fallen: mean(|a| f64::from(distance(a) > REACH)),
        },
        actions,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn between_the_places_nothing_is_worth_anything() {
        assert_eq!(value([0.0, 0.0]), 0.0);
        let [left, right] = PLACES.map(value);
        assert!(0.0 < left && left < 0.5 && right > 0.85, "{left} {right}");
        // Near the better place it grows towards the goal.
        assert!(value([0.56, 0.09]) > right);
    }

    #[test]
    fn logged_actions_lie_in_both_places_and_none_is_worth_nothing() {
        let all: Vec<Point> = draws(5).take(ROWS).map(|(_, a)| a).collect();
        let right = all.iter().filter(|a| a[0] > 0.0).count() as f64 / ROWS as f64;
        assert!((right - 0.5).abs() < 0.05, "{right}");
        assert!(all.iter().all(|a| value(*a) > 0.0));
        let data = logged(5).unwrap();
        assert_eq!(data.len(), ROWS);
    }
}
