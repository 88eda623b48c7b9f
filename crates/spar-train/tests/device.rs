//! Whole runs on a device, and its policies. The device is the stand-in that runs
//! the CUDA sources on the CPU.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "../../spar-kernels/tests/cuda/shim.rs"]
mod shim;

use std::{collections::HashMap, fs, path::Path};

use common::{RESULTS, data, data_with, same_files, spec, train};
use safetensors::{Dtype, tensor::TensorView};
use spar_core::{EnvId, Policy, RunRecord, Stream};
use spar_data::Transitions;
use spar_eval::{rollout, rollout_in_step};
use spar_nn::device::{Device, Kernels};
use spar_rectify::Ablation;
use spar_train::{
    Control, DeviceKind, DevicePolicy, Method, Precision, RunSpec, TrainError, policy_file, run_on,
    throughput_on,
};

use crate::shim::Shim;

mod common;

/// A run short enough for the stand-in. Warm-up, policy frequency, curve and
/// checkpoints all have different periods.
fn short(method: Method, data: &Transitions) -> RunSpec {
    let mut spec = spec(method, data);
    spec.device = DeviceKind::Cuda;
    let config = &mut spec.config;
    (config.updates, config.anchor.updates) = (32, 25);
    (config.eval_every, config.checkpoint_every) = (12, 10);
    (config.rectify.warmup, config.rectify.candidates) = (13, 4);
    spec
}

fn train_on<D: Device>(
    kernels: &Kernels<D>,
    spec: &RunSpec,
    data: &Transitions,
    out: &Path,
    stop_after: Option<u64>,
    anchor: Option<&Path>,
) -> Result<RunRecord, TrainError> {
    let control = Control {
        anchor: anchor.map(Path::to_owned),
        commit: "test".into(),
        command: "test".into(),
        stop_after,
        every: None,
        stop: &|| false,
        report: &mut |_| Ok(()),
    };
    run_on(kernels, spec, data, out, control)
}

#[test]
fn a_run_stopped_and_gone_on_with_gives_the_bits_of_one_that_was_not() {
    let Some(shim) = Shim::small() else { return };
    let kernels = Kernels::new(shim);
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    // Stops of SPAR: while cloning, in warm-up, and imitating, between two
    // updates of the policy and between two checkpoints.
    for (method, stops) in [(Method::Bc, &[7u64][..]), (Method::Spar, &[7, 9, 17, 23])] {
        let spec = short(method, &data);
        let [whole, parts] = ["whole", "parts"].map(|n| dir.path().join(method.name()).join(n));
        let record = train_on(&kernels, &spec, &data, &whole, None, None).unwrap();
        assert_eq!(record.device, "cuda");
        for &at in stops {
            let error = train_on(&kernels, &spec, &data, &parts, Some(at), None).unwrap_err();
            assert!(
                matches!(error, TrainError::Stopped(n) if n == at),
                "{error}"
            );
        }
        train_on(&kernels, &spec, &data, &parts, None, None).unwrap();
        same_files(&RESULTS, &whole, &parts);

        // The file says what the run was judged by, to everyone.
        let file = whole.join("policy.safetensors");
        let policy = policy_file::read(&file, EnvId::POINT_MASS).unwrap();
        let played = rollout(EnvId::POINT_MASS, &policy, 2, spec.eval_seed, 1).unwrap();
        assert!(played.iter().map(|e| e.ret).eq(record.returns));
    }

    // An anchor of another run, of the same device only.
    let [bc, own] = ["bc/whole", "spar/whole"].map(|n| dir.path().join(n));
    let given = dir.path().join("given");
    let spec = short(Method::Spar, &data);
    train_on(&kernels, &spec, &data, &given, None, Some(&bc)).unwrap();
    same_files(&["policy.safetensors", "returns.csv"], &own, &given);
    let mut on_cpu = short(Method::Bc, &data);
    on_cpu.device = DeviceKind::Cpu;
    let cpu = dir.path().join("cpu");
    train(&on_cpu, &data, &cpu).unwrap();
    let out = dir.path().join("foreign");
    let error = train_on(&kernels, &spec, &data, &out, None, Some(&cpu)).unwrap_err();
    assert!(error.to_string().contains("device"), "{error}");
}

/// The same batches, rewards, random numbers and start: until rounding decides
/// between candidates, what is logged is the same.
#[test]
fn a_run_logs_what_the_cpus_logs() {
    let Some(shim) = Shim::small() else { return };
    let kernels = Kernels::new(shim);
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let mut spec = short(Method::Spar, &data);
    spec.config.rectify.warmup = spec.config.updates;
    let [gpu, cpu] = ["gpu", "cpu"].map(|n| dir.path().join(n));
    train_on(&kernels, &spec, &data, &gpu, None, None).unwrap();
    spec.device = DeviceKind::Cpu;
    train(&spec, &data, &cpu).unwrap();
    let lines = |folder: &Path| -> Vec<serde_json::Value> {
        let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        // The head says whose the log is: they are two runs.
        text.lines()
            .skip(1)
            .map(|l| serde_json::from_str(l).unwrap())
            .collect()
    };
    let (got, want) = (lines(&gpu), lines(&cpu));
    assert_eq!(got.len(), 2, "the anchor's last and SPAR's last");
    let mut numbers = 0;
    for (got, want) in got.iter().zip(&want) {
        for (field, want) in want.as_object().unwrap() {
            match want.as_f64() {
                Some(want) => {
                    let got = got[field].as_f64().unwrap();
                    assert!((got - want).abs() <= 1e-4 * want.abs(), "{field}");
                    numbers += usize::from(want != 0.0);
                }
                None => assert_eq!(&got[field], want),
            }
        }
    }
    // Twice an update, and six losses.
    assert_eq!(numbers, 8);
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_where_it_is_next_read() {
    let Some(shim) = Shim::small() else { return };
    let kernels = Kernels::new(shim);
    let dir = tempfile::tempdir().unwrap();
    let data = data_with(dir.path(), |_| 1e38);
    let out = dir.path().join("run");
    let spec = short(Method::Spar, &data);
    let error = train_on(&kernels, &spec, &data, &out, None, None).unwrap_err();
    let TrainError::NonFinite {
        phase: "spar",
        update: 10,
        diagnostic,
    } = &error
    else {
        panic!("{error}");
    };
    let text = fs::read_to_string(diagnostic).unwrap();
    let diagnostic: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(diagnostic["update"], 10);
    assert_eq!(diagnostic["spec"]["device"], "cuda");
    // The folder is whole: the same run stops at the same place.
    let again = train_on(&kernels, &spec, &data, &out, None, None).unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
}

#[test]
fn a_device_is_a_setting_of_the_run() {
    let Some(shim) = Shim::small() else { return };
    let kernels = Kernels::new(shim);
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let out = dir.path().join("run");
    let refused = |spec: &RunSpec, part: &str| {
        let error = train_on(&kernels, spec, &data, &out, None, None).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        let error = throughput_on(&kernels, spec, &data, 0.0).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert!(!out.exists());
    };
    let spec = short(Method::Spar, &data);
    let mut other = spec.clone();
    other.device = DeviceKind::Cpu;
    refused(&other, "`device` is cpu");
    let mut rounded = spec.clone();
    rounded.config.detached_precision = Precision::Bf16;
    refused(&rounded, "`detached_precision` is bf16");
    let mut ablated = short(Method::Spar, &data);
    ablated.config.rectify.ablation = Ablation::Global;
    refused(&ablated, "spar with an ablation is trained on the CPU only");
    let error = train(&spec, &data, &out).unwrap_err();
    assert!(error.to_string().contains("`device` is cuda"), "{error}");

    // A folder from before there was a choice is the CPU's.
    fs::create_dir(&out).unwrap();
    let mut old = serde_json::to_value(&other).unwrap();
    old.as_object_mut().unwrap().remove("device").unwrap();
    fs::write(out.join("spec.json"), old.to_string()).unwrap();
    let error = train_on(&kernels, &spec, &data, &out, None, None).unwrap_err();
    let TrainError::OtherRun { difference, .. } = &error else {
        panic!("{error}");
    };
    let named = (&*difference.field, &*difference.there);
    assert_eq!(named, ("device", "\"cpu\""));

    let measured = throughput_on(&kernels, &spec, &data, 0.0).unwrap();
    assert!(measured.updates_per_s > 0.0 && measured.anchor_updates_per_s > 0.0);
}

fn act(policy: &dyn Policy, obs: &[f32]) -> Vec<f32> {
    let rows = obs.len() / policy.obs_dim();
    let mut streams: Vec<_> = (0..rows).map(|i| Stream::new(i as u64, "act")).collect();
    let mut actions = vec![f32::NAN; rows * policy.act_dim()];
    policy.act(obs, &mut streams, &mut actions);
    actions
}

/// The device's actions are the file's, row by row, in whatever company.
#[track_caller]
fn acts_as_the_file(kernels: &Kernels<Shim>, file: &Path, env: EnvId) -> Vec<f32> {
    let device = DevicePolicy::read(kernels, file, env).unwrap();
    let mut obs = vec![0.0; 40 * env.obs_dim()];
    Stream::new(1, "obs").fill_normal(1.5, &mut obs);
    let want = act(&policy_file::read(file, env).unwrap(), &obs);
    let got = act(&device, &obs);
    for (got, want) in got.iter().zip(&want) {
        assert!((got - want).abs() < 1e-5, "{got} {want}");
    }
    // Fewer rows, in the same buffers; more, in larger ones.
    let some = act(&device, &obs[..7 * env.obs_dim()]);
    assert_eq!(some, got[..7 * env.act_dim()]);
    let twice = act(&device, &[&obs[..], &obs[..]].concat());
    assert_eq!(twice, [&got[..], &got[..]].concat());
    assert_eq!(device.failure(), None);
    got
}

#[test]
fn a_policy_acts_on_the_device_as_on_the_cpu() {
    let Some(shim) = Shim::small() else { return };
    let kernels = Kernels::new(shim);
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    for method in [Method::Bc, Method::Spar] {
        let out = dir.path().join(method.name());
        let mut spec = short(method, &data);
        spec.device = DeviceKind::Cpu;
        train(&spec, &data, &out).unwrap();
        let file = out.join("policy.safetensors");
        acts_as_the_file(&kernels, &file, EnvId::POINT_MASS);
        let device = DevicePolicy::read(&kernels, &file, EnvId::POINT_MASS).unwrap();
        let got = rollout_in_step(EnvId::POINT_MASS, &device, 20, 7).unwrap();
        let policy = policy_file::read(&file, EnvId::POINT_MASS).unwrap();
        let want = rollout(EnvId::POINT_MASS, &policy, 20, 7, 1).unwrap();
        assert_eq!(got.len(), 20);
        for (got, want) in got.iter().zip(&want) {
            assert_eq!(got.length, want.length);
            assert!((got.ret - want.ret).abs() < 1e-3 * want.ret.abs().max(1.0));
        }
    }
}

/// A plain network's file for the point on a line.
fn plain(path: &Path, activation: &str, output: &str) {
    let draw = |name: &str, n: usize| {
        let mut values = vec![0.0f32; n];
        Stream::new(1, name).fill_normal(1.0, &mut values);
        values
    };
    let tensors: Vec<(&str, Vec<usize>, Vec<u8>)> = [
        ("layers.0.weight", vec![9, 2]),
        ("layers.0.bias", vec![9]),
        ("layers.0.norm.weight", vec![9]),
        ("layers.0.norm.bias", vec![9]),
        ("layers.1.weight", vec![1, 9]),
        ("layers.1.bias", vec![1]),
    ]
    .into_iter()
    .map(|(name, shape)| {
        let values = draw(name, shape.iter().product());
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        (name, shape, bytes)
    })
    .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (*name, view)
    });
    let metadata = HashMap::from([
        ("activation".to_owned(), activation.to_owned()),
        ("output".to_owned(), output.to_owned()),
    ]);
    fs::write(path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
}

#[test]
fn a_plain_network_acts_on_the_device_where_the_kernels_know_its_layers() {
    let Some(shim) = Shim::small() else { return };
    let kernels = Kernels::new(shim);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plain.safetensors");
    for output in ["identity", "tanh"] {
        plain(&file, "relu", output);
        let actions = acts_as_the_file(&kernels, &file, EnvId::POINT_MASS);
        let clipped = actions.contains(&1.0) || actions.contains(&-1.0);
        assert_eq!(clipped, output == "identity");
    }
    plain(&file, "tanh", "identity");
    let error = DevicePolicy::read(&kernels, &file, EnvId::POINT_MASS).unwrap_err();
    let text = error.to_string();
    for part in ["plain.safetensors", "expected ReLU", "--device cpu"] {
        assert!(text.contains(part) && !text.contains('\n'), "{text}");
    }
    let error = DevicePolicy::read(&kernels, &file, EnvId::HOPPER).unwrap_err();
    assert!(error.to_string().contains("plain.safetensors"), "{error}");
}
