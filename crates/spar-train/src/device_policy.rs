//! Policies that act on a device: one launch for all observations of a step.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use spar_core::{EnvId, Normalizer, Policy, Stream};
use spar_nn::{
    RowMlp, State,
    device::{self, CudaError, Device, Kernels, Net},
};
use spar_policy::Networks;

use crate::{error::TrainError, policy_file};

/// What an anchor's or a plain network's tanh is multiplied by.
const UNSCALED: f32 = 1.0;

/// A policy of a file on a device: `clip(b + Delta(s, b, 0))`, or a plain
/// network's clipped output. The same actions as on the CPU, up to rounding;
/// there too a row's action depends on that row alone.
#[derive(Debug)]
pub struct DevicePolicy<'k, D: Device> {
    kernels: &'k Kernels<D>,
    mean: D::Buffer,
    std: D::Buffer,
    anchor: Net<D::Buffer>,
    decoder: Option<Net<D::Buffer>>,
    work: Mutex<Work<D::Buffer>>,
}

#[derive(Debug)]
struct Work<B> {
    /// Observations and actions of as many rows as were ever asked for at once.
    buffers: Option<(usize, B, B)>,
    failed: Option<CudaError>,
}

impl<'k, D: Device> DevicePolicy<'k, D> {
    /// Reads the policy at `path`, ours or a plain network, as
    /// [`crate::policy_file::read`] does.
    ///
    /// # Errors
    /// As there; if the file holds a plain network whose layers the kernels do
    /// not know, or if the device fails.
    pub fn read(kernels: &'k Kernels<D>, path: &Path, env: EnvId) -> Result<Self, TrainError> {
        let policy = policy_file::read(path, env)?;
        let refused = |what: &str| TrainError::File {
            file: path.to_owned(),
            why: format!("{what}, which the CUDA kernels do not know; use --device cpu"),
        };
        if policy.action_bounds().is_some_and(|b| !b.are_usual()) {
            return Err(refused("acts in units of its own"));
        }
        let (Normalizer { mean, std }, anchor, residual) = match policy.networks() {
            Networks::Spar(policy) => {
                (&policy.normalizer, &policy.anchor, policy.residual.as_ref())
            }
            Networks::Plain(policy) if policy.affine.is_some() => {
                return Err(refused("scales its network's output"));
            }
            Networks::Plain(policy) => (&policy.normalizer, &policy.net, None),
            Networks::Sampled(_) => return Err(refused("samples its actions")),
            _ => return Err(refused("acts in a latent space")),
        };
        let net = |net: &RowMlp, scale| -> Result<_, TrainError> {
            let (shape, params) = net.to_params().ok_or_else(|| TrainError::File {
                file: path.to_owned(),
                why: "holds layers the CUDA kernels do not know: expected ReLU between layers, \
                      all hidden layers normalized or none; use --device cpu"
                    .to_owned(),
            })?;
            let mut state = State::default();
            state.insert("net", params);
            let mut net = Net::new(kernels, &shape, scale, vec!["net".to_owned()])?;
            net.load(kernels, &state)?;
            Ok(net)
        };
        let decoder = residual.map(|residual| net(&residual.decoder, residual.rho));
        Ok(Self {
            mean: kernels.device().upload(mean)?,
            std: kernels.device().upload(std)?,
            anchor: net(anchor, UNSCALED)?,
            decoder: decoder.transpose()?,
            work: Mutex::new(Work {
                buffers: None,
                failed: None,
            }),
            kernels,
        })
    }

    /// Why the device failed, if it did: from then on the actions are not finite,
    /// which ends a rollout.
    pub fn failure(&self) -> Option<CudaError> {
        self.work().failed.clone()
    }

    fn work(&self) -> MutexGuard<'_, Work<D::Buffer>> {
        // Whatever a panic left in the buffers is written before it is read.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn evaluate(
        &self,
        work: &mut Work<D::Buffer>,
        obs: &[f32],
        actions: &mut [f32],
    ) -> Result<(), CudaError> {
        let shape = self.anchor.shape();
        let (obs_dim, act_dim) = (shape.input(), shape.output());
        let device = self.kernels.device();
        let rows = obs.len() / obs_dim;
        let (room, obs_buffer, actions_buffer) = match &mut work.buffers {
            Some(buffers) if buffers.0 >= rows => buffers,
            buffers => buffers.insert((
                rows,
                device.alloc(rows * obs_dim)?,
                device.alloc(rows * act_dim)?,
            )),
        };
        // Rows nobody asked for cost nothing and change nothing of the others.
        let mut padded = obs.to_vec();
        padded.resize(*room * obs_dim, 0.0);
        device.write(&padded, obs_buffer)?;
        let policy = device::Policy {
            mean: &self.mean,
            std: &self.std,
            anchor: self.anchor.network(),
            decoder: self.decoder.as_ref().map(Net::network),
        };
        self.kernels.policy(&policy, obs_buffer, actions_buffer)?;
        let all = device.read(actions_buffer)?;
        for (action, value) in actions.iter_mut().zip(all) {
            *action = value.clamp(-1.0, 1.0);
        }
        Ok(())
    }
}

impl<D: Device + Send + Sync> Policy for DevicePolicy<'_, D>
where
    D::Buffer: Send + Sync,
{
    fn obs_dim(&self) -> usize {
        self.anchor.shape().input()
    }

    fn act_dim(&self) -> usize {
        self.anchor.shape().output()
    }

    fn act(&self, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        assert_eq!(obs.len(), streams.len() * self.obs_dim(), "observations");
        assert_eq!(actions.len(), streams.len() * self.act_dim(), "actions");
        let mut work = self.work();
        if let Err(error) = self.evaluate(&mut work, obs, actions) {
            work.failed.get_or_insert(error);
            actions.fill(f32::NAN);
        }
    }
}
