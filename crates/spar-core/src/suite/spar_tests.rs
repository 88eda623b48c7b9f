//! SPAR's settings in suites of today and of before they had a table of their own.
#![allow(clippy::unwrap_used)]

use std::fs;

use super::{tests::LEAST, *};

/// A suite of SPAR and a variant of it, whose settings stand in the places `train`, `task`
/// and `preset` lead to.
fn of_spar(train: &str, task: &str, preset: &str) -> String {
    format!(
        "name = 's'\ntasks = ['hopper-medium']\nmethods = ['spar', 'x']\neval_seed = 1\n\
         [presets.p]\ndescription = ''\nseeds = [0]\neval_episodes = 1\ndata_rows = 1\n\
         {preset}.critic.tau = 0.02\n{preset}.rectify.beta = 2.0\n[train]\nupdates = 7\n\
         [{train}]\ncritic = {{ tau = 0.005, penalty = 1.0, penalty_ratio = 0.5 }}\nrectify.beta = 0.5\n\
         data.hubl.alpha = 0.1\ndetached_precision = 'f32'\n\
         [{task}]\ncritic.tau = 0.01\nrectify.w_fit = 3.0\n\
         [variant.x]\nabout = ''\nrectify.beta = 4.0\n"
    )
}

#[test]
fn settings_of_spar_in_train_are_read_as_those_of_its_method() {
    let dir = tempfile::tempdir().unwrap();
    let load = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        Suite::load(&path).map_err(|e| e.to_string())
    };
    let new = of_spar(
        "method.spar",
        "method.spar.task.hopper-medium",
        "method.spar",
    );
    let new = load("new.toml", &new).unwrap();
    let settings =
        |suite: &Suite, method: &str| suite.run_settings("p", "hopper-medium", method).unwrap();
    let common = "updates = 7\ndetached_precision = 'f32'\ndata.hubl.alpha = 0.1\n\
                  critic = { tau = 0.02, penalty = 1.0, penalty_ratio = 0.5 }\n";
    for (method, beta) in [("spar", "2.0"), ("x", "4.0")] {
        let expected = format!("{common}rectify = {{ beta = {beta}, w_fit = 3.0 }}");
        let expected: Table = toml::from_str(&expected).unwrap();
        assert_eq!(settings(&new, method), expected, "{method}");
    }
    assert_eq!(settings(&new, "bc"), toml::from_str("updates = 7").unwrap());
    let old = load(
        "old.toml",
        &of_spar("train", "task.hopper-medium", "train")
            .replace("[train]\nupdates = 7\n[train]", "[train]\nupdates = 7"),
    );
    let old = old.unwrap();
    for method in ["spar", "x", "bc"] {
        assert_eq!(settings(&old, method), settings(&new, method), "{method}");
    }
    // One over the other, in either order: the upper file's say.
    for (name, base, over) in [
        ("a.toml", "old", "[method.spar.critic]"),
        ("b.toml", "new", "[train.critic]"),
    ] {
        let text = format!(
            "name = 'over'\nextends = '{base}'\nmethods = ['spar']\n{over}\npenalty = 5.0\n"
        );
        let over = load(name, &text).unwrap();
        let critic: Table =
            toml::from_str("tau = 0.02\npenalty = 5.0\npenalty_ratio = 0.5").unwrap();
        assert_eq!(settings(&over, "spar")["critic"], critic.into(), "{name}");
    }
    // A file from before the penalty meant a critic without one.
    let before = load(
        "before.toml",
        &format!("name = 's'\nmethods = ['spar']\n{LEAST}[train.critic]\ntau = 0.1\n"),
    );
    let critic: Table = toml::from_str("tau = 0.1\npenalty = 0.0\npenalty_ratio = 0.0").unwrap();
    assert_eq!(settings(&before.unwrap(), "spar")["critic"], critic.into());
    for (more, named) in [
        (
            "[train.critic]\ntau = 0.1\n[method.spar.critic]\ntau = 0.1",
            "SPAR's `critic` stands in [train] and in [method.spar]; leave it in the latter",
        ),
        (
            "[method.spar]\nupdates = 3",
            "[method.spar] has `updates`, expected one of: critic, rectify",
        ),
        (
            "[method.spar.task.hopper-medium]\ntau = 3",
            "[method.spar.task.hopper-medium] has `tau`",
        ),
        (
            "[train.critic]\ntau = 0.1\n[method]\nspar = 3",
            "`spar` is 3, expected a table",
        ),
    ] {
        let text = format!("name = 's'\nmethods = ['spar']\n{LEAST}{more}\n");
        let error = load("wrong.toml", &text).unwrap_err();
        assert!(error.contains(named) && !error.contains('\n'), "{error}");
    }
}
