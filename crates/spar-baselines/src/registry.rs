//! Every method by name.

use candle_core::Result;
use toml::Table;

use crate::{
    learner::{Baseline, Learner, Start},
    methods,
    settings::{DataConfig, Settings, SettingsError},
};

/// Every method, in the order they are listed. A method is added by its file in
/// `methods/` and one line here.
pub const METHODS: &[Entry] = &[
    Entry::of::<methods::td3bc::Td3Bc>(),
    Entry::of::<methods::iql::Iql>(),
    Entry::of::<methods::bc10::Bc10>(),
    Entry::of::<methods::awac::Awac>(),
    Entry::of::<methods::rebrac::ReBrac>(),
    Entry::of::<methods::plas::Plas>(),
    Entry::of::<methods::plas::PlasP>(),
    Entry::of::<methods::bcq::Bcq>(),
    Entry::of::<methods::rpl::Rpl>(),
    Entry::of::<methods::inac::InAc>(),
];

/// A method of the registry.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The name on command lines, in suites and in tables.
    pub name: &'static str,
    /// The name in the literature.
    pub title: &'static str,
    /// Whether it grows out of the frozen anchor.
    pub anchored: bool,
    settings: fn(Table) -> std::result::Result<Table, SettingsError>,
    data: fn(&Table) -> std::result::Result<Feed, SettingsError>,
    start: fn(&Table, Start) -> std::result::Result<Box<dyn Learner>, StartError>,
}

/// How the data are prepared for a method.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// What is done to them.
    pub data: DataConfig,
    /// The method's discount: one where it has none.
    pub discount: f64,
}

/// Why a method cannot start.
#[derive(Debug, thiserror::Error)]
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
    const fn of<M: Baseline>() -> Self {
        Self {
            name: M::NAME,
            title: M::TITLE,
            anchored: M::ANCHORED,
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
    pub fn settings(&self, table: Table) -> std::result::Result<Table, SettingsError> {
        (self.settings)(table)
    }

    /// How the data are prepared for hyper-parameters `table`.
    ///
    /// # Errors
    /// As [`Self::settings`].
    pub fn feed(&self, table: &Table) -> std::result::Result<Feed, SettingsError> {
        (self.data)(table)
    }

    /// The method with hyper-parameters `table`, before its first update.
    ///
    /// # Errors
    /// As [`Self::settings`]; and if candle cannot hold the networks.
    pub fn start(
        &self,
        table: &Table,
        start: Start,
    ) -> std::result::Result<Box<dyn Learner>, StartError> {
        (self.start)(table, start)
    }
}

/// The typed hyper-parameters in `table`.
fn parse<M: Baseline>(table: Table) -> std::result::Result<M::Config, SettingsError> {
    let config: M::Config = table.try_into().map_err(|e: toml::de::Error| {
        let why = e.to_string().trim().replace('\n', " ");
        SettingsError::Parse {
            method: M::NAME,
            why,
        }
    })?;
    config.data().check()?;
    config.check()?;
    Ok(config)
}

fn settings<M: Baseline>(table: Table) -> std::result::Result<Table, SettingsError> {
    Table::try_from(parse::<M>(table)?).map_err(|e| SettingsError::Parse {
        method: M::NAME,
        why: e.to_string(),
    })
}

fn feed<M: Baseline>(table: &Table) -> std::result::Result<Feed, SettingsError> {
    let config = parse::<M>(table.clone())?;
    Ok(Feed {
        data: config.data().clone(),
        discount: config.discount().unwrap_or(1.0),
    })
}

fn start<M: Baseline>(
    table: &Table,
    start: Start,
) -> std::result::Result<Box<dyn Learner>, StartError> {
    let config = parse::<M>(table.clone())?;
    let learner: Result<M> = M::new(config, start);
    Ok(Box::new(learner?))
}
