//! SPAR around a policy that is there already.

use spar_anchor::DRAWS;
use spar_data::Transitions;
use spar_policy::Policy;

use super::{Trainer, check_rewards};
use crate::{
    config::TrainConfig,
    error::TrainError,
    given::{self, Given},
    learner::Cpu,
    spec::Method,
};

impl Trainer<'static> {
    /// SPAR around `policy`, whatever trained it: [`Trainer::new`] with the frozen anchor that
    /// `config.anchor.file` would name, in memory; of `config.anchor` only `draws` has a
    /// meaning, by default [`DRAWS`].
    ///
    /// # Errors
    /// As there; and if the policy does not fit the data.
    pub fn around(
        policy: Policy,
        mut config: TrainConfig,
        data: &Transitions,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let method = Method::Spar;
        let draws = config.anchor.draws.take().unwrap_or(DRAWS);
        config.check()?;
        check_rewards(method, data)?;
        let unfit = |why| TrainError::Config(format!("anchor policy: {why}"));
        given::check_widths(&policy, data).map_err(unfit)?;
        let given = Given::on(policy, draws, data).map_err(unfit)?;
        Self::first_stage(Box::new(Cpu), method, config, (data, seed), Some(given))
    }
}
