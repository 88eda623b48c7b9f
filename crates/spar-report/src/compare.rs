//! From run records to the numbers of the report.

use std::collections::BTreeSet;

use spar_core::printable;
use spar_stats::{Bootstrap, Pair, paired_difference};

use crate::{
    ReportError, ReportRequest, aggregate, bands, differences, names, ope, published,
    read::Run,
    results::{Cell, Comparison, Missing, Results, SCHEMA, TaskComparison, Unit, Verdict},
    sweeps, table,
};

/// The method the suite exists for, and the anchor it grows out of.
pub(crate) const METHOD: &str = "spar";
/// See [`METHOD`].
pub(crate) const ANCHOR: &str = "bc";

/// Why nothing is averaged over tasks.
pub(crate) const NO_MEAN: &str = "no mean over tasks, whose returns have no common scale";

pub(crate) fn results(request: &ReportRequest, runs: &[Run]) -> Result<Results, ReportError> {
    let mut cells = Vec::new();
    let mut missing = Vec::new();
    for run in runs {
        match &run.outcome {
            Ok(_) => cells.extend(cell(run)),
            Err(absent) => missing.push(Missing {
                task: run.task,
                method: run.method.clone(),
                seed: run.seed,
                reason: absent.reason,
                difference: absent.difference.clone(),
            }),
        }
    }
    let commits: BTreeSet<&str> = cells.iter().map(|cell| cell.commit.as_str()).collect();
    let known = runs.iter().filter_map(|run| run.outcome.as_ref().ok());
    let known = known.map(|done| done.record.normalized_score());
    let tasks = request.tasks.iter();
    let references = tasks.map(|task| task.env().reference_returns().map(|(low, _)| low));
    let unit = Unit::of(known.chain(references));
    let mut results = Results {
        schema: SCHEMA,
        suite: request.suite.name.clone(),
        preset: request.preset.clone(),
        description: printable(&request.suite.preset(&request.preset)?.description).into_owned(),
        commit: commits.into_iter().collect::<Vec<_>>().join(", "),
        generated_by: concat!("spar-report ", env!("CARGO_PKG_VERSION")).to_owned(),
        tasks: request.tasks.clone(),
        methods: request.methods.clone(),
        seeds: request.seeds.clone(),
        unit,
        cells,
        missing,
        summary: Vec::new(),
        comparison: None,
        differences: Vec::new(),
        sweeps: Vec::new(),
        best: Vec::new(),
        flags: Vec::new(),
        profiles: None,
        improvements: Vec::new(),
        ope: ope::tasks(runs, unit),
        published: published::of(&request.tasks)?,
    };
    let plan = Bootstrap::default();
    results.summary = aggregate::summaries(&results, &plan)?;
    results.best = aggregate::best(&results, &plan)?;
    results.profiles = aggregate::profiles(&results)?;
    results.improvements = aggregate::improvements(&results)?;
    results.flags = bands::flags(&request.suite, &results);
    let has = |name: &str| results.methods.iter().any(|method| method == name);
    if has(METHOD) && has(ANCHOR) {
        let mut found = comparison(&results, METHOD, ANCHOR, &plan)?;
        let preset = request.suite.preset(&request.preset)?;
        if !preset.verdict || results.seeds.len() == 1 {
            found.verdict = Verdict::NotGiven;
        }
        found.sentence = sentence(&results, &found, preset.verdict);
        results.comparison = Some(found);
    }
    if has(METHOD) {
        results.differences = differences::of(&request.suite, &results, &plan)?;
        results.sweeps = sweeps::of(&request.suite, &results)?;
    }
    Ok(results)
}

/// What the report keeps of a finished run. Texts of the record are foreign: no page and no
/// terminal may act on what stands in them.
fn cell(run: &Run) -> Option<Cell> {
    let finished = run.outcome.as_ref().ok()?;
    let record = &finished.record;
    let device = match finished.identity.rounding() {
        None => record.device.clone(),
        Some(precision) => format!("{} in {precision}", record.device),
    };
    Some(Cell {
        task: run.task,
        method: run.method.clone(),
        seed: run.seed,
        returns: record.returns.clone(),
        mean_return: record.mean_return(),
        normalized_score: record.normalized_score(),
        dataset: printable(&record.dataset.id).into_owned(),
        dataset_origin: record.dataset.origin,
        dataset_sha256: printable(&record.dataset.sha256).into_owned(),
        dataset_rows: record.dataset.rows,
        env: record.known_env()?,
        mujoco_version: printable(&record.mujoco_version).into_owned(),
        updates: record.updates,
        anchor_updates: record.anchor_updates,
        eval_seed: record.eval_seed,
        wall_s: record.wall_s,
        threads: record.threads,
        device: printable(&device).into_owned(),
        commit: printable(&record.commit).into_owned(),
        command: printable(&record.command).into_owned(),
    })
}

/// What the finished seeds of one cell of the table have reached, in the report's unit.
pub(crate) fn scores(results: &Results, task: spar_core::TaskId, method: &str) -> Vec<f64> {
    results
        .cells_of(task, method)
        .filter_map(|cell| match results.unit {
            Unit::NormalizedScore => cell.normalized_score,
            Unit::Return => Some(cell.mean_return),
        })
        .collect()
}

/// `name` against `other`, without a sentence.
pub(crate) fn comparison(
    results: &Results,
    name: &str,
    other: &str,
    plan: &Bootstrap,
) -> Result<Comparison, ReportError> {
    let episodes: Vec<Vec<(Vec<f64>, Vec<f64>)>> = results
        .tasks
        .iter()
        .map(|&task| {
            let anchor = |seed| results.cells_of(task, other).find(|c| c.seed == seed);
            results
                .cells_of(task, name)
                .filter_map(|cell| {
                    let scores = |cell| episode_scores(results.unit, cell);
                    Some((scores(cell), scores(anchor(cell.seed)?)))
                })
                .collect()
        })
        .collect();
    let compared: Vec<Vec<Pair<'_>>> = episodes
        .iter()
        .filter(|pairs| !pairs.is_empty())
        .map(|pairs| {
            let pairs = pairs.iter();
            pairs
                .map(|(method, anchor)| Pair { method, anchor })
                .collect()
        })
        .collect();
    let found = match compared.as_slice() {
        [] => None,
        tasks => Some(paired_difference(tasks, plan)?),
    };
    let mut estimates = found.iter().flat_map(|found| &found.tasks);
    let tasks: Vec<TaskComparison> = results
        .tasks
        .iter()
        .zip(&episodes)
        .map(|(&task, pairs)| {
            let estimate = (!pairs.is_empty()).then(|| estimates.next()).flatten();
            TaskComparison {
                task,
                pairs: pairs.len(),
                difference: estimate.map(|e| e.value),
                low: estimate.map(|e| e.interval.low),
                high: estimate.map(|e| e.interval.high),
            }
        })
        .collect();
    let overall = found.as_ref().map(|found| found.overall);
    let overall = overall.filter(|_| results.over_tasks());
    let pairs = tasks.iter().map(|task| task.pairs).sum();
    let pairs_expected = results.tasks.len() * results.seeds.len();
    Ok(Comparison {
        method: name.to_owned(),
        anchor: other.to_owned(),
        scheme: "percentile bootstrap: seeds within tasks, then paired episodes within seeds"
            .to_owned(),
        confidence: plan.confidence,
        resamples: plan.resamples,
        bootstrap_seed: plan.seed,
        tasks_compared: compared.len(),
        tasks_above: tasks.iter().filter(|t| t.low > Some(0.0)).count(),
        tasks_below: tasks
            .iter()
            .filter(|t| t.high.is_some_and(|high| high < 0.0))
            .count(),
        tasks,
        pairs,
        pairs_expected,
        mean_difference: overall.map(|e| e.value),
        low: overall.map(|e| e.interval.low),
        high: overall.map(|e| e.interval.high),
        verdict: match overall.map(|e| e.interval) {
            Some(i) if pairs == pairs_expected && i.low > 0.0 => Verdict::Supported,
            Some(i) if pairs == pairs_expected && i.high <= 0.0 => Verdict::NotSupported,
            None if !results.over_tasks() => Verdict::NotGiven,
            _ => Verdict::Inconclusive,
        },
        sentence: String::new(),
    })
}

pub(crate) fn episode_scores(unit: Unit, cell: &Cell) -> Vec<f64> {
    let score = |&episode_return| unit.value(Some(cell.env), episode_return);
    cell.returns.iter().filter_map(score).collect()
}

/// What follows from a comparison, in words; `given` is whether the suite gives a verdict
/// on runs of the preset.
fn sentence(results: &Results, found: &Comparison, given: bool) -> String {
    let (method, asked) = (names::short(&found.method), results.tasks.len());
    let verdict = found.verdict.name();
    let mean = match (found.mean_difference, found.low, found.high) {
        (Some(difference), Some(low), Some(high)) => format!(
            "mean difference {difference:+.1} [{low:+.1}, {high:+.1}] (95% paired interval, hierarchical bootstrap)"
        ),
        _ if !results.over_tasks() && found.pairs > 0 => NO_MEAN.to_owned(),
        _ => {
            return format!(
                "{method} cannot be compared with its anchor: none of {} pairs is finished: {verdict}",
                found.pairs_expected
            );
        }
    };
    let mut text = format!(
        "{method} is above its anchor on {} of {} tasks",
        found.tasks_above, found.tasks_compared
    );
    if found.pairs < found.pairs_expected {
        let absent = found.pairs_expected - found.pairs;
        text += &format!(
            " compared ({asked} asked for; {absent} of {} pairs missing)",
            found.pairs_expected
        );
    }
    let undecided = found.tasks_compared - found.tasks_above - found.tasks_below;
    text += &table::others(found.tasks_below, undecided);
    text += &format!("; {mean}: {verdict}");
    if !given {
        text += &format!(" (preset {} gives none)", results.preset);
    } else if results.seeds.len() == 1 {
        text += " (one seed: the interval holds the noise of evaluation episodes, not of training)";
    }
    text
}
