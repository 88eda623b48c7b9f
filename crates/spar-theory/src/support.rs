//! Claim 4, on data sets: are SPAR's actions no further from the data than its anchor's?
//!
//! # Hypothesis
//! The component of `pi(s)` normal to the data around it is, for SPAR, no larger than
//! for its frozen anchor.
//!
//! # Method
//! A data file is a cloud of points `(s, a)`, states standardized by its mean and
//! deviation, actions as they are ([`Cloud`]). For a logged state `s` and the action a
//! policy takes there, the k = 50 nearest points to `(s, pi(s))` are found (the row
//! that gave `s` left out), their principal directions that carry 95% of their
//! variance are called tangent, and of what is left of `(s, pi(s))` less their mean the
//! action part is the normal component. (The state part says how thinly the states lie
//! there, which no policy has a choice in; on locomotion data it is the larger.) A
//! cloud is thick: the same number for the data's own actions is what to compare with.
//!
//! What it cannot see: a policy that averages lies nearer to the middle of a thick cloud
//! than the data themselves do, and so may have less than the floor. A small number says
//! that an action lies where data are, not that it is one of theirs.
//!
//! Where runs of a suite are given, each policy file is asked on its own data file, at most
//! [`Sizes::rows`] of its rows; a run that is not there is a row that says so. Without any, and beside
//! them, the suite trains the anchor, SPAR, TD3+BC, IQL and a value-gradient policy on [`Task::Arc`],
//! where the true distance from support is known as well.
//!
//! # Sizes
//! [`Sizes::queries`] states for each policy, the same for all; [`Sizes::seeds`] training seeds
//! on the synthetic task, whatever seeds are there of a suite.
//!
//! # Estimator
//! Mean over seeds and states of SPAR's component less its anchor's, paired by seed and state,
//! with the hierarchical 95% bootstrap interval of `spar_stats::paired_difference`.
//!
//! # Verdict
//! Of each task: `supported` if the interval's upper end is at most 5% of the anchor's
//! mean (no larger, with that margin); else `not supported` if its lower end is above
//! zero; else `inconclusive`, as is a task of the suite without data or without a pair of
//! runs. The claim is the worst of them. Where no suite is given it speaks of the
//! synthetic task alone.
//!
//! # Controls
//! SPAR's actions pushed outwards by 0.5 must not be supported; and data actions
//! pushed off the arc by 0.1 must be found to be off by that to 20%.

use kdtree::{KdTree, distance::squared_euclidean};
use nalgebra::{DMatrix, DVector};
use spar_core::{Policy, Stream};
use spar_stats::{Bootstrap, Estimate, Pair, mean, paired_difference};

use crate::{
    Claim, Control, Finding, Sizes, TheoryError, Verdict,
    decoder::stats,
    toy::{RADIUS, Task, act},
    toy_train::{self, Beside},
};

/// Neighbours a tangent space is made of.
const NEIGHBOURS: usize = 50;
/// Share of the variance that is called tangent.
const TANGENT: f64 = 0.95;
/// How much larger than the anchor's is no larger.
const MARGIN: f64 = 0.05;
/// Rows of the synthetic data.
const ROWS: usize = 4000;

/// Logged states and actions with a search tree over them.
#[derive(Debug)]
pub struct Cloud {
    obs_dim: usize,
    act_dim: usize,
    /// `[rows, obs_dim]`, in the environment's units.
    obs: Vec<f32>,
    /// `[rows]` points `(s, a)`, states standardized.
    points: Vec<Vec<f64>>,
    tree: KdTree<f64, usize, Vec<f64>>,
}

impl Cloud {
    /// At most `limit` of the rows, evenly spaced, of observations `[rows, obs_dim]` and
    /// actions `[rows, act_dim]`.
    ///
    /// # Errors
    /// If there are fewer rows than neighbours, the lengths do not fit, or a number is
    /// not finite.
    pub fn new(
        obs: &[f32],
        actions: &[f32],
        obs_dim: usize,
        act_dim: usize,
        limit: usize,
    ) -> Result<Self, TheoryError> {
        let rows = obs.len() / obs_dim;
        let shape = |what, got, expected| {
            Err(TheoryError::Shape {
                what,
                got,
                expected,
            })
        };
        if actions.len() != rows * act_dim {
            return shape(
                "numbers in a data set's actions",
                actions.len(),
                rows * act_dim,
            );
        }
        if rows.min(limit) < 2 * NEIGHBOURS {
            return shape(
                "rows to search neighbours among",
                rows.min(limit),
                2 * NEIGHBOURS,
            );
        }
        let stride = rows.div_ceil(limit);
        let kept: Vec<usize> = (0..rows).step_by(stride).collect();
        let column = |j: usize| kept.iter().map(move |&i| f64::from(obs[i * obs_dim + j]));
        let units: Vec<(f64, f64)> = (0..obs_dim)
            .map(|j| {
                let values: Vec<f64> = column(j).collect();
                (mean(&values), spar_stats::std(&values, 0) + 1e-3)
            })
            .collect();
        let mut tree = KdTree::new(obs_dim + act_dim);
        let (mut points, mut kept_obs) = (Vec::new(), Vec::new());
        for (at, &i) in kept.iter().enumerate() {
            let s = &obs[i * obs_dim..(i + 1) * obs_dim];
            let a = &actions[i * act_dim..(i + 1) * act_dim];
            let states = s.iter().zip(&units);
            let states = states.map(|(x, (mean, std))| (f64::from(*x) - mean) / std);
            let point: Vec<f64> = states.chain(a.iter().map(|a| f64::from(*a))).collect();
            tree.add(point.clone(), at)?;
            points.push(point);
            kept_obs.extend_from_slice(s);
        }
        Ok(Self {
            obs_dim,
            act_dim,
            obs: kept_obs,
            points,
            tree,
        })
    }

    /// `n` of its rows, drawn from the stream `theory/support/queries` of `seed`.
    pub fn queries(&self, n: usize, seed: u64) -> Vec<usize> {
        let mut stream = Stream::new(seed, "theory/support/queries");
        (0..n).map(|_| stream.index(self.points.len())).collect()
    }

    /// The actions logged in these rows, `[rows, act_dim]`.
    pub fn logged(&self, rows: &[usize]) -> Vec<f32> {
        let of = |&i: &usize| self.points[i][self.obs_dim..].iter().map(|a| *a as f32);
        rows.iter().flat_map(of).collect()
    }

    /// What `policy` does in the states of these rows, `[rows, act_dim]`.
    ///
    /// # Errors
    /// If its widths are not the data's.
    pub fn actions(&self, policy: &dyn Policy, rows: &[usize]) -> Result<Vec<f32>, TheoryError> {
        let of = |&i: &usize| &self.obs[i * self.obs_dim..(i + 1) * self.obs_dim];
        let obs: Vec<f32> = rows.iter().flat_map(of).copied().collect();
        act(policy, &obs, self.obs_dim, self.act_dim)
    }

    /// The normal component of each of the `actions`, `[rows, act_dim]`, taken in the
    /// states of `rows`.
    ///
    /// # Errors
    /// If an action is not finite.
    pub fn normal(&self, rows: &[usize], actions: &[f32]) -> Result<Vec<f64>, TheoryError> {
        let each = rows.iter().zip(actions.chunks_exact(self.act_dim));
        each.map(|(&row, action)| self.normal_of(row, action))
            .collect()
    }

    fn normal_of(&self, row: usize, action: &[f32]) -> Result<f64, TheoryError> {
        let states = self.points[row][..self.obs_dim].iter().copied();
        let at: Vec<f64> = states.chain(action.iter().map(|a| f64::from(*a))).collect();
        let near = self.tree.nearest(&at, NEIGHBOURS + 1, &squared_euclidean)?;
        let near: Vec<&Vec<f64>> = near
            .into_iter()
            .map(|(_, &i)| i)
            .filter(|&i| i != row)
            .take(NEIGHBOURS)
            .map(|i| &self.points[i])
            .collect();
        let mut cloud = DMatrix::from_fn(near.len(), at.len(), |i, j| near[i][j]);
        let middle = cloud.row_mean();
        for mut point in cloud.row_iter_mut() {
            point -= &middle;
        }
        let found = (cloud.transpose() * &cloud).symmetric_eigen();
        let mut order: Vec<usize> = (0..at.len()).collect();
        order.sort_by(|&a, &b| found.eigenvalues[b].total_cmp(&found.eigenvalues[a]));
        let all: f64 = found.eigenvalues.iter().sum();
        let mut off = DVector::from_vec(at) - middle.transpose();
        let mut carried = 0.0;
        for i in order {
            if carried >= TANGENT * all {
                break;
            }
            carried += found.eigenvalues[i];
            let direction = found.eigenvectors.column(i);
            off -= direction * direction.dot(&off);
        }
        Ok(off.rows(self.obs_dim, self.act_dim).norm())
    }
}

/// A trained policy of a suite.
pub struct Run<'a> {
    /// Its method, as in `spar`; the anchor's is `bc`.
    pub method: String,
    /// Its training seed.
    pub seed: u64,
    /// The policy; none where the run is missing.
    pub policy: Option<&'a dyn Policy>,
}

/// A task of a suite: its data and the runs asked for.
pub struct Suite<'a> {
    /// The task's name.
    pub task: String,
    /// Its data; none where they are missing, and why.
    pub cloud: Result<Cloud, String>,
    /// Runs, in the order to print them.
    pub runs: Vec<Run<'a>>,
}

/// What an interval of SPAR's component less its anchor's says, `anchor` the anchor's mean.
pub fn verdict_of(difference: &Estimate, anchor: f64) -> Verdict {
    if difference.interval.high <= MARGIN * anchor {
        Verdict::Supported
    } else if difference.interval.low > 0.0 {
        Verdict::NotSupported
    } else {
        Verdict::Inconclusive
    }
}

/// Of both methods, `[seed][state]`. One seed gives no verdict: its interval holds the
/// noise of states and nothing of training.
fn compared(
    spar: &[Vec<f64>],
    anchor: &[Vec<f64>],
    seed: u64,
) -> Result<(Estimate, Verdict), TheoryError> {
    let pairs = spar.iter().zip(anchor);
    let pairs = pairs.map(|(method, anchor)| Pair { method, anchor });
    let plan = Bootstrap {
        seed,
        ..Bootstrap::coarse()
    };
    let found = paired_difference(&[pairs.collect()], &plan)?.overall;
    let verdict = match spar.len() {
        0 | 1 => Verdict::NotGiven,
        _ => verdict_of(&found, mean(&anchor.concat())),
    };
    Ok((found, verdict))
}

/// Puts claim 4 to the test on a synthetic task and on `suites`; see the module's
/// documentation.
///
/// # Errors
/// If networks cannot be trained, or a policy does not fit its data.
pub fn support(suites: &[Suite<'_>], sizes: &Sizes, seed: u64) -> Result<Claim, TheoryError> {
    let (mut findings, mut controls) = (Vec::new(), Vec::new());
    let difference = synthetic(sizes, seed, &mut findings, &mut controls)?;
    for suite in suites {
        on_suite(suite, sizes, seed, &mut findings)?;
    }
    if suites.is_empty() {
        findings.push(Finding::missing(
            "runs of a suite",
            "missing: none was given",
        ));
    }
    Ok(Claim {
        id: "4-support".to_owned(),
        hypothesis: "the component of SPAR's actions normal to the data is no larger than that of \
                     its frozen anchor's"
            .to_owned(),
        rule: "on every task the 95% interval of the paired difference ends at or below 5% of the \
               anchor's mean"
            .to_owned(),
        sentence: format!(
            "on the synthetic arc SPAR's less its anchor's is {:.4} [{:.4}, {:.4}]",
            difference.value, difference.interval.low, difference.interval.high
        ),
        findings,
        controls,
        verdict: Verdict::Inconclusive,
        figures: Vec::new(),
    }
    .concluded())
}

/// The synthetic arc; the difference between SPAR and its anchor.
fn synthetic(
    sizes: &Sizes,
    seed: u64,
    findings: &mut Vec<Finding>,
    controls: &mut Vec<Control>,
) -> Result<Estimate, TheoryError> {
    let task = Task::Arc;
    let mut by_method: Vec<(String, Vec<Vec<f64>>, Vec<f64>)> = Vec::new();
    let mut add = |name: &str, normal: Vec<f64>, actions: &[f32]| {
        let exact = actions.chunks_exact(2).map(off_arc);
        match by_method.iter_mut().find(|(there, ..)| there == name) {
            Some((_, all, off)) => {
                all.push(normal);
                off.extend(exact);
            }
            None => by_method.push((name.to_owned(), vec![normal], exact.collect())),
        }
    };
    let mut known = Vec::new();
    for run in seed..seed + sizes.seeds {
        let data = task.data(ROWS, run);
        let cloud = Cloud::new(&data.obs, &data.actions, 1, 2, ROWS)?;
        let rows = cloud.queries(sizes.queries, run);
        let spar = toy_train::spar(&data, sizes.updates, run)?;
        let mut policies = vec![("bc", toy_train::anchor_of(&spar)), ("spar", spar)];
        for beside in Beside::ALL {
            policies.push((beside.name(), beside.train(&data, sizes.updates, run)?));
        }
        for (name, policy) in &policies {
            let actions = cloud.actions(policy, &rows)?;
            add(name, cloud.normal(&rows, &actions)?, &actions);
            if *name == "spar" {
                let pushed = pushed(&actions, 0.5);
                add("pushed", cloud.normal(&rows, &pushed)?, &pushed);
            }
        }
        let logged = cloud.logged(&rows);
        add("data", cloud.normal(&rows, &logged)?, &logged);
        known.extend(cloud.normal(&rows, &pushed(&logged, 0.1))?);
    }
    let of = |name: &str| by_method.iter().find(|(there, ..)| there == name);
    for (name, all, off) in by_method.iter().filter(|(name, ..)| name != "pushed") {
        let words = match name.as_str() {
            "data" => "the data's own actions",
            other => other,
        };
        let what = format!("{}: normal component, {words}", task.name());
        let exact = format!("true distance from the arc {:.4}", mean(off));
        findings.push(Finding::estimate(
            what,
            &stats(&all.concat(), seed)?,
            &exact,
        ));
    }
    let none = || spar_stats::StatsError::Empty("a method".to_owned());
    let all = |name| of(name).map(|found| &found.1).ok_or_else(none);
    let (spar, anchor) = (all("spar")?, all("bc")?);
    let (difference, verdict) = compared(spar, anchor, seed)?;
    let what = format!("{}: SPAR less its anchor", task.name());
    findings.push(
        Finding::estimate(what, &difference, "at most 5% of the anchor's").with_verdict(verdict),
    );
    let (pushed, denied) = compared(all("pushed")?, anchor, seed)?;
    controls.push(Control::denied(
        "SPAR's actions pushed outwards by 0.5",
        denied,
        &format!("difference {:.3}", pushed.value),
    ));
    let known = mean(&known);
    controls.push(Control {
        what: "data actions pushed off the arc by 0.1".to_owned(),
        expected: "a normal component of 0.1 to 20%".to_owned(),
        found: format!("{known:.4}"),
        caught: (known / 0.1 - 1.0).abs() < 0.2,
    });
    Ok(difference)
}

/// Distance of an action from the arc's circle.
fn off_arc(action: &[f32]) -> f64 {
    (f64::from(action[0]).hypot(f64::from(action[1])) - RADIUS).abs()
}

/// Actions `[rows, 2]` moved outwards by `off`.
fn pushed(actions: &[f32], off: f32) -> Vec<f32> {
    let outwards = |a: &[f32]| {
        let scale = 1.0 + off / a[0].hypot(a[1]).max(1e-6);
        [a[0] * scale, a[1] * scale]
    };
    actions.chunks_exact(2).flat_map(outwards).collect()
}

/// One task of a suite.
fn on_suite(
    suite: &Suite<'_>,
    sizes: &Sizes,
    seed: u64,
    findings: &mut Vec<Finding>,
) -> Result<(), TheoryError> {
    let task = &suite.task;
    let cloud = match &suite.cloud {
        Ok(cloud) => cloud,
        Err(why) => {
            let missing = Finding::missing(task.clone(), &format!("missing: {why}"));
            findings.push(missing.with_verdict(Verdict::Inconclusive));
            return Ok(());
        }
    };
    let rows = cloud.queries(sizes.queries, seed);
    let floor = stats(&cloud.normal(&rows, &cloud.logged(&rows))?, seed)?;
    let what = format!("{task}: normal component, the data's own actions");
    findings.push(Finding::estimate(what, &floor, "the floor"));
    let mut methods: Vec<&str> = Vec::new();
    for run in &suite.runs {
        if !methods.contains(&run.method.as_str()) {
            methods.push(&run.method);
        }
    }
    let mut measured: Vec<(&str, u64, Vec<f64>)> = Vec::new();
    for method in methods {
        let mut all = Vec::new();
        for run in suite.runs.iter().filter(|run| run.method == method) {
            let Some(policy) = run.policy else {
                let what = format!("{task}: {method}, seed {}", run.seed);
                findings.push(Finding::missing(what, "missing"));
                continue;
            };
            let normal = cloud.normal(&rows, &cloud.actions(policy, &rows)?)?;
            all.extend_from_slice(&normal);
            measured.push((method, run.seed, normal));
        }
        if !all.is_empty() {
            let what = format!("{task}: normal component, {method}");
            findings.push(Finding::estimate(what, &stats(&all, seed)?, ""));
        }
    }
    let of = |method: &str, seed: u64| {
        let of = |(m, s, _): &&(&str, u64, Vec<f64>)| *m == method && *s == seed;
        measured.iter().find(of).map(|found| found.2.clone())
    };
    let pairs = measured.iter().filter(|(method, ..)| *method == "spar");
    let pairs = pairs.filter_map(|(_, seed, spar)| Some((spar.clone(), of("bc", *seed)?)));
    let (spar, anchor): (Vec<_>, Vec<_>) = pairs.unzip();
    let what = format!("{task}: SPAR less its anchor");
    if spar.is_empty() {
        let missing = Finding::missing(what, "missing: no seed has both runs");
        findings.push(missing.with_verdict(Verdict::Inconclusive));
        return Ok(());
    }
    let (difference, verdict) = compared(&spar, &anchor, seed)?;
    let expected = "at most 5% of the anchor's";
    findings.push(Finding::estimate(what, &difference, expected).with_verdict(verdict));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::slice;

    use super::*;

    #[test]
    fn one_seed_gives_no_verdict_on_the_support() {
        let (spar, anchor) = (vec![0.1, 0.2, 0.1, 0.2], vec![0.5, 0.6, 0.5, 0.6]);
        let one = compared(slice::from_ref(&spar), slice::from_ref(&anchor), 0).unwrap();
        assert_eq!(one.1, Verdict::NotGiven);
        let two = compared(&[spar.clone(), spar], &[anchor.clone(), anchor], 0).unwrap();
        assert_eq!(two.1, Verdict::Supported);
        assert!((one.0.value - two.0.value).abs() < 1e-12);
    }
}
