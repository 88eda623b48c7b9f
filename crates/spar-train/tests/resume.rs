//! A run is a function of its spec: run twice, stopped, killed, extended or
//! started from another run's anchor, it gives the same bits.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path};

use common::{Around, RESULTS, data, same_files, spec, stop, train, train_in};
use serde_json::Value;
use spar_baselines::{Blend, Hubl};
use spar_train::Method;

mod common;

#[test]
fn the_same_spec_twice_gives_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    for method in [Method::Bc, Method::Spar] {
        let spec = spec(method, &data);
        let [one, two, other] = ["a", "b", "c"].map(|n| dir.path().join(method.name()).join(n));
        let record = train(&spec, &data, &one).unwrap();
        let again = train(&spec, &data, &two).unwrap();
        assert_eq!(record.returns, again.returns);
        assert_eq!(record.returns.len(), 2);
        same_files(&RESULTS, &one, &two);

        let mut other_seed = spec.clone();
        other_seed.seed += 1;
        train(&other_seed, &data, &other).unwrap();
        let policy = |folder: &Path| fs::read(folder.join(RESULTS[0])).unwrap();
        assert_ne!(policy(&one), policy(&other));
    }
}

#[test]
fn a_finished_run_is_not_trained_again() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("run"));
    let spec = spec(Method::Bc, &data);
    let record = train(&spec, &data, &out).unwrap();
    let around = Around {
        stop_after: Some(1),
        ..Around::default()
    };
    assert_eq!(train_in(&spec, &data, &out, around).unwrap(), record);
    // Other final episodes are judged without training.
    let mut more = spec.clone();
    more.final_episodes = 5;
    let judged = train(&more, &data, &out).unwrap();
    assert_eq!(judged.returns[..2], record.returns);
    assert_eq!(judged.returns.len(), 5);
}

#[test]
fn a_stopped_run_goes_on_as_if_it_had_not_been() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    // Stops of SPAR: while cloning, in warm-up, then imitating, between two
    // updates of the policy and between two checkpoints.
    for (method, stops) in [
        (Method::Bc, &[137u64, 300][..]),
        (Method::Spar, &[137, 137, 251, 601]),
    ] {
        let spec = spec(method, &data);
        let [whole, parts] = ["whole", "parts"].map(|n| dir.path().join(method.name()).join(n));
        train(&spec, &data, &whole).unwrap();
        for &at in stops {
            stop(&spec, &data, &parts, at);
        }
        train(&spec, &data, &parts).unwrap();
        same_files(&RESULTS, &whole, &parts);
    }
}

/// A kill leaves a log and a curve that are ahead of the checkpoint.
#[test]
fn what_was_written_after_the_checkpoint_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let spec = spec(Method::Spar, &data);
    let [whole, killed] = ["whole", "killed"].map(|n| dir.path().join(n));
    train(&spec, &data, &whole).unwrap();
    let checkpoint = killed.join("checkpoints/latest.safetensors");
    stop(&spec, &data, &killed, 400);
    stop(&spec, &data, &killed, 350);
    let kept = fs::read(&checkpoint).unwrap();
    stop(&spec, &data, &killed, 650);
    fs::write(&checkpoint, kept).unwrap();
    train(&spec, &data, &killed).unwrap();
    same_files(&RESULTS, &whole, &killed);

    // Killed between the last checkpoint and the end.
    fs::remove_file(killed.join("DONE")).unwrap();
    fs::remove_file(killed.join("policy.safetensors")).unwrap();
    train(&spec, &data, &killed).unwrap();
    same_files(&RESULTS, &whole, &killed);
}

#[test]
fn a_longer_run_begins_as_a_shorter_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    for method in [Method::Bc, Method::Spar] {
        // 400 has a point of the curve, 333 has nothing.
        for shorter in [333, 400] {
            let at = |n: &str| dir.path().join(format!("{}-{shorter}-{n}", method.name()));
            let [whole, grown] = ["whole", "grown"].map(at);
            let long = spec(method, &data);
            let mut short = long.clone();
            match method {
                Method::Bc => short.config.anchor.updates = shorter,
                _ => short.config.updates = shorter,
            }
            train(&long, &data, &whole).unwrap();
            train(&short, &data, &grown).unwrap();
            let record = train(&long, &data, &grown).unwrap();
            assert_eq!(
                long.updates(),
                [record.anchor_updates, record.updates][usize::from(method == Method::Spar)]
            );
            same_files(&RESULTS, &whole, &grown);
        }
    }
}

#[test]
fn an_anchor_of_another_run_gives_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let [bc, own, given] = ["bc", "own", "given"].map(|n| dir.path().join(n));
    let spec_of = |method| spec(method, &data);
    train(&spec_of(Method::Bc), &data, &bc).unwrap();
    train(&spec_of(Method::Spar), &data, &own).unwrap();
    let with_anchor = |stop_after| Around {
        stop_after,
        anchor: Some(&bc),
    };
    // Stopped and gone on with, too.
    let spar = spec_of(Method::Spar);
    train_in(&spar, &data, &given, with_anchor(Some(300))).unwrap_err();
    train_in(&spar, &data, &given, with_anchor(None)).unwrap();
    same_files(
        &["policy.safetensors", "eval.csv", "returns.csv"],
        &own,
        &given,
    );
    // The log lacks the anchor's lines, which are in the other folder.
    let log = |folder: &Path| {
        let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        let (_head, lines) = text.split_once('\n').unwrap();
        lines.to_owned()
    };
    assert_eq!(log(&own), log(&bc) + &log(&given));
}

/// The first updates of a tiny run, so that a change of the algorithm, of a
/// stream's name or of the order of draws does not pass unseen. Another
/// processor sums in another order: hence no bits, and only five updates.
/// HUBL's blend reaches the critic alone: what the data's own returns say changes rewards
/// and discounts, and neither the anchor nor which transitions are drawn.
#[test]
fn hubl_beside_spar_teaches_the_critic_and_not_the_anchor() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let [bc, blended, anchored, resumed] =
        ["bc", "blended", "anchored", "resumed"].map(|name| dir.path().join(name));
    train(&spec(Method::Bc, &data), &data, &bc).unwrap();
    let without = spec(Method::Spar, &data);
    let mut with = without.clone();
    with.config.data.hubl = Some(Hubl {
        alpha: 0.5,
        blend: Blend::Constant,
    });
    train(&with, &data, &blended).unwrap();
    let around = Around {
        anchor: Some(&bc),
        ..Around::default()
    };
    train_in(&with, &data, &anchored, around).unwrap();
    stop(&with, &data, &resumed, 300);
    stop(&with, &data, &resumed, 300);
    train(&with, &data, &resumed).unwrap();
    same_files(&RESULTS, &blended, &resumed);
    same_files(&["policy.safetensors", "returns.csv"], &blended, &anchored);

    // The critic's word reaches the policy after the warm-up, which lasts here.
    let [plain, blended] = [("plain", without), ("fits", with)].map(|(name, mut spec)| {
        spec.config.rectify.warmup = spec.config.updates;
        let out = dir.path().join(name);
        train(&spec, &data, &out).unwrap();
        let log = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let line = log.lines().next_back().unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["reconstruction"].is_number(), "{line}");
        line
    });
    assert_eq!(plain["reconstruction"], blended["reconstruction"]);
    assert_ne!(plain["target_mean"], blended["target_mean"]);
}

#[test]
fn the_first_updates_are_those_of_every_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("run"));
    let mut spec = spec(Method::Spar, &data);
    spec.config.anchor.updates = 1;
    (spec.config.rectify.warmup, spec.config.rectify.policy_freq) = (2, 1);
    // Large steps: candidates that hardly differ would be ranked by rounding.
    (spec.config.critic.lr, spec.config.rectify.lr) = (1e-2, 3e-2);
    let mut trace = Vec::new();
    for updates in 1..=5 {
        spec.config.updates = updates;
        train(&spec, &data, &out).unwrap();
        let log = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(
            lines.len(),
            3,
            "the head, the anchor's last and SPAR's last"
        );
        let line: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!(line["update"], updates);
        trace.push(FIELDS.map(|f| line[f].as_f64().unwrap()));
    }
    for (update, (got, want)) in trace.iter().zip(GOLDEN).enumerate() {
        for ((field, got), want) in FIELDS.iter().zip(got).zip(want) {
            let off = (got - want).abs();
            assert!(
                off <= 1e-4 * want.abs(),
                "{field}, update {}: {trace:#?}",
                update + 1
            );
        }
    }
}

const FIELDS: [&str; 8] = [
    "q_loss",
    "value_loss",
    "target_mean",
    "reconstruction",
    "kl",
    "self_imitation",
    "weight_max",
    "spread",
];

const GOLDEN: [[f64; 8]; 5] = [
    [
        3729.0845, 0.09996425, 59.56241, 0.29125088, 0.11691853, 0.0, 0.0, 0.0,
    ],
    [
        3932.4407,
        0.033456855,
        62.493973,
        0.44684327,
        0.035984065,
        0.0,
        0.0,
        0.0,
    ],
    [
        4025.3135,
        0.017448906,
        63.52641,
        0.4021405,
        0.011079276,
        0.00084450236,
        0.42414424,
        0.0003673509,
    ],
    [
        3932.6567,
        0.034306623,
        61.472416,
        0.52137065,
        0.034330208,
        0.0009913777,
        0.3541973,
        0.0006343927,
    ],
    [
        4367.3955,
        0.045002777,
        66.92996,
        0.26247236,
        0.014002086,
        0.00073159277,
        0.38950935,
        0.0004244062,
    ],
];
