//! A tiny run on data of the pure-Rust environment.
#![allow(dead_code, reason = "each test file uses a part")]

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use spar_core::{EnvId, RunRecord, Stream};
use spar_data::{Dataset, Reading, Row, Transitions, Writer};
use spar_train::{Control, DeviceKind, Method, RunSpec, TrainConfig, TrainError};

/// Episodes of a noisy behaviour that pushes towards the origin, with rewards
/// as `reward` makes them of the environment's.
pub(crate) fn data_with(dir: &Path, reward: impl Fn(f64) -> f32) -> Transitions {
    let path = dir.join("pointmass.hdf5");
    let mut writer = Writer::create(&path, 2, 1, 1, 1, &BTreeMap::new()).unwrap();
    let mut env = spar_env::make(EnvId::POINT_MASS).unwrap();
    let mut stream = Stream::new(1, "data");
    let narrow = |v: &[f64]| v.iter().map(|&x| x as f32).collect::<Vec<_>>();
    for _ in 0..10 {
        env.reset(&mut stream).unwrap();
        for step in 1..=100 {
            let (qpos, qvel) = (
                env.physics().unwrap().qpos().to_vec(),
                env.physics().unwrap().qvel().to_vec(),
            );
            let obs = narrow(env.obs());
            let push = -qpos[0] - 1.5 * qvel[0] + 0.8 * stream.normal();
            let action = [push.clamp(-1.0, 1.0) as f32];
            let made = env.step(&action).unwrap();
            let next_obs = narrow(env.obs());
            let row = Row {
                obs: &obs,
                action: &action,
                reward: reward(made.reward),
                terminal: made.terminal,
                timeout: step == 100 && !made.terminal,
                next_obs: &next_obs,
                qpos: &qpos,
                qvel: &qvel,
            };
            writer.push(&row).unwrap();
            if made.terminal {
                break;
            }
        }
    }
    writer.finish().unwrap();
    let set = Dataset::read_for(&path, EnvId::POINT_MASS).unwrap();
    Transitions::new(Arc::new(set), EnvId::POINT_MASS.horizon()).unwrap()
}

pub(crate) fn data(dir: &Path) -> Transitions {
    data_with(dir, |r| r as f32)
}

/// Everything said here, so that tuning the suite changes no test. Warm-up,
/// policy frequency, curve, log and checkpoints all have different periods.
const CONFIG: &str = r#"
batch_size = 16
updates = 700
reward_range = 1000.0
eval_every = 200
eval_episodes = 1
checkpoint_every = 150
[anchor]
hidden = [16, 16]
lr = 3e-4
updates = 600
[critic]
form = "expectile"
hidden = [16, 16]
n_critics = 2
lr = 3e-4
discount = 0.99
tau = 0.005
expectile = 0.7
[rectify]
hidden = [16, 16]
lr = 3e-4
beta = 0.1
rho = 1.0
w_fit = 0.1
lambda = 1.0
candidates = 8
temperature = 0.3
sigma_z = 1.0
policy_freq = 2
warmup = 250
tau = 0.005
"#;

/// A small run of `method`.
pub(crate) fn spec(method: Method, data: &Transitions) -> RunSpec {
    let config = TrainConfig::from_table(toml::from_str(CONFIG).unwrap()).unwrap();
    RunSpec {
        suite: "none".into(),
        preset: "none".into(),
        task: "pointmass.hdf5".into(),
        method,
        variant: None,
        seed: 3,
        env: Some(EnvId::POINT_MASS),
        offline: None,
        dataset: data.dataset().identity.clone(),
        reading: Reading::default(),
        eval_seed: 42,
        final_episodes: 2,
        device: DeviceKind::Cpu,
        config,
        finetune: None,
    }
}

/// What a test may vary of a run's surroundings.
#[derive(Default)]
pub(crate) struct Around<'a> {
    pub(crate) stop_after: Option<u64>,
    pub(crate) anchor: Option<&'a Path>,
}

pub(crate) fn train_in(
    spec: &RunSpec,
    data: &Transitions,
    out: &Path,
    around: Around<'_>,
) -> Result<RunRecord, TrainError> {
    let control = Control {
        anchor: around.anchor.map(Path::to_owned),
        commit: "test".into(),
        command: "test".into(),
        stop_after: around.stop_after,
        every: None,
        stop: &|| false,
        report: &mut |_| Ok(()),
    };
    spar_train::run(spec, data, out, control)
}

pub(crate) fn train(
    spec: &RunSpec,
    data: &Transitions,
    out: &Path,
) -> Result<RunRecord, TrainError> {
    train_in(spec, data, out, Around::default())
}

/// Runs until `stop_after` updates of the phase it is in.
pub(crate) fn stop(spec: &RunSpec, data: &Transitions, out: &Path, stop_after: u64) {
    let around = Around {
        stop_after: Some(stop_after),
        ..Around::default()
    };
    let error = train_in(spec, data, out, around).unwrap_err();
    assert!(
        matches!(error, TrainError::Stopped(n) if n == stop_after),
        "{error}"
    );
    assert!(!out.join("DONE").exists());
}

/// The files of a run that must be equal when the runs are.
pub(crate) const RESULTS: [&str; 4] = [
    "policy.safetensors",
    "metrics.jsonl",
    "eval.csv",
    "returns.csv",
];

#[track_caller]
pub(crate) fn same_files(names: &[&str], one: &Path, two: &Path) {
    for name in names {
        let read = |folder: &Path| fs::read(folder.join(name)).unwrap();
        let (a, b) = (read(one), read(two));
        if name.ends_with("safetensors") {
            assert!(
                a == b,
                "{name} differs in {} and {}",
                one.display(),
                two.display()
            );
        } else {
            assert_eq!(
                String::from_utf8(a).unwrap(),
                String::from_utf8(b).unwrap(),
                "{name}"
            );
        }
    }
}
