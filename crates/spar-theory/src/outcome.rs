//! What a claim leaves behind: numbers, controls, figures and a verdict.

use serde::{Deserialize, Serialize};
use spar_stats::Estimate;

use crate::Verdict;

/// A claim that was put to the test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Short name, as in `1-drift`: also of its file.
    pub id: String,
    /// What is claimed, in one sentence.
    pub hypothesis: String,
    /// The rule of the verdict, as fixed in the documentation of the claim's file.
    pub rule: String,
    /// Everything that was measured.
    pub findings: Vec<Finding>,
    /// Inputs on which the rule had to say no, and whether it did.
    pub controls: Vec<Control>,
    /// What follows, controls included.
    pub verdict: Verdict,
    /// The verdict's numbers in one line.
    pub sentence: String,
    /// Figures, not yet drawn.
    pub figures: Vec<Figure>,
}

/// One number, with what was expected of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What was measured, and on what.
    pub what: String,
    /// The number; `null` where it could not be had, as in a run that is missing.
    pub value: Option<f64>,
    /// Lower end of its 95% bootstrap interval, where it has one.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// What the theory says it is, or why there is none.
    pub expected: String,
    /// What follows from this number alone, where it counts for the verdict.
    pub verdict: Option<Verdict>,
}

impl Finding {
    /// A number with an interval.
    pub fn estimate(what: impl Into<String>, found: &Estimate, expected: &str) -> Self {
        Self {
            low: Some(found.interval.low),
            high: Some(found.interval.high),
            ..Self::value(what, found.value, expected)
        }
    }

    /// A number alone.
    pub fn value(what: impl Into<String>, value: f64, expected: &str) -> Self {
        Self {
            what: what.into(),
            value: Some(value),
            low: None,
            high: None,
            expected: expected.to_owned(),
            verdict: None,
        }
    }

    /// A number that is not there, and why.
    pub fn missing(what: impl Into<String>, why: &str) -> Self {
        Self {
            what: what.into(),
            value: None,
            low: None,
            high: None,
            expected: why.to_owned(),
            verdict: None,
        }
    }

    /// The same, counting for the verdict.
    #[must_use]
    pub fn with_verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = Some(verdict);
        self
    }
}

/// An input on which a claim's rule has to say no.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// What was fed to the rule.
    pub what: String,
    /// What it had to say.
    pub expected: String,
    /// What it said, with its numbers.
    pub found: String,
    /// Whether that is what it had to say.
    pub caught: bool,
}

impl Control {
    /// A control whose rule had to give anything but `supported`.
    pub(crate) fn refused(what: &str, verdict: Verdict, numbers: &str) -> Self {
        Self {
            what: what.to_owned(),
            expected: "anything but supported".to_owned(),
            found: format!("{}: {numbers}", verdict.name()),
            caught: verdict != Verdict::Supported,
        }
    }

    /// A control whose rule had to give `not supported`.
    pub(crate) fn denied(what: &str, verdict: Verdict, numbers: &str) -> Self {
        Self {
            expected: "not supported".to_owned(),
            caught: verdict == Verdict::NotSupported,
            ..Self::refused(what, verdict, numbers)
        }
    }
}

/// A figure with logarithmic axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Name of its file, without the ending.
    pub name: String,
    /// Stands above.
    pub title: String,
    /// Along the first axis.
    pub x: String,
    /// Along the second.
    pub y: String,
    /// What is drawn.
    pub lines: Vec<Line>,
}

/// Points of a figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// In the legend.
    pub name: String,
    /// Positive numbers.
    pub points: Vec<(f64, f64)>,
    /// The slope theory gives, drawn through the first point, broken; none where
    /// theory gives none.
    pub slope: Option<f64>,
}

impl Figure {
    /// The figure as SVG.
    ///
    /// # Errors
    /// If there is nothing to draw or a number is not positive.
    pub fn svg(&self) -> Result<String, spar_report::ReportError> {
        let lines = self.lines.iter().map(|line| spar_report::LogLine {
            name: &line.name,
            points: &line.points,
            slope: line.slope,
        });
        spar_report::LogLog {
            title: &self.title,
            x: &self.x,
            y: &self.y,
            lines: lines.collect(),
        }
        .svg()
    }
}

/// The verdict of several: one `not supported` decides, then one `inconclusive` or one
/// that was not given.
/// Of none, `inconclusive`.
pub(crate) fn all_of(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    let mut all = None;
    for verdict in verdicts {
        all = Some(match (all, verdict) {
            (Some(Verdict::NotSupported), _) | (_, Verdict::NotSupported) => Verdict::NotSupported,
            (None | Some(Verdict::Supported), Verdict::Supported) => Verdict::Supported,
            _ => Verdict::Inconclusive,
        });
    }
    all.unwrap_or(Verdict::Inconclusive)
}

impl Claim {
    /// The verdict of every finding that has a verdict, unless a control was
    /// not caught: then nothing follows from them.
    pub(crate) fn concluded(mut self) -> Self {
        let verdicts = self.findings.iter().filter_map(|finding| finding.verdict);
        self.verdict = all_of(verdicts);
        let missed = self.controls.iter().filter(|c| !c.caught).count();
        if missed > 0 {
            self.verdict = Verdict::Inconclusive;
            self.sentence += &format!("; {missed} negative controls were NOT caught");
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(verdicts: &[Verdict], caught: bool) -> Claim {
        Claim {
            id: String::new(),
            hypothesis: String::new(),
            rule: String::new(),
            findings: verdicts
                .iter()
                .map(|&v| Finding::value("", 0.0, "").with_verdict(v))
                .collect(),
            controls: vec![Control {
                what: String::new(),
                expected: String::new(),
                found: String::new(),
                caught,
            }],
            verdict: Verdict::Inconclusive,
            sentence: String::new(),
            figures: Vec::new(),
        }
        .concluded()
    }

    #[test]
    fn one_no_is_a_no_and_a_blind_rule_says_nothing() {
        use Verdict::{Inconclusive, NotGiven, NotSupported, Supported};
        let of = |verdicts: &[Verdict], caught| claim(verdicts, caught).verdict;
        assert_eq!(of(&[Supported, Supported], true), Supported);
        assert_eq!(of(&[Supported, Inconclusive], true), Inconclusive);
        assert_eq!(of(&[Inconclusive, NotSupported], true), NotSupported);
        for verdicts in [[Supported, NotGiven], [NotGiven, Supported], [NotGiven; 2]] {
            assert_eq!(of(&verdicts, true), Inconclusive);
        }
        assert_eq!(of(&[NotSupported, Supported], true), NotSupported);
        assert_eq!(of(&[], true), Inconclusive);
        assert_eq!(of(&[Supported], false), Inconclusive);
        assert_eq!(of(&[NotSupported], false), Inconclusive);
    }
}
