//! The critic's losses against their definitions, and what an update moves.
#![allow(clippy::unwrap_used, missing_docs)]

use candle_core::{Device, Tensor, Var};
use spar_core::Stream;
use spar_critic::{Critic, CriticConfig, CriticForm, CriticMetrics, climbed, expectile_loss};
use spar_nn::{Batch, State, normal};

const OBS: usize = 3;
const ACT: usize = 2;
const ROWS: usize = 32;

fn config(form: CriticForm) -> CriticConfig {
    CriticConfig {
        form,
        hidden: vec![16, 16],
        n_critics: 3,
        lr: 1e-3,
        discount: 0.9,
        tau: 0.1,
        expectile: 0.7,
        deviations: None,
        penalty: 1.5,
        penalty_ratio: 0.7,
    }
}

fn critic(form: CriticForm) -> Critic {
    Critic::new(config(form), OBS, ACT, 1).unwrap()
}

fn batch(not_terminal: f32) -> Batch {
    let mut stream = Stream::new(2, "batch");
    let mut draw = |n: usize| {
        let mut v = vec![0.0; n];
        stream.fill_normal(1.0, &mut v);
        v
    };
    let (obs, actions, rewards) = (draw(ROWS * OBS), draw(ROWS * ACT), draw(ROWS));
    let next = draw(ROWS * OBS);
    Batch::from_slices(ROWS, &obs, &actions, &rewards, &next, &[not_terminal; ROWS]).unwrap()
}

fn update(critic: &mut Critic, batch: &Batch) -> CriticMetrics {
    let mut next = |s: &Tensor| Tensor::zeros((s.dim(0)?, ACT), s.dtype(), s.device());
    critic.update(batch, &mut next).unwrap()
}

fn saved(critic: &Critic) -> State {
    let mut state = State::default();
    critic.save(&mut state).unwrap();
    state
}

/// Parameters of a network of this file's widths.
fn params(state: &State, name: &str) -> Vec<f32> {
    let input = if name == "critic.value" {
        OBS
    } else {
        OBS + ACT
    };
    state
        .get(name, input * 16 + 3 * 16 + 16 * 16 + 3 * 16 + 16 + 1)
        .unwrap()
}

#[test]
fn expectile_loss_is_its_definition() {
    let values = [-2.0f32, -0.5, 0.0, 0.25, 3.0, -1e-3];
    for expectile in [0.1, 0.5, 0.7, 0.9] {
        let u = Var::from_slice(&values, values.len(), &Device::Cpu).unwrap();
        let loss = expectile_loss(&u, expectile).unwrap();
        let n = values.len() as f64;
        let weight = |v: f64| (expectile - f64::from(u8::from(v < 0.0))).abs();
        let wide = values.map(f64::from);
        let want: f64 = wide.iter().map(|&v| weight(v) * v * v).sum::<f64>() / n;
        let got = f64::from(loss.to_scalar::<f32>().unwrap());
        assert!(
            (got - want).abs() < 1e-6 * (1.0 + want),
            "{expectile}: {got} {want}"
        );
        let grads = loss.backward().unwrap();
        let grads: Vec<f32> = grads.get(&u).unwrap().to_vec1().unwrap();
        for (g, v) in grads.iter().zip(wide) {
            let want = 2.0 * weight(v) * v / n;
            assert!(
                (f64::from(*g) - want).abs() < 1e-6,
                "{expectile} at {v}: {g} {want}"
            );
        }
    }
}

/// What a constant that minimizes the loss is, is what names it.
#[test]
fn the_minimizer_of_expectile_loss_is_the_expectile() {
    let sample = normal(&mut Stream::new(1, "sample"), 1.0, 1, 4000).unwrap();
    let constant = Var::zeros(1, candle_core::DType::F32, &Device::Cpu).unwrap();
    for _ in 0..200 {
        let u = sample.squeeze(0).unwrap().broadcast_sub(&constant).unwrap();
        let grads = expectile_loss(&u, 0.7).unwrap().backward().unwrap();
        let step = (grads.get(&constant).unwrap() * 0.5).unwrap();
        constant
            .set(&(constant.as_tensor() - step).unwrap())
            .unwrap();
    }
    // The e that solves 0.7 E[max(X - e, 0)] = 0.3 E[max(e - X, 0)] for a
    // standard normal X; the sample's own differs by its standard error.
    let got = constant.to_vec1::<f32>().unwrap()[0];
    assert!((got - 0.3371).abs() < 0.04, "{got}");
}

#[test]
fn an_update_moves_every_network_and_no_target() {
    for form in [CriticForm::Expectile, CriticForm::Residual] {
        let mut critic = critic(form);
        let before = saved(&critic);
        update(&mut critic, &batch(1.0));
        let after = saved(&critic);
        let same = |name: &str| params(&before, name) == params(&after, name);
        for i in 0..3 {
            assert!(!same(&format!("critic.{i}")), "{form:?}");
            assert!(same(&format!("critic.{i}.target")), "{form:?}");
        }
        match form {
            CriticForm::Expectile => assert!(!same("critic.value")),
            CriticForm::Residual => assert!(before.get_count("critic.value.adam_step").is_err()),
        }
        critic.polyak().unwrap();
        let averaged = saved(&critic);
        for i in 0..3 {
            let name = format!("critic.{i}.target");
            let (old, new) = (params(&before, &name), params(&averaged, &name));
            let source = params(&averaged, &format!("critic.{i}"));
            for j in 0..old.len() {
                let want = 0.9 * old[j] + 0.1 * source[j];
                assert!((new[j] - want).abs() < 1e-6, "{name} at {j}");
            }
        }
    }
}

#[test]
fn the_members_of_the_ensemble_differ() {
    let state = saved(&critic(CriticForm::Residual));
    assert_ne!(params(&state, "critic.0"), params(&state, "critic.1"));
    assert_ne!(params(&state, "critic.1"), params(&state, "critic.2"));
    assert_eq!(
        params(&state, "critic.1"),
        params(&state, "critic.1.target")
    );
}

#[test]
fn nothing_is_bootstrapped_behind_a_terminal() {
    for form in [CriticForm::Expectile, CriticForm::Residual] {
        let batch = batch(0.0);
        let metrics = update(&mut critic(form), &batch);
        let mean: f32 = batch.rewards.mean_all().unwrap().to_scalar().unwrap();
        assert!((metrics.target_mean - mean).abs() < 1e-6, "{form:?}");
    }
}

/// The in-sample form is in-sample because nobody is asked for an action.
#[test]
fn only_the_residual_form_asks_for_next_actions() {
    for (form, expected) in [(CriticForm::Expectile, 0), (CriticForm::Residual, 1)] {
        let batch = batch(1.0);
        let mut asked = 0;
        let mut next = |s: &Tensor| {
            asked += 1;
            assert_eq!(s.to_vec2::<f32>()?, batch.next_obs.to_vec2::<f32>()?);
            Tensor::zeros((ROWS, ACT), s.dtype(), s.device())
        };
        critic(form).update(&batch, &mut next).unwrap();
        assert_eq!(asked, expected, "{form:?}");
    }
}

#[test]
fn the_conservative_value_is_the_least_and_carries_no_gradient() {
    let critic = critic(CriticForm::Residual);
    let s = Var::from_tensor(&normal(&mut Stream::new(1, "s"), 1.0, 9, OBS).unwrap()).unwrap();
    let a = Var::from_tensor(&normal(&mut Stream::new(1, "a"), 1.0, 9, ACT).unwrap()).unwrap();
    let value = critic.conservative_value(&s, &a).unwrap();
    assert_eq!(value.dims(), [9]);
    let grads = value.sum_all().unwrap().backward().unwrap();
    assert!(grads.get(&a).is_none() && grads.get(&s).is_none());

    // With all but one member's output raised, that member alone is left.
    let least = value.to_vec1::<f32>().unwrap();
    let mut any_lower = false;
    let state = saved(&critic);
    for i in 0..3 {
        let mut raised = state.clone();
        for j in (0..3).filter(|&j| j != i) {
            let mut p = params(&state, &format!("critic.{j}"));
            *p.last_mut().unwrap() += 1e3;
            raised.insert(&format!("critic.{j}"), p);
        }
        let mut one = Critic::new(config(CriticForm::Residual), OBS, ACT, 5).unwrap();
        one.load(&raised).unwrap();
        let member = one
            .conservative_value(&s, &a)
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        assert!(member.iter().zip(&least).all(|(m, l)| m >= l));
        any_lower |= member == least;
    }
    // No member is the least everywhere here, so the minimum is a real one.
    assert!(!any_lower);
}

#[test]
fn what_an_ablation_climbs_is_the_least_value_and_its_gradient() {
    let critic = critic(CriticForm::Expectile);
    let mut stream = Stream::new(3, "case");
    let s = normal(&mut stream, 1.0, 8, OBS).unwrap();
    let a = Var::from_tensor(&normal(&mut stream, 0.3, 8 * 2, ACT).unwrap()).unwrap();
    let value = |a: &Tensor| critic.conservative_value(&s, a).unwrap();
    let q = climbed(&critic, &s, &a).unwrap();
    assert_eq!(
        q.to_vec1::<f32>().unwrap(),
        value(&a).to_vec1::<f32>().unwrap()
    );
    let grads = q.sum_all().unwrap().backward().unwrap();
    let grad = grads.get(&a).unwrap().to_vec2::<f32>().unwrap();
    let (rows, h) = (a.to_vec2::<f32>().unwrap(), 1e-2);
    for component in 0..ACT {
        let shifted = |by: f32| {
            let mut rows = rows.clone();
            rows.iter_mut().for_each(|row| row[component] += by);
            value(&Tensor::new(rows, &Device::Cpu).unwrap())
        };
        let difference = (shifted(h) - shifted(-h))
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        let close = difference.iter().zip(&grad).filter(|(difference, grad)| {
            let got = *difference / (2.0 * h);
            (got - grad[component]).abs() < 0.05 * (0.1 + got.abs())
        });
        // A row or two may cross from one piece of the networks to another.
        assert!(close.count() >= grad.len() - 2, "component {component}");
    }
}

#[test]
fn an_advantage_is_the_value_above_the_states() {
    let mut critic = critic(CriticForm::Expectile);
    for _ in 0..300 {
        update(&mut critic, &batch(0.0));
    }
    let batch = batch(0.0);
    let rows = |x: Tensor| x.to_vec1::<f32>().unwrap();
    let advantage = rows(critic.advantage(&batch.obs, &batch.actions).unwrap());
    let q = rows(
        critic
            .conservative_value(&batch.obs, &batch.actions)
            .unwrap(),
    );
    let values: Vec<f32> = q.iter().zip(&advantage).map(|(q, a)| q - a).collect();
    // Of one state the same, whatever the action.
    let other = (&batch.actions * 0.5).unwrap();
    let advantage = rows(critic.advantage(&batch.obs, &other).unwrap());
    let q = rows(critic.conservative_value(&batch.obs, &other).unwrap());
    for (value, (q, a)) in values.iter().zip(q.iter().zip(&advantage)) {
        assert!((value - (q - a)).abs() < 1e-4);
    }
    assert!(values.iter().any(|&v| v.abs() > 1e-3));
}

#[test]
fn a_critic_learns_the_rewards_of_one_step() {
    for form in [CriticForm::Expectile, CriticForm::Residual] {
        let (mut critic, batch) = (critic(form), batch(0.0));
        let first = update(&mut critic, &batch).q_loss;
        for _ in 0..800 {
            update(&mut critic, &batch);
            critic.polyak().unwrap();
        }
        let last = update(&mut critic, &batch).q_loss;
        assert!(last < 0.02 * first, "{form:?}: {first} to {last}");
    }
}

#[test]
fn a_critic_read_back_goes_on_as_the_written_one() {
    for form in [CriticForm::Expectile, CriticForm::Residual] {
        let mut one = critic(form);
        update(&mut one, &batch(1.0));
        one.polyak().unwrap();
        let mut two = Critic::new(config(form), OBS, ACT, 99).unwrap();
        two.load(&saved(&one)).unwrap();
        assert_eq!(saved(&two), saved(&one));
        assert_eq!(update(&mut one, &batch(1.0)), update(&mut two, &batch(1.0)));
        assert_eq!(saved(&two), saved(&one));
    }
}
