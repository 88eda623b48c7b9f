//! Reads the data named on the command line, without HDF5, and says how many rows they have.

use std::{env, error::Error, path::Path};

use spar_data::Dataset;

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("name the data")?;
    let data = Dataset::read(Path::new(&path))?;
    println!("{} rows, {} wide", data.rows(), data.obs_dim);
    Ok(())
}
