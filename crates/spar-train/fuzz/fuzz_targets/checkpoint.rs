//! Any bytes as a checkpoint.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spar_nn::State;

mod folder;

fuzz_target!(|bytes: &[u8]| {
    folder::with("latest.safetensors", bytes, State::read);
});
