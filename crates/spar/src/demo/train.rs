//! The three methods on the demo's problem, through the interfaces that `spar train`
//! uses, with a record of what each would do at every stage.
//!
//! The loops are not `spar_train::Trainer`'s: every stage shows what stands inside a learner (a
//! critic's opinion of the whole square, SPAR's candidates and their weights), and SPAR is trained
//! twice from one warm-up, neither of which a `Trainer` gives out.

use std::sync::Arc;

use candle_core::Tensor;
use spar_anchor::{Anchor, AnchorTrainer};
use spar_baselines::{Actor, Learner, Part, Replay, Sample, Start, find};
use spar_core::{Policy, Stream};
use spar_data::{Batch, Normalizer, Sampler, Transitions};
use spar_kernels::value::{Imitation, imitation};
use spar_nn::{Device, RowWork, State, Trace};
use spar_rectify::{Spar, SparMetrics, SparPolicy};
use spar_train::{TrainConfig, batch_slices};
use toml::Table;

use super::{
    DemoError,
    problem::{self, Point},
};

/// Updates of each method; SPAR's begin with those of its anchor.
pub(crate) const UPDATES: u64 = 6000;
/// Updates of SPAR that train its anchor.
pub(crate) const ANCHOR_UPDATES: u64 = 1200;
/// Further updates of SPAR in which the support model only fits.
pub(crate) const WARMUP: u64 = 2400;
/// Updates from one record to the next.
pub(crate) const EVERY: u64 = 300;
/// Transitions per update, of every method.
pub(crate) const BATCH: usize = 128;
/// Widths of the hidden layers of every network.
pub(crate) const HIDDEN: [usize; 2] = [64, 64];
/// Contexts, evenly spaced on `[-1, 1]`, in which policies are evaluated; odd, so that
/// the middle one is the context `0` of the picture.
pub(crate) const CONTEXTS: usize = 41;
/// Sets of K candidates that are drawn for the picture.
pub(crate) const SETS: usize = 3;
/// Points along each side of the grid on which a critic is asked for its opinion.
pub(crate) const GRID: usize = 33;

/// What a policy does at one stage of its training.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stage {
    /// Updates so far.
    pub(crate) update: u64,
    /// Its action in the context `0`.
    pub(crate) action: Point,
    /// Mean true value of its actions over all contexts.
    pub(crate) value: f64,
    /// Mean distance of its actions from the manifold.
    pub(crate) distance: f64,
    /// Share of the contexts in which its action is off the ledge.
    pub(crate) fallen: f64,
}

/// A method's training, stage by stage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Course {
    /// Its name in the registry, as in `td3bc`.
    pub(crate) method: &'static str,
    /// From before the first update to after the last.
    pub(crate) stages: Vec<Stage>,
}

impl Course {
    /// The policy after the last update.
    pub(crate) fn last(&self) -> &Stage {
        // There is one before the first update at least.
        &self.stages[self.stages.len() - 1]
    }
}

/// SPAR's candidates in the context `0` at one stage: [`SETS`] sets of K, one after
/// the other, of the same latents at every stage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidates {
    /// SPAR's updates so far, its anchor's included.
    pub(crate) update: u64,
    /// `clip(b + Delta_k)`.
    pub(crate) actions: Vec<Point>,
    /// The weight each has in its set; a set's sum to one.
    pub(crate) weights: Vec<f64>,
}

/// What SPAR's training leaves.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SparCourse {
    /// The policy; the anchor while that is being trained.
    pub(crate) course: Course,
    /// The frozen anchor.
    pub(crate) anchor: Stage,
    /// One for each stage since the anchor was frozen.
    pub(crate) candidates: Vec<Candidates>,
    /// K.
    pub(crate) k: usize,
    /// Weight of the fit beside self-imitation.
    pub(crate) w_fit: f64,
}

/// What a baseline's training leaves.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BaselineCourse {
    /// The policy.
    pub(crate) course: Course,
    /// For each stage its first critic's opinion of the action square in the context
    /// `0`, `[GRID, GRID]`, a row for each second component; none where the method has
    /// no critic.
    pub(crate) opinions: Vec<Vec<f64>>,
}

/// Contexts in which policies are evaluated.
fn contexts() -> impl Iterator<Item = f64> {
    (0..CONTEXTS).map(|i| 2.0 * i as f64 / (CONTEXTS - 1) as f64 - 1.0)
}

/// Evaluates the policy that writes its actions, `[CONTEXTS, 2]`, for the contexts as
/// they are.
fn evaluate(update: u64, act: impl FnOnce(&[f32], &mut [f32])) -> Stage {
    let states: Vec<f32> = contexts().map(|s| s as f32).collect();
    let mut actions = vec![0f32; 2 * CONTEXTS];
    act(&states, &mut actions);
    let (rows, _) = actions.as_chunks::<2>();
    let clipped = rows
        .iter()
        .map(|a| a.map(|x| f64::from(x).clamp(-1.0, 1.0)));
    let clipped: Vec<Point> = clipped.collect();
    let mean = |of: fn(f64, Point) -> f64| {
        let all = contexts().zip(&clipped).map(|(s, a)| of(s, *a));
        all.sum::<f64>() / CONTEXTS as f64
    };
    Stage {
        update,
        action: clipped[CONTEXTS / 2],
        value: mean(problem::value),
        distance: mean(problem::distance),
        fallen: mean(|s, a| f64::from(problem::distance(s, a) > problem::LEDGE)),
    }
}

/// Trains the baseline `method` of the registry with the hyper-parameters `settings`
/// over its published ones.
///
/// # Errors
/// If there is no such method, the settings do not fit it, or it diverges.
pub(crate) fn baseline(
    data: &Transitions,
    method: &'static str,
    settings: &Table,
    seed: u64,
) -> Result<BaselineCourse, DemoError> {
    let entry = find(method).ok_or(DemoError::Method(method))?;
    let settings = entry.settings(settings.clone())?;
    let feed = entry.feed(&settings)?;
    let replay = Arc::new(Replay::new(data, &feed, 1)?);
    let start = Start {
        obs_dim: 1,
        act_dim: 2,
        seed,
        replay: Arc::clone(&replay),
        anchor: None,
    };
    let mut learner = entry.start(&settings, start)?;
    let mut stream = Stream::new(seed, &format!("{method}/sampler"));
    let mut batch = Batch::new(feed.data.batch_size, 1, 2);
    let mut index = Vec::new();
    let mut stages = vec![stage_of(0, &*learner, &replay)?];
    let mut opinions = Vec::from_iter(opinion(&mut *learner, &replay)?);
    for update in 1..=UPDATES {
        replay.draw(&mut stream, &mut batch, &mut index);
        let sample = Sample {
            batch: spar_nn::Batch::of(&batch_slices(&batch))?,
            index: std::mem::take(&mut index),
        };
        let metrics = learner.update(update, &sample)?;
        index = sample.index;
        if !metrics.is_finite() {
            return Err(DemoError::Diverged { method, update });
        }
        if update.is_multiple_of(EVERY) {
            stages.push(stage_of(update, &*learner, &replay)?);
            opinions.extend(opinion(&mut *learner, &replay)?);
        }
    }
    Ok(BaselineCourse {
        course: Course { method, stages },
        opinions,
    })
}

fn stage_of(update: u64, learner: &dyn Learner, replay: &Replay) -> Result<Stage, DemoError> {
    let Actor::Net(net) = learner.actor()? else {
        return Err(DemoError::Actor);
    };
    Ok(evaluate(update, |states, actions| {
        let mut states = states.to_vec();
        replay.normalizer().apply(&mut states);
        net.rows(&states, &mut RowWork::default(), actions);
    }))
}

/// What a learner's first critic says of the action square in the context `0`.
fn opinion(learner: &mut dyn Learner, replay: &Replay) -> Result<Option<Vec<f64>>, DemoError> {
    let parts = learner.parts();
    let first = parts.0.iter().find_map(|(name, part)| match part {
        Part::Trained(trained) if name == "critic.0" => Some(&trained.net),
        _ => None,
    });
    let Some(critic) = first else {
        return Ok(None);
    };
    let mut s = [0.0];
    replay.normalizer().apply(&mut s);
    let side = |i: usize| 2.0 * i as f32 / (GRID - 1) as f32 - 1.0;
    let rows = (0..GRID * GRID).flat_map(|i| [s[0], side(i % GRID), side(i / GRID)]);
    let rows: Vec<f32> = rows.collect();
    let mut values = vec![0f32; GRID * GRID];
    critic
        .row_mlp()?
        .rows(&rows, &mut RowWork::default(), &mut values);
    Ok(Some(values.into_iter().map(f64::from).collect()))
}

/// SPAR's usual hyper-parameters, those of `suites/mujoco.toml`, in the demo's size.
pub(super) fn spar_config() -> Result<TrainConfig, DemoError> {
    let mut config = TrainConfig::default();
    for hidden in [
        &mut config.anchor.hidden,
        &mut config.critic.hidden,
        &mut config.rectify.hidden,
    ] {
        *hidden = HIDDEN.to_vec();
    }
    config.anchor.updates = ANCHOR_UPDATES;
    config.rectify.warmup = WARMUP;
    Ok(config)
}

/// What SPAR learns from: the data as `spar train` hands them to it.
struct Feed<'a> {
    data: &'a Transitions,
    normalizer: Normalizer,
    sampler: Sampler,
    batch: Batch,
}

impl Feed<'_> {
    fn next(&mut self) -> candle_core::Result<spar_nn::Batch> {
        self.sampler
            .next(self.data, &self.normalizer, &mut self.batch);
        spar_nn::Batch::of(&batch_slices(&self.batch))
    }

    /// The anchor as a policy.
    fn alone(&self, anchor: &Anchor) -> Result<SparPolicy, DemoError> {
        Ok(SparPolicy {
            normalizer: self.normalizer.clone(),
            anchor: anchor.rows()?,
            residual: None,
        })
    }

    fn rectified(&self, spar: &Spar) -> Result<SparPolicy, DemoError> {
        Ok(spar.policy(self.normalizer.clone())?)
    }
}

fn evaluate_policy(update: u64, policy: &SparPolicy) -> Stage {
    evaluate(update, |states, actions| {
        // A deterministic policy asks for streams and draws nothing.
        let mut streams = vec![Stream::new(0, "demo/act"); CONTEXTS];
        policy.act(states, &mut streams, actions);
    })
}

/// Trains SPAR once for each weight of the fit beside self-imitation in `w_fits`.
/// Before self-imitation begins that weight has no part in anything, so the runs
/// share their anchor and their warm-up.
///
/// # Errors
/// If its hyper-parameters cannot be read, or it diverges.
pub(crate) fn spar<const N: usize>(
    data: &Transitions,
    w_fits: [f64; N],
    seed: u64,
) -> Result<[SparCourse; N], DemoError> {
    let config = spar_config()?;
    let mut feed = Feed {
        data,
        normalizer: data.normalizer(),
        sampler: Sampler::new(Stream::new(seed, "spar/sampler")),
        batch: Batch::new(BATCH, 1, 2),
    };
    let mut init = Stream::new(seed, "anchor/init");
    let anchor = Anchor::new(&config.anchor, 1, 2, &mut init)?;
    let mut trainer = AnchorTrainer::new(anchor, &config.anchor);
    let mut stages = vec![evaluate_policy(0, &feed.alone(&trainer.anchor)?)];
    for update in 1..=ANCHOR_UPDATES {
        trainer.update(&feed.next()?)?;
        if update.is_multiple_of(EVERY) {
            stages.push(evaluate_policy(update, &feed.alone(&trainer.anchor)?));
        }
    }
    let anchor = trainer.freeze();
    let frozen = evaluate_policy(ANCHOR_UPDATES, &feed.alone(&anchor)?);

    let fork = ANCHOR_UPDATES + WARMUP;
    let mut fitted = Spar::new(
        config.rectify.clone(),
        config.critic.clone(),
        anchor,
        1,
        2,
        seed,
    )?;
    let mut trunk = SparCourse {
        course: Course {
            method: "spar",
            stages,
        },
        anchor: frozen,
        candidates: vec![candidates(ANCHOR_UPDATES, &fitted, &feed.normalizer, seed)?],
        k: config.rectify.candidates,
        w_fit: 1.0,
    };
    rectify(&mut fitted, &mut feed, &mut trunk, fork, seed)?;
    let mut state = State::default();
    fitted.save(&mut state)?;
    let sampler = feed.sampler.clone();

    let mut courses = w_fits.map(|w_fit| SparCourse {
        w_fit,
        ..trunk.clone()
    });
    for course in &mut courses {
        let mut own = config.rectify.clone();
        own.w_fit = course.w_fit;
        // Its parameters are those of the saved anchor in a moment.
        let anchor = Anchor::new(&config.anchor, 1, 2, &mut Stream::new(seed, "anchor/init"))?;
        let mut spar = Spar::new(own, config.critic.clone(), anchor, 1, 2, seed)?;
        spar.load(&state)?;
        feed.sampler = sampler.clone();
        rectify(&mut spar, &mut feed, course, UPDATES, seed)?;
    }
    Ok(courses)
}

/// Updates `spar` until it has done `until` updates, its anchor's included, and adds
/// what is seen on the way to `found`.
fn rectify(
    spar: &mut Spar,
    feed: &mut Feed<'_>,
    found: &mut SparCourse,
    until: u64,
    seed: u64,
) -> Result<(), DemoError> {
    let mut metrics = SparMetrics::default();
    for update in ANCHOR_UPDATES + spar.updates() + 1..=until {
        spar.update(&feed.next()?, &mut metrics)?;
        if !metrics.is_finite() {
            let method = "spar";
            return Err(DemoError::Diverged { method, update });
        }
        if update.is_multiple_of(EVERY) {
            let stage = evaluate_policy(update, &feed.rectified(spar)?);
            found.course.stages.push(stage);
            let seen = candidates(update, spar, &feed.normalizer, seed)?;
            found.candidates.push(seen);
        }
    }
    Ok(())
}

/// Candidates and their weights as one update of SPAR has them: the advantages are
/// divided by their deviation over all evaluated contexts, of which the picture's is
/// there [`SETS`] times, or by the floor that the last batch's own actions set.
fn candidates(
    update: u64,
    spar: &Spar,
    normalizer: &Normalizer,
    seed: u64,
) -> Result<Candidates, DemoError> {
    let config = spar.config();
    let k = config.candidates;
    let all = std::iter::repeat_n(0.0, SETS).chain(contexts());
    let mut states: Vec<f32> = all.map(|s| s as f32).collect();
    normalizer.apply(&mut states);
    let rows = states.len();
    let s = Tensor::from_vec(states, (rows, 1), &Device::Cpu)?;
    let b = spar.base.cloned()?.act(&s)?;
    // Anew at each stage, so that a candidate can be followed from one to the next.
    let mut stream = Stream::new(seed, "demo/latents");
    let z = spar
        .model
        .draw_latents(&mut stream, config.sigma_z, rows * k)?;
    let delta = spar.model.decode(&s, &b, &z, Trace::Params)?.detach();
    let base = b
        .unsqueeze(1)?
        .expand((rows, k, 2))?
        .reshape((rows * k, 2))?;
    let actions = (base + &delta)?.clamp(-1f32, 1f32)?;
    // What the data say the critic measures as it learns from them.
    let (q, learned) = match spar.updates() {
        0 => (spar.critic.conservative_value(&s, &actions)?, false),
        _ => (spar.critic.candidate_value(&s, &actions)?.values, true),
    };
    let flat = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
    let of_data = if learned {
        spar.critic.data_deviation(&q, k)?
    } else {
        0.0
    };
    let mut found = Imitation::default();
    let (delta, q) = (flat(&delta)?, flat(&q)?);
    imitation(&delta, &q, k, config.weighting(of_data), &mut found);
    let shown = SETS * k;
    let actions = flat(&actions)?;
    let (actions, _) = actions.as_chunks::<2>();
    let actions = actions[..shown].iter().map(|a| a.map(f64::from));
    let weights = found.weights()[..shown].iter().copied();
    Ok(Candidates {
        update,
        actions: actions.collect(),
        weights: weights.map(f64::from).collect(),
    })
}
