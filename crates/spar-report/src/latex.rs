//! `table.tex`: the tables for a paper that loads `booktabs`.

use spar_core::printable;

use crate::{
    Results, differences,
    table::{self, Grid},
};

/// The main table as a LaTeX `table` environment, and one of the variants where there
/// are any. A caption carries the protocol and, where data are local, the warning: a
/// table gets cut out of its surroundings, a caption less easily.
pub(crate) fn render(results: &Results) -> String {
    let facts = table::facts(results);
    let mut lines: Vec<String> = facts
        .iter()
        .map(|(name, value)| format!("% {name}: {}", printable(value)))
        .collect();
    let flags = results.flags.iter();
    lines.extend(flags.map(|flag| format!("% {}", printable(&flag.words))));
    let about = |verdict| {
        let sentence = |text: String| format!("{text}.");
        let parts = [
            Some(sentence(table::protocol(results))),
            table::warning(results),
            verdict,
            table::missing(results).map(sentence),
            table::mixed_devices(results).map(sentence),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    let verdict = results.comparison.as_ref();
    let mut caption = about(verdict.map(|c| format!("{}.", c.sentence)));
    if let Some(note) = table::marks_note(results, "Bold") {
        caption += &format!(" {note}.");
    }
    lines.extend(environment(&table::scores_grid(results), &caption));
    if let Some(grid) = differences::grid(results) {
        let caption = about(Some(differences::note(results)));
        lines.extend(environment(&grid, &caption));
    }
    lines.join("\n") + "\n"
}

/// A grid as lines of a `table` environment.
fn environment(grid: &Grid, caption: &str) -> Vec<String> {
    let line = |cells: Vec<String>| format!("{} \\\\", cells.join(" & "));
    let row = |(i, row): (usize, &Vec<String>)| {
        let cell = |(j, text): (usize, &String)| match grid.mark(i, j) {
            Some(_) => format!("\\textbf{{{}}}", escape(text)),
            None => escape(text),
        };
        line(row.iter().enumerate().map(cell).collect())
    };
    let mut rows: Vec<String> = grid.rows.iter().enumerate().map(row).collect();
    let aggregates = rows.split_off(rows.len() - grid.aggregates);
    let mut lines = vec![
        "\\begin{table}".to_owned(),
        "\\centering".to_owned(),
        format!("\\caption{{{}}}", escape(caption)),
        format!(
            "\\begin{{tabular}}{{l{}}}",
            "r".repeat(grid.header.len() - 1)
        ),
        "\\toprule".to_owned(),
        line(grid.header.iter().map(|cell| escape(cell)).collect()),
        "\\midrule".to_owned(),
    ];
    lines.extend(rows);
    if !aggregates.is_empty() {
        lines.push("\\midrule".to_owned());
        lines.extend(aggregates);
    }
    let end = ["\\bottomrule", "\\end{tabular}", "\\end{table}"];
    lines.extend(end.map(str::to_owned));
    lines
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out += "\\textbackslash{}",
            '~' => out += "\\textasciitilde{}",
            '^' => out += "\\textasciicircum{}",
            // A bracket that opens a cell would be read as the argument of `\\`.
            '[' => out += "{[}",
            ']' => out += "{]}",
            // Other signs, or none, in TeX's older encodings of fonts.
            '<' => out += "\\textless{}",
            '>' => out += "\\textgreater{}",
            '|' => out += "\\textbar{}",
            '±' => out += "$\\pm$",
            '−' => out += "$-$",
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn every_special_character_is_escaped() {
        assert_eq!(
            escape("a_b & 95% $x #1 {y} ~ ^ \\ ± − [z] <|>."),
            "a\\_b \\& 95\\% \\$x \\#1 \\{y\\} \\textasciitilde{} \\textasciicircum{} \\textbackslash{} $\\pm$ $-$ {[}z{]} \\textless{}\\textbar{}\\textgreater{}."
        );
        // A line end would end a comment or, twice, a paragraph.
        assert_eq!(
            escape("a\n\nb\u{85}"),
            "a\\textbackslash{}n\\textbackslash{}nb\\textbackslash{}u\\{85\\}"
        );
    }
}
