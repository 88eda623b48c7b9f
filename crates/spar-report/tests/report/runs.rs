//! Synthetic run folders in a temporary directory.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use spar_core::{
    DatasetIdentity, Origin, RunRecord, Stream, TaskId, sha256_hex,
    suite::{Bands, Variant},
};
use spar_report::ReportRequest;
use tempfile::TempDir;

/// Writes a record and the settings it was made with.
fn write_in(folder: &Path, record: &RunRecord) {
    let variant = !["bc", "spar"].contains(&record.method.as_str());
    let mut spec = json!({
        "suite": record.suite, "preset": record.preset, "task": record.task,
        "method": if variant { "spar" } else { &record.method },
        "seed": record.seed, "env": record.env, "dataset": record.dataset,
        "eval_seed": record.eval_seed, "final_episodes": record.returns.len(),
        "device": record.device,
        "config": {
            "updates": record.updates,
            "anchor": { "updates": record.anchor_updates, "lr": 0.0003 },
            "critic": { "tau": 0.005, "deviations": null },
            "rectify": { "beta": 0.1 },
        },
    });
    if variant {
        spec["variant"] = record.method.clone().into();
    }
    fs::write(folder.join("spec.json"), spec.to_string()).unwrap();
    fs::write(folder.join("DONE"), serde_json::to_string(record).unwrap()).unwrap();
}

/// A folder of runs and the request that reports on it.
pub(crate) struct Runs {
    _folder: TempDir,
    pub(crate) request: ReportRequest,
}

impl Runs {
    /// Three tasks, BC and SPAR, two seeds, nothing run.
    pub(crate) fn empty() -> Self {
        let tasks = ["halfcheetah-medium", "hopper-medium", "walker2d-medium"];
        Self::of(&tasks, &["bc", "spar"], &[0, 1])
    }

    fn of(tasks: &[&str], methods: &[&str], seeds: &[u64]) -> Self {
        let suite = serde_json::json!({
            "name": "mujoco",
            "tasks": tasks,
            "methods": methods,
            "eval_seed": 1000,
            "train": {},
            "presets": { "quick": {
                "description": "numbers that mean something",
                "seeds": seeds, "eval_episodes": 4, "data_rows": 1000,
            }},
        });
        let suite: spar_core::Suite = serde_json::from_value(suite).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self {
            request: ReportRequest {
                preset: "quick".to_owned(),
                runs: folder.path().to_owned(),
                tasks: suite.tasks.clone(),
                methods: suite.methods.clone(),
                seeds: seeds.to_vec(),
                settings: Vec::new(),
                suite,
            },
            _folder: folder,
        }
    }

    /// The same with every run finished.
    pub(crate) fn complete() -> Self {
        Self::empty().finished()
    }

    /// A task whose environment has no reference returns, BC and SPAR, two seeds, finished.
    pub(crate) fn without_references() -> Self {
        Self::of(&["pointmass-medium"], &["bc", "spar"], &[0, 1]).finished()
    }

    fn finished(self) -> Self {
        let runs = self;
        for (row, task) in runs.request.tasks.iter().enumerate() {
            for (gain, method) in [(0.0, "bc"), (400.0, "spar")] {
                for seed in 0..2 {
                    runs.finish(*task, method, seed, 1000.0 + 100.0 * row as f64 + gain);
                }
            }
        }
        runs
    }

    /// Three tasks, SPAR and two variants of it: one worse by `loss` returns, one that
    /// only wobbles and lacks a run.
    pub(crate) fn with_variants(loss: f64) -> Self {
        let tasks = ["halfcheetah-medium", "hopper-medium", "walker2d-medium"];
        let mut runs = Self::of(&tasks, &["spar", "no-fit", "k-2"], &[0, 1]);
        let suite = &mut runs.request.suite;
        suite.train = toml::toml! { rectify = { w_fit = 0.5, candidates = 8 } };
        let replay = toml::toml! { rectify.w_fit = 0.1 };
        suite.task.insert("hopper-medium".to_owned(), replay);
        for (name, settings) in [
            ("no-fit", toml::toml! { rectify.w_fit = 0.0 }),
            ("k-2", toml::toml! { rectify.candidates = 2 }),
        ] {
            let about = format!("what `{name}` is");
            let variant = Variant { about, settings };
            suite.variant.insert(name.to_owned(), variant);
        }
        for &task in &runs.request.tasks {
            for (change, method) in [(0.0, "spar"), (-loss, "no-fit"), (0.0, "k-2")] {
                for seed in 0..2 {
                    runs.finish(task, method, seed, 1500.0 + change);
                }
            }
        }
        for task in tasks {
            runs.change(task, "k-2", 0, |r| {
                for (e, x) in r.returns.iter_mut().enumerate() {
                    *x += if e % 2 == 0 { 50.0 } else { -50.0 };
                }
            });
        }
        runs.remove("hopper-medium", "k-2", 1);
        runs
    }

    /// Nine tasks, sixteen methods and five seeds, with gaps, and with cells
    /// outside the suite's bands.
    pub(crate) fn wide() -> Self {
        let tasks = [
            "halfcheetah-medium",
            "hopper-medium",
            "walker2d-medium",
            "halfcheetah-medium-replay",
            "hopper-medium-replay",
            "walker2d-medium-replay",
            "halfcheetah-medium-expert",
            "hopper-medium-expert",
            "walker2d-medium-expert",
        ];
        let methods = [
            "bc", "bc10", "td3bc", "awac", "cql", "iql", "xql", "sacn", "edac", "rebrac", "idql",
            "srpo", "dql", "fql", "ifql", "spar",
        ];
        let mut runs = Self::of(&tasks, &methods, &[0, 1, 2, 3, 4]);
        for (row, task) in runs.request.tasks.iter().enumerate() {
            let mut stream = Stream::new(row as u64, "levels");
            for (rank, method) in methods.iter().enumerate() {
                let level = stream.uniform(900.0, 1300.0) + 90.0 * rank as f64;
                for seed in 0..5 {
                    let gone =
                        *method == "edac" && row == 4 && seed > 2 || *method == "srpo" && row > 6;
                    if !gone {
                        runs.finish(*task, method, seed, level + stream.normal() * 70.0);
                    }
                }
            }
        }
        let band = |method: &str, task: &str, scores| Bands {
            preset: "quick".to_owned(),
            data: Origin::Local,
            method: method.to_owned(),
            basis: "what the test says".to_owned(),
            scores: [(task.to_owned(), scores)].into(),
        };
        runs.request.suite.bands = vec![
            band("spar", "hopper-medium", [1.0, 20.0]),
            band("iql", "hopper-medium", [1.0, 99.0]),
            band("bc", "walker2d-medium", [70.0, 90.0]),
        ];
        runs.change("hopper-medium-replay", "fql", 3, |r| {
            r.device = "cuda".into()
        });
        runs
    }

    /// Twenty tasks and twenty-five methods, every run finished, of ten episodes each.
    pub(crate) fn many(seeds: u64) -> Self {
        let known = TaskId::all().into_iter();
        let known = known.filter(|task| task.env().reference_returns().is_some());
        let tasks: Vec<TaskId> = known.take(20).collect();
        let names: Vec<&str> = tasks.iter().map(|task| task.name()).collect();
        let methods = spar_core::names::METHODS;
        let methods: Vec<&str> = methods.iter().take(25).map(|(name, _)| *name).collect();
        let seeds: Vec<u64> = (0..seeds).collect();
        let runs = Self::of(&names, &methods, &seeds);
        for (row, &task) in tasks.iter().enumerate() {
            let mut stream = Stream::new(row as u64, "levels");
            for method in &methods {
                let level = stream.uniform(900.0, 1300.0);
                for &seed in &seeds {
                    runs.finish_of(10, task, method, seed, level + 70.0 * stream.normal());
                }
            }
        }
        runs
    }

    fn finish(&self, task: TaskId, method: &str, seed: u64, level: f64) {
        self.finish_of(4, task, method, seed, level);
    }

    fn finish_of(&self, episodes: i32, task: TaskId, method: &str, seed: u64, level: f64) {
        let returns: Vec<f64> = (0..episodes)
            .map(|e| level + 10.0 * f64::from((e * e) % 5) + 60.0 * seed as f64 * level / 1400.0)
            .collect();
        let record = RunRecord {
            suite: "mujoco".to_owned(),
            preset: "quick".to_owned(),
            task: task.to_string(),
            method: method.to_owned(),
            seed,
            env: Some(task.env().to_string()),
            validation: None,
            dataset: DatasetIdentity {
                id: task.local_id(),
                origin: Origin::Local,
                sha256: sha256_hex(task.to_string().as_bytes()),
                rows: 100_000,
            },
            returns,
            eval_seed: 1000,
            updates: if method == "bc" { 5000 } else { 20_000 },
            anchor_updates: 5000,
            wall_s: 12.5,
            commit: "891e40c".to_owned(),
            mujoco_version: "3.17.0".to_owned(),
            threads: 1,
            device: "cpu".into(),
            command: format!("spar train --task {task} --method {method} --seed {seed}"),
            finetuned: None,
            integrity: None,
        };
        self.write(&record);
        let mut curve = "update,episodes,mean_return,normalized_score\n".to_owned();
        for step in 0..=20u32 {
            let part = f64::from(step) / 20.0;
            let mean = record.mean_return() * (0.4 + 0.6 * part.sqrt())
                + 40.0 * (f64::from(step) + 3.0 * seed as f64).sin() * (1.0 - part);
            let score = task.env().normalized_score(mean);
            let score = score.map_or_else(String::new, |score| score.to_string());
            let update = u64::from(step) * record.updates / 20;
            writeln!(curve, "{update},4,{mean},{score}").unwrap();
        }
        fs::write(
            self.folder(&record.task, method, seed).join("eval.csv"),
            curve,
        )
        .unwrap();
    }

    fn write(&self, record: &RunRecord) {
        let folder = self.folder(&record.task, &record.method, record.seed);
        fs::create_dir_all(&folder).unwrap();
        write_in(&folder, record);
    }

    /// Changes one setting of one run, `spec.json` alone.
    pub(crate) fn set(&self, task: &str, method: &str, seed: u64, path: &str, value: Value) {
        let file = self.folder(task, method, seed).join("spec.json");
        let mut spec: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        *spec.pointer_mut(path).unwrap() = value;
        fs::write(file, spec.to_string()).unwrap();
    }

    pub(crate) fn folder(&self, task: &str, method: &str, seed: u64) -> PathBuf {
        let runs = &self.request.runs;
        runs.join(task).join(method).join(format!("seed-{seed}"))
    }

    pub(crate) fn record(&self, task: &str, method: &str, seed: u64) -> RunRecord {
        let done = self.folder(task, method, seed).join("DONE");
        serde_json::from_str(&fs::read_to_string(done).unwrap()).unwrap()
    }

    /// Rewrites one run's record in its place.
    pub(crate) fn change(
        &self,
        task: &str,
        method: &str,
        seed: u64,
        edit: impl FnOnce(&mut RunRecord),
    ) {
        let mut record = self.record(task, method, seed);
        edit(&mut record);
        write_in(&self.folder(task, method, seed), &record);
    }

    /// Rewrites every run of a row.
    pub(crate) fn change_row(&self, task: &str, edit: impl Fn(&mut RunRecord)) {
        for method in ["bc", "spar"] {
            for seed in 0..2 {
                self.change(task, method, seed, &edit);
            }
        }
    }

    pub(crate) fn remove(&self, task: &str, method: &str, seed: u64) {
        fs::remove_dir_all(self.folder(task, method, seed)).unwrap();
    }
}
