//! The layers of another program's network: which they are, in which order, and which
//! way their weights lie.

use std::{cmp::Ordering, collections::BTreeMap};

use super::{LeftOut, Taken, Tensor};
use crate::{
    file::{Meaning, meaning, transpose, words},
    rows::{Linear, Norm},
};

/// Words of networks that value actions.
const CRITICS: [&str; 12] = [
    "critic", "critics", "value", "values", "vf", "qf", "q", "qs", "v", "qnet", "vnet", "baseline",
];

/// Words of copies that training averages.
const TARGETS: [&str; 4] = ["target", "targets", "targ", "old"];

/// Words of the layer that gives the action.
const HEADS: [&str; 10] = [
    "mu", "mean", "loc", "head", "out", "output", "last", "final", "action", "actions",
];

/// Why nothing acts by the tensor called `name`, if its name says so.
pub(super) fn beside_acting(name: &str) -> Option<&'static str> {
    let words = words(name);
    let any = |of: &[&str]| {
        let plain = |word: &String| {
            let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
            of.contains(&word)
        };
        words.iter().any(plain)
    };
    if any(&TARGETS) {
        return Some("a copy that training averages");
    }
    if any(&CRITICS) {
        return Some("of a critic");
    }
    if is_spread(name) {
        return Some("the spread of actions: a policy file acts by their mean");
    }
    any(&["alpha", "temperature", "temp"]).then_some("a temperature of training")
}

/// Whether `name` is of the spread of a stochastic policy's actions.
pub(super) fn is_spread(name: &str) -> bool {
    let words = words(name);
    let spread = |word: &str| matches!(word, "std" | "sigma" | "var" | "stddev" | "scale");
    let joined = |word: &String| {
        matches!(
            word.as_str(),
            "logstd" | "logsigma" | "logvar" | "sigma" | "lstd"
        )
    };
    let logarithm = words.windows(2).any(|w| w[0] == "log" && spread(&w[1]));
    let layer = matches!(
        words.last().map(String::as_str),
        Some("weight" | "bias" | "kernel")
    );
    let head = layer && words.iter().any(|w| w == "std" || w == "stddev");
    logarithm || head || words.iter().any(joined)
}

/// The parts of one layer, by the names of their tensors.
#[derive(Default)]
struct Stem {
    weight: Option<String>,
    bias: Option<String>,
    /// Whether the weight is called a kernel, which lies `[in, out]`.
    kernel: bool,
}

/// All layers of a file by their names without `.weight` and `.bias`.
#[derive(Default)]
pub(super) struct Stems(BTreeMap<String, Stem>);

/// What was made of them.
pub(super) struct Layers {
    pub(super) layers: Vec<Linear>,
    pub(super) taken: Vec<Taken>,
    pub(super) left_out: Vec<LeftOut>,
}

/// A linear layer on its way.
struct Found<'a> {
    stem: &'a str,
    rows: usize,
    cols: usize,
    weight: &'a Tensor,
    bias: Option<&'a Tensor>,
    kernel: bool,
    norm: Option<&'a str>,
}

impl Stems {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the tensor called `name` if it is a layer's weight or bias.
    pub(super) fn insert(&mut self, name: &str, tensors: &BTreeMap<String, Tensor>) -> bool {
        let Some((stem, leaf)) = name.rsplit_once(['.', '/']) else {
            return false;
        };
        let rank = tensors.get(name).map_or(0, |tensor| tensor.shape.len());
        let fits = match leaf {
            "weight" => rank == 1 || rank == 2,
            "kernel" => rank == 2,
            // Flax's gain of a normalization.
            "scale" => rank == 1 && tensors.contains_key(&format!("{stem}.bias")),
            "bias" => rank == 1,
            _ => false,
        };
        if !fits || meaning(name).is_some_and(|m| m != Meaning::Bookkeeping) {
            return false;
        }
        let layer = self.0.entry(stem.to_owned()).or_default();
        match leaf {
            "bias" => layer.bias = Some(name.to_owned()),
            _ => layer.weight = Some(name.to_owned()),
        }
        layer.kernel |= leaf == "kernel";
        true
    }

    /// The layers in the order in which they act.
    ///
    /// # Errors
    /// If that cannot be told, or they do not fit each other.
    pub(super) fn layers(
        &self,
        tensors: &BTreeMap<String, Tensor>,
        spread: &Option<String>,
        act_dim: Option<usize>,
    ) -> Result<Layers, String> {
        let mut linear = Vec::new();
        let mut norms = Vec::new();
        for (stem, layer) in &self.0 {
            let Some(name) = &layer.weight else {
                return Err(format!("`{stem}` has a bias but no weight"));
            };
            let running = ["running_mean", "running_var"].map(|leaf| format!("{stem}.{leaf}"));
            if running.iter().any(|name| tensors.contains_key(name)) {
                return Err(format!(
                    "`{stem}` is a batch normalization, which a policy file does not have; \
                     fold it into the layer before it"
                ));
            }
            let weight = &tensors[name];
            let [rows, cols] = *weight.shape else {
                norms.push(stem.as_str());
                continue;
            };
            linear.push(Found {
                stem,
                rows,
                cols,
                weight,
                bias: layer.bias.as_ref().map(|name| &tensors[name]),
                kernel: layer.kernel,
                norm: None,
            });
        }
        if linear
            .iter()
            .any(|layer| layer.rows == 0 || layer.cols == 0)
        {
            return Err("holds a layer without inputs or outputs".to_owned());
        }
        linear.sort_by(|a, b| order(a.stem, b.stem));
        for norm in norms {
            attach(&mut linear, norm)?;
        }
        evenly_numbered(&linear)?;
        let transposed = orientation(&linear)?;
        self.build(&linear, transposed, tensors, (spread, act_dim))
    }

    fn build(
        &self,
        found: &[Found<'_>],
        transposed: bool,
        tensors: &BTreeMap<String, Tensor>,
        (spread, act_dim): (&Option<String>, Option<usize>),
    ) -> Result<Layers, String> {
        let mut made = Layers {
            layers: Vec::new(),
            taken: Vec::new(),
            left_out: Vec::new(),
        };
        for (i, layer) in found.iter().enumerate() {
            let (input, output) = layer.widths(transposed);
            let weight = if transposed {
                layer.weight.values.clone()
            } else {
                transpose(&layer.weight.values, output, input)
            };
            let mut take = |stem: &str, gain: &str, how: Option<&str>, part: [&str; 2]| {
                let stem = &self.0[stem];
                let names = [(&stem.weight, part[0], how), (&stem.bias, part[1], None)];
                for (name, to, how) in names {
                    let Some(name) = name else { continue };
                    made.taken.push(Taken {
                        from: name.clone(),
                        to: format!("layers.{i}.{gain}{to}"),
                        shape: tensors[name].shape.clone(),
                        how: how.map(str::to_owned),
                    });
                }
            };
            take(
                layer.stem,
                "",
                transposed.then_some("transposed"),
                ["weight", "bias"],
            );
            let norm = match layer.norm {
                None => None,
                Some(stem) => {
                    take(stem, "norm.", None, ["weight", "bias"]);
                    Some(self.norm(stem, output, tensors)?)
                }
            };
            made.layers.push(Linear {
                weight,
                bias: layer
                    .bias
                    .map_or_else(|| vec![0.0; output], |bias| bias.values.clone()),
                norm,
            });
        }
        made.mean_of(spread, act_dim)?;
        Ok(made)
    }

    fn norm(
        &self,
        stem: &str,
        width: usize,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<Norm, String> {
        let stem_of = &self.0[stem];
        let [gain, shift] = [&stem_of.weight, &stem_of.bias].map(|name| {
            let name = name.as_ref();
            let values = name.map(|name| tensors[name].values.clone());
            values.filter(|values| values.len() == width)
        });
        match (gain, shift) {
            (Some(gain), Some(shift)) => Ok(Norm::new(gain, shift)),
            _ => Err(format!(
                "`{stem}` normalizes {width} values, expected a weight and a bias of as many"
            )),
        }
    }
}

impl Layers {
    /// Leaves out the half of the last layer that gives a spread, if there is one.
    fn mean_of(&mut self, spread: &Option<String>, act_dim: Option<usize>) -> Result<(), String> {
        let Some(last) = self.layers.last_mut() else {
            return Ok(());
        };
        let width = last.output();
        let act_dim = match (act_dim, spread) {
            (Some(act_dim), _) if width == 2 * act_dim => act_dim,
            (Some(_), _) => return Ok(()),
            // CORL scales the half that is a spread by these.
            (None, Some(name)) if name.contains("multiplier") || name.contains("offset") => {
                return Err(format!(
                    "`{name}` tells that the last layer gives mean and spread; give --env, by \
                     whose width they are told apart"
                ));
            }
            (None, _) => return Ok(()),
        };
        let rows = last.weight.chunks_exact(width);
        last.weight = rows.flat_map(|row| row[..act_dim].to_vec()).collect();
        last.bias.truncate(act_dim);
        let i = self.layers.len() - 1;
        for taken in &mut self.taken {
            if taken.to.starts_with(&format!("layers.{i}.")) {
                let half = format!("the mean: outputs 0 to {} of {width}", act_dim - 1);
                taken.how = Some(match taken.how.take() {
                    Some(how) => format!("{how}; {half}"),
                    None => half.clone(),
                });
                self.left_out.push(LeftOut {
                    name: format!("{}, outputs {act_dim} to {}", taken.from, width - 1),
                    why: "the spread of actions: a policy file acts by their mean".to_owned(),
                });
            }
        }
        Ok(())
    }
}

impl Found<'_> {
    /// `(input, output)`.
    fn widths(&self, transposed: bool) -> (usize, usize) {
        if transposed {
            (self.rows, self.cols)
        } else {
            (self.cols, self.rows)
        }
    }
}

/// The words of a layer's name, and the numbers in and behind them.
fn parts(stem: &str) -> (Vec<String>, Vec<u64>) {
    let (mut texts, mut numbers) = (Vec::new(), Vec::new());
    for word in words(stem) {
        let text = word.trim_end_matches(|c: char| c.is_ascii_digit());
        if let Ok(number) = word[text.len()..].parse() {
            numbers.push(number);
        }
        texts.push(text.to_owned());
    }
    (texts, numbers)
}

/// Layers act in the order of their numbers; the one that gives the action is last.
fn order(a: &str, b: &str) -> Ordering {
    let key = |stem: &str| {
        let (texts, numbers) = parts(stem);
        let head = texts.iter().any(|text| HEADS.contains(&text.as_str()));
        (head, texts, numbers)
    };
    key(a).cmp(&key(b))
}

/// Gives the normalization `norm` to the layer it follows.
fn attach<'a>(linear: &mut [Found<'a>], norm: &'a str) -> Result<(), String> {
    let (texts, numbers) = parts(norm);
    let before = numbers.split_last().and_then(|(last, rest)| {
        let mut before = rest.to_vec();
        before.push(last.checked_sub(1)?);
        Some(before)
    });
    let follows = |layer: &&mut Found<'a>| {
        let (of, at) = parts(layer.stem);
        if of == texts {
            Some(at) == before
        } else {
            at == numbers && !at.is_empty()
        }
    };
    let found = linear.iter_mut().find(follows);
    match found {
        Some(layer) if layer.norm.is_none() => {
            layer.norm = Some(norm);
            Ok(())
        }
        _ => Err(format!(
            "cannot tell which layer `{norm}` normalizes: expected the one right before it, \
             ahead of its activation"
        )),
    }
}

/// The words of layers' names and all their numbers but the last.
type Group = (Vec<String>, Vec<u64>);

/// Refuses numbers with a hole: a layer of the network may be missing.
fn evenly_numbered(linear: &[Found<'_>]) -> Result<(), String> {
    let mut groups: BTreeMap<Group, Vec<(u64, u64)>> = BTreeMap::new();
    for layer in linear {
        let (texts, mut numbers) = parts(layer.stem);
        let Some(last) = numbers.pop() else { continue };
        // A normalization in the same sequence takes a number of its own.
        let own = layer.norm.is_some_and(|norm| parts(norm).0 == texts);
        groups
            .entry((texts, numbers))
            .or_default()
            .push((last, u64::from(own)));
    }
    for ((texts, _), numbers) in groups {
        let name = texts.join(".");
        let name = name.trim_matches('.');
        if let Some((first, _)) = numbers.first().filter(|(first, _)| *first > 1) {
            return Err(format!(
                "layers `{name}` begin with number {first}: those before are missing"
            ));
        }
        let gaps = numbers.windows(2).map(|pair| {
            let ((from, norm), (to, _)) = (pair[0], pair[1]);
            (to - from).saturating_sub(norm)
        });
        let gaps: Vec<u64> = gaps.collect();
        if gaps.windows(2).any(|pair| pair[0] != pair[1]) || gaps.iter().any(|gap| *gap > 3) {
            let numbers: Vec<_> = numbers.iter().map(|(n, _)| n.to_string()).collect();
            return Err(format!(
                "layers `{name}` have the numbers {}, which are not evenly apart: a layer may \
                 be missing, or one has no activation",
                numbers.join(", ")
            ));
        }
    }
    Ok(())
}

/// Whether weights lie `[in, out]`: told by biases and by widths that have to fit.
fn orientation(linear: &[Found<'_>]) -> Result<bool, String> {
    let fits = |transposed: bool| {
        let biases = linear.iter().all(|layer| {
            let (_, output) = layer.widths(transposed);
            layer.bias.is_none_or(|bias| bias.values.len() == output)
        });
        let chained = linear
            .windows(2)
            .all(|pair| pair[0].widths(transposed).1 == pair[1].widths(transposed).0);
        biases && chained
    };
    match (fits(false), fits(true)) {
        (true, true) => Ok(linear.iter().any(|layer| layer.kernel)),
        (false, true) => Ok(true),
        (true, false) => Ok(false),
        (false, false) => {
            let shapes = linear.iter().map(|layer| {
                let bias = layer.bias.map_or(String::new(), |bias| {
                    format!(" with {} biases", bias.values.len())
                });
                format!("`{}` [{}, {}]{bias}", layer.stem, layer.rows, layer.cols)
            });
            let shapes: Vec<_> = shapes.collect();
            Err(format!(
                "its layers do not fit each other, as [out, in] or as [in, out]: {}",
                shapes.join(", ")
            ))
        }
    }
}
