//! A page for each method, of what its source, the table of methods and the legend of the log
//! say: none of it is written twice.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use spar_core::names::METHODS;

/// The methods' sources.
const SOURCES: &str = "crates/spar-baselines/src/methods";

/// Methods whose sources are elsewhere, or whose names are put together: with the files that
/// say what they are, and those that say what they log.
const ELSEWHERE: [(&str, &str, &str); 4] = [
    (
        "spar",
        "crates/spar-rectify/src/update.rs",
        "crates/spar-rectify/src/update.rs",
    ),
    (
        "bc",
        "crates/spar-anchor/src/lib.rs",
        "crates/spar-train/src/learner.rs",
    ),
    (
        "hubl-td3bc",
        "crates/spar-baselines/src/methods/hubl.rs",
        "crates/spar-baselines/src/methods/td3bc.rs",
    ),
    (
        "hubl-iql",
        "crates/spar-baselines/src/methods/hubl.rs",
        "crates/spar-baselines/src/methods/iql.rs",
    ),
];

/// Functions whose documentation has the equations of methods whose update has parts in many
/// crates, in their order.
const EQUATIONS: [(&str, &str, &str); 5] = [
    ("spar", "crates/spar-critic/src/update.rs", "pub fn update("),
    (
        "spar",
        "crates/spar-critic/src/loss.rs",
        "pub fn expectile_loss(",
    ),
    (
        "spar",
        "crates/spar-rectify/src/loss.rs",
        "pub fn fit_loss(",
    ),
    (
        "spar",
        "crates/spar-kernels/src/value.rs",
        "pub fn imitation(",
    ),
    ("bc", "crates/spar-anchor/src/update.rs", "pub fn update("),
];

/// Name, title and text of each method's page.
pub(super) fn pages(root: &Path) -> Result<Vec<(String, String, String)>> {
    let read = |path: &str| fs::read_to_string(root.join(path)).with_context(|| path.to_owned());
    let (table, legend) = (read("docs/baselines.md")?, read("docs/losses.md")?);
    let mut sources = BTreeMap::new();
    for entry in fs::read_dir(root.join(SOURCES)).context(SOURCES)? {
        let file = format!("{SOURCES}/{}", entry?.file_name().to_string_lossy());
        let _new = sources.insert(file.clone(), read(&file)?);
    }
    let mut pages = Vec::new();
    for (name, title) in METHODS {
        // As `spar_core::names` calls it.
        let constant = name.to_uppercase().replace('-', "_");
        let (about, logs) = match ELSEWHERE.iter().find(|(other, ..)| *other == name) {
            Some((_, about, logs)) => (read(about)?, read(logs)?),
            None => {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let names = |text: &&String| {
                    let mut named = text.split("names::").skip(1);
                    named.any(|rest| rest.split(|c| !word(c)).next() == Some(&*constant))
                };
                let found = sources.values().find(names);
                let text =
                    found.with_context(|| format!("no file of {SOURCES} names {constant}"))?;
                (text.clone(), text.clone())
            }
        };
        let mut equations = Vec::new();
        for (_, file, function) in EQUATIONS.iter().filter(|(method, ..)| *method == name) {
            let said = before(&read(file)?, function);
            equations.push(said.with_context(|| format!("{file} says nothing of `{function}`"))?);
        }
        // A blended method's update is its base's.
        let of_learner = |source: &str| before(source.split_once("Learner for ")?.1, "fn update(");
        equations.extend(of_learner(&about).or_else(|| of_learner(&logs)));
        anyhow::ensure!(
            !equations.is_empty(),
            "nothing says what an update of {name} is"
        );
        let text = page(
            name,
            title,
            &about,
            &equations.join("\n\n"),
            &logs,
            &table,
            &legend,
        )
        .with_context(|| format!("the page of {name}"))?;
        pages.push((format!("{name}.md"), title.to_owned(), text));
    }
    Ok(pages)
}

fn page(
    name: &str,
    title: &str,
    about: &str,
    update: &str,
    logs: &str,
    table: &str,
    legend: &str,
) -> Result<String> {
    let mut text = format!("# {title}\n\n{}\n", documentation(about));
    text += &format!(
        "\n```sh\nspar train --dataset FILE --env hopper --method {name} --out runs/{name}\n\
         spar list settings {name}\n```\n"
    );
    text += &format!("\n## One update\n\n{update}\n");
    if let Some(facts) = facts(name, table) {
        text += &format!("\n## Here\n\n{facts}");
    }
    text += "\n## What it logs\n\n| name | what it is | what to look for |\n|---|---|---|\n";
    let names = logged(logs);
    anyhow::ensure!(
        !names.is_empty(),
        "its source logs nothing that is recognized"
    );
    for logged in names {
        let row = legend
            .lines()
            .find(|line| line.starts_with(&format!("| `{logged}` |")));
        text += row.with_context(|| format!("docs/losses.md has no row of `{logged}`"))?;
        text.push('\n');
    }
    text += "\n[How the numbers of the log are read](../losses.md) · \
             [all methods](../baselines.md)\n";
    Ok(text)
}

/// The documentation a file begins with.
fn documentation(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    joined(lines)
}

/// The documentation of the first `function` of `source`, but of its errors.
fn before(source: &str, function: &str) -> Option<String> {
    let before = source.split_once(function)?.0;
    let lines: Vec<&str> = before.lines().collect();
    let is_doc = |line: &&str| line.trim_start().starts_with("///");
    let last = lines.iter().rposition(is_doc)?;
    let first = lines[..=last].iter().rposition(|line| !is_doc(line));
    let docs = lines[first.map_or(0, |at| at + 1)..=last].iter();
    let docs = docs.map(|line| line.trim_start().trim_start_matches("///"));
    Some(joined(
        docs.take_while(|line| !line.trim_start().starts_with("# ")),
    ))
}

/// Lines without the blank behind a comment's sign, and with what rustdoc alone links taken
/// as code.
fn joined<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line));
    let text = lines.collect::<Vec<_>>().join("\n");
    text.replace("[`", "`").replace("`]", "`").trim().to_owned()
}

/// The method's row of the table of methods, as a list.
fn facts(name: &str, table: &str) -> Option<String> {
    let cells = |line: &str| -> Vec<String> {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    let header = table
        .lines()
        .find(|line| line.starts_with("| `--method` |"))?;
    let row = table.lines().find(|line| {
        let first = line
            .strip_prefix("| ")
            .and_then(|rest| rest.split(" |").next());
        first.is_some_and(|first| first.split(", ").any(|n| n == format!("`{name}`")))
    })?;
    let pairs = cells(header).into_iter().zip(cells(row)).skip(1);
    let said = pairs.filter(|(_, value)| !value.is_empty());
    Some(
        said.map(|(what, value)| format!("- {what}: {value}\n"))
            .collect(),
    )
}

/// Names of the numbers that a source logs, in their order: those it adds one by one, and those
/// that its `named` lists.
fn logged(source: &str) -> Vec<String> {
    let list = source.split_once("fn named(").map_or("", |(_, list)| list);
    let list = list.split("\n    }\n").next().unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for (text, mark) in [(source, ".with(\""), (list, "(\"")] {
        for after in text.split(mark).skip(1) {
            let name = after.split('"').next().unwrap_or_default();
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_taken_apart() {
        let source = "//! Of [`x`].\n//! More.\n\nimpl Learner for A {\n    /// Down `a`,\n    /// then `b`.\n    ///\n    /// # Errors\n    fn update(&mut self) {\n        m.with(\"kl\", 1.0).x();\n    }\n";
        assert_eq!(documentation(source), "Of `x`.\nMore.");
        assert_eq!(
            before(source, "fn update(").as_deref(),
            Some("Down `a`,\nthen `b`.")
        );
        assert_eq!(logged(source), ["kl"]);
        let table = "| `--method` | what | why |\n|---|---|---|\n| `a`, `b` | one | |\n";
        assert_eq!(facts("b", table).as_deref(), Some("- what: one\n"));
        assert_eq!(facts("c", table), None);
    }
}
