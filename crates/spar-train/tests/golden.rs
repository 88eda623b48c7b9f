//! What may not change unless it is meant to: the numbers of the first updates, and that
//! nothing but training decides what is trained.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fmt::Write, fs, path::Path};

use common::{data, spec, train};
use expect_test::expect_file;
use serde_json::Value;
use spar_data::Transitions;
use spar_kernels::Isa;
use spar_nn::State;
use spar_train::{Method, RunSpec};

mod common;

/// SHA-256 of the parameters that a run's last checkpoint holds, without its counters,
/// streams and log.
fn parameters(out: &Path) -> String {
    let state = State::read(&out.join("checkpoints/latest.safetensors")).unwrap();
    let bytes: Vec<u8> = state
        .arrays()
        .flat_map(|(name, values)| {
            let values = values.iter().flat_map(|v| v.to_le_bytes());
            name.bytes().chain(values).collect::<Vec<u8>>()
        })
        .collect();
    assert!(bytes.len() > 1000);
    spar_core::sha256_hex(&bytes)
}

/// Losses and parameters after 1, 10 and 100 updates of SPAR, to the bit, on each
/// instruction set of this machine: sums are made in another order on another one, and the
/// system's library of functions rounds in its own way. A machine of another kind has
/// another file; where there is none yet, `UPDATE_EXPECT=1 cargo xtask test --test golden`
/// makes it, and it writes the files anew after a change that is meant. The first updates
/// up to rounding are held on every machine by `resume.rs`.
#[test]
fn the_trace_of_a_run_is_that_of_every_commit() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    for isa in Isa::present() {
        let name = format!("{isa:?}").to_lowercase();
        let trace = isa.confine(|| trace(&data, &dir.path().join(&name)));
        let file = format!("tests/golden/trace-{name}-{}.txt", rounding());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
        let update = std::env::var_os("UPDATE_EXPECT").is_some();
        if update && let Some(folder) = path.parent() {
            fs::create_dir_all(folder).unwrap();
        }
        if path.exists() || update {
            expect_file![path].assert_eq(&trace);
        } else {
            println!("{file}: not there, so that nothing is compared");
        }
    }
}

fn trace(data: &Transitions, folder: &Path) -> String {
    let mut spec = spec(Method::Spar, data);
    spec.config.anchor.updates = 20;
    (spec.config.rectify.warmup, spec.config.rectify.policy_freq) = (4, 2);
    (spec.config.rectify.scale, spec.config.critic.penalty_ratio) = (0.1, 1.0);
    let mut trace = String::new();
    for updates in [1, 10, 100] {
        let out = folder.join(updates.to_string());
        spec.config.updates = updates;
        train(&spec, data, &out).unwrap();
        let log = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let line: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        writeln!(trace, "update {}", line["update"]).unwrap();
        for (name, value) in line.as_object().unwrap() {
            if name != "update" {
                writeln!(trace, "  {name} {value}").unwrap();
            }
        }
        writeln!(trace, "  parameters {}", parameters(&out)).unwrap();
    }
    trace
}

/// How this system's functions round, in short.
fn rounding() -> String {
    let values = (1..2000u16).map(|i| f32::from(i) / 250.0);
    let bytes: Vec<u8> = values
        .flat_map(|x| [x.exp(), x.ln(), x.tanh(), x.sin(), x.cos(), x.powf(1.7)])
        .flat_map(|y| y.to_le_bytes())
        .collect();
    spar_core::sha256_hex(&bytes)[..8].to_owned()
}

/// A change of `spec` that reaches no parameter.
type Change = fn(&mut RunSpec);

#[test]
fn how_a_run_is_watched_changes_nothing_that_is_trained() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let changes: [(&str, Change); 6] = [
        ("as it is", |_| {}),
        ("no curve", |s| s.config.eval_every = 1_000_000),
        ("a dense curve", |s| s.config.eval_every = 7),
        ("more episodes", |s| s.config.eval_episodes = 3),
        ("other final episodes", |s| s.final_episodes = 5),
        ("more checkpoints", |s| s.config.checkpoint_every = 11),
    ];
    for method in [Method::Spar, "iql".parse().unwrap()] {
        let mut base = spec(method, &data);
        base.config.anchor.updates = 40;
        (base.config.updates, base.config.rectify.warmup) = (120, 20);
        if let Method::Baseline(entry) = method {
            let settings = toml::from_str("hidden = [8]\ndata.batch_size = 16").unwrap();
            base.config.method = Some(entry.settings(settings).unwrap());
        }
        let mut hashes = Vec::new();
        for (name, change) in changes {
            let out = dir.path().join(format!("{}-{name}", method.name()));
            let mut spec = base.clone();
            change(&mut spec);
            train(&spec, &data, &out).unwrap();
            hashes.push((name, parameters(&out)));
        }
        for (name, hash) in &hashes {
            assert_eq!(*hash, hashes[0].1, "{name} of {}", method.name());
        }
    }
}

/// The seed of the evaluation reaches the returns and nothing else; the training seed
/// reaches the parameters.
#[test]
fn each_seed_reaches_what_it_is_for() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let mut base = spec(Method::Spar, &data);
    base.config.anchor.updates = 40;
    (base.config.updates, base.config.rectify.warmup) = (120, 20);
    let of = |name: &str, change: Change| {
        let out = dir.path().join(name);
        let mut spec = base.clone();
        change(&mut spec);
        let record = train(&spec, &data, &out).unwrap();
        (parameters(&out), record.returns)
    };
    let first = of("first", |_| {});
    let evaluated = of("evaluated", |s| s.eval_seed = 43);
    assert_eq!(first.0, evaluated.0);
    assert_ne!(first.1, evaluated.1);
    let trained = of("trained", |s| s.seed = 4);
    assert_ne!(first.0, trained.0);
}
