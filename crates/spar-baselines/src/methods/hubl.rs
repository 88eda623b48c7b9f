//! HUBL (Geng et al. 2024, "Improving Offline RL by Blending Heuristics"): no method
//! of its own but a relabelling of the data, under which a base method is run
//! unchanged. Any method takes it as `data.hubl`; the two named here are those bases of
//! the paper that this crate has without it.

use candle_core::Result;
use serde::{Deserialize, Serialize};

use super::{iql::Iql, td3bc::Td3Bc};
use crate::{
    actor::Actor,
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    settings::{Blend, DataConfig, Hubl, Settings, SettingsError},
};

/// The relabelling where nothing else is said. The paper tunes it by data set; its
/// grid is not known to us.
const RELABELLING: Hubl = Hubl {
    alpha: 0.1,
    blend: Blend::Rank,
};

/// A base method's hyper-parameters, with a relabelling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Config<C>(C);

impl<C: Settings> Default for Config<C> {
    fn default() -> Self {
        let mut base = C::default();
        base.data_mut().hubl = Some(RELABELLING);
        Self(base)
    }
}

impl<C: Settings> Settings for Config<C> {
    fn data(&self) -> &DataConfig {
        self.0.data()
    }

    fn data_mut(&mut self) -> &mut DataConfig {
        self.0.data_mut()
    }

    fn discount(&self) -> Option<f64> {
        self.0.discount()
    }

    fn hidden(&self) -> Vec<(&'static str, &[usize])> {
        self.0.hidden()
    }

    fn draws(&self) -> Option<(&'static str, usize)> {
        self.0.draws()
    }

    fn check(&self) -> std::result::Result<(), SettingsError> {
        self.0.check()
    }
}

/// A method that has a name of its own when its data are relabelled.
pub trait Base: Baseline {
    /// That name.
    const BLENDED: MethodName;
}

impl Base for Td3Bc {
    const BLENDED: MethodName = names::HUBL_TD3BC;
}

impl Base for Iql {
    const BLENDED: MethodName = names::HUBL_IQL;
}

/// A base method on relabelled data.
#[derive(Debug)]
pub struct Blended<M>(M);

impl<M: Base> Baseline for Blended<M> {
    const NAME: MethodName = M::BLENDED;
    const ANCHORED: bool = M::ANCHORED;
    type Config = Config<M::Config>;

    fn new(config: Self::Config, start: Start) -> Result<Self> {
        M::new(config.0, start).map(Self)
    }
}

impl<M: Learner> Learner for Blended<M> {
    fn update(&mut self, step: u64, sample: &Sample) -> Result<Metrics> {
        self.0.update(step, sample)
    }

    fn parts(&mut self) -> Parts<'_> {
        self.0.parts()
    }

    fn actor(&self) -> Result<Actor> {
        self.0.actor()
    }
}
