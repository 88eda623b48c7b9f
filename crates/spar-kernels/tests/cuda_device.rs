//! The CUDA kernels on a GPU, where there is one: the same bodies as on the
//! stand-in. Where there is none, the error that says so.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "cuda/bodies/mod.rs"]
mod bodies;

use std::io::Write;

use spar_kernels::cuda::{CudaDevice, CudaError, Device, Kernels};

/// Another stream's of one GPU are as much another device's.
fn another_devices_buffers_are_refused(device: &CudaDevice) {
    let other = CudaDevice::new(0).unwrap();
    let mut foreign = other.upload(&[1.0, 2.0]).unwrap();
    for refused in [
        device.read(&foreign).map(drop),
        device.write(&[3.0, 4.0], &mut foreign),
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("a buffer of another device"), "{error}");
    }
    assert_eq!(other.read(&foreign).unwrap(), [1.0, 2.0]);
}

#[test]
fn every_operation_is_its_definition_and_gives_the_same_bits_twice() {
    match CudaDevice::new(0) {
        Ok(device) => {
            let name = device.name().to_owned();
            another_devices_buffers_are_refused(&device);
            let kernels = Kernels::new(device);
            for (body, run) in bodies::all() {
                let bits = || run(&kernels).into_iter().map(f32::to_bits);
                assert!(
                    bits().eq(bits()),
                    "{body} differs from run to run on {name}"
                );
            }
            let mut stderr = std::io::stderr();
            writeln!(stderr, "the CUDA kernels ran on {name}").unwrap();
        }
        Err(error @ (CudaError::NoDriver | CudaError::NoCompiler)) => {
            let text = error.to_string();
            assert!(text.contains("on this machine"), "{text}");
            let mut stderr = std::io::stderr();
            writeln!(
                stderr,
                "SKIPPED: the CUDA kernels do not run on a GPU: {text}"
            )
            .unwrap();
        }
        // A driver without a GPU.
        Err(CudaError::Driver(reason)) => assert!(reason.contains("NO_DEVICE"), "{reason}"),
        Err(error) => panic!("{error}"),
    }
}
