//! What every contender starts from.
//!
//! A pure function of nothing: initial parameters, a cycle of batches, and the
//! noise our own streams will draw in each update, in the order they draw it.

use std::{collections::BTreeMap, fs, path::Path, str::FromStr};

use anyhow::{Context, Result};
use safetensors::{Dtype, tensor::TensorView};
use serde::{Deserialize, Serialize};
use spar_anchor::{Anchor, AnchorConfig};
use spar_core::{Stream, Suite};
use spar_critic::CriticConfig;
use spar_kernels::MlpShape;
use spar_nn::{Batch, BatchSlices, Mlp, State};
use spar_rectify::{RectifyConfig, Spar};

/// Steps of a cycle: each has its own batch and noise, then all come again.
pub(crate) const CYCLE: usize = 20;

/// Seed of everything drawn here.
pub(crate) const SEED: u64 = 20;

/// HalfCheetah's and Walker2d's widths.
pub(crate) const OBS: usize = 17;
pub(crate) const ACT: usize = 6;

/// The suite whose hyper-parameters are measured.
const SUITE: &str = include_str!("../../../suites/mujoco.toml");

/// Learning rate of the single network.
pub(crate) const MLP_LR: f32 = 1e-3;

/// The parts of a suite's `[train]` table that decide how much an update
/// computes; the rest is the training loop's.
#[derive(Deserialize)]
struct Train {
    batch_size: usize,
    anchor: AnchorConfig,
    critic: CriticConfig,
    rectify: RectifyConfig,
}

/// Shapes and hyper-parameters, as peers read them from the file's metadata.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Config {
    /// Steps of a cycle.
    pub(crate) cycle: usize,
    /// Transitions per batch.
    pub(crate) rows: usize,
    /// Width of a state.
    pub(crate) obs: usize,
    /// Width of an action.
    pub(crate) act: usize,
    /// Width of a latent.
    pub(crate) latent: usize,
    /// Widths of the single network's hidden layers.
    pub(crate) mlp_hidden: Vec<usize>,
    /// Its learning rate.
    pub(crate) mlp_lr: f32,
    /// The anchor's hyper-parameters.
    pub(crate) anchor: AnchorConfig,
    /// The critic's.
    pub(crate) critic: CriticConfig,
    /// The residual policy's.
    pub(crate) rectify: RectifyConfig,
}

/// The shapes of all networks.
pub(crate) struct Shapes {
    pub(crate) mlp: MlpShape,
    pub(crate) anchor: MlpShape,
    pub(crate) q: MlpShape,
    pub(crate) value: MlpShape,
    pub(crate) encoder: MlpShape,
    pub(crate) decoder: MlpShape,
}

/// What a sweep changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Transitions per batch.
    pub(crate) rows: usize,
    /// Width of both hidden layers of every network.
    pub(crate) width: usize,
}

impl FromStr for Size {
    type Err = anyhow::Error;

    /// `ROWSxWIDTH`, both positive.
    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.split_once('x').and_then(|(rows, width)| {
            let number = |text: &str| text.parse().ok().filter(|n| *n > 0);
            Some((number(rows)?, number(width)?))
        });
        let (rows, width) =
            numbers.with_context(|| format!("`{text}` is no size, expected as in 256x512"))?;
        Ok(Self { rows, width })
    }
}

impl Config {
    /// The suite's hyper-parameters, past the warm-up, at another size if one is
    /// given.
    ///
    /// # Errors
    /// Only if the suite file that was built in is broken.
    pub(crate) fn new(size: Option<Size>) -> Result<Self> {
        let mut config = Self::of_suite()?;
        if let Some(Size { rows, width }) = size {
            config.rows = rows;
            for hidden in [
                &mut config.mlp_hidden,
                &mut config.anchor.hidden,
                &mut config.critic.hidden,
                &mut config.rectify.hidden,
            ] {
                *hidden = vec![width; 2];
            }
        }
        Ok(config)
    }

    fn of_suite() -> Result<Self> {
        let suite: Suite = toml::from_str(SUITE).context("the suite file")?;
        let mut train: toml::Table = suite.train;
        if let Some(spar) = suite.method.get("spar") {
            train.extend(spar.settings.clone());
        }
        let train: Train = train.try_into().context("the suite's settings of SPAR")?;
        Ok(Self {
            cycle: CYCLE,
            rows: train.batch_size,
            obs: OBS,
            act: ACT,
            latent: 2 * ACT,
            mlp_hidden: vec![256, 256],
            mlp_lr: MLP_LR,
            anchor: train.anchor,
            critic: train.critic,
            rectify: RectifyConfig {
                warmup: 0,
                ..train.rectify
            },
        })
    }

    /// The shapes of all networks.
    ///
    /// # Errors
    /// If a size is of no network.
    pub(crate) fn shapes(&self) -> Result<Shapes> {
        let shape = |input, hidden: &[usize], output, layer_norm| -> Result<_> {
            Ok(MlpShape::relu(input, hidden, output)?.with_layer_norm(layer_norm))
        };
        let (obs, act, latent) = (self.obs, self.act, self.latent);
        let (critic, rectify) = (&self.critic.hidden, &self.rectify.hidden);
        Ok(Shapes {
            mlp: shape(obs + act, &self.mlp_hidden, 1, false)?,
            anchor: shape(obs, &self.anchor.hidden, act, false)?,
            q: shape(obs + act, critic, 1, true)?,
            value: shape(obs, critic, 1, true)?,
            encoder: shape(obs + 2 * act, rectify, 2 * latent, false)?,
            decoder: shape(obs + act + latent, rectify, act, false)?,
        })
    }
}

/// An array with its shape, row-major.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// Everything a contender's losses are a function of.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    pub(crate) config: Config,
    seed: u64,
    arrays: BTreeMap<String, Array>,
}

impl Inputs {
    /// Draws them, at the suite's size or another.
    ///
    /// # Errors
    /// Only if the suite file that was built in is broken.
    pub(crate) fn new(size: Option<Size>) -> Result<Self> {
        Self::seeded(size, SEED)
    }

    /// The same from another seed: for checks that shall not hold for one draw only.
    ///
    /// # Errors
    /// Only if the suite file that was built in is broken.
    pub(crate) fn seeded(size: Option<Size>, seed: u64) -> Result<Self> {
        let config = Config::new(size)?;
        let mut inputs = Self {
            arrays: BTreeMap::new(),
            config,
            seed,
        };
        inputs.draw_batches();
        inputs.draw_parameters()?;
        inputs.draw_noise();
        Ok(inputs)
    }

    fn insert(&mut self, name: impl Into<String>, shape: &[usize], values: Vec<f32>) {
        let shape = shape.to_vec();
        self.arrays.insert(name.into(), Array { shape, values });
    }

    fn draw_batches(&mut self) {
        let Config { rows, obs, act, .. } = self.config;
        let widths = [
            ("mlp.x", obs + act),
            ("mlp.y", 1),
            ("batch.obs", obs),
            ("batch.next_obs", obs),
            ("batch.rewards", 1),
        ];
        for (name, width) in widths {
            let mut values = vec![0.0; CYCLE * rows * width];
            Stream::new(self.seed, &format!("bench/{name}")).fill_normal(1.0, &mut values);
            self.insert(name, &[CYCLE, rows, width], values);
        }
        let mut actions = vec![0.0; CYCLE * rows * act];
        Stream::new(self.seed, "bench/batch.actions").fill_uniform(-1.0, 1.0, &mut actions);
        self.insert("batch.actions", &[CYCLE, rows, act], actions);
        let not_terminal = (0..CYCLE * rows).map(|i| if i % 100 == 42 { 0.0 } else { 1.0 });
        self.insert(
            "batch.not_terminal",
            &[CYCLE, rows, 1],
            not_terminal.collect(),
        );
    }

    /// PyTorch's default initialization of every network, copies for targets.
    /// The decoder, too: SPAR starts its near zero, where candidates differ so
    /// little that the normalized advantages are mostly rounding.
    fn draw_parameters(&mut self) -> Result<()> {
        let shapes = self.config.shapes()?;
        let mut nets = vec![
            ("mlp".to_owned(), shapes.mlp),
            ("anchor".to_owned(), shapes.anchor),
            ("critic.value".to_owned(), shapes.value),
            ("rectify.encoder".to_owned(), shapes.encoder),
            ("rectify.decoder".to_owned(), shapes.decoder),
        ];
        for i in 0..self.config.critic.n_critics {
            nets.push((format!("critic.{i}"), shapes.q.clone()));
        }
        for (name, shape) in nets {
            let mut stream = Stream::new(self.seed, &format!("bench/{name}"));
            let values = Mlp::new(shape, &mut stream)?.to_params()?;
            let copy = match name.as_str() {
                "rectify.decoder" => Some("rectify.decoder_average".to_owned()),
                "critic.value" => None,
                q if q.starts_with("critic.") => Some(format!("{q}.target")),
                _ => None,
            };
            for name in [Some(name), copy].into_iter().flatten() {
                self.insert(format!("start.{name}"), &[values.len()], values.clone());
            }
        }
        Ok(())
    }

    /// What our streams draw in the updates in which the policy learns.
    fn draw_noise(&mut self) {
        let Config {
            rows,
            latent,
            ref rectify,
            ..
        } = self.config;
        let updates = CYCLE.div_ceil(rectify.policy_freq.max(1) as usize);
        let (k, sigma_z) = (rectify.candidates, rectify.sigma_z);
        let draws = [
            ("noise.posterior", "rectify/posterior", 1.0, rows),
            ("noise.candidates", "rectify/latents", sigma_z, rows * k),
        ];
        for (name, stream, std, rows) in draws {
            let mut values = vec![0.0; updates * rows * latent];
            Stream::new(self.seed, stream).fill_normal(std, &mut values);
            self.insert(name, &[updates, rows, latent], values);
        }
    }

    /// The array `name`.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn array(&self, name: &str) -> Result<&Array> {
        let array = self.arrays.get(name);
        array.with_context(|| format!("the inputs have no `{name}`"))
    }

    /// The `i`-th of the arrays stacked under `name`.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn slice(&self, name: &str, i: usize) -> Result<&[f32]> {
        let Array { shape, values } = self.array(name)?;
        let size = shape.iter().skip(1).product::<usize>();
        let part = values.get(i * size..(i + 1) * size);
        part.with_context(|| format!("`{name}` has no part {i}"))
    }

    /// The flat parameters network `name` starts from.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn start(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self.array(&format!("start.{name}"))?.values.clone())
    }

    /// The transitions of step `i` of a cycle.
    ///
    /// # Errors
    /// If the cycle has no such step.
    pub(crate) fn batch(&self, i: usize) -> Result<BatchSlices<'_>> {
        Ok(BatchSlices {
            rows: self.config.rows,
            obs: self.slice("batch.obs", i)?,
            actions: self.slice("batch.actions", i)?,
            rewards: self.slice("batch.rewards", i)?,
            next_obs: self.slice("batch.next_obs", i)?,
            not_terminal: self.slice("batch.not_terminal", i)?,
        })
    }

    /// The transitions of every step of a cycle.
    ///
    /// # Errors
    /// Only if candle cannot hold them.
    pub(crate) fn batches(&self) -> Result<Vec<Batch>> {
        (0..CYCLE)
            .map(|i| Ok(Batch::of(&self.batch(i)?)?))
            .collect()
    }

    /// SPAR at the given parameters, its streams about to draw the noise of
    /// these inputs, with its hyper-parameters changed by `change`.
    ///
    /// # Errors
    /// Only if candle cannot hold the parameters.
    pub(crate) fn spar(&self, change: impl FnOnce(&mut RectifyConfig)) -> Result<Spar> {
        let c = &self.config;
        let mut rectify = c.rectify.clone();
        change(&mut rectify);
        let init = &mut Stream::new(self.seed, "bench/anchor");
        let anchor = Anchor::new(&c.anchor, c.obs, c.act, init)?;
        let mut spar = Spar::new(rectify, c.critic.clone(), anchor, c.obs, c.act, self.seed)?;
        let mut state = State::default();
        spar.save(&mut state)?;
        for (name, array) in &self.arrays {
            if let Some(net) = name.strip_prefix("start.") {
                state.insert(net, array.values.clone());
            }
        }
        spar.load(&state)?;
        Ok(spar)
    }
}

/// Writes the inputs as a safetensors file whose metadata hold the shapes and
/// hyper-parameters.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(file: &Path) -> Result<()> {
    let inputs = Inputs::new(None)?;
    save(file, &inputs.arrays, serde_json::to_string(&inputs.config)?)
}

/// Writes `arrays` as a safetensors file whose metadata hold `config`, which is JSON.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn save(file: &Path, arrays: &BTreeMap<String, Array>, config: String) -> Result<()> {
    let bytes: Vec<_> = arrays
        .iter()
        .map(|(name, Array { shape, values })| {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        TensorView::new(Dtype::F32, shape.to_vec(), bytes).map(|view| (name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>()?;
    let metadata = Some([("config".to_owned(), config)].into());
    let bytes = safetensors::serialize(views, metadata)?;
    fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}
