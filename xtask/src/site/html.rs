//! The links of a built site.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Links of the pages of `site` that lead nowhere, as `page: target`. What lies in the folder
/// `api`, which rustdoc has checked, is not read, but has to be there.
pub(super) fn broken(site: &Path, api: Option<&str>) -> Result<Vec<String>> {
    let mut pages = BTreeMap::new();
    collect(site, site, &mut pages)?;
    let mut broken = Vec::new();
    for (path, page) in &pages {
        // The pages that print everything at once, and that say what is not found.
        if ["print.html", "404.html"].contains(&path.to_string_lossy().as_ref()) {
            continue;
        }
        for target in attributes(page, &["href", "src"]) {
            let target = target.replace("&amp;", "&");
            let elsewhere = target.contains("://") || target.starts_with("mailto:");
            if elsewhere || target.starts_with("data:") || target.starts_with("javascript:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = file.split('?').next().unwrap_or_default();
            let there = match file {
                "" => path.clone(),
                file => normal(&path.parent().unwrap_or(Path::new("")).join(file)),
            };
            let of_api = api.is_none() && there.starts_with(super::pages::API);
            let found = of_api
                || match pages.get(&there) {
                    Some(text) => {
                        anchor.is_empty()
                            || attributes(text, &["id", "name"]).any(|id| id == anchor)
                    }
                    None => site.join(&there).exists(),
                };
            if !found {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    broken.sort();
    broken.dedup();
    Ok(broken)
}

/// Every HTML page of `folder` but the crates' documentation, by its path from `site`.
fn collect(site: &Path, folder: &Path, pages: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let below = path.strip_prefix(site).unwrap_or(&path).to_owned();
        if path.is_dir() {
            if below != Path::new(super::pages::API) && below != Path::new("tree") {
                collect(site, &path, pages)?;
            }
        } else if path
            .extension()
            .is_some_and(|extension| extension == "html")
        {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let _new = pages.insert(below, text);
        }
    }
    Ok(())
}

/// Values of the attributes of these names.
fn attributes<'a>(page: &'a str, names: &'a [&str]) -> impl Iterator<Item = &'a str> {
    names.iter().flat_map(move |name| {
        let mark = format!(" {name}=\"");
        let places: Vec<usize> = page
            .match_indices(&mark)
            .map(|(at, _)| at + mark.len())
            .collect();
        places
            .into_iter()
            .filter_map(|at| page[at..].split('"').next())
    })
}

/// `path` without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(out.pop()),
            std::path::Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        fs::create_dir(dir.path().join("m")).unwrap();
        write(
            "a.html",
            "<h1 id=\"x\"></h1><a href=\"m/b.html#y\"></a><img src=\"no.svg\">",
        );
        write(
            "m/b.html",
            "<h1 id=\"z\"></h1><a href=\"../a.html#x\"></a><a href=\"https://h/n\"></a>",
        );
        assert_eq!(
            broken(dir.path(), None).unwrap(),
            ["a.html: m/b.html#y", "a.html: no.svg"]
        );
    }
}
