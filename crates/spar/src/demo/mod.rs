//! A picture of the idea: SPAR, TD3+BC and AWR on a problem whose logged actions lie
//! on a curve, with the true value known everywhere.
//!
//! The benchmarks say whether SPAR improves on its anchor; they cannot show why its
//! way of improving was chosen. Here actions are points of a square, so that one can
//! watch where each method's policy goes: a critic is asked only along the curve, and
//! what it says elsewhere is a guess. A second problem, [`modes`], has logged actions in two
//! places, of which a generative anchor has both. [`Demo::train`] runs the methods as they are in
//! `spar-rectify` and `spar-baselines`, with their usual interfaces; [`Demo::picture`]
//! and [`Demo::film`] draw what happened, whatever that was, and [`Demo::table`] says
//! it in numbers. Nothing here needs MuJoCo or a data file.

mod draw;
pub(crate) mod modes;
pub(crate) mod problem;
pub(crate) mod search;
pub(crate) mod train;

use comfy_table::{Table, presets};
use spar_baselines::{SettingsError, StartError};
use spar_data::DataError;
use spar_nn::StateError;
use spar_train::TrainError;

use modes::Modes;
use train::{BaselineCourse, SparCourse, Stage};

/// Why the demo could not be made. None is the user's doing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// A tensor could not be made.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// The logged data hold nothing.
    #[error(transparent)]
    Data(#[from] DataError),
    /// SPAR's usual hyper-parameters cannot be read.
    #[error(transparent)]
    Config(#[from] TrainError),
    /// SPAR does not continue from where it stood.
    #[error(transparent)]
    State(#[from] StateError),
    /// A baseline's hyper-parameters do not fit it.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A baseline cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The registry lacks a method.
    #[error("the registry has no method `{0}`; expected the demo's own")]
    Method(&'static str),
    /// A baseline acts by something else than one network.
    #[error(
        "a method of the demo acts by more than one network; expected one from state to action"
    )]
    Actor,
    /// A number is not finite any more.
    #[error("{method} diverged in update {update}: a loss is not finite; try another seed")]
    Diverged {
        /// The method's name.
        method: &'static str,
        /// Its update.
        update: u64,
    },
}

/// SPAR's weight of the fit beside self-imitation: of the three that
/// `suites/mujoco.toml` uses, the only one that keeps the policy on the manifold here.
pub(crate) const W_FIT: f64 = 2.0;
/// The weight that `suites/mujoco.toml` uses unless it says otherwise.
pub(crate) const USUAL_W_FIT: f64 = 0.5;
/// AWR's settings that differ from the published ones: the best of
/// [`search`] with seed 0.
pub(crate) const AWR: [(&str, f64); 2] = [("actor_lr", 5e-4), ("temperature", 0.1)];

/// What the demo found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Demo {
    /// Seed of data and methods.
    pub(crate) seed: u64,
    /// SPAR with [`W_FIT`], and its anchor.
    pub(crate) spar: SparCourse,
    /// SPAR with [`USUAL_W_FIT`]: the same until self-imitation begins.
    pub(crate) looser: SparCourse,
    /// TD3+BC at its published hyper-parameters but for the widths.
    pub(crate) td3bc: BaselineCourse,
    /// AWR.
    pub(crate) awr: BaselineCourse,
    /// The clones of logged actions in two places, and SPAR around each.
    pub(crate) modes: Modes,
}

impl Demo {
    /// Logs the data and trains the three methods on them, on this thread. The same
    /// seed gives the same bits on the same machine.
    ///
    /// # Errors
    /// See [`DemoError`].
    pub(crate) fn train(seed: u64) -> Result<Self, DemoError> {
        let data = problem::logged(seed)?;
        let [spar, looser] = train::spar(&data, [W_FIT, USUAL_W_FIT], seed)?;
        Ok(Self {
            seed,
            spar,
            looser,
            td3bc: train::baseline(&data, "td3bc", &settings(&[]), seed)?,
            awr: train::baseline(&data, "awr", &settings(&AWR), seed)?,
            modes: Modes::train(seed)?,
        })
    }

    /// The methods by name with their last stages, in the order of the table.
    pub(crate) fn results(&self) -> [(String, &Stage); 5] {
        let spar = |found: &SparCourse| format!("SPAR, w_fit {}", found.w_fit);
        [
            ("anchor (BC)".to_owned(), &self.spar.anchor),
            (spar(&self.spar), self.spar.course.last()),
            (spar(&self.looser), self.looser.course.last()),
            ("TD3+BC".to_owned(), self.td3bc.course.last()),
            ("AWR".to_owned(), self.awr.course.last()),
        ]
    }

    /// The still: SVG, of the end of training.
    pub(crate) fn picture(&self) -> String {
        draw::draw(self, false)
    }

    /// The film: the same SVG with SMIL animations, no script, one showing of all
    /// training after the other.
    pub(crate) fn film(&self) -> String {
        draw::draw(self, true)
    }

    /// The second picture: two places, and SPAR around a clone that has both.
    pub(crate) fn modes_picture(&self) -> String {
        draw::modes::draw(&self.modes)
    }

    /// The results as text.
    pub(crate) fn table(&self) -> String {
        let of_two = |played: &modes::Played| format!("two places: {}", played.name);
        let modes = self.modes.played.iter();
        let modes = modes.map(|played| (of_two(played), &played.stage));
        table_of(self.results().into_iter().chain(modes))
    }
}

/// A method's settings: `own` over the published ones, in the demo's size.
fn settings(own: &[(&str, f64)]) -> toml::Table {
    let mut table = toml::Table::new();
    let widths = train::HIDDEN.iter().map(|w| *w as i64);
    table.insert("hidden".to_owned(), widths.collect::<Vec<_>>().into());
    let mut data = toml::Table::new();
    data.insert("batch_size".to_owned(), (train::BATCH as i64).into());
    table.insert("data".to_owned(), data.into());
    for (name, value) in own {
        table.insert((*name).to_owned(), (*value).into());
    }
    table
}

/// Names and stages as text.
fn table_of<'a>(rows: impl IntoIterator<Item = (String, &'a Stage)>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "method",
        "true value",
        "distance to manifold",
        "off the ledge",
    ]);
    for (name, stage) in rows {
        table.add_row([
            name,
            format!("{:.3}", stage.value),
            format!("{:.3}", stage.distance),
            format!("{:.0}%", 100.0 * stage.fallen),
        ]);
    }
    table.trim_fmt()
}
