//! Updates of other methods: diffusion, flow, latent policies and large ensembles.
//!
//! As in [`crate::inputs`] everything is a function of nothing: fresh parameters at the
//! source's hyper-parameters, a cycle of batches out of one small data set, and the noise
//! that each stream will give in each update. [`write`] makes a file a
//! method, from which the peers compute the same cycle.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::{Context, Result};
use serde_json::json;
use spar_baselines::{Entry, Learner, Part, Replay, Sample, Start};
use spar_core::{Normalizer, Stream};
use spar_data::{Dataset, Steps, Transitions};
use spar_nn::Batch;
use toml::{Table, Value};

use crate::{
    inputs::{ACT, Array, OBS, SEED, save},
    ours::{Contender, Losses, note},
};

/// What is measured: the machine's peak, then a method each.
pub(crate) const NAMES: [&str; 13] = [
    "fma/peak",
    "sgemm/peak",
    "bc-diffusion/ours",
    "diffusion-ql/ours",
    "idql/ours",
    "srpo/ours",
    "bc-flow/ours",
    "fql/ours",
    "ifql/ours",
    "fac/ours",
    "sac-n/ours",
    "edac/ours",
    "lapo/ours",
];

/// Transitions of the data set, and of each of its episodes.
const TRANSITIONS: usize = 4096;
const EPISODE: usize = 256;

/// What one update draws from one stream.
#[derive(Clone, Copy)]
enum Draw {
    /// So many normal numbers of this deviation.
    Normal(f32, usize),
    /// So many on `[-1, 1)`.
    Uniform(usize),
    /// So many on `[0, 1)`.
    Fraction(usize),
    /// So many whole numbers below the first.
    Index(usize, usize),
}

impl Draw {
    fn draw(self, stream: &mut Stream) -> Vec<f32> {
        let filled = |n: usize, fill: &mut dyn FnMut(&mut [f32])| {
            let mut values = vec![0.0; n];
            fill(&mut values);
            values
        };
        match self {
            Self::Normal(std, n) => filled(n, &mut |v| stream.fill_normal(std, v)),
            Self::Uniform(n) => filled(n, &mut |v| stream.fill_uniform(-1.0, 1.0, v)),
            Self::Fraction(n) => filled(n, &mut |v| stream.fill_uniform(0.0, 1.0, v)),
            Self::Index(below, n) => (0..n).map(|_| stream.index(below) as f32).collect(),
        }
    }
}

/// One method at the start of its cycle.
pub(crate) struct Method {
    name: &'static str,
    settings: Table,
    learner: Box<dyn Learner>,
    replay: Arc<Replay>,
    samples: Vec<Sample>,
    /// What FAC compares its actions' densities with, of every transition.
    densities: Vec<f32>,
    /// Updates before those of the cycle.
    done: u64,
}

/// The method of a contender `<method>/ours`, if it is measured.
pub(crate) fn entry(contender: &str) -> Option<&'static Entry> {
    let name = contender.strip_suffix("/ours")?;
    NAMES
        .contains(&contender)
        .then(|| spar_baselines::find(name))
        .flatten()
}

/// Transitions in a batch of each method: as many as in its source.
///
/// # Errors
/// Only if a method's own settings are broken.
pub(crate) fn batches() -> Result<BTreeMap<String, usize>> {
    let entries = NAMES.iter().filter_map(|name| entry(name));
    let batch = |entry: &Entry| Ok((entry.name.to_owned(), rows(&entry.settings(Table::new())?)?));
    entries.map(batch).collect()
}

fn count(settings: &Table, field: &str) -> Result<usize> {
    let value = settings.get(field).and_then(Value::as_integer);
    let value = value.and_then(|value| usize::try_from(value).ok());
    value.with_context(|| format!("the settings have no number `{field}`"))
}

fn rows(settings: &Table) -> Result<usize> {
    let data = settings.get("data").and_then(Value::as_table);
    count(data.context("the settings have no `data`")?, "batch_size")
}

/// What each stream of a method gives in one update of its cycle.
fn noise(name: &str, c: &Table) -> Result<Vec<(&'static str, Draw)>> {
    let rows = rows(c)?;
    let actions = Draw::Normal(1.0, rows * ACT);
    let latents = |std| Draw::Normal(std, rows * 2 * ACT);
    let flow = [("flow.noise", actions), ("flow.time", Draw::Fraction(rows))];
    let step = |steps| ("step", Draw::Index(steps, rows));
    let dropout = || -> Result<_> {
        let masks = count(c, "blocks")? * rows * count(c, "width")?;
        Ok(("dropout", Draw::Uniform(masks)))
    };
    Ok(match name {
        "bc-diffusion" => vec![step(count(c, "steps")?), ("noise", actions)],
        "diffusion-ql" => {
            let steps = count(c, "steps")?;
            let chain = |rows| Draw::Normal(1.0, steps * rows * ACT);
            vec![
                ("next", chain(rows * count(c, "backup_samples")?)),
                step(steps),
                ("noise", actions),
                ("proposal", chain(rows)),
                ("coin", Draw::Uniform(1)),
            ]
        }
        "idql" => vec![step(count(c, "steps")?), ("noise", actions), dropout()?],
        "srpo" => vec![("time", Draw::Uniform(rows)), ("noise", actions)],
        "bc-flow" | "ifql" => flow.to_vec(),
        "fql" => [&flow[..], &[("next", actions), ("proposal", actions)]].concat(),
        "fac" => vec![
            ("next", actions),
            ("pushed", actions),
            ("proposal", actions),
        ],
        "sac-n" | "edac" => vec![("own", actions), ("next", actions)],
        "lapo" => {
            let std = c.get("latent_noise").and_then(Value::as_float);
            let std = std.context("the settings have no `latent_noise`")?;
            vec![("posterior", latents(1.0)), ("latent", latents(std as f32))]
        }
        other => None.with_context(|| format!("`{other}` is not measured"))?,
    })
}

impl Method {
    /// The method of `entry` at the start of its cycle.
    ///
    /// # Errors
    /// Only if its own settings are broken, or candle cannot hold it.
    pub(crate) fn new(entry: &Entry) -> Result<Self> {
        let mut settings = entry.settings(Table::new())?;
        // In the phase in which its policy learns.
        let done = match entry.name {
            "srpo" => {
                count(&settings, "behaviour_updates")?.max(count(&settings, "critic_updates")?)
            }
            // The first one after it values all the data.
            "fac" => count(&settings, "flow_updates")? + 1,
            "diffusion-ql" => count(&settings, "average_after")?,
            _ => 0,
        };
        let transitions = Transitions::new(Arc::new(dataset()?), EPISODE)?;
        let replay = Arc::new(Replay::new(&transitions, &entry.feed(&settings)?, EPISODE)?);
        if entry.name == "lapo" {
            settings.insert("value_bounds".to_owned(), bounds(&replay, &settings)?);
        }
        let start = Start {
            obs_dim: OBS,
            act_dim: ACT,
            seed: SEED,
            replay: Arc::clone(&replay),
            anchor: None,
        };
        let mut method = Self {
            name: entry.name,
            learner: entry.start(&settings, start)?,
            samples: samples(&replay, cycle(entry.name), rows(&settings)?)?,
            settings,
            replay,
            densities: Vec::new(),
            done: done as u64,
        };
        for (_, part) in method.learner.parts().0 {
            if let Part::Values(values) = part {
                // About those of actions under a fresh flow, so that some are unlikely.
                Stream::new(SEED, "bench/densities").fill_normal(2.0, values);
                values.iter_mut().for_each(|v| *v -= 8.0);
                method.densities = values.clone();
            }
        }
        Ok(method)
    }

    /// Everything its losses are a function of.
    fn arrays(&mut self) -> Result<BTreeMap<String, Array>> {
        let (updates, rows) = (self.samples.len(), rows(&self.settings)?);
        let mut arrays = BTreeMap::new();
        let mut insert = |name: String, shape: &[usize], values: Vec<f32>| {
            let shape = shape.to_vec();
            arrays.insert(name, Array { shape, values });
        };
        for (name, width) in [
            ("obs", OBS),
            ("actions", ACT),
            ("rewards", 1),
            ("next_obs", OBS),
            ("not_terminal", 1),
        ] {
            let mut values = Vec::with_capacity(updates * rows * width);
            for Sample { batch, .. } in &self.samples {
                let tensor = match name {
                    "obs" => &batch.obs,
                    "actions" => &batch.actions,
                    "rewards" => &batch.rewards,
                    "next_obs" => &batch.next_obs,
                    _ => &batch.not_terminal,
                };
                values.extend(tensor.flatten_all()?.to_vec1::<f32>()?);
            }
            let shape = [updates, rows, width];
            let shape = if width == 1 { &shape[..2] } else { &shape[..] };
            insert(format!("batch.{name}"), shape, values);
        }
        if !self.densities.is_empty() {
            let index = self.samples.iter().flat_map(|sample| &sample.index);
            let values = index.map(|&i| self.densities[i]).collect();
            insert("batch.density".to_owned(), &[updates, rows], values);
        }
        if self.name == "lapo" {
            let t = self.replay.transitions();
            let actions = Normalizer::of_rows_offset(ACT, (0..t.len()).map(|i| t.action(i)), 1e-6);
            insert("data.action_mean".to_owned(), &[ACT], actions.mean);
            insert("data.action_std".to_owned(), &[ACT], actions.std);
        }
        let mut noise: BTreeMap<_, _> = noise(self.name, &self.settings)?.into_iter().collect();
        for (name, part) in self.learner.parts().0 {
            let values = match part {
                Part::Net(net) => net.to_params()?,
                Part::Trained(trained) => trained.net.to_params()?,
                Part::Momentum(trained) => trained.net.to_params()?,
                Part::Variable(variable) => variable.var.to_vec1()?,
                Part::Fixed(values) => values.clone(),
                Part::Values(_) => continue,
                Part::Stream(stream) => {
                    let Some(draw) = noise.remove(name.as_str()) else {
                        continue;
                    };
                    let stream = &mut stream.clone();
                    let values: Vec<_> = (0..updates).flat_map(|_| draw.draw(stream)).collect();
                    let shape = [updates, values.len() / updates];
                    insert(format!("noise.{name}"), &shape, values);
                    continue;
                }
            };
            insert(format!("start.{name}"), &[values.len()], values);
        }
        Ok(arrays)
    }
}

impl Contender for Method {
    fn cycle(&self) -> usize {
        self.samples.len()
    }

    fn step(&mut self, i: usize, losses: Option<&mut Losses>) -> Result<()> {
        self.done += 1;
        let metrics = self.learner.update(self.done, &self.samples[i])?;
        if let Some(losses) = losses {
            for (name, value) in metrics.0 {
                note(losses, name, value);
            }
        }
        Ok(())
    }
}

/// Steps of a method's cycle: few where one is long, so that a turn stays one.
fn cycle(name: &str) -> usize {
    if name == "fac" { 2 } else { 5 }
}

/// Random numbers in D4RL's layout.
fn dataset() -> Result<Dataset> {
    let drawn = |name: &str, width: usize, fill: fn(&mut Stream, &mut [f32])| {
        let mut values = vec![0.0; TRANSITIONS * width];
        fill(
            &mut Stream::new(SEED, &format!("bench/{name}")),
            &mut values,
        );
        values
    };
    let normal: fn(&mut Stream, &mut [f32]) = |stream, values| stream.fill_normal(1.0, values);
    let last = |i: usize| i % EPISODE == EPISODE - 1;
    let steps = Steps {
        observations: drawn("observations", OBS, normal),
        actions: drawn("actions", ACT, |stream, values| {
            stream.fill_uniform(-1.0, 1.0, values);
        }),
        rewards: drawn("rewards", 1, normal),
        terminals: (0..TRANSITIONS)
            .map(|i| last(i) && (i / EPISODE).is_multiple_of(2))
            .collect(),
        timeouts: (0..TRANSITIONS)
            .map(|i| last(i) && !(i / EPISODE).is_multiple_of(2))
            .collect(),
    };
    Ok(Dataset::in_memory("bench", OBS, ACT, steps)?)
}

/// LAPO's bounds of values, as it makes them of the data: written down, so that the peers
/// need not look at it.
fn bounds(replay: &Replay, settings: &Table) -> Result<Value> {
    let discount = settings.get("discount").and_then(Value::as_float);
    let discount = discount.context("the settings have no `discount`")?;
    let rewards = (0..replay.transitions().len()).map(|i| f64::from(replay.reward(i)));
    let (low, high) = rewards.fold((f64::MAX, f64::MIN), |(low, high), r| {
        (low.min(r), high.max(r))
    });
    let bound = |r: f64| Value::Float(r / (1.0 - discount));
    Ok(Value::Array(vec![bound(low), bound(high)]))
}

fn samples(replay: &Replay, cycle: usize, rows: usize) -> Result<Vec<Sample>> {
    let mut stream = Stream::new(SEED, "bench/sampler");
    let mut batch = spar_data::Batch::new(rows, OBS, ACT);
    let sample = |_| {
        let mut index = Vec::new();
        replay.draw(&mut stream, &mut batch, &mut index);
        let b = &batch;
        let batch = Batch::from_slices(
            rows,
            &b.obs,
            &b.actions,
            &b.rewards,
            &b.next_obs,
            &b.not_terminal,
        )?;
        Ok(Sample { batch, index })
    };
    (0..cycle).map(sample).collect()
}

/// Writes `<method>.safetensors` of every method into `folder`.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write(folder: &Path) -> Result<()> {
    for entry in NAMES.iter().filter_map(|name| entry(name)) {
        let mut method = Method::new(entry)?;
        let arrays = method.arrays()?;
        let config = json!({
            "cycle": method.samples.len(),
            "obs": OBS,
            "act": ACT,
            "done": method.done,
            "settings": method.settings,
        });
        let file = folder.join(format!("{}.safetensors", entry.name));
        save(&file, &arrays, config.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The noise that peers read is what the streams give: after an update each of them
    /// stands where what is written of it ends, and what is not written has not moved.
    #[test]
    fn streams_give_in_a_cycle_what_is_written_of_them() {
        for entry in NAMES.iter().filter_map(|name| entry(name)) {
            // Its update takes longer than all the others together.
            if entry.name == "fac" {
                continue;
            }
            let mut method = Method::new(entry).unwrap();
            let draws = noise(entry.name, &method.settings).unwrap();
            let mut ahead = BTreeMap::new();
            for (name, part) in method.learner.parts().0 {
                let Part::Stream(stream) = part else { continue };
                let mut stream = stream.clone();
                for (_, draw) in draws.iter().filter(|(of, _)| *of == name) {
                    draw.draw(&mut stream);
                }
                ahead.insert(name, stream);
            }
            for (stream, _) in &draws {
                assert!(ahead.contains_key(*stream), "{} {stream}", entry.name);
            }
            method.step(0, None).unwrap();
            for (name, part) in method.learner.parts().0 {
                let Part::Stream(stream) = part else { continue };
                let want = ahead.get_mut(&name).unwrap().uniform(0.0, 1.0);
                assert_eq!(
                    stream.clone().uniform(0.0, 1.0),
                    want,
                    "{} {name}",
                    entry.name
                );
            }
        }
    }
}
