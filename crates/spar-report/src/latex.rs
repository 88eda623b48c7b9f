//! `table.tex`: the main table for a paper that loads `booktabs`.

use crate::{Results, table};

/// The main table as a LaTeX `table` environment. Its caption carries the
/// protocol and, where data are local, the warning: a table gets cut out of its
/// surroundings, a caption less easily.
pub(crate) fn render(results: &Results) -> String {
    let grid = table::scores_grid(results);
    let line = |cells: Vec<String>| format!("{} \\\\", cells.join(" & "));
    let row = |(i, row): (usize, &Vec<String>)| {
        let cell = |(j, text): (usize, &String)| match grid.mark(i, j) {
            Some(_) => format!("\\textbf{{{}}}", escape(text)),
            None => escape(text),
        };
        line(row.iter().enumerate().map(cell).collect())
    };
    let mut caption = format!("{}.", table::protocol(results));
    for part in [
        table::warning(results),
        results
            .comparison
            .as_ref()
            .map(|c| format!("{}.", c.sentence)),
        table::missing(results).map(|text| format!("{text}.")),
        table::mixed_devices(results).map(|text| format!("{text}.")),
        table::marks_note(results, "Bold").map(|text| format!("{text}.")),
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
    lines.extend(results.flags.iter().map(|flag| format!("% {}", flag.words)));
    let mut rows: Vec<String> = grid.rows.iter().enumerate().map(row).collect();
    let aggregates = rows.split_off(rows.len() - grid.aggregates);
    lines.push("\\begin{table}".to_owned());
    lines.push("\\centering".to_owned());
    lines.push(format!("\\caption{{{}}}", escape(&caption)));
    lines.push(format!(
        "\\begin{{tabular}}{{l{}}}",
        "r".repeat(grid.header.len() - 1)
    ));
    lines.push("\\toprule".to_owned());
    lines.push(line(grid.header.iter().map(|cell| escape(cell)).collect()));
    lines.push("\\midrule".to_owned());
    lines.extend(rows);
    lines.push("\\midrule".to_owned());
    lines.extend(aggregates);
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
