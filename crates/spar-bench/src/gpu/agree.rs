//! Whole updates on the GPU against candle's on the CPU, which define them.

use std::thread;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::{Value, json};
use spar_anchor::{Anchor, AnchorTrainer, DeviceAnchorTrainer};
use spar_core::Stream;
use spar_critic::CriticForm;
use spar_kernels::cuda::{self, Profile};
use spar_nn::{
    Batch, State,
    device::{Device, Kernels},
};
use spar_rectify::{DeviceSpar, SparMetrics};

use super::Gpu;
use crate::inputs::{CYCLE, Inputs};

/// By how much of an array's largest number the GPU may be off after twenty updates, but for
/// one number in a hundred: every update changes all parameters, so that rounding grows.
const TOLERANCE: f32 = 1e-4;

/// By how much any number may be off. Among millions of units there are some at whose zero the
/// two round to other sides, and a ReLU then passes a row's gradient here and not there:
/// a row's share of its unit's gradient is gained or lost, 1/256 where rows are alike.
const LARGEST: f32 = 2e-2;

/// What came of one check.
#[derive(Debug, Serialize)]
struct Check {
    what: String,
    holds: bool,
    /// The array that is furthest off, and by how much of its largest number: but for a
    /// hundredth of its numbers, and with those.
    furthest: String,
    off: f32,
    largest_off: f32,
}

/// Does all checks; whether all hold.
pub(super) fn check(gpu: &Gpu, updates: usize, seed: u64) -> Result<(Value, bool)> {
    let mut checks = vec![cloning(gpu, updates, seed)?];
    for form in [CriticForm::Expectile, CriticForm::Residual] {
        checks.extend(spar(gpu, form, updates, seed)?);
        checks.extend(together(gpu, form, updates, seed)?);
    }
    let holds = checks.iter().all(|check| check.holds);
    let said = json!({
        "updates": updates, "seed": seed, "tolerance": TOLERANCE, "checks": checks,
    });
    Ok((said, holds))
}

/// How far `got` is from `want`, array by array.
fn compare(what: String, got: &State, want: &State, tolerance: f32) -> Check {
    let mut check = Check {
        what,
        holds: got.metadata == want.metadata,
        furthest: String::new(),
        off: 0.0,
        largest_off: 0.0,
    };
    let names = |state: &State| -> Vec<String> {
        state.arrays().map(|(name, _)| name.to_owned()).collect()
    };
    check.holds &= names(got) == names(want);
    for ((name, got), (_, want)) in got.arrays().zip(want.arrays()) {
        let largest = want
            .iter()
            .fold(f32::MIN_POSITIVE, |most, v| most.max(v.abs()));
        let differences = got.iter().zip(want).map(|(a, b)| (a - b).abs());
        let mut differences: Vec<f32> = differences.collect();
        differences.sort_unstable_by(f32::total_cmp);
        // Unlike `max`, a sum lets nothing that is not a number through.
        let finite = got.iter().sum::<f32>().is_finite();
        // Of a hundred numbers or more the hundredth; of fewer the largest.
        let from_end = |n: usize| differences.iter().rev().nth(n).copied().unwrap_or(0.0);
        let off = from_end(differences.len() / 100) / largest;
        let most = from_end(0) / largest;
        check.holds &= got.len() == want.len() && finite && off <= tolerance && most <= LARGEST;
        if off > check.off || !finite {
            (check.off, check.furthest) = (off, name.to_owned());
        }
        check.largest_off = check.largest_off.max(most);
    }
    check
}

/// Behaviour cloning.
fn cloning(gpu: &Gpu, updates: usize, seed: u64) -> Result<Check> {
    let inputs = Inputs::seeded(gpu.size, seed)?;
    let c = &inputs.config;
    let start = || -> Result<AnchorTrainer> {
        let init = &mut Stream::new(seed, "gpu/anchor");
        let anchor = Anchor::new(&c.anchor, c.obs, c.act, init)?;
        Ok(AnchorTrainer::new(anchor, &c.anchor))
    };
    let kernels = Kernels::new(gpu.device.beside()?);
    let mut cpu = start()?;
    let mut device = DeviceAnchorTrainer::new(&kernels, &start()?, &c.anchor, c.rows)?;
    for i in 0..updates {
        let batch = inputs.batch(i % CYCLE)?;
        cpu.update(&Batch::of(&batch)?)?;
        device.update(&batch)?;
    }
    let (mut got, mut want) = (State::default(), State::default());
    device.save(&mut got)?;
    cpu.save(&mut want)?;
    Ok(compare(
        "cloning, candle".to_owned(),
        &got,
        &want,
        TOLERANCE,
    ))
}

/// SPAR with a critic of `form`: against candle's, launch by launch, and twice.
fn spar(gpu: &Gpu, form: CriticForm, updates: usize, seed: u64) -> Result<Vec<Check>> {
    let mut inputs = Inputs::seeded(gpu.size, seed)?;
    inputs.config.critic.form = form;
    // The policy fits, then imitates.
    let warmup = updates as u64 / 3;
    let start = || inputs.spar(|config| config.warmup = warmup);

    let mut cpu = start()?;
    let mut metrics = SparMetrics::default();
    for i in 0..updates {
        cpu.update(&Batch::of(&inputs.batch(i % CYCLE)?)?, &mut metrics)?;
    }
    let mut want = State::default();
    cpu.save(&mut want)?;

    let kernels = Kernels::new(gpu.device.beside()?);
    let recorded = trained(&kernels, &inputs, warmup, updates)?;
    let again = trained(&kernels, &inputs, warmup, updates)?;
    let single = Profile::new(gpu.device.beside()?, cuda::By::Launch);
    let single = trained(&Kernels::new(single), &inputs, warmup, updates)?;
    let name = |what| format!("{} critic, {what}", form_name(form));
    Ok(vec![
        compare(name("candle"), &recorded, &want, TOLERANCE),
        same(name("launch by launch"), &recorded, &single),
        same(name("a second run"), &recorded, &again),
    ])
}

/// Runs that share their launches against each alone.
fn together(gpu: &Gpu, form: CriticForm, updates: usize, seed: u64) -> Result<Vec<Check>> {
    const RUNS: u64 = 3;
    let warmup = updates as u64 / 3;
    let inputs = (0..RUNS).map(|run| {
        let mut inputs = Inputs::seeded(gpu.size, seed + run)?;
        inputs.config.critic.form = form;
        Ok(inputs)
    });
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let Some(first) = inputs.first() else {
        bail!("no runs");
    };
    let lanes = gpu.lanes(first, inputs.len())?;
    let shared = thread::scope(|scope| {
        let runs: Vec<_> = lanes
            .into_iter()
            .zip(&inputs)
            .map(|(lane, inputs)| {
                scope.spawn(move || trained(&Kernels::new(lane), inputs, warmup, updates))
            })
            .collect();
        let states = runs.into_iter().map(|run| match run.join() {
            Ok(state) => state,
            Err(_) => bail!("a run panicked"),
        });
        states.collect::<Result<Vec<_>>>()
    })?;
    let checks = shared.iter().zip(&inputs).enumerate();
    let checks = checks.map(|(run, (shared, inputs))| {
        let kernels = Kernels::new(gpu.device.beside()?);
        let alone = trained(&kernels, inputs, warmup, updates)?;
        let what = format!(
            "{} critic, run {run} of {RUNS} that share launches",
            form_name(form)
        );
        Ok(same(what, shared, &alone))
    });
    checks.collect()
}

fn form_name(form: CriticForm) -> &'static str {
    match form {
        CriticForm::Expectile => "expectile",
        CriticForm::Residual => "residual",
    }
}

/// The same bits in every array.
fn same(what: String, got: &State, want: &State) -> Check {
    let bits = |state: &State| -> Vec<(String, Vec<u32>)> {
        let arrays = state.arrays();
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect();
        arrays
            .map(|(name, values)| (name.to_owned(), bits(values)))
            .collect()
    };
    let same = bits(got) == bits(want);
    let mut check = compare(what, got, want, 0.0);
    check.holds &= same;
    check
}

/// What a run on a device has learned.
fn trained<D: Device>(
    kernels: &Kernels<D>,
    inputs: &Inputs,
    warmup: u64,
    updates: usize,
) -> Result<State> {
    let start = inputs.spar(|config| config.warmup = warmup)?;
    let mut device = DeviceSpar::new(kernels, &start, inputs.config.rows)?;
    for i in 0..updates {
        device.update(&inputs.batch(i % CYCLE)?)?;
    }
    let mut state = State::default();
    device.save(&mut state)?;
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(values: &[f32]) -> State {
        let mut state = State::default();
        state.insert("a", values.to_vec());
        state
    }

    #[test]
    fn what_is_off_does_not_hold() {
        let want = state(&[1.0, -2.0]);
        let holds = |values: &[f32]| compare(String::new(), &state(values), &want, 1e-4).holds;
        assert!(holds(&[1.0, -2.0001]));
        assert!(!holds(&[1.0, -2.0003]));
        assert!(!holds(&[f32::NAN, -2.0]), "not a number");
        assert!(!holds(&[1.0, -2.0, 0.0]), "a number more");
        let zeros = [state(&[0.0]), state(&[-0.0])];
        assert!(
            !same(String::new(), &zeros[0], &zeros[1]).holds,
            "other bits"
        );
        assert!(same(String::new(), &want, &want).holds);
    }
}
