//! Suite files: which tasks, methods and seeds make a table, and with which
//! hyper-parameters. `xtask` reads them to plan, `spar-train` to configure a
//! run; the hyper-parameters themselves are typed where they are used.

use std::{cmp::Ordering, collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, Serialize};
use toml::Table;

use crate::{
    files::in_file,
    id::{Origin, TaskId},
};

/// A suite file, as in `suites/mujoco.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Name of the suite; also the folder under `runs/`.
    pub name: String,
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
    /// Hyper-parameters this preset changes, typed by `spar-train`.
    #[serde(default)]
    pub train: Table,
}

/// Why a suite file could not be used.
#[derive(Debug, thiserror::Error)]
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
    #[error("suite `{suite}`, bands of {method} ({preset}): {why}; mend [[bands]]")]
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
}

impl Suite {
    /// Reads a suite file.
    ///
    /// # Errors
    /// If the file cannot be read, does not parse, or expects scores of what it
    /// does not have.
    pub fn load(path: &Path) -> Result<Self, SuiteError> {
        let text = fs::read_to_string(path).map_err(|e| in_file(e, path))?;
        let suite: Self = toml::from_str(&text).map_err(|e| SuiteError::Parse {
            path: path.display().to_string(),
            why: parse_error(&text, &e),
        })?;
        suite.check_bands()?;
        Ok(suite)
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
            if !self.methods.contains(&bands.method) {
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

fn overlay(base: &mut Table, over: &Table) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => overlay(below, above),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn later_tables_lie_over_earlier_ones() {
        let suite: Suite = toml::from_str(
            r#"
            name = "s"
            tasks = ["hopper-medium"]
            methods = ["bc"]
            eval_seed = 1
            [presets.quick]
            description = "d"
            seeds = [0]
            eval_episodes = 2
            data_rows = 10
            train.batch_size = 64
            [train]
            batch_size = 256
            critic = { tau = 0.005, expectile = 0.7 }
            [task.hopper-medium]
            critic = { expectile = 0.9 }
            "#,
        )
        .unwrap();
        let table = suite.hyper_parameters("quick", "hopper-medium").unwrap();
        let expected: Table =
            toml::from_str("batch_size = 64\ncritic = { tau = 0.005, expectile = 0.9 }").unwrap();
        assert_eq!(table, expected);
        let error = suite.hyper_parameters("slow", "x").unwrap_err().to_string();
        assert!(error.contains("slow") && error.contains("quick"), "{error}");
    }

    #[test]
    fn a_broken_file_is_one_line_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.toml");
        fs::write(&path, "name = \"s\"\ntask = 3\n").unwrap();
        let error = Suite::load(&path).unwrap_err().to_string();
        assert!(
            error.contains("s.toml: line 2: ") && !error.contains('\n'),
            "{error}"
        );
    }

    #[test]
    fn bands_are_of_what_the_suite_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.toml");
        let load = |bands: &str| {
            let suite = format!(
                "name = \"s\"\ntasks = [\"hopper-medium\"]\nmethods = [\"bc\"]\neval_seed = 1\n\
                 [train]\n[presets.quick]\ndescription = \"d\"\nseeds = [0]\neval_episodes = 2\n\
                 data_rows = 10\n[[bands]]\nbasis = \"b\"\n{bands}\n"
            );
            fs::write(&path, suite).unwrap();
            Suite::load(&path).map_err(|e| e.to_string())
        };
        let of = |preset: &str, method: &str, scores: &str| {
            load(&format!(
                "preset = \"{preset}\"\ndata = \"local\"\nmethod = \"{method}\"\nscores = {{ {scores} }}"
            ))
        };
        let suite = of("quick", "bc", "hopper-medium = [20, 30.5]").unwrap();
        let task = suite.tasks[0];
        let band = |preset, origin, method| suite.band(preset, origin, method, task);
        assert_eq!(
            band("quick", Origin::Local, "bc"),
            Some(([20.0, 30.5], "b"))
        );
        assert_eq!(band("quick", Origin::Official, "bc"), None);
        assert_eq!(band("paper", Origin::Local, "bc"), None);
        assert_eq!(band("quick", Origin::Local, "spar"), None);
        for (given, expected) in [
            (
                of("slow", "bc", ""),
                "bands of bc (slow): there is no preset `slow`",
            ),
            (of("quick", "spar", ""), "there is no method `spar`"),
            (
                of("quick", "bc", "hopper-expert = [1, 2]"),
                "there is no task `hopper-expert`",
            ),
            (
                of("quick", "bc", "hopper-medium = [2, 1]"),
                "hopper-medium is [2, 1], expected a lower and a higher score",
            ),
        ] {
            let error = given.unwrap_err();
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        }
    }
}
