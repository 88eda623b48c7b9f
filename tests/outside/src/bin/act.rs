//! Reads the policy named on the command line and prints its action for the observation that
//! follows, with nothing but spar-policy.

use std::{env, error::Error};

use spar_policy::Policy;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let policy = Policy::load(words.next().ok_or("name the policy")?)?;
    let obs = words
        .map(|word| word.parse())
        .collect::<Result<Vec<f32>, _>>()?;
    let mut action = vec![0.0; policy.act_dim()];
    policy.act(&obs, &mut action);
    println!("{action:?}");
    Ok(())
}
