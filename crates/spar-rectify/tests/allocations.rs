//! Acting asks for no memory once its buffers are there. A whole update through
//! candle does; how often is printed (`-- --nocapture`).
#![allow(clippy::unwrap_used, missing_docs)]

use std::num::NonZeroUsize;

use spar_anchor::{Anchor, AnchorConfig};
use spar_core::{Normalizer, Policy, Stream};
use spar_critic::{CriticConfig, CriticForm};
use spar_kernels::counting::{Counting, allocations};
use spar_nn::Batch;
use spar_rectify::{Ablation, RectifyConfig, Spar, SparMetrics};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const OBS: usize = 17;
const ACT: usize = 6;

fn spar() -> Spar {
    let hidden = vec![64, 64];
    let anchor = AnchorConfig {
        hidden: hidden.clone(),
        lr: 3e-4,
        updates: 0,
        ..AnchorConfig::default()
    };
    let critic = CriticConfig {
        form: CriticForm::Expectile,
        hidden: hidden.clone(),
        n_critics: 2,
        lr: 3e-4,
        discount: 0.99,
        tau: 0.005,
        expectile: 0.7,
        deviations: None,
        penalty: 1.5,
        penalty_ratio: 1.0,
    };
    let rectify = RectifyConfig {
        hidden,
        lr: 3e-4,
        beta: 0.03,
        rho: 1.0,
        w_fit: 0.5,
        lambda: 1.0,
        candidates: 8,
        temperature: 0.3,
        scale: 0.3,
        sigma_z: 1.0,
        policy_freq: 2,
        warmup: 0,
        tau: 0.005,
        ablation: Ablation::None,
    };
    let anchor = Anchor::new(&anchor, OBS, ACT, &mut Stream::new(0, "anchor")).unwrap();
    Spar::new(rectify, critic, anchor, OBS, ACT, 0).unwrap()
}

fn draw(name: &str, n: usize) -> Vec<f32> {
    let mut values = vec![0.0; n];
    Stream::new(0, name).fill_uniform(-1.0, 1.0, &mut values);
    values
}

#[test]
fn acting_allocates_nothing() {
    // More rows than pass through the networks together.
    const ROWS: usize = 45;
    let mut policy = spar().policy(Normalizer::identity(OBS)).unwrap();
    let obs = draw("obs", ROWS * OBS);
    let mut streams: Vec<_> = (0..ROWS as u64).map(|i| Stream::new(i, "act")).collect();
    let mut actions = vec![0.0; ROWS * ACT];
    for best_of in [1, 40] {
        policy.residual.as_mut().unwrap().best_of = NonZeroUsize::new(best_of).unwrap();
        let mut act = || policy.act(&obs, &mut streams, &mut actions);
        assert!(
            allocations(&mut act) > 0,
            "the first call fills the buffers"
        );
        assert_eq!(allocations(&mut act), 0, "the best of {best_of}");
    }
    // Fewer rows, as when episodes have ended.
    let (obs, streams, actions) = (&obs[..OBS], &mut streams[..1], &mut actions[..ACT]);
    assert_eq!(allocations(|| policy.act(obs, streams, actions)), 0);
}

#[test]
fn an_update_allocates_as_often_as_the_one_before() {
    const ROWS: usize = 32;
    let mut spar = spar();
    let batch = Batch::from_slices(
        ROWS,
        &draw("obs", ROWS * OBS),
        &draw("actions", ROWS * ACT),
        &draw("rewards", ROWS),
        &draw("next_obs", ROWS * OBS),
        &[1.0; ROWS],
    )
    .unwrap();
    let mut metrics = SparMetrics::default();
    let mut update = || allocations(|| spar.update(&batch, &mut metrics).unwrap());
    // The policy learns in every second update.
    let mut made = [0; 8];
    made.iter_mut().for_each(|made| *made = update());
    let [.., before_with, before_without, with, without] = made;
    println!(
        "allocations of an update: {with} where the policy learns, {without} where only the critic does"
    );
    assert!(with > without && without > 0, "{made:?}");
    assert_eq!([before_with, before_without], [with, without], "{made:?}");
}
