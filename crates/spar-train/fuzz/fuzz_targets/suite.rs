//! Any bytes as a suite, and the settings of every run it plans.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spar_core::Suite;
use spar_train::{Method, TrainConfig};

mod folder;

fuzz_target!(|bytes: &[u8]| {
    let Some(suite) = folder::with("suite.toml", bytes, Suite::load) else {
        return;
    };
    for preset in suite.presets.keys() {
        for task in &suite.tasks {
            for method in Method::all() {
                let Ok(table) = suite.run_settings(preset, &task.to_string(), method.name()) else {
                    return;
                };
                if let Err(error) = TrainConfig::for_method(table, method) {
                    assert!(!error.to_string().contains('\n'), "{error}");
                }
            }
        }
    }
});
