//! Cells suspiciously far from what the suite expects, on either side: a score
//! far too good is as likely a mistake as one far too bad. And what a suite should expect,
//! of runs that are believed.

use std::{collections::BTreeMap, fmt::Write, path::Path};

use spar_core::{ColumnSettings, Suite, printable, suite::Bands};
use spar_stats::mean;

use crate::{
    ReportError,
    compare::scores,
    names, read,
    results::{Flag, Results},
};

/// Seeds that a band takes at least: with fewer it would not hold what a seed does.
pub const LEAST_SEEDS: usize = 3;

/// Points at the end of a learning curve that a band takes.
const POINTS: usize = 4;

/// How much wider a band is than what was seen: by a part of it on either side, and by no
/// fewer points of the score.
const PART: f64 = 0.2;
const LEAST: f64 = 5.0;

/// Where scores of runs of a suite are expected, by the runs that are there.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// A method each, in the suite's order.
    pub bands: Vec<Bands>,
    /// Cells that have no band, in words: too few seeds, or no learning curve; and runs of
    /// other settings, of which no band is made.
    pub without: Vec<String>,
}

impl Expected {
    /// Where the scores of `preset` are expected, by the finished runs below `runs`: from the
    /// lowest to the highest of the last four points of the learning curves of all seeds,
    /// wider by a fifth on either side, and by five points of the score at least. A run that
    /// was made with other `settings` does not count; of columns without any nothing is known.
    ///
    /// # Errors
    /// As of [`Report::build`](crate::Report::build).
    pub fn of(
        suite: &Suite,
        preset: &str,
        runs: &Path,
        settings: &[ColumnSettings],
    ) -> Result<Self, ReportError> {
        suite.preset(preset)?;
        let found = read::of_suite(suite, preset, runs, settings)?;
        // By the method's place and the kind of data.
        let mut bands = BTreeMap::<(usize, String), Bands>::new();
        let other = |run: &read::Run| {
            let difference = run.outcome.as_ref().err()?.difference.as_ref()?;
            let read::Run {
                task, method, seed, ..
            } = run;
            Some(format!(
                "{task} {method}: seed {seed} has other settings: {difference}"
            ))
        };
        let mut without: Vec<String> = found.iter().filter_map(other).collect();
        for &task in &suite.tasks {
            for (place, method) in suite.all_methods().iter().enumerate() {
                let runs = found
                    .iter()
                    .filter(|r| r.task == task && r.method == *method);
                let done: Vec<_> = runs.filter_map(|run| run.outcome.as_ref().ok()).collect();
                let Some(first) = done.first() else { continue };
                let data = first.record.dataset.origin;
                match band(done.iter().map(|run| run.curve.as_slice())) {
                    Ok(band) => {
                        let of = bands.entry((place, data.to_string()));
                        let of = of.or_insert_with(|| Bands {
                            preset: preset.to_owned(),
                            data,
                            method: method.clone(),
                            basis: format!(
                                "the last {POINTS} points of the learning curves of \
                                 {LEAST_SEEDS} seeds or more, widened by a fifth, at least {LEAST}"
                            ),
                            scores: BTreeMap::new(),
                        });
                        of.scores.insert(task.to_string(), band);
                    }
                    Err(why) => without.push(format!("{task} {method}: {why}")),
                }
            }
        }
        Ok(Self {
            bands: bands.into_values().collect(),
            without,
        })
    }

    /// The `[[bands]]` of a suite file, tasks in the order of `suite`.
    pub fn to_toml(&self, suite: &Suite) -> String {
        let mut text = String::new();
        for bands in &self.bands {
            let Bands {
                preset,
                data,
                method,
                basis,
                scores,
            } = bands;
            let _ = write!(
                text,
                "\n[[bands]]\npreset = \"{preset}\"\ndata = \"{data}\"\nmethod = \"{method}\"\n\
                 basis = \"{basis}\"\n[bands.scores]\n"
            );
            for task in suite.tasks.iter().map(ToString::to_string) {
                if let Some([low, high]) = scores.get(&task) {
                    let _ = writeln!(text, "{task} = [{low:.0}, {high:.0}]");
                }
            }
        }
        text
    }
}

/// The band of one cell, by the curves of its seeds.
fn band<'a>(
    curves: impl ExactSizeIterator<Item = &'a [read::CurveRow]>,
) -> Result<[f64; 2], String> {
    let seeds = curves.len();
    if seeds < LEAST_SEEDS {
        return Err(format!("{seeds} seeds, expected at least {LEAST_SEEDS}"));
    }
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for curve in curves {
        let last = &curve[curve.len().saturating_sub(POINTS)..];
        let scores = last.iter().filter_map(|row| row.normalized_score);
        let before = (low, high);
        (low, high) = scores.fold(before, |(low, high), s| (low.min(s), high.max(s)));
        if last.iter().all(|row| row.normalized_score.is_none()) {
            return Err("a run without a learning curve of scores".to_owned());
        }
    }
    let wider = (PART * (high - low)).max(LEAST);
    Ok([(low - wider).round(), (high + wider).round()])
}

/// A flag for every cell, finished in part or whole, that lies outside its band.
pub(crate) fn flags(suite: &Suite, results: &Results) -> Vec<Flag> {
    let mut flags = Vec::new();
    if !results.unit.is_score() {
        return flags;
    }
    for &task in &results.tasks {
        for method in &results.methods {
            let Some(cell) = results.cells_of(task, method).next() else {
                continue;
            };
            let origin = cell.dataset_origin;
            let band = suite.band(&results.preset, origin, method, task);
            let Some(([low, high], basis)) = band else {
                continue;
            };
            let score = mean(&scores(results, task, method));
            let side = match score {
                score if score < low => "below",
                score if score > high => "above",
                _ => continue,
            };
            let name = names::short(method);
            flags.push(Flag {
                task,
                method: method.clone(),
                score,
                low,
                high,
                words: format!(
                    "{task} {name}: {score:.1} is suspiciously far {side} the {low:.1} to {high:.1} expected of {preset} runs on {origin} data ({basis})",
                    preset = results.preset,
                    basis = printable(basis)
                ),
            });
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(scores: &[f64]) -> Vec<read::CurveRow> {
        let row = |(at, &score): (usize, &f64)| read::CurveRow {
            update: at as u64,
            mean_return: 0.0,
            normalized_score: Some(score),
        };
        scores.iter().enumerate().map(row).collect()
    }

    fn of(curves: &[Vec<read::CurveRow>]) -> Result<[f64; 2], String> {
        band(curves.iter().map(Vec::as_slice))
    }

    #[test]
    fn a_band_is_of_the_last_points_of_every_seed() {
        let curves = [
            curve(&[-50.0, 40.0, 41.0, 42.0, 43.0]),
            curve(&[40.0, 90.0]),
            curve(&[44.0]),
        ];
        // 40 to 90, a fifth of 50 on either side.
        assert_eq!(of(&curves), Ok([30.0, 100.0]));
        // Five at least.
        let close = [curve(&[40.4]), curve(&[41.0]), curve(&[42.0])];
        assert_eq!(of(&close), Ok([35.0, 47.0]));
    }

    #[test]
    fn few_seeds_and_runs_without_scores_give_no_band() {
        let two = [curve(&[1.0]), curve(&[2.0])];
        assert!(of(&two).is_err_and(|why| why.contains("2 seeds")));
        let mut curves = [curve(&[1.0]), curve(&[2.0]), curve(&[3.0])];
        curves[2][0].normalized_score = None;
        assert!(of(&curves).is_err());
        curves[2].clear();
        assert!(of(&curves).is_err());
    }
}
