//! Policies broken at random: each is refused in one line, or is what it was but for what
//! was changed.

use std::fs;

use spar_core::Stream;
use spar_policy::Policy;

use crate::{mutants, support::*};

/// What the policy file `bytes` gives for a few observations, if it is read.
fn acts(dir: &std::path::Path, bytes: &[u8]) -> Result<Vec<f32>, String> {
    let file = dir.join("policy.safetensors");
    fs::write(&file, bytes).unwrap();
    match Policy::load(&file) {
        Ok(policy) => Ok(actions(&policy)),
        Err(error) => Err(error.to_string()),
    }
}

#[track_caller]
fn one_line(error: &str, what: &str) {
    assert!(
        !error.is_empty() && !error.contains('\n'),
        "{what}: {error}"
    );
}

#[test]
fn a_broken_policy_is_refused_or_acts_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let ours = Parts::of_spar().to_bytes();
    let former = Parts::of_spar().without_digest().to_bytes();
    let draws = latent().to_bytes();
    let foreign = plain("tanh", "identity").0.to_bytes();
    let samples = sampled("chain").to_bytes();
    let each = mutants::count(400).div_ceil(5);
    for (name, whole, proven) in [
        ("ours", ours, true),
        ("former", former, false),
        ("latent", draws, false),
        ("foreign", foreign, false),
        ("sampled", samples, false),
    ] {
        let want = acts(dir, &whole).unwrap();
        let data = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        let mut stream = mutants::stream(&format!("policy/{name}"));
        let (mut refused, mut same, mut other) = (0, 0, 0);
        for i in 0..each {
            let (bytes, how) = mutants::bytes(&whole, &mut stream);
            let what = format!("{name}, mutant {i}: {how}");
            match acts(dir, &bytes) {
                Err(error) => {
                    one_line(&error, &what);
                    refused += 1;
                }
                Ok(got) if got == want => same += 1,
                // Without a digest a weight is what the file says; names, shapes and
                // types are none of them.
                Ok(_) => {
                    assert!(!proven, "{what}: acts otherwise");
                    assert_ne!(bytes[data.min(bytes.len())..], whole[data..], "{what}");
                    other += 1;
                }
            }
        }
        println!("{name}: {refused} refused, {same} the same, {other} with other weights");
        assert!(refused > each / 4, "{name}: {refused} of {each}");
    }
}

/// Properties that no single example shows: any number in any place of a policy file is
/// read as what it is or refused, and never makes a policy of other widths.
#[test]
fn any_number_in_any_place_is_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut stream = Stream::new(3, "places");
    let numbers = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        3.0,
        1e-40,
        1e10,
        -1e10,
        1e30,
        f32::MAX,
        f32::MIN,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ];
    for parts in [
        Parts::of_spar().without_digest(),
        latent(),
        plain("relu", "tanh").0,
        sampled("chain"),
        sampled("flow"),
        sampled("one step"),
    ] {
        let mut names: Vec<String> = parts.tensors.keys().cloned().collect();
        names.sort_unstable();
        for name in names {
            for number in numbers {
                let mut spoilt = parts.clone();
                let (_, shape, data) = spoilt.tensors.get_mut(&name).unwrap();
                let at = stream.index(shape.iter().product());
                data[4 * at..4 * at + 4].copy_from_slice(&number.to_le_bytes());
                match spoilt.read(dir) {
                    Ok(policy) => {
                        assert_eq!((policy.obs_dim(), policy.act_dim()), (11, 3));
                        assert!(number.is_finite(), "{name}: {number}");
                        let bounded = |a: &f32| a.is_nan() || a.abs() <= 1.0;
                        assert!(actions(&policy).iter().all(bounded), "{name}: {number}");
                    }
                    Err(error) => {
                        let error = error.to_string();
                        one_line(&error, &name);
                        assert!(error.contains(&format!("`{name}`")), "{name}: {error}");
                    }
                }
            }
        }
    }
}
