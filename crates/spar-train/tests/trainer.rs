//! Training in memory is what a run does, update by update, and can be saved and loaded
//! anywhere.
#![allow(clippy::unwrap_used)]

mod common;

use common::{data, spec, train};
use spar_core::{Policy, Stream};
use spar_data::Transitions;
use spar_train::{Method, Phase, TrainConfig, TrainError, Trainer, policy_file};

const METHODS: [&str; 5] = ["bc", "spar", "iql", "rpl", "bcq"];

/// Actions in states of the point mass, noise and all.
fn actions(policy: &dyn Policy) -> Vec<f32> {
    let obs: Vec<f32> = (0..40).map(|i| (i as f32 * 0.37).sin()).collect();
    let mut streams: Vec<Stream> = (0..20).map(|i| Stream::new(i, "act")).collect();
    let mut actions = vec![0.0; 20];
    policy.act(&obs, &mut streams, &mut actions);
    actions
}

fn settings(method: Method, data: &Transitions) -> TrainConfig {
    let small = spec(method, data).config;
    let config = TrainConfig {
        updates: 120,
        method: TrainConfig::defaults_of(method).unwrap().method,
        ..small
    };
    let mut changes = vec![("anchor.updates".to_owned(), 80.into())];
    if config.method.is_some() {
        changes.push(("data.batch_size".to_owned(), 16.into()));
    } else {
        changes.push(("rectify.warmup".to_owned(), 50.into()));
    }
    config.with(method, &changes).unwrap()
}

fn trainer(method: Method, data: &Transitions) -> Trainer<'static> {
    Trainer::new(method, settings(method, data), data, 3).unwrap()
}

#[test]
fn a_trainer_ends_with_the_policy_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    for name in METHODS {
        let method: Method = name.parse().unwrap();
        let mut spec = spec(method, &data);
        spec.config = settings(method, &data);
        let out = folder.path().join(name);
        train(&spec, &data, &out).unwrap();
        let of_run = policy_file::read(&out.join("policy.safetensors"), spec.env).unwrap();

        let mut trainer = trainer(method, &data);
        let mut updates = 0;
        while trainer.step().unwrap() {
            updates += 1;
        }
        let own = if name == "bc" { 0 } else { 120 };
        let anchor = if method.anchored() { 80 } else { 0 };
        assert_eq!(updates, own + anchor, "{name}");
        let policy = trainer.policy().unwrap();
        assert_eq!(actions(&policy), actions(&of_run), "{name}");
        assert!(!trainer.step().unwrap());
    }
}

#[test]
fn what_is_saved_anywhere_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    for name in METHODS {
        let method: Method = name.parse().unwrap();
        let through = |stops: &[u64]| {
            let mut trained = trainer(method, &data);
            let mut done = 0;
            while trained.step().unwrap() {
                done += 1;
                if stops.contains(&done) {
                    let state = trained.save().unwrap();
                    trained = trainer(method, &data);
                    trained.load(&state).unwrap();
                }
            }
            trained.save().unwrap().to_bytes().unwrap()
        };
        assert_eq!(through(&[]), through(&[1, 41, 80, 81, 119]), "{name}");
    }
}

#[test]
fn a_loss_that_is_no_number_ends_training() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let mut config = settings(Method::Spar, &data);
    config.critic.lr = 1e30;
    let mut trainer = Trainer::new(Method::Spar, config, &data, 0).unwrap();
    let error = loop {
        match trainer.step() {
            Ok(more) => assert!(more, "it never diverged"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    assert_eq!(trainer.phase(), Phase::Spar);
    assert!(!trainer.metrics().unwrap().is_finite());
}

#[test]
fn settings_out_of_range_are_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let mut config = settings(Method::Spar, &data);
    config.rectify.rho = -1.0;
    let error = Trainer::new(Method::Spar, config, &data, 0).err().unwrap();
    assert!(error.to_string().contains("rectify.rho"), "{error}");
}
