//! Policies of other programs: what would act without a part of them is refused, and
//! what `policy import` makes of them earns what the network itself does.

use std::{fs, path::Path};

use crate::support::{Folder, write_tensors};

type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

const META: [(&str, &str); 2] = [("activation", "relu"), ("output", "tanh")];

const WIDTHS: [usize; 4] = [2, 8, 8, 1];

/// Numbers that look random and are the same everywhere.
fn numbers(count: usize, salt: usize) -> Vec<f32> {
    let number = |k: usize| ((k * 7919 + salt * 104_729) % 2003) as f32 / 2003.0 - 0.5;
    (0..count).map(number).collect()
}

/// A network whose layer `i` has the name `stems[i]`.
fn net(stems: [&str; 3]) -> Tensors {
    let layers = WIDTHS.windows(2).zip(stems).enumerate();
    let parts = layers.flat_map(|(i, (pair, stem))| {
        let (input, output) = (pair[0], pair[1]);
        let weight = numbers(output * input, 2 * i);
        let bias = numbers(output, 2 * i + 1);
        [
            (format!("{stem}.weight"), vec![output, input], weight),
            (format!("{stem}.bias"), vec![output], bias),
        ]
    });
    parts.collect()
}

fn documented() -> Tensors {
    net(["layers.0", "layers.1", "layers.2"])
}

fn more(mut tensors: Tensors, name: &str, shape: &[usize], value: f32) -> Tensors {
    let values = vec![value; shape.iter().product()];
    tensors.push((name.to_owned(), shape.to_vec(), values));
    tensors
}

const EVAL: &str = "--env pointmass --episodes 3 --seed 7 --json";

fn returns(folder: &Folder, policy: &str) -> Vec<f64> {
    let score = folder
        .spar(&format!("eval --policy {policy} {EVAL}"))
        .json();
    let returns = score["returns"].as_array().unwrap();
    returns.iter().map(|r| r.as_f64().unwrap()).collect()
}

fn write(path: &Path, tensors: &Tensors) {
    write_tensors(path, tensors, &META);
}

/// What `file` of `tensors` earns once it is imported, and what was said.
fn imported(folder: &Folder, tensors: &Tensors, options: &str) -> (Vec<f64>, String) {
    write(&folder.path("foreign.safetensors"), tensors);
    let out = folder.path("imported.safetensors");
    let _ = fs::remove_file(&out);
    let line = format!("policy import foreign.safetensors --out imported.safetensors {options}");
    let said = folder.spar(&line).ok();
    (returns(folder, "imported.safetensors"), said)
}

#[test]
fn networks_of_other_programs_are_imported_and_act_as_they_do_there() {
    let folder = Folder::new();
    write(&folder.path("ours.safetensors"), &documented());
    let want = returns(&folder, "ours.safetensors");
    for stems in [
        // nn.Sequential; CORL's TD3+BC, IQL, SAC, AWAC; EDAC.
        ["layers.0", "layers.2", "layers.4"],
        ["net.0", "net.2", "net.4"],
        ["net.net.0", "net.net.2", "net.net.4"],
        [
            "base_network.network.0",
            "base_network.network.2",
            "base_network.network.4",
        ],
        ["_mlp.0", "_mlp.2", "_mlp.4"],
        ["trunk.0", "trunk.2", "mu"],
        // With dropout between; sfujim's TD3; d3rlpy 2 and 1.
        ["net.0", "net.3", "net.6"],
        ["l1", "l2", "l3"],
        ["_encoder._layers.0", "_encoder._layers.2", "_mu"],
        ["_encoder._fcs.0", "_encoder._fcs.1", "_fc"],
        // Stable-Baselines3: PPO, SAC, TD3.
        [
            "mlp_extractor.policy_net.0",
            "mlp_extractor.policy_net.2",
            "action_net",
        ],
        ["actor.latent_pi.0", "actor.latent_pi.2", "actor.mu"],
        ["actor.mu.0", "actor.mu.2", "actor.mu.4"],
        // CleanRL, tianshou, a list of blocks, everything below one name.
        ["fc1", "fc2", "fc_mean"],
        [
            "preprocess.model.model.0",
            "preprocess.model.model.2",
            "last.model.0",
        ],
        ["blocks.0.linear", "blocks.1.linear", "head"],
        [
            "module.actor.layers.0",
            "module.actor.layers.1",
            "module.actor.layers.2",
        ],
    ] {
        let foreign = net(stems);
        write(&folder.path("foreign.safetensors"), &foreign);
        let line = format!("eval --policy foreign.safetensors {EVAL}");
        let found = format!("`{}.bias`", stems[1]);
        folder
            .spar(&line)
            .fails(1, &["`spar policy import", &found]);
        let (got, said) = imported(&folder, &foreign, "--env pointmass");
        assert_eq!(got, want, "{stems:?}: {said}");
        for stem in stems {
            assert!(said.contains(&format!("{stem}.weight")), "{said}");
        }
        assert!(said.contains("layers.2.bias"), "{said}");
    }
}

#[test]
fn what_nothing_acts_by_is_left_out_and_said() {
    let folder = Folder::new();
    write(&folder.path("ours.safetensors"), &documented());
    let want = returns(&folder, "ours.safetensors");
    let stems = ["actor.latent_pi.0", "actor.latent_pi.2", "actor.mu"];
    let mut foreign = net(stems);
    let others = [
        "critic.qf0.0.weight",
        "critic_target.qf0.0.weight",
        "actor_target.latent_pi.0.weight",
        "value_net.weight",
        "actor.log_std.weight",
        "q1.0.weight",
    ];
    for name in others {
        foreign = more(foreign, name, &[8, 8], 0.5);
    }
    foreign = more(foreign, "log_std", &[1], -1.0);
    foreign = more(foreign, "log_alpha", &[1], -1.0);
    foreign = more(foreign, "obs_rms.count", &[1], 5.0);
    let (got, said) = imported(&folder, &foreign, "");
    assert_eq!(got, want);
    for name in others
        .iter()
        .chain(&["log_std", "log_alpha", "obs_rms.count"])
    {
        let line = said.lines().find(|l| l.contains(name)).unwrap();
        assert!(line.contains("left out"), "{line}");
    }
    // Mean and spread of one layer: told apart by the environment's width.
    let mut both = net(["net.0", "net.2", "net.4"]);
    let (_, shape, weight) = &mut both[4];
    shape[0] = 2;
    weight.extend([0.25; 8]);
    both[5] = (
        "net.4.bias".to_owned(),
        vec![2],
        vec![numbers(1, 5)[0], 9.0],
    );
    let (got, said) = imported(&folder, &both, "--env pointmass");
    assert_eq!(got, want);
    assert!(said.contains("the mean: outputs 0 to 0 of 2"), "{said}");
    assert!(said.contains("outputs 1 to 1"), "{said}");
}

#[test]
fn statistics_scales_and_transposed_weights_are_imported() {
    let folder = Folder::new();
    // The reader's own names are the reference.
    let stats = |mean: &str, std: &str, value: f32, stems| {
        more(more(net(stems), mean, &[2], 0.25), std, &[2], value)
    };
    let ours = ["layers.0", "layers.1", "layers.2"];
    let reference = more(
        more(
            stats("obs_mean", "obs_std", 0.5, ours),
            "output.scale",
            &[1],
            0.75,
        ),
        "output.shift",
        &[1],
        0.125,
    );
    write(&folder.path("ours.safetensors"), &reference);
    let want = returns(&folder, "ours.safetensors");
    let plain = {
        write(&folder.path("plain.safetensors"), &documented());
        returns(&folder, "plain.safetensors")
    };
    assert_ne!(want, plain);
    let foreign = ["net.0", "net.2", "net.4"];
    for (mean, std, value) in [
        ("mean", "std", 0.5),
        ("obs_rms.mean", "obs_rms.var", 0.25),
        ("state_mean", "state_std", 0.5),
        ("normalizer.running_mean", "normalizer.running_var", 0.25),
    ] {
        for (scale, shift, values) in [
            ("action_scale", "action_bias", [0.75, 0.125]),
            ("actor.action_scale", "actor.action_bias", [0.75, 0.125]),
            ("action_high", "action_low", [0.875, -0.625]),
        ] {
            let tensors = stats(mean, std, value, foreign);
            let tensors = more(tensors, scale, &[1], values[0]);
            let tensors = more(tensors, shift, &[1, 1], values[1]);
            write(&folder.path("foreign.safetensors"), &tensors);
            let line = format!("eval --policy foreign.safetensors {EVAL}");
            folder.spar(&line).fails(1, &["foreign.safetensors"]);
            assert_eq!(
                imported(&folder, &tensors, "").0,
                want,
                "{mean} {std} {scale}"
            );
        }
    }
    // A scale that changes nothing is none.
    let none = more(net(foreign), "max_action", &[], 1.0);
    assert_eq!(imported(&folder, &none, "").0, plain);
    // [in, out], told by biases and widths; flax says so by its name.
    for (leaf, stems) in [
        ("weight", foreign),
        ("kernel", ["Dense_0", "Dense_1", "Dense_2"]),
    ] {
        let tensors = net(stems).into_iter().map(|(name, shape, values)| {
            let Some(stem) = name.strip_suffix(".weight") else {
                return (name, shape, values);
            };
            let (rows, cols) = (shape[0], shape[1]);
            let turned = (0..cols).flat_map(|c| (0..rows).map(move |r| r * cols + c));
            let turned = turned.map(|i| values[i]).collect();
            (format!("{stem}.{leaf}"), vec![cols, rows], turned)
        });
        let (got, said) = imported(&folder, &tensors.collect(), "");
        assert_eq!(got, plain);
        assert!(said.contains("transposed"), "{said}");
    }
}

#[test]
fn normalized_layers_are_imported_where_they_act_the_same() {
    let folder = Folder::new();
    let norms = |stems: [&str; 2], tensors: Tensors| {
        let mut tensors = tensors;
        for (i, stem) in stems.iter().enumerate() {
            tensors.push((format!("{stem}.weight"), vec![8], numbers(8, 20 + i)));
            tensors.push((format!("{stem}.bias"), vec![8], numbers(8, 30 + i)));
        }
        tensors
    };
    let ours = norms(["layers.0.norm", "layers.1.norm"], documented());
    write(&folder.path("ours.safetensors"), &ours);
    let want = returns(&folder, "ours.safetensors");
    let before = norms(["net.1", "net.4"], net(["net.0", "net.3", "net.6"]));
    assert_eq!(imported(&folder, &before, "").0, want);
    let named = norms(["ln1", "ln2"], net(["fc1", "fc2", "fc3"]));
    assert_eq!(imported(&folder, &named, "").0, want);

    let fails = |tensors: Tensors, facts: &[&str]| {
        write(&folder.path("foreign.safetensors"), &tensors);
        let _ = fs::remove_file(folder.path("imported.safetensors"));
        let line = "policy import foreign.safetensors --out imported.safetensors";
        folder.spar(line).fails(1, facts);
        assert!(!folder.exists("imported.safetensors"));
    };
    // After the activation it is another function.
    let after = norms(["net.2", "net.5"], net(["net.0", "net.3", "net.6"]));
    fails(after, &["`net.2`", "right before it"]);
    let batch = norms(["net.1", "net.4"], net(["net.0", "net.3", "net.6"]));
    let batch = more(batch, "net.1.running_mean", &[8], 0.0);
    fails(batch, &["`net.1`", "batch normalization"]);
}

#[test]
fn what_cannot_be_told_is_not_imported() {
    let folder = Folder::new();
    let path = folder.path("foreign.safetensors");
    let import = |options: &str, facts: &[&str]| {
        let line = "policy import foreign.safetensors --out imported.safetensors";
        folder.spar(&format!("{line} {options}")).fails(1, facts);
        assert!(!folder.exists("imported.safetensors"));
    };
    let stems = ["net.0", "net.2", "net.4"];
    let fails = |tensors: &Tensors, facts: &[&str]| {
        write(&path, tensors);
        import("", facts);
    };
    fails(
        &more(net(stems), "beta", &[3], 1.0),
        &["cannot tell what `beta`"],
    );
    fails(
        &more(net(stems), "conv.weight", &[3, 3, 3], 1.0),
        &["`conv.weight`"],
    );
    fails(
        &more(net(stems), "mean", &[2], 1.0),
        &["a mean of observations but no deviation"],
    );
    fails(
        &more(net(stems), "action_std", &[1], 1.0),
        &["`action_std`"],
    );
    let twice = more(more(net(stems), "mean", &[2], 1.0), "obs_mean", &[2], 1.0);
    fails(&twice, &["second tensor that would be `obs_mean`"]);
    let wide = more(more(net(stems), "mean", &[3], 1.0), "std", &[3], 1.0);
    fails(&wide, &["has 3 values, expected 2"]);
    let flat = more(more(net(stems), "mean", &[2], 0.0), "std", &[2], 0.0);
    fails(&flat, &["`std`", "not above zero"]);
    // Layers that are missing: behind a hole, before the first, and by their widths.
    fails(
        &net(["net.0", "net.4", "net.6"]),
        &["0, 4, 6", "may be missing"],
    );
    fails(&net(["net.2", "net.4", "net.6"]), &["begin with number 2"]);
    let mut widths = net(stems);
    widths[0].1 = vec![4, 4];
    widths[1] = ("net.0.bias".to_owned(), vec![4], vec![0.0; 4]);
    fails(&widths, &["do not fit each other", "`net.0` [4, 4]"]);
    fails(
        &more(Vec::new(), "obs", &[1], 1.0),
        &["cannot tell what `obs`"],
    );

    // What the file does not say, the user has to.
    write_tensors(&path, &net(stems), &[]);
    import(
        "",
        &[
            "does not say its `activation`; give --activation",
            "relu, tanh",
        ],
    );
    import("--activation relu", &["--output", "identity, tanh"]);
    import(
        "--activation swish --output tanh",
        &["`activation` is `swish`"],
    );
    import(
        "--activation relu --output tanh --env hopper",
        &["2 observations to 1 actions"],
    );
    let line = "policy import foreign.safetensors --activation relu --output tanh";
    folder
        .spar(&format!("{line} --out imported.safetensors"))
        .ok();
    let line = format!("{line} --out imported.safetensors");
    folder
        .spar(&line)
        .fails(1, &["imported.safetensors", "is there already"]);
    fs::remove_file(folder.path("imported.safetensors")).unwrap();

    fs::write(&path, b"PK\x03\x04data.pkl").unwrap();
    import(
        "",
        &["a PyTorch or pickle file", "safetensors.torch.save_file"],
    );
    fs::write(&path, b"").unwrap();
    import("", &["not a safetensors file"]);
}

#[test]
fn a_runs_folder_is_its_policy() {
    let folder = crate::support::prepared();
    let line = crate::support::suite_run("short", "bc", "run", "--json");
    folder.spar(&line).ok();
    let eval = |policy: &str, env: &str| {
        let line = format!("eval --policy {policy} --env {env} --episodes 2 --json");
        folder.spar(&line)
    };
    let file = eval("run/policy.safetensors", "pointmass").json();
    assert_eq!(eval("run", "pointmass").json(), file);
    assert_eq!(eval("run/", "pointmass").json(), file);
    eval("run", "hopper").fails(1, &["was trained for pointmass", "give --env pointmass"]);
    fs::remove_file(folder.path("run/policy.safetensors")).unwrap();
    eval("run", "pointmass").fails(1, &["run", "a folder without `policy.safetensors`"]);
    let import = "policy import run --out other.safetensors";
    folder.spar(import).fails(1, &["no regular file"]);
}

#[test]
fn amounts_that_no_one_means_are_refused_with_their_range() {
    let folder = Folder::new();
    write(&folder.path("net.safetensors"), &documented());
    for (option, range) in [
        ("--episodes 0", "1..=1000000"),
        ("--episodes 1000000000000", "1..=1000000"),
        ("--threads 1000000000000", "1..=1024"),
        ("--best-of 1000000000000", "1..=100000"),
    ] {
        let line = format!("eval --policy net.safetensors --env pointmass {option}");
        folder.spar(&line).fails(2, &[range]);
    }
    folder.write_data("data.hdf5");
    let train = "train --dataset data.hdf5 --env pointmass --method bc --out run";
    for (option, range) in [
        ("--batch-size 0", "from 1 to 65536"),
        ("--batch-size 1000000000000", "from 1 to 65536"),
        ("--updates 1000000000000", "from 0 to 10000000000"),
        ("--eval-episodes 1000000000000", "1000000"),
        ("--checkpoint-every 0", "from 1 to"),
    ] {
        let done = folder.spar(&format!("{train} {option}"));
        done.fails(2, &[range]);
    }
    assert!(!folder.exists("run"));
}
