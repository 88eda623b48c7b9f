//! SPAR around a policy that something else trained: a file in the anchor's place.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use common::{Around, RESULTS, data, same_files, spec, stop, train, train_in};
use safetensors::{Dtype, tensor::TensorView};
use spar_anchor::AnchorConfig;
use spar_core::{EnvId, Stream};
use spar_data::{ActionBounds, Transitions};
use spar_policy::{Networks, Policy, import};
use spar_train::{DeviceKind, Method, Offline, RunSpec, Trainer, policy_file};

mod common;

/// A network as PyTorch's `nn.Sequential` saves it, under names that are not ours, of these
/// widths: `push` against the position and the speed.
fn foreign(file: &Path, obs_dim: usize, push: f32) {
    let mut tensors: Vec<(&str, Vec<usize>, Vec<f32>)> = vec![
        ("net.0.weight", vec![4, obs_dim], vec![0.0; 4 * obs_dim]),
        ("net.0.bias", vec![4], vec![0.0; 4]),
        ("net.2.weight", vec![1, 4], vec![-push, push, -push, push]),
        ("net.2.bias", vec![1], vec![0.05]),
    ];
    for row in 0..4 {
        // Position and its opposite, speed and its opposite: ReLU lets each through.
        let sign = if row % 2 == 0 { 1.0 } else { -1.0 };
        tensors[0].2[row * obs_dim + (row / 2).min(obs_dim - 1)] = sign;
    }
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), data)| {
        (
            *name,
            TensorView::new(Dtype::F32, shape.clone(), data).unwrap(),
        )
    });
    let said = [("activation", "relu"), ("output", "tanh")];
    let said: HashMap<String, String> = said.map(|(k, v)| (k.into(), v.into())).into();
    fs::write(file, safetensors::serialize(views, Some(said)).unwrap()).unwrap();
}

/// A small run of SPAR around the policy in `file`.
fn around(file: &Path, data: &Transitions) -> RunSpec {
    let mut spec = spec(Method::Spar, data);
    spec.config.updates = 400;
    spec.config.anchor.file = Some(file.to_str().unwrap().to_owned());
    spec.config = spec.config.pinned().unwrap();
    spec
}

fn refused(spec: &RunSpec, data: &Transitions, out: &Path) -> String {
    let error = train(spec, data, out).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

fn actions(policy: &dyn spar_core::Policy) -> Vec<f32> {
    let mut obs = vec![0.0; 40 * 2];
    Stream::new(1, "obs").fill_normal(1.0, &mut obs);
    let mut streams = vec![Stream::new(9, "act"); 40];
    let mut actions = vec![f32::NAN; 40];
    policy.act(&obs, &mut streams, &mut actions);
    actions
}

/// In memory it is the same training, to the bit.
#[test]
fn a_policy_in_memory_is_the_anchor_that_its_file_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let file = dir.path().join("plain.safetensors");
    foreign(&file, 2, 0.8);
    let mut config = around(&file, &data).config;
    config.updates = 60;
    config.rectify.warmup = 30;
    let trained = |mut trainer: Trainer<'static>| {
        while trainer.step().unwrap() {}
        assert_eq!(trainer.updates(), 60);
        actions(&trainer.policy().unwrap())
    };
    let named = Trainer::new(Method::Spar, config.clone(), &data, 4).unwrap();
    config.anchor = AnchorConfig::default();
    let load = || import::load(&file, &import::Options::default()).unwrap().0;
    let held = Trainer::around(load(), config.clone(), &data, 4).unwrap();
    let (named, held) = (trained(named), trained(held));
    assert_eq!(named, held);
    assert_ne!(held, actions(load().networks()), "it learns");

    foreign(&file, 3, 0.8);
    let Err(error) = Trainer::around(load(), config, &data, 4) else {
        panic!("a policy of three observations on data of two");
    };
    assert!(error.to_string().contains("maps 3 observations"), "{error}");
}

/// The exported policy holds its base, acts as it was evaluated without the file, and, since
/// a base of ours has another normalizer, on the observation itself.
#[test]
fn the_policy_holds_its_base_and_acts_without_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let plain = dir.path().join("plain.safetensors");
    foreign(&plain, 2, 0.8);
    // A method's own policy, on standardized states, as a run's folder.
    let mut td3bc = spec("td3bc".parse().unwrap(), &data);
    td3bc.config = td3bc.config.with(td3bc.method, &[]).unwrap();
    (td3bc.config.updates, td3bc.config.eval_every) = (50, 50);
    let run = dir.path().join("td3bc");
    train(&td3bc, &data, &run).unwrap();
    // The best of several draws, which are a function of the observation.
    let mut bcq = spec("bcq".parse().unwrap(), &data);
    let few = [
        ("candidates".to_owned(), 3.into()),
        ("updates".to_owned(), 20.into()),
    ];
    bcq.config = bcq.config.with(bcq.method, &few).unwrap();
    let drawn = dir.path().join("bcq");
    train(&bcq, &data, &drawn).unwrap();

    for (name, file) in [
        ("around-plain", &plain),
        ("around-run", &run),
        ("around-draws", &drawn),
    ] {
        let spec = around(file, &data);
        let out = dir.path().join(name);
        let record = train(&spec, &data, &out).unwrap();
        assert_eq!(record.anchor_updates, 0, "{name}");
        let policy = policy_file::read(&out.join("policy.safetensors"), spec.env).unwrap();
        let played = spar_eval::rollout(EnvId::POINT_MASS, &policy, 2, 42, 1).unwrap();
        let returns: Vec<f64> = played.iter().map(|e| e.ret).collect();
        assert_eq!(returns, record.returns, "{name}");
        let Networks::Rectified(rectified) = policy.networks() else {
            panic!("{name} does not hold its base");
        };
        let base = &rectified.base;
        if name == "around-plain" {
            let x = [0.3f32, -0.2];
            let want = (-0.8 * (x[0] + x[1]) + 0.05).tanh();
            let mut got = [f32::NAN];
            base.base_actions(&x, &mut got);
            assert!((got[0] - want).abs() < 1e-6, "{got:?} {want}");
        }
        let (with, without) = (actions(&policy), actions(base.networks()));
        assert!(with.iter().all(|a| a.abs() <= 1.0));
        assert_ne!(with, without, "{name}: nothing was rectified");
        let of = |name: &str| fs::read_to_string(out.join(name)).unwrap();
        let spec_json: serde_json::Value = serde_json::from_str(&of("spec.json")).unwrap();
        assert_eq!(
            spec_json["config"]["anchor"]["sha256"]
                .as_str()
                .unwrap()
                .len(),
            64
        );
        assert!(!of("metrics.jsonl").contains("\"anchor\""), "{name}");
    }
}

/// How often a base draws decides a run around one that draws, is recorded, and is nothing to
/// one that does not.
#[test]
fn the_number_of_draws_matters_to_a_base_that_draws_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let plain = dir.path().join("plain.safetensors");
    foreign(&plain, 2, 0.8);
    let mut clone = spec("bc-diffusion".parse().unwrap(), &data);
    clone.config = clone.config.with(clone.method, &[]).unwrap();
    clone.config.updates = 20;
    let drawn = dir.path().join("bc-diffusion");
    train(&clone, &data, &drawn).unwrap();

    let policy = |file: &Path, draws: Option<i64>| {
        let mut spec = around(file, &data);
        let changes: Vec<_> = draws
            .map(|n| ("anchor.draws".to_owned(), n.into()))
            .into_iter()
            .collect();
        spec.config = spec.config.with(Method::Spar, &changes).unwrap();
        assert_eq!(spec.config.anchor.draws, Some(draws.unwrap_or(2) as usize));
        spec.config.updates = 40;
        let trainer = Trainer::new(Method::Spar, spec.config, &data, 4);
        let mut trainer = trainer.unwrap();
        while trainer.step().unwrap() {}
        actions(&trainer.policy().unwrap())
    };
    assert_ne!(policy(&drawn, Some(1)), policy(&drawn, None));
    assert_eq!(policy(&drawn, Some(2)), policy(&drawn, None));
    assert_eq!(policy(&plain, Some(1)), policy(&plain, Some(5)));

    let without = around(&plain, &data).config;
    for (draws, expected) in [(0, "from 1 to 64"), (65, "from 1 to 64")] {
        let mut config = without.clone();
        config.anchor.draws = Some(draws);
        let text = config.check().unwrap_err().to_string();
        assert!(
            text.contains("anchor.draws") && text.contains(expected),
            "{text}"
        );
    }
    let mut cloned = without;
    (cloned.anchor.file, cloned.anchor.sha256) = (None, None);
    cloned.anchor.draws = Some(2);
    let text = cloned.check().unwrap_err().to_string();
    assert!(text.contains("the policy that draws"), "{text}");
}

/// SPAR around the file of a cloned policy is SPAR on that anchor, up to rounding.
#[test]
fn around_the_file_of_its_own_anchor_it_begins_as_on_the_anchor() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let bc = dir.path().join("bc");
    train(&spec(Method::Bc, &data), &data, &bc).unwrap();
    let mut on_anchor = spec(Method::Spar, &data);
    on_anchor.config.updates = 400;
    let anchored = dir.path().join("anchored");
    let run = Around {
        anchor: Some(&bc),
        ..Around::default()
    };
    train_in(&on_anchor, &data, &anchored, run).unwrap();
    let on_file = dir.path().join("on-file");
    train(&around(&bc, &data), &data, &on_file).unwrap();
    let [a, b] =
        [&anchored, &on_file].map(|out| Policy::load(out.join("policy.safetensors")).unwrap());
    let off = actions(&a)
        .iter()
        .zip(actions(&b))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(off < 1e-2, "after 400 updates actions differ by {off}");
    let moved = actions(&Policy::load(bc.join("policy.safetensors")).unwrap());
    let moved = actions(&a)
        .iter()
        .zip(moved)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(moved > 5.0 * off, "SPAR moved them by {moved} only");
}

#[test]
fn a_run_around_a_file_resumes_exactly_wherever_the_file_lies() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let file = dir.path().join("plain.safetensors");
    foreign(&file, 2, 0.8);
    let spec = around(&file, &data);
    let [whole, parts] = ["whole", "parts"].map(|name| dir.path().join(name));
    train(&spec, &data, &whole).unwrap();
    for at in [77, 251] {
        stop(&spec, &data, &parts, at);
    }
    let moved = dir.path().join("moved.safetensors");
    fs::rename(&file, &moved).unwrap();
    let spec = around(&moved, &data);
    train(&spec, &data, &parts).unwrap();
    same_files(&RESULTS, &whole, &parts);
}

/// The same network as ONNX is the same base: the run leaves the same policy, whose file holds
/// all of it.
#[test]
fn an_onnx_model_is_the_base_that_its_network_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let at = |name: &str| -> PathBuf { dir.path().join(name) };
    let (file, model) = (at("plain.safetensors"), at("plain.onnx"));
    foreign(&file, 2, 0.8);
    let options = spar_policy::import::Options::default();
    let (network, _) = spar_policy::import::load(&file, &options).unwrap();
    fs::write(&model, network.to_onnx().unwrap()).unwrap();
    let [of_file, of_model] = [&file, &model].map(|base| {
        let out = at(base.extension().unwrap().to_str().unwrap());
        train(&around(base, &data), &data, &out).unwrap();
        Policy::load(out.join("policy.safetensors")).unwrap()
    });
    assert_eq!(actions(&of_file), actions(&of_model));
    assert_ne!(
        actions(&of_model),
        actions(&network),
        "nothing was rectified"
    );
}

#[test]
fn a_file_that_is_no_base_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let at = |name: &str| -> PathBuf { dir.path().join(name) };
    let out = at("run");
    let file = at("plain.safetensors");
    foreign(&file, 2, 0.8);
    let good = around(&file, &data);

    let wide = at("wide.safetensors");
    foreign(&wide, 3, 0.8);
    let text = refused(&around(&wide, &data), &data, &at("of-wide"));
    assert!(
        text.contains("wide.safetensors") && text.contains("3 observations"),
        "{text}"
    );

    let other = at("notes.safetensors");
    fs::write(&other, "not a policy").unwrap();
    let text = refused(&around(&other, &data), &data, &at("of-notes"));
    assert!(
        text.contains("notes.safetensors") && text.contains("safetensors file"),
        "{text}"
    );

    let mut missing = good.clone();
    missing.config.anchor.file = Some("/nowhere/policy.safetensors".to_owned());
    let text = refused(&missing, &data, &at("of-nothing"));
    assert!(text.contains("/nowhere/policy.safetensors"), "{text}");

    // Another policy is another run, in the folder and under the same name.
    stop(&good, &data, &out, 20);
    foreign(&file, 2, 0.7);
    let text = refused(&good, &data, &out);
    assert!(
        text.contains("SHA-256") && text.contains("another run"),
        "{text}"
    );
    let text = refused(&around(&file, &data), &data, &out);
    assert!(text.contains("config.anchor.sha256"), "{text}");
}

#[test]
fn what_has_no_base_of_a_file_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let (file, out) = (dir.path().join("plain.safetensors"), dir.path().join("run"));
    foreign(&file, 2, 0.8);
    let good = around(&file, &data);

    let mut unpinned = good.clone();
    unpinned.config.anchor.sha256 = None;
    assert!(refused(&unpinned, &data, &out).contains("`anchor.sha256` is missing"));

    for method in ["bc", "rpl"] {
        let mut other = good.clone();
        other.method = method.parse().unwrap();
        other.config.method = spar_train::TrainConfig::defaults_of(other.method)
            .unwrap()
            .method;
        let text = refused(&other, &data, &out);
        assert!(text.contains("`anchor.file` is spar's"), "{text}");
    }

    let mut device = good.clone();
    device.device = DeviceKind::Cuda;
    assert!(refused(&device, &data, &out).contains("CPU only"));

    let mut tuned = good.clone();
    tuned.config.rectify.ablation = serde_json::from_str("\"tuned-anchor\"").unwrap();
    assert!(refused(&tuned, &data, &out).contains("`rectify.ablation`"));

    let both = Around {
        anchor: Some(dir.path()),
        ..Around::default()
    };
    let text = train_in(&good, &data, &out, both).unwrap_err().to_string();
    assert!(text.contains("give one of them"), "{text}");

    let mut units = good;
    (units.env, units.final_episodes) = (None, 0);
    units.offline = Some(Offline {
        held_out: 0.2,
        horizon: None,
        action_bounds: ActionBounds::try_from(vec![(-2.0, 2.0)]).unwrap(),
    });
    let text = refused(&units, &data, &dir.path().join("offline"));
    assert!(
        text.contains("[-1, 1]") && text.contains("(-2.0, 2.0)"),
        "{text}"
    );
}
