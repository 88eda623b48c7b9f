//! Arrays unpacked here are those that the library unpacks.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use hdf5::{File, H5Type};
use ndarray::Array2;
use proptest::prelude::*;
use spar_core::Stream;
use spar_data::Dataset;

/// How the observations of a file are stored.
#[derive(Clone, Debug)]
struct Stored {
    shape: [usize; 2],
    chunk: Option<[usize; 2]>,
    shuffle: bool,
    deflate: Option<u8>,
    fletcher32: bool,
    user_block: bool,
    seed: u64,
}

fn stored() -> impl Strategy<Value = Stored> {
    let shape = (1..300usize, 1..7usize);
    let chunk = prop::option::weighted(0.9, (1..400usize, 1..9usize));
    let filters = (any::<bool>(), prop::option::of(0..10u8), any::<bool>());
    (shape, chunk, filters, any::<bool>(), any::<u64>()).prop_map(
        |(shape, chunk, (shuffle, deflate, fletcher32), user_block, seed)| Stored {
            shape: shape.into(),
            chunk: chunk.map(Into::into),
            shuffle,
            deflate,
            fletcher32,
            user_block,
            seed,
        },
    )
}

/// Writes a file whose observations are `values`; returns them as the library reads them.
fn write<T: H5Type>(how: &Stored, path: &Path, values: &Array2<T>) -> Vec<f32> {
    let block = if how.user_block { 512 } else { 0 };
    let mut options = File::with_options();
    let file = options.with_fcpl(|p| p.userblock(block)).create(path);
    let file = file.unwrap();
    let mut builder = file.new_dataset::<T>();
    if let Some(chunk) = how.chunk {
        builder = builder.chunk(chunk);
        if how.shuffle {
            builder = builder.shuffle();
        }
        if let Some(level) = how.deflate {
            builder = builder.deflate(level);
        }
        if how.fletcher32 {
            builder = builder.fletcher32();
        }
    }
    let extents = match how.chunk {
        // A chunk may be larger than what cannot grow.
        Some(_) => builder.shape((how.shape[0].., how.shape[1]..)),
        None => builder.no_chunk().shape(how.shape),
    };
    let set = extents.create("observations").unwrap();
    set.write(values).unwrap();
    let zeros = vec![0f32; how.shape[0]];
    for name in ["rewards", "terminals"] {
        let made = file.new_dataset_builder().with_data(&zeros);
        made.create(name).unwrap();
    }
    let actions = Array2::<f32>::zeros((how.shape[0], 1));
    let made = file.new_dataset_builder().with_data(&actions);
    made.create("actions").unwrap();
    set.read_raw().unwrap()
}

/// A file whose observations are `make` of random numbers holds the same ones for the
/// library and for us.
fn same<T: H5Type>(how: &Stored, make: impl Fn(f64) -> T) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.hdf5");
    let mut stream = Stream::new(how.seed, "packed");
    let values = Array2::from_shape_fn(how.shape, |_| make(stream.normal()));
    let library = write(how, &path, &values);
    let data = Dataset::read(&path).unwrap();
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&data.observations), bits(&library), "{how:?}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn of_every_shape_and_packing(how in stored(), kind in 0..7) {
        match kind {
            0 => same(&how, |x| x as f32),
            1 => same(&how, |x| x * 1e3 / 7.0),
            2 => same(&how, |x| (x * 40.0) as i8),
            3 => same(&how, |x| (x * 1e9) as i32),
            4 => same(&how, |x| (x * 1e17) as i64),
            5 => same(&how, |x| (x.abs() * 1e18) as u64),
            _ => same(&how, |x| (x.abs() * 1e4) as u16),
        }
    }
}

/// More than one band, on more than one thread where there is one.
#[test]
fn of_a_large_array() {
    for chunk in [Some([1000, 3]), Some([4096, 5]), Some([20_000, 1]), None] {
        let how = Stored {
            shape: [20_000, 5],
            chunk,
            shuffle: true,
            deflate: Some(4),
            fletcher32: false,
            user_block: false,
            seed: 1,
        };
        same(&how, |x| x as f32);
        same(&how, |x| x);
    }
}
