//! Every method by name.

use spar_core::suite::overlay;
use toml::Table;

use crate::{
    learner::{Baseline, Learner, Online, Start},
    methods::METHODS,
    settings::{DataConfig, Settings, SettingsError, sizes},
};

type Starter = fn(&Table, Start) -> Result<Box<dyn Learner>, StartError>;

/// A method of the registry.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The name on command lines, in suites and in tables.
    pub name: &'static str,
    /// The name in the literature.
    pub title: &'static str,
    /// Whether it grows out of the frozen anchor.
    pub anchored: bool,
    /// Whether it learns from rewards.
    pub rewarded: bool,
    /// How it is fine-tuned online, if it can be.
    pub online: Option<Online>,
    /// Settings that say how many updates pass before the policy learns
    /// ([`Settings::STAGES`]).
    pub stages: &'static [&'static str],
    /// Updates of the source's whole run, of which the stages' defaults are parts.
    pub source_updates: u64,
    /// Settings that [`Self::settings`] leaves out at their defaults, and these
    /// ([`Settings::UNWRITTEN`]).
    pub unwritten: &'static [(&'static str, &'static str)],
    settings: fn(Table) -> Result<Table, SettingsError>,
    data: fn(&Table) -> Result<Feed, SettingsError>,
    start: Starter,
}

/// How the data are prepared for a method.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// What is done to them.
    pub data: DataConfig,
    /// The method's discount: one where it has none.
    pub discount: f64,
    /// Whether the method learns from the returns of trajectories.
    pub returns: bool,
}

/// Why a method cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its hyper-parameters cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Its networks cannot be made.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// The method called `name`, if there is one.
pub fn find(name: &str) -> Option<&'static Entry> {
    METHODS.iter().find(|entry| entry.name == name)
}

impl Entry {
    pub(crate) const fn of<M: Baseline>() -> Self {
        Self {
            name: M::NAME.0,
            title: M::NAME.1,
            anchored: M::ANCHORED,
            rewarded: M::REWARDED,
            online: M::ONLINE,
            stages: M::Config::STAGES,
            source_updates: M::Config::SOURCE_UPDATES,
            unwritten: M::Config::UNWRITTEN,
            settings: settings::<M>,
            data: feed::<M>,
            start: start::<M>,
        }
    }

    /// All hyper-parameters: those of `table`, and the method's own where it names
    /// none.
    ///
    /// # Errors
    /// If a field is unknown, of another type or out of range.
    pub fn settings(&self, table: Table) -> Result<Table, SettingsError> {
        (self.settings)(table)
    }

    /// How the data are prepared for hyper-parameters `table`.
    ///
    /// # Errors
    /// As [`Self::settings`].
    pub fn feed(&self, table: &Table) -> Result<Feed, SettingsError> {
        (self.data)(table)
    }

    /// The method with hyper-parameters `table`, before its first update.
    ///
    /// # Errors
    /// As [`Self::settings`]; and if candle cannot hold the networks.
    pub fn start(&self, table: &Table, start: Start) -> Result<Box<dyn Learner>, StartError> {
        (self.start)(table, start)
    }
}

/// The typed hyper-parameters in `table`, laid over the method's own: serde's
/// defaults of an inner table would be those of its type, not of the method.
fn parse<M: Baseline>(table: Table) -> Result<M::Config, SettingsError> {
    let wrong = |why: String| SettingsError::Parse {
        method: M::NAME.0,
        why: why.trim().replace('\n', " "),
    };
    let whole = Table::try_from(M::Config::default());
    let mut whole = whole.map_err(|e| wrong(e.to_string()))?;
    overlay(&mut whole, &table);
    let config = whole.try_into();
    let config: M::Config = config.map_err(|e: toml::de::Error| wrong(e.to_string()))?;
    config.data().check()?;
    if M::ANCHORED {
        config.data().check_anchored()?;
    }
    sizes(&config)?;
    config.check()?;
    Ok(config)
}

fn settings<M: Baseline>(table: Table) -> Result<Table, SettingsError> {
    Table::try_from(parse::<M>(table)?).map_err(|e| SettingsError::Parse {
        method: M::NAME.0,
        why: e.to_string(),
    })
}

fn feed<M: Baseline>(table: &Table) -> Result<Feed, SettingsError> {
    let config = parse::<M>(table.clone())?;
    Ok(Feed {
        data: config.data().clone(),
        discount: config.discount().unwrap_or(1.0),
        returns: config.returns(),
    })
}

fn start<M: Baseline>(table: &Table, start: Start) -> Result<Box<dyn Learner>, StartError> {
    let config = parse::<M>(table.clone())?;
    Ok(Box::new(M::new(config, start)?))
}
