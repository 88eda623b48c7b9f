//! Data in a layout of one's own: rows of text, `episode x v force reward`, as a logger of a
//! cart writes them.
//!
//! Whatever the layout, a program hands the arrays over with what it knows of episodes' ends,
//! and they are held to everything a file would be.

use std::sync::Arc;

use spar_data::{Beside, DataError, Dataset, Steps, Transitions};

const LOG: &str = "\
0  0.0  0.1  0.5  1.0
0  0.1  0.2 -0.5  0.9
1 -0.3  0.0  1.0  0.2
1 -0.2  0.1  0.0  0.4
1 -0.1  0.1  0.0  0.8
";

fn read(log: &str) -> Result<Dataset, DataError> {
    let rows: Vec<Vec<f32>> = log
        .lines()
        .map(|line| line.split_whitespace().flat_map(str::parse).collect())
        .collect();
    let mut steps = Steps::default();
    for (i, row) in rows.iter().enumerate() {
        steps.observations.extend(&row[1..3]);
        steps.actions.push(row[3]);
        steps.rewards.push(row[4]);
        // Nothing ends an episode of a cart but the logger.
        steps.terminals.push(false);
        let next = rows.get(i + 1);
        steps
            .timeouts
            .push(next.is_none_or(|next| next[0] != row[0]));
    }
    let beside = Beside {
        timeouts: true,
        ..Beside::default()
    };
    Dataset::of_arrays("cart-log", 2, 1, steps, beside)
}

fn main() -> Result<(), DataError> {
    let data = Arc::new(read(LOG)?);
    let transitions = Transitions::new(Arc::clone(&data), 100)?;
    // Of a cut episode the last step's next observation is not recorded.
    println!("{} rows, {} transitions", data.rows(), transitions.len());
    Ok(())
}
