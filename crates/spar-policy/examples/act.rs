//! Reads a policy file, says what is in it and acts; without one, writes and reads a policy
//! that pushes a point on a line back to its middle.
//!
//! `cargo run --release -p spar-policy --example act [POLICY]`

use std::{env, error::Error};

use spar_core::printable;
use spar_policy::{Activation, Linear, Networks, Normalizer, PlainPolicy, Policy, RowMlp};

/// `clip(-2 x - 2 v)` as a network of one layer.
fn spring() -> Policy {
    let net = RowMlp {
        layers: vec![Linear {
            weight: vec![-2.0, -2.0],
            bias: vec![0.0],
            norm: None,
        }],
        hidden: Activation::Relu,
        output: Activation::Identity,
        input_norm: None,
    };
    let networks = Networks::Plain(PlainPolicy {
        normalizer: Normalizer::identity(2),
        net,
        affine: None,
    });
    Policy::new(networks, None, None)
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(file) = env::args_os().nth(1) {
        let policy = Policy::load(file)?;
        match policy.about() {
            Some(about) => println!(
                "{} on {}, seed {}, for {}",
                printable(&about.method),
                printable(&about.dataset.id),
                about.seed,
                printable(about.env.as_deref().unwrap_or("no environment")),
            ),
            None => println!("a network of another program"),
        }
        let obs = vec![0.0; policy.obs_dim()];
        let mut action = vec![0.0; policy.act_dim()];
        policy.act(&obs, &mut action);
        println!("{} observations of zero -> {action:?}", policy.obs_dim());
        return Ok(());
    }
    let policy = Policy::from_bytes(&spring().to_bytes()?)?;
    let [mut x, mut v] = [1.0, 0.0];
    let mut force = [0.0];
    for step in 0..=60 {
        policy.act(&[x, v], &mut force);
        if step % 20 == 0 {
            println!(
                "step {step:2}: x = {x:+.3}, v = {v:+.3}, force = {:+.3}",
                force[0]
            );
        }
        v += 0.1 * force[0];
        x += 0.1 * v;
    }
    Ok(())
}
