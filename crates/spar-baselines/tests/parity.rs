//! Whole updates of every method against an independent PyTorch program each:
//! `tests/scripts/baselines/`, whose `run.py` says how to regenerate.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::PathBuf};

use golden::{ACT, Arrays, CASES, Case, OBS, ROWS, UPDATES, VARIANTS};
use spar_baselines::{Actor, Learner, METHODS, Part};
use spar_nn::RowWork;

mod golden;

/// The programs compute in double precision, we in single.
const TOLERANCE: f64 = 1e-4;

fn fixture(name: &str) -> Arrays {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let file = root
        .join("../../tests/fixtures/pytorch/baselines")
        .join(name);
    golden::read(&fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())))
}

fn norm(v: impl Iterator<Item = f64>) -> f64 {
    v.map(|x| x * x).sum::<f64>().sqrt()
}

/// How far `got` is from `want`, relative to the latter's change since `start`: the
/// parameters themselves would agree even if nothing had been learned.
#[track_caller]
fn change(what: &str, start: &[f32], got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len(), "{what}");
    let off = norm(got.iter().zip(want).map(|(g, w)| f64::from(g - w)));
    let moved = norm(want.iter().zip(start).map(|(w, s)| f64::from(w - s)));
    if moved == 0.0 {
        assert_eq!(off, 0.0, "{what} stood still in PyTorch");
        return 0.0;
    }
    off / moved
}

#[test]
fn every_method_has_a_case() {
    let cases: Vec<_> = CASES.iter().map(|case| case.name).collect();
    let methods: Vec<_> = METHODS.iter().map(|entry| entry.name).collect();
    assert_eq!(cases, methods);
}

#[test]
fn the_fixtures_inputs_are_what_is_drawn_today() {
    for case in CASES.iter().chain(VARIANTS) {
        let there = fixture(&format!("{}.inputs.safetensors", case.name));
        assert!(
            there == case.inputs(),
            "{}: other parameters, batch or noise than the fixture's; regenerate it",
            case.name
        );
    }
}

#[test]
fn two_updates_of_every_method_are_pytorchs() {
    let mut wrong = Vec::new();
    for case in CASES.iter().chain(VARIANTS) {
        let (losses, parameters, actions) = compare(case, &mut wrong);
        println!(
            "{:10} losses {losses:.1e}, parameter changes {parameters:.1e}, actions {actions:.1e}",
            case.name
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The authors' average starts at the network of the start, stays there for a thousand
/// updates, and moves in every fifth then.
#[test]
fn the_average_of_diffusion_ql_stays_till_update_1000() {
    let case = CASES
        .iter()
        .find(|case| case.name == "diffusion-ql")
        .unwrap();
    let mut learner = case.start_with("average_after = 1000\naverage_every = 5");
    let sample = case.sample();
    let mut before = golden::networks(&mut *learner);
    let mut moved = Vec::new();
    for update in [1, 6, 996, 999, 1000, 1001, 1002, 1005, 1006, 1007, 1011] {
        learner.update(update, &sample).unwrap();
        let now = golden::networks(&mut *learner);
        let differs = |net: &str| now[net] != before[net];
        assert!(differs("actor.entry") && differs("actor.time"), "{update}");
        assert_eq!(
            differs("actor.average.entry"),
            differs("actor.average.time")
        );
        if differs("actor.average.entry") {
            moved.push(update);
        }
        before = now;
    }
    assert_eq!(moved, [1001, 1006, 1011]);
}

/// The largest relative differences of losses, of parameter changes and of
/// actions; those above the tolerance are named in `wrong`.
fn compare(case: &Case, wrong: &mut Vec<String>) -> (f64, f64, f64) {
    let name = case.name;
    let expected = fixture(&format!("{name}.expected.safetensors"));
    let mut learner = case.start();
    let start = golden::networks(&mut *learner);
    let sample = case.sample();
    let (mut losses, mut parameters) = (0f64, 0f64);
    for update in 1..=UPDATES {
        let measured = learner.update(update, &sample).unwrap();
        let prefix = format!("{update}.metric.");
        let mut want: Vec<_> = expected
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix))
            .collect();
        let mut got: Vec<_> = measured.0.iter().map(|(key, _)| *key).collect();
        got.sort_unstable();
        want.sort_unstable();
        assert_eq!(got, want, "{name}, what update {update} measures");
        for (key, got) in measured.0 {
            let (got, want) = (
                f64::from(got),
                f64::from(expected[&format!("{prefix}{key}")][0]),
            );
            let off = (got - want).abs() / (want.abs() + 1e-3);
            if off > TOLERANCE {
                wrong.push(format!(
                    "{name}, update {update}, {key}: {got}, PyTorch {want}"
                ));
            }
            losses = losses.max(off);
        }
        for (net, got) in golden::networks(&mut *learner) {
            let what = format!("{name}, update {update}, {net}");
            let off = change(
                &what,
                &start[&net],
                &got,
                &expected[&format!("{update}.params.{net}")],
            );
            if off > TOLERANCE {
                wrong.push(format!("{what}: changes differ by {off} of themselves"));
            }
            parameters = parameters.max(off);
        }
    }
    let got = act(&*learner, &sample.batch);
    let want = &expected["actions"];
    assert_eq!(got.len(), want.len(), "{name}: actions");
    let off = got.iter().zip(want).map(|(g, w)| f64::from((g - w).abs()));
    let actions = off.fold(0.0, f64::max);
    if actions > TOLERANCE {
        wrong.push(format!("{name}: actions differ by {actions}"));
    }
    assert_every_part_learned(case, &mut *learner, &start);
    (losses, parameters, actions)
}

/// What the method would do in the batch's states.
fn act(learner: &dyn Learner, batch: &spar_nn::Batch) -> Vec<f32> {
    let s: Vec<f32> = batch.obs.flatten_all().unwrap().to_vec1().unwrap();
    let mut work = RowWork::default();
    let mut actions = vec![0.0; ROWS * ACT];
    match learner.actor().unwrap() {
        Actor::Net(net) => net.rows(&s, &mut work, &mut actions),
        Actor::Residual { anchor, net, rho } => {
            anchor.rows(&s, &mut work, &mut actions);
            for (s, a) in s.chunks_exact(OBS).zip(actions.chunks_exact_mut(ACT)) {
                let mut change = [0.0; ACT];
                net.rows(&[s, a].concat(), &mut work, &mut change);
                a.iter_mut().zip(change).for_each(|(a, c)| *a += rho * c);
            }
        }
        Actor::Latent(actor) => {
            let rows = s.chunks_exact(OBS).zip(actions.chunks_exact_mut(ACT));
            for (row, (s, a)) in rows.enumerate() {
                actor.act(s, &mut golden::acting_stream(row), a);
            }
        }
        Actor::Sampled(actor) => {
            let mut streams: Vec<_> = (0..ROWS).map(golden::acting_stream).collect();
            actor.act(&s, &mut streams, &mut actions);
        }
    }
    actions.iter().map(|a| a.clamp(-1.0, 1.0)).collect()
}

/// Every tensor of what is trained has moved, the anchor has not.
fn assert_every_part_learned(case: &Case, learner: &mut dyn Learner, start: &Arrays) {
    for (name, part) in learner.parts().0 {
        let what = format!("{}: {name}", case.name);
        match part {
            Part::Trained(trained) => assert_every_tensor_moved(&what, &trained.net, &start[&name]),
            Part::Momentum(trained) => {
                assert_every_tensor_moved(&what, &trained.net, &start[&name]);
            }
            Part::Variable(variable) => {
                let now: Vec<f32> = variable.var.to_vec1().unwrap();
                assert_ne!(now, start[&name], "{what}");
            }
            Part::Net(net) if name == "anchor" => {
                assert_eq!(net.to_params().unwrap(), start[&name], "{what} is frozen");
            }
            Part::Net(net) => {
                assert_ne!(
                    net.to_params().unwrap(),
                    start[&name],
                    "{what} follows nothing"
                );
            }
            Part::Fixed(values) => assert_eq!(**values, start[&name], "{what} is fixed"),
            Part::Stream(_) | Part::Values(_) => {}
        }
    }
}

#[track_caller]
fn assert_every_tensor_moved(what: &str, net: &spar_nn::Mlp, start: &[f32]) {
    let now = net.to_params().unwrap();
    for (i, layer) in net.shape().layers().enumerate() {
        let norm = layer.norm.into_iter();
        let norm = norm.flat_map(|(gain, shift)| [gain, shift]);
        for range in [layer.weight, layer.bias].into_iter().chain(norm) {
            let same = now[range.clone()] == start[range];
            assert!(!same, "{what}, layer {i} has not moved");
        }
    }
}
