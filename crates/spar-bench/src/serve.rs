//! The protocol with `xtask`: a line of JSON that says who is there, then one
//! answer per request. `losses NAME` gives the losses of one cycle from the
//! start; `time NAME SECONDS` starts anew and gives what the steps took.
//! Requests come one at a time, so that contenders can take turns.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::json;

use crate::{
    clock::{self, Timing},
    flops,
    inputs::{CYCLE, Inputs},
    ours::{self, Losses},
    peak::{self, Sgemm},
};

/// Who is there.
#[derive(Serialize)]
struct Hello {
    contenders: Vec<&'static str>,
    /// Floating-point operations of one step by workload.
    flops: BTreeMap<&'static str, usize>,
    isa: &'static str,
    features: Vec<&'static str>,
}

/// Answers requests on stdin until it ends.
///
/// # Errors
/// If stdin or stdout breaks; a request that fails is answered with why.
pub(crate) fn serve(core: Option<usize>, contenders: &[&'static str]) -> Result<()> {
    if let Some(core) = core {
        clock::stay_on_core(core)?;
    }
    let inputs = Inputs::new()?;
    answer(&hello(&inputs, contenders))?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let done = match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["losses", name] => losses(name, &inputs).map(|losses| json!({ "losses": losses })),
            ["time", name, seconds] => time(name, seconds, &inputs).map(|timing| json!(timing)),
            _ => None.with_context(|| format!("`{line}` is no request")),
        };
        match done {
            Ok(done) => answer(&done)?,
            Err(error) => answer(&json!({ "error": format!("{error:#}") }))?,
        }
    }
    Ok(())
}

fn answer(value: &impl Serialize) -> Result<()> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, value)?;
    writeln!(stdout)?;
    Ok(stdout.flush()?)
}

fn hello(inputs: &Inputs, contenders: &[&'static str]) -> Hello {
    let c = &inputs.config;
    let critic = flops::critic(c);
    let flops = [
        ("mlp", flops::train(&c.shapes().mlp, c.rows, false)),
        ("spar", flops::update(c)),
        ("critic", critic),
        ("fit", critic + flops::fit(c)),
        ("imitation", critic + flops::fit(c) + flops::imitation(c)),
        ("fma", peak::fma()),
        ("sgemm", Sgemm::FLOPS),
    ];
    Hello {
        contenders: contenders.to_vec(),
        flops: flops.into(),
        isa: peak::isa(),
        features: peak::features(),
    }
}

/// The losses of one cycle.
fn losses(name: &str, inputs: &Inputs) -> Result<Losses> {
    let mut contender = ours::contender(name, inputs)?;
    let mut losses = Losses::new();
    for i in 0..CYCLE {
        contender.step(i, Some(&mut losses))?;
    }
    Ok(losses)
}

fn time(name: &str, seconds: &str, inputs: &Inputs) -> Result<Timing> {
    let seconds: f64 = seconds
        .parse()
        .with_context(|| format!("`{seconds}` is no number of seconds"))?;
    if !(seconds > 0.0 && seconds.is_finite()) {
        bail!("{seconds} seconds");
    }
    match name {
        "fma/peak" => clock::time(seconds, 1, || {
            peak::fma();
            Ok(())
        }),
        "sgemm/peak" => {
            let product = Sgemm::new()?;
            clock::time(seconds, 1, || product.step())
        }
        _ => {
            let mut contender = ours::contender(name, inputs)?;
            clock::time(seconds, CYCLE, || {
                (0..CYCLE).try_for_each(|i| contender.step(i, None))
            })
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What the command's check relies on, at home: every contender computes
    /// the same function.
    #[test]
    fn our_contenders_agree() {
        let inputs = Inputs::new().unwrap();
        for pair in [
            ["mlp/ours", "mlp/bare"],
            ["mlp/ours", "mlp/candle"],
            ["spar/ours", "spar/candle"],
            ["spar/ours", "critic/ours"],
        ] {
            let [want, got] = pair.map(|name| losses(name, &inputs).unwrap());
            assert!(!got.is_empty());
            for (name, got) in got {
                assert_eq!(got.len(), want[name].len(), "{pair:?} {name}");
                for (got, want) in got.iter().zip(&want[name]) {
                    let off = (got - want).abs() / want.abs();
                    assert!(off < 3e-4, "{pair:?} {name}: {got} {want}");
                }
            }
        }
    }

    #[test]
    fn a_timing_is_of_whole_cycles() {
        let inputs = Inputs::new().unwrap();
        let timing = time("mlp/bare", "0.05", &inputs).unwrap();
        assert!(timing.steps > 0 && timing.steps.is_multiple_of(CYCLE));
        assert!(timing.wall_s >= 0.05 && timing.cpu_s > 0.0, "{timing:?}");
    }
}
