#![allow(clippy::unwrap_used)]

use super::*;

const DEFAULTS: &str = include_str!("../../../suites/mujoco.toml");

#[test]
fn the_defaults_are_those_of_the_suite() {
    let suite: spar_core::Suite = toml::from_str(DEFAULTS).unwrap();
    for method in Method::all() {
        let mut table = suite.train.clone();
        match (method, suite.method.get(method.name())) {
            (Method::Spar, Some(own)) => table.extend(own.settings.clone()),
            (_, Some(own)) => drop(table.insert("method".to_owned(), own.settings.clone().into())),
            (_, None) => {}
        }
        if method == Method::Spar {
            // Nothing of SPAR's is left to a default that the file does not show.
            let of_suite = TrainConfig::from_table(table.clone()).unwrap();
            assert_eq!(TrainConfig::default(), of_suite);
        }
        let of_suite = TrainConfig::for_method(table, method).unwrap();
        assert_eq!(TrainConfig::defaults_of(method).unwrap(), of_suite);
    }
}

#[test]
fn a_suite_gives_spar_only_what_differs_from_its_defaults() {
    let suite: spar_core::Suite = toml::from_str(DEFAULTS).unwrap();
    let mut table = suite.train;
    let own = "critic.expectile = 0.9\nrectify.w_fit = 1.0";
    table.extend(toml::from_str::<toml::Table>(own).unwrap());
    let config = TrainConfig::for_method(table.clone(), Method::Spar).unwrap();
    let mut expected = TrainConfig::default();
    expected.critic.expectile = 0.9;
    expected.rectify.w_fit = 1.0;
    assert_eq!(config, expected);
    table.insert("critic".to_owned(), 3.into());
    let error = TrainConfig::for_method(table, Method::Spar).unwrap_err();
    assert!(error.to_string().contains("critic"), "{error}");
}

#[test]
fn changes_reach_the_method_and_the_loop_by_their_names() {
    let change = |key: &str, value: &str| {
        let value: toml::Table = toml::from_str(&format!("value = {value}")).unwrap();
        (key.to_owned(), value["value"].clone())
    };
    let with = |name: &str, changes: &[(String, toml::Value)]| {
        let method: Method = name.parse().unwrap();
        TrainConfig::defaults_of(method)
            .unwrap()
            .with(method, changes)
    };
    let spar = with(
        "spar",
        &[
            change("critic.expectile", "0.9"),
            change("updates", "7"),
            change("data.hubl", "{ alpha = 0.1, blend = \"rank\" }"),
        ],
    );
    let spar = spar.unwrap();
    assert_eq!((spar.critic.expectile, spar.updates), (0.9, 7));
    assert!(spar.data.hubl.is_some() && spar.critic.tau == 0.005);
    let iql = with("iql", &[change("expectile", "0.9"), change("updates", "7")]).unwrap();
    let own = iql.method.unwrap();
    assert_eq!((own["expectile"].as_float(), iql.updates), (Some(0.9), 7));
    for (method, key, value, fact) in [
        ("spar", "critic.expektile", "0.9", "expektile"),
        ("spar", "critic.expectile", "2.0", "`critic.expectile` is 2"),
        ("iql", "rectify.rho", "1.0", "rectify"),
        ("iql", "batch_size", "1", "batch_size"),
        ("td3bc", "alpha", "\"much\"", "alpha"),
    ] {
        let error = with(method, &[change(key, value)]).unwrap_err().to_string();
        assert!(error.contains(fact) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn every_preset_and_task_of_the_suite_configures_a_run() {
    let suite: spar_core::Suite = toml::from_str(DEFAULTS).unwrap();
    for preset in suite.presets.keys() {
        for (task, method) in suite
            .tasks
            .iter()
            .flat_map(|task| Method::all().map(move |method| (task, method)))
        {
            let table = suite.run_settings(preset, &task.to_string(), method.name());
            TrainConfig::for_method(table.unwrap(), method).unwrap();
        }
    }
}

#[test]
fn every_variant_of_the_ablation_suite_configures_another_run() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../suites/ablation.toml");
    let suite = spar_core::Suite::load(path.as_ref()).unwrap();
    let mujoco: spar_core::Suite = toml::from_str(DEFAULTS).unwrap();
    assert!(suite.variant.len() > 8);
    for (preset, task) in suite
        .presets
        .keys()
        .flat_map(|preset| suite.tasks.iter().map(move |task| (preset, task)))
    {
        let settings = |suite: &spar_core::Suite, column: &str| {
            let table = suite.run_settings(preset, &task.to_string(), column);
            TrainConfig::for_method(table.unwrap(), Method::Spar).unwrap()
        };
        let spar = settings(&suite, "spar");
        assert_eq!(spar, settings(&mujoco, "spar"));
        for name in suite.variant.keys() {
            // SPAR has no penalty on halfcheetah as it is.
            let as_it_is = name == "no-penalty" && task.env() == spar_core::EnvId::HALF_CHEETAH;
            let same = settings(&suite, name) == spar;
            assert_eq!(same, as_it_is, "{name} of {preset}, {task}");
        }
    }
}

/// What xtask plans by, it cannot ask the registry for.
#[test]
fn the_suite_says_of_every_baseline_whether_it_is_anchored() {
    let suite: spar_core::Suite = toml::from_str(DEFAULTS).unwrap();
    for name in suite.method.keys() {
        let known: Method = name.parse().unwrap();
        assert_ne!(known, Method::Bc);
    }
    for entry in spar_baselines::METHODS {
        let own = suite.method.get(entry.name);
        let anchored = own.is_some_and(|own| own.anchored);
        assert_eq!(anchored, entry.anchored, "`anchored` of {}", entry.name);
    }
}

#[test]
fn wrong_values_are_named() {
    let table = |text: &str| {
        let suite: spar_core::Suite = toml::from_str(DEFAULTS).unwrap();
        let mut table = suite.train;
        table.extend(suite.method["spar"].settings.clone());
        for (key, value) in toml::from_str::<toml::Table>(text).unwrap() {
            match (table.get_mut(&key), value) {
                (Some(toml::Value::Table(below)), toml::Value::Table(above)) => {
                    below.extend(above);
                }
                (_, value) => drop(table.insert(key, value)),
            }
        }
        TrainConfig::from_table(table).unwrap_err().to_string()
    };
    for (text, named) in [
        ("batch_size = 0", "`batch_size` is 0"),
        ("batch_size = 1000000000", "from 1 to 65536"),
        ("batch_size = -1", "batch_size"),
        ("updates = 1000000000000", "from 0 to 10000000000"),
        ("eval_every = 0", "`eval_every` is 0"),
        ("eval_episodes = 1000000000000", "from 1 to 1000000"),
        ("checkpoint_every = 0", "`checkpoint_every` is 0"),
        ("anchor.updates = 1000000000000", "`anchor.updates` is"),
        ("anchor.hidden = [0]", "`anchor.hidden` is [0], expected"),
        (
            "critic.hidden = [256, 1000000000]",
            "`critic.hidden` is [256, 1000000000]",
        ),
        (
            "rectify.hidden = [16, 0, 16]",
            "`rectify.hidden` is [16, 0, 16]",
        ),
        (
            "anchor.hidden = [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]",
            "at most 16 layers",
        ),
        ("critic.n_critics = 1000000000000", "from 2 to 1000"),
        ("rectify.candidates = 1000000000000", "from 2 to 10000"),
        ("rectify.policy_freq = 0", "`rectify.policy_freq` is 0"),
        ("rectify.warmup = 1000000000000", "`rectify.warmup` is"),
        ("rectify.rho = 1e30", "at most 100"),
        ("rectify.sigma_z = 1e30", "at most 100"),
        (
            "batch_size = 65536\nrectify.candidates = 10000",
            "`batch_size` x `critic.hidden` x `rectify.candidates`",
        ),
        ("reward_range = -1.0", "`reward_range` is -1"),
        ("batchsize = 1", "batchsize"),
        ("updates = 'many'", "updates"),
        ("rectify.w_fit = -0.1", "`rectify.w_fit` is -0.1"),
        ("rectify.beta = nan", "`rectify.beta` is NaN"),
        ("critic.n_critics = 1", "`critic.n_critics` is 1"),
        ("critic.discount = 1.5", "`critic.discount` is 1.5"),
        ("critic.deviations = -1.0", "`critic.deviations` is -1"),
        ("critic.penalty = -1.0", "`critic.penalty` is -1"),
        (
            "critic.penalty_ratio = -0.5",
            "`critic.penalty_ratio` is -0.5",
        ),
        ("critic.form = 'mean'", "mean"),
        ("detached_precision = 'f16'", "f16"),
    ] {
        let message = table(text);
        assert!(
            message.contains(named) && !message.contains('\n'),
            "{message}"
        );
    }
}

/// With their sources' stages six methods never trained their policy within 100,000 updates.
#[test]
fn a_run_of_any_length_trains_its_policy() {
    for method in Method::all() {
        let source = TrainConfig::defaults_of(method).unwrap();
        for updates in [2, 40, 5_000, 100_000, 3_000_000] {
            let lasting = source.clone().lasting(method, updates);
            assert_eq!(lasting.unlearned(method), None, "{method:?} {updates}");
            lasting.check().unwrap();
        }
        let long = source.clone().lasting(method, 3_000_000);
        assert_eq!(long.method, source.method, "{method:?}");
    }
    let plas: Method = "plas".parse().unwrap();
    let source = TrainConfig::defaults_of(plas).unwrap();
    let why = source.unlearned(plas).unwrap();
    assert!(
        why.contains("`vae_updates` is 500000, of 100000 updates"),
        "{why}"
    );
    let half = source.lasting(plas, 100_000).method.unwrap();
    assert_eq!(half["vae_updates"].as_integer(), Some(50_000));
    let early = TrainConfig {
        updates: 5_000,
        ..TrainConfig::default()
    };
    let why = early.unlearned(Method::Spar).unwrap();
    assert!(why.contains("self-imitation never begins"), "{why}");
}
