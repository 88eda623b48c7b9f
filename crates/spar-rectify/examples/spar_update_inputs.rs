//! Writes the inputs of `tests/scripts/spar_update.py`: parameters, batch and
//! noise of two updates, for both forms of the critic. Run from the
//! workspace's root; it takes no arguments.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

#[path = "../tests/golden/mod.rs"]
mod golden;

fn main() {
    for (name, form) in golden::FORMS {
        let file = format!("tests/fixtures/pytorch/{name}.inputs.safetensors");
        fs::write(Path::new(&file), golden::inputs_file(form)).unwrap();
        println!("wrote {file}");
    }
}
