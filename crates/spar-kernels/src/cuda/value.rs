//! Conservative values and latent-sampling weighted regression.

use super::{
    Arg, CudaError, Device, Kernels,
    device::int,
    optim::{ROWS_PER_BLOCK, elementwise, rowwise},
};
use crate::value::{Conservatism, ImitationStats, Penalty};

/// Results of [`Kernels::imitation`], in buffers that are used again.
#[derive(Debug)]
pub struct Imitation<B> {
    states: usize,
    candidates: usize,
    act_dim: usize,
    /// `softmax(A / (sigma T))` over a state's candidates, `[states, K]`.
    pub weights: B,
    /// `Delta* = sum_k w_k Delta_k`, `[states, act_dim]`.
    pub target: B,
    /// Gradient with respect to the candidates, `[states, K, act_dim]`.
    pub grad: B,
    advantage: B,
    excess: B,
    sums: B,
    data_advantage: B,
    parts: B,
    scales: B,
    stats: B,
}

/// How an ensemble values a batch's candidates, and how they are weighted by it.
#[derive(Debug)]
pub struct Ranking<'a, B> {
    /// The critics' values of the candidates, `[nets, states * K]`.
    pub values: &'a B,
    /// Members of the ensemble.
    pub nets: usize,
    /// How their values of one action become one.
    pub by: Conservatism,
    /// `T`, of advantages in parts of `sigma`.
    pub temperature: f32,
    /// The least `sigma`, in parts of the deviation of the data's advantages; zero for
    /// no floor.
    pub scale: f32,
    /// What candidates lose by disagreement beyond the data's.
    pub penalty: Penalty,
    /// The data's own actions.
    pub data: DataActions<'a, B>,
}

/// What an ensemble says of a batch's own actions, whose advantages are their least
/// value less `baseline`.
#[derive(Debug)]
pub struct DataActions<'a, B> {
    /// Values of the data's actions, `[nets, states]`.
    pub values: &'a B,
    /// Rows of `values`.
    pub nets: usize,
    /// Value of each state, `[states]`; absent, the mean of its candidates' values.
    pub baseline: Option<&'a B>,
}

/// What [`Kernels::imitation`] measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RankingStats {
    /// Of the candidates and their weights; the loss is without the gradient's weight.
    pub imitation: ImitationStats,
    /// Standard deviation of the data actions' advantages.
    pub data_deviation: f32,
    /// What a unit of disagreement beyond the data's took from a candidate: `u` of
    /// [`Penalty`].
    pub penalty_weight: f32,
}

impl<D: Device> Kernels<D> {
    /// The conservative value of each row, `[rows]`, into `out`, from an
    /// ensemble's `values`, `[nets, rows]`. One launch.
    ///
    /// # Errors
    /// If a length does not fit or the launch fails.
    pub fn conservative(
        &self,
        values: &D::Buffer,
        nets: usize,
        by: Conservatism,
        out: &mut D::Buffer,
    ) -> Result<(), CudaError> {
        let rows = self.device.len(out);
        check_ensemble(nets, rows, by)?;
        self.check("values of an ensemble", values, nets * rows)?;
        let args = [
            Arg::Read(values),
            Arg::Int(int("nets", nets)?),
            Arg::Int(int("rows", rows)?),
            Arg::Float(deviations(by)),
            Arg::Write(out),
        ];
        let launch = elementwise("conservative", rows)?;
        // SAFETY: the arguments are `conservative`'s, lengths checked above.
        unsafe { self.device.launch(launch, &args) }
    }

    /// Buffers for [`Kernels::imitation`] of `candidates` candidates of
    /// `act_dim` numbers for each of `states` states.
    ///
    /// # Errors
    /// If a size is zero or the device has no memory.
    pub fn imitation_buffers(
        &self,
        states: usize,
        candidates: usize,
        act_dim: usize,
    ) -> Result<Imitation<D::Buffer>, CudaError> {
        if states * candidates * act_dim == 0 {
            return Err(CudaError::Shape("imitation of no candidates".to_owned()));
        }
        let alloc = |len| self.device.alloc(len);
        Ok(Imitation {
            states,
            candidates,
            act_dim,
            weights: alloc(states * candidates)?,
            target: alloc(states * act_dim)?,
            grad: alloc(states * candidates * act_dim)?,
            advantage: alloc(states * candidates)?,
            excess: alloc(states * candidates)?,
            sums: alloc(4 * states)?,
            data_advantage: alloc(states)?,
            parts: alloc(4 * states.div_ceil(ROWS_PER_BLOCK))?,
            scales: alloc(3)?,
            stats: alloc(4)?,
        })
    }

    /// Latent-sampling weighted regression of `candidates`,
    /// `[states, K, act_dim]`, ranked by the critics' values, as
    /// [`crate::reference::imitation`] defines it on [`Kernels::conservative`]
    /// values that are lowered as [`crate::value::penalize`] does; its gradient times
    /// `weight`. Two launches.
    ///
    /// # Errors
    /// If a length does not fit or a launch fails.
    pub fn imitation(
        &self,
        candidates: &D::Buffer,
        ranking: &Ranking<'_, D::Buffer>,
        weight: f32,
        into: &mut Imitation<D::Buffer>,
    ) -> Result<(), CudaError> {
        let Ranking {
            values, nets, by, ..
        } = *ranking;
        let data = &ranking.data;
        let (states, k, act_dim) = (into.states, into.candidates, into.act_dim);
        check_ensemble(nets, states * k, by)?;
        int("numbers of all candidates", states * k * act_dim)?;
        self.check("candidates", candidates, states * k * act_dim)?;
        self.check("values of an ensemble", values, nets * states * k)?;
        check_ensemble(data.nets, states, Conservatism::Min)?;
        self.check(
            "values of the data's actions",
            data.values,
            data.nets * states,
        )?;
        if let Some(baseline) = data.baseline {
            self.check("baseline of the data's actions", baseline, states)?;
        }
        // Anybody may have put other buffers there.
        self.check("weights", &into.weights, states * k)?;
        self.check("target", &into.target, states * act_dim)?;
        self.check("gradient", &into.grad, states * k * act_dim)?;
        let [int_states, int_k] = [int("states", states)?, int("candidates", k)?];
        let args = [
            Arg::Read(values),
            Arg::Int(int("nets", nets)?),
            Arg::Int(int_states),
            Arg::Int(int_k),
            Arg::Float(deviations(by)),
            Arg::Read(data.values),
            Arg::Int(int("nets", data.nets)?),
            data.baseline.map_or(Arg::Null, Arg::Read),
            Arg::Write(&mut into.advantage),
            Arg::Write(&mut into.excess),
            Arg::Write(&mut into.sums),
            Arg::Write(&mut into.data_advantage),
        ];
        let launch = rowwise("advantages", states)?;
        // SAFETY: the arguments are `advantages`'s; what is private of `into` was
        // made for these sizes, the rest is checked above.
        unsafe { self.device.launch(launch, &args)? };
        let args = [
            Arg::Read(candidates),
            Arg::Read(&into.advantage),
            Arg::Read(&into.excess),
            Arg::Read(&into.sums),
            Arg::Read(&into.data_advantage),
            Arg::Int(int_states),
            Arg::Int(int_k),
            Arg::Int(int("width of an action", act_dim)?),
            Arg::Float(ranking.temperature),
            Arg::Float(ranking.scale),
            Arg::Float(ranking.penalty.weight),
            Arg::Float(ranking.penalty.ratio),
            Arg::Float(weight),
            Arg::Write(&mut into.weights),
            Arg::Write(&mut into.target),
            Arg::Write(&mut into.grad),
            Arg::Write(&mut into.parts),
            Arg::Write(&mut into.scales),
        ];
        let launch = rowwise("imitation", states)?;
        // SAFETY: as above, of `imitation`.
        unsafe { self.device.launch(launch, &args) }
    }

    /// What the last [`Kernels::imitation`] into `of` measured. One launch and a wait,
    /// so for the log only.
    ///
    /// # Errors
    /// If the launch or the copy fails.
    pub fn imitation_stats(
        &self,
        of: &mut Imitation<D::Buffer>,
    ) -> Result<RankingStats, CudaError> {
        let args = [
            Arg::Read(&of.parts),
            Arg::Int(int("blocks", of.states.div_ceil(ROWS_PER_BLOCK))?),
            Arg::Int(int("states", of.states)?),
            Arg::Int(int("candidates", of.candidates)?),
            Arg::Write(&mut of.stats),
        ];
        let launch = elementwise("imitation_stats", 1)?;
        // SAFETY: the arguments are `imitation_stats`'s, on buffers made for
        // these sizes.
        unsafe { self.device.launch(launch, &args)? };
        let stats = self.device.read(&of.stats)?;
        let scales = self.device.read(&of.scales)?;
        Ok(RankingStats {
            imitation: ImitationStats {
                loss: stats[0],
                spread: stats[1],
                weight_max: stats[2],
                effective: stats[3],
                deviation: scales[0],
            },
            data_deviation: scales[1],
            penalty_weight: scales[2],
        })
    }
}

/// As the kernels take it: what is negative stands for the least.
fn deviations(by: Conservatism) -> f32 {
    match by {
        Conservatism::Min => -1.0,
        Conservatism::MeanMinusStd(deviations) => deviations,
    }
}

fn check_ensemble(nets: usize, rows: usize, by: Conservatism) -> Result<(), CudaError> {
    int("values of an ensemble", nets * rows)?;
    let negative = matches!(by, Conservatism::MeanMinusStd(d) if d.is_nan() || d < 0.0);
    if nets == 0 || negative {
        return Err(CudaError::Shape(format!(
            "an ensemble of {nets} nets, valued by {by:?}"
        )));
    }
    Ok(())
}
