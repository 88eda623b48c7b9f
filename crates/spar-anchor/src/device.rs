//! Behaviour cloning on a device: the update of `update.rs`, as five launches.

use spar_nn::{
    AdamConfig, BatchSlices, MlpShape, State, StateError,
    device::{BatchBuffers, CudaError, Device, Kernels, Learner, Loss, Net, Part, Pass, Rows},
};

use crate::{config::AnchorConfig, update::AnchorTrainer};

/// The frozen anchor's network on a device, called as in every checkpoint; its
/// parameters are whatever they are until they are loaded.
///
/// # Errors
/// If the device has no memory.
pub fn anchor_net<D: Device>(
    kernels: &Kernels<D>,
    shape: &MlpShape,
) -> Result<Net<D::Buffer>, CudaError> {
    Net::new(kernels, shape, 1.0, vec!["anchor".to_owned()])
}

/// An anchor while it is being trained on a device; the same numbers as
/// [`AnchorTrainer`]'s, up to rounding.
#[derive(Debug)]
pub struct DeviceAnchorTrainer<'k, D: Device> {
    kernels: &'k Kernels<D>,
    batch: BatchBuffers<D::Buffer>,
    net: Learner<D::Buffer>,
    pass: Pass<D::Buffer>,
    /// Of each row, `[rows]`.
    loss: D::Buffer,
    recording: Option<D::Recording>,
}

impl<'k, D: Device> DeviceAnchorTrainer<'k, D> {
    /// Continues from where `start` is, on batches of `rows` transitions.
    ///
    /// # Errors
    /// If the device has no memory for it, or cannot be written.
    pub fn new(
        kernels: &'k Kernels<D>,
        start: &AnchorTrainer,
        config: &AnchorConfig,
        rows: usize,
    ) -> Result<Self, StateError> {
        let shape = start.anchor.net().shape();
        let device = kernels.device();
        let net = anchor_net(kernels, shape)?;
        let mut net = Learner::new(kernels, net, None, AdamConfig::new(config.lr))?;
        let mut state = State::default();
        start.save(&mut state)?;
        net.load(kernels, &state)?;
        Ok(Self {
            batch: BatchBuffers::new(device, rows, shape.input(), shape.output())?,
            pass: net.pass(kernels, rows)?,
            loss: device.alloc(rows)?,
            recording: None,
            net,
            kernels,
        })
    }

    /// One update on `mean_{B,A} |pi_base(s) - a|^2`. Returns before it is done;
    /// [`Self::loss`] waits.
    ///
    /// # Errors
    /// If the batch is of another size, or a copy or launch fails.
    pub fn update(&mut self, batch: &BatchSlices<'_>) -> Result<(), CudaError> {
        let Self {
            kernels,
            batch: on_device,
            net,
            pass,
            loss,
            recording,
        } = self;
        let kernels = *kernels;
        on_device.write(kernels.device(), batch)?;
        net.begin_step(kernels)?;
        let BatchBuffers {
            rows,
            obs_dim,
            act_dim,
            obs,
            actions,
            ..
        } = &*on_device;
        let parts = [Part::new(obs, *obs_dim)];
        let states = Rows::new(*rows, &parts);
        kernels.device().repeat(recording, &mut || {
            net.forward(kernels, &states, pass, None)?;
            // Its loss is the sum over action dimensions; ours is their mean.
            let weight = 1.0 / *act_dim as f32;
            let into = Loss {
                grad: &mut pass.grad_out,
                loss,
            };
            kernels.reconstruction(&pass.out, actions, weight, into)?;
            net.backward(kernels, &states, pass, None)?;
            net.step(kernels, &[pass])
        })
    }

    /// The loss of the last update.
    ///
    /// # Errors
    /// If the device cannot be read.
    pub fn loss(&self) -> Result<f32, CudaError> {
        let sum = spar_nn::device::mean(self.kernels.device(), &self.loss)?;
        Ok(sum / self.batch.act_dim as f32)
    }

    /// Adds network and optimizer to `state`, as [`AnchorTrainer::save`].
    ///
    /// # Errors
    /// If the device cannot be read.
    pub fn save(&self, state: &mut State) -> Result<(), CudaError> {
        self.net.save(self.kernels, state)
    }

    /// Takes network and optimizer from `state`.
    ///
    /// # Errors
    /// If they are absent or of another size, or the device cannot be written.
    pub fn load(&mut self, state: &State) -> Result<(), StateError> {
        self.net.load(self.kernels, state)
    }
}
