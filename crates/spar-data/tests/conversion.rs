//! From one layout to the other and back, and what is told of data in both.
// long: every pair of layouts, there and back, on one set of files
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use proptest::prelude::*;
use spar_core::{EnvId, Stream};
use spar_data::{
    Conversion, Converted, DataError, Dataset, DatasetIdentity, MetaValue, Next, Origin, Reading,
    Row, Transitions, Writer, horizon_of, info, local_metadata, minari_id, stats,
};

/// A committed file or data set.
fn fixture(name: &str) -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");
    Path::new(root).join(name)
}

fn to_minari(
    from: &Path,
    folder: &Path,
    id: &str,
    env: Option<EnvId>,
) -> Result<Converted, DataError> {
    Conversion::open(from, env, Reading::default())?.to_minari(folder, id)
}

fn to_d4rl(from: &Path, to: &Path) -> Result<DatasetIdentity, DataError> {
    Ok(Conversion::open(from, None, Reading::default())?
        .to_d4rl(to)?
        .identity)
}

#[test]
fn minari_data_have_no_normalized_score() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hopper.hdf5");
    let rows = Rows::random(1, &[(40, End::Terminal), (30, End::Timeout)], [11, 3]);
    rows.write(&path, true, &BTreeMap::new());
    let flat = Arc::new(Dataset::read(&path).unwrap());
    let hopper = Some(EnvId::HOPPER);
    assert!(info(&flat, hopper).unwrap().normalized_score.is_some());
    let there = folder.path().join("there-v0");
    to_minari(&path, &there, "there-v0", hopper).unwrap();
    let about = info(
        &Arc::new(Dataset::read_for(&there, EnvId::HOPPER).unwrap()),
        hopper,
    )
    .unwrap();
    assert!(about.normalized_score.is_none() && about.returns.is_some());
    let wrong = Dataset::read_for(&there, EnvId::WALKER2D).unwrap_err();
    assert!(matches!(wrong, DataError::WrongEnv { .. }), "{wrong}");
}

/// How an episode of [`Rows`] ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Terminal,
    Timeout,
    Both,
    Nothing,
}

/// Flat rows as D4RL has them.
struct Rows {
    dims: [usize; 2],
    obs: Vec<f32>,
    next: Vec<f32>,
    actions: Vec<f32>,
    rewards: Vec<f32>,
    terminals: Vec<bool>,
    timeouts: Vec<bool>,
}

impl Rows {
    fn random(seed: u64, episodes: &[(usize, End)], dims: [usize; 2]) -> Self {
        let mut stream = Stream::new(seed, "rows");
        let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| stream.normal() as f32).collect() };
        let rows = episodes.iter().map(|e| e.0).sum();
        let mut flags = [vec![false; rows], vec![false; rows]];
        let mut row = 0;
        for &(steps, end) in episodes {
            row += steps;
            flags[0][row - 1] = matches!(end, End::Terminal | End::Both);
            flags[1][row - 1] = matches!(end, End::Timeout | End::Both);
        }
        let [terminals, timeouts] = flags;
        let obs = draw(rows * dims[0]);
        // True successors: the next row within an episode.
        let mut next = draw(rows * dims[0]);
        for row in 0..rows.saturating_sub(1) {
            if !terminals[row] && !timeouts[row] {
                let there = (row + 1) * dims[0];
                next[row * dims[0]..there].copy_from_slice(&obs[there..there + dims[0]]);
            }
        }
        Self {
            dims,
            obs,
            next,
            actions: draw(rows * dims[1]).iter().map(|a| a.tanh()).collect(),
            rewards: draw(rows),
            terminals,
            timeouts,
        }
    }

    /// With or without `next_observations`.
    fn write(&self, path: &Path, next: bool, meta: &BTreeMap<String, MetaValue>) {
        let [o, a] = self.dims;
        let mut writer = Writer::create(path, o, a, 1, 1, meta).unwrap();
        for i in 0..self.rewards.len() {
            let row = Row {
                obs: &self.obs[i * o..][..o],
                action: &self.actions[i * a..][..a],
                reward: self.rewards[i],
                terminal: self.terminals[i],
                timeout: self.timeouts[i],
                next_obs: &self.next[i * o..][..o],
                qpos: &[i as f64],
                qvel: &[-(i as f64)],
            };
            writer.push(&row).unwrap();
        }
        writer.finish().unwrap();
        if !next {
            let file = hdf5::File::append(path).unwrap();
            file.unlink("next_observations").unwrap();
            file.close().unwrap();
        }
    }
}

/// A transition's numbers; the successor of a terminal one is nobody's business.
type Step = (Vec<f32>, Vec<f32>, f32, bool, Option<Vec<f32>>);

fn steps(path: &Path) -> Vec<Step> {
    let all = Transitions::new(Arc::new(Dataset::read(path).unwrap()), 1000).unwrap();
    let step = |i| {
        let terminal = all.terminal(i);
        let next = (!terminal).then(|| all.next_obs(i).to_vec());
        (
            all.obs(i).to_vec(),
            all.action(i).to_vec(),
            all.reward(i),
            terminal,
            next,
        )
    };
    (0..all.len()).map(step).collect()
}

fn episodes() -> impl Strategy<Value = Vec<(usize, End)>> {
    let end = prop_oneof![Just(End::Terminal), Just(End::Timeout), Just(End::Both)];
    let last = prop_oneof![Just(End::Terminal), Just(End::Timeout), Just(End::Nothing)];
    (
        prop::collection::vec((1..9usize, end), 0..6),
        2..9usize,
        last,
    )
        .prop_map(|(mut all, n, end)| {
            all.push((n, end));
            all
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn there_and_back_is_the_same(seed: u64, episodes in episodes(), o in 1..4usize, a in 1..3usize) {
        let folder = tempfile::tempdir().unwrap();
        let [first, there, back] = ["first.hdf5", "there-v0", "back.hdf5"].map(|n| folder.path().join(n));
        Rows::random(seed, &episodes, [o, a]).write(&first, true, &BTreeMap::new());
        let before = Dataset::read(&first).unwrap();
        let made = to_minari(&first, &there, "there-v0", None).unwrap();
        prop_assert_eq!((made.left_out, made.repeated), (0, 0));
        let between = Dataset::read(&there).unwrap();
        prop_assert_eq!(&between.identity, &made.identity);
        prop_assert_eq!(between.episodes(9).count(), episodes.len());
        to_d4rl(&there, &back).unwrap();
        let after = Dataset::read(&back).unwrap();
        prop_assert_eq!(&after.observations, &before.observations);
        prop_assert_eq!(&after.next_observations, &before.next_observations);
        prop_assert_eq!(&after.actions, &before.actions);
        prop_assert_eq!(&after.rewards, &before.rewards);
        prop_assert_eq!(&after.terminals, &before.terminals);
        prop_assert_eq!(&after.timeouts, &before.timeouts);
        prop_assert_eq!(&after.qpos, &before.qpos);
        prop_assert_eq!(&after.qvel, &before.qvel);
        // Minari's layout loses no step, nor does the file that is made of it.
        prop_assert_eq!(steps(&there).len(), before.rows());
        prop_assert_eq!(after.next, Next::Recorded);
        prop_assert_eq!(steps(&back), steps(&there));
        // Asked for, D4RL's loader has its way.
        let following = Reading { next: Next::Following, ..Reading::default() };
        let plain = Dataset::read_as(&back, None, &following).unwrap();
        prop_assert_eq!(&plain.next, &Next::Following);
        let training = Dataset::read_training_as(&back, None, &Reading::default()).unwrap();
        prop_assert_eq!(&training.next_observations, &before.next_observations);
    }

    /// Files without `next_observations`: the transitions of D4RL's own loader.
    #[test]
    fn unrecorded_successors_are_not_made_up(seed: u64, parts in prop::collection::vec((2..9usize, prop::bool::ANY), 1..6)) {
        let folder = tempfile::tempdir().unwrap();
        let [first, there] = ["first.hdf5", "there-v0"].map(|n| folder.path().join(n));
        let end = |cut: bool| if cut { End::Timeout } else { End::Terminal };
        let mut episodes: Vec<_> = parts.iter().map(|&(n, cut)| (n, end(cut))).collect();
        // D4RL's loader drops the last row whatever it is.
        episodes.push((2, End::Nothing));
        Rows::random(seed, &episodes, [2, 1]).write(&first, false, &BTreeMap::new());
        let made = to_minari(&first, &there, "there-v0", None).unwrap();
        let cut = episodes.iter().filter(|e| e.1 != End::Terminal).count();
        prop_assert_eq!((made.left_out, made.repeated), (cut, episodes.len() - cut));
        prop_assert_eq!(steps(&there), steps(&first));
    }
}

/// The lines of a table of `rows`, with their successors or without.
fn table(rows: &Rows, next: bool) -> String {
    let mut text = "obs_0,obs_1,action,reward,terminal,timeout".to_owned();
    text += if next {
        ",next_obs_0,next_obs_1\n"
    } else {
        "\n"
    };
    for i in 0..rows.rewards.len() {
        let [a, b] = [rows.obs[2 * i], rows.obs[2 * i + 1]];
        let flags = [rows.terminals[i], rows.timeouts[i]].map(u8::from);
        text += &format!("{a},{b},{},{}", rows.actions[i], rows.rewards[i]);
        text += &format!(",{},{}", flags[0], flags[1]);
        if next {
            text += &format!(",{},{}", rows.next[2 * i], rows.next[2 * i + 1]);
        }
        text += "\n";
    }
    text
}

/// Episodes of all kinds, the last of them cut.
fn all_ends(seed: u64) -> Rows {
    let ends = [
        (20, End::Timeout),
        (7, End::Terminal),
        (1, End::Timeout),
        (9, End::Terminal),
        (20, End::Timeout),
    ];
    Rows::random(seed, &ends, [2, 1])
}

#[test]
fn a_table_has_the_same_transitions_in_every_layout() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("log.csv"), table(&all_ends(11), false)).unwrap();
    let expected = steps(&at("log.csv"));
    // Of 57 rows, all but one of each cut episode.
    assert_eq!(expected.len(), 54);
    let made = Conversion::open(&at("log.csv"), None, Reading::default()).unwrap();
    let made = made.to_d4rl(&at("log.hdf5")).unwrap();
    assert_eq!(
        (made.identity.rows, made.left_out, made.repeated),
        (57, 0, 0)
    );
    assert_eq!(steps(&at("log.hdf5")), expected);
    let whole = Dataset::read(&at("log.hdf5")).unwrap();
    assert!(whole.next_observations.is_none(), "none is made up");
    assert_eq!(
        whole.returns(9),
        Dataset::read(&at("log.csv")).unwrap().returns(9)
    );
    let made = to_minari(&at("log.hdf5"), &at("there-v0"), "there-v0", None).unwrap();
    // An episode of one row has no transition.
    assert_eq!((made.identity.rows, made.left_out), (54, 3));
    assert_eq!(steps(&at("there-v0")), expected);
    to_d4rl(&at("there-v0"), &at("back.hdf5")).unwrap();
    assert_eq!(steps(&at("back.hdf5")), expected);
    // And once more, by the program's own way of writing.
    let saved = Dataset::read(&at("there-v0")).unwrap();
    saved.save(&at("saved.hdf5")).unwrap();
    assert_eq!(steps(&at("saved.hdf5")), expected);
    to_minari(&at("back.hdf5"), &at("again-v0"), "again-v0", None).unwrap();
    assert_eq!(steps(&at("again-v0")), expected);
}

#[test]
fn recorded_successors_of_a_table_stay_what_they_were_read_as() {
    let folder = tempfile::tempdir().unwrap();
    let [csv, out] = ["log.csv", "out.hdf5"].map(|name| folder.path().join(name));
    let recorded = Reading {
        next: Next::Recorded,
        ..Reading::default()
    };
    let convert = |how: &Reading| {
        fs::remove_file(&out).ok();
        let source = Conversion::open(&csv, None, how.clone()).unwrap();
        source.to_d4rl(&out).unwrap();
        let before = Dataset::read_as(&csv, None, how).unwrap();
        let after = Dataset::read(&out).unwrap();
        assert_eq!(after.next, before.next);
        let ends = |data: &Dataset| data.episodes(9).collect::<Vec<_>>();
        assert_eq!(ends(&after), ends(&before));
        let before = Transitions::new(Arc::new(before), 9).unwrap();
        assert_eq!(steps(&out).len(), before.len());
        info(&Arc::new(after), None).unwrap().notes
    };
    // As D4RL reads its own: what is flagged as cut is dropped, and said.
    let rows = all_ends(12);
    fs::write(&csv, table(&rows, true)).unwrap();
    let notes = convert(&Reading::default());
    assert_eq!(steps(&out), steps(&csv));
    let note = "the 3 rows at `timeouts` are no transitions";
    assert!(notes.iter().any(|n| n.contains(note)), "{notes:?}");
    // Asked for all of them, all are kept.
    assert!(!convert(&recorded).iter().any(|n| n.contains(note)));
    assert_eq!(steps(&out).len(), 57);
    let next = Dataset::read(&out).unwrap().next_observations.unwrap();
    assert_eq!(next, rows.next);
    // Saved transitions, in any order and without flags of cuts.
    let mut saved = Rows::random(13, &[(30, End::Nothing)], [2, 1]);
    saved.next.rotate_left(10);
    saved.terminals[4] = true;
    fs::write(&csv, table(&saved, true)).unwrap();
    convert(&Reading::default());
    assert_eq!(steps(&out), steps(&csv));
    assert_eq!(steps(&out).len(), 30);
}

/// Without anything that flags cuts, the horizon of the environment does.
#[test]
fn a_table_without_cuts_is_cut_at_the_horizon() {
    let folder = tempfile::tempdir().unwrap();
    let [csv, out] = ["log.csv", "out.hdf5"].map(|name| folder.path().join(name));
    let rows = Rows::random(14, &[(250, End::Nothing)], [2, 1]);
    let text = table(&rows, false).replace(",timeout", ",other");
    fs::write(&csv, text).unwrap();
    let error = to_d4rl(&csv, &out).unwrap_err();
    assert!(matches!(error, DataError::NoCuts { .. }), "{error}");
    let env = Some(EnvId::POINT_MASS);
    let source = Conversion::open(&csv, env, Reading::default()).unwrap();
    assert_eq!(source.to_d4rl(&out).unwrap().identity.rows, 250);
    let horizon = EnvId::POINT_MASS.horizon();
    let before = Transitions::new(Arc::new(Dataset::read(&csv).unwrap()), horizon).unwrap();
    assert_eq!(steps(&out).len(), before.len());
    assert_eq!(Dataset::read(&out).unwrap().episodes(9).count(), 3);
}

#[test]
fn what_is_converted_says_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let [first, there, back] =
        ["first.hdf5", "ns/there-v0", "back.hdf5"].map(|n| folder.path().join(n));
    let local = local_metadata("hopper-medium".parse().unwrap());
    Rows::random(3, &[(5000, End::Timeout), (7, End::Terminal)], [11, 3])
        .write(&first, true, &local);
    let before = Dataset::read(&first).unwrap();
    assert_eq!(before.identity.origin, Origin::Local);
    let made = to_minari(&first, &there, "ns/there-v0", Some(EnvId::HOPPER)).unwrap();
    assert_eq!(
        (made.identity.id.as_str(), made.identity.origin),
        ("ns/there-v0", Origin::Minari)
    );
    let between = Dataset::read(&there).unwrap();
    for (key, value) in [
        ("spar_source", "hopper-medium-local"),
        ("spar_source_origin", "local"),
        ("spar_source_sha256", &before.identity.sha256),
    ] {
        assert_eq!(between.metadata[key], value);
    }
    let after = to_d4rl(&there, &back).unwrap();
    assert_eq!(
        (after.id.as_str(), after.origin),
        ("ns/there-v0", Origin::Minari)
    );
    assert_eq!(Dataset::read(&back).unwrap().identity, after);
    // Same rows, same bytes.
    let again = folder.path().join("again-v0");
    let twice = to_minari(&first, &again, "again-v0", Some(EnvId::HOPPER)).unwrap();
    assert_eq!(twice.identity.sha256, made.identity.sha256);
    assert_eq!(
        names(folder.path()),
        ["again-v0", "back.hdf5", "first.hdf5", "ns"]
    );
}

fn names(folder: &Path) -> Vec<String> {
    let name = |e: std::io::Result<fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

#[test]
fn conversions_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let minari = fixture("minari/test/plain-v0");
    let flat = fixture("d4rl/everything.hdf5");
    fs::write(at("taken"), "kept").unwrap();
    for error in [
        to_d4rl(&minari, &at("taken")).unwrap_err(),
        to_minari(&flat, &at("taken"), "taken-v0", None).unwrap_err(),
    ] {
        assert!(matches!(error, DataError::Exists { .. }), "{error}");
    }
    assert_eq!(fs::read(at("taken")).unwrap(), b"kept");
    for error in [
        to_d4rl(&flat, &at("new")).unwrap_err(),
        to_minari(&minari, &at("new"), "new-v0", None).unwrap_err(),
    ] {
        assert!(matches!(error, DataError::SameLayout { .. }), "{error}");
    }
    for id in ["new", "a/b-v0", "../new-v0"] {
        let error = to_minari(&flat, &at("new"), id, None).unwrap_err();
        assert!(matches!(error, DataError::BadId { .. }), "{error}");
    }
    assert!(minari_id(&at("new")).is_err());
    assert_eq!(minari_id(&at("new-v3")).unwrap(), "new-v3");
    let old = at("old.hdf5");
    let ends = [
        (40, End::Terminal),
        (150, End::Terminal),
        (30, End::Nothing),
    ];
    Rows::random(7, &ends, [2, 1]).write(&old, false, &BTreeMap::new());
    let file = hdf5::File::append(&old).unwrap();
    file.unlink("timeouts").unwrap();
    file.close().unwrap();
    let error = to_minari(&old, &at("new"), "new-v0", None).unwrap_err();
    assert!(matches!(error, DataError::NoCuts { .. }), "{error}");
    fs::write(at("file"), "").unwrap();
    let error = to_minari(&flat, &at("file/below-v0"), "below-v0", None).unwrap_err();
    assert!(matches!(error, DataError::Write { .. }), "{error}");
    assert_eq!(names(folder.path()), ["file", "old.hdf5", "taken"]);
    // Named, an environment cuts it: here after a hundred steps of the second episode.
    let made = to_minari(&old, &at("new"), "new-v0", Some(EnvId::POINT_MASS)).unwrap();
    assert_eq!((made.left_out, made.repeated), (2, 2));
    let wrong = to_minari(&old, &at("other"), "other-v0", Some(EnvId::HOPPER)).unwrap_err();
    assert!(matches!(wrong, DataError::WrongEnv { .. }), "{wrong}");
    // A number that is wrong far inside leaves nothing behind.
    let file = hdf5::File::append(&old).unwrap();
    let rewards = file.dataset("rewards").unwrap();
    let broken = ndarray::arr1(&[f32::NAN]);
    rewards.write_slice(&broken, 219..220).unwrap();
    drop(rewards);
    file.close().unwrap();
    let error = to_minari(&old, &at("late"), "late-v0", Some(EnvId::POINT_MASS)).unwrap_err();
    assert!(
        matches!(error, DataError::NonFinite { row: 219, .. }),
        "{error}"
    );
    assert_eq!(names(folder.path()), ["file", "new", "old.hdf5", "taken"]);
}

/// Against numbers worked out by hand, and numpy's on the same ten:
/// `np.percentile([...], [25, 50, 75])`.
#[test]
fn distributions_are_numpy_s() {
    let values = vec![3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.5];
    let d = spar_data::Distribution::of(values).unwrap();
    assert_eq!((d.count, d.min, d.max), (10, 1.0, 9.0));
    assert_eq!(
        (d.lower_quartile, d.median, d.upper_quartile),
        (2.25, 3.75, 5.0)
    );
    assert!((d.mean - 3.95).abs() < 1e-12 && (d.std - 2.328626204439004).abs() < 1e-12);
    assert_eq!(spar_data::Distribution::of(Vec::new()), None);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.hdf5");
    let mut rows = Rows::random(
        5,
        &[(4, End::Terminal), (2, End::Timeout), (2, End::Nothing)],
        [1, 2],
    );
    rows.rewards = vec![1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 100.0, -100.0];
    rows.actions = vec![
        -1.0, 0.0, 0.5, 0.0, 0.9995, 0.0, 0.0, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -0.25,
    ];
    rows.write(&path, true, &BTreeMap::new());
    let found = stats(&Dataset::read(&path).unwrap(), horizon_of(None));
    assert_eq!((found.rows, found.episodes), (8, 3));
    let (returns, lengths) = (found.returns.unwrap(), found.lengths.unwrap());
    assert_eq!((returns.count, returns.min, returns.max), (2, 4.0, 5.0));
    assert_eq!((lengths.mean, lengths.min, lengths.max), (3.0, 2.0, 4.0));
    assert_eq!((found.rewards.min, found.rewards.max), (-100.0, 100.0));
    let [wide, narrow] = &found.actions[..] else {
        panic!("two dimensions")
    };
    assert!((wide.share_of_range - 1.9995 / 2.0).abs() < 1e-6);
    assert_eq!((wide.share_at_bounds, narrow.share_at_bounds), (0.25, 0.0));
    assert_eq!(
        (narrow.min, narrow.max, narrow.share_of_range),
        (-0.25, 0.25, 0.25)
    );
}
