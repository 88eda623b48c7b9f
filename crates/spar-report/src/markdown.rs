//! `table.md`, and the same for a terminal.

use comfy_table::{CellAlignment, ContentArrangement, Table, TableStyle, presets};
use spar_core::printable;

use crate::{
    Report, Results, differences, ope,
    published::{self, Source},
    table::{self, Grid, Mark},
    totals,
};

/// The report as Markdown.
pub(crate) fn render(results: &Results) -> String {
    let mut parts = vec![format!(
        "# Suite {}, preset {}",
        escape(&results.suite),
        escape(&results.preset)
    )];
    parts.extend(table::warning(results).map(|line| format!("> **{line}**")));
    let facts = table::facts(results);
    let facts: Vec<String> = facts
        .iter()
        .map(|(name, value)| format!("- {name}: {}", escape(value)))
        .collect();
    parts.push(facts.join("\n"));
    parts.push(markdown(&table::scores_grid(results)));
    parts.extend(verdict(results).map(|line| format!("**{}**", escape(&line))));
    parts.extend(table::missing(results).map(|line| format!("{}.", escape(&line))));
    parts.extend(table::remarks(results).map(|line| format!("> {}.", escape(&line))));
    parts.extend(table::marks_note(results, "Bold").map(|note| format!("{note}.")));
    if let Some(grid) = differences::grid(results) {
        parts.push("## Variants against SPAR".to_owned());
        parts.push(differences::note(results));
        parts.push(markdown(&grid));
        let lines = differences::lines(results).map(|line| format!("- {}", escape(&line)));
        parts.push(lines.collect::<Vec<_>>().join("\n"));
    }
    if !results.ope.is_empty() {
        parts.push("## Without the simulator".to_owned());
        parts.push(ope::note(results));
        parts.extend(ope::grid(results).map(|grid| markdown(&grid)));
        let lines = ope::lines(results);
        let lines = lines.iter().map(|line| format!("- {}", escape(line)));
        parts.push(lines.collect::<Vec<_>>().join("\n"));
    }
    if let Some(grid) = totals::grid(results) {
        parts.push("## Aggregates".to_owned());
        parts.push(markdown(&grid));
        parts.push("## Mean returns".to_owned());
        parts.push(markdown(&table::returns_grid(results)));
    }
    parts.push("## Training data".to_owned());
    parts.push(markdown(&table::data_grid(results)));
    parts.join("\n\n") + "\n"
}

/// What others published for the same tasks, as Markdown of its own: it is never
/// shown in one table with the report's numbers.
pub(crate) fn published(results: &Results) -> String {
    let sources = published::sources(results).into_iter().enumerate();
    let sources = sources.map(|(i, source)| {
        let Source {
            name,
            data,
            protocol,
        } = source;
        format!(
            "- [{}] {}: {data}; {}",
            i + 1,
            escape(name),
            escape(protocol)
        )
    });
    let parts = [
        "# Published numbers".to_owned(),
        format!("> **{}**", published::caution(results)),
        markdown(&published::grid(results)),
        sources.collect::<Vec<_>>().join("\n"),
    ];
    parts.join("\n\n") + "\n"
}

/// The report's main table and its verdict for a terminal.
pub fn render_terminal(report: &Report) -> String {
    let results = &report.results;
    let mut parts = vec![format!(
        "{} {}: {}",
        printable(&results.suite),
        printable(&results.preset),
        table::protocol(results)
    )];
    parts.extend(table::warning(results));
    parts.push(terminal(
        &table::scores_grid(results),
        |text, mark| match mark {
            Some(_) => format!("* {}", printable(text)),
            None => printable(text).into_owned(),
        },
    ));
    let mut lines: Vec<String> = table::marks_note(results, "*").into_iter().collect();
    lines.extend(verdict(results));
    lines.extend(differences::lines(results));
    lines.extend(ope::lines(results));
    lines.extend(table::missing(results));
    lines.extend(table::remarks(results).map(|line| format!("note: {line}")));
    parts.extend(lines.iter().map(|line| printable(line).into_owned()));
    parts.join("\n") + "\n"
}

fn verdict(results: &Results) -> Option<String> {
    let found = results.comparison.as_ref()?;
    Some(format!("{}.", found.sentence))
}

pub(crate) fn markdown(grid: &Grid) -> String {
    draw(grid, presets::ASCII_MARKDOWN, |text, mark| match mark {
        Some(_) => format!("**{}**", escape(text)),
        None => escape(text),
    })
}

/// Has `table` wrap its cells where they do not fit: within the columns that the variable
/// COLUMNS names, else within the terminal, if it is printed to one.
pub fn fit(table: &mut Table) {
    table.set_content_arrangement(ContentArrangement::Dynamic);
    let columns = std::env::var("COLUMNS").ok();
    if let Some(columns) = columns.and_then(|columns| columns.trim().parse().ok()) {
        table.set_width(columns);
    }
}

/// [`draw`] for a terminal.
pub(crate) fn terminal(grid: &Grid, text: impl Fn(&str, Option<Mark>) -> String) -> String {
    let mut table = table_of(grid, presets::UTF8_FULL_CONDENSED, text);
    fit(&mut table);
    table.trim_fmt()
}

pub(crate) fn draw(
    grid: &Grid,
    style: TableStyle,
    text: impl Fn(&str, Option<Mark>) -> String,
) -> String {
    table_of(grid, style, text).trim_fmt()
}

fn table_of(grid: &Grid, style: TableStyle, text: impl Fn(&str, Option<Mark>) -> String) -> Table {
    let mut table = Table::new();
    table.load_style(style);
    table.set_header(grid.header.iter().map(|cell| text(cell, None)));
    for (i, row) in grid.rows.iter().enumerate() {
        let cells = row.iter().enumerate();
        table.add_row(cells.map(|(j, cell)| text(cell, grid.mark(i, j))));
    }
    if grid.numbers {
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Keeps texts a user or a file chose from breaking a table or turning into markup, HTML
/// or a link. Escapes of HTML instead of backslashes where a reader of Markdown that is no
/// CommonMark would pass HTML on.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for c in printable(text).chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '|' | '*' | '_' | '`' | '\\' => out.extend(['\\', c]),
            // What would make a bracket the text of a link.
            '(' | '[' | ':' if before == ']' => out.extend(['\\', c]),
            c => out.push(c),
        }
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn foreign_text_is_neither_markup_nor_html_nor_a_link() {
        assert_eq!(
            escape("\"><img src=x onerror=alert(2)> a | b\n](javascript:alert(4))`"),
            "\"&gt;&lt;img src=x onerror=alert(2)&gt; a \\| b\\\\n]\\(javascript:alert(4))\\`"
        );
        assert_eq!(
            escape("[a][b] *x* &lt; \u{1b}[31m"),
            "[a]\\[b] \\*x\\* &amp;lt; \\\\u{1b}[31m"
        );
        // What every table holds stays as it is.
        let own = "+1.5 [+1.0, +2.0] ± 0.3 (1/2 seeds); SPAR − BC [95%]";
        assert_eq!(escape(own), own);
    }
}
