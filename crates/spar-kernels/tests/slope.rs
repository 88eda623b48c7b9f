//! The slope of a critic and the gradient of a loss of slopes against their definitions
//! and finite differences.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod common;

use common::{close, draw, wide};
use spar_kernels::{
    Isa, MlpShape, Precision, Workspace,
    mlp::{GradParams, Input, SlopeWork, forward, slope, slope_backward},
    reference,
};

const H: f64 = 1e-6;

fn differences(at: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let at_moved = |i: usize, by: f64| {
        let mut moved = at.to_vec();
        moved[i] += by;
        f(&moved)
    };
    (0..at.len())
        .map(|i| (at_moved(i, H) - at_moved(i, -H)) / (2.0 * H))
        .collect()
}

fn along(slopes: &[f64], directions: &[f32]) -> f64 {
    let terms = slopes.iter().zip(directions);
    terms.map(|(g, v)| g * f64::from(*v)).sum()
}

#[test]
fn the_reference_is_the_slope_of_the_network() {
    for hidden in [vec![], vec![7], vec![8, 5, 9]] {
        let shape = MlpShape::relu(4, hidden, 1).unwrap();
        let params = wide(&draw(1, "params", 0.5, shape.parameters()));
        let x = wide(&draw(2, "x", 1.0, 6 * 4));
        let sum = |x: &[f64]| reference::forward(&shape, &params, x).iter().sum::<f64>();
        for (got, want) in reference::slope(&shape, &params, &x)
            .iter()
            .zip(differences(&x, sum))
        {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }
}

/// On every instruction set, of inputs written out and of inputs that share their state,
/// of as many rows as a batch and more than pass through a network together.
#[test]
fn slopes_and_the_gradient_of_their_loss_are_those_of_finite_differences() {
    for (hidden, rows) in [
        (vec![], 3),
        (vec![7], 1),
        (vec![8, 5], 6),
        (vec![12, 20, 9], 5),
        (vec![5, 6], 300),
    ] {
        let (states, actions) = (3, 2);
        let shape = MlpShape::relu(states + actions, hidden, 1).unwrap();
        let params = draw(3, "params", 0.5, shape.parameters());
        let s = draw(4, "s", 1.0, rows * states);
        let a = draw(5, "a", 1.0, rows * actions);
        let whole: Vec<f32> = s
            .chunks(states)
            .zip(a.chunks(actions))
            .flat_map(|(s, a)| [s, a].concat())
            .collect();
        let of_actions = |v: &[f64]| -> Vec<f64> {
            let rows = v.chunks(states + actions);
            rows.flat_map(|row| row[states..].to_vec()).collect()
        };
        let directions = draw(6, "v", 1.0, rows * actions);
        let want = of_actions(&reference::slope(&shape, &wide(&params), &wide(&whole)));
        // Of some rows' values, too, though not of all.
        let mut weights = draw(8, "c", 1.0, rows);
        weights.iter_mut().step_by(2).for_each(|w| *w = 0.0);
        let loss = |p: &[f64]| {
            let slopes = reference::slope(&shape, p, &wide(&whole));
            let values = reference::forward(&shape, p, &wide(&whole));
            along(&of_actions(&slopes), &directions) + along(&values, &weights)
        };
        let want_grad = differences(&wide(&params), loss);
        // The same loss of all inputs: no direction has a part along the state.
        let padded: Vec<f32> = directions
            .chunks(actions)
            .flat_map(|v| [vec![0.0; states], v.to_vec()].concat())
            .collect();
        for isa in Isa::present() {
            let mut work = SlopeWork::default();
            let mut beside = vec![f32::NAN; rows * actions];
            let mut all = vec![f32::NAN; rows * (states + actions)];
            let mut grads = [f32::NAN, 1.0].map(|start| vec![start; params.len()]);
            let mut of_all = vec![f32::NAN; params.len()];
            isa.confine(|| {
                let x = Input::beside(&s, 1, &a);
                // Of more rows first, so that nothing that is left of them is read.
                let more = draw(7, "more", 1.0, 2 * whole.len());
                let mut out = vec![0.0; more.len()];
                slope(&shape, &params, &more, 2 * rows, &mut work, &mut out);

                slope(&shape, &params, x, rows, &mut work, &mut beside);
                let [over, onto] = &mut grads;
                let grad = GradParams::over(over);
                let given = (&weights[..], &directions[..]);
                slope_backward(&shape, &params, x, rows, &mut work, given.0, given.1, grad);
                let mut out = vec![0.0; rows];
                let mut alone = Workspace::default();
                forward(
                    Precision::F32,
                    &shape,
                    &params,
                    x,
                    rows,
                    &mut alone,
                    &mut out,
                );
                assert_eq!(work.values(rows), out);
                let grad = GradParams::onto(onto);
                slope_backward(&shape, &params, x, rows, &mut work, given.0, given.1, grad);
                slope(&shape, &params, &whole, rows, &mut work, &mut all);
                let grad = GradParams::over(&mut of_all);
                slope_backward(
                    &shape, &params, &whole, rows, &mut work, given.0, &padded, grad,
                );
            });
            let what = format!("{shape:?} on {isa:?}");
            close(&what, &beside, &want, 1e-5);
            let all: Vec<f32> = of_actions(&wide(&all)).iter().map(|&v| v as f32).collect();
            close(&what, &all, &want, 1e-5);
            let [over, onto] = grads;
            close(&what, &over, &want_grad, 1e-4);
            close(&what, &of_all, &want_grad, 1e-4);
            let added: Vec<f64> = want_grad.iter().map(|g| g + 1.0).collect();
            close(&what, &onto, &added, 1e-4);
        }
    }
}
