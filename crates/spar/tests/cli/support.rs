//! What the tests share: a tiny data set, a tiny suite, and the program.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use spar_core::{EnvId, Stream};
use spar_data::{MetaValue, Row, Writer};
use tempfile::TempDir;

/// Root of the repository.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A folder of its own for one test, gone afterwards.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Every file below `name`, locks left out, relative and sorted. An event file, whose
    /// name holds the time and the process, is named by what does not change.
    pub(crate) fn files(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.path(name)];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).into_iter().flatten();
            for path in entries.map(|e| e.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if path.file_name().unwrap() != ".lock" {
                    let below = path.strip_prefix(self.0.path()).unwrap();
                    let name = below.to_str().unwrap();
                    let (name, _) = name.split_once(".tfevents").unwrap_or((name, ""));
                    found.push(name.to_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// The program in this folder, with the words of `line` and then `more`.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spar"));
        command
            .current_dir(self.0.path())
            .args(line.split_whitespace())
            .env("SPAR_COMMIT", "test")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn spar(&self, line: &str) -> Done {
        Done::of(&mut self.command(line))
    }

    /// Writes a small behaviour of the point mass to `name`.
    pub(crate) fn write_data(&self, name: &str) {
        self.write_data_with(name, &BTreeMap::new());
    }

    pub(crate) fn write_data_with(&self, name: &str, metadata: &BTreeMap<String, MetaValue>) {
        let path = self.path(name);
        let mut writer = Writer::create(&path, 2, 1, 1, 1, metadata).unwrap();
        let mut stream = Stream::new(0, "behaviour");
        let mut env = spar_env::make(EnvId::POINT_MASS).unwrap();
        for _ in 0..8 {
            env.reset(&mut stream).unwrap();
            for step in 1..=100 {
                let state = [env.obs()[0], env.obs()[1]];
                let force = -0.4 * state[0] - 0.5 * state[1] + 0.4 * stream.normal();
                let action = [force.clamp(-1.0, 1.0) as f32];
                let outcome = env.step(&action).unwrap();
                let next = [env.obs()[0] as f32, env.obs()[1] as f32];
                let row = Row {
                    obs: &[state[0] as f32, state[1] as f32],
                    action: &action,
                    reward: outcome.reward as f32,
                    terminal: outcome.terminal,
                    timeout: step == 100 && !outcome.terminal,
                    next_obs: &next,
                    qpos: &state[..1],
                    qvel: &state[1..],
                };
                writer.push(&row).unwrap();
                if outcome.terminal {
                    break;
                }
            }
        }
        writer.finish().unwrap();
    }

    /// Writes `suite.toml`: small networks, a run of a second or so.
    pub(crate) fn write_suite(&self) {
        fs::write(self.path("suite.toml"), SUITE).unwrap();
    }
}

const SUITE: &str = r#"
name = "tiny"
tasks = ["pointmass-medium", "pointmass-medium-replay"]
methods = ["bc", "spar"]
eval_seed = 42
[presets.short]
description = "short"
seeds = [0]
eval_episodes = 3
data_rows = 500
train = { updates = 100 }
[presets.long]
description = "long"
seeds = [0]
eval_episodes = 3
data_rows = 500
[train]
batch_size = 32
updates = 200
reward_range = 1000.0
eval_every = 40
eval_episodes = 1
checkpoint_every = 30
anchor = { hidden = [16, 16], lr = 3e-4, updates = 100 }
[train.critic]
form = "expectile"
hidden = [16, 16]
n_critics = 2
lr = 3e-4
discount = 0.99
tau = 0.005
expectile = 0.7
[train.rectify]
hidden = [16, 16]
lr = 3e-4
beta = 0.5
rho = 1.0
w_fit = 0.1
lambda = 1.0
candidates = 4
temperature = 0.3
sigma_z = 1.0
policy_freq = 2
warmup = 50
tau = 0.005
"#;

/// What a finished program left.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Its stdout, if it succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// The last line of its stdout as JSON, if it succeeded.
    pub(crate) fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(out.lines().last().unwrap()).unwrap_or_else(|e| panic!("{e}: {out}"))
    }

    /// Its one error line, if it failed with `code` and said nothing else.
    pub(crate) fn fails(self, code: i32, facts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        let (errors, other): (Vec<&str>, Vec<&str>) =
            self.err.lines().partition(|l| l.starts_with("error: "));
        assert_eq!(errors.len(), 1, "{self:?}");
        assert!(other.iter().all(|l| l.starts_with("hint: ")), "{self:?}");
        for fact in facts {
            assert!(errors[0].contains(fact), "no `{fact}` in {self:?}");
        }
    }
}

/// The words of a run of the suite: `extra` are further ones.
pub(crate) fn suite_run(preset: &str, method: &str, out: &str, extra: &str) -> String {
    format!(
        "train --suite suite.toml --preset {preset} --task pointmass-medium --method {method} \
         --seed 3 --dataset data.hdf5 --out {out} {extra}"
    )
}

/// A folder with the data and the suite.
pub(crate) fn prepared() -> Folder {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    folder.write_suite();
    folder
}

/// The names in a run's folder when it is finished.
pub(crate) fn finished_files(out: &str) -> Vec<String> {
    [
        "DONE",
        "checkpoints/latest.safetensors",
        "eval.csv",
        "events.out",
        "metrics.jsonl",
        "policy.safetensors",
        "returns.csv",
        "spec.json",
    ]
    .map(|name| format!("{out}/{name}"))
    .to_vec()
}

/// A safetensors file of `f32` tensors.
pub(crate) fn write_tensors(
    path: &Path,
    tensors: &[(String, Vec<usize>, Vec<f32>)],
    metadata: &[(&str, &str)],
) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        (name.clone(), view.unwrap())
    });
    let pairs = metadata
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let file = safetensors::serialize(views, Some(pairs.collect())).unwrap();
    fs::write(path, file).unwrap();
}
