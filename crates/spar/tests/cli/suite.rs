//! `spar suite run`: a table by the program itself, with what it finds in the working directory.

use std::fs;

use crate::support::prepared;

#[test]
fn what_a_suite_does_not_have_is_refused_before_anything_is_made() {
    let folder = prepared();
    fs::create_dir(folder.path("suites")).unwrap();
    fs::copy(folder.path("suite.toml"), folder.path("suites/mine.toml")).unwrap();
    let done = folder.spar("suite run --suite yours");
    done.fails(
        2,
        &[
            "unknown suite `yours`",
            "all, mine, theory",
            "looked for in ./suites",
        ],
    );
    let done = folder.spar("suite run --suite mine --preset short --methods sparr --out runs");
    done.fails(2, &["`sparr`", "bc, spar"]);
    let done = folder.spar("suite run --suite mine --preset shrot --out runs");
    done.fails(2, &["`shrot`"]);
    assert!(!folder.exists("runs"));
}

/// Some took a name, some a file.
#[test]
fn every_suite_option_takes_a_name_or_a_file() {
    let folder = prepared();
    let suite = String::from_utf8(folder.read("suite.toml")).unwrap();
    let suite = suite.replace("\"pointmass-medium\", ", "\"rail-logs\", ")
        + "[define.rail-logs]\nenv = \"pointmass\"\n";
    let lines = |suite: &str| {
        [
            format!(
                "train --suite {suite} --preset short --task rail-logs --method bc \
                 --dataset data.hdf5 --out runs/rail-logs/bc/seed-0"
            ),
            format!(
                "report --suite {suite} --preset short --runs runs --out report --tasks rail-logs \
                 --methods bc --seeds 0"
            ),
            format!("report bands --suite {suite} --preset short --runs runs"),
            format!("report plot --suite {suite} --preset short --runs runs --out curves.svg"),
            format!("data prepare --suite={suite} --task rail-logs --rows 500 --dataset data.hdf5"),
            format!("protocol {suite} --settings short --methods bc"),
        ]
    };
    // Outside a clone there is nothing to look in.
    for line in lines("mine").into_iter().chain([
        "suite run --suite mine".to_owned(),
        "data fetch --list --suite mine".to_owned(),
    ]) {
        let line = line.replace("rail-logs", "pointmass-medium");
        let facts = [
            "unknown suite `mine`",
            "./suites, and there is no such folder",
        ];
        folder.spar(&line).fails(2, &facts);
    }
    fs::create_dir(folder.path("suites")).unwrap();
    fs::write(folder.path("suites/mine.toml"), &suite).unwrap();
    for suite in ["mine", "suites/mine.toml"] {
        for line in lines(suite) {
            let done = folder.spar(&line);
            assert_eq!(done.code, Some(0), "{line}: {done:?}");
        }
        // The manifest has no file of these tasks.
        folder
            .spar(&format!("data fetch --list --suite {suite}"))
            .fails(2, &["the manifest has no file of rail-logs"]);
    }
}

/// Found when the table was to be made of them, after hours; or told without a place.
#[test]
fn a_suite_that_no_table_can_be_made_of_is_refused_with_its_place_and_leaves_nothing() {
    let folder = prepared();
    let suite = String::from_utf8(folder.read("suite.toml")).unwrap();
    let run = "suite run --suite bad.toml --preset short --out runs";
    let bad = |from: &str, to: &str| {
        let text = suite.replacen(from, to, 1);
        fs::write(folder.path("bad.toml"), text).unwrap();
        folder.spar(run)
    };
    for (from, to, facts) in [
        (
            "seeds = [0]",
            "seeds = [0, 0]",
            ["`presets.short.seeds`", "`0` twice"],
        ),
        (
            "seeds = [0]",
            "seeds = []",
            ["`presets.short.seeds`", "is empty"],
        ),
        (
            "methods = [\"bc\", \"spar\"]",
            "methods = [\"bc\", \"spar\", \"bc\"]",
            ["`methods`", "`bc` twice"],
        ),
        (
            "[\"pointmass-medium\", ",
            "[\"pointmass-medium\", \"pointmass-medium\", ",
            ["`tasks`", "`pointmass-medium` twice"],
        ),
        (
            "batch_size = 32",
            "batchsize = 32",
            [
                "pointmass-medium, method bc: hyper-parameters",
                "`batchsize`",
            ],
        ),
    ] {
        let done = bad(from, to);
        assert!(!done.err.contains("exit status"), "{done:?}");
        assert!(done.err.contains("bad.toml"), "{done:?}");
        done.fails(1, &facts);
        assert!(!folder.exists("runs"), "{to}");
    }
    let variant = format!("{suite}[variant.v1]\nabout = 'v'\nrectify.wfit = 1.0\n");
    fs::write(folder.path("bad.toml"), variant).unwrap();
    folder
        .spar(&format!("{run} --methods bc,v1"))
        .fails(1, &["bad.toml, pointmass-medium, variant v1", "`wfit`"]);
    assert!(!folder.exists("runs"));
}

#[test]
fn a_task_without_data_is_a_failure_of_its_own_and_says_so() {
    let folder = prepared();
    let done = folder.spar(
        "suite run --suite suite.toml --preset short --tasks pointmass-medium --out runs --data official",
    );
    assert_eq!(done.code, Some(1), "{done:?}");
    for said in [
        "D4RL has no data of pointmass-medium",
        "pointmass-medium/bc/seed-0: it has no data",
        "pointmass-medium/spar/seed-0: it has no data",
        "no run is finished",
    ] {
        assert!(done.err.contains(said), "no `{said}` in {done:?}");
    }
    assert!(!folder.exists("runs/pointmass-medium") && !folder.exists("runs/report"));
    assert!(!done.err.contains("results.json"), "{done:?}");
}

/// A point mass has no reference returns, so that there is no table; the runs are made.
#[test]
fn a_task_of_the_suites_own_is_trained_on_the_file_named_for_it() {
    let folder = prepared();
    let suite = String::from_utf8(folder.read("suite.toml")).unwrap();
    let suite = suite.replace("\"pointmass-medium\", ", "\"rail-logs\", ")
        + "[define.rail-logs]\nenv = \"pointmass\"\n";
    fs::write(folder.path("own.toml"), suite).unwrap();
    let run = "suite run --suite own.toml --preset short --tasks rail-logs --methods bc --out runs";
    let done = folder.spar(&format!("{run} --dataset rail-logs=data.hdf5"));
    assert!(done.err.contains("1 runs: 0 are done, 1 to do"), "{done:?}");
    assert!(folder.exists("runs/rail-logs/bc/seed-0/DONE"), "{done:?}");
    let done = folder.spar(&format!("{run} --dataset rail-logs=data.hdf5"));
    assert!(done.err.contains("1 runs: 1 are done, 0 to do"), "{done:?}");

    for (given, fact) in [
        ("data.hdf5", "expected TASK=FILE"),
        ("logs=data.hdf5", "expected one of: rail-logs"),
        (
            "rail-logs=a --dataset rail-logs=b",
            "two files of rail-logs",
        ),
    ] {
        folder
            .spar(&format!("{run} --dataset {given}"))
            .fails(2, &[fact]);
    }
}

#[test]
fn all_is_one_table_after_another_of_d4rls() {
    let folder = prepared();
    let done = folder.spar("suite run --suite all --preset short");
    done.fails(2, &["none of the suites mujoco, ant, maze2d"]);
    fs::create_dir(folder.path("suites")).unwrap();
    let suite = String::from_utf8(folder.read("suite.toml")).unwrap();
    for name in ["ant", "kitchen"] {
        let own = suite.replacen("name = \"", &format!("name = \"{name}-"), 1);
        fs::write(folder.path(&format!("suites/{name}.toml")), own).unwrap();
    }
    let done = folder.spar("suite run --suite all --preset short --tasks hopper-medium");
    done.fails(2, &["leave out --tasks"]);
    // The first one's failures do not keep the second from being made.
    let done = folder.spar("suite run --suite all --preset short --data official");
    assert_eq!(done.code, Some(1), "{done:?}");
    let said = |what: &str| done.err.matches(what).count() + done.out.matches(what).count();
    assert_eq!(
        (said("suite ant"), said("suite kitchen")),
        (1, 1),
        "{done:?}"
    );
    assert!(
        said("D4RL has no data of pointmass-medium") >= 2,
        "{done:?}"
    );
}

const LOGS: &str = "[define.rail-logs]\nenv = \"pointmass\"\n";

/// A clone that samples is made first, in the run's own folder, and is then the anchor.
#[test]
fn a_variant_stands_on_another_methods_policy_or_on_a_file() {
    let folder = prepared();
    let suite = String::from_utf8(folder.read("suite.toml")).unwrap();
    let suite = suite.replace("\"pointmass-medium\", ", "\"rail-logs\", ") + LOGS;
    let variants = "[method.bc-flow]\nhidden = [16, 16]\n\
                    [variant.on-flow]\nabout = \"flow\"\nanchor = { method = \"bc-flow\" }\n\
                    [variant.on-file]\nabout = \"file\"\nanchor = { file = \"base.onnx\" }\n";
    fs::write(folder.path("own.toml"), format!("{suite}{variants}")).unwrap();
    let run = |methods: &str| {
        folder.spar(&format!(
            "suite run --suite own.toml --preset short --tasks rail-logs --methods {methods} \
             --out runs --dataset rail-logs=data.hdf5"
        ))
    };
    // What the other variant stands on has to be there: settings are asked of all.
    let record = |place: &str| -> serde_json::Value {
        serde_json::from_slice(&folder.read(&format!("{place}/DONE"))).unwrap()
    };
    let done = run("bc,on-flow");
    assert!(done.err.contains("2 runs: 0 are done, 2 to do"), "{done:?}");
    let base = "runs/rail-logs/on-flow/seed-0/anchor";
    assert_eq!(record(base)["method"], "bc-flow", "{done:?}");
    assert_eq!(record("runs/rail-logs/on-flow/seed-0")["method"], "on-flow");
    let again = run("bc,on-flow");
    assert!(
        again.err.contains("2 runs: 2 are done, 0 to do"),
        "{again:?}"
    );

    folder
        .spar("export --policy runs/rail-logs/bc/seed-0 --onnx base.onnx")
        .ok();
    let done = run("on-file");
    assert!(done.err.contains("1 runs: 0 are done, 1 to do"), "{done:?}");
    let place = "runs/rail-logs/on-file/seed-0";
    assert_eq!(record(place)["anchor_updates"], 0, "{done:?}");
    let again = run("on-file");
    assert!(
        again.err.contains("1 runs: 1 are done, 0 to do"),
        "{again:?}"
    );
    // Another policy under the same name makes another run.
    fs::copy(
        folder.path("runs/rail-logs/bc/seed-0/policy.safetensors"),
        folder.path("base.onnx"),
    )
    .unwrap();
    let other = run("on-file");
    assert!(other.err.contains("anchor.sha256"), "{other:?}");

    // Settings of what a run stands on count as its own.
    let changed = variants.replace("[16, 16]", "[16, 8]");
    fs::write(folder.path("own.toml"), format!("{suite}{changed}")).unwrap();
    let other = run("on-flow");
    assert!(
        other.err.contains("1 runs: 0 are done, 1 to do") && other.err.contains("hidden"),
        "{other:?}"
    );
}

#[test]
fn one_command_trains_a_clone_and_spar_on_it() {
    let folder = prepared();
    let train = |set: &str, out: &str| {
        folder.spar(&format!(
            "train --dataset data.hdf5 --env pointmass --method spar --updates 20 --warmup 5 \
             --batch-size 16 --eval-episodes 1 --set {set} --out {out} --json"
        ))
    };
    train("anchor.method=\"bc-flow\"", "run").json();
    let of =
        |name: &str| -> serde_json::Value { serde_json::from_slice(&folder.read(name)).unwrap() };
    assert_eq!(of("run/anchor/DONE")["method"], "bc-flow");
    let anchor = &of("run/spec.json")["config"]["anchor"];
    assert_eq!(
        (&anchor["method"], &anchor["draws"]),
        (&"bc-flow".into(), &2.into())
    );
    assert_eq!(anchor["sha256"].as_str().unwrap().len(), 64);
    // Resumed, or asked again, nothing is made anew.
    let before = folder.read("run/anchor/policy.safetensors");
    train("anchor.method=\"bc-flow\"", "run").json();
    assert_eq!(folder.read("run/anchor/policy.safetensors"), before);
    let measured = train("anchor.method=\"bc-flow\" --calibrate", "other").json();
    assert!(measured["updates_per_s"].as_f64().unwrap() > 0.0);
    for wrong in ["anchor.method=\"spar\"", "anchor.method=\"sparr\""] {
        let facts = ["anchor.method", "expected a method other than spar"];
        train(wrong, "other").fails(2, &facts);
    }
    assert!(!folder.exists("other"));
}
