//! What claims are measured with, against formulas: sagittas, volumes, planes,
//! finite differences.
#![allow(clippy::unwrap_used, missing_docs)]

use candle_core::{Device, Tensor};
use spar_core::Stream;
use spar_nn::{Trace, normal};
use spar_rectify::{Ablation, RectifyConfig, SupportModel};
use spar_theory::{
    chord::{CandidateSet, triangle},
    contraction::{Region, search},
    decoder::jacobians,
    drift::{Base, Updater, distances},
    manifold::Manifold,
    support::Cloud,
};

/// The middle of a chord is off by its sagitta, for which the theorem's two sides are
/// equal and the literal bound is too small.
#[test]
fn on_a_circle_the_inequality_is_an_equation() {
    let circle = &Manifold::all(5, 1)[0];
    let (r, mut stream) = (1.0 / circle.curvature(), Stream::new(1, "chords"));
    for _ in 0..50 {
        let x = circle.sample(&mut stream);
        let y = circle.neighbour(&x, 0.3, &mut stream);
        let set = CandidateSet {
            points: vec![x.at, y.at],
            weights: vec![0.5, 0.5],
        };
        let chord = set.diameter();
        let sagitta = r - (r * r - chord * chord / 4.0).sqrt();
        assert!((circle.distance(&set.target()) - sagitta).abs() < 1e-12);
        if chord > 1e-2 {
            assert!((set.ratio(circle, 1.0 / r) - 1.0).abs() < 1e-9);
            let literal = sagitta * 8.0 * r / (chord * chord);
            assert!((set.literal_ratio(circle, 1.0 / r) - literal).abs() < 1e-9 * literal);
            assert!(literal > 1.0);
        }
    }
}

/// The centre of an equilateral triangle on a sphere: 4/3 of `kappa/8 D^2`, however
/// small it is, and exactly the theorem's right side.
#[test]
fn three_points_of_a_sphere_break_the_bound_with_the_diameter() {
    let sphere = &Manifold::all(5, 1)[1];
    let (r, mut stream) = (1.0 / sphere.curvature(), Stream::new(1, "triangles"));
    for small in [0.01f64, 0.1, 0.5] {
        let set = triangle(sphere, small, &mut stream);
        assert!(set.points.iter().all(|x| sphere.distance(x) < 1e-12));
        let literal = set.literal_ratio(sphere, 1.0 / r);
        assert!(
            (literal - 4.0 / 3.0).abs() < 0.02 + small * small,
            "{literal}"
        );
        assert!((set.ratio(sphere, 1.0 / r) - 1.0).abs() < 1e-9);
    }
}

#[test]
fn a_known_normal_gradient_drifts_as_far_as_the_formula_says() {
    for manifold in Manifold::all(6, 2) {
        let mut stream = Stream::new(2, manifold.name);
        let bases = Base::draw(&manifold, 50, &mut stream);
        let step = 1e-4 / manifold.curvature();
        let found = distances(&manifold, &bases, Updater::ValueGradient, step, 0.5, 2);
        for distance in found {
            // eta nu, and eta^2 kappa / 2 (1 + nu^2) of it unknown.
            let first = step * 0.5;
            let second = step * step * manifold.curvature();
            assert!((distance - first).abs() < second, "{}", manifold.name);
        }
    }
}

#[test]
fn volumes_are_those_of_the_textbook_and_searches_take_as_long() {
    let pi = std::f64::consts::PI;
    // Radius 0.25 in [-1, 1]^d.
    let known = [0.25, pi / 64.0, pi / 96.0 / 4.0];
    for (d, known) in (1..).zip(known) {
        assert!((Region::Whole.hit(d) - known).abs() < 1e-12, "{d}");
        assert_eq!(Region::Ball.hit(d), 0.5f64.powi(d as i32));
    }
    let mut stream = Stream::new(3, "searches");
    let searches: Vec<_> = (0..2000)
        .map(|_| search(Region::Ball, 2, &mut stream))
        .collect();
    assert!(searches.iter().all(|s| s.found));
    // An action costs 128 ln(40 N) observations; N is 4 in the mean.
    let least = 128.0 * 40f64.ln();
    let mean = searches.iter().map(|s| s.data).sum::<f64>() / 2000.0;
    assert!(mean > 4.0 * least && mean < 4.0 * 1.6 * least, "{mean}");
}

#[test]
fn a_point_off_a_plane_is_off_by_its_height() {
    let mut stream = Stream::new(4, "plane");
    let (mut obs, mut actions) = (Vec::new(), Vec::new());
    for _ in 0..3000 {
        let (s, t) = (stream.uniform(-1.0, 1.0), stream.uniform(-1.0, 1.0));
        obs.push(s as f32);
        // Two actions on the line a_2 = 0.
        actions.extend([t as f32, 0.0]);
    }
    let cloud = Cloud::new(&obs, &actions, 1, 2, 3000).unwrap();
    let rows = cloud.queries(50, 4);
    let off = |height: f32| {
        let logged = cloud.logged(&rows);
        let moved: Vec<f32> = logged.chunks(2).flat_map(|a| [a[0], height]).collect();
        cloud.normal(&rows, &moved).unwrap()
    };
    assert!(off(0.0).iter().all(|x| *x < 1e-6));
    assert!(off(0.3).iter().all(|x| (x - 0.3).abs() < 1e-6));
}

#[test]
fn clouds_of_other_sizes_are_refused_in_one_line() {
    let refused = |obs: &[f32], actions: &[f32]| {
        Cloud::new(obs, actions, 1, 1, 1000)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(&[0.0; 200], &[0.0; 199]),
        "numbers in a data set's actions: 199, expected 200"
    );
    assert_eq!(
        refused(&[0.0; 10], &[0.0; 10]),
        "rows to search neighbours among: 10, expected 100"
    );
    let mut bad = [0.0; 200];
    bad[7] = f32::NAN;
    assert!(refused(&[0.0; 200], &bad).starts_with("cannot search for neighbours"));
}

#[test]
fn a_decoders_jacobian_is_that_of_finite_differences() {
    let config = RectifyConfig {
        hidden: vec![16, 16],
        lr: 1e-3,
        beta: 0.1,
        rho: 1.0,
        w_fit: 1.0,
        lambda: 1.0,
        candidates: 8,
        temperature: 0.3,
        scale: 0.0,
        sigma_z: 1.0,
        policy_freq: 1,
        warmup: 0,
        tau: 0.005,
        ablation: Ablation::None,
    };
    let model = SupportModel::new(&config, 1, 2, 7).unwrap();
    let mut stream = Stream::new(7, "case");
    let (s, b) = (
        normal(&mut stream, 1.0, 20, 1),
        normal(&mut stream, 0.5, 20, 2),
    );
    let (s, b) = (s.unwrap(), b.unwrap());
    let z = normal(&mut stream, 1.0, 20, 4).unwrap();
    let found = jacobians(&model, &s, &b, &z).unwrap();
    let decode = |z: &Tensor| -> Vec<Vec<f32>> {
        let out = model.decode(&s, &b, z, Trace::Params).unwrap();
        out.to_vec2().unwrap()
    };
    let (mut wrong, mut all) = (0, 0);
    for j in 0..4 {
        let h = 1e-3f32;
        let mut step = [0f32; 4];
        step[j] = h;
        let step = Tensor::from_slice(&step, (1, 4), &Device::Cpu).unwrap();
        let (up, down) = (
            z.broadcast_add(&step).unwrap(),
            z.broadcast_sub(&step).unwrap(),
        );
        let (up, down) = (decode(&up), decode(&down));
        for (row, jacobian) in found.iter().enumerate() {
            for i in 0..2 {
                let numeric = f64::from(up[row][i] - down[row][i]) / f64::from(2.0 * h);
                all += 1;
                // The last layer starts a hundredth as large; a kink may lie between.
                wrong += usize::from((numeric - jacobian[(i, j)]).abs() > 2e-5);
            }
        }
    }
    assert!(wrong * 20 < all, "{wrong} of {all}");
}
