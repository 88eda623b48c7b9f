//! Claims as tables: for a terminal and for a page.

use std::fmt::Write;

use comfy_table::{Table, presets};

use crate::{Claim, Finding};

/// One line a claim: its verdict and its numbers.
fn verdicts(claims: &[Claim], style: comfy_table::TableStyle) -> String {
    let mut table = Table::new();
    table.load_style(style);
    table.set_header(["claim", "verdict", "numbers", "controls caught"]);
    for claim in claims {
        let caught = claim.controls.iter().filter(|c| c.caught).count();
        table.add_row([
            claim.id.clone(),
            claim.verdict.name().to_owned(),
            claim.sentence.clone(),
            format!("{caught} of {}", claim.controls.len()),
        ]);
    }
    table.trim_fmt()
}

/// The table of verdicts, then every negative control that was not caught.
pub fn terminal(claims: &[Claim]) -> String {
    let mut out = verdicts(claims, presets::UTF8_FULL_CONDENSED);
    for claim in claims {
        for control in &claim.controls {
            let mark = if control.caught {
                "caught"
            } else {
                "NOT CAUGHT"
            };
            let Claim { id, .. } = claim;
            let (what, found) = (&control.what, &control.found);
            // Writing to a string cannot fail.
            let _ = write!(out, "\ncontrol of {id}: {what}: {mark} ({found})");
        }
    }
    out + "\n"
}

/// The whole outcome as a Markdown page; `notes` stand below its title.
pub fn markdown(claims: &[Claim], notes: &[String]) -> String {
    let mut out = String::from("# The paper's claims, put to the test\n\n");
    for note in notes {
        let _ = writeln!(out, "- {note}");
    }
    let _ = writeln!(out, "\n{}", verdicts(claims, presets::ASCII_MARKDOWN));
    for claim in claims {
        let _ = writeln!(
            out,
            "\n## {}: {}\n\n{}.\n\nRule, fixed in advance: {}.\n",
            claim.id,
            claim.verdict.name(),
            capital(&claim.hypothesis),
            claim.rule
        );
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["measured", "value [95%]", "expected", "verdict"]);
        for finding in &claim.findings {
            let verdict = finding.verdict.map_or("", |verdict| verdict.name());
            table.add_row([
                finding.what.replace('|', "\\|"),
                number(finding),
                finding.expected.replace('|', "\\|"),
                verdict.to_owned(),
            ]);
        }
        let _ = writeln!(out, "{}\n", table.trim_fmt());
        for control in &claim.controls {
            let mark = if control.caught {
                "caught"
            } else {
                "**NOT caught**"
            };
            let (what, expected, found) = (&control.what, &control.expected, &control.found);
            let _ = writeln!(
                out,
                "- control: {what}; expected {expected}; {found}: {mark}"
            );
        }
        for figure in &claim.figures {
            let _ = writeln!(out, "\n![{}]({}.svg)", figure.title, figure.name);
        }
    }
    out
}

fn number(finding: &Finding) -> String {
    let Some(value) = finding.value else {
        return "–".to_owned();
    };
    let text = |x: f64| {
        if x != 0.0 && (x.abs() < 1e-3 || x.abs() >= 1e5) {
            format!("{x:.3e}")
        } else {
            format!("{x:.4}")
        }
    };
    match (finding.low, finding.high) {
        (Some(low), Some(high)) => format!("{} [{}, {}]", text(value), text(low), text(high)),
        _ => text(value),
    }
}

fn capital(words: &str) -> String {
    let mut chars = words.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + chars.as_str()
}
