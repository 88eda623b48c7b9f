//! Any bytes as a policy file; what is read acts once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spar_core::Stream;
use spar_train::policy_file;

mod folder;

fuzz_target!(|bytes: &[u8]| {
    let read = |path: &std::path::Path| policy_file::read(path, None);
    let Some(policy) = folder::with("policy.safetensors", bytes, read) else {
        return;
    };
    let obs = vec![0.5; policy.obs_dim()];
    let mut actions = vec![f32::NAN; policy.act_dim()];
    policy.act(&obs, &mut [Stream::new(0, "fuzz")], &mut actions);
    assert!(actions.iter().all(|a| !a.is_infinite()), "{actions:?}");
});
