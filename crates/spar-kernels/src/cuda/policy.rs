//! Policy evaluation.

use super::{
    Arg, CudaError, Device, Kernels, Launch, Network,
    device::PASS_THREADS,
    device::{extent, int},
    network::{pitch, widest},
};

/// A policy: normalization, anchor and, if there is one, residual decoder.
#[derive(Debug)]
pub struct Policy<'a, B> {
    /// Mean of the observations, `[obs_dim]`.
    pub mean: &'a B,
    /// What they are divided by, `[obs_dim]`.
    pub std: &'a B,
    /// Normalized observation to action: one net.
    pub anchor: Network<'a, B>,
    /// `[s, b, z]` to the residual, `rho` in its head: one net.
    pub decoder: Option<Network<'a, B>>,
}

impl<D: Device> Kernels<D> {
    /// Actions `[rows, act_dim]` of a policy for observations
    /// `[rows, obs_dim]` in the environment's own units:
    /// `clip(b + Delta(s, b, 0))`, or `b` without decoder. One launch.
    ///
    /// # Errors
    /// If a buffer does not fit the shapes, a layer is too wide for the
    /// device's shared memory, or the launch fails.
    pub fn policy(
        &self,
        policy: &Policy<'_, D::Buffer>,
        obs: &D::Buffer,
        actions: &mut D::Buffer,
    ) -> Result<(), CudaError> {
        let Policy {
            mean,
            std,
            anchor,
            decoder,
        } = policy;
        let (obs_dim, act_dim) = (anchor.shape.input, anchor.shape.output);
        let rows = self.device.len(obs) / obs_dim.max(1);
        let single = anchor.nets == 1 && decoder.as_ref().is_none_or(|d| d.nets == 1);
        let fits = decoder
            .as_ref()
            .is_none_or(|d| d.shape.output == act_dim && d.shape.input >= obs_dim + act_dim);
        if !single || !fits || rows == 0 {
            return Err(CudaError::Shape(
                "a policy is one anchor and at most one decoder of [s, b, z], over at least one row"
                    .to_owned(),
            ));
        }
        self.check("observations", obs, rows * obs_dim)?;
        self.check("mean of the observations", mean, obs_dim)?;
        self.check("deviation of the observations", std, obs_dim)?;
        self.check("actions", actions, rows * act_dim)?;
        let anchor_net = self.net(anchor, rows)?;
        let decoder_net = decoder.as_ref().map(|d| self.net(d, rows)).transpose()?;
        let decoder_widest = decoder.as_ref().map_or(0, |d| widest(d.shape));
        let widest = widest(anchor.shape).max(decoder_widest);
        let input = decoder.as_ref().map_or(obs_dim, |d| d.shape.input);
        let tile = self.small_tile(pitch(input) + 2 * pitch(widest))?;
        let launch = Launch {
            kernel: "policy_8",
            grid: [extent(rows.div_ceil(tile.rows))?, 1, 1],
            threads: PASS_THREADS,
            shared_bytes: tile.shared_bytes,
        };
        let args = [
            Arg::Net(anchor_net),
            Arg::Read(anchor.params),
            // No layers: no decoder.
            Arg::Net(decoder_net.unwrap_or_default()),
            decoder.as_ref().map_or(Arg::Null, |d| Arg::Read(d.params)),
            Arg::Read(*mean),
            Arg::Read(*std),
            Arg::Read(obs),
            Arg::Int(int("rows", rows)?),
            Arg::Int(int("width", widest)?),
            Arg::Write(actions),
        ];
        // SAFETY: the arguments are `policy`'s, and every buffer has been
        // checked against the shapes.
        unsafe { self.device.launch(launch, &args) }
    }
}
