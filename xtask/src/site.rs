//! `cargo xtask site`: the documents as a book, with a page for each method.
//!
//! The pages are the ones GitHub shows; what is made here are their places. A method's page is
//! put together from what its source says of itself, so that there is one text of it.

mod html;
mod methods;
mod pages;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use spar_suite::say;

use crate::setup::checked;

#[cfg(test)]
pub(crate) use pages::normal;
pub(crate) use pages::pages;

/// The one version that makes the site.
const MDBOOK: &str = "0.5.4";

/// What to make.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only gather the pages in target/site/src: neither mdBook nor the crates' documentation
    #[arg(long)]
    pages: bool,
    /// Leave out the crates' documentation
    #[arg(long)]
    no_api: bool,
}

impl Options {
    /// Whether nothing is built.
    pub(crate) fn only_pages(&self) -> bool {
        self.pages
    }
}

/// Makes the site in `target/site/html` and follows every link of it.
pub(crate) fn site(root: &Path, options: &Options) -> Result<()> {
    let place = root.join("target/site");
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    for (name, bytes) in pages(root)? {
        let path = place.join("src").join(&name);
        let folder = path.parent().unwrap_or(&place);
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    fs::copy(root.join("docs/book.toml"), place.join("book.toml")).context("docs/book.toml")?;
    if options.pages {
        say!("pages: {}", place.join("src").display());
        return Ok(());
    }
    let mut build = Command::new(mdbook(root)?);
    build.arg("build").arg(&place);
    checked(build, "mdbook")?;
    let built = place.join("html");
    if !options.no_api {
        let mut doc = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        doc.current_dir(root);
        doc.args([
            "doc",
            "--locked",
            "--release",
            "--no-deps",
            "--workspace",
            "--lib",
        ]);
        doc.args(["--exclude", "xtask", "--exclude", "spar-bench"]);
        checked(doc, "cargo doc")?;
        copy(&root.join("target/doc"), &built.join(pages::API))?;
    }
    let broken = html::broken(&built, (!options.no_api).then_some(pages::API))?;
    if !broken.is_empty() {
        bail!("links of the site lead nowhere:\n  {}", broken.join("\n  "));
    }
    say!("site: {}", built.join("index.html").display());
    Ok(())
}

/// mdBook, built by cargo below `.spar` where it is not there yet.
fn mdbook(root: &Path) -> Result<PathBuf> {
    let place = root.join(".spar/mdbook").join(MDBOOK);
    let program = place.join("bin/mdbook");
    if !program.is_file() {
        say!(
            "building mdbook {MDBOOK} into {} (some minutes, once)",
            place.display()
        );
        let mut install = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        install.args(["install", "--locked", "--version", MDBOOK, "mdbook"]);
        // Neither a server nor a watcher of files.
        install.args(["--no-default-features", "--features", "search", "--root"]);
        install.arg(&place);
        checked(install, "cargo install mdbook")?;
    }
    Ok(program)
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to)?;
        } else {
            fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
    }
    Ok(())
}
