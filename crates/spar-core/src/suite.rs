//! Suite files: which tasks, methods and seeds make a table, and with which
//! hyper-parameters. `xtask` reads them to plan, `spar-train` to configure a
//! run; the hyper-parameters themselves are typed where they are used.

use std::{cmp::Ordering, collections::BTreeMap, fmt::Display, io, path::Path};

use serde::{Deserialize, Serialize};
use toml::Table;

use crate::{
    env::EnvId,
    id::Origin,
    limits::{self, MOST_EPISODES, MOST_ROWS, OutOfRange},
    names,
    task::TaskId,
};

mod extends;

pub use extends::{CHOICES, overlay};

/// SPAR, whose settings reach its variants as well.
const SPAR: &str = "spar";

/// What `[method.spar]` may hold, typed by `spar-train`. In older files these stood in
/// `[train]`, and are read as if they stood here (`extends`).
const OF_SPAR: [&str; 4] = ["critic", "rectify", "data", "detached_precision"];

/// A suite file, as in `suites/mujoco.toml`; one with `extends = "mujoco"` is laid over
/// that file beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Name of the suite; also the folder under `runs/`.
    pub name: String,
    /// Tasks that are not D4RL's, by name: known in the program once the file is read.
    #[serde(default)]
    pub define: BTreeMap<String, OwnTask>,
    /// Tasks in the order tables print them.
    pub tasks: Vec<TaskId>,
    /// Methods in the order tables print them.
    pub methods: Vec<String>,
    /// Seed of the evaluation episodes, shared by every training seed.
    pub eval_seed: u64,
    /// Presets by name: how much of everything.
    pub presets: BTreeMap<String, Preset>,
    /// Hyper-parameters of every run, typed by `spar-train`.
    pub train: Table,
    /// Hyper-parameters that differ for one task, by task id.
    #[serde(default)]
    pub task: BTreeMap<String, Table>,
    /// Where scores are expected to lie; `spar-report` flags those that do not.
    #[serde(default)]
    pub bands: Vec<Bands>,
    /// Hyper-parameters of methods, by name.
    #[serde(default)]
    pub method: BTreeMap<String, MethodTable>,
    /// SPAR with some settings changed, by the name of its column.
    #[serde(default)]
    pub variant: BTreeMap<String, Variant>,
}

/// The `[define.<task>]` table of a suite file: a task of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnTask {
    /// Where policies trained on the task's data are evaluated.
    pub env: EnvId,
}

/// The `[variant.<name>]` table of a suite file: SPAR, but for some settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// What the variant is and what its row would show, in one sentence.
    pub about: String,
    /// What lies over all other settings, typed by `spar-train`.
    #[serde(flatten)]
    pub settings: Table,
}

/// Where the scores of one method are expected to lie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bands {
    /// Preset of the runs meant.
    pub preset: String,
    /// Data of the runs meant, as in `local`: what is usual on one kind is not on
    /// another.
    pub data: Origin,
    /// The method.
    pub method: String,
    /// What the expectation rests on, in words.
    pub basis: String,
    /// Lowest and highest unsuspicious normalized score, mean over seeds, by task.
    pub scores: BTreeMap<String, [f64; 2]>,
}

/// The `[method.<name>]` table of a suite file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MethodTable {
    /// Whether the method grows out of the run `bc` of the same task and seed.
    #[serde(default)]
    pub anchored: bool,
    /// Hyper-parameters that differ for one task, by task id.
    #[serde(default)]
    pub task: BTreeMap<String, Table>,
    /// The method's hyper-parameters, typed by `spar-baselines`; SPAR's by `spar-train`.
    #[serde(flatten)]
    pub settings: Table,
}

/// How much of everything one preset runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// One line for `--help` and the report.
    pub description: String,
    /// Training seeds.
    pub seeds: Vec<u64>,
    /// Episodes of the final evaluation.
    pub eval_episodes: usize,
    /// Rows of locally generated data: `medium` rows; the other levels follow
    /// from it by D4RL's proportions.
    pub data_rows: usize,
    /// Whether a verdict follows from its runs: not from runs that are only there to see
    /// the program at work.
    #[serde(default = "yes")]
    pub verdict: bool,
    /// Hyper-parameters this preset changes, typed by `spar-train`.
    #[serde(default)]
    pub train: Table,
    /// Hyper-parameters this preset changes of methods, by name.
    #[serde(default)]
    pub method: BTreeMap<String, Table>,
}

fn yes() -> bool {
    true
}

/// Why a suite file could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuiteError {
    /// The file could not be read.
    #[error("cannot read suite file {0}")]
    Read(#[from] io::Error),
    /// The file is not what a suite file has to be.
    #[error("suite file {path}: {why}")]
    Parse {
        /// The file.
        path: String,
        /// What is wrong and where.
        why: String,
    },
    /// An expectation of something the suite does not have, or of nothing.
    #[error("suite `{suite}`, bands of {method} ({preset}): {why}; correct [[bands]]")]
    Bands {
        /// The suite.
        suite: String,
        /// The preset the bands are for.
        preset: String,
        /// The method they are for.
        method: String,
        /// What is wrong.
        why: String,
    },
    /// No such preset.
    #[error("suite `{suite}` has no preset `{got}`; expected one of: {expected}")]
    Preset {
        /// The suite.
        suite: String,
        /// The preset asked for.
        got: String,
        /// The presets there are.
        expected: String,
    },
    /// Hyper-parameters for something the suite does not have.
    #[error(
        "suite file {path}: [{table}] is for no {what} of the suite; expected one of: {expected}"
    )]
    Stray {
        /// The file.
        path: String,
        /// The table, as in `method.iql.task.hopper-medium`.
        table: String,
        /// `task` or `method`.
        what: &'static str,
        /// What there is.
        expected: String,
    },
}

impl Suite {
    /// Reads a suite file.
    ///
    /// # Errors
    /// If the file cannot be read, does not parse, or expects scores of what it
    /// does not have.
    pub fn load(path: &Path) -> Result<Self, SuiteError> {
        let wrong = |why: String| SuiteError::Parse {
            path: path.display().to_string(),
            why,
        };
        let table = extends::table(path)?;
        let suite: Self = table
            .try_into()
            .map_err(|e: toml::de::Error| wrong(e.message().replace('\n', " ")))?;
        suite.check_names().map_err(wrong)?;
        suite.check_lists().map_err(wrong)?;
        suite.check_settings_of_spar().map_err(wrong)?;
        suite
            .check_amounts()
            .map_err(|error| wrong(error.to_string()))?;
        suite.check_bands()?;
        match suite.stray() {
            None => Ok(suite),
            Some((table, what, expected)) => Err(SuiteError::Stray {
                path: path.display().to_string(),
                table,
                what,
                expected,
            }),
        }
    }

    /// A table of hyper-parameters that would never be read: its name, of what it
    /// should be, and what there is.
    fn stray(&self) -> Option<(String, &'static str, String)> {
        let tasks: Vec<String> = self.tasks.iter().map(TaskId::to_string).collect();
        let of_methods = self.method.iter().flat_map(|(name, table)| {
            let tasks = table.task.keys();
            tasks.map(move |task| (format!("method.{name}.task.{task}"), task))
        });
        let of_tasks = self.task.keys().map(|task| (format!("task.{task}"), task));
        let task = of_tasks
            .chain(of_methods)
            .find(|(_, task)| !tasks.contains(task));
        if let Some((table, _)) = task {
            return Some((table, "task", tasks.join(", ")));
        }
        let mut of_presets = self.presets.iter().flat_map(|(name, preset)| {
            let methods = preset.method.keys();
            methods.map(move |method| (format!("presets.{name}.method.{method}"), method))
        });
        let (table, _) = of_presets.find(|(_, method)| !self.method.contains_key(*method))?;
        let known: Vec<&str> = self.method.keys().map(String::as_str).collect();
        Some((table, "method with a table", known.join(", ")))
    }

    /// Every method the suite has settings for: those of its table, then the others
    /// by name.
    pub fn all_methods(&self) -> Vec<String> {
        let others = self.method.keys().chain(self.variant.keys());
        let others = others.filter(|m| !self.methods.contains(m));
        self.methods.iter().chain(others).cloned().collect()
    }

    /// The methods a command line means by `asked`: those of the table if it names none,
    /// every one there are settings for if it names `all`. Other names are not checked.
    pub fn asked_methods(&self, asked: &[String]) -> Vec<String> {
        match asked {
            [] => self.methods.clone(),
            [all] if all == "all" => self.all_methods(),
            asked => asked.to_vec(),
        }
    }

    /// Whether the method's runs grow out of those of `bc`.
    pub fn anchored(&self, method: &str) -> bool {
        method == SPAR
            || self.variant.contains_key(method)
            || self.method.get(method).is_some_and(|table| table.anchored)
    }

    /// Refuses names that are none, and variants and methods that are not what they say.
    fn check_names(&self) -> Result<(), String> {
        let presets = self.presets.keys().map(|name| ("preset", name));
        let variants = self.variant.keys().map(|name| ("variant", name));
        for (what, name) in [("suite", &self.name)]
            .into_iter()
            .chain(presets)
            .chain(variants)
        {
            names::check(what, name).map_err(|e| e.to_string())?;
        }
        if let Some(taken) = self.variant.keys().find(|name| names::is_method(name)) {
            return Err(format!(
                "variant `{taken}` has a method's name; give it another"
            ));
        }
        let unknown = |name: &&String| !names::is_method(name);
        let columns = self.methods.iter();
        let columns = columns.filter(|name| !self.variant.contains_key(*name));
        if let Some(name) = columns.chain(self.method.keys()).find(unknown) {
            let known = names::METHODS.map(|(name, _)| name).join(", ");
            return Err(format!(
                "there is no method and no [variant] `{}`; expected a variant or one of: {known}",
                name.escape_debug()
            ));
        }
        Ok(())
    }

    /// Refuses tasks, methods and seeds that stand twice, of which there can be one run, and
    /// seeds and tasks of which there are none.
    fn check_lists(&self) -> Result<(), String> {
        list("tasks", &self.tasks)?;
        list("methods", &self.methods)?;
        for (name, preset) in &self.presets {
            list(&format!("presets.{name}.seeds"), &preset.seeds)?;
        }
        Ok(())
    }

    /// Refuses settings in `[method.spar]` that are none of SPAR's own.
    fn check_settings_of_spar(&self) -> Result<(), String> {
        let own = self.method.get(SPAR);
        let own = own.map(|table| (format!("method.{SPAR}"), &table.settings));
        let of_tasks = self.method.get(SPAR).into_iter().flat_map(|table| {
            let tasks = table.task.iter();
            tasks.map(|(task, table)| (format!("method.{SPAR}.task.{task}"), table))
        });
        let of_presets = self.presets.iter().filter_map(|(name, preset)| {
            let table = preset.method.get(SPAR)?;
            Some((format!("presets.{name}.method.{SPAR}"), table))
        });
        for (name, table) in own.into_iter().chain(of_tasks).chain(of_presets) {
            if let Some(other) = table.keys().find(|key| !OF_SPAR.contains(&key.as_str())) {
                return Err(format!(
                    "[{name}] has `{}`, expected one of: {}; what every run has stands in [train]",
                    other.escape_debug(),
                    OF_SPAR.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// Refuses amounts of presets that no run can be made of.
    fn check_amounts(&self) -> Result<(), OutOfRange> {
        for (name, preset) in &self.presets {
            let field = |field: &str| format!("presets.{name}.{field}");
            let (episodes, rows) = (preset.eval_episodes as u64, preset.data_rows as u64);
            let most = u64::from(MOST_EPISODES);
            limits::count(&field("eval_episodes"), episodes, 1..=most)?;
            limits::count(&field("data_rows"), rows, 1..=MOST_ROWS)?;
        }
        Ok(())
    }

    fn check_bands(&self) -> Result<(), SuiteError> {
        for bands in &self.bands {
            let wrong = |why| SuiteError::Bands {
                suite: self.name.clone(),
                preset: bands.preset.clone(),
                method: bands.method.clone(),
                why,
            };
            if !self.presets.contains_key(&bands.preset) {
                return Err(wrong(format!("there is no preset `{}`", bands.preset)));
            }
            if !self.all_methods().contains(&bands.method) {
                return Err(wrong(format!("there is no method `{}`", bands.method)));
            }
            for (task, [low, high]) in &bands.scores {
                if self.tasks.iter().all(|known| known.to_string() != *task) {
                    return Err(wrong(format!("there is no task `{task}`")));
                }
                if low.partial_cmp(high) != Some(Ordering::Less) {
                    return Err(wrong(format!(
                        "{task} is [{low}, {high}], expected a lower and a higher score"
                    )));
                }
            }
        }
        Ok(())
    }

    /// The band of a method's score on `task` after runs of `preset` on data of
    /// `origin`, and what it rests on; `None` where nothing is expected.
    pub fn band(
        &self,
        preset: &str,
        origin: Origin,
        method: &str,
        task: TaskId,
    ) -> Option<([f64; 2], &str)> {
        let meant = |bands: &&Bands| {
            bands.preset == preset && bands.data == origin && bands.method == method
        };
        self.bands.iter().filter(meant).find_map(|bands| {
            let band = bands.scores.get(&task.to_string())?;
            Some((*band, bands.basis.as_str()))
        })
    }

    /// The preset `name`.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn preset(&self, name: &str) -> Result<&Preset, SuiteError> {
        self.presets.get(name).ok_or_else(|| SuiteError::Preset {
            suite: self.name.clone(),
            got: name.to_owned(),
            expected: self.presets.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// Hyper-parameters of one run: the suite's, then the task's, then the
    /// preset's laid over them (tables merge, values replace).
    ///
    /// # Errors
    /// If there is no such preset.
    pub fn hyper_parameters(&self, preset: &str, task: &str) -> Result<Table, SuiteError> {
        let mut merged = self.train.clone();
        if let Some(table) = self.task.get(task) {
            overlay(&mut merged, table);
        }
        overlay(&mut merged, &self.preset(preset)?.train);
        Ok(merged)
    }

    /// [`Self::hyper_parameters`] of one run of `method`, with the method's own, in
    /// the same order, as `method`, where the suite has any. SPAR's stand beside the others;
    /// those of a variant of it lie over all of them.
    ///
    /// # Errors
    /// If there is no such preset.
    pub fn run_settings(
        &self,
        preset: &str,
        task: &str,
        method: &str,
    ) -> Result<Table, SuiteError> {
        let mut merged = self.hyper_parameters(preset, task)?;
        let variant = self.variant.get(method);
        let method = variant.map_or(method, |_| SPAR);
        if let Some(table) = self.method.get(method) {
            let mut own = table.settings.clone();
            let presets = &self.preset(preset)?.method;
            for over in table.task.get(task).into_iter().chain(presets.get(method)) {
                overlay(&mut own, over);
            }
            if method == SPAR {
                overlay(&mut merged, &own);
            } else {
                merged.insert("method".to_owned(), own.into());
            }
        }
        if let Some(variant) = variant {
            overlay(&mut merged, &variant.settings);
        }
        Ok(merged)
    }
}

/// Refuses a list of nothing, or of anything twice.
fn list<T: PartialEq + Display>(field: &str, values: &[T]) -> Result<(), String> {
    if values.is_empty() {
        return Err(format!("`{field}` is empty, expected at least one"));
    }
    let twice = |(place, value): &(usize, &T)| values[..*place].contains(value);
    match values.iter().enumerate().find(twice) {
        None => Ok(()),
        Some((_, value)) => Err(format!(
            "`{field}` has `{value}` twice, expected each once; remove one"
        )),
    }
}

/// One line for a parse error of the TOML file `text`, with the line it is in:
/// toml's own message draws the place over several.
pub fn parse_error(text: &str, error: &toml::de::Error) -> String {
    let before = error
        .span()
        .map_or("", |span| text.get(..span.start).unwrap_or(""));
    let line = before.matches('\n').count() + 1;
    format!("line {line}: {}", error.message().replace('\n', " "))
}

#[cfg(test)]
#[path = "suite_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "suite/spar_tests.rs"]
mod spar_tests;
