//! Networks that learn where the CUDA kernels run: one flat buffer for an
//! ensemble of networks of one shape, its Polyak average and Adam's moments, all made once and used again in every update.
//!
//! The update in candle on the CPU is the definition of an algorithm; what is
//! built of these is a second program of the same arithmetic, tested equal to it
//! up to rounding. Both keep their numbers in a [`State`] under the same names,
//! so that a run begun on one device continues on another.
//!
//! Everything here is generic over [`Device`]; only the binary knows which one
//! there is.

pub use spar_kernels::cuda::{
    Actions, Bootstrap, CudaError, DataActions, Device, Imitation, Kernels, Loss, Part, Policy,
    Posterior, Ranking, Rows,
};
use spar_kernels::{
    Head, MlpShape,
    cuda::{self, AdamStep, Gradient, GradientWork, Network, Saved},
    optim::{AdamConfig, adam_factors},
};

use crate::{
    batch::BatchSlices,
    state::{State, StateError},
};

/// A network, or an ensemble of networks of one shape, on a device.
#[derive(Debug)]
pub struct Net<B> {
    shape: MlpShape,
    head: cuda::Head,
    /// Of the members in a checkpoint, one each.
    names: Vec<String>,
    /// As [`cuda::pack`] lays them out.
    params: B,
}

impl<B: std::fmt::Debug> Net<B> {
    /// An ensemble with a member for each of `names`, its names in a checkpoint.
    /// A tanh head is followed by a multiplication by `scale`. The parameters
    /// are whatever they are until [`Self::load`].
    ///
    /// # Errors
    /// If the device has no memory.
    pub fn new<D: Device<Buffer = B>>(
        kernels: &Kernels<D>,
        shape: &MlpShape,
        scale: f32,
        names: Vec<String>,
    ) -> Result<Self, CudaError> {
        let params = cuda::packed_len(shape, names.len());
        let params = kernels.device().alloc(params)?;
        let head = match shape.head() {
            Head::Linear => cuda::Head::Linear,
            Head::Tanh => cuda::Head::Tanh { scale },
        };
        Ok(Self {
            shape: shape.clone(),
            head,
            names,
            params,
        })
    }

    /// Members.
    pub fn nets(&self) -> usize {
        self.names.len()
    }

    /// Sizes of a member.
    pub fn shape(&self) -> &MlpShape {
        &self.shape
    }

    /// As the kernels take it.
    pub fn network(&self) -> Network<'_, B> {
        Network {
            shape: &self.shape,
            head: self.head,
            nets: self.nets(),
            params: &self.params,
        }
    }

    /// Outputs into `out`, `[nets, rows, output]`, without anything kept for a
    /// gradient; with `actions`, those too. One launch.
    ///
    /// # Errors
    /// As [`Kernels::forward`].
    pub fn forward<D: Device<Buffer = B>>(
        &self,
        kernels: &Kernels<D>,
        input: &Rows<'_, B>,
        out: &mut B,
        actions: Option<Actions<'_, B>>,
    ) -> Result<(), CudaError> {
        kernels.forward(&self.network(), input, None, out, actions)
    }

    /// Adds the members' parameters to `state`.
    ///
    /// # Errors
    /// If the device cannot be read.
    pub fn save<D: Device<Buffer = B>>(
        &self,
        kernels: &Kernels<D>,
        state: &mut State,
    ) -> Result<(), CudaError> {
        self.save_parts(kernels, &self.params, "", state)
    }

    /// Takes the members' parameters from `state`.
    ///
    /// # Errors
    /// If they are absent or of another number, or the device cannot be written.
    pub fn load<D: Device<Buffer = B>>(
        &mut self,
        kernels: &Kernels<D>,
        state: &State,
    ) -> Result<(), StateError> {
        let params = self.parts(state, "")?;
        Ok(kernels.device().write(&params, &mut self.params)?)
    }

    /// Adds each member's part of `buffer` to `state` under its name and `suffix`.
    fn save_parts<D: Device<Buffer = B>>(
        &self,
        kernels: &Kernels<D>,
        buffer: &B,
        suffix: &str,
        state: &mut State,
    ) -> Result<(), CudaError> {
        let values = kernels.device().read(buffer)?;
        let members = cuda::unpack(&self.shape, &values);
        for (name, part) in self.names.iter().zip(members) {
            state.insert(&format!("{name}{suffix}"), part.to_vec());
        }
        Ok(())
    }

    /// The members' arrays of `state` under their names and `suffix`, as they lie on
    /// the device.
    fn parts(&self, state: &State, suffix: &str) -> Result<Vec<f32>, StateError> {
        let part = |name| state.get(&format!("{name}{suffix}"), self.shape.parameters());
        let parts: Result<Vec<_>, _> = self.names.iter().map(part).collect();
        Ok(cuda::pack(&self.shape, &parts?.concat()))
    }
}

/// A [`Net`] while it learns.
#[derive(Debug)]
pub struct Learner<B> {
    net: Net<B>,
    average: Option<(f32, Net<B>)>,
    adam: AdamConfig,
    /// Steps taken: of every member, for they take them together.
    step: u64,
    moments: [B; 2],
    factors: B,
}

/// Buffers of a pass of a learning network over a fixed number of rows.
#[derive(Debug)]
pub struct Pass<B> {
    /// Outputs, `[nets, rows, output]`.
    pub out: B,
    /// Gradient of the loss with respect to them.
    pub grad_out: B,
    saved: Saved<B>,
    work: GradientWork<B>,
    gradient: Gradient<B>,
}

impl<B: std::fmt::Debug> Learner<B> {
    /// `net` with an Adam of settings `adam`; with `average`,
    /// `(tau, average)`, each step moves `average` by `tau` towards `net`.
    ///
    /// # Errors
    /// If the device has no memory.
    pub fn new<D: Device<Buffer = B>>(
        kernels: &Kernels<D>,
        net: Net<B>,
        average: Option<(f32, Net<B>)>,
        adam: AdamConfig,
    ) -> Result<Self, CudaError> {
        let zeros = vec![0.0; cuda::packed_len(&net.shape, net.nets())];
        let upload = || kernels.device().upload(&zeros);
        Ok(Self {
            moments: [upload()?, upload()?],
            factors: kernels.device().alloc(2)?,
            step: 0,
            net,
            average,
            adam,
        })
    }

    /// The network as it is now.
    pub fn net(&self) -> &Net<B> {
        &self.net
    }

    /// Its Polyak average, or itself where none is kept.
    pub fn average(&self) -> &Net<B> {
        self.average.as_ref().map_or(&self.net, |(_, net)| net)
    }

    /// Buffers for passes over `rows` rows.
    ///
    /// # Errors
    /// If the device has no memory.
    pub fn pass<D: Device<Buffer = B>>(
        &self,
        kernels: &Kernels<D>,
        rows: usize,
    ) -> Result<Pass<B>, CudaError> {
        let (shape, nets) = (&self.net.shape, self.net.nets());
        let alloc = || kernels.device().alloc(nets * rows * shape.output());
        Ok(Pass {
            out: alloc()?,
            grad_out: alloc()?,
            saved: kernels.saved(shape, nets, rows)?,
            work: kernels.gradient_work(shape, nets, rows)?,
            gradient: kernels.gradient(shape, nets, rows)?,
        })
    }

    /// Outputs into `pass`, with what a gradient needs; with `actions`, those
    /// too. One launch.
    ///
    /// # Errors
    /// As [`Kernels::forward`].
    pub fn forward<D: Device<Buffer = B>>(
        &self,
        kernels: &Kernels<D>,
        input: &Rows<'_, B>,
        pass: &mut Pass<B>,
        actions: Option<Actions<'_, B>>,
    ) -> Result<(), CudaError> {
        let saved = Some(&mut pass.saved);
        kernels.forward(&self.net.network(), input, saved, &mut pass.out, actions)
    }

    /// The parameters' gradient along `pass.grad_out`, for [`Self::step`]; with
    /// `grad_x`, the input's, `[nets, rows, input]`, too.
    ///
    /// # Errors
    /// As [`Kernels::backward`].
    pub fn backward<D: Device<Buffer = B>>(
        &self,
        kernels: &Kernels<D>,
        input: &Rows<'_, B>,
        pass: &mut Pass<B>,
        grad_x: Option<&mut B>,
    ) -> Result<(), CudaError> {
        let Pass {
            out,
            grad_out,
            saved,
            work,
            gradient,
        } = pass;
        let (network, into) = (self.net.network(), Some(gradient));
        kernels.backward(&network, input, saved, out, grad_out, work, into, grad_x)
    }

    /// As [`Self::backward`], along `along` instead of `pass.grad_out`.
    ///
    /// # Errors
    /// As [`Kernels::backward`].
    pub fn backward_along<D: Device<Buffer = B>>(
        &self,
        kernels: &Kernels<D>,
        input: &Rows<'_, B>,
        pass: &mut Pass<B>,
        along: &B,
    ) -> Result<(), CudaError> {
        let Pass {
            out,
            saved,
            work,
            gradient,
            ..
        } = pass;
        let (network, into) = (self.net.network(), Some(gradient));
        kernels.backward(&network, input, saved, out, along, work, into, None)
    }

    /// Counts a step and writes what of Adam depends on its number. Before the
    /// launches of an update, of which [`Self::step`] is one.
    ///
    /// # Errors
    /// If the device cannot be written.
    pub fn begin_step<D: Device<Buffer = B>>(
        &mut self,
        kernels: &Kernels<D>,
    ) -> Result<(), CudaError> {
        self.step += 1;
        let factors = adam_factors(&self.adam, self.step);
        kernels.device().write(&factors, &mut self.factors)
    }

    /// One step of Adam along the sum of the gradients of `passes`, of which there may
    /// be two, and of the average. One launch.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn step<D: Device<Buffer = B>>(
        &mut self,
        kernels: &Kernels<D>,
        passes: &[&Pass<B>],
    ) -> Result<(), CudaError> {
        let gradients: Vec<_> = passes.iter().map(|pass| &pass.gradient).collect();
        let step = AdamStep {
            config: self.adam,
            factors: &self.factors,
        };
        let [m, v] = &mut self.moments;
        let average = self.average.as_mut();
        let average = average.map(|(tau, net)| (*tau, &mut net.params));
        kernels.adam(&step, &mut self.net.params, &gradients, m, v, average)
    }

    /// Adds network, average, moments and steps to `state`, as [`crate::Mlp`] and
    /// [`crate::Adam`] do.
    ///
    /// # Errors
    /// If the device cannot be read.
    pub fn save<D: Device<Buffer = B>>(
        &self,
        kernels: &Kernels<D>,
        state: &mut State,
    ) -> Result<(), CudaError> {
        self.net.save(kernels, state)?;
        if let Some((_, average)) = &self.average {
            average.save(kernels, state)?;
        }
        for (moment, suffix) in self.moments.iter().zip(MOMENTS) {
            self.net.save_parts(kernels, moment, suffix, state)?;
        }
        for name in &self.net.names {
            state.insert_count(&format!("{name}.adam_step"), self.step);
        }
        Ok(())
    }

    /// Takes network, average, moments and steps from `state`, as [`Self::save`]
    /// or [`crate::Mlp`] and [`crate::Adam`] left them.
    ///
    /// # Errors
    /// If they are absent or of another size, if the members have not taken the
    /// same number of steps, or the device cannot be written.
    pub fn load<D: Device<Buffer = B>>(
        &mut self,
        kernels: &Kernels<D>,
        state: &State,
    ) -> Result<(), StateError> {
        self.net.load(kernels, state)?;
        if let Some((_, average)) = &mut self.average {
            average.load(kernels, state)?;
        }
        for (moment, suffix) in self.moments.iter_mut().zip(MOMENTS) {
            let values = self.net.parts(state, suffix)?;
            kernels.device().write(&values, moment)?;
        }
        let steps = self.net.names.iter();
        let steps = steps.map(|name| state.get_count(&format!("{name}.adam_step")));
        let steps = steps.collect::<Result<Vec<_>, _>>()?;
        self.step = steps.first().copied().unwrap_or_default();
        if steps.iter().any(|&step| step != self.step) {
            return Err(StateError::Steps {
                names: self.net.names.clone(),
                steps,
            });
        }
        Ok(())
    }
}

/// Names of Adam's moments after a network's.
const MOMENTS: [&str; 2] = [".adam_m", ".adam_v"];

/// A minibatch on a device, written anew for every update.
#[derive(Debug)]
pub struct BatchBuffers<B> {
    /// Number of transitions.
    pub rows: usize,
    /// Width of a state.
    pub obs_dim: usize,
    /// Width of an action.
    pub act_dim: usize,
    /// `[rows, obs_dim]`.
    pub obs: B,
    /// `[rows, act_dim]`.
    pub actions: B,
    /// `[rows]`.
    pub rewards: B,
    /// `[rows, obs_dim]`.
    pub next_obs: B,
    /// `[rows]`.
    pub not_terminal: B,
}

impl<B> BatchBuffers<B> {
    /// Buffers for `rows` transitions.
    ///
    /// # Errors
    /// If the device has no memory.
    pub fn new<D: Device<Buffer = B>>(
        device: &D,
        rows: usize,
        obs_dim: usize,
        act_dim: usize,
    ) -> Result<Self, CudaError> {
        Ok(Self {
            rows,
            obs_dim,
            act_dim,
            obs: device.alloc(rows * obs_dim)?,
            actions: device.alloc(rows * act_dim)?,
            rewards: device.alloc(rows)?,
            next_obs: device.alloc(rows * obs_dim)?,
            not_terminal: device.alloc(rows)?,
        })
    }

    /// Copies `batch` in.
    ///
    /// # Errors
    /// If it is of another size or the copy fails.
    pub fn write<D: Device<Buffer = B>>(
        &mut self,
        device: &D,
        batch: &BatchSlices<'_>,
    ) -> Result<(), CudaError> {
        for (values, buffer) in [
            (batch.obs, &mut self.obs),
            (batch.actions, &mut self.actions),
            (batch.rewards, &mut self.rewards),
            (batch.next_obs, &mut self.next_obs),
            (batch.not_terminal, &mut self.not_terminal),
        ] {
            device.write(values, buffer)?;
        }
        Ok(())
    }
}

/// The mean of a buffer's values, added up in double precision: of the losses of
/// rows, for the log. Waits for the device.
///
/// # Errors
/// If the device cannot be read.
pub fn mean<D: Device>(device: &D, values: &D::Buffer) -> Result<f32, CudaError> {
    let values = device.read(values)?;
    let sum: f64 = values.iter().map(|&v| f64::from(v)).sum();
    Ok((sum / values.len() as f64) as f32)
}
