//! A suite on a real Slurm: one machine, daemons of this test's own, a node that dies under
//! way. The table has to be the local engine's, bit for bit.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod cluster;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use cluster::{Slurm, missing};
use spar_core::Stream;
use spar_data::{Row, Writer};
use tempfile::TempDir;

/// Runs of some seconds, with many checkpoints.
const SUITE: &str = r#"
name = "tiny"
tasks = ["hopper-medium"]
methods = ["bc", "spar", "iql"]
eval_seed = 42
[presets.short]
description = "short"
seeds = [0, 1]
eval_episodes = 3
data_rows = 500
[train]
batch_size = 32
updates = 40000
reward_range = 1000.0
eval_every = 10000
eval_episodes = 1
checkpoint_every = 500
anchor = { hidden = [16, 16], lr = 3e-4, updates = 2000 }
[method.spar]
critic.hidden = [16, 16]
rectify = { hidden = [16, 16], candidates = 4, warmup = 50 }
[method.iql]
data.batch_size = 32
hidden = [16, 16]
"#;

/// How long anything may take on a machine that does other work too.
const PATIENCE: Duration = Duration::from_secs(600);

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        // A path with a blank, as on many clusters.
        fs::create_dir(place.root()).unwrap();
        fs::write(place.root().join("suite.toml"), SUITE).unwrap();
        write_data(&place.root().join("data.hdf5"));
        place
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("my lab")
    }

    fn run(&self, out: &str, words: &[&str], slurm: Option<&Slurm>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spar"));
        command
            .current_dir(self.root())
            .args("suite run --suite suite.toml --preset short".split(' '))
            .args(["--dataset", "hopper-medium=data.hdf5", "--out", out])
            .args(words)
            .env("SPAR_COMMIT", "test")
            .stdin(Stdio::null());
        if let Some(slurm) = slurm {
            command.env("SLURM_CONF", slurm.config());
        }
        command.output().unwrap()
    }

    fn path(&self, out: &str, name: &str) -> PathBuf {
        self.root().join(out).join(name)
    }

    fn read(&self, out: &str, name: &str) -> Vec<u8> {
        let path = self.path(out, name);
        fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}\n{}", path.display(), self.told(out)))
    }

    /// What the jobs of `out` said.
    fn told(&self, out: &str) -> String {
        let mut told = String::new();
        let plans = fs::read_dir(self.root().join(out)).unwrap();
        for plan in plans.map(|entry| entry.unwrap().path()) {
            let files = fs::read_dir(&plan).into_iter().flatten();
            for file in files.map(|entry| entry.unwrap().path()) {
                if file.extension().is_some_and(|extension| extension == "out") {
                    told += &fs::read_to_string(file).unwrap();
                }
            }
        }
        told
    }
}

/// Three episodes of random numbers as wide as Hopper's.
fn write_data(path: &Path) {
    let mut stream = Stream::new(0, "rows");
    let mut draw =
        |n: usize| -> Vec<f32> { (0..n).map(|_| stream.normal().tanh() as f32).collect() };
    let mut writer = Writer::create(path, 11, 3, 0, 0, &BTreeMap::new()).unwrap();
    for step in 1..=60 {
        let row = Row {
            obs: &draw(11),
            action: &draw(3),
            reward: 1.0,
            terminal: false,
            timeout: step % 20 == 0,
            next_obs: &draw(11),
            qpos: &[],
            qvel: &[],
        };
        writer.push(&row).unwrap();
    }
    writer.finish().unwrap();
}

#[track_caller]
fn wait(what: &str, told: impl Fn() -> String, mut until: impl FnMut() -> bool) {
    let start = Instant::now();
    while !until() {
        assert!(
            start.elapsed() < PATIENCE,
            "{what} takes too long: {}",
            told()
        );
        sleep(Duration::from_millis(200));
    }
}

#[track_caller]
fn assert_ok(output: &Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{err}");
    err
}

#[test]
fn a_table_made_by_slurm_is_the_local_one_though_its_node_dies() {
    if let Some(missing) = missing() {
        eprintln!("skipped: {missing}");
        return;
    }
    let place = Place::new();
    let local = place.run("local runs", &[], None);
    assert_ok(&local);

    let mut slurm = Slurm::start();
    let out = "runs of Slurm";
    let words = ["--engine", "slurm", "--max-parallel", "2"];
    let said = assert_ok(&place.run(out, &words, Some(&slurm)));
    assert!(said.contains("6 runs: 0 are done, 6 to do"), "{said}");
    assert!(
        !place.path(out, "report").exists(),
        "nothing waits for the runs here"
    );
    let twice = place.run(out, &words, Some(&slurm));
    assert_eq!(twice.status.code(), Some(2), "a queued plan is refused");

    let at_work = |seed: u64| {
        let run = place.path(out, &format!("hopper-medium/spar/seed-{seed}"));
        run.join("checkpoints/latest.safetensors").exists() && !run.join("DONE").exists()
    };
    let told = || format!("{}\n{}", slurm.queue(), place.told(out));
    wait("a run of spar", told, || at_work(0) || at_work(1));

    // Its time is up: it saves its work and waits for another turn, and no other job does.
    let (id, others) = slurm.running_of("-spar-");
    slurm.ask("scancel", &["--signal=HUP", "--batch", &id]);
    let told = || format!("{}\n{}", slurm.queue(), place.told(out));
    wait("the run's next turn", told, || {
        slurm.state_of(&id) == "PENDING"
    });
    assert!(
        place.told(out).contains("queued again to resume"),
        "{}",
        place.told(out)
    );
    for other in others {
        assert_ne!(
            slurm.state_of(&other),
            "PENDING",
            "{other} was queued again, too"
        );
    }
    slurm.hurry();
    let told = || format!("{}\n{}", slurm.queue(), place.told(out));
    wait("the run's resumption", told, || {
        slurm.state_of(&id) == "RUNNING"
    });

    // The node goes, and with it all that runs on it.
    wait("a run at work", String::new, || at_work(0) || at_work(1));
    slurm.kill_node();
    let told = || slurm.queue();
    wait("Slurm's notice of the dead node", told, || {
        slurm.node().starts_with("down")
    });
    slurm.start_node();
    let told = || format!("{}\n{}", slurm.queue(), place.told(out));
    wait("the end of all jobs", told, || {
        slurm.hurry();
        slurm.queue().is_empty()
    });

    for file in ["table.md", "table.csv"] {
        let name = format!("report/{file}");
        let text = |out| String::from_utf8(place.read(out, &name)).unwrap();
        assert_eq!(text("local runs"), text(out), "{file}");
    }
    for run in ["bc", "spar", "iql"]
        .iter()
        .flat_map(|m| [0, 1].map(|s| format!("{m}/seed-{s}")))
    {
        for file in ["policy.safetensors", "returns.csv", "eval.csv"] {
            let name = format!("hopper-medium/{run}/{file}");
            assert_eq!(
                place.read("local runs", &name),
                place.read(out, &name),
                "{name}"
            );
        }
    }
    let said = assert_ok(&place.run(out, &words, Some(&slurm)));
    assert!(said.contains("6 runs: 6 are done, 0 to do"), "{said}");
    slurm.ask("scancel", &["--me"]);

    // What cannot have an anchor is not waited for, and its cell is missing.
    let broken = place.path(out, "hopper-medium/bc/seed-2");
    fs::write(&broken, "no folder").unwrap();
    let words = [&words[..], &["--seeds", "2", "--methods", "bc,spar"]].concat();
    assert_ok(&place.run(out, &words, Some(&slurm)));
    let told = || format!("{}\n{}", slurm.queue(), place.told(out));
    wait("the end of what failed", told, || slurm.queue().is_empty());
    assert!(!place.path(out, "hopper-medium/spar/seed-2").exists());
}
