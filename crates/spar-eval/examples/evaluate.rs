//! Evaluates a policy of one's own in an environment: returns, scores and episode ends.
//!
//! `cargo run --release -p spar-eval --example evaluate -- [ENVIRONMENT]`; the environment is
//! `point-mass` unless another is named, as `hopper`, which needs MuJoCo (`spar setup`).

use std::{env, error::Error};

use spar_core::{EnvId, Policy, Stream};

/// Uniform actions, the random policy of D4RL's reference returns.
struct Uniform(EnvId);

impl Policy for Uniform {
    fn obs_dim(&self) -> usize {
        self.0.obs_dim()
    }

    fn act_dim(&self) -> usize {
        self.0.act_dim()
    }

    fn act(&self, _obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        let rows = actions.chunks_exact_mut(self.0.act_dim());
        for (stream, row) in streams.iter_mut().zip(rows) {
            stream.fill_uniform(-1.0, 1.0, row);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let id: EnvId = match env::args().nth(1) {
        Some(name) => name.parse()?,
        None => EnvId::POINT_MASS,
    };
    let played = spar_eval::rollout(id, &Uniform(id), 10, 0, 2)?;
    for (i, episode) in played.iter().enumerate() {
        let score = id.normalized_score(episode.ret);
        let score = score.map_or("no reference returns".to_owned(), |s| {
            format!("score {s:.1}")
        });
        println!("episode {i}: return {:.2}, {score}", episode.ret);
    }
    Ok(())
}
