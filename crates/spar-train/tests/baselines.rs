//! Every method of `spar-baselines` as a run: it learns, is a function of its spec
//! however often it is stopped, and leaves a policy file that acts as it was
//! judged.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;

use common::{RESULTS, data, same_files, spec, stop, train};
use spar_core::EnvId;
use spar_data::Transitions;
use spar_train::{DeviceKind, Method, RunSpec, TrainConfig, TrainError, policy_file};

mod common;

/// Small networks and phases, and rates for a few hundred updates.
const SMALL: &[(&str, &str)] = &[
    (
        "td3bc",
        "hidden = [32, 32]\nactor_lr = 3e-3\ncritic_lr = 3e-3",
    ),
    (
        "iql",
        "hidden = [32, 32]\nactor_lr = 3e-3\ncritic_lr = 3e-3\ndata.states = 'standardized'\n\
         data.rewards = 'raw'",
    ),
    (
        "bc10",
        "hidden = [32, 32]\nlr = 3e-3\ndata.keep = { fraction = 0.3, discount = 0.99 }",
    ),
    ("awac", "hidden = [32, 32]\nlr = 3e-3"),
    (
        "rebrac",
        "hidden = [32, 32]\nactor_lr = 3e-3\ncritic_lr = 3e-3\nactor_beta = 0.1",
    ),
    ("plas", LATENT),
    ("plas-p", LATENT),
    (
        "bcq",
        "hidden = [32, 32]\nvae_hidden = [32, 32]\nlr = 3e-3\ncandidates = 10\ntau = 0.05",
    ),
    ("rpl", "hidden = [32, 32]\nlr = 3e-3\nburn_in = 200"),
    ("inac", "hidden = [32, 32]\nlr = 3e-3\ntemperature = 0.1"),
    (
        "cql",
        "hidden = [32, 32]\nactor_lr = 1e-3\ncritic_lr = 3e-3\nactions = 3\nbc_updates = 300",
    ),
    ("brac-p", BRAC),
    ("brac-v", BRAC),
    (
        "awr",
        "hidden = [32, 32]\nactor_lr = 3e-3\ncritic_steps = 50\nactor_steps = 100",
    ),
    ("sac-n", ENSEMBLE),
    ("edac", ENSEMBLE),
    (
        "lapo",
        "hidden = [32, 32]\nlr = 2e-3\ntau = 0.05\ndata.rewards = 'raw'",
    ),
    (
        "hubl-td3bc",
        "hidden = [32, 32]\nactor_lr = 3e-3\ncritic_lr = 3e-3",
    ),
    (
        "hubl-iql",
        "hidden = [32, 32]\nactor_lr = 3e-3\ncritic_lr = 3e-3\ndata.states = 'standardized'\n\
         data.rewards = 'raw'",
    ),
    (
        "bc-diffusion",
        "hidden = [32, 32]\ntime_dim = 8\nlr = 3e-3\ndata.states = 'standardized'",
    ),
    (
        "diffusion-ql",
        "hidden = [32, 32]\ncritic_hidden = [32, 32]\ntime_dim = 8\nlr = 3e-3\n\
         critic_lr = 3e-3\ntau = 0.05\naverage_after = 100\naverage_rate = 0.05\n\
         candidates = 5\ndata.states = 'standardized'",
    ),
    (
        "idql",
        "hidden = [32, 32]\nwidth = 16\nblocks = 2\ntime_dim = 8\ntime_hidden = 16\n\
         lr = 3e-3\ncritic_lr = 3e-3\ntau = 0.05\naverage_rate = 0.02\ncandidates = 8\n\
         data.states = 'standardized'\ndata.rewards = 'raw'",
    ),
    // Stopped in all of its phases.
    (
        "srpo",
        "hidden = [32, 32]\npolicy_hidden = [32, 32]\nwidth = 16\nblocks = 2\n\
         time_dim = 8\ntime_hidden = 16\nbehaviour_lr = 3e-3\nbehaviour_updates = 300\n\
         critic_updates = 350\ncritic_lr = 3e-3\nlr = 1e-3\ntau = 0.05\nbeta = 0.1\n\
         subtract_noise = true\ndata.states = 'standardized'\ndata.rewards = 'raw'",
    ),
    ("bc-flow", "hidden = [32, 32]\nlr = 3e-3\nflow_steps = 4"),
    (
        "fql",
        "hidden = [32, 32]\nlr = 3e-3\nflow_steps = 4\nnormalize_value = true\nalpha = 1.0",
    ),
    (
        "ifql",
        "hidden = [32, 32]\nlr = 3e-3\nflow_steps = 4\ncandidates = 8",
    ),
    // Stopped in both of its phases.
    (
        "fac",
        "hidden = [32, 32]\nlr = 3e-3\nflow_steps = 4\nflow_updates = 200\nprobes = 1\n\
         alpha = 0.1\nlambda = 1.0\ndiscount = 0.99",
    ),
];

/// PLAS: stopped in both of its phases.
const LATENT: &str = "hidden = [32, 32]\nvae_hidden = [32, 32]\nvae_lr = 3e-3\n\
                      vae_updates = 200\nactor_lr = 3e-4\ncritic_lr = 3e-3\ntau = 0.05";

/// A small ensemble, which sees a few steps ahead.
const ENSEMBLE: &str = "hidden = [32, 32]\ncritics = 10\nactor_lr = 3e-3\ncritic_lr = 3e-3\n\
                        tau = 0.05\ndiscount = 0.9\ndata.states = 'standardized'";

/// BRAC: stopped in all of its phases.
const BRAC: &str = "hidden = [32, 32]\ncritic_hidden = [32, 32]\nbehaviour_lr = 3e-3\n\
                    behaviour_updates = 200\nactor_lr = 3e-3\ncritic_lr = 3e-3\nwarm_start = 300\n\
                    alpha = 0.1";

fn baselines() -> impl Iterator<Item = Method> {
    Method::all().filter(|method| matches!(method, Method::Baseline(_)))
}

/// A small run of `method`.
fn small(method: Method, data: &Transitions) -> RunSpec {
    let mut spec = spec(method, data);
    let own = SMALL.iter().find(|(name, _)| *name == method.name());
    let (_, own) = own.unwrap_or_else(|| panic!("no small run of {}", method.name()));
    let mut own: toml::Table = toml::from_str(own).unwrap();
    let data = own
        .entry("data")
        .or_insert_with(|| toml::Table::new().into());
    let rows = ("batch_size".to_owned(), toml::Value::Integer(16));
    data.as_table_mut().unwrap().extend([rows]);
    let mut table = toml::Table::try_from(&spec.config).unwrap();
    table.insert("method".to_owned(), own.into());
    spec.config = TrainConfig::for_method(table, method).unwrap();
    spec.config.anchor.updates = 150;
    spec
}

#[test]
fn every_method_beats_its_initial_policy() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let mut worse = Vec::new();
    for method in baselines() {
        let mut spec = small(method, &data);
        spec.final_episodes = 10;
        // Where the anchor is the start, one that leaves something to improve.
        spec.config.anchor.updates = 10;
        let judged = [1, 1500].map(|updates| {
            spec.config.updates = updates;
            let out = dir.path().join(format!("{}-{updates}", method.name()));
            let record = train(&spec, &data, &out).unwrap();
            assert_eq!(record.method, method.name());
            (record.mean_return(), out)
        });
        let [(before, _), (after, out)] = judged;
        println!("{:10} from {before:.1} to {after:.1}", method.name());
        if after < before + 20.0 {
            worse.push(format!("{} from {before:.1} to {after:.1}", method.name()));
        }

        // The file acts as the run was judged.
        let file = out.join("policy.safetensors");
        let policy = policy_file::read(&file, EnvId::POINT_MASS).unwrap();
        let played = spar_eval::rollout(EnvId::POINT_MASS, &policy, 10, 42, 1).unwrap();
        let mean = played.iter().map(|e| e.ret).sum::<f64>() / 10.0;
        assert_eq!(mean, after, "{}", method.name());
        // Without an environment too, and the same action each time, also of a draw's best.
        let alone = spar_policy::Policy::load(&file).unwrap();
        let act = || {
            let mut action = [f32::NAN];
            alone.act(&[0.3, -0.2], &mut action);
            action
        };
        assert!(act()[0].abs() <= 1.0 && act() == act(), "{}", method.name());
        let about = alone.about().unwrap();
        assert_eq!(
            (about.method.as_str(), about.updates),
            (method.name(), 1500)
        );
    }
    assert!(worse.is_empty(), "not learned: {}", worse.join(", "));
}

#[test]
fn a_stopped_run_goes_on_as_if_it_had_not_been() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    for method in baselines() {
        let mut spec = small(method, &data);
        spec.config.updates = 400;
        let [whole, parts, grown] =
            ["whole", "parts", "grown"].map(|n| dir.path().join(method.name()).join(n));
        train(&spec, &data, &whole).unwrap();
        if method.anchored() {
            stop(&spec, &data, &parts, 137);
        }
        for at in [77, 251] {
            stop(&spec, &data, &parts, at);
        }
        train(&spec, &data, &parts).unwrap();
        same_files(&RESULTS, &whole, &parts);

        // A longer run begins as a shorter one.
        spec.config.updates = 223;
        train(&spec, &data, &grown).unwrap();
        spec.config.updates = 400;
        train(&spec, &data, &grown).unwrap();
        same_files(&RESULTS, &whole, &grown);
    }
}

#[test]
fn a_baseline_says_what_it_cannot_do() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let td3bc: Method = "td3bc".parse().unwrap();
    let refused = |spec: &RunSpec| {
        let error = train(spec, &data, &dir.path().join("run")).unwrap_err();
        let text = error.to_string();
        assert!(!text.contains('\n'), "{text}");
        text
    };
    let mut spec = small(td3bc, &data);
    spec.device = DeviceKind::Cuda;
    assert_eq!(
        refused(&spec),
        "method td3bc is trained on the CPU only; leave --device out or give --device cpu"
    );

    let mut spec = small(td3bc, &data);
    let own = |spec: &mut RunSpec| spec.config.method.as_mut().unwrap().clone();
    for (text, named) in [
        ("discount = 1.5", "`discount` is 1.5"),
        ("alfa = 1.0", "alfa"),
        ("policy_freq = 0", "`policy_freq` is 0"),
        ("data.batch_size = 0", "`data.batch_size` is 0"),
        (
            "data.keep = { fraction = 0.0, discount = 0.99 }",
            "`data.keep.fraction` is 0",
        ),
        ("data.rewards = 'scaled'", "scaled"),
    ] {
        let mut table = own(&mut spec);
        table.extend(toml::from_str::<toml::Table>(text).unwrap());
        let mut other = spec.clone();
        other.config.method = Some(table);
        let said = refused(&other);
        assert!(said.contains(named), "{said}");
    }
    spec.config.method = None;
    assert!(refused(&spec).contains("expected the settings of td3bc"));

    let unknown = "td4".parse::<Method>().unwrap_err();
    assert!(matches!(unknown, TrainError::Method { .. }));
    assert!(
        unknown.to_string().contains("bc, spar, td3bc, iql"),
        "{unknown}"
    );
}

#[test]
fn a_folder_of_other_settings_is_refused_by_field() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let td3bc: Method = "td3bc".parse().unwrap();
    let spec = small(td3bc, &data);
    let out = dir.path().join("run");
    stop(&spec, &data, &out, 10);
    let mut other = spec.clone();
    let own = other.config.method.as_mut().unwrap();
    own.insert("alpha".to_owned(), toml::Value::Float(1.0));
    let error = train(&other, &data, &out).unwrap_err().to_string();
    assert!(
        error.contains("`config.method.alpha` (there 2.5, here 1.0)"),
        "{error}"
    );
    // Nothing of SPAR's or the anchor's reaches it.
    let mut other = spec.clone();
    (other.config.critic.lr, other.config.anchor.lr) = (1e-2, 1e-2);
    assert_eq!(other.differences(&spec).unwrap(), []);
    let written = fs::read_to_string(out.join("spec.json")).unwrap();
    let written: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!(
        written["config"]["method"]["policy_noise"], 0.2,
        "settings in full"
    );
}
