//! `--jobs-on-card`: runs that share every launch on a GPU are the runs alone. The GPU is the
//! stand-in for its driver (docs/cuda.md), at a tiny size.

use std::{env, fs, io::Write, path::Path, process::Command, sync::OnceLock};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Done, Folder};

/// Few updates of few rows: a fiber for every thread of the GPU takes its time.
const SUITE: &str = r#"
name = "tiny"
tasks = ["rail-logs"]
methods = ["bc", "spar"]
eval_seed = 42
[define.rail-logs]
env = "pointmass"
[presets.short]
description = "short"
seeds = [0, 1, 2]
eval_episodes = 1
data_rows = 500
[train]
batch_size = 8
updates = 6
reward_range = 1000.0
eval_every = 4
eval_episodes = 1
checkpoint_every = 2
anchor = { hidden = [8], lr = 3e-4, updates = 4 }
[train.critic]
form = "expectile"
hidden = [8]
n_critics = 2
lr = 3e-4
discount = 0.99
tau = 0.005
expectile = 0.7
[train.rectify]
hidden = [8]
lr = 3e-4
beta = 0.5
rho = 1.0
w_fit = 0.1
lambda = 1.0
candidates = 2
temperature = 0.3
sigma_z = 1.0
policy_freq = 2
warmup = 2
tau = 0.005
"#;

const RUN: &str = "suite run --suite own.toml --preset short --tasks rail-logs --out runs \
                   --dataset rail-logs=data.hdf5 --device cuda";

/// The folder of the stand-in, unless there is no C++ compiler to make it with.
fn stand_in() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<TempDir>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spar-kernels");
        let folder = tempfile::tempdir().unwrap();
        let driver = folder.path().join("libcuda.so");
        let compiler = env::var_os("CXX").unwrap_or_else(|| "c++".into());
        let made = Command::new(&compiler)
            .args([
                "-std=c++17",
                "-O2",
                "-fPIC",
                "-shared",
                "-fvisibility=hidden",
            ])
            .args(["-U_FORTIFY_SOURCE", "-fno-strict-aliasing", "-w", "-I"])
            .arg(kernels.join("cuda"))
            .arg(kernels.join("tests/cuda/driver.cpp"))
            .arg("-o")
            .arg(&driver)
            .status();
        if let Err(error) = made {
            let mut stderr = std::io::stderr();
            let compiler = Path::new(&compiler).display();
            let why = format!("SKIPPED: no runs share a GPU: {compiler}: {error}");
            writeln!(stderr, "{why}; install a C++ compiler or set CXX").unwrap();
            return None;
        }
        assert!(made.unwrap().success());
        fs::copy(&driver, folder.path().join("libnvrtc.so")).unwrap();
        Some(folder)
    });
    folder.as_ref().map(TempDir::path)
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    fs::write(folder.path("own.toml"), SUITE).unwrap();
    folder
}

fn spar(folder: &Folder, gpu: &Path, line: &str) -> Done {
    Done::of(folder.command(line).env("LD_LIBRARY_PATH", gpu))
}

/// The files that are others there.
fn others(left: &[(String, Vec<u8>)], right: &[(String, Vec<u8>)]) -> Vec<String> {
    assert_eq!(left.len(), right.len());
    let pairs = left.iter().zip(right).filter(|(left, right)| left != right);
    pairs.map(|((name, _), _)| name.clone()).collect()
}

/// What of each run does not say when it was made.
fn left(folder: &Folder) -> Vec<(String, Vec<u8>)> {
    let mut left = Vec::new();
    for method in ["bc", "spar"] {
        for seed in 0..3 {
            let place = format!("runs/rail-logs/{method}/seed-{seed}");
            for file in ["spec.json", "policy.safetensors", "returns.csv", "eval.csv"] {
                let file = format!("{place}/{file}");
                if folder.exists(&file) {
                    left.push((file.clone(), folder.read(&file)));
                }
            }
            let done = String::from_utf8(folder.read(&format!("{place}/DONE"))).unwrap();
            // The command names the data file by its whole path.
            let here = folder.path("").display().to_string();
            let mut done: Value = serde_json::from_str(&done.replace(&here, "")).unwrap();
            // When it was made, and the hash of a record that says so.
            let integrity = done["integrity"].as_object_mut().unwrap();
            assert!(integrity.remove("sha256").is_some());
            let record = done.as_object_mut().unwrap();
            assert!(record.remove("wall_s").is_some(), "{record:?}");
            left.push((format!("{place}/DONE"), done.to_string().into_bytes()));
        }
    }
    assert!(left.len() >= 24, "{}", left.len());
    left
}

#[test]
fn runs_that_share_a_gpu_leave_what_each_leaves_alone() {
    let Some(gpu) = stand_in() else { return };
    let [alone, together, resumed] = [(); 3].map(|()| folder());
    let done = spar(&alone, gpu, RUN);
    assert!(done.err.contains("6 runs: 0 are done, 6 to do"), "{done:?}");
    let alone_left = left(&alone);
    let policies: Vec<_> = alone_left
        .iter()
        .filter(|(name, _)| name.ends_with("policy.safetensors"))
        .collect();
    assert!(policies.windows(2).all(|pair| pair[0].1 != pair[1].1));

    let shared = format!("{RUN} --jobs-on-card 3");
    let done = spar(&together, gpu, &shared);
    assert!(done.err.contains("6 runs: 0 are done, 6 to do"), "{done:?}");
    assert!(together.exists("runs/together.txt"), "{done:?}");
    assert_eq!(others(&left(&together), &alone_left), [""; 0], "{done:?}");
    let done = spar(&together, gpu, &shared);
    assert!(done.err.contains("6 runs: 6 are done, 0 to do"), "{done:?}");

    // Two have stopped at one update, the third has not begun.
    for seed in 0..2 {
        let line = format!(
            "train --preset short --suite own.toml --task rail-logs --seed {seed} --method bc \
             --device cuda --dataset data.hdf5 --out runs/rail-logs/bc/seed-{seed} --stop-after 3"
        );
        spar(&resumed, gpu, &line).ok();
    }
    let done = spar(&resumed, gpu, &shared);
    assert!(done.err.contains("6 runs: 0 are done, 6 to do"), "{done:?}");
    assert_eq!(others(&left(&resumed), &alone_left), [""; 0], "{done:?}");
}

#[test]
fn a_gpu_that_is_not_there_is_said_once_for_every_run() {
    let folder = folder();
    let nothing = folder.path("nothing");
    fs::create_dir(&nothing).unwrap();
    if cuda_is_there() {
        return;
    }
    let done = spar(
        &folder,
        &nothing,
        &format!("{RUN} --methods bc --jobs-on-card 2"),
    );
    assert_eq!(done.code, Some(1), "{done:?}");
    let line = "no CUDA driver on this machine; use --device cpu";
    for seed in 0..3 {
        let failed = format!("rail-logs/bc/seed-{seed}: ");
        let said = done
            .err
            .lines()
            .any(|l| l.contains(&failed) && l.contains(line));
        assert!(said, "{done:?}");
    }
    let cpu = RUN.replace("cuda", "cpu") + " --jobs-on-card 2";
    folder
        .spar(&cpu)
        .fails(2, &["--jobs-on-card", "--device cuda"]);
}

/// Whether the tests themselves run where there is a driver.
fn cuda_is_there() -> bool {
    ["/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg"]
        .iter()
        .any(|node| Path::new(node).exists())
}
