//! Suite files: which tasks, methods and seeds make a table, and with which
//! hyper-parameters. `xtask` reads them to plan, `spar-train` to configure a
//! run; the hyper-parameters themselves are typed where they are used.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, Serialize};
use toml::Table;

use crate::{files::in_file, id::TaskId};

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
    /// If the file cannot be read or does not parse.
    pub fn load(path: &Path) -> Result<Self, SuiteError> {
        let text = fs::read_to_string(path).map_err(|e| in_file(e, path))?;
        toml::from_str(&text).map_err(|e| SuiteError::Parse {
            path: path.display().to_string(),
            why: parse_error(&text, &e),
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
}
