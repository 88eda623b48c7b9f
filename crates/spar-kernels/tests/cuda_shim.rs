//! The CUDA kernels' own sources, executed on the CPU, against the plain
//! references.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "cuda/bodies/mod.rs"]
mod bodies;
#[path = "cuda/shim.rs"]
mod shim;

use spar_kernels::cuda::{Kernels, Limits};

use crate::shim::{Order, Shim};

/// A small device splits no gradient, and its shared memory is that of compute capability
/// 8.0. A large one splits, and has so little that wider layers are taken eight rows at a
/// time, as on no device but for the widest ones.
const DEVICES: [Limits; 2] = [
    Limits {
        shared_bytes: 163 * 1024,
        multiprocessors: 1,
    },
    Limits {
        shared_bytes: 44 * 1024,
        multiprocessors: 132,
    },
];

/// Of compute capability 8.6, the least of all the kernels run on.
const LEAST: usize = 99 * 1024;

/// Every body on both devices: right in ascending order of threads, and to the
/// same bits in descending order. Except for the parameters' gradient, whose
/// sum over rows may be split, the devices agree in every bit as well: what
/// comes of a row does not depend on how many rows share its block.
fn in_both_orders(name: &str) {
    let all = bodies::all();
    let (_, body) = all.iter().find(|(n, _)| *n == name).unwrap();
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let mut first = None;
    for mut limits in DEVICES {
        if name == "wide networks" {
            limits.shared_bytes = limits.shared_bytes.max(LEAST);
        }
        let run = |order| Shim::new(limits, order).map(|shim| bits(body(&Kernels::new(shim))));
        let (Some(up), Some(down)) = (run(Order::Ascending), run(Order::Descending)) else {
            return;
        };
        assert!(
            up == down,
            "{name}: the order of threads shows; is a barrier missing?"
        );
        let splits = ["backward", "wide networks", "update", "repeat"].contains(&name);
        let first = first.get_or_insert_with(|| up.clone());
        assert!(splits || *first == up, "{name}: rows depend on each other");
    }
}

macro_rules! tests {
    ($($test:ident: $body:literal,)*) => {
        $(#[test]
        fn $test() {
            in_both_orders($body);
        })*

        #[test]
        fn every_body_is_run() {
            let names: Vec<_> = bodies::all::<Shim>().iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$($body),*]);
        }
    };
}

tests! {
    forward_is_its_definition: "forward",
    backward_is_the_cpus: "backward",
    the_widest_networks_fit: "wide networks",
    actions_are_clipped_around_their_base: "actions",
    a_parameter_that_is_not_a_number_shows: "not a number",
    conservative_values_are_their_definition: "conservative",
    imitation_is_its_definition: "imitation",
    adam_and_averaging_are_their_definition: "adam",
    the_policy_is_its_definition: "policy",
    losses_and_their_gradients_are_those_of_differences: "losses",
    an_update_is_the_same_in_either_order: "update",
    a_recording_repeated_is_the_launches_themselves: "repeat",
    what_does_not_fit_is_refused: "refusals",
}

/// The figure of `docs/cuda.md`, whether rows are split or not.
#[test]
fn an_update_takes_the_launches_the_documentation_counts() {
    for limits in DEVICES {
        let Some(shim) = Shim::new(limits, Order::Ascending) else {
            return;
        };
        let kernels = Kernels::new(shim);
        bodies::update(&kernels);
        assert_eq!(kernels.device().launches(), 31);
    }
}
