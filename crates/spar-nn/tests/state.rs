//! Optimizers that resume exactly, and the checkpoint file.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path};

use candle_core::{Device, Tensor};
use spar_core::Stream;
use spar_nn::{Adam, AdamConfig, Mlp, MlpShape, State, StateError, Trace, normal};

fn network(seed: u64) -> Mlp {
    let shape = MlpShape::relu(3, [8], 2).unwrap().with_layer_norm(true);
    Mlp::new(shape, &mut Stream::new(seed, "init")).unwrap()
}

fn step(mlp: &Mlp, adam: &mut Adam, batches: &mut Stream) {
    let x = normal(batches, 1.0, 16, 3).unwrap();
    let y = normal(batches, 1.0, 16, 2).unwrap();
    let error = (mlp.forward(&x, Trace::Params).unwrap() - y).unwrap();
    let loss = error.sqr().unwrap().mean_all().unwrap();
    adam.step(&loss.backward().unwrap()).unwrap();
}

fn write(state: &State, path: &Path) {
    fs::write(path, state.to_bytes().unwrap()).unwrap();
}

#[test]
fn a_resumed_optimizer_goes_on_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.safetensors");
    let (mlp, mut batches) = (network(1), Stream::new(1, "batches"));
    let mut adam = Adam::new(&mlp, AdamConfig::new(1e-2));
    for _ in 0..7 {
        step(&mlp, &mut adam, &mut batches);
    }
    let mut state = State::default();
    mlp.save("net", &mut state).unwrap();
    adam.save("net", &mut state);
    state.insert_stream("batches", &batches);
    write(&state, &file);

    let read = State::read(&file).unwrap();
    let again = network(2);
    let mut again_adam = Adam::new(&again, AdamConfig::new(1e-2));
    again.load("net", &read).unwrap();
    again_adam.load("net", &read).unwrap();
    let mut again_batches = read.get_stream("batches").unwrap();
    for _ in 0..5 {
        step(&mlp, &mut adam, &mut batches);
        step(&again, &mut again_adam, &mut again_batches);
    }
    assert_eq!(mlp.to_params().unwrap(), again.to_params().unwrap());
    let saved = |adam: &Adam| {
        let mut state = State::default();
        adam.save("net", &mut state);
        state
    };
    assert_eq!(saved(&adam), saved(&again_adam));
    assert_eq!(saved(&adam).get_count("net.adam_step").unwrap(), 12);
}

#[test]
fn a_step_needs_a_gradient_of_its_own_network() {
    let (mlp, other) = (network(1), network(2));
    let mut adam = Adam::new(&mlp, AdamConfig::new(1e-2));
    let x = normal(&mut Stream::new(1, "x"), 1.0, 4, 3).unwrap();
    let loss = other
        .forward(&x, Trace::Params)
        .unwrap()
        .mean_all()
        .unwrap();
    let error = adam
        .step(&loss.backward().unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("no gradient reached"), "{error}");
    let wrong = Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap();
    let error = adam.step_along(&wrong).unwrap_err().to_string();
    assert!(error.contains("3 gradients"), "{error}");
}

#[test]
fn the_learning_rate_may_change_between_steps() {
    let moved = |lr: f32| {
        let (mlp, mut batches) = (network(1), Stream::new(1, "batches"));
        let before = mlp.to_params().unwrap();
        let mut adam = Adam::new(&mlp, AdamConfig::new(1.0));
        adam.set_lr(lr);
        step(&mlp, &mut adam, &mut batches);
        let after = mlp.to_params().unwrap();
        before
            .iter()
            .zip(after)
            .map(|(b, a)| (b - a).abs())
            .fold(0.0, f32::max)
    };
    // The first step of Adam moves every parameter by the learning rate.
    assert!((moved(1e-2) - 1e-2).abs() < 1e-4);
    assert!((moved(1e-3) - 1e-3).abs() < 1e-5);
}

fn example() -> State {
    let mut state = State::default();
    state.insert("b.weights", vec![1.5, -0.0, f32::MIN_POSITIVE, f32::NAN]);
    state.insert("a", vec![]);
    state.insert_count("updates", u64::MAX);
    state.insert_stream("sampler", &Stream::new(3, "s"));
    state
        .metadata
        .insert("spec".into(), "{\"a\": \"ä\\n\"}".into());
    state
}

#[test]
fn a_state_read_back_is_the_state_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.safetensors");
    write(&example(), &file);
    let read = State::read(&file).unwrap();
    assert_eq!(read.to_bytes().unwrap(), fs::read(&file).unwrap());
    assert_eq!(read.get_count("updates").unwrap(), u64::MAX);
    assert_eq!(read.get_stream("sampler").unwrap(), Stream::new(3, "s"));
    assert_eq!(read.metadata["spec"], example().metadata["spec"]);
    let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(
        bits(read.get("b.weights", 4).unwrap()),
        bits(example().get("b.weights", 4).unwrap())
    );
}

#[test]
fn equal_states_are_equal_bytes_however_they_were_filled() {
    let mut other = State::default();
    other
        .metadata
        .insert("spec".into(), "{\"a\": \"ä\\n\"}".into());
    other.insert_stream("sampler", &Stream::new(3, "s"));
    other.insert_count("updates", u64::MAX);
    other.insert("a", vec![]);
    other.insert("b.weights", vec![0.0]);
    other.insert("b.weights", vec![1.5, -0.0, f32::MIN_POSITIVE, f32::NAN]);
    assert_eq!(other.to_bytes().unwrap(), example().to_bytes().unwrap());
}

#[test]
fn what_is_not_there_or_does_not_fit_is_named() {
    let state = example();
    let told = |e: StateError| e.to_string();
    let error = told(state.get("c", 1).unwrap_err());
    assert!(error.contains("`c`"), "{error}");
    let error = told(state.get("b.weights", 9).unwrap_err());
    assert!(
        error.contains("`b.weights` has 4 elements, expected 9"),
        "{error}"
    );
    assert!(told(state.get_count("a").unwrap_err()).contains("`a`"));
    assert!(told(state.get_stream("anchor").unwrap_err()).contains("stream.anchor"));
    assert!(network(1).load("net", &state).is_err());
    let mut adam = Adam::new(&network(1), AdamConfig::new(1e-3));
    assert!(adam.load("net", &state).is_err());
}

/// 28 of 104 changed checkpoints went on, silently, to another result.
#[test]
fn a_checkpoint_of_which_one_bit_has_changed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.safetensors");
    let good = example().to_bytes().unwrap();
    for place in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[place] ^= 1 << bit;
            fs::write(&file, bytes).unwrap();
            let error = State::read(&file).unwrap_err();
            let known = matches!(
                error,
                StateError::Corrupt { .. } | StateError::Format { .. }
            );
            assert!(known, "bit {bit} of byte {place}: {error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
    for more in [&[0][..], b" ", &good] {
        fs::write(&file, [good.as_slice(), more].concat()).unwrap();
        State::read(&file).unwrap_err();
    }
}

#[test]
fn a_checkpoint_of_another_format_is_refused_by_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.safetensors");
    let told = |text: &str| {
        let metadata = Some([("spar".to_owned(), text.to_owned())].into());
        let one = 1.5f32.to_le_bytes();
        let dtype = safetensors::Dtype::F32;
        let view = safetensors::tensor::TensorView::new(dtype, vec![1], &one).unwrap();
        let bytes = safetensors::serialize([("x", view)], metadata).unwrap();
        fs::write(&file, bytes).unwrap();
        let error = State::read(&file).unwrap_err();
        assert!(matches!(error, StateError::Format { .. }), "{error}");
        error.to_string()
    };
    // Before there was a number, the entry held the texts alone.
    let old = told("{\"curve\":\"[]\",\"wall_s\":\"1.5\"}");
    assert!(
        old.contains("format 1, expected 2: an older version"),
        "{old}"
    );
    // A newer one may hold whatever it likes.
    let new = told("{\"format\":3,\"blake3\":\"feed\",\"parts\":[1,2]}");
    assert!(
        new.contains("format 3, expected 2: a newer version"),
        "{new}"
    );
}

#[test]
fn a_corrupt_file_is_named_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.safetensors");
    let good = example().to_bytes().unwrap();
    let half = serialized("x", safetensors::Dtype::F16, &[0; 4]);
    let two = serialized("x", safetensors::Dtype::U64, &[0; 16]);
    let mut huge = good.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut header = good.clone();
    header[9] = b'#';
    for bytes in [
        &good[..good.len() - 1],
        &good[..good.len() / 2],
        &good[..7],
        &[],
        b"<!DOCTYPE html><html><body>503</body></html>",
        &huge,
        &header,
        &half,
        &two,
    ] {
        fs::write(&file, bytes).unwrap();
        let error = State::read(&file).unwrap_err();
        assert!(matches!(error, StateError::Corrupt { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("state.safetensors") && !text.contains('\n'),
            "{text}"
        );
    }
    let absent = State::read(&dir.path().join("absent"))
        .unwrap_err()
        .to_string();
    assert!(absent.contains("absent"), "{absent}");
}

fn serialized(name: &str, dtype: safetensors::Dtype, data: &[u8]) -> Vec<u8> {
    let len = data.len() * 8 / dtype.bitsize();
    let view = safetensors::tensor::TensorView::new(dtype, vec![len], data).unwrap();
    safetensors::serialize([(name, view)], None).unwrap()
}
