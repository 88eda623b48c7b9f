//! Reads a data set, says what is in it and draws one batch.
//!
//! `cargo run --release -p spar-data --example sample -- FILE`; without a file, a small log that
//! the program writes itself.

use std::{env, error::Error, path::Path, sync::Arc};

use spar_core::Stream;
use spar_data::{Batch, Dataset, Sampler, Steps, Transitions};

/// The longest episode of data that say nothing of where theirs end.
const HORIZON: usize = 1000;

/// What a robot with two joints might have logged.
fn log() -> Result<Dataset, spar_data::DataError> {
    let (mut steps, mut stream) = (Steps::default(), Stream::new(0, "log"));
    for t in 1..=500 {
        let mut draw = || stream.uniform(-1.0, 1.0) as f32;
        steps.observations.extend([draw(), draw(), draw(), draw()]);
        steps.actions.extend([draw(), draw()]);
        steps.rewards.push(draw());
        steps.terminals.push(false);
        steps.timeouts.push(t % 50 == 0);
    }
    Dataset::in_memory("log", 4, 2, steps)
}

fn main() -> Result<(), Box<dyn Error>> {
    let data = match env::args_os().nth(1) {
        Some(file) => Dataset::read(Path::new(&file))?,
        None => log()?,
    };
    let returns = data.returns(HORIZON);
    let best = returns.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    println!(
        "{} rows, {} episodes, the best return {best:.2}",
        data.rows(),
        returns.len()
    );

    let transitions = Transitions::new(Arc::new(data), HORIZON)?;
    let normalizer = transitions.normalizer();
    let mut sampler = Sampler::new(Stream::new(0, "sampler"));
    let mut batch = Batch::new(256, transitions.obs_dim(), transitions.act_dim());
    sampler.next(&transitions, &normalizer, &mut batch);
    println!(
        "a batch of 256 of {} transitions: observations {} wide, actions {}",
        transitions.len(),
        transitions.obs_dim(),
        transitions.act_dim()
    );
    Ok(())
}
