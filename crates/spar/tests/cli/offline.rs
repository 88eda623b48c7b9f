//! Training without an environment: on logs of a machine there is nothing to play.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use spar_core::Stream;
use spar_data::{MetaValue, Row, Writer};

use crate::support::{Done, Folder};

/// Logs of an arm: nine observations, two actions of `scale`, `episodes` of 20 steps.
fn write_arm(path: &Path, episodes: usize, scale: f32, metadata: &BTreeMap<String, MetaValue>) {
    let mut writer = Writer::create(path, 9, 2, 1, 1, metadata).unwrap();
    let mut stream = Stream::new(5, "arm");
    for _ in 0..episodes {
        let mut state = [0f32; 9];
        stream.fill_normal(1.0, &mut state);
        for step in 1..=20 {
            let mut next = [0f32; 9];
            stream.fill_normal(0.3, &mut next);
            next.iter_mut().zip(state).for_each(|(n, s)| *n += 0.9 * s);
            let action = [
                scale * state[0].tanh(),
                scale * (state[1] - state[2]).tanh(),
            ];
            let row = Row {
                obs: &state,
                action: &action,
                reward: -state[0].abs(),
                terminal: false,
                timeout: step == 20,
                next_obs: &next,
                qpos: &[0.0],
                qvel: &[0.0],
            };
            writer.push(&row).unwrap();
            state = next;
        }
    }
    writer.finish().unwrap();
}

fn arm(episodes: usize, scale: f32) -> Folder {
    let folder = Folder::new();
    write_arm(&folder.path("arm.hdf5"), episodes, scale, &BTreeMap::new());
    folder
}

fn train(folder: &Folder, method: &str, out: &str, more: &str) -> Done {
    folder.spar(&format!(
        "train --dataset arm.hdf5 --method {method} --updates 30 --batch-size 16 --out {out} {more}"
    ))
}

fn json_of(folder: &Folder, name: &str) -> Value {
    serde_json::from_slice(&folder.read(name)).unwrap()
}

/// No key of `value`, however deep, speaks of what only an environment gives, but to say
/// that there is none.
fn holds_no_score(value: &Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if key == "env" && value.is_null() {
                    continue;
                }
                for word in ["return", "score", "env"] {
                    assert!(!key.contains(word), "`{key}`");
                }
                holds_no_score(value);
            }
        }
        Value::Array(values) => values.iter().for_each(holds_no_score),
        _ => {}
    }
}

#[test]
fn logs_without_a_simulator_are_trained_on_reported_and_compared() {
    let folder = arm(10, 0.8);
    let done = train(&folder, "iql", "runs/iql-0", "--json");
    assert!(
        done.err
            .contains("held out of training: 1 of 10 episodes (20 rows)"),
        "{done:?}"
    );
    let ended = done.json();
    holds_no_score(&ended);
    assert_eq!(
        (&ended["held_out_episodes"], &ended["held_out_rows"]),
        (&1.into(), &20.into())
    );
    let record = json_of(&folder, "runs/iql-0/DONE");
    holds_no_score(&record);
    assert_eq!(record["validation"]["mse"], ended["validation_mse"]);
    let spec = json_of(&folder, "runs/iql-0/spec.json");
    assert_eq!(spec["offline"]["held_out"], 0.1);
    assert_eq!(
        spec["offline"]["action_bounds"],
        serde_json::json!([[-1.0, 1.0], [-1.0, 1.0]])
    );
    for absent in ["eval.csv", "returns.csv"] {
        assert!(!folder.exists(&format!("runs/iql-0/{absent}")), "{absent}");
    }
    let held = String::from_utf8(folder.read("runs/iql-0/held_out.csv")).unwrap();
    assert!(
        held.starts_with("episode,first_row,rows,validation_mse\n"),
        "{held}"
    );

    train(&folder, "iql", "runs/iql-1", "--seed 1").ok();
    train(&folder, "bc", "runs/deep/bc", "").ok();
    let table = folder.spar("report --runs runs --out report").ok();
    assert!(
        table.contains("arm IQL") && table.contains(" ± "),
        "{table}"
    );
    assert!(table.contains("no score without an environment"), "{table}");
    let report = json_of(&folder, "report/results.json");
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    let iql = rows.iter().find(|row| row["method"] == "iql").unwrap();
    assert_eq!(iql["seeds"], serde_json::json!([0, 1]));
    let errors: Vec<f64> = serde_json::from_value(iql["validation_mse"].clone()).unwrap();
    assert_eq!(iql["mean"].as_f64().unwrap(), (errors[0] + errors[1]) / 2.0);
    assert_eq!(Value::from(errors[0]), ended["validation_mse"]);
    for value in rows {
        holds_no_score(value);
    }
    let markdown = String::from_utf8(folder.read("report/table.md")).unwrap();
    assert!(
        markdown.contains("± ") && !markdown.contains("0.0 |"),
        "{markdown}"
    );

    // One run against another of another method, and folders of runs.
    let versus = folder
        .spar("report compare runs/deep/bc runs/iql-0 --json")
        .json();
    let row = &versus["rows"][0];
    assert_eq!(
        (&row["method_a"], &row["method_b"]),
        (&"bc".into(), &"iql".into())
    );
    assert_eq!(row["b"], ended["validation_mse"]);
    assert!(
        row.get("difference").is_none(),
        "one seed has no interval: {row}"
    );
    let versus = folder.spar("report compare runs runs --json").json();
    let iql = versus["rows"].as_array().unwrap();
    let iql = iql.iter().find(|row| row["method_a"] == "iql").unwrap();
    assert_eq!(
        (&iql["seeds"], &iql["difference"]["value"]),
        (&2.into(), &0.0.into())
    );
}

/// The layout of docs/data.md: a folder a method, a folder a seed in it.
#[test]
fn two_methods_are_compared_seed_by_seed() {
    let folder = arm(10, 0.8);
    for method in ["bc", "iql"] {
        for seed in 0..2 {
            let out = format!("robot/{method}/seed-{seed}");
            train(&folder, method, &out, &format!("--seed {seed}")).ok();
        }
    }
    let text = folder.spar("report compare robot/bc robot/iql").ok();
    for fact in [
        "arm BC, IQL",
        "note: different methods: A BC, B IQL in every row",
    ] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    let found = folder
        .spar("report compare robot/bc robot/iql --json")
        .json();
    let row = &found["rows"][0];
    assert_eq!(
        (&row["method_a"], &row["method_b"], &row["seeds"]),
        (&"bc".into(), &"iql".into(), &2.into())
    );
    assert!(row["difference"]["interval"].is_object(), "{row}");
    // What has no counterpart is left out, and nothing is made of two methods on one side.
    fs::remove_dir_all(folder.path("robot/iql/seed-1")).unwrap();
    let text = folder.spar("report compare robot/bc robot/iql").ok();
    assert!(text.contains("left out, only in A: 1 runs"), "{text}");
    fs::create_dir(folder.path("one")).unwrap();
    fs::rename(folder.path("robot/bc/seed-1"), folder.path("one/seed-1")).unwrap();
    folder.spar("report compare one robot").fails(
        1,
        &[
            "share no finished run",
            "each folder holds one method alone",
        ],
    );
}

/// Two files of one name gave two rows of one name.
#[test]
fn data_of_one_name_are_told_apart() {
    let folder = Folder::new();
    for (name, scale) in [("a", 0.8), ("b", 0.5)] {
        fs::create_dir(folder.path(name)).unwrap();
        write_arm(
            &folder.path(name).join("arm.hdf5"),
            6,
            scale,
            &BTreeMap::new(),
        );
        let line = format!(
            "train --dataset {name}/arm.hdf5 --method bc --updates 20 --batch-size 16 \
             --out runs/{name}"
        );
        folder.spar(&line).ok();
    }
    let text = folder.spar("report --runs runs --out report").ok();
    let curves = String::from_utf8(folder.read("report/curves.csv")).unwrap();
    for name in ["a", "b"] {
        let sha256 = json_of(&folder, &format!("runs/{name}/DONE"))["dataset"]["sha256"].clone();
        let called = format!("arm ({})", &sha256.as_str().unwrap()[..8]);
        assert!(text.contains(&format!("{called} BC")), "{called}: {text}");
        assert!(
            curves.contains(&format!("\n{called},bc,0,")),
            "{called}: {curves}"
        );
    }
    let versus = folder.spar("report compare runs runs").ok();
    assert_eq!(versus.matches("arm (").count(), 2, "{versus}");
    // Alone, each has its name alone.
    fs::remove_dir_all(folder.path("runs/b")).unwrap();
    let text = folder.spar("report --runs runs --out report").ok();
    assert!(text.contains("arm BC") && !text.contains("arm ("), "{text}");
}

#[test]
fn seeds_of_other_held_out_episodes_or_settings_are_not_averaged() {
    let folder = arm(10, 0.8);
    train(&folder, "bc", "runs/a", "").ok();
    train(&folder, "bc", "runs/b", "--seed 1 --eval-seed 7").ok();
    let report = "report --runs runs --out report";
    folder
        .spar(report)
        .fails(1, &["hold out other episodes", "seed 42", "seed 7"]);
    fs::remove_dir_all(folder.path("runs/b")).unwrap();
    folder
        .spar("train --dataset arm.hdf5 --method bc --updates 31 --batch-size 16 --seed 1 --out runs/b")
        .ok();
    folder
        .spar(report)
        .fails(1, &["refusing to average", "updates"]);
    fs::remove_dir_all(folder.path("runs/b")).unwrap();
    train(&folder, "bc", "runs/b", "").ok();
    folder.spar(report).fails(1, &["two runs of seed 0"]);
    // Scores and errors are not compared, and nothing is made up where there is nothing.
    folder.write_data("data.hdf5");
    folder
        .spar("train --dataset data.hdf5 --env pointmass --method bc --updates 5 --out played")
        .ok();
    folder
        .spar("report compare runs/a played")
        .fails(1, &["cannot be compared with scores"]);
    folder
        .spar("report --runs played --out report")
        .fails(1, &["without an environment"]);
}

#[test]
fn a_policy_without_an_environment_needs_one_to_be_evaluated() {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    let line = "train --dataset data.hdf5 --method bc --updates 20 --out run";
    folder.spar(line).ok();
    folder
        .spar("eval --policy run")
        .fails(2, &["without an environment", "--env"]);
    folder
        .spar("eval --policy run --env pointmass --episodes 2")
        .ok();
    folder
        .spar("eval --policy run --env hopper")
        .fails(1, &["policy maps 2 observations"]);
    // One that has an environment says which.
    folder
        .spar("train --dataset data.hdf5 --env pointmass --method bc --updates 20 --out own")
        .ok();
    let played = |line: &str| folder.spar(line).json();
    let named = played("eval --policy own --env pointmass --episodes 2 --json");
    assert_eq!(played("eval --policy own --episodes 2 --json"), named);
}

#[test]
fn a_policy_acts_in_the_units_of_its_data() {
    let folder = arm(10, 40.0);
    let done = train(&folder, "bc", "run", "");
    assert!(done.err.contains("their own range is taken"), "{done:?}");
    assert!(!done.err.contains("scale them to the bounds"), "{done:?}");
    done.ok();
    let policy = spar_policy::Policy::load(folder.path("run/policy.safetensors")).unwrap();
    let mut actions = [0f32; 2];
    let mut largest = 0f32;
    for i in 0..50 {
        policy.act(&[i as f32 / 5.0 - 5.0; 9], &mut actions);
        largest = actions.iter().fold(largest, |most, a| most.max(a.abs()));
    }
    assert!(largest > 2.0 && largest <= 40.0, "{largest}");
    // Other bounds, for each component or for all.
    let spec = |out: &str| {
        json_of(&folder, &format!("{out}/spec.json"))["offline"]["action_bounds"].clone()
    };
    train(&folder, "bc", "both", "--action-bounds -50,50").ok();
    assert_eq!(
        spec("both"),
        serde_json::json!([[-50.0, 50.0], [-50.0, 50.0]])
    );
    train(&folder, "bc", "each", "--action-bounds -50,50,-60,40").ok();
    assert_eq!(
        spec("each"),
        serde_json::json!([[-50.0, 50.0], [-60.0, 40.0]])
    );
    for (bounds, fact) in [
        ("1,2,3", "expected 2, or 4"),
        ("5,-5", "not below the first"),
    ] {
        let more = format!("--action-bounds {bounds}");
        let done = train(&folder, "bc", "wrong", &more);
        assert!(done.err.contains(fact) && done.code == Some(2), "{done:?}");
    }
    folder
        .spar("eval --policy run --env hopper")
        .fails(1, &["policy maps 9 observations"]);
}

#[test]
fn bounds_that_the_data_declare_are_the_policy_s() {
    let folder = Folder::new();
    let text = |value: f64| MetaValue::Number(value);
    let metadata = [("action_low", -2.0), ("action_high", 3.0)];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), text(value)));
    write_arm(&folder.path("arm.hdf5"), 4, 1.5, &BTreeMap::from(metadata));
    train(&folder, "bc", "run", "").ok();
    let spec = json_of(&folder, "run/spec.json");
    assert_eq!(
        spec["offline"]["action_bounds"],
        serde_json::json!([[-2.0, 3.0], [-2.0, 3.0]])
    );
}

#[test]
fn one_episode_is_trained_on_and_not_validated() {
    let folder = arm(1, 0.8);
    let done = train(&folder, "bc", "runs/run", "--json");
    assert!(
        done.err.contains("one episode, so none is held out"),
        "{done:?}"
    );
    let ended = done.json();
    assert!(ended.get("validation_mse").is_none(), "{ended}");
    assert!(!folder.exists("runs/run/validation.csv"));
    assert!(
        json_of(&folder, "runs/run/DONE")
            .get("validation")
            .is_none()
    );
    let table = folder.spar("report --runs runs --out report").ok();
    assert!(
        table.contains("–") && table.contains("0 (0 rows)"),
        "{table}"
    );
}

#[test]
fn options_of_a_run_with_and_without_an_environment_exclude_each_other() {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    let line = "train --dataset data.hdf5 --method bc --updates 5 --out run";
    for (more, fact) in [
        (
            "--env pointmass --held-out 0.2",
            "--held-out is of runs without",
        ),
        (
            "--env pointmass --horizon 10",
            "--horizon is of runs without",
        ),
        (
            "--env pointmass --action-bounds -1,1",
            "--action-bounds is of runs without",
        ),
        ("--eval-episodes 3", "give --env"),
        ("--held-out 1", "from 0 to below 1"),
        ("--horizon 0", "0"),
    ] {
        folder.spar(&format!("{line} {more}")).fails(2, &[fact]);
    }
    assert!(!folder.exists("run"));
    let measured = folder.spar(&format!("{line} --calibrate")).json();
    assert!(measured["anchor_updates_per_s"].as_f64().unwrap() > 0.0);
    assert!(!folder.exists("run"));
}

#[test]
fn a_d4rl_id_is_looked_up_where_fetch_puts_it() {
    let folder = Folder::new();
    fs::create_dir(folder.path("cache")).unwrap();
    let line = "train --dataset hopper-medium-v2 --method bc --updates 5 --out run";
    let cache = folder.path("cache");
    let run = || {
        Done::of(
            folder
                .command(line)
                .env("D4RL_DATASET_DIR", &cache)
                .env("HOME", &cache),
        )
    };
    run().fails(
        1,
        &["hopper-medium-v2", "spar data fetch hopper-medium", "cache"],
    );
    // Found by name and length; what is not the file is said of the file.
    let task = "hopper-medium".parse().unwrap();
    let entry = spar_data::manifest::official(task).unwrap();
    let file = fs::File::create(cache.join(&entry.name)).unwrap();
    file.set_len(entry.bytes.unwrap()).unwrap();
    run().fails(1, &[&entry.name]);
    // A file of one's own of this name comes first.
    fs::write(folder.path("hopper-medium-v2"), "mine").unwrap();
    let done = run();
    assert!(
        !done.err.contains("data fetch") && !done.err.contains(&entry.name),
        "{done:?}"
    );
}
