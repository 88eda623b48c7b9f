//! Documents age when what they point at moves. These tests hold every link of every
//! page, and every name `docs/fidelity.md` gives as a place or a proof, to the tree.
#![allow(clippy::unwrap_used)]

use crate::tidy::{Source, assert_none, has_word, rust, sources};

/// Targets of a page's links, `[..](target)`, without those on the net.
fn links(page: &str) -> impl Iterator<Item = &str> {
    page.split("](")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(')')?.0))
        .filter(|target| !target.contains("://"))
}

/// The anchors GitHub gives a page's headings.
fn anchors(page: &str) -> Vec<String> {
    let mut in_code = false;
    let headings = page.lines().filter(|line| {
        in_code ^= line.starts_with("```");
        !in_code && line.starts_with('#')
    });
    let kept = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c => c.is_alphanumeric().then_some(c),
    };
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|title| title.chars().filter_map(kept).collect())
        .collect()
}

/// Words between backticks that can only be identifiers: those with an underscore.
fn identifiers(page: &str) -> impl Iterator<Item = &str> {
    let name = |c: char| c.is_alphanumeric() || c == '_' || c == '…';
    page.split('`')
        .skip(1)
        .step_by(2)
        .filter(move |word| word.contains('_') && word.chars().all(name))
}

/// Whether `word`, or something that begins like it where it ends in `…`, is in `line`.
fn names(line: &str, word: &str) -> bool {
    match word.strip_suffix('…') {
        Some(start) => line.contains(start),
        None => has_word(line, word),
    }
}

/// All pages but the template of one that lies in `docs`.
fn pages() -> Vec<Source> {
    let mut pages = sources();
    let template = "crates/spar-bench/src/bench/performance.md";
    pages.retain(|source| source.is(".md") && source.path != template);
    pages
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let from = crate::root().join(&page.path);
        let anchors_here = anchors(&page.text);
        for target in links(&page.text) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = from.parent().unwrap().join(file);
            let there = match file {
                "" => Some(anchors_here.clone()),
                _ if anchor.is_empty() => path.exists().then(Vec::new),
                _ => std::fs::read_to_string(path)
                    .ok()
                    .map(|text| anchors(&text)),
            };
            let found = there.is_some_and(|anchors| {
                anchor.is_empty() || anchors.iter().any(|known| known == anchor)
            });
            if !found {
                broken.push(format!("{}: {target}", page.path));
            }
        }
    }
    assert_none(broken, "links lead to files and headings that are there");
}

#[test]
fn the_summary_of_the_site_lists_every_page() {
    let all = pages();
    let summary = all
        .iter()
        .find(|page| page.path == "docs/SUMMARY.md")
        .unwrap();
    let listed: Vec<&str> = links(&summary.text).collect();
    let missing = all
        .iter()
        .filter_map(|page| page.path.strip_prefix("docs/"))
        .filter(|page| *page != "SUMMARY.md" && !page.contains('/') && !listed.contains(page));
    assert_none(
        missing.map(str::to_owned).collect(),
        "every page of docs has its line in docs/SUMMARY.md",
    );
}

/// The site's pages lie elsewhere than the tree's, and the methods' are put together.
#[test]
fn links_of_the_site_lead_to_its_pages() {
    let site = crate::site::pages(crate::root()).unwrap();
    for (name, _) in spar_core::names::METHODS {
        let page = &site[&format!("methods/{name}.md")];
        let text = std::str::from_utf8(page).unwrap();
        assert!(
            text.contains("## What it logs") && text.len() > 500,
            "{text}"
        );
    }
    let listed = std::str::from_utf8(&site["SUMMARY.md"]).unwrap();
    let listed: Vec<&str> = links(listed).collect();
    let mut broken = Vec::new();
    for (name, bytes) in site.iter().filter(|(name, _)| name.ends_with(".md")) {
        // What the summary does not list, mdBook leaves out.
        if name != "SUMMARY.md" && !listed.contains(&name.as_str()) {
            broken.push(format!("SUMMARY.md: no line of {name}"));
        }
        let text = std::str::from_utf8(bytes).unwrap();
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        for target in links(text) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => name.clone(),
                file => crate::site::normal(&format!("{folder}/{file}")),
            };
            let found = site.get(&path).is_some_and(|page| {
                anchor.is_empty()
                    || anchors(&String::from_utf8_lossy(page))
                        .iter()
                        .any(|a| a == anchor)
            });
            if !found {
                broken.push(format!("{name}: {target}"));
            }
        }
    }
    assert_none(
        broken,
        "links of the site lead to pages and headings that it has",
    );
}

#[test]
fn the_proofs_that_fidelity_names_are_there() {
    let code: Vec<Source> = rust().collect();
    let page = pages()
        .into_iter()
        .find(|page| page.path == "docs/fidelity.md");
    let page = page.expect("docs/fidelity.md says what is the paper's and what is ours");
    let known = |word: &str| code.iter().any(|source| names(&source.text, word));
    assert!(identifiers(&page.text).count() > 20);
    assert_none(
        identifiers(&page.text)
            .filter(|word| !known(word))
            .map(str::to_owned)
            .collect(),
        "docs/fidelity.md names tests, functions and settings that exist; it says what is held by \
         what, so correct the row as well as the name",
    );
}

/// Blocks of `language` in `page`, each with the text before it.
fn blocks<'a>(page: &'a str, language: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let fence = format!("```{language}\n");
    page.match_indices(&fence)
        .map(|(at, _)| at)
        .collect::<Vec<_>>()
        .into_iter()
        .map(move |at| {
            let block = &page[at + fence_length(language)..];
            (&page[..at], block.split("```").next().unwrap())
        })
}

fn fence_length(language: &str) -> usize {
    "```\n".len() + language.len()
}

/// Without indentation and empty lines.
fn bare(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_extending_shows_is_compiled() {
    let root = crate::root();
    let page = std::fs::read_to_string(root.join("docs/extending.md")).unwrap();
    let mut checked = 0;
    for (before, block) in blocks(&page, "rust") {
        let program = links(before)
            .filter(|target| target.ends_with(".rs"))
            .last();
        let program = root.join("docs").join(program.unwrap());
        let text = bare(&std::fs::read_to_string(&program).unwrap());
        for part in block.split("// ...\n") {
            let part = bare(part);
            assert!(
                text.contains(&part),
                "{} has not\n{part}",
                program.display()
            );
            checked += 1;
        }
    }
    assert!(checked > 6, "{checked}");
    let (_, own) = blocks(&page, "toml").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let extended = root.join("suites/mujoco.toml");
    std::fs::copy(extended, folder.path().join("mujoco.toml")).unwrap();
    let file = folder.path().join("mine.toml");
    std::fs::write(&file, own).unwrap();
    let suite = spar_core::Suite::load(&file).unwrap();
    assert_eq!(suite.define.len(), 1);
    for method in &suite.methods {
        let settings = suite.run_settings("quick", "cart-logs", method);
        assert!(!settings.unwrap().is_empty(), "{method}");
    }
}

/// Files to add something are few, each of those that the page counts is there.
#[test]
fn no_more_than_three_files_are_edited_to_add_something() {
    let root = crate::root();
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let naming = |word: &str, of: &str| -> Vec<String> {
        let own = format!("/{word}.rs");
        let sources = rust().filter(|s| s.path.starts_with(of) && !s.path.ends_with(&own));
        let found = sources.filter(|source| has_word(&source.text, word));
        found.map(|source| source.path).collect()
    };
    // A method by its module, a layout and a sink by theirs, an environment by its.
    let methods = naming("bcq", "crates/spar-baselines/src/");
    assert_eq!(
        methods,
        ["crates/spar-baselines/src/methods/mod.rs"],
        "beside its own file and its name"
    );
    assert!(read("crates/spar-core/src/names.rs").contains("\"bcq\""));
    let layout = naming("csv_file", "crates/spar-data/src/");
    assert_eq!(layout, ["crates/spar-data/src/read.rs"]);
    assert!(read("crates/spar-data/src/precheck.rs").contains("Kind::Csv"));
    let sinks = naming("tensorboard", "crates/spar-train/src/");
    assert_eq!(sinks, ["crates/spar-train/src/sink.rs"]);
}

#[test]
fn pages_are_taken_apart() {
    let page = "# A b, c!\n[x](y.md#z)\n```sh\n# no heading\n```\n";
    assert_eq!(anchors(page), ["a-b-c"]);
    assert!(links(page).eq(["y.md#z"]));
    assert!(identifiers("`one_two` `three` `four_…`").eq(["one_two", "four_…"]));
    assert!(names("fn four_five()", "four_…") && !names("fn one_two_three()", "one_two"));
}
