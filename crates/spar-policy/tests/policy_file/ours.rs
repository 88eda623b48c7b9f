//! Our own policies.

use std::{fs, num::NonZeroUsize};

use safetensors::{Dtype, SafeTensors};
use spar_policy::Policy;

use crate::support::*;

#[test]
fn a_policy_read_back_acts_as_the_written_one() {
    let dir = tempfile::tempdir().unwrap();
    for (method, residual) in [("bc", false), ("spar", true)] {
        let [file, again] = ["a", "b"].map(|n| dir.path().join(n));
        write(&file, &policy(residual), &about(method));
        write(&again, &policy(residual), &about(method));
        assert_eq!(fs::read(&file).unwrap(), fs::read(&again).unwrap());
        let read = Policy::load(&file).unwrap();
        assert_eq!((read.obs_dim(), read.act_dim()), (11, 3));
        assert_eq!(actions(&read), actions(&policy(residual)), "{method}");
    }
}

#[test]
fn the_best_of_k_is_read_back_and_only_where_there_are_critics() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.safetensors");
    let eight = NonZeroUsize::new(8).unwrap();
    write(&file, &policy(true), &about("spar"));
    let read = Policy::load(&file).unwrap().best_of(eight).unwrap();
    assert_eq!(actions(&read), actions(&best_of(8)));
    assert_ne!(actions(&read), actions(&policy(true)));
    write(&file, &policy(false), &about("bc"));
    let error = Policy::load(&file)
        .unwrap()
        .best_of(eight)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("no critics"), "{error}");
}

#[test]
fn tensors_and_metadata_are_the_documented_ones() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy");
    write(&file, &policy(true), &about("spar"));
    let bytes = fs::read(&file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let shape = |name: &str| tensors.tensor(name).unwrap().shape().to_vec();
    assert_eq!(shape("obs_mean"), [11]);
    assert_eq!(shape("anchor.layers.0.weight"), [9, 11]);
    assert_eq!(shape("anchor.layers.2.weight"), [3, 7]);
    assert_eq!(shape("residual.layers.0.weight"), [9, 20]);
    assert_eq!(shape("residual.layers.2.bias"), [3]);
    assert_eq!(shape("residual.rho"), [1]);
    assert_eq!(shape("residual.sigma_z"), [1]);
    assert_eq!(shape("critic.1.layers.0.weight"), [9, 14]);
    assert_eq!(shape("critic.1.layers.1.norm.weight"), [7]);
    assert_eq!(shape("critic.1.layers.1.norm.bias"), [7]);
    assert_eq!(tensors.len(), 2 + 6 + 6 + 3 + 2 * (6 + 4));
    // PyTorch's [out, in]: row 0 holds the weights of output 0.
    let weight = tensors.tensor("anchor.layers.0.weight").unwrap();
    let (words, _) = weight.data().as_chunks::<4>();
    let ours = &policy(true).anchor.layers[0].weight;
    assert_eq!(f32::from_le_bytes(words[1]), ours[9], "input 1 of output 0");
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let text = &header.metadata().as_ref().unwrap()["spar"];
    let said: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(said["format"], 2);
    assert_eq!(said["digest"].as_str().unwrap().len(), 64);
    assert_eq!(said["method"], "spar");
    let read = Policy::from_bytes(&bytes).unwrap();
    assert_eq!(read.about(), Some(&about("spar")));
    assert_eq!(read.to_bytes().unwrap(), bytes);
}

#[test]
fn a_spoilt_policy_is_refused_by_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let good = || Parts::of_spar().without_digest();
    good().read(dir).unwrap();

    for name in [
        "obs_mean",
        "obs_std",
        "anchor.layers.0.weight",
        "anchor.layers.1.bias",
        "residual.layers.0.weight",
        "residual.layers.2.bias",
        "residual.rho",
        "residual.sigma_z",
        "critic.0.layers.1.norm.weight",
        "critic.1.layers.0.weight",
    ] {
        refused(dir, &good().without(name), &format!("`{name}`"));
        let mut dtype = good();
        dtype
            .tensors
            .insert(name.into(), (Dtype::I64, vec![1], vec![0; 8]));
        refused(dir, &dtype, "I64");
        let mut spoilt = good();
        let (_, _, data) = spoilt.tensors.get_mut(name).unwrap();
        data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        refused(dir, &spoilt, "not finite at element 0");
    }
    // A policy without its residual is not its anchor.
    refused(dir, &good().without("residual."), "residual.");

    let wide = good().floats("anchor.layers.1.weight", &[7, 10], &[0.1; 70]);
    refused(
        dir,
        &wide,
        "`anchor.layers.1.weight` is [7, 10], expected [7, 9]",
    );
    let short = good().floats("anchor.layers.0.bias", &[8], &[0.1; 8]);
    refused(dir, &short, "`anchor.layers.0.weight`");
    let wide = good().floats("critic.0.layers.0.norm.bias", &[8], &[0.1; 8]);
    refused(
        dir,
        &wide,
        "`critic.0.layers.0.norm.bias` is [8], expected [9]",
    );
    let flat = good().floats("anchor.layers.0.weight", &[99], &[0.1; 99]);
    refused(dir, &flat, "expected rank 2");
    refused(
        dir,
        &good().floats("obs_mean", &[10], &[0.0; 10]),
        "expected 11",
    );
    refused(
        dir,
        &good().floats("obs_std", &[11], &[0.0; 11]),
        "none zero",
    );
    let narrow = good()
        .without("residual.layers")
        .floats("residual.layers.0.weight", &[3, 13], &[0.0; 39])
        .floats("residual.layers.0.bias", &[3], &[0.0; 3]);
    refused(dir, &narrow, "does not fit the anchor");
    refused(
        dir,
        &good().floats("residual.rho", &[2], &[0.5; 2]),
        "`residual.rho` is [2], expected [1]",
    );
    refused(
        dir,
        &good().floats("critic.deviations", &[1], &[-0.5]),
        "`critic.deviations` is -0.5, expected a number from 0 to 100",
    );
    refused(dir, &good().meta("spar", "what?"), "metadata `spar`");

    let bytes = good().to_bytes();
    for bytes in [
        &bytes[..bytes.len() - 1],
        &bytes[..20],
        b"",
        b"<html></html>",
    ] {
        let file = dir.join("policy.safetensors");
        fs::write(&file, bytes).unwrap();
        let error = Policy::load(&file).err().unwrap().to_string();
        assert!(
            error.contains("policy.safetensors: not a safetensors file"),
            "{error}"
        );
    }
    let absent = Policy::load(dir.join("absent")).err().unwrap().to_string();
    assert!(absent.contains("absent"), "{absent}");
}
