//! Which pages the site has, and where: those that `docs/SUMMARY.md` lists, one for each method,
//! and what any of them links to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::methods;

/// Where the crates' documentation is on the site.
pub(crate) const API: &str = "api";

/// Where files of the tree are that a page links to.
const TREE: &str = "tree";

/// The list of pages.
const SUMMARY: &str = "docs/SUMMARY.md";

/// The page that the methods' pages come after.
const METHODS: &str = "baselines.md";

/// Every file of the site's source by its name there.
///
/// # Errors
/// If a page cannot be read, or a method's source has changed its form.
pub(crate) fn pages(root: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut site = Site {
        root,
        files: BTreeMap::new(),
        seen: BTreeSet::new(),
        crates: BTreeMap::new(),
    };
    let summary = site.page(SUMMARY)?;
    let mut methods_list = String::new();
    for (file, title, text) in methods::pages(root)? {
        let from = format!("docs/methods/{file}");
        let text = site.linked(&from, &text)?;
        methods_list += &format!("  - [{title}](methods/{file})\n");
        let _new = site
            .files
            .insert(format!("methods/{file}"), text.into_bytes());
    }
    let mut summary = summary
        .lines()
        .map(|line| match line.contains(&format!("]({METHODS})")) {
            true => format!("{line}\n{methods_list}"),
            false => format!("{line}\n"),
        })
        .collect::<String>();
    summary += "\n# Crates\n\n";
    for (place, title) in &site.crates {
        summary += &format!("- [{title}]({place})\n");
    }
    summary += "- [Every function](api.md)\n";
    let api = format!(
        "# Every function\n\nThe crates' own documentation: <a href=\"{API}/spar/index.html\">spar</a>, \
         and from there all others.\n"
    );
    let _new = site.files.insert("api.md".to_owned(), api.into_bytes());
    let _new = site
        .files
        .insert("SUMMARY.md".to_owned(), summary.into_bytes());
    Ok(site.files)
}

struct Site<'a> {
    root: &'a Path,
    files: BTreeMap<String, Vec<u8>>,
    /// Files of the tree that were looked at.
    seen: BTreeSet<String>,
    /// Pages of crates, with their titles.
    crates: BTreeMap<String, String>,
}

impl Site<'_> {
    /// The text of a page of the tree, with links to where things are on the site; what it
    /// links to is taken in.
    fn page(&mut self, path: &str) -> Result<String> {
        let text = fs::read_to_string(self.root.join(path)).with_context(|| path.to_owned())?;
        self.linked(path, &text)
    }

    fn linked(&mut self, path: &str, text: &str) -> Result<String> {
        let own = place(path);
        let mut out = String::new();
        let mut in_code = false;
        for line in text.lines() {
            in_code ^= line.trim_start().starts_with("```");
            if in_code {
                out += line;
            } else {
                self.line(path, &own, line, &mut out)?;
            }
            out.push('\n');
        }
        Ok(out)
    }

    /// Adds `line` to `out` with its links changed.
    fn line(&mut self, path: &str, own: &str, line: &str, out: &mut String) -> Result<()> {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else {
                break;
            };
            match self.target(path, own, target)? {
                Some(target) => *out += &format!("{before}]({target})"),
                // What is a folder has no page: its name alone.
                None => match before.rsplit_once('[') {
                    Some((before, name)) => *out += &format!("{before}{name}"),
                    None => *out += before,
                },
            }
            rest = after;
        }
        *out += rest;
        Ok(())
    }

    /// Where the `target` of a link in the file `path`, which is `own` on the site, is from
    /// there.
    fn target(&mut self, path: &str, own: &str, target: &str) -> Result<Option<String>> {
        if target.contains("://") || target.starts_with('#') || target.starts_with("mailto:") {
            return Ok(Some(target.to_owned()));
        }
        let (file, anchor) = match target.split_once('#') {
            Some((file, anchor)) => (file, format!("#{anchor}")),
            None => (target, String::new()),
        };
        let there = normal(&format!(
            "{}/{file}",
            path.rsplit_once('/').map_or("", |(folder, _)| folder)
        ));
        let full = self.root.join(&there);
        if full.is_dir() {
            return Ok(None);
        }
        if !full.is_file() && !there.starts_with("docs/methods/") {
            bail!("{path}: link to {target}, which is not there");
        }
        self.take(&there)?;
        Ok(Some(relative(own, &place(&there)) + &anchor))
    }

    /// Takes the file `path` of the tree into the site.
    fn take(&mut self, path: &str) -> Result<()> {
        if path == SUMMARY
            || path.starts_with("docs/methods/")
            || !self.seen.insert(path.to_owned())
        {
            return Ok(());
        }
        let to = place(path);
        let bytes = match path.ends_with(".md") {
            true => {
                let text = self.page(path)?;
                if to.starts_with("crates/") {
                    let title = text.lines().find_map(|line| line.strip_prefix("# "));
                    let title = title.unwrap_or(&to).to_owned();
                    let _new = self.crates.insert(to.clone(), title);
                }
                text.into_bytes()
            }
            false => fs::read(self.root.join(path)).with_context(|| path.to_owned())?,
        };
        let _new = self.files.insert(to, bytes);
        Ok(())
    }
}

/// Where a file of the tree is on the site. mdBook has a meaning of its own for `README.md`.
fn place(path: &str) -> String {
    if let Some(page) = path.strip_prefix("docs/") {
        return page.to_owned();
    }
    match path.strip_suffix(".md") {
        None => format!("{TREE}/{path}"),
        Some("README") => "introduction.md".to_owned(),
        Some(name) => format!(
            "{}.md",
            name.strip_suffix("/README").unwrap_or(name).to_lowercase()
        ),
    }
}

/// `path` without `.` and `..`.
pub(crate) fn normal(path: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            _ => {}
        }
    }
    parts.join("/")
}

/// The path of `to` from the folder that `from` is in.
fn relative(from: &str, to: &str) -> String {
    let folder: Vec<&str> = from.split('/').collect();
    let folder = &folder[..folder.len() - 1];
    let parts: Vec<&str> = to.split('/').collect();
    let shared = folder
        .iter()
        .zip(&parts)
        .take_while(|(a, b)| a == b)
        .count();
    let mut path = PathBuf::new();
    for _ in shared..folder.len() {
        path.push("..");
    }
    for part in &parts[shared..] {
        path.push(part);
    }
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_find_their_place_and_each_other() {
        assert_eq!(place("docs/data.md"), "data.md");
        assert_eq!(place("README.md"), "introduction.md");
        assert_eq!(place("crates/spar-c/README.md"), "crates/spar-c.md");
        assert_eq!(
            place("crates/spar-c/include/spar.h"),
            "tree/crates/spar-c/include/spar.h"
        );
        assert_eq!(normal("docs/../README.md"), "README.md");
        assert_eq!(relative("methods/iql.md", "losses.md"), "../losses.md");
        assert_eq!(relative("data.md", "tree/a/b"), "tree/a/b");
    }
}
