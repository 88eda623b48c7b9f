//! `docs/performance.md`: words from a template, figures from what was measured.
//! Nobody types a figure, so that none can differ from what was printed.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;

use super::{
    ACTING, COMPARISON, METHODS, SCALING, TOLERANCE,
    acting::{Acting, DEPLOY, with_acting},
    measured::Measured,
    methods::Methods,
    plot,
    report::{Report, versions},
    scaling::Scaling,
};
use spar_suite::say;

/// The words.
const TEMPLATE: &str = include_str!("performance.md");

/// The page and its plot, below the workspace's root.
const PAGE: &str = "docs/performance.md";
const PLOT: &str = "docs/performance.svg";

/// The section of other methods, and the heading after it.
const SECTION: &str = "## Other methods\n";
const AFTER: &str = "## Scaling\n";

/// Writes page and plot of the measurements in `folder`, and into `docs/deploy.md` how long an
/// action takes. Where only other methods were measured there, their section of the page is
/// written and the rest stays; where only actions were, nothing of it.
///
/// # Errors
/// If one of them is missing or unreadable, or was made on another machine than the
/// other, or if the page cannot be written.
pub(crate) fn write(root: &Path, folder: &Path) -> Result<()> {
    let there = |name: &str| folder.join(name).exists();
    if there(ACTING) {
        let acting: Acting = read(&folder.join(ACTING), "cargo xtask bench --acting")?;
        let page = fs::read_to_string(root.join(DEPLOY));
        let page = page.with_context(|| format!("cannot read {DEPLOY}"))?;
        let page = with_acting(&page, &acting).with_context(|| DEPLOY.to_owned())?;
        save(root, DEPLOY, &page)?;
        if ![COMPARISON, SCALING, METHODS].into_iter().any(there) {
            return Ok(());
        }
    }
    let methods = there(METHODS)
        .then(|| read(&folder.join(METHODS), "cargo xtask bench --methods"))
        .transpose()?;
    if let (Some(methods), false, false) = (&methods, there(COMPARISON), there(SCALING)) {
        let page = fs::read_to_string(root.join(PAGE));
        let page = with_methods(
            &page.with_context(|| format!("cannot read {PAGE}"))?,
            methods,
        )?;
        return save(root, PAGE, &page);
    }
    let comparison: Report = read(&folder.join(COMPARISON), "cargo xtask bench")?;
    let scaling: Scaling = read(&folder.join(SCALING), "cargo xtask bench --scaling")?;
    let page = page(&comparison, &scaling, methods.as_ref())?;
    let plot = plot::render(&scaling)?;
    save(root, PAGE, &page)?;
    save(root, PLOT, &plot)
}

fn save(root: &Path, file: &str, text: &str) -> Result<()> {
    spar_core::write_atomic(&root.join(file), text.as_bytes())
        .with_context(|| format!("cannot write {file}"))?;
    say!("wrote {file}");
    Ok(())
}

fn read<T: DeserializeOwned>(file: &Path, made_by: &str) -> Result<T> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read {}; `{made_by}` makes it", file.display()))?;
    serde_json::from_str(&text).with_context(|| {
        format!(
            "{} is not of this version; make it anew with `{made_by}`",
            file.display()
        )
    })
}

/// The page's text.
fn page(comparison: &Report, scaling: &Scaling, methods: Option<&Methods>) -> Result<String> {
    let (one, other) = (&comparison.machine, &scaling.machine);
    ensure!(
        (&one.cpu, one.cores) == (&other.cpu, other.cores),
        "the measurements are of different machines: {} with {} cores, {} with {}; make both on one",
        one.cpu,
        one.cores,
        other.cpu,
        other.cores
    );
    let all_cores = comparison.all_cores_table();
    let memory = scaling.memory.as_ref().map(|memory| {
        format!(
            "Peak resident memory of `spar train`, batch {}, on random numbers in D4RL's layout
at Walker2d's widths. \"Data\" are the arrays that training reads: observations,
actions and rewards in single precision, two flags of a byte.

{}

From one to the other the process grows by {:.2} bytes for each byte of data: 1 if
they are held once. Beside them there is an index of transitions, 4 bytes a row.",
            memory.batch,
            memory.table(),
            memory.copies()
        )
    });
    let figures = [
        ("tolerance", format!("{TOLERANCE:e}")),
        ("comparison.measured", made(&comparison.measured)),
        (
            "comparison.machine",
            format!("{}; {} cores.", one, one.cores),
        ),
        (
            "comparison.versions",
            format!("Versions: {}.", versions(&comparison.versions)),
        ),
        (
            "comparison.contenders",
            comparison.contenders_table().to_string(),
        ),
        ("comparison.parts", comparison.parts_table().to_string()),
        (
            "comparison.all_cores",
            all_cores.map_or(String::new(), |table| table.to_string()),
        ),
        ("comparison.missing", missing(&comparison.missing)),
        ("scaling.measured", made(&scaling.measured)),
        (
            "scaling.machine",
            format!(
                "{}; {} cores; memory {:.1} GB/s on one.",
                other, other.cores, scaling.memory_gb_s
            ),
        ),
        (
            "scaling.side_by_side",
            scaling.side_by_side_table().to_string(),
        ),
        ("scaling.batches", scaling.batch_table().to_string()),
        ("scaling.widths", scaling.width_table().to_string()),
        (
            "scaling.memory",
            memory.unwrap_or_else(|| "Not measured.".to_owned()),
        ),
        ("scaling.missing", missing(&scaling.missing)),
    ];
    let [before, words, after] = parts(TEMPLATE)?;
    let rest = fill(&format!("{before}{after}"), &figures)?;
    let Some(methods) = methods else {
        return Ok(rest);
    };
    let [before, _, after] = parts(&rest)?;
    Ok(format!("{before}{}{after}", section(words, methods)?))
}

/// `page` with the section of other methods made of `methods`.
fn with_methods(page: &str, methods: &Methods) -> Result<String> {
    let [before, _, after] = parts(page)?;
    let [_, words, _] = parts(TEMPLATE)?;
    Ok(format!("{before}{}{after}", section(words, methods)?))
}

/// What stands before the section of other methods, the section, which may be empty, and
/// what stands after it.
fn parts(page: &str) -> Result<[&str; 3]> {
    let after = page.find(AFTER);
    let after = after.with_context(|| format!("the page has no heading `{}`", AFTER.trim()))?;
    let before = page.find(SECTION).unwrap_or(after).min(after);
    Ok([&page[..before], &page[before..after], &page[after..]])
}

/// The section of other methods of its `words`.
fn section(words: &str, methods: &Methods) -> Result<String> {
    let figures = [
        ("methods.measured", made(&methods.measured)),
        (
            "methods.machine",
            format!("{}; {} cores.", methods.machine, methods.machine.cores),
        ),
        (
            "methods.versions",
            format!("Versions: {}.", versions(&methods.versions)),
        ),
        ("methods.table", methods.table().to_string()),
        ("methods.summary", methods.summary()),
        ("methods.missing", missing(&methods.missing)),
    ];
    Ok(fill(words, &figures)? + "\n")
}

fn made(measured: &Measured) -> String {
    format!(
        "Measured on {} (UTC) at commit {}.",
        measured.date, measured.commit
    )
}

fn missing(lines: &[String]) -> String {
    let lines = lines.iter().map(|line| format!("- missing: {line}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// `template` with every `{{name}}` replaced; an empty figure takes the line after
/// it along.
///
/// # Errors
/// If a place has no figure, or a figure no place.
fn fill(template: &str, figures: &[(&str, String)]) -> Result<String> {
    let mut text = template.to_owned();
    for (name, figure) in figures {
        let place = format!("{{{{{name}}}}}");
        ensure!(text.contains(&place), "the template has no place {place}");
        text = match figure.as_str() {
            "" => text
                .replace(&format!("{place}\n\n"), "")
                .replace(&place, ""),
            figure => text.replace(&place, figure),
        };
    }
    if let Some(at) = text.find("{{") {
        let line = text[at..].lines().next().unwrap_or_default();
        bail!("the template has a place without a figure: {line}");
    }
    Ok(text.trim_end().to_owned() + "\n")
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
