//! The fixed start, batch and noise from which the PyTorch programs in
//! `tests/scripts/baselines/` compute two updates of every method on their own.
//! Shared by the example that hands them to the programs and the test that
//! compares.
#![allow(dead_code, reason = "the example writes, the test compares")]

use std::{collections::BTreeMap, sync::Arc};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use spar_anchor::{Anchor, AnchorConfig};
use spar_baselines::{Entry, Learner, Part, Replay, Sample, Start};
use spar_core::Stream;
use spar_data::{Dataset, Steps, Transitions};
use spar_nn::{Batch, Device, Tensor};
use toml::Table;

#[allow(unused_imports, reason = "each of these tests uses its own")]
pub(crate) use cases::{CASES, Case, Draw, VARIANTS};

mod cases;

pub(crate) const SEED: u64 = 7;
pub(crate) const OBS: usize = 4;
pub(crate) const ACT: usize = 2;
pub(crate) const LATENT: usize = 2 * ACT;
pub(crate) const ROWS: usize = 16;
pub(crate) const UPDATES: u64 = 2;

/// Rows of the file, and its episodes' last rows: terminal or cut.
const FILE_ROWS: usize = 24;
const TERMINAL: [usize; 2] = [6, 20];
const CUT: [usize; 2] = [14, 23];

pub(crate) type Arrays = BTreeMap<String, Vec<f32>>;

impl Case {
    pub(crate) fn entry(&self) -> &'static Entry {
        let method = match self.name {
            "cal-ql" => "cql",
            name => name,
        };
        spar_baselines::find(method).unwrap()
    }

    /// Every hyper-parameter of the case.
    pub(crate) fn settings(&self) -> Table {
        let own = toml::from_str(self.settings).unwrap();
        self.entry().settings(own).unwrap()
    }

    pub(crate) fn replay(&self) -> Replay {
        let set = Arc::new(dataset());
        let transitions = Transitions::new(set, FILE_ROWS).unwrap();
        let feed = self.entry().feed(&self.settings()).unwrap();
        Replay::new(&transitions, &feed, FILE_ROWS).unwrap()
    }

    /// The method with every network and variable at parameters drawn here: fresh
    /// ones would have targets at their networks.
    pub(crate) fn start(&self) -> Box<dyn Learner> {
        self.start_with("")
    }

    /// The same with other hyper-parameters.
    pub(crate) fn start_with(&self, other: &str) -> Box<dyn Learner> {
        let entry = self.entry();
        let mut settings = self.settings();
        settings.extend(toml::from_str::<Table>(other).unwrap());
        let anchor = AnchorConfig {
            hidden: vec![8, 8],
            lr: 1e-2,
            updates: 1,
            ..AnchorConfig::default()
        };
        let anchor = || Anchor::new(&anchor, OBS, ACT, &mut Stream::new(SEED, "init")).unwrap();
        let start = Start {
            obs_dim: OBS,
            act_dim: ACT,
            seed: SEED,
            replay: Arc::new(self.replay()),
            anchor: entry.anchored.then(anchor),
        };
        let mut learner = entry.start(&settings, start).unwrap();
        for (name, part) in learner.parts().0 {
            let drawn = |n| draw(&format!("golden/{name}"), 0.5, n);
            match part {
                Part::Net(net) => net.set_params(drawn(net.shape().parameters())).unwrap(),
                Part::Trained(t) => {
                    let n = t.net.shape().parameters();
                    t.net.set_params(drawn(n)).unwrap();
                }
                Part::Momentum(t) => {
                    let n = t.net.shape().parameters();
                    t.net.set_params(drawn(n)).unwrap();
                }
                Part::Variable(v) => {
                    let n = v.var.elem_count();
                    let device = &spar_nn::Device::Cpu;
                    let values = drawn(n).iter().map(|x| x + self.variables).collect();
                    let values = spar_nn::Tensor::from_vec(values, n, device).unwrap();
                    v.var.set(&values).unwrap();
                }
                Part::Fixed(values) => *values = drawn(values.len()),
                Part::Stream(_) | Part::Values(_) => {}
            }
        }
        learner
    }

    pub(crate) fn sample(&self) -> Sample {
        let replay = self.replay();
        let mut batch = spar_data::Batch::new(ROWS, OBS, ACT);
        // Again from the first where the method keeps fewer.
        let kept = replay.transitions().len();
        let index: Vec<usize> = (0..ROWS).map(|i| i % kept).collect();
        replay.gather(&index, &mut batch);
        let spar_data::Batch {
            obs,
            actions,
            rewards,
            next_obs,
            not_terminal,
            ..
        } = &batch;
        let made = Batch::from_slices(ROWS, obs, actions, rewards, next_obs, not_terminal);
        let mut made = made.unwrap();
        let returns = (!batch.returns.is_empty()).then_some(&*batch.returns);
        made.returns = returns.map(|r| Tensor::from_slice(r, ROWS, &Device::Cpu).unwrap());
        Sample { batch: made, index }
    }

    /// Everything the updates are a function of: parameters, batch, and the noise
    /// the method will draw from its streams.
    pub(crate) fn inputs(&self) -> Arrays {
        let mut learner = self.start();
        let sample = self.sample();
        let b = &sample.batch;
        let mut arrays = Arrays::new();
        for (name, tensor) in [
            ("obs", &b.obs),
            ("actions", &b.actions),
            ("rewards", &b.rewards),
            ("next_obs", &b.next_obs),
            ("not_terminal", &b.not_terminal),
        ] {
            let values = tensor.flatten_all().unwrap().to_vec1().unwrap();
            arrays.insert(format!("batch.{name}"), values);
        }
        let next = self.replay().next_actions(&sample.index).unwrap();
        let next = next.flatten_all().unwrap().to_vec1().unwrap();
        arrays.insert("batch.next_actions".to_owned(), next);
        for (name, values) in networks(&mut *learner) {
            arrays.insert(format!("start.{name}"), values);
        }
        for update in 1..=UPDATES {
            for (name, part) in learner.parts().0 {
                let Part::Stream(stream) = part else { continue };
                let noise = self.noise.iter().find(|(stream, _)| *stream == name);
                let (_, noise) = noise.unwrap_or_else(|| panic!("{name} of {}", self.name));
                let values = noise.fill(&mut stream.clone());
                arrays.insert(format!("noise.{name}.{update}"), values);
            }
            learner.update(update, &sample).unwrap();
        }
        let mut act = Vec::new();
        for row in 0..ROWS {
            let stream = &mut acting_stream(row);
            act.extend(self.acting.iter().flat_map(|draw| draw.fill(stream)));
        }
        arrays.insert("noise.act".to_owned(), act);
        for (name, values) in file_arrays() {
            arrays.insert(format!("file.{name}"), values);
        }
        arrays
    }

    /// The inputs as a safetensors file whose metadata hold the hyper-parameters.
    pub(crate) fn inputs_file(&self) -> Vec<u8> {
        let config = serde_json::to_string(&self.settings()).unwrap();
        let bytes: BTreeMap<String, Vec<u8>> = self
            .inputs()
            .into_iter()
            .map(|(name, v)| (name, v.iter().flat_map(|x| x.to_le_bytes()).collect()))
            .collect();
        let views = bytes.iter().map(|(name, data)| {
            let view = TensorView::new(Dtype::F32, vec![data.len() / 4], data).unwrap();
            (name.as_str(), view)
        });
        let metadata = [("config".to_owned(), config)].into();
        safetensors::serialize(views, Some(metadata)).unwrap()
    }
}

impl Draw {
    fn fill(self, stream: &mut Stream) -> Vec<f32> {
        let filled = |n: usize, fill: &mut dyn FnMut(&mut [f32])| {
            let mut values = vec![0.0; n];
            fill(&mut values);
            values
        };
        match self {
            Self::Normal(std, n) => filled(n, &mut |v| stream.fill_normal(std, v)),
            Self::Uniform(n) => filled(n, &mut |v| stream.fill_uniform(-1.0, 1.0, v)),
            Self::Index(below, n) => (0..n).map(|_| stream.index(below) as f32).collect(),
            Self::Unit => vec![stream.uniform(0.0, 1.0) as f32],
            Self::Fraction(n) => filled(n, &mut |v| stream.fill_uniform(0.0, 1.0, v)),
        }
    }
}

/// The stream row `row` acts with.
pub(crate) fn acting_stream(row: usize) -> Stream {
    Stream::new(SEED, &format!("golden/act/{row}"))
}

/// The flat parameters of every network and variable by name.
pub(crate) fn networks(learner: &mut dyn Learner) -> Arrays {
    let parts = learner.parts().0.into_iter();
    let values = parts.filter_map(|(name, part)| {
        let values = match part {
            Part::Net(net) => net.to_params(),
            Part::Trained(trained) => trained.net.to_params(),
            Part::Momentum(trained) => trained.net.to_params(),
            Part::Variable(variable) => variable.var.to_vec1(),
            Part::Fixed(values) => Ok(values.to_vec()),
            Part::Stream(_) | Part::Values(_) => return None,
        };
        Some((name, values.unwrap()))
    });
    values.collect()
}

fn file_arrays() -> Arrays {
    let mut actions = vec![0.0; FILE_ROWS * ACT];
    Stream::new(SEED, "golden/actions").fill_uniform(-1.0, 1.0, &mut actions);
    let flags = |at: [usize; 2]| {
        let flag = move |i| if at.contains(&i) { 1.0 } else { 0.0 };
        (0..FILE_ROWS).map(flag).collect::<Vec<f32>>()
    };
    [
        ("observations", draw("golden/obs", 1.0, FILE_ROWS * OBS)),
        ("actions", actions),
        ("rewards", draw("golden/rewards", 1.0, FILE_ROWS)),
        ("terminals", flags(TERMINAL)),
        ("timeouts", flags(CUT)),
    ]
    .map(|(name, values)| (name.to_owned(), values))
    .into()
}

fn dataset() -> Dataset {
    let mut arrays = file_arrays();
    let mut take = |name: &str| arrays.remove(name).unwrap();
    let flags = |v: Vec<f32>| v.into_iter().map(|x| x == 1.0).collect::<Vec<bool>>();
    let steps = Steps {
        observations: take("observations"),
        actions: take("actions"),
        rewards: take("rewards"),
        terminals: flags(take("terminals")),
        timeouts: flags(take("timeouts")),
    };
    Dataset::in_memory("golden", OBS, ACT, steps).unwrap()
}

fn draw(name: &str, std: f32, n: usize) -> Vec<f32> {
    let mut values = vec![0.0; n];
    Stream::new(SEED, name).fill_normal(std, &mut values);
    values
}

/// The `f32` arrays of a safetensors file.
pub(crate) fn read(bytes: &[u8]) -> Arrays {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let values = file.iter().map(|(name, view)| {
        let (words, _) = view.data().as_chunks::<4>();
        let values = words.iter().map(|b| f32::from_le_bytes(*b)).collect();
        (name.to_owned(), values)
    });
    values.collect()
}
