//! Which crate may depend on which: the order of ARCHITECTURE.md, held by a test.

use crate::tidy::{assert_none, dependencies_where, manifests};

/// Crates by layer: a crate depends on crates of lower layers only.
const LAYERS: &[&[&str]] = &[
    &["spar-core"],
    &[
        "spar-data",
        "spar-kernels",
        "spar-env",
        "spar-stats",
        "spar-setup",
    ],
    &["spar-policy"],
    &["spar-nn", "spar-eval", "spar-render"],
    &["spar-anchor", "spar-critic", "spar-ope"],
    &["spar-rectify", "spar-baselines", "spar-collect"],
    &["spar-train"],
    &["spar"],
];

/// Crates beside the layers, and all they may depend on.
const BESIDE: &[(&str, &[&str])] = &[
    ("xtask", &["spar-core", "spar-setup", "spar-suite"]),
    ("spar-suite", &["spar-core"]),
    (
        "spar-bench",
        &[
            "spar-core",
            "spar-setup",
            "spar-suite",
            "spar-data",
            "spar-kernels",
            "spar-policy",
            "spar-nn",
            "spar-anchor",
            "spar-critic",
            "spar-rectify",
            "spar-baselines",
        ],
    ),
    ("spar-c", &["spar-policy"]),
    (
        "spar-py",
        &[
            "spar-core",
            "spar-data",
            "spar-env",
            "spar-policy",
            "spar-stats",
            "spar-train",
        ],
    ),
    ("spar-report", &["spar-core", "spar-stats"]),
    (
        "spar-theory",
        &[
            "spar-core",
            "spar-data",
            "spar-kernels",
            "spar-nn",
            "spar-stats",
            "spar-anchor",
            "spar-critic",
            "spar-rectify",
            "spar-baselines",
            "spar-report",
        ],
    ),
];

#[test]
fn dependency_arrows_run_one_way() {
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    let beside = |name: &str| BESIDE.iter().find(|(package, _)| *package == name);
    let unknown = manifests().into_keys();
    assert_none(
        unknown
            .filter(|name| layer(name).is_none() && beside(name).is_none())
            .collect(),
        "every crate has its place; add it to LAYERS in xtask/src/layers.rs",
    );
    let backwards = |package: &str, name: &str| {
        let ours = layer(name).is_some() || beside(name).is_some();
        ours && match (beside(package), layer(package), layer(name)) {
            (Some((_, allowed)), ..) => !allowed.contains(&name),
            (None, Some(from), Some(to)) => to >= from,
            // Only the facade stands above the report, the theory and the suites.
            (None, Some(_), None) => {
                package != "spar" || !["spar-report", "spar-theory", "spar-suite"].contains(&name)
            }
            (None, None, _) => true,
        }
    };
    assert_none(
        dependencies_where(backwards),
        "core <- {data, kernels, env, stats} <- policy <- {nn, eval, render} <- {anchor, critic, ope} <- {rectify, baselines, collect} <- train <- spar",
    );
}
