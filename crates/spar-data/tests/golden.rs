//! Files written by h5py, and what D4RL's `qlearning_dataset` makes of them
//! (`tests/scripts/d4rl_fixtures.py`, whose expectations were compared with
//! D4RL's own function).
#![allow(clippy::unwrap_used)]

use std::{path::PathBuf, sync::Arc};

use serde::Deserialize;
use spar_core::{EnvId, Stream};
use spar_data::{Batch, Dataset, EpisodeEnd, Next, Origin, Reading, Sampler, Transitions, info};

const HORIZON: usize = 10;

#[derive(Deserialize)]
struct Expected {
    observations: Vec<Vec<f32>>,
    actions: Vec<Vec<f32>>,
    next_observations: Vec<Vec<f32>>,
    rewards: Vec<f32>,
    terminals: Vec<bool>,
    mean: Vec<f64>,
    std: Vec<f64>,
}

fn fixture(name: &str) -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/d4rl");
    PathBuf::from(root).join(name)
}

fn read(name: &str) -> Arc<Dataset> {
    Arc::new(Dataset::read(&fixture(&format!("{name}.hdf5"))).unwrap())
}

fn expected(name: &str) -> Expected {
    let text = std::fs::read_to_string(fixture(&format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// As D4RL's loader has it, whatever successors the file records.
fn read_following(name: &str) -> Arc<Dataset> {
    let reading = Reading {
        next: Next::Following,
        ..Reading::default()
    };
    let path = fixture(&format!("{name}.hdf5"));
    Arc::new(Dataset::read_as(&path, None, &reading).unwrap())
}

fn check(name: &str) {
    let ours = Transitions::new(read_following(name), HORIZON).unwrap();
    let theirs = expected(name);
    assert_eq!(ours.len(), theirs.rewards.len());
    for i in 0..ours.len() {
        assert_eq!(ours.obs(i), theirs.observations[i], "row {i}");
        assert_eq!(ours.action(i), theirs.actions[i], "row {i}");
        assert_eq!(ours.next_obs(i), theirs.next_observations[i], "row {i}");
        assert_eq!(ours.reward(i), theirs.rewards[i], "row {i}");
        assert_eq!(ours.terminal(i), theirs.terminals[i], "row {i}");
    }
    let normalizer = ours.normalizer();
    let close = |a: &[f32], b: &[f64]| {
        a.len() == b.len()
            && a.iter()
                .zip(b)
                .all(|(&a, &b)| (f64::from(a) - b).abs() < 1e-6)
    };
    assert!(close(&normalizer.mean, &theirs.mean));
    assert!(close(&normalizer.std, &theirs.std));
}

macro_rules! golden {
    ($($name:ident),*) => { $(
        #[test]
        fn $name() {
            check(stringify!($name));
        }
    )* };
}

golden!(
    f32,
    f64_gzip,
    columns,
    float_flags,
    integers,
    no_timeouts,
    ends_terminal,
    ends_timeout,
    everything,
    local
);

#[test]
fn everything_optional_is_read() {
    let data = read("everything");
    assert_eq!((data.rows(), data.nq(), data.nv()), (44, Some(3), Some(2)));
    assert_eq!(
        data.next_observations.as_ref().unwrap().len(),
        44 * data.obs_dim
    );
    let said = |key: &str| data.metadata[key].as_str();
    assert_eq!(said("algorithm"), "SAC");
    assert_eq!(said("fixed"), "fixed text");
    assert_eq!(said("iteration"), "-7");
    assert_eq!(said("scale"), "0.25");
    assert_eq!(said("half"), "0.1");
    assert_eq!(said("done"), "true");
    assert_eq!(said("unicode"), "größer");
    assert_eq!(said("policy/nonlinearity"), "relu");
    assert!(said("policy/fc0/weight").ends_with("[3, 2]"));
}

#[test]
fn only_metadata_or_a_hash_make_an_origin() {
    let local = read("local").identity.clone();
    assert_eq!(
        (local.id.as_str(), local.origin),
        ("hopper-medium-local", Origin::Local)
    );
    let user = read("f32").identity.clone();
    assert_eq!(
        (user.id.as_str(), user.origin, user.rows),
        ("f32", Origin::User, 44)
    );

    let folder = tempfile::tempdir().unwrap();
    let pretender = folder.path().join("hopper_medium-v2.hdf5");
    std::fs::copy(fixture("f32.hdf5"), &pretender).unwrap();
    let data = Dataset::read(&pretender).unwrap();
    assert_eq!(data.identity.origin, Origin::User);
    assert!(data.notes[0].contains("its sha256 is"));
    assert_eq!(data.identity.sha256, user.sha256);
}

#[test]
fn episodes_end_where_the_script_put_their_ends() {
    let ends = |name: &str| -> Vec<_> {
        let data = read(name);
        data.episodes(HORIZON)
            .map(|e| (e.rows.len(), e.end))
            .collect()
    };
    use EpisodeEnd::{Terminal, Timeout, Unfinished};
    let mixed = [
        (10, Timeout),
        (4, Terminal),
        (10, Timeout),
        (7, Terminal),
        (10, Timeout),
        (3, Unfinished),
    ];
    assert_eq!(ends("f32"), mixed);
    assert_eq!(ends("no_timeouts"), mixed);
    assert_eq!(ends("ends_timeout"), [(10, Timeout), (10, Timeout)]);
}

#[test]
fn info_counts_and_sums() {
    let data = read("f32");
    let about = info(&data, None).unwrap();
    assert_eq!(
        (about.rows, about.episodes, about.complete_episodes),
        (44, 6, 5)
    );
    assert_eq!(
        (about.terminals, about.timeouts, about.transitions),
        (2, Some(3), 40)
    );
    assert_eq!(about.mean_length, Some(41.0 / 5.0));
    let total: f64 = data.rewards[..41].iter().map(|&r| f64::from(r)).sum();
    let returns = about.returns.unwrap();
    assert!((returns.mean - total / 5.0).abs() < 1e-12);
    assert!(returns.min < returns.mean && returns.mean < returns.max && returns.std > 0.0);
    assert!(about.actions.iter().all(|s| -1.0 <= s.min && s.max <= 1.0));
    assert_eq!(about.normalized_score, None);
    let json = serde_json::to_string(&about).unwrap();
    assert_eq!(
        serde_json::from_str::<spar_data::Info>(&json).unwrap(),
        about
    );

    let hopper = info(&data, Some(EnvId::HOPPER)).unwrap();
    assert_eq!(
        hopper.normalized_score,
        EnvId::HOPPER.normalized_score(returns.mean)
    );
}

#[test]
fn a_sampler_read_back_draws_the_same_normalized_batches() {
    let transitions = Transitions::new(read("everything"), HORIZON).unwrap();
    let normalizer = transitions.normalizer();
    let mut sampler = Sampler::new(Stream::new(5, "sampler"));
    let mut batch = Batch::new(64, transitions.obs_dim(), transitions.act_dim());
    sampler.next(&transitions, &normalizer, &mut batch);

    // Each drawn row is one of the transitions, normalized.
    for row in 0..batch.size {
        let found = (0..transitions.len()).find(|&i| transitions.reward(i) == batch.rewards[row]);
        let i = found.unwrap();
        let mut obs = transitions.obs(i).to_vec();
        let mut next = transitions.next_obs(i).to_vec();
        normalizer.apply(&mut obs);
        normalizer.apply(&mut next);
        assert_eq!(batch.obs[row * 4..row * 4 + 4], obs);
        assert_eq!(batch.next_obs[row * 4..row * 4 + 4], next);
        assert_eq!(&batch.actions[row * 2..row * 2 + 2], transitions.action(i));
        assert_eq!(batch.not_terminal[row] == 0.0, transitions.terminal(i));
    }

    let text = serde_json::to_string(&sampler).unwrap();
    let mut again: Sampler = serde_json::from_str(&text).unwrap();
    let mut other = batch.clone();
    sampler.next(&transitions, &normalizer, &mut batch);
    assert_ne!(other, batch);
    again.next(&transitions, &normalizer, &mut other);
    assert_eq!(other, batch);
}

#[test]
fn training_reads_the_same_without_what_it_does_not_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hopper.hdf5");
    let file = hdf5::File::create(&path).unwrap();
    let wide = |n: usize| ndarray::Array2::<f32>::from_elem((3, n), 0.5);
    for (key, width) in [
        ("observations", 11),
        ("next_observations", 11),
        ("actions", 3),
    ] {
        file.new_dataset_builder()
            .with_data(&wide(width))
            .create(key)
            .unwrap();
    }
    file.new_dataset_builder()
        .with_data(&[1f32; 3])
        .create("rewards")
        .unwrap();
    file.new_dataset_builder()
        .with_data(&[false; 3])
        .create("terminals")
        .unwrap();
    file.close().unwrap();
    let all = Dataset::read_for(&path, EnvId::HOPPER).unwrap();
    let lean = Dataset::read_training(&path, EnvId::HOPPER).unwrap();
    assert!(all.next_observations.is_some() && lean.next_observations.is_none());
    assert_eq!(all.observations, lean.observations);
    assert_eq!(all.identity, lean.identity);
}
