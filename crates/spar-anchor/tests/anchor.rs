//! Behaviour cloning learns the behaviour, and what it leaves is frozen.
#![allow(clippy::unwrap_used, missing_docs)]

use candle_core::Var;
use spar_anchor::{Anchor, AnchorConfig, AnchorTrainer};
use spar_core::Stream;
use spar_nn::{Batch, RowWork, State, normal};

fn config() -> AnchorConfig {
    AnchorConfig {
        hidden: vec![16, 16],
        lr: 3e-3,
        updates: 0,
        ..AnchorConfig::default()
    }
}

fn trainer(seed: u64) -> AnchorTrainer {
    let anchor = Anchor::new(&config(), 3, 2, &mut Stream::new(seed, "init")).unwrap();
    AnchorTrainer::new(anchor, &config())
}

/// Actions that are a function of the state.
fn batch(seed: u64) -> Batch {
    let mut obs = vec![0.0; 64 * 3];
    Stream::new(seed, "obs").fill_normal(1.0, &mut obs);
    let actions: Vec<f32> = obs
        .chunks(3)
        .flat_map(|s| [(s[0] - s[1]).sin() * 0.8, 0.5 * s[2].tanh()])
        .collect();
    Batch::from_slices(64, &obs, &actions, &[0.0; 64], &obs, &[1.0; 64]).unwrap()
}

#[test]
fn cloning_learns_the_behaviour() {
    let mut trainer = trainer(1);
    let first = trainer.update(&batch(0)).unwrap();
    for i in 0..1500 {
        trainer.update(&batch(i % 50)).unwrap();
    }
    let unseen = batch(1000);
    let off = (trainer.anchor.act(&unseen.obs).unwrap() - &unseen.actions).unwrap();
    let loss: f32 = off.sqr().unwrap().mean_all().unwrap().to_scalar().unwrap();
    assert!(loss < 0.05 * first, "{first} to {loss}");
}

#[test]
fn one_update_moves_every_layer() {
    let mut trainer = trainer(1);
    let before = trainer.anchor.net().to_params().unwrap();
    let fingerprint = trainer.anchor.fingerprint().unwrap();
    trainer.update(&batch(0)).unwrap();
    let after = trainer.anchor.net().to_params().unwrap();
    for layer in trainer.anchor.net().shape().layers() {
        for part in [layer.weight, layer.bias] {
            assert_ne!(before[part.clone()], after[part.clone()], "{part:?}");
        }
    }
    assert_ne!(fingerprint, trainer.anchor.fingerprint().unwrap());
}

#[test]
fn a_frozen_anchor_gives_no_gradient_and_says_who_it_is() {
    let anchor = trainer(1).freeze();
    let s = normal(&mut Stream::new(1, "s"), 1.0, 5, 3).unwrap();
    let s = Var::from_tensor(&s).unwrap();
    let b = anchor.act(&s).unwrap();
    let grads = b.sum_all().unwrap().backward().unwrap();
    assert!(grads.get(&s).is_none() && anchor.net().take_gradient().is_none());
    let again = trainer(1).freeze().fingerprint().unwrap();
    assert_eq!(anchor.fingerprint().unwrap(), again);
    assert_ne!(again, trainer(2).freeze().fingerprint().unwrap());
}

#[test]
fn rows_act_as_the_batch_does() {
    let anchor = trainer(1).freeze();
    let s = normal(&mut Stream::new(1, "s"), 1.0, 50, 3).unwrap();
    let want: Vec<f32> = anchor
        .act(&s)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap();
    let s: Vec<f32> = s.flatten_all().unwrap().to_vec1().unwrap();
    let mut actions = vec![0.0; want.len()];
    let rows = anchor.rows().unwrap();
    rows.rows(&s, &mut RowWork::default(), &mut actions);
    for (got, want) in actions.iter().zip(want) {
        assert!((got - want).abs() < 1e-5, "{got} {want}");
    }
}

#[test]
fn a_trainer_read_back_goes_on_as_the_written_one() {
    let mut one = trainer(1);
    for i in 0..5 {
        one.update(&batch(i)).unwrap();
    }
    let mut state = State::default();
    one.save(&mut state).unwrap();
    let mut two = trainer(2);
    two.load(&state).unwrap();
    for i in 5..9 {
        assert_eq!(
            one.update(&batch(i)).unwrap(),
            two.update(&batch(i)).unwrap()
        );
    }
    assert_eq!(
        one.anchor.fingerprint().unwrap(),
        two.anchor.fingerprint().unwrap()
    );
    let wider = AnchorConfig {
        hidden: vec![17, 16],
        ..config()
    };
    let other = Anchor::new(&wider, 3, 2, &mut Stream::new(1, "init")).unwrap();
    let error = AnchorTrainer::new(other, &wider).load(&state).unwrap_err();
    assert!(error.to_string().contains("`anchor"), "{error}");
}
