//! Why there is no evaluation.

use spar_core::limits::OutOfRange;
use spar_data::DataError;
use spar_stats::StatsError;

/// Why a policy could not be evaluated on data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpeError {
    /// A setting is out of its range.
    #[error(transparent)]
    Config(#[from] OutOfRange),
    /// The policy is for other observations or actions than the data's.
    #[error(
        "the policy maps {obs} observations to {act} actions, the data have {data_obs} and \
         {data_act}; give data of the machine that it was trained for"
    )]
    Width {
        /// Width of the policy's observations.
        obs: usize,
        /// Of its actions.
        act: usize,
        /// Width of the data's observations.
        data_obs: usize,
        /// Of their actions.
        data_act: usize,
    },
    /// Nobody recorded rewards.
    #[error(
        "the data have no rewards, which the value is of; name the column that holds them by \
         --reward"
    )]
    NoRewards,
    /// The policy gave a NaN or an infinity.
    #[error(
        "the policy's action {when} row {row} of the data is not finite: component {component} is \
         {value}"
    )]
    ActionNotFinite {
        /// `in` or `after`.
        when: &'static str,
        /// The row.
        row: usize,
        /// Which component.
        component: usize,
        /// Its value.
        value: f32,
    },
    /// Rewards that cannot be added up.
    #[error(
        "rewards from {least} to {greatest} cannot be added up in single precision; scale them \
         to about 1"
    )]
    Rewards {
        /// The least reward.
        least: f64,
        /// The greatest.
        greatest: f64,
    },
    /// The fit left the numbers.
    #[error(
        "estimator {estimator}: values are no longer finite after {update} updates; lower the \
         learning rate or the rate of the target network"
    )]
    Diverged {
        /// Which estimator.
        estimator: usize,
        /// Updates it had.
        update: u64,
    },
    /// The data have no transition to train on.
    #[error(transparent)]
    Data(#[from] DataError),
    /// There is no interval.
    #[error(transparent)]
    Stats(#[from] StatsError),
    /// candle failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
