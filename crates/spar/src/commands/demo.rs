//! `spar demo`: the idea as a picture.

use std::path::PathBuf;

use crate::demo::{Demo, search};
use anyhow::Result;
use spar_core::write_atomic;

use crate::output;

/// What to make.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of demo.svg (still), demo-animated.svg and demo-modes.svg
    #[arg(long, value_name = "DIR", default_value = "demo")]
    out: PathBuf,
    /// Seed of data and methods
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Draw nothing; print what other settings of each method do (a minute or two)
    #[arg(long, conflicts_with = "out")]
    search: bool,
}

/// Trains, prints the table and draws.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.search {
        let tried = search::search(args.seed)?;
        return output::text(&search::table(&tried));
    }
    let demo = Demo::train(args.seed)?;
    let drawn = [
        ("demo.svg", demo.picture()),
        ("demo-animated.svg", demo.film()),
        ("demo-modes.svg", demo.modes_picture()),
    ];
    for (name, svg) in drawn {
        let path = args.out.join(name);
        write_atomic(&path, svg.as_bytes())?;
        output::say(&format!("drawn: {}", path.display()));
    }
    output::text(&demo.table())
}
