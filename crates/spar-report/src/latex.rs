//! `table.tex`: the main table for a paper that loads `booktabs`.

use crate::{Results, table};

/// The main table as a LaTeX `table` environment. Its caption carries the
/// protocol and, where data are local, the warning: a table gets cut out of its
/// surroundings, a caption less easily.
pub(crate) fn render(results: &Results) -> String {
    let grid = table::scores_grid(results);
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().map(|cell| escape(cell)).collect();
        format!("{} \\\\", cells.join(" & "))
    };
    let mut caption = format!("{}.", table::protocol(results));
    for part in [
        table::warning(results),
        results
            .comparison
            .as_ref()
            .map(|c| format!("{}.", c.sentence)),
        table::missing(results).map(|text| format!("{text}.")),
    ]
    .into_iter()
    .flatten()
    {
        caption += " ";
        caption += &part;
    }
    let facts = table::facts(results);
    let mut lines: Vec<String> = facts
        .iter()
        .map(|(name, value)| format!("% {name}: {}", value.replace(['\n', '\r'], " ")))
        .collect();
    let (rows, aggregates) = grid.rows.split_at(grid.rows.len() - grid.aggregates);
    lines.push("\\begin{table}".to_owned());
    lines.push("\\centering".to_owned());
    lines.push(format!("\\caption{{{}}}", escape(&caption)));
    lines.push(format!(
        "\\begin{{tabular}}{{l{}}}",
        "r".repeat(grid.header.len() - 1)
    ));
    lines.push("\\toprule".to_owned());
    lines.push(line(&grid.header));
    lines.push("\\midrule".to_owned());
    lines.extend(rows.iter().map(line));
    lines.push("\\midrule".to_owned());
    lines.extend(aggregates.iter().map(line));
    lines.push("\\bottomrule".to_owned());
    lines.push("\\end{tabular}".to_owned());
    lines.push("\\end{table}".to_owned());
    lines.join("\n") + "\n"
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out += "\\textbackslash{}",
            '~' => out += "\\textasciitilde{}",
            '^' => out += "\\textasciicircum{}",
            // A bracket that opens a cell would be read as the argument of `\\`.
            '[' => out += "{[}",
            ']' => out += "{]}",
            '±' => out += "$\\pm$",
            '−' => out += "$-$",
            '\n' | '\r' => out.push(' '),
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
            escape("a_b & 95% $x #1 {y} ~ ^ \\ ± − [z]\n."),
            "a\\_b \\& 95\\% \\$x \\#1 \\{y\\} \\textasciitilde{} \\textasciicircum{} \\textbackslash{} $\\pm$ $-$ {[}z{]} ."
        );
    }
}
