//! `spar data`: what is told of a file, what is checked, and where local data
//! come from.

use std::{fs, path::Path};

use serde_json::Value;
use spar_collect::{
    behavior,
    card::{Card, Level, REPLAY_SEGMENTS, Segment},
    gaussian::GaussianPolicy,
    sac::SacConfig,
};
use spar_core::EnvId;
use spar_nn::{Activation, Linear, RowMlp};

use crate::support::{Folder, prepared};

#[test]
fn a_file_is_described() {
    let folder = prepared();
    let info = folder
        .spar("data info data.hdf5 --env pointmass --json")
        .json();
    assert_eq!(info["origin"], "user");
    assert_eq!(
        info["sha256"],
        spar_core::sha256_hex(&folder.read("data.hdf5"))
    );
    assert_eq!((&info["rows"], &info["episodes"]), (&800.into(), &8.into()));
    // D4RL's qlearning_dataset drops the last step of every episode cut.
    assert_eq!(info["transitions"], 8 * 99);
    let table = folder.spar("data info data.hdf5").ok();
    assert!(table.contains("8, 8 complete"), "{table}");
}

#[test]
fn a_sound_file_is_verified_and_another_one_fails() {
    let folder = prepared();
    let found = folder
        .spar("data verify data.hdf5 --env pointmass --json")
        .json();
    assert_eq!(
        (&found["rows"], &found["episodes"], &found["ok"]),
        (&800.into(), &8.into(), &true.into())
    );
    for field in ["max_abs_obs", "max_abs_reward"] {
        assert!(found[field].as_f64().unwrap() < 1e-6, "{found}");
    }
    let info = folder
        .spar("data info data.hdf5 --env pointmass --json")
        .json();
    assert_eq!(found["mean_return"], info["returns"]["mean"]);

    // A limit no stored f32 keeps: the report comes all the same.
    let strict = folder
        .spar("data verify data.hdf5 --env pointmass --json --obs-tolerance 1e-12 --sample 50");
    assert_eq!(strict.code, Some(1));
    let found: Value = serde_json::from_str(&strict.out).unwrap();
    assert_eq!(
        (&found["checked"], &found["ok"]),
        (&50.into(), &false.into())
    );
    assert_eq!(strict.err.lines().count(), 1, "{strict:?}");
    assert!(
        strict
            .err
            .starts_with("error: data.hdf5: the rows are not pointmass's"),
        "{strict:?}"
    );
}

/// Behaviour policies of the point mass: a weak and a strong spring.
pub(crate) fn write_behavior(folder: &Path, seed: u64) {
    let spring = |strength: f32| {
        GaussianPolicy::new(RowMlp {
            layers: vec![Linear {
                // [in, out]: from position and velocity to mean and log std.
                weight: vec![-strength, 0.0, -strength, 0.0],
                bias: vec![0.0, -1.0],
                norm: None,
            }],
            hidden: Activation::Relu,
            output: Activation::Identity,
            input_norm: None,
        })
    };
    let level = |step| Level {
        step,
        mean_return: 0.0,
        std_return: 0.0,
        normalized_score: None,
        episodes: 1,
    };
    let card = Card {
        env: EnvId::POINT_MASS,
        algorithm: "by hand".to_owned(),
        seed,
        config: SacConfig {
            start_steps: 10,
            ..SacConfig::default()
        },
        trained_steps: 200,
        medium: level(100 + seed as usize),
        expert: level(200),
        replay: (1..=2 * REPLAY_SEGMENTS)
            .map(|i| Segment {
                step: 12 * i - 6,
                until: 12 * i,
            })
            .collect(),
    };
    card.write(folder).unwrap();
    let write = |name: &str, strength| {
        let path = Card::folder(folder, EnvId::POINT_MASS).join(format!("{name}.safetensors"));
        behavior::write(&spring(strength), EnvId::POINT_MASS, 0, &path).unwrap();
    };
    write("medium", 0.3);
    write("expert", 2.0);
    for i in 0..2 * REPLAY_SEGMENTS {
        write(&format!("replay-{i}"), 0.03 * i as f32);
    }
}

/// What the data card says of a file is what its reader does.
fn card_agrees(card: &Value, info: &Value, name: &str) {
    for fact in ["id", "origin", "rows", "episodes", "terminals", "timeouts"] {
        assert_eq!(card[fact], info[fact], "{name}: {fact}");
    }
    assert_eq!(card["returns"]["count"], info["complete_episodes"]);
    let close = |a: &Value, b: &Value, fact: &str| {
        let equal = match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-9,
            _ => a == b,
        };
        assert!(equal, "{name}: {fact}: {a} {b}");
    };
    for fact in ["mean", "std", "min", "max"] {
        close(&card["returns"][fact], &info["returns"][fact], fact);
    }
    close(&card["lengths"]["mean"], &info["mean_length"], "length");
    close(
        &card["normalized_score"],
        &info["normalized_score"],
        "score",
    );
}

/// The recorder of antmaze does not stop at the goal: many rows are terminal, and an episode
/// is paid for one of them.
#[test]
fn the_card_of_a_recording_that_goes_on_past_terminals_is_right() {
    let folder = Folder::new();
    let behavior = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/behavior");
    let line = format!(
        "data generate --task antmaze-umaze --rows 2100 --behavior {behavior} --out data.hdf5"
    );
    // By the ant that is committed.
    let mut command = folder.command(&line);
    command.env_remove("SPAR_UPSTREAM_DIR");
    crate::support::Done::of(&mut command).ok();
    let card: Value = serde_json::from_slice(&folder.read("data.json")).unwrap();
    let info = folder
        .spar("data info data.hdf5 --env antmaze-umaze --json")
        .json();
    card_agrees(&card, &info, "antmaze");
    assert!(card["terminals"].as_u64().unwrap() > 2, "{card}");
    assert_eq!(
        (&card["episodes"], &card["timeouts"]),
        (&3.into(), &2.into())
    );
    let mean = card["returns"]["mean"].as_f64().unwrap();
    assert!(mean > 0.0 && mean <= 1.0, "{card}");
    assert_eq!(card["behavior"][0]["mean_return"], card["returns"]["mean"]);
}

const PREPARE: &str = "data prepare --data local --behavior behavior --local local --json";

#[test]
fn local_data_are_generated_once_and_labelled() {
    let folder = Folder::new();
    write_behavior(&folder.path("behavior"), 0);
    for (level, rows) in [
        ("random", 500..501),
        ("medium", 500..501),
        ("medium-replay", 151..250),
        ("full-replay", 500..600),
        ("medium-expert", 1000..1001),
        ("expert", 500..501),
    ] {
        let line = format!("{PREPARE} --task pointmass-{level} --rows 500");
        let mut made = folder.spar(&line).json();
        assert!(made["effort"]["rows_per_second"].as_f64().unwrap() > 0.0);
        made.as_object_mut().unwrap().remove("effort");
        let file = format!("local/500/pointmass-{level}-local.hdf5");
        assert_eq!(made["file"], file);
        assert_eq!(made["id"], format!("pointmass-{level}-local"));
        assert_eq!(made["origin"], "local");
        // Episodes of the replay buffer's stand-in are not cut.
        let got = made["rows"].as_u64().unwrap();
        assert!(rows.contains(&got), "{made}");
        assert_eq!(made["sha256"], spar_core::sha256_hex(&folder.read(&file)));

        let time = fs::metadata(folder.path(&file))
            .unwrap()
            .modified()
            .unwrap();
        let again = folder.spar(&line);
        assert_eq!(again.err, "");
        assert_eq!(again.json(), made);
        assert_eq!(
            fs::metadata(folder.path(&file))
                .unwrap()
                .modified()
                .unwrap(),
            time
        );

        let found = folder
            .spar(&format!("data verify {file} --env pointmass --json"))
            .json();
        assert_eq!(found["ok"], true, "{found}");
        let card: Value =
            serde_json::from_slice(&folder.read(&file.replace(".hdf5", ".json"))).unwrap();
        assert_eq!(card["sha256"], made["sha256"]);
        assert_eq!(card["policies"]["algorithm"], "by hand");
        let info = folder
            .spar(&format!("data info {file} --env pointmass --json"))
            .json();
        card_agrees(&card, &info, level);
        let sum = |list: &str, of: &str| -> u64 {
            let list = card[list].as_array().unwrap();
            list.iter().map(|x| x[of].as_u64().unwrap()).sum()
        };
        assert_eq!(sum("histogram", "count"), info["complete_episodes"]);
        assert_eq!(sum("behavior", "rows"), made["rows"]);
        assert_eq!(sum("behavior", "episodes"), info["episodes"]);

        // The card's own command makes the same bytes, on any number of threads.
        let command = card["command"].as_str().unwrap();
        let command = command.replace(&file, "own.hdf5");
        let words = command.strip_prefix("spar ").unwrap();
        for threads in ["1", "3"] {
            let mut again = folder.command(&format!("{words} --json"));
            again.env("RAYON_NUM_THREADS", threads);
            let again = crate::support::Done::of(&mut again).json();
            assert_eq!(again["sha256"], made["sha256"], "{level}");
        }
    }
}

#[test]
fn replay_data_have_the_mixture_of_the_training() {
    let folder = Folder::new();
    write_behavior(&folder.path("behavior"), 0);
    for (level, steps, policies) in [("medium-replay", 100, 8), ("full-replay", 200, 16)] {
        let line = format!("{PREPARE} --task pointmass-{level} --rows 20000");
        folder.spar(&line).ok();
        let card = folder.read(&format!("local/20000/pointmass-{level}-local.json"));
        let card: Value = serde_json::from_slice(&card).unwrap();
        let behavior = card["behavior"].as_array().unwrap();
        assert_eq!(behavior.len(), 1 + policies);
        let total = card["rows"].as_f64().unwrap();
        let rows = |i: usize| behavior[i]["rows"].as_f64().unwrap();
        let horizon = EnvId::POINT_MASS.horizon() as f64;
        // 10 uniform steps, then stretches of 12; the first is cut short by them.
        let per_step = total / f64::from(steps);
        assert_eq!(behavior[0]["policy"], "uniform");
        assert!((rows(0) - 10.0 * per_step).abs() <= horizon);
        assert!((rows(1) - 2.0 * per_step).abs() <= horizon);
        for (i, part) in behavior.iter().enumerate().take(policies).skip(2) {
            assert_eq!(part["policy"], format!("replay-{}", i - 1));
            assert!((rows(i) - 12.0 * per_step).abs() <= horizon, "{i}");
        }
    }
}

#[test]
fn a_training_s_replay_buffer_is_data_to_train_on() {
    let folder = Folder::new();
    folder
        .spar("behavior train --env pointmass --steps 400 --start-steps 400 --num-envs 2 --snapshot-every 200 --out sac")
        .ok();
    let line = "behavior buffer --training sac --out weak.hdf5";
    let made: Value = serde_json::from_str(&folder.spar(line).ok()).unwrap();
    assert_eq!(made["rows"], 400);
    assert_eq!(made["origin"], "user");
    folder
        .spar(line)
        .fails(1, &["weak.hdf5", "is already there"]);
    folder
        .spar("train --dataset weak.hdf5 --env pointmass --method td3bc --updates 2 --out run")
        .ok();
}

#[test]
fn a_local_file_of_another_recipe_is_made_again_and_a_stranger_s_is_kept() {
    let folder = Folder::new();
    write_behavior(&folder.path("behavior"), 0);
    let line = format!("{PREPARE} --task pointmass-medium --rows 300");
    let file = "local/300/pointmass-medium-local.hdf5";
    let first = folder.spar(&line).json()["sha256"].clone();

    let seeded = folder.spar(&format!("{line} --seed 1"));
    assert!(
        seeded
            .err
            .contains("`spar_seed` is `0`, expected `1`; generating it again"),
        "{seeded:?}"
    );
    assert_ne!(seeded.json()["sha256"], first);

    write_behavior(&folder.path("behavior"), 1);
    let retrained = folder.spar(&format!("{line} --seed 1"));
    assert!(
        retrained.err.contains("`spar_policies` is"),
        "{retrained:?}"
    );
    write_behavior(&folder.path("behavior"), 0);

    let whole = folder.read(file);
    fs::write(folder.path(file), &whole[..whole.len() / 2]).unwrap();
    let mended = folder.spar(&line);
    assert!(mended.err.contains("truncated"), "{mended:?}");
    assert_eq!(mended.json()["sha256"], first);

    fs::remove_file(folder.path(&file.replace(".hdf5", ".json"))).unwrap();
    let carded = folder.spar(&line);
    assert!(carded.err.contains("its card"), "{carded:?}");
    assert_eq!(carded.json()["sha256"], first);

    folder.write_data(file);
    let theirs = folder.read(file);
    folder
        .spar(&line)
        .fails(1, &[file, "was not generated here", "move it"]);
    assert_eq!(folder.read(file), theirs);
}

#[test]
fn official_data_count_only_when_their_hash_does() {
    let folder = Folder::new();
    let official = spar_data::manifest::official("hopper-medium".parse().unwrap()).unwrap();
    let prepare = |choice: &str| {
        let line = format!("data prepare --task hopper-medium --rows 100 --data {choice} --json");
        let mut command = folder.command(&line);
        command
            .env("HOME", folder.path("home"))
            .env("D4RL_DATASET_DIR", folder.path("d4rl"));
        crate::support::Done::of(&mut command)
    };
    prepare("official").fails(
        1,
        &[
            &official.name,
            "d4rl",
            "`spar data fetch hopper-medium`",
            "--data local",
        ],
    );
    // Without behaviour policies there are no local ones either.
    prepare("auto").fails(
        1,
        &[
            "cannot generate data of hopper-medium",
            "datasets/behavior/hopper/card.json",
        ],
    );

    fs::create_dir(folder.path("d4rl")).unwrap();
    let file = fs::File::create(folder.path("d4rl").join(&official.name)).unwrap();
    file.set_len(official.bytes.unwrap()).unwrap();
    prepare("official").fails(1, &[&official.name, "not an HDF5 file"]);
    let auto = prepare("auto");
    assert!(
        auto.err.starts_with("note: ") && auto.err.contains("local data are used instead"),
        "{auto:?}"
    );
    prepare("best").fails(2, &["best"]);
}

#[test]
fn suite_runs_take_no_data_of_another_task() {
    let folder = Folder::new();
    folder.write_suite();
    write_behavior(&folder.path("behavior"), 0);
    let made = folder
        .spar(&format!(
            "{PREPARE} --task pointmass-medium-replay --rows 500"
        ))
        .json();
    let path = made["file"].as_str().unwrap();
    let line = |task: &str| {
        format!(
            "train --suite suite.toml --preset short --task {task} --method bc --seed 0 --dataset {path} --out run"
        )
    };
    folder.spar(&line("pointmass-medium")).fails(
        1,
        &[
            path,
            "pointmass-medium-replay-local",
            "expected data of pointmass-medium;",
        ],
    );
    assert!(!folder.exists("run"));
    folder.spar(&line("pointmass-medium-replay")).ok();
    let record: Value = serde_json::from_slice(&folder.read("run/DONE")).unwrap();
    assert_eq!(record["dataset"]["origin"], "local");
    // By itself, a run is named after its data's task.
    let line = format!(
        "train --dataset {path} --env pointmass --method bc --updates 3 --eval-episodes 1 --out own"
    );
    folder.spar(&line).ok();
    let record: Value = serde_json::from_slice(&folder.read("own/DONE")).unwrap();
    assert_eq!(record["task"], "pointmass-medium-replay");
}

#[test]
fn behaviour_policies_are_trained_with_their_curve() {
    let folder = Folder::new();
    let line = "behavior train --env pointmass --seed 0 --steps 400 --batch-size 8 --start-steps 40 --num-envs 2 --snapshot-every 200 --out sac";
    folder.spar(line).ok();
    assert_eq!(
        folder.files("sac"),
        [
            "sac/checkpoint.safetensors",
            "sac/curve.jsonl",
            "sac/snapshot-0000200.safetensors",
            "sac/snapshot-0000400.safetensors",
            "sac/training.json"
        ]
    );
    let shorter = "behavior train --env pointmass --seed 0 --steps 200 --batch-size 8 --start-steps 40 --num-envs 2 --snapshot-every 200 --out twice";
    folder.spar(shorter).ok();
    folder.spar(&line.replace("sac", "twice")).ok();
    for file in folder.files("sac") {
        assert_eq!(
            folder.read(&file),
            folder.read(&file.replace("sac", "twice")),
            "{file}"
        );
    }
    let multiple = "expected a positive multiple of";
    for (given, wrong, said) in [
        ("--num-envs 2", "--num-envs 0", "from 1 to 1024"),
        ("--num-envs 2", "--num-envs 1000000000000", "from 1 to 1024"),
        (
            "--batch-size 8",
            "--batch-size 1000000000000",
            "from 1 to 65536",
        ),
        ("--steps 400", "--steps 300", multiple),
    ] {
        folder
            .spar(&line.replace(given, wrong).replace("sac", "never"))
            .fails(1, &[said]);
        assert!(!folder.exists("never"));
    }
    folder.spar(&line.replace("--seed 0", "--seed 1")).fails(
        1,
        &["sac holds another training", "\"seed\":0", "\"seed\":1"],
    );

    let chosen = folder.spar("behavior select --training sac --out chosen");
    let chosen: Value = serde_json::from_str(&chosen.ok()).unwrap();
    assert!(chosen["medium"]["step"].as_u64() <= chosen["expert"]["step"].as_u64());
    let made = folder
        .spar("data generate --task pointmass-expert --rows 200 --behavior chosen --out e.hdf5 --json")
        .json();
    assert_eq!(made["rows"], 200);
}
