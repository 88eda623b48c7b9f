//! Variants of SPAR: one thing changed by a suite, the rest as it is.

use std::{fs, process::Command};

use serde_json::Value;

use crate::support::{Folder, finished_files, prepared, suite_run};

const ABLATIONS: [&str; 6] = [
    "global",
    "value-gradient",
    "advantage-weighted",
    "separate-head",
    "own-latent",
    "tuned-anchor",
];

/// A folder with the data, and the suite with a variant for every ablation.
fn with_variants() -> Folder {
    let folder = prepared();
    let mut suite = fs::read_to_string(folder.path("suite.toml")).unwrap();
    for name in ABLATIONS {
        suite += &format!(
            "\n[variant.{name}]\nabout = \"{name}\"\nrectify = {{ ablation = \"{name}\", warmup = 50 }}\n"
        );
    }
    fs::write(folder.path("suite.toml"), suite).unwrap();
    folder
}

fn run(variant: &str, out: &str, extra: &str) -> String {
    suite_run(
        "short",
        "spar",
        out,
        &format!("--variant {variant} {extra}"),
    )
}

/// Trained, judged, and stopped and resumed to the same bytes.
#[test]
fn each_ablation_is_a_run_like_any_other() {
    let folder = with_variants();
    for name in ABLATIONS {
        folder.spar(&run(name, name, "")).ok();
        assert_eq!(folder.files(name), finished_files(name));
        let record: Value = serde_json::from_slice(&folder.read(&format!("{name}/DONE"))).unwrap();
        assert_eq!(record["method"], name);
        let spec: Value =
            serde_json::from_slice(&folder.read(&format!("{name}/spec.json"))).unwrap();
        assert_eq!(
            (&spec["method"], &spec["variant"]),
            (&"spar".into(), &name.into())
        );
        assert_eq!(spec["config"]["rectify"]["ablation"], name);

        let again = format!("{name}-again");
        folder.spar(&run(name, &again, "--stop-after 70")).ok();
        assert!(!folder.exists(&format!("{again}/DONE")));
        folder.spar(&run(name, &again, "")).ok();
        for file in ["policy.safetensors", "returns.csv", "eval.csv"] {
            let of = |run: &str| folder.read(&format!("{run}/{file}"));
            assert_eq!(of(name), of(&again), "{name}: {file}");
        }
        let eval = format!(
            "eval --policy {name}/policy.safetensors --env pointmass --episodes 3 --seed 42 --json"
        );
        assert_eq!(
            folder.spar(&eval).json()["returns"],
            record["returns"],
            "{name}"
        );
    }
}

#[test]
fn a_variant_is_one_of_the_suite_and_of_spar() {
    let folder = with_variants();
    folder.spar(&run("bold", "run", "")).fails(
        2,
        &["suite `tiny` has no variant `bold`", "global, own-latent"],
    );
    let of_td3bc = suite_run("short", "td3bc", "run", "--variant global");
    folder.spar(&of_td3bc).fails(
        2,
        &["--variant global is one of spar, but --method is td3bc"],
    );
    // Settings that contradict each other.
    let suite = fs::read_to_string(folder.path("suite.toml")).unwrap();
    let residual = "\n[variant.both]\nabout = \"\"\ncritic.form = \"residual\"\nrectify.ablation = \"own-latent\"\n";
    fs::write(folder.path("suite.toml"), suite + residual).unwrap();
    folder
        .spar(&run("both", "run", ""))
        .fails(1, &["`critic.form` is residual, expected expectile"]);
    assert!(!folder.exists("run"));
    let mut alone = Command::new(env!("CARGO_BIN_EXE_spar"));
    let alone =
        alone.args("train --method spar --variant x --dataset d --env hopper --out o".split(' '));
    assert_eq!(alone.output().unwrap().status.code(), Some(2));
}
