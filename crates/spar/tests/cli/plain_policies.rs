//! Networks from elsewhere, judged here: against returns that numpy and
//! gymnasium give (`plain_policies.py` beside this file printed them).

use std::path::Path;

use spar_core::EnvId;

use crate::support::{Folder, write_tensors};

struct Case {
    env: EnvId,
    widths: &'static [usize],
    activation: &'static str,
    output: &'static str,
    normalized: bool,
    scale: f64,
    returns: [f64; 3],
    lengths: [usize; 3],
}

const fn small(
    activation: &'static str,
    output: &'static str,
    normalized: bool,
    returns: [f64; 3],
    lengths: [usize; 3],
) -> Case {
    Case {
        env: EnvId::POINT_MASS,
        widths: &[2, 8, 1],
        activation,
        output,
        normalized,
        scale: 1.5,
        returns,
        lengths,
    }
}

const LEAKY: &str = "leaky_relu_0.01";

#[rustfmt::skip]
const CASES: [Case; 14] = [
    small("relu", "identity", false, [8.677733246501768, 8.102328481172954, -15.490058944146423], [43, 43, 24]),
    small("relu", "identity", true, [9.435923504212202, 8.77986031612301, -17.577732549538272], [45, 45, 26]),
    small("relu", "tanh", false, [8.211461677417407, 7.534453305056032, -17.062609169717092], [44, 44, 25]),
    small("relu", "tanh", true, [8.489047948777095, 11.30979998286191, -19.52502182740237], [46, 45, 27]),
    small("tanh", "identity", false, [1.8082770659967995, 1.285542102123201, -15.176642721746969], [26, 26, 18]),
    small("tanh", "identity", true, [3.9997982105588066, 3.619903212246741, -14.858634772690728], [26, 26, 18]),
    small("tanh", "tanh", false, [3.075235658442524, 2.453125364714417, -13.845446805035522], [29, 29, 19]),
    small("tanh", "tanh", true, [4.462309661026934, 3.9414655885387098, -13.668413399299471], [29, 29, 19]),
    small(LEAKY, "identity", false, [6.954254682905672, 10.028324633915377, -15.850330051610229], [43, 42, 24]),
    small(LEAKY, "identity", true, [7.58045144589129, 10.494767285865796, -18.076249797166007], [45, 44, 26]),
    small(LEAKY, "tanh", false, [6.542361732586088, 9.593190502171947, -17.41174237397339], [44, 43, 25]),
    small(LEAKY, "tanh", true, [6.630513798646185, 9.56850263239318, -16.593532870807827], [46, 45, 26]),
    Case {
        env: EnvId::POINT_MASS,
        widths: &[2, 8, 8, 1],
        activation: "tanh",
        output: "identity",
        normalized: true,
        scale: 4.0,
        returns: [-13.669385327913385, -13.756905791557369, 1.4336039287003732],
        lengths: [14, 15, 24],
    },
    Case {
        env: EnvId::HOPPER,
        widths: &[11, 16, 3],
        activation: "tanh",
        output: "tanh",
        normalized: true,
        scale: 0.3,
        returns: [87.24666443957045, 89.52928044899213, 84.77438155249585],
        lengths: [54, 55, 53],
    },
];

/// The script's `numbers`.
fn numbers(count: usize, salt: usize, scale: f64) -> Vec<f32> {
    let number = |k: usize| scale * (((k * 7919 + salt * 104_729) % 2003) as f64 / 2003.0 - 0.5);
    (0..count).map(|k| number(k) as f32).collect()
}

impl Case {
    fn write(&self, path: &Path) {
        let mut tensors = Vec::new();
        for (n, pair) in self.widths.windows(2).enumerate() {
            let (input, output) = (pair[0], pair[1]);
            tensors.push((
                format!("layers.{n}.weight"),
                vec![output, input],
                numbers(output * input, 2 * n, self.scale),
            ));
            tensors.push((
                format!("layers.{n}.bias"),
                vec![output],
                numbers(output, 2 * n + 1, self.scale),
            ));
        }
        let obs = self.widths[0];
        if self.normalized {
            let std = numbers(obs, 101, 1.0).into_iter().map(|x| 1.0 + x.abs());
            tensors.push(("obs_mean".into(), vec![obs], numbers(obs, 100, 1.0)));
            tensors.push(("obs_std".into(), vec![obs], std.collect()));
        }
        let metadata = [("activation", self.activation), ("output", self.output)];
        write_tensors(path, &tensors, &metadata);
    }
}

#[test]
fn plain_networks_earn_what_numpy_and_gymnasium_say() {
    let folder = Folder::new();
    for case in &CASES {
        case.write(&folder.path("net.safetensors"));
        let line = format!(
            "eval --policy net.safetensors --env {} --episodes 3 --seed 7",
            case.env
        );
        let score = folder.spar(&format!("{line} --json")).json();
        let name = format!("{} {} {}", case.activation, case.output, case.normalized);
        for (got, expected) in score["returns"]
            .as_array()
            .unwrap()
            .iter()
            .zip(case.returns)
        {
            let got = got.as_f64().unwrap();
            assert!((got - expected).abs() < 1e-4, "{name}: {got} {expected}");
        }
        let steps: usize = case.lengths.iter().sum();
        let told = format!("{:.1}", steps as f64 / 3.0);
        let table = folder.spar(&line).ok();
        let lengths = table.lines().find(|l| l.contains("mean length")).unwrap();
        assert!(
            lengths.ends_with(&told),
            "{name}: {lengths}, expected {told}"
        );
        let serial = folder.spar(&format!("{line} --json --threads 1")).json();
        assert_eq!(serial, score, "{name}");
    }
}

#[test]
fn a_score_is_d4rls_where_there_is_one() {
    let folder = Folder::new();
    let hopper = &CASES[13];
    hopper.write(&folder.path("net.safetensors"));
    let line = "eval --policy net.safetensors --env hopper --episodes 3 --seed 7 --json";
    let score = folder.spar(line).json();
    let mean = hopper.returns.iter().sum::<f64>() / 3.0;
    // d4rl/infos.py: REF_MIN_SCORE and REF_MAX_SCORE of hopper.
    let expected = 100.0 * (mean + 20.272305) / (3234.3 + 20.272305);
    assert!((score["normalized_score"].as_f64().unwrap() - expected).abs() < 1e-5);
    CASES[0].write(&folder.path("net.safetensors"));
    let line = "eval --policy net.safetensors --env pointmass --episodes 3 --json";
    assert!(folder.spar(line).json()["normalized_score"].is_null());
}

#[test]
fn what_is_not_such_a_network_is_refused() {
    let folder = Folder::new();
    let path = folder.path("net.safetensors");
    let eval = |facts: &[&str]| {
        let line = "eval --policy net.safetensors --env pointmass";
        folder.spar(line).fails(1, facts);
    };
    eval(&["net.safetensors", "No such file"]);
    std::fs::write(&path, "<html>404</html>").unwrap();
    eval(&["net.safetensors", "not a safetensors file"]);
    CASES[13].write(&path);
    eval(&["11 observations to 3 actions", "pointmass has 2 and 1"]);
    let layer = |rows: usize, bias: f32| {
        vec![
            (
                "layers.0.weight".to_owned(),
                vec![rows, 2],
                vec![0.5; 2 * rows],
            ),
            ("layers.0.bias".to_owned(), vec![1], vec![bias]),
        ]
    };
    let known = [("activation", "relu"), ("output", "tanh")];
    write_tensors(&path, &layer(1, 0.0), &[("activation", "gelu"), known[1]]);
    eval(&["`activation` is `gelu`", "relu, tanh, leaky_relu_0.01"]);
    write_tensors(&path, &layer(1, 0.0), &known[..1]);
    eval(&["no metadata `output`", "identity, tanh"]);
    write_tensors(&path, &layer(2, 0.0), &known);
    eval(&["`layers.0.weight` is [2, 2], expected [1, 2]"]);
    write_tensors(&path, &layer(1, f32::NAN), &known);
    eval(&["`layers.0.bias` is not finite at element 0"]);
    write_tensors(&path, &layer(1, 0.0)[..1], &known);
    eval(&["no tensor `layers.0.bias`"]);
}
