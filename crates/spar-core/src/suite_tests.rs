#![allow(clippy::unwrap_used)]

use std::fs;

use super::*;

#[test]
fn later_tables_lie_over_earlier_ones() {
    let suite: Suite = toml::from_str(
        r#"
        name = "s"
        tasks = ["hopper-medium"]
        methods = ["bc"]
        eval_seed = 1
        [presets.quick]
        description = "d"
        seeds = [0]
        eval_episodes = 2
        data_rows = 10
        train.batch_size = 64
        method.td3bc.data.batch_size = 64
        [train]
        batch_size = 256
        critic = { tau = 0.005, expectile = 0.7 }
        [task.hopper-medium]
        critic = { expectile = 0.9 }
        [method.td3bc]
        anchored = true
        alpha = 2.5
        lr = 0.1
        data.batch_size = 256
        [method.td3bc.task.hopper-medium]
        alpha = 1.0
        [variant.patient]
        about = "slower targets"
        critic.tau = 0.001
        "#,
    )
    .unwrap();
    let table = suite.hyper_parameters("quick", "hopper-medium").unwrap();
    let expected: Table =
        toml::from_str("batch_size = 64\ncritic = { tau = 0.005, expectile = 0.9 }").unwrap();
    assert_eq!(table, expected);
    let own = suite
        .run_settings("quick", "hopper-medium", "td3bc")
        .unwrap();
    let expected: Table = toml::from_str("alpha = 1.0\nlr = 0.1\ndata.batch_size = 64").unwrap();
    assert_eq!(own["method"], expected.into());
    let variant = suite
        .run_settings("quick", "hopper-medium", "patient")
        .unwrap();
    let expected: Table =
        toml::from_str("batch_size = 64\ncritic = { tau = 0.001, expectile = 0.9 }").unwrap();
    assert_eq!(variant, expected);
    let without = suite.run_settings("quick", "hopper-medium", "bc").unwrap();
    assert_eq!(without, table);
    assert_eq!(suite.all_methods(), ["bc", "td3bc", "patient"]);
    let owned = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let asked = |names: &[&str]| suite.asked_methods(&owned(names));
    assert_eq!(asked(&[]), suite.methods);
    assert_eq!(asked(&["all"]), suite.all_methods());
    assert_eq!(asked(&["patient", "bc"]), ["patient", "bc"]);
    assert!(suite.anchored("td3bc") && suite.anchored("patient") && !suite.anchored("bc"));
    let error = suite.hyper_parameters("slow", "x").unwrap_err().to_string();
    assert!(error.contains("slow") && error.contains("quick"), "{error}");
}

#[test]
fn a_suite_may_extend_another() {
    let dir = tempfile::tempdir().unwrap();
    let base = "name = 'base'\ntasks = ['hopper-medium', 'walker2d-medium']\n\
                methods = ['bc', 'iql']\neval_seed = 7\n\
                [train]\nupdates = 10\nrectify = { w_fit = 0.5, beta = 0.1 }\n\
                [task.walker2d-medium]\nupdates = 5\n[method.iql]\nlr = 1.0\n\
                task.walker2d-medium.lr = 3.0\n[presets.quick]\ndescription = 'd'\nseeds = [0]\n\
                eval_episodes = 2\ndata_rows = 10\nmethod.iql.lr = 2.0\n\
                [[bands]]\npreset = 'quick'\ndata = 'local'\nmethod = 'iql'\nbasis = ''\n\
                scores = {}\n";
    fs::write(dir.path().join("base.toml"), base).unwrap();
    let path = dir.path().join("more.toml");
    let load = |text: &str| {
        fs::write(&path, text).unwrap();
        Suite::load(&path).map_err(|e| e.to_string())
    };
    let suite = load(
        "name = 'more'\nextends = 'base'\ntasks = ['hopper-medium']\n\
         methods = ['spar', 'no-fit']\n[variant.no-fit]\nabout = 'without the fit'\n\
         rectify.w_fit = 0.0\n",
    )
    .unwrap();
    assert_eq!((suite.name.as_str(), suite.eval_seed), ("more", 7));
    assert_eq!(suite.all_methods(), ["spar", "no-fit"]);
    let table = suite
        .run_settings("quick", "hopper-medium", "no-fit")
        .unwrap();
    let expected: Table =
        toml::from_str("updates = 10\nrectify = { w_fit = 0.0, beta = 0.1 }").unwrap();
    assert_eq!(table, expected);
    let inheriting = |own: &str| {
        load(&format!(
            "name = 'more'\nextends = 'base'\ninherit_methods = true\n\
             tasks = ['hopper-medium']\nmethods = ['spar']\n{own}"
        ))
    };
    let suite = inheriting("").unwrap();
    assert_eq!(suite.all_methods(), ["spar", "iql"]);
    let (quick, of) = (&suite.presets["quick"], &suite.method["iql"]);
    assert_eq!(of.settings["lr"].as_float(), Some(1.0));
    assert_eq!(quick.method["iql"]["lr"].as_float(), Some(2.0));
    assert!(of.task.is_empty(), "its task is none of this suite's");
    let suite = inheriting("[method.iql]\nbeta = 3.0\n").unwrap();
    assert!(!suite.method["iql"].settings.contains_key("lr"));
    assert!(suite.presets["quick"].method.is_empty());
    let error = load("name = 'x'\nextends = 'base'\ninherit_methods = 'yes'\n").unwrap_err();
    assert!(error.contains("expected true or false"), "{error}");
    assert!(
        load("extends = 'nowhere'\n")
            .unwrap_err()
            .contains("nowhere.toml")
    );
    assert!(
        load("extends = 3\n")
            .unwrap_err()
            .contains("`extends` is 3")
    );
    let error = load("name = 'x'\nextends = 'base'\nmethod_s = 1\n").unwrap_err();
    assert!(
        error.contains("more.toml") && !error.contains('\n'),
        "{error}"
    );
}

pub(super) const LEAST: &str = "eval_seed = 1\ntasks = ['hopper-medium']\n[train]\nupdates = 10\n\
                     rewards = { range = 1000.0 }\n[presets.p]\ndescription = 'd'\nseeds = [0]\n\
                     eval_episodes = 2\ndata_rows = 10\n";

#[test]
fn a_chain_of_suites_is_laid_over_one_another_and_a_circle_refused() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    write("v1.toml", "name = 'wrong'\n");
    write(
        "v1.2.toml",
        &format!("name = 'v1.2'\nmethods = ['bc']\n{LEAST}"),
    );
    write(
        "between.toml",
        "name = 'between'\nextends = 'v1.2'\nmethods = ['bc', 'x']\ntrain.updates = 20\n\
         train.batch_size = 3\n[variant.x]\nabout = ''\n",
    );
    let last = write(
        "last.toml",
        "name = 'last'\nextends = 'between'\nmethods = ['bc']\ntrain.updates = 30\n",
    );
    let suite = Suite::load(&last).unwrap();
    assert_eq!((suite.name.as_str(), suite.eval_seed), ("last", 1));
    assert!(suite.variant.is_empty(), "variants are the suite's own");
    let table = suite.hyper_parameters("p", "hopper-medium").unwrap();
    let expected: Table =
        toml::from_str("updates = 30\nbatch_size = 3\nrewards.range = 1000.0").unwrap();
    assert_eq!(table, expected);
    for (extends, named) in [
        ("between", "leads back"),
        ("v1.2/../v1.2", "holds `/`"),
        ("../elsewhere", "`extends`"),
        ("none", "means something else"),
    ] {
        let path = write(
            "v1.2.toml",
            &format!("name = 'v1.2'\nextends = '{extends}'\nmethods = ['bc']\n"),
        );
        let error = Suite::load(&path).unwrap_err().to_string();
        assert!(error.contains(named) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn a_choice_replaces_another_instead_of_being_merged_with_it() {
    let table = |text: &str| toml::from_str::<Table>(text).unwrap();
    for (below, over, expected) in [
        (
            "d.rewards.range = 10.0",
            "d.rewards.affine.shift = 1.0",
            "d.rewards.affine.shift = 1.0",
        ),
        (
            "d.rewards.affine = { scale = 2.0, shift = 1.0 }",
            "d.rewards.affine.shift = 3.0",
            "d.rewards.affine = { scale = 2.0, shift = 3.0 }",
        ),
        (
            "d.rewards.range = 10.0",
            "d.rewards = 'raw'",
            "d.rewards = 'raw'",
        ),
        (
            "d.rewards = 'raw'",
            "d.rewards.range = 1.0",
            "d.rewards.range = 1.0",
        ),
        (
            "d.keep = { fraction = 0.1, discount = 0.9 }",
            "d.keep.fraction = 0.2",
            "d.keep = { fraction = 0.2, discount = 0.9 }",
        ),
    ] {
        let mut got = table(below);
        overlay(&mut got, &table(over));
        assert_eq!(got, table(expected), "{over} over {below}");
    }
    // Through every layer of a suite: method, task, preset.
    let suite: Suite = toml::from_str(&format!(
        "name = 's'\nmethods = ['iql']\n{LEAST}\
         method.iql.data.rewards.affine = {{ scale = 1.0, shift = -1.0 }}\n\
         [method.iql]\ndata.rewards.range = 1000.0\n\
         task.hopper-medium.data.rewards = 'raw'\n"
    ))
    .unwrap();
    let own = suite.run_settings("p", "hopper-medium", "iql").unwrap();
    let expected = table("data.rewards.affine = { scale = 1.0, shift = -1.0 }");
    assert_eq!(own["method"], expected.into());
}

#[test]
fn names_that_leave_their_folder_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.toml");
    let load = |name: &str, methods: &str, more: &str| {
        let text = format!("name = {name}\nmethods = [{methods}]\n{LEAST}{more}\n");
        fs::write(&path, text).unwrap();
        Suite::load(&path).map_err(|e| e.to_string())
    };
    assert!(load("'s'", "'bc', 'x'", "[variant.x]\nabout = ''").is_ok());
    let variant = |name: &str| format!("[variant.\"{name}\"]\nabout = ''");
    let escaped = variant("../../../../esc-variant");
    let (taken, all, dash) = (variant("td3bc"), variant("all"), variant("--help"));
    let preset = "[presets.\"' onmouseover='x\"]\ndescription = ''\nseeds = [0]\n\
                  eval_episodes = 1\ndata_rows = 1";
    for (name, methods, more, named) in [
        ("'../../escaped'", "'bc'", "", "suite `../../escaped`"),
        ("'<script>'", "'bc'", "", "suite `<script>` holds `<`"),
        ("\"a\\nb\"", "'bc'", "", "holds `\\n`"),
        ("''", "'bc'", "", "suite `` is empty"),
        ("'.hidden'", "'bc'", "", "begins with `.`"),
        ("'none'", "'bc'", "", "means something else"),
        (
            "'s'",
            "'bc'",
            escaped.as_str(),
            "variant `../../../../esc-variant`",
        ),
        ("'s'", "'bc'", &taken, "variant `td3bc` has a method's name"),
        ("'s'", "'bc'", &all, "variant `all` means something else"),
        ("'s'", "'bc'", &dash, "begins with `-`"),
        ("'s'", "'bc'", preset, "preset `\\' onmouseover"),
        ("'s'", "'../bc'", "", "no method and no [variant] `../bc`"),
        (
            "'s'",
            "'bc'",
            "[method.\"../x\"]",
            "no method and no [variant] `../x`",
        ),
    ] {
        let error = load(name, methods, more).unwrap_err();
        assert!(error.contains(named) && !error.contains('\n'), "{error}");
        assert!(error.contains("s.toml"), "{error}");
    }
}

#[test]
fn settings_that_nothing_would_read_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.toml");
    for (more, named) in [
        ("[task.hoper-medium]", "[task.hoper-medium] is for no task"),
        (
            "[method.iql.task.walker2d-medium]",
            "[method.iql.task.walker2d-medium] is for no task",
        ),
        (
            "method.ipl.lr = 1.0\n[method.iql]",
            "[presets.p.method.ipl] is for no method",
        ),
    ] {
        let text = format!(
            "name = 's'\ntasks = ['hopper-medium']\nmethods = ['bc']\neval_seed = 1\n\
             train = {{}}\n[presets.p]\ndescription = ''\nseeds = [0]\n\
             eval_episodes = 1\ndata_rows = 1\n{more}\n"
        );
        fs::write(&path, text).unwrap();
        let error = Suite::load(&path).unwrap_err().to_string();
        assert!(error.contains(named) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn a_broken_file_is_one_line_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.toml");
    fs::write(&path, "name = \"s\"\ntask = 3\n").unwrap();
    let error = Suite::load(&path).unwrap_err().to_string();
    assert!(
        error.contains("s.toml: line 2: ") && !error.contains('\n'),
        "{error}"
    );
}

#[test]
fn bands_are_of_what_the_suite_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.toml");
    let load = |bands: &str| {
        let suite = format!(
            "name = \"s\"\ntasks = [\"hopper-medium\"]\nmethods = [\"bc\"]\neval_seed = 1\n\
             [train]\n[method.iql]\n[presets.quick]\ndescription = \"d\"\nseeds = [0]\n\
             eval_episodes = 2\ndata_rows = 10\n[[bands]]\nbasis = \"b\"\n{bands}\n"
        );
        fs::write(&path, suite).unwrap();
        Suite::load(&path).map_err(|e| e.to_string())
    };
    let of = |preset: &str, method: &str, scores: &str| {
        load(&format!(
            "preset = \"{preset}\"\ndata = \"local\"\nmethod = \"{method}\"\nscores = {{ {scores} }}"
        ))
    };
    let suite = of("quick", "bc", "hopper-medium = [20, 30.5]").unwrap();
    let task = suite.tasks[0];
    let band = |preset, origin, method| suite.band(preset, origin, method, task);
    assert_eq!(
        band("quick", Origin::Local, "bc"),
        Some(([20.0, 30.5], "b"))
    );
    assert_eq!(band("quick", Origin::Official, "bc"), None);
    assert_eq!(band("paper", Origin::Local, "bc"), None);
    assert_eq!(band("quick", Origin::Local, "spar"), None);
    // Its table is of others; it has settings.
    assert!(of("quick", "iql", "hopper-medium = [1, 2]").is_ok());
    for (given, expected) in [
        (
            of("slow", "bc", ""),
            "bands of bc (slow): there is no preset `slow`",
        ),
        (of("quick", "spar", ""), "there is no method `spar`"),
        (
            of("quick", "bc", "hopper-expert = [1, 2]"),
            "there is no task `hopper-expert`",
        ),
        (
            of("quick", "bc", "hopper-medium = [2, 1]"),
            "hopper-medium is [2, 1], expected a lower and a higher score",
        ),
    ] {
        let error = given.unwrap_err();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn amounts_of_a_preset_have_a_range() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("suite.toml");
    let whole = include_str!("../../../suites/mujoco.toml");
    for (field, wrong, range) in [
        ("eval_episodes", "0", "from 1 to 1000000"),
        ("eval_episodes", "1000000000000", "from 1 to 1000000"),
        ("data_rows", "0", "from 1 to 1000000000"),
        ("data_rows", "1000000000000", "from 1 to 1000000000"),
    ] {
        let presets = whole.find("[presets.").unwrap();
        let at = presets + whole[presets..].find(&format!("\n{field} = ")).unwrap() + 1;
        let end = at + whole[at..].find('\n').unwrap();
        let text = format!("{}{field} = {wrong}{}", &whole[..at], &whole[end..]);
        fs::write(&file, text).unwrap();
        let error = Suite::load(&file).unwrap_err().to_string();
        assert!(error.contains(&format!("{field}` is {wrong}")), "{error}");
        assert!(error.contains(range) && !error.contains('\n'), "{error}");
    }
}

/// What stands twice has one folder, and of no seeds there is no run.
#[test]
fn what_stands_twice_or_is_empty_is_refused_by_its_field() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("suite.toml");
    let load = |tasks: &str, methods: &str, seeds: &str| {
        let text = format!(
            "name = 's'\ntasks = [{tasks}]\nmethods = [{methods}]\neval_seed = 1\n[train]\n\
             [presets.quick]\ndescription = 'd'\nseeds = [{seeds}]\neval_episodes = 2\n\
             data_rows = 10\n"
        );
        fs::write(&file, text).unwrap();
        Suite::load(&file).map_err(|error| error.to_string())
    };
    let (tasks, methods) = ("'hopper-medium'", "'bc'");
    load(tasks, methods, "0, 1").unwrap();
    for (tasks, methods, seeds, said) in [
        (
            tasks,
            methods,
            "0, 1, 0",
            "`presets.quick.seeds` has `0` twice",
        ),
        (tasks, methods, "", "`presets.quick.seeds` is empty"),
        (tasks, "'bc', 'bc'", "0", "`methods` has `bc` twice"),
        (tasks, "", "0", "`methods` is empty"),
        ("", methods, "0", "`tasks` is empty"),
        (
            "'hopper-medium', 'hopper-medium'",
            methods,
            "0",
            "`tasks` has `hopper-medium` twice",
        ),
    ] {
        let error = load(tasks, methods, seeds).unwrap_err();
        assert!(
            error.contains(said) && error.contains("suite.toml"),
            "{error}"
        );
    }
}

#[test]
fn a_suite_may_have_tasks_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.toml");
    let load = |define: &str| {
        let text = format!(
            "name = \"own\"\ntasks = [\"cart-of-a-suite\"]\nmethods = [\"bc\"]\neval_seed = 1\n\
             {define}\n[train]\n[presets.p]\ndescription = \"d\"\nseeds = [0]\n\
             eval_episodes = 2\ndata_rows = 10\n"
        );
        fs::write(&file, text).unwrap();
        Suite::load(&file)
    };
    let unknown = load("").unwrap_err().to_string();
    assert!(
        unknown.contains("unknown task `cart-of-a-suite`"),
        "{unknown}"
    );
    let suite = load("[define.cart-of-a-suite]\nenv = \"pointmass\"").unwrap();
    assert_eq!(suite.define.len(), 1);
    assert_eq!(suite.tasks[0].env(), EnvId::POINT_MASS);
    assert_eq!(
        (suite.tasks[0].suite(), suite.tasks[0].official_id()),
        ("own", None)
    );
    for (define, fact) in [
        ("[define.cart-of-a-suite]\nenv = \"hopper\"", "already"),
        (
            "[define.cart-of-a-suite]\nenv = \"cart\"",
            "unknown environment `cart`",
        ),
        ("[define.\"a b\"]\nenv = \"hopper\"", "holds ` `"),
        (
            "[define.cart-of-a-suite]\nworld = 1",
            "unknown field `world`",
        ),
    ] {
        let error = load(define).unwrap_err().to_string();
        assert!(
            error.contains(fact) && error.contains("own.toml"),
            "{error}"
        );
    }
}
