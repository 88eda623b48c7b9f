//! The protocol with `xtask`: a line of JSON that says who is there, then one
//! answer per request. `losses NAME` gives the losses of one cycle from the
//! start; `time NAME SECONDS` starts anew and gives what the steps took; `work
//! WORKLOAD` gives what a step has to do at least. A size may follow the name of
//! the last two, as in `time mlp/ours@256x512 1.0`: transitions per batch, width of
//! the hidden layers. Requests come one at a time, so that contenders can take
//! turns.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::json;
use spar_kernels::matrix_peak;

use crate::{
    clock::{self, Timing},
    inputs::{CYCLE, Config, Inputs, Size},
    methods,
    ours::{self, Losses},
    peak::{self, Sgemm, Stream},
    work::{self, Work},
};

/// What a worker says when it starts; ours says more.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Hello {
    /// What it can run, as `workload/contender`.
    pub(crate) contenders: Vec<String>,
    /// Floating-point operations of a step by workload.
    #[serde(default)]
    pub(crate) flops: BTreeMap<String, f64>,
    /// Transitions in a batch of each of the other methods.
    #[serde(default)]
    pub(crate) batches: BTreeMap<String, usize>,
    /// By which baselines are kept.
    #[serde(default)]
    pub(crate) isa: String,
    /// The machine's vector instructions.
    #[serde(default)]
    pub(crate) features: Vec<String>,
    /// Versions of its libraries.
    #[serde(default)]
    pub(crate) versions: BTreeMap<String, String>,
}

/// Answers requests on stdin until it ends.
///
/// # Errors
/// If stdin or stdout breaks; a request that fails is answered with why.
pub(crate) fn serve(core: Option<usize>, contenders: &[&'static str]) -> Result<()> {
    if let Some(core) = core {
        clock::stay_on_core(core)?;
    }
    let inputs = Inputs::new(None)?;
    answer(&hello(&inputs, contenders)?)?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let done = match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["losses", name] => losses(name, &inputs).map(|losses| json!({ "losses": losses })),
            ["time", name, seconds] => time(name, seconds, &inputs).map(|timing| json!(timing)),
            ["work", name] => work_of(name).map(|work| json!(work)),
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

fn hello(inputs: &Inputs, contenders: &[&'static str]) -> Result<Hello> {
    let c = &inputs.config;
    let (critic, fit) = (work::critic(c)?, work::fit(c)?);
    let work = [
        ("mlp", work::train(&c.shapes()?.mlp, c.rows, false)),
        ("spar", work::update(c)?),
        ("critic", critic),
        ("fit", critic + fit),
        ("imitation", critic + fit + work::imitation(c)?),
    ];
    let work = work.map(|(name, work)| (name, work.flops));
    let flops = work
        .into_iter()
        .chain([("fma", peak::fma()), ("sgemm", Sgemm::FLOPS)]);
    // Without a unit there is no ceiling of one.
    let unit = matrix_peak();
    let flops = flops.chain(unit.map(|flops| ("matrix", flops)));
    let there = contenders
        .iter()
        .filter(|name| **name != "matrix/peak" || unit.is_some());
    let there: Vec<&str> = there.copied().collect();
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Ok(Hello {
        contenders: owned(&there),
        flops: flops
            .map(|(name, flops)| (name.to_owned(), flops as f64))
            .collect(),
        isa: peak::isa().to_owned(),
        features: owned(&peak::features()),
        batches: methods::batches()?,
        versions: BTreeMap::new(),
    })
}

/// The losses of one cycle.
fn losses(name: &str, inputs: &Inputs) -> Result<Losses> {
    let mut contender = ours::contender(name, inputs)?;
    let mut losses = Losses::new();
    for i in 0..contender.cycle() {
        contender.step(i, Some(&mut losses))?;
    }
    Ok(losses)
}

/// A name, and the size behind it if there is one.
fn sized(name: &str) -> Result<(&str, Option<Size>)> {
    match name.split_once('@') {
        None => Ok((name, None)),
        Some((name, size)) => Ok((name, Some(size.parse()?))),
    }
}

/// What a step of a workload has to do.
fn work_of(name: &str) -> Result<Work> {
    let (name, size) = sized(name)?;
    let config = Config::new(size)?;
    match name {
        "mlp" => Ok(work::train(&config.shapes()?.mlp, config.rows, false)),
        "spar" => work::update(&config),
        "stream" => Ok(Stream::WORK),
        _ => bail!("`{name}` is no workload of a sweep"),
    }
}

fn time(name: &str, seconds: &str, inputs: &Inputs) -> Result<Timing> {
    let seconds: f64 = seconds
        .parse()
        .with_context(|| format!("`{seconds}` is no number of seconds"))?;
    if !(seconds > 0.0 && seconds.is_finite()) {
        bail!("{seconds} seconds");
    }
    match sized(name)? {
        ("fma/peak", None) => clock::time(seconds, 1, || {
            peak::fma();
            Ok(())
        }),
        ("matrix/peak", None) => clock::time(seconds, 1, || {
            matrix_peak().context("no matrix unit")?;
            Ok(())
        }),
        ("sgemm/peak", None) => {
            let product = Sgemm::new()?;
            clock::time(seconds, 1, || product.step())
        }
        ("stream/peak", None) => {
            let mut stream = Stream::new();
            clock::time(seconds, 1, || {
                stream.step();
                Ok(())
            })
        }
        (name, None) => {
            let mut contender = ours::contender(name, inputs)?;
            let cycle = contender.cycle();
            clock::time(seconds, cycle, || {
                (0..cycle).try_for_each(|i| contender.step(i, None))
            })
        }
        (name, size) => {
            let inputs = Inputs::new(size)?;
            let mut contender = ours::contender(name, &inputs)?;
            // A cycle of large steps would take longer than a turn. The policy
            // learns in the first of these.
            let few = inputs.config.rectify.policy_freq.max(1) as usize;
            let mut steps = (0..CYCLE).cycle();
            clock::time(seconds, few, || {
                let mut some = steps.by_ref().take(few);
                some.try_for_each(|i| contender.step(i, None))
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
        let inputs = Inputs::new(None).unwrap();
        for pair in [
            ["mlp/ours", "mlp/bare"],
            ["mlp/ours", "mlp/candle"],
            ["mlp/ours", "mlp/ours-bf16x3"],
            ["mlp/ours", "mlp/ours-bf16"],
            ["spar/ours", "spar/candle"],
            ["spar/ours", "spar/ours-bf16x3"],
            ["spar/ours", "spar/ours-bf16"],
            ["spar/ours", "critic/ours"],
        ] {
            let gate = crate::bench::tolerance(pair[1]);
            let [want, got] = pair.map(|name| losses(name, &inputs).unwrap());
            assert!(!got.is_empty());
            for (name, got) in got {
                assert_eq!(got.len(), want[name].len(), "{pair:?} {name}");
                let off = |(got, want): (&f32, &f32)| f64::from((got - want).abs() / want.abs());
                let furthest = got.iter().zip(&want[name]).map(off).fold(0.0, f64::max);
                assert!(furthest < gate, "{pair:?} {name}: {furthest:e} of {gate:e}");
            }
        }
    }

    #[test]
    fn a_size_changes_what_is_timed_and_what_it_has_to_do() {
        let inputs = Inputs::new(None).unwrap();
        let timing = time("spar/ours@8x16", "0.01", &inputs).unwrap();
        assert!(timing.steps > 0.0 && timing.steps % 2.0 == 0.0);
        let [small, rows, width] =
            ["mlp@8x16", "mlp@16x16", "mlp@8x32"].map(|name| work_of(name).unwrap());
        assert_eq!(rows.flops, 2 * small.flops);
        assert!(width.flops > 2 * small.flops && width.bytes > rows.bytes);
        assert_eq!(work_of("spar").unwrap(), work_of("spar@256x256").unwrap());
        for wrong in [
            "mlp/ours@8",
            "mlp/ours@0x16",
            "mlp/ours@8x16x2",
            "sgemm/peak@8x16",
        ] {
            assert!(time(wrong, "0.01", &inputs).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_peak_of_a_matrix_unit_is_offered_where_there_is_one() {
        let inputs = Inputs::new(None).unwrap();
        let hello = hello(&inputs, &ours::NAMES).unwrap();
        let there = spar_kernels::MatrixUnit::absent().is_none();
        assert_eq!(
            hello.contenders.iter().any(|name| name == "matrix/peak"),
            there
        );
        assert_eq!(hello.flops.contains_key("matrix"), there);
        assert_eq!(
            hello.contenders.len(),
            ours::NAMES.len() - usize::from(!there)
        );
        assert_eq!(time("matrix/peak", "0.01", &inputs).is_ok(), there);
    }

    #[test]
    fn a_timing_is_of_whole_cycles() {
        let inputs = Inputs::new(None).unwrap();
        let timing = time("mlp/bare", "0.05", &inputs).unwrap();
        assert!(timing.steps > 0.0 && timing.steps % CYCLE as f64 == 0.0);
        assert!(timing.wall_s >= 0.05 && timing.cpu_s > 0.0, "{timing:?}");
    }
}
