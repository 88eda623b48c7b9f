//! Any bytes as a policy file; what is read acts once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spar_policy::Policy;

mod folder;

fuzz_target!(|bytes: &[u8]| {
    let Some(policy) = folder::with("policy.safetensors", bytes, |path| Policy::load(path)) else {
        return;
    };
    let obs = vec![0.5; policy.obs_dim()];
    let mut actions = vec![f32::NAN; policy.act_dim()];
    policy.act(&obs, &mut actions);
    assert!(actions.iter().all(|a| !a.is_infinite()), "{actions:?}");
});
