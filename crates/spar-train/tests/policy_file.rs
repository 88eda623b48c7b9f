//! Policy files and the environment they are to act in.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;

use spar_core::EnvId;
use spar_kernels::MlpShape;
use spar_policy::{Networks, Normalizer, PlainPolicy, Policy, RowMlp};
use spar_train::policy_file::read;

#[test]
fn a_policy_of_another_environment_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.safetensors");
    let shape = MlpShape::relu(11, [4], 3).unwrap();
    let net = RowMlp::from_params(&shape, &vec![0.1; shape.parameters()]).unwrap();
    let policy = PlainPolicy {
        normalizer: Normalizer::identity(11),
        net,
        affine: None,
    };
    let policy = Policy::new(Networks::Plain(policy), None, None);
    fs::write(&file, policy.to_bytes().unwrap()).unwrap();
    read(&file, EnvId::HOPPER).unwrap();
    read(&file, None).unwrap();
    let error = read(&file, EnvId::WALKER2D).err().unwrap().to_string();
    for part in [
        "11 observations to 3 actions",
        "walker2d has 17 and 6",
        "--env",
    ] {
        assert!(error.contains(part), "{error}");
    }
}
