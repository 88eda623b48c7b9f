//! `table.md`, and the same for a terminal.

use comfy_table::{CellAlignment, Table, TableStyle, presets};

use crate::{
    Report, Results, differences,
    published::{self, Source},
    table::{self, Grid, Mark},
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
        parts.push(differences::NOTE.to_owned());
        parts.push(markdown(&grid));
        let lines = differences::lines(results).map(|line| format!("- {}", escape(&line)));
        parts.push(lines.collect::<Vec<_>>().join("\n"));
    }
    parts.push("## Aggregates".to_owned());
    parts.push(markdown(&table::aggregates_grid(results)));
    parts.push("## Mean returns".to_owned());
    parts.push(markdown(&table::returns_grid(results)));
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
        results.suite,
        results.preset,
        table::protocol(results)
    )];
    parts.extend(table::warning(results));
    parts.push(draw(
        &table::scores_grid(results),
        presets::UTF8_FULL_CONDENSED,
        |text, mark| match mark {
            Some(_) => format!("* {text}"),
            None => text.to_owned(),
        },
    ));
    parts.extend(table::marks_note(results, "*"));
    parts.extend(verdict(results));
    parts.extend(differences::lines(results));
    parts.extend(table::missing(results));
    parts.extend(table::remarks(results).map(|line| format!("note: {line}")));
    parts.join("\n") + "\n"
}

fn verdict(results: &Results) -> Option<String> {
    let found = results.comparison.as_ref()?;
    Some(format!("{}.", found.sentence))
}

fn markdown(grid: &Grid) -> String {
    draw(grid, presets::ASCII_MARKDOWN, |text, mark| match mark {
        Some(_) => format!("**{}**", escape(text)),
        None => escape(text),
    })
}

pub(crate) fn draw(
    grid: &Grid,
    style: TableStyle,
    text: impl Fn(&str, Option<Mark>) -> String,
) -> String {
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
    table.trim_fmt()
}

/// Keeps names a user chose from breaking a table or turning into markup.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '_' | '`' | '<' | '\\' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
