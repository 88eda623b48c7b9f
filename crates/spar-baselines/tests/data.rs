//! What a method sees of the data, and what becomes of its settings.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{collections::BTreeMap, sync::Arc};

use spar_baselines::{Part, Replay, SettingsError, Start, find};
use spar_core::Stream;
use spar_data::{Batch, Dataset, Steps, Transitions};
use toml::Table;

/// Three trajectories of returns 3, 30 and 12 by the rewards' sums: of three rows,
/// ended; of three, cut; of four, ended. Observations are the rows' numbers.
fn data() -> Transitions {
    let rewards = vec![1.0, 1.0, 1.0, 10.0, 10.0, 10.0, 3.0, 3.0, 3.0, 3.0];
    let rows = rewards.len();
    let flag = |at: &[usize]| (0..rows).map(|i| at.contains(&i)).collect::<Vec<_>>();
    let steps = Steps {
        observations: (0..rows).map(|i| i as f32).collect(),
        actions: (0..rows).map(|i| 0.1 * i as f32).collect(),
        rewards,
        terminals: flag(&[2, 9]),
        timeouts: flag(&[5]),
    };
    let set = Dataset::in_memory("three", 1, 1, steps).unwrap();
    Transitions::new(Arc::new(set), 1000).unwrap()
}

fn replay(method: &str, settings: &str) -> Replay {
    let entry = find(method).unwrap();
    let settings = entry.settings(toml::from_str(settings).unwrap()).unwrap();
    Replay::new(&data(), &entry.feed(&settings).unwrap(), 1000).unwrap()
}

fn rows(replay: &Replay) -> Vec<usize> {
    let t = replay.transitions();
    (0..t.len()).map(|i| t.row(i)).collect()
}

#[track_caller]
fn close(got: f32, want: f64) {
    assert!((f64::from(got) - want).abs() < 1e-5, "{got} {want}");
}

/// LAPO's rewards reach one at most, those of a file that pays none are as they are.
#[test]
fn rewards_are_scaled_by_the_largest() {
    let scaled = replay("lapo", "data.rewards.largest = 2.0");
    // The row that pays 10 and is cut gives no transition, two that pay as much do.
    close(scaled.reward_scale(), 0.2);
    close(scaled.reward(0), 0.2);
    let most = (0..scaled.transitions().len()).map(|i| scaled.reward(i));
    close(most.fold(f32::MIN, f32::max), 2.0);
    let entry = find("lapo").unwrap();
    let zero = toml::from_str("data.rewards.largest = 0.0").unwrap();
    assert!(entry.settings(zero).is_err());
}

/// The targets of SAC-N's authors are no copies at first, and EDAC's are SAC-N's.
#[test]
fn the_targets_of_an_ensemble_are_drawn_by_themselves() {
    for method in ["sac-n", "edac"] {
        let settings = "hidden = [8]\ncritics = 3";
        let entry = find(method).unwrap();
        let table = entry.settings(toml::from_str(settings).unwrap()).unwrap();
        let start = Start {
            obs_dim: 1,
            act_dim: 1,
            seed: 3,
            replay: Arc::new(replay(method, settings)),
            anchor: None,
        };
        let mut learner = entry.start(&table, start).unwrap();
        let parts = learner.parts().0.into_iter();
        let nets = parts.filter_map(|(name, part)| match part {
            Part::Net(net) => Some((name, net.to_params().unwrap())),
            Part::Trained(trained) => Some((name, trained.net.to_params().unwrap())),
            _ => None,
        });
        let nets: BTreeMap<String, Vec<f32>> = nets.collect();
        for i in 0..3 {
            let (net, target) = (
                &nets[&format!("critic.{i}")],
                &nets[&format!("critic.{i}.target")],
            );
            // All but the hidden biases, which are one number everywhere.
            let same = net.iter().zip(target).filter(|(a, b)| a == b).count();
            assert_eq!(same, 8, "{method}, critic {i}");
            // `[in 2, out 8]` weights, then those biases, then the output layer's.
            assert!(net[16..24].iter().all(|bias| *bias == 0.1), "{method}");
            assert!(net[24..].iter().all(|p| p.abs() <= 3e-3), "{method}");
        }
    }
    let eta = toml::from_str("eta = 1.0").unwrap();
    let error = find("sac-n").unwrap().settings(eta).unwrap_err();
    assert!(error.to_string().contains("`edac`"), "{error}");
}

#[test]
fn only_the_best_trajectories_are_kept() {
    // The whole file without the cut row and the last; then the best third of three.
    assert_eq!(rows(&replay("td3bc", "")), [0, 1, 2, 3, 4, 6, 7, 8]);
    let keep = |fraction| format!("data.keep = {{ fraction = {fraction}, discount = 0.99 }}");
    assert_eq!(rows(&replay("bc10", &keep("0.34"))), [3, 4]);
    assert_eq!(rows(&replay("bc10", &keep("0.67"))), [3, 4, 6, 7, 8]);
    // At least one, whatever the fraction.
    assert_eq!(rows(&replay("bc10", "")), [3, 4]);
    // Standardized by what is kept.
    let kept = replay("bc10", "");
    assert_eq!(kept.normalizer().mean, [3.5]);
}

/// A frozen anchor could be fed other states than it was trained on.
#[test]
fn an_anchored_method_sees_the_states_of_its_anchor() {
    let keep = "data.keep = { fraction = 0.5, discount = 0.99 }";
    for (settings, named) in [
        (
            "data.states = 'raw'",
            "`data.states` is raw, expected standardized",
        ),
        (keep, "`data.keep.fraction` is 0.5, expected no `data.keep`"),
    ] {
        for method in spar_baselines::METHODS {
            let table: Table = toml::from_str(settings).unwrap();
            match method.settings(table) {
                Ok(_) => assert!(!method.anchored, "{}", method.name),
                Err(error) => {
                    let text = error.to_string();
                    assert!(method.anchored && text.contains(named), "{text}");
                }
            }
        }
    }
}

#[test]
fn rewards_are_what_the_settings_make_of_them() {
    let raw = replay("td3bc", "");
    let scaled = replay(
        "td3bc",
        "data.rewards.affine = { scale = 2.0, shift = -1.0 }",
    );
    // Returns of complete trajectories lie between 3 and 30.
    let ranged = replay("iql", "");
    close(ranged.reward_scale(), 1000.0 / 27.0);
    for i in 0..raw.transitions().len() {
        let r = f64::from(data().reward(i));
        close(raw.reward(i), r);
        close(scaled.reward(i), 2.0 * r - 1.0);
        assert!((f64::from(ranged.reward(i)) - r * 1000.0 / 27.0).abs() < 1e-3);
        close(
            raw.bootstrap(i),
            if raw.transitions().row(i) == 2 {
                0.0
            } else {
                1.0
            },
        );
    }
}

#[test]
fn returns_to_go_are_blended_into_rewards_and_discounts() {
    let with = |blend: &str| {
        let hubl = format!("discount = 0.5\ndata.hubl = {{ alpha = 0.6, blend = '{blend}' }}");
        replay("td3bc", &hubl)
    };
    let constant = with("constant");
    // Row 0: what follows it is worth 1 + 0.5.
    close(constant.reward(0), 1.0 + 0.5 * 0.6 * 1.5);
    close(constant.bootstrap(0), 0.4);
    // Row 2 is terminal: nothing follows, nothing is bootstrapped.
    close(constant.reward(2), 1.0);
    close(constant.bootstrap(2), 0.0);
    // Row 4, before the cut: the recorded reward of row 5.
    close(constant.reward(4), 10.0 + 0.5 * 0.6 * 10.0);
    // Discounted returns 1.75, 17.5 and 5.625: ranks 1, 3 and 2 of 3.
    let rank = with("rank");
    for (i, share) in [(0, 1.0 / 3.0), (3, 1.0), (5, 2.0 / 3.0)] {
        close(rank.bootstrap(i), 1.0 - 0.6 * share);
    }
    let sigmoid = with("sigmoid");
    let returns = [1.75, 17.5, 5.625f64];
    let mean = returns.iter().sum::<f64>() / 3.0;
    let std = (returns.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
    for (i, own) in [(0, 1.75), (3, 17.5), (5, 5.625)] {
        let share = 1.0 / (1.0 + ((mean - own) / std).exp());
        close(sigmoid.bootstrap(i), 1.0 - 0.6 * share);
    }
}

/// Two trajectories of antmaze's kind: a goal that ends nothing, where every row of a stay is
/// terminal. Rows 0 to 4 reach it late, rows 5 to 9 early, and rows 10 to 14 never do.
fn with_stays() -> Transitions {
    let flag = |at: &[usize]| (0..15).map(|i| at.contains(&i)).collect::<Vec<_>>();
    let terminals = flag(&[3, 4, 6, 7, 8, 9]);
    let steps = Steps {
        observations: (0..15).map(|i| i as f32).collect(),
        actions: vec![0.0; 15],
        rewards: terminals.iter().map(|&t| f32::from(u8::from(t))).collect(),
        terminals,
        timeouts: flag(&[4, 9, 14]),
    };
    let set = Dataset::in_memory("stays", 1, 1, steps).unwrap();
    Transitions::new(Arc::new(set), 1000).unwrap()
}

/// Cut at terminals, each row of a stay was a trajectory, and the best ones were those alone.
#[test]
fn trajectories_go_on_past_terminals_that_come_in_runs() {
    let replay = |method: &str, settings: &str| {
        let entry = find(method).unwrap();
        let settings = entry.settings(toml::from_str(settings).unwrap()).unwrap();
        Replay::new(&with_stays(), &entry.feed(&settings).unwrap(), 1000).unwrap()
    };
    let set = with_stays().dataset().clone();
    let starts: Vec<usize> = set.episodes(1000).map(|e| e.rows.start).collect();
    assert_eq!(starts, [0, 5, 10]);
    // What the environment pays, which ends at the goal; so is the range of rewards.
    assert_eq!(set.returns(1000), [1.0, 1.0, 0.0]);
    close(replay("iql", "").reward_scale(), 1000.0);

    let keep = |discount: f64| format!("data.keep = {{ fraction = 0.34, discount = {discount} }}");
    for discount in [0.9, 1.0] {
        assert_eq!(rows(&replay("bc10", &keep(discount))), [5, 6, 7, 8]);
    }

    let hubl = |blend: &str| {
        let hubl = format!("discount = 0.5\ndata.hubl = {{ alpha = 0.6, blend = '{blend}' }}");
        replay("td3bc", &hubl)
    };
    // Transitions are all rows but those that are cut: 4, 9 and 14.
    let constant = hubl("constant");
    close(constant.reward(1), 0.5 * 0.6 * 0.5);
    close(constant.reward(2), 0.5 * 0.6);
    // A terminal's worth is its reward, whatever the ant did afterwards.
    for (i, row) in [(3, 3), (5, 6), (6, 7)] {
        assert_eq!(constant.transitions().row(i), row);
        close(constant.reward(i), 1.0);
        close(constant.bootstrap(i), 0.0);
    }
    // Discounted returns 0.125, 0.5 and 0: ranks 2, 3 and 1 of three.
    let rank = hubl("rank");
    for (i, share) in [(0, 2.0 / 3.0), (4, 1.0), (8, 1.0 / 3.0)] {
        close(rank.bootstrap(i), 1.0 - 0.6 * share);
    }
    let cql = replay(
        "cql",
        "discount = 0.5\ncalibrated = true\ndata.rewards = 'raw'",
    );
    let mut batch = Batch::new(3, 1, 1);
    cql.gather(&[0, 3, 5], &mut batch);
    assert_eq!(batch.returns, [0.125, 1.0, 1.0]);
}

#[test]
fn a_minibatch_is_of_the_transitions_its_index_names() {
    let replay = replay("iql", "data.rewards = 'raw'");
    let mut batch = Batch::new(64, 1, 1);
    let mut index = Vec::new();
    replay.draw(&mut Stream::new(1, "draw"), &mut batch, &mut index);
    let mut seen = [false; 8];
    for (row, &i) in index.iter().enumerate() {
        seen[i] = true;
        let at = replay.transitions().row(i) as f32;
        assert_eq!((batch.obs[row], batch.next_obs[row]), (at, at + 1.0));
        close(batch.actions[row], 0.1 * f64::from(at));
        assert_eq!(batch.rewards[row], replay.reward(i));
    }
    assert!(seen.iter().all(|&s| s), "{seen:?}");
    let next = replay.next_actions(&[0, 4]).unwrap();
    let next: Vec<f32> = next.flatten_all().unwrap().to_vec1().unwrap();
    close(next[0], 0.1);
    close(next[1], 0.5);
    let ends: Vec<usize> = (0..8).filter(|&i| replay.ends_trajectory(i)).collect();
    assert_eq!(ends, [2, 4, 7]);
}

/// A suite lays tables over one another without their types: it has to know which hold
/// a choice. serde tells them apart by what it says to a key that is not theirs.
#[test]
fn suites_know_every_table_that_holds_a_choice() {
    let mut seen = std::collections::BTreeSet::new();
    let hubl = "data.hubl = { alpha = 0.1, blend = 'rank' }\n";
    let keep = "data.keep = { fraction = 0.1, discount = 0.9 }\n";
    let affine = "data.rewards.affine = { scale = 1.0, shift = 0.0 }\n";
    for entry in spar_baselines::METHODS {
        // An anchor has seen all the data: what stands on it may keep no part.
        let keep = if entry.anchored { "" } else { keep };
        let text = format!("{hubl}{keep}{affine}");
        let whole = entry.settings(toml::from_str(&text).unwrap()).unwrap();
        for path in tables(&whole) {
            let mut strange = whole.clone();
            let table = path.iter().fold(&mut strange, |table, key| {
                table[*key].as_table_mut().unwrap()
            });
            table.insert("strange".to_owned(), 1.into());
            let said = entry.settings(strange).unwrap_err().to_string();
            let name = *path.last().unwrap();
            let choice = !said.contains("unknown field");
            let inside = path.iter().rev().skip(1).any(|key| *key == "rewards");
            let known = spar_core::suite::CHOICES.contains(&name);
            assert!(
                inside || choice == known,
                "{}: {path:?}: {said}",
                entry.name
            );
            seen.insert(name.to_owned());
        }
    }
    assert!(
        seen.contains("rewards") && seen.contains("hubl"),
        "{seen:?}"
    );
}

/// The keys that lead to each table below `table`.
fn tables(table: &Table) -> Vec<Vec<&str>> {
    let below = table.iter().filter_map(|(key, value)| {
        let inner = tables(value.as_table()?).into_iter();
        let inner = inner.map(|path| [vec![key.as_str()], path].concat());
        Some(
            [vec![key.as_str()]]
                .into_iter()
                .chain(inner)
                .collect::<Vec<_>>(),
        )
    });
    below.flatten().collect()
}

#[test]
fn what_a_table_does_not_name_is_the_methods_own() {
    let iql = find("iql").unwrap();
    let settings = |text: &str| iql.settings(toml::from_str::<Table>(text).unwrap());
    let whole = settings("data.batch_size = 64").unwrap();
    let data = whole["data"].as_table().unwrap();
    assert_eq!(data["batch_size"].as_integer(), Some(64));
    assert_eq!(data["states"].as_str(), Some("raw"));
    assert_eq!(data["rewards"]["range"].as_float(), Some(1000.0));
    assert_eq!(whole["expectile"].as_float(), Some(0.7));
    assert_eq!(
        settings("").unwrap(),
        iql.settings(settings("").unwrap()).unwrap()
    );
    // A choice replaces the other, it is not laid over it.
    let affine = settings("data.rewards.affine = { scale = 1.0, shift = 0.0 }").unwrap();
    assert!(affine["data"]["rewards"].get("range").is_none());
    let keep = find("bc10")
        .unwrap()
        .settings(toml::from_str("data.keep.fraction = 0.2").unwrap());
    let keep = keep.unwrap()["data"]["keep"].clone();
    assert_eq!(keep["fraction"].as_float(), Some(0.2));
    assert_eq!(keep["discount"].as_float(), Some(0.99));
    for (text, named) in [
        (
            "expectile = 1.0",
            "`expectile` is 1, expected a number above 0 and below 1",
        ),
        (
            "data.hubl = { alpha = 2.0, blend = 'rank' }",
            "`data.hubl.alpha` is 2",
        ),
        ("data.batches = 3", "batches"),
        ("alpha = 1.0", "alpha"),
    ] {
        let error: SettingsError = settings(text).unwrap_err();
        let said = error.to_string();
        assert!(said.contains(named) && !said.contains('\n'), "{said}");
    }
}

/// Whatever a method's settings are: each of them is given what no run can be made of.
#[test]
fn every_methods_sizes_have_a_range() {
    use toml::Value;
    fn spoilt(value: &Value) -> Vec<Value> {
        match value {
            Value::Integer(_) => vec![Value::Integer(-1), Value::Integer(1_000_000_000_000)],
            Value::Float(_) => vec![Value::Float(f64::NAN), Value::Float(f64::INFINITY)],
            Value::Array(_) => [0, 1_000_000_000_000]
                .map(|width| Value::Array(vec![Value::Integer(width); 2]))
                .into(),
            _ => Vec::new(),
        }
    }
    for entry in spar_baselines::METHODS {
        let usual = entry.settings(Table::new()).unwrap();
        let mut tried = 0;
        for (key, value) in &usual {
            for value in spoilt(value) {
                let table = Table::from_iter([(key.clone(), value.clone())]);
                let error = entry
                    .settings(table)
                    .expect_err(&format!("{key} = {value}"));
                let said = error.to_string();
                assert!(
                    said.contains(key) && !said.contains('\n'),
                    "{}: {said}",
                    entry.name
                );
                tried += 1;
            }
        }
        for rows in [0i64, 65_537, 1_000_000_000_000] {
            let text = format!("data.batch_size = {rows}");
            let error = entry.settings(toml::from_str(&text).unwrap()).unwrap_err();
            assert!(error.to_string().contains("from 1 to 65536"), "{error}");
        }
        // Each in range, together too many.
        let text = "data.batch_size = 65536\nhidden = [16384]";
        let error = entry.settings(toml::from_str(text).unwrap()).unwrap_err();
        assert!(
            error.to_string().contains("`data.batch_size` x `"),
            "{error}"
        );
        assert!(tried > 2, "{}", entry.name);
    }
}

/// Their policy files could not be read again.
#[test]
fn more_passes_to_an_action_than_a_policy_may_take_are_refused() {
    for (name, steps) in [
        ("ifql", "flow_steps"),
        ("idql", "steps"),
        ("diffusion-ql", "steps"),
    ] {
        let entry = spar_baselines::find(name).unwrap();
        let settings = |n: usize| {
            let text = format!("candidates = 1000\n{steps} = {n}");
            entry.settings(toml::from_str(&text).unwrap())
        };
        assert_eq!(
            settings(1000).unwrap_err().to_string(),
            format!(
                "`candidates` x `{steps}` is 1000 x 1000, expected at most 131072 passes to one action"
            )
        );
        settings(131).unwrap();
    }
}
