//! Writes the inputs of the programs in `tests/scripts/baselines/`: parameters,
//! batch and noise of two updates of every method. Run from the workspace's root;
//! it takes no arguments.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

#[path = "../tests/golden/mod.rs"]
mod golden;

fn main() {
    for case in golden::CASES.iter().chain(golden::VARIANTS) {
        let name = case.name;
        let file = format!("tests/fixtures/pytorch/baselines/{name}.inputs.safetensors");
        fs::write(Path::new(&file), case.inputs_file()).unwrap();
        println!("wrote {file}");
    }
}
