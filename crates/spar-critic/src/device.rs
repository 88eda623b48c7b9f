//! The critic's update on a device: that of `update.rs`, as launches.

use spar_nn::{
    AdamConfig, Conservatism, MlpShape, Penalty, State, StateError,
    device::{
        BatchBuffers, Bootstrap, CudaError, DataActions, Device, Kernels, Learner, Loss, Net, Part,
        Pass, Rows, mean,
    },
};

use crate::{
    config::{CriticConfig, CriticForm},
    model::Critic,
    update::CriticMetrics,
};

/// The ensemble of [`Critic`] on a device, with every buffer of its update; the
/// same numbers, up to rounding.
#[derive(Debug)]
pub struct DeviceCritic<B> {
    config: CriticConfig,
    q: Learner<B>,
    q_pass: Pass<B>,
    /// `V`, in the in-sample form.
    value: Option<Value<B>>,
    /// The target critics at the next states' actions, `[nets, rows]`.
    next: B,
    /// Targets `y`, `[rows]`.
    y: B,
    /// Of each row, `[rows]`.
    q_loss: B,
}

/// The state-value network, and what its update needs.
#[derive(Debug)]
struct Value<B> {
    net: Learner<B>,
    pass: Pass<B>,
    /// The target critics at the data's actions, `[nets, rows]`.
    upper: B,
    /// `V` of the next states, `[rows]`.
    next: B,
    /// Of each row, `[rows]`.
    loss: B,
}

impl<B: std::fmt::Debug> DeviceCritic<B> {
    /// `critic`'s networks for batches of `rows` transitions; its parameters
    /// come with [`Self::load`].
    ///
    /// # Errors
    /// If the device has no memory, or cannot take their shape.
    pub fn new<D: Device<Buffer = B>>(
        kernels: &Kernels<D>,
        critic: &Critic,
        rows: usize,
    ) -> Result<Self, CudaError> {
        let config = critic.config.clone();
        let adam = AdamConfig::new(config.lr);
        let alloc = |len| kernels.device().alloc(len);
        let named = |suffix: &str| {
            let names = 0..config.n_critics;
            names.map(|i| format!("critic.{i}{suffix}")).collect()
        };
        let Some(shape) = critic.q.nets.first().map(|q| q.net.shape()) else {
            return Err(CudaError::Shape("a critic of no networks".to_owned()));
        };
        let q = Net::new(kernels, shape, 1.0, named(""))?;
        let target = Net::new(kernels, shape, 1.0, named(".target"))?;
        let q = Learner::new(kernels, q, Some((config.tau, target)), adam)?;
        let value = |shape: &MlpShape| {
            let net = Net::new(kernels, shape, 1.0, vec!["critic.value".to_owned()])?;
            let net = Learner::new(kernels, net, None, adam)?;
            Ok::<_, CudaError>(Value {
                pass: net.pass(kernels, rows)?,
                net,
                upper: alloc(config.n_critics * rows)?,
                next: alloc(rows)?,
                loss: alloc(rows)?,
            })
        };
        Ok(Self {
            q_pass: q.pass(kernels, rows)?,
            q,
            value: critic
                .value
                .as_ref()
                .map(|value_net| value(value_net.net.shape()))
                .transpose()?,
            next: alloc(config.n_critics * rows)?,
            y: alloc(rows)?,
            q_loss: alloc(rows)?,
            config,
        })
    }

    /// What the critic bootstraps from.
    pub fn form(&self) -> CriticForm {
        self.config.form
    }

    /// Members of the ensemble.
    pub fn nets(&self) -> usize {
        self.q.net().nets()
    }

    /// How the ensemble values a candidate action: see
    /// [`CriticConfig::deviations`].
    pub fn conservatism(&self) -> Conservatism {
        self.config.conservatism()
    }

    /// What the last update's critics said of its data actions, by which candidates are
    /// measured: see [`Critic::data_deviation`] and [`Critic::candidate_value`].
    pub fn data_actions(&self) -> DataActions<'_, B> {
        match &self.value {
            Some(value) => DataActions {
                values: &value.upper,
                nets: self.nets(),
                baseline: Some(&value.pass.out),
            },
            None => DataActions {
                values: &self.q_pass.out,
                nets: self.nets(),
                baseline: None,
            },
        }
    }

    /// [`CriticConfig::penalties`].
    pub fn penalty(&self) -> Penalty {
        self.config.penalties()
    }

    /// What of an update is not a launch; before [`Self::update`].
    ///
    /// # Errors
    /// If the device cannot be written.
    pub fn begin_update<D: Device<Buffer = B>>(
        &mut self,
        kernels: &Kernels<D>,
    ) -> Result<(), CudaError> {
        if let Some(value) = &mut self.value {
            value.net.begin_step(kernels)?;
        }
        self.q.begin_step(kernels)
    }

    /// One gradient step of `V` (in-sample form) and of every `Q_i` on
    /// `mean (Q_i(s, a) - y)^2`, after which the targets move: nothing reads them
    /// any more in this update. `next_actions`, `[rows, act_dim]`, are read in
    /// the residual form only.
    ///
    /// # Errors
    /// If a launch fails.
    pub fn update<D: Device<Buffer = B>>(
        &mut self,
        kernels: &Kernels<D>,
        batch: &BatchBuffers<B>,
        next_actions: &B,
    ) -> Result<(), CudaError> {
        let (rows, nets) = (batch.rows, self.q.net().nets());
        let states = [Part::new(&batch.obs, batch.obs_dim)];
        let states = Rows::new(rows, &states);
        let taken = [
            Part::new(&batch.obs, batch.obs_dim),
            Part::new(&batch.actions, batch.act_dim),
        ];
        let taken = Rows::new(rows, &taken);
        let targets = self.q.average();
        let (next, next_nets) = match &mut self.value {
            Some(Value {
                net,
                pass,
                upper,
                next,
                loss,
            }) => {
                targets.forward(kernels, &taken, upper, None)?;
                net.forward(kernels, &states, pass, None)?;
                let into = Loss {
                    grad: &mut pass.grad_out,
                    loss,
                };
                let expectile = self.config.expectile as f32;
                kernels.expectile_regression(upper, nets, &pass.out, expectile, into)?;
                net.backward(kernels, &states, pass, None)?;
                net.step(kernels, &[pass])?;
                let next_states = [Part::new(&batch.next_obs, batch.obs_dim)];
                let next_states = Rows::new(rows, &next_states);
                net.net().forward(kernels, &next_states, next, None)?;
                (&*next, 1)
            }
            None => {
                let next_taken = [
                    Part::new(&batch.next_obs, batch.obs_dim),
                    Part::new(next_actions, batch.act_dim),
                ];
                let next_taken = Rows::new(rows, &next_taken);
                targets.forward(kernels, &next_taken, &mut self.next, None)?;
                (&self.next, nets)
            }
        };
        let Self {
            q,
            q_pass,
            y,
            q_loss,
            config,
            ..
        } = self;
        q.forward(kernels, &taken, q_pass, None)?;
        let from = Bootstrap {
            next,
            nets: next_nets,
            rewards: &batch.rewards,
            not_terminal: &batch.not_terminal,
            discount: config.discount as f32,
        };
        let into = Loss {
            grad: &mut q_pass.grad_out,
            loss: q_loss,
        };
        kernels.temporal_difference(&from, &q_pass.out, nets, y, into)?;
        q.backward(kernels, &taken, q_pass, None)?;
        q.step(kernels, &[q_pass])
    }

    /// Every `Q_i` of the rows `[s, a]`, without gradients, into `values`,
    /// `[nets, rows]`. One launch.
    ///
    /// # Errors
    /// If a length does not fit or the launch fails.
    pub fn values<D: Device<Buffer = B>>(
        &self,
        kernels: &Kernels<D>,
        taken: &Rows<'_, B>,
        values: &mut B,
    ) -> Result<(), CudaError> {
        self.q.net().forward(kernels, taken, values, None)
    }

    /// What the last update measured. Waits for it.
    ///
    /// # Errors
    /// If the device cannot be read.
    pub fn metrics<D: Device<Buffer = B>>(
        &self,
        kernels: &Kernels<D>,
    ) -> Result<CriticMetrics, CudaError> {
        let device = kernels.device();
        Ok(CriticMetrics {
            q_loss: mean(device, &self.q_loss)?,
            value_loss: match &self.value {
                Some(value) => mean(device, &value.loss)?,
                None => 0.0,
            },
            target_mean: mean(device, &self.y)?,
        })
    }

    /// Adds every network and optimizer to `state`, as [`Critic::save`].
    ///
    /// # Errors
    /// If the device cannot be read.
    pub fn save<D: Device<Buffer = B>>(
        &self,
        kernels: &Kernels<D>,
        state: &mut State,
    ) -> Result<(), CudaError> {
        if let Some(value) = &self.value {
            value.net.save(kernels, state)?;
        }
        self.q.save(kernels, state)
    }

    /// Takes every network and optimizer from `state`.
    ///
    /// # Errors
    /// If one is absent or of another size, or the device cannot be written.
    pub fn load<D: Device<Buffer = B>>(
        &mut self,
        kernels: &Kernels<D>,
        state: &State,
    ) -> Result<(), StateError> {
        if let Some(value) = &mut self.value {
            value.net.load(kernels, state)?;
        }
        self.q.load(kernels, state)
    }
}
