//! Our own contenders: the steps a run is made of, and the bare kernels.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use spar_critic::Critic;
use spar_kernels::{
    Workspace,
    mlp::{self, GradParams},
    optim,
};
use spar_nn::{Adam, AdamConfig, Batch, Mlp, MlpShape, Precision, Precisions, State, Trace};
use spar_rectify::{Spar, SparMetrics};

use crate::{
    inputs::{CYCLE, Inputs, MLP_LR},
    methods::{self, Method},
};

/// The losses of a cycle by name, in the order of the steps that have one.
pub(crate) type Losses = BTreeMap<&'static str, Vec<f32>>;

/// Something that learns from a cycle of batches.
pub(crate) trait Contender {
    /// Steps of the cycle.
    fn cycle(&self) -> usize {
        CYCLE
    }

    /// One step on the `i`-th batch of the cycle. Losses are only written down
    /// where asked for: a contender that computes them anyway still does.
    fn step(&mut self, i: usize, losses: Option<&mut Losses>) -> Result<()>;
}

/// Writes down `value` under `name`.
pub(crate) fn note(losses: &mut Losses, name: &'static str, value: f32) {
    losses.entry(name).or_default().push(value);
}

/// Writes down the losses of an update, in which the policy `learns` or not.
pub(crate) fn note_all(losses: &mut Losses, m: &SparMetrics, learns: bool) {
    note(losses, "q_loss", m.critic.q_loss);
    note(losses, "value_loss", m.critic.value_loss);
    if learns {
        note(losses, "reconstruction", m.reconstruction);
        note(losses, "kl", m.kl);
        note(losses, "self_imitation", m.self_imitation);
    }
}

/// The yardstick through candle: one network, mean squared error, Adam.
pub(crate) struct MlpStep {
    net: Mlp,
    optim: Adam,
    batches: Vec<(Tensor, Tensor)>,
}

impl MlpStep {
    /// At the given start.
    pub(crate) fn new(inputs: &Inputs) -> Result<Self> {
        let net = Mlp::from_params(inputs.config.shapes()?.mlp, inputs.start("mlp")?)?;
        Ok(Self {
            optim: Adam::new(&net, AdamConfig::new(MLP_LR)),
            net,
            batches: mlp_batches(inputs)?,
        })
    }
}

/// Inputs and targets of the yardstick.
pub(crate) fn mlp_batches(inputs: &Inputs) -> Result<Vec<(Tensor, Tensor)>> {
    let tensor = |name, i| {
        let values = inputs.slice(name, i)?;
        let shape = (inputs.config.rows, values.len() / inputs.config.rows);
        anyhow::Ok(Tensor::from_slice(values, shape, &Device::Cpu)?)
    };
    (0..CYCLE)
        .map(|i| Ok((tensor("mlp.x", i)?, tensor("mlp.y", i)?)))
        .collect()
}

impl Contender for MlpStep {
    fn step(&mut self, i: usize, losses: Option<&mut Losses>) -> Result<()> {
        let (x, y) = &self.batches[i];
        let loss = (self.net.forward(x, Trace::Params)? - y)?
            .sqr()?
            .mean_all()?;
        self.optim.step(&loss.backward()?)?;
        if let Some(losses) = losses {
            note(losses, "loss", loss.to_scalar()?);
        }
        Ok(())
    }
}

/// The yardstick on the kernels alone: the floor of our own overhead.
pub(crate) struct BareMlpStep {
    shape: MlpShape,
    rows: usize,
    params: Vec<f32>,
    moments: [Vec<f32>; 2],
    grad: Vec<f32>,
    out: Vec<f32>,
    grad_out: Vec<f32>,
    work: Workspace,
    updates: u64,
    batches: Vec<[Vec<f32>; 2]>,
}

impl BareMlpStep {
    /// At the given start.
    pub(crate) fn new(inputs: &Inputs) -> Result<Self> {
        let rows = inputs.config.rows;
        let params = inputs.start("mlp")?;
        let batch = |i| {
            let part = |name| inputs.slice(name, i).map(<[f32]>::to_vec);
            anyhow::Ok([part("mlp.x")?, part("mlp.y")?])
        };
        Ok(Self {
            shape: inputs.config.shapes()?.mlp,
            rows,
            moments: [vec![0.0; params.len()], vec![0.0; params.len()]],
            grad: vec![0.0; params.len()],
            out: vec![0.0; rows],
            grad_out: vec![0.0; rows],
            work: Workspace::default(),
            updates: 0,
            batches: (0..CYCLE).map(batch).collect::<Result<_>>()?,
            params,
        })
    }
}

impl Contender for BareMlpStep {
    fn step(&mut self, i: usize, losses: Option<&mut Losses>) -> Result<()> {
        let Self { shape, rows, .. } = self;
        let [x, y] = &self.batches[i];
        mlp::forward(
            Precision::F32,
            shape,
            &self.params,
            x,
            *rows,
            &mut self.work,
            &mut self.out,
        );
        let mut loss = 0.0;
        for ((g, out), y) in self.grad_out.iter_mut().zip(&self.out).zip(y) {
            let error = out - y;
            loss += error * error;
            *g = 2.0 * error / *rows as f32;
        }
        let (work, grad) = (&mut self.work, &mut self.grad);
        mlp::backward(
            shape,
            &self.params,
            x,
            *rows,
            work,
            &self.grad_out,
            Some(GradParams::over(grad)),
            None,
        );
        self.updates += 1;
        let [m, v] = &mut self.moments;
        let config = AdamConfig::new(MLP_LR);
        optim::adam(&config, self.updates, &mut self.params, &self.grad, m, v);
        if let Some(losses) = losses {
            note(losses, "loss", loss / *rows as f32);
        }
        Ok(())
    }
}

/// Which part of an update is measured. The policy's parts cannot run without
/// the critic, so that each contains the one before; the difference is what
/// the part itself costs.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// Whole updates as a run does them: the policy learns in every
    /// `policy_freq`-th.
    Whole,
    /// Critic step and fit in every update: the warm-up's.
    Fit,
    /// Critic step, fit and self-imitation in every update.
    Imitation,
}

/// SPAR's update.
pub(crate) struct SparStep {
    spar: Spar,
    metrics: SparMetrics,
    batches: Vec<Batch>,
}

impl SparStep {
    /// At the given start.
    pub(crate) fn new(inputs: &Inputs, part: Part) -> Result<Self> {
        let spar = inputs.spar(|config| match part {
            Part::Whole => {}
            Part::Fit => (config.policy_freq, config.warmup) = (1, u64::MAX),
            Part::Imitation => (config.policy_freq, config.warmup) = (1, 0),
        })?;
        Ok(Self {
            spar,
            metrics: SparMetrics::default(),
            batches: inputs.batches()?,
        })
    }
}

impl Contender for SparStep {
    fn step(&mut self, i: usize, losses: Option<&mut Losses>) -> Result<()> {
        let learns = self
            .spar
            .updates()
            .is_multiple_of(self.spar.config().policy_freq);
        self.spar.update(&self.batches[i], &mut self.metrics)?;
        if let Some(losses) = losses {
            note_all(losses, &self.metrics, learns);
        }
        Ok(())
    }
}

/// Another contender with its products in bf16.
struct Rounded {
    contender: Box<dyn Contender>,
    precisions: Precisions,
}

/// `contender` with passes that learn and passes without gradients in these precisions.
fn rounded(
    contender: impl Contender + 'static,
    learning: Precision,
    detached: Precision,
) -> Box<dyn Contender> {
    Box::new(Rounded {
        contender: Box::new(contender),
        precisions: Precisions { learning, detached },
    })
}

impl Contender for Rounded {
    fn cycle(&self) -> usize {
        self.contender.cycle()
    }

    fn step(&mut self, i: usize, losses: Option<&mut Losses>) -> Result<()> {
        let Self {
            contender,
            precisions,
        } = self;
        precisions.during(|| contender.step(i, losses))
    }
}

/// The critic's part of an update, its targets' averaging included.
pub(crate) struct CriticStep {
    critic: Critic,
    batches: Vec<Batch>,
}

impl CriticStep {
    /// At the given start.
    pub(crate) fn new(inputs: &Inputs) -> Result<Self> {
        let mut state = State::default();
        inputs.spar(|_| ())?.save(&mut state)?;
        let c = &inputs.config;
        let mut critic = Critic::new(c.critic.clone(), c.obs, c.act, 0)?;
        critic.load(&state)?;
        Ok(Self {
            critic,
            batches: inputs.batches()?,
        })
    }
}

impl Contender for CriticStep {
    fn step(&mut self, i: usize, losses: Option<&mut Losses>) -> Result<()> {
        let mut none = |_: &Tensor| candle_core::bail!("the in-sample critic asks for no action");
        let metrics = self.critic.update(&self.batches[i], &mut none)?;
        self.critic.polyak()?;
        if let Some(losses) = losses {
            note(losses, "q_loss", metrics.q_loss);
            note(losses, "value_loss", metrics.value_loss);
        }
        Ok(())
    }
}

/// Our contender `name`.
///
/// # Errors
/// If there is none of that name, or candle cannot hold it.
pub(crate) fn contender(name: &str, inputs: &Inputs) -> Result<Box<dyn Contender>> {
    if let Some(entry) = methods::entry(name) {
        return Ok(Box::new(Method::new(entry)?));
    }
    Ok(match name {
        "mlp/ours" => Box::new(MlpStep::new(inputs)?),
        "mlp/bare" => Box::new(BareMlpStep::new(inputs)?),
        "mlp/candle" | "mlp/candle-malloc" => Box::new(crate::plain::PlainMlpStep::new(inputs)?),
        "mlp/ours-bf16x3" => rounded(MlpStep::new(inputs)?, Precision::Bf16x3, Precision::F32),
        "mlp/ours-bf16" => rounded(MlpStep::new(inputs)?, Precision::Bf16, Precision::F32),
        "spar/ours" => Box::new(SparStep::new(inputs, Part::Whole)?),
        "spar/ours-bf16x3" => rounded(
            SparStep::new(inputs, Part::Whole)?,
            Precision::Bf16x3,
            Precision::Bf16x3,
        ),
        "spar/ours-bf16" => rounded(
            SparStep::new(inputs, Part::Whole)?,
            Precision::Bf16x3,
            Precision::Bf16,
        ),
        "spar/candle" | "spar/candle-malloc" => Box::new(crate::plain::PlainSparStep::new(inputs)?),
        "critic/ours" => Box::new(CriticStep::new(inputs)?),
        "fit/ours" => Box::new(SparStep::new(inputs, Part::Fit)?),
        "imitation/ours" => Box::new(SparStep::new(inputs, Part::Imitation)?),
        _ => None.with_context(|| format!("no contender is called `{name}`"))?,
    })
}

/// What `spar-bench` runs: the machine's peaks (that of a matrix unit where there is one), then
/// each workload, ours first.
pub const NAMES: [&str; 15] = [
    "fma/peak",
    "matrix/peak",
    "sgemm/peak",
    "mlp/ours",
    "mlp/ours-bf16x3",
    "mlp/ours-bf16",
    "mlp/bare",
    "mlp/candle",
    "spar/ours",
    "spar/ours-bf16x3",
    "spar/ours-bf16",
    "spar/candle",
    "critic/ours",
    "fit/ours",
    "imitation/ours",
];

/// What `spar-bench-malloc` runs: the same composition, the system's allocator.
pub const NAMES_MALLOC: [&str; 2] = ["mlp/candle-malloc", "spar/candle-malloc"];
