//! The CUDA kernels on a GPU, where there is one: the same bodies as on the
//! stand-in. Where there is none, the error that says so.
//!
//! `SPAR_CUDA_SEED` gives other random inputs. With `SPAR_CUDA_REQUIRED` set, or on a CI
//! machine that has a GPU, a test that would be skipped fails.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "cuda/bodies/mod.rs"]
mod bodies;

use std::{env, io::Write, path::Path};

use spar_kernels::cuda::{
    Arg, By, CudaBuffer, CudaDevice, CudaError, CudaRecording, Device, Kernels, Launch, Limits,
    Profile,
};

/// A GPU whose buffers are not a number until they are written: what a kernel leaves out, or
/// reads too early, shows.
struct Poisoned(CudaDevice);

// SAFETY: buffers are the inner device's, which keeps what is demanded.
unsafe impl Device for Poisoned {
    type Buffer = CudaBuffer;
    type Recording = CudaRecording;

    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn alloc(&self, len: usize) -> Result<CudaBuffer, CudaError> {
        let mut buffer = self.0.alloc(len)?;
        self.0.write(&vec![f32::NAN; len], &mut buffer)?;
        Ok(buffer)
    }

    fn len(&self, buffer: &CudaBuffer) -> usize {
        self.0.len(buffer)
    }

    fn write(&self, values: &[f32], buffer: &mut CudaBuffer) -> Result<(), CudaError> {
        self.0.write(values, buffer)
    }

    fn read(&self, buffer: &CudaBuffer) -> Result<Vec<f32>, CudaError> {
        self.0.read(buffer)
    }

    unsafe fn launch(&self, launch: Launch, args: &[Arg<'_, CudaBuffer>]) -> Result<(), CudaError> {
        // SAFETY: as the caller vouches.
        unsafe { self.0.launch(launch, args) }
    }

    fn repeat(
        &self,
        recording: &mut Option<CudaRecording>,
        launches: &mut dyn FnMut() -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        self.0.repeat(recording, launches)
    }
}

/// The GPU, or nothing and a word of why.
fn gpu() -> Option<CudaDevice> {
    let why = match CudaDevice::new(0) {
        Ok(device) => return Some(device),
        Err(error @ (CudaError::NoDriver | CudaError::NoCompiler)) => {
            let text = error.to_string();
            assert!(text.contains("on this machine"), "{text}");
            text
        }
        // A driver without a GPU.
        Err(CudaError::Driver(reason)) if reason.contains("NO_DEVICE") => reason,
        Err(error) => panic!("{error}"),
    };
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let there = ["/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg"];
    let there = there.iter().find(|node| Path::new(node).exists());
    assert!(
        !set("SPAR_CUDA_REQUIRED"),
        "SPAR_CUDA_REQUIRED is set, and the kernels cannot run: {why}"
    );
    assert!(
        !set("CI") || there.is_none(),
        "this machine has a GPU ({}), and the kernels cannot run on it: {why}",
        there.unwrap_or(&"")
    );
    let mut stderr = std::io::stderr();
    writeln!(
        stderr,
        "SKIPPED: the CUDA kernels do not run on a GPU: {why}"
    )
    .unwrap();
    None
}

#[test]
fn every_operation_is_its_definition_and_gives_the_same_bits_twice() {
    let Some(device) = gpu() else { return };
    let name = device.name().to_owned();
    let kernels = Kernels::new(Poisoned(device));
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

/// Another stream's of one GPU are as much another device's.
#[test]
fn another_devices_buffers_are_refused() {
    let Some(device) = gpu() else { return };
    for other in [CudaDevice::new(0).unwrap(), device.beside().unwrap()] {
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
}

#[test]
fn streams_beside_each_other_give_the_bits_of_one_alone() {
    let Some(device) = gpu() else { return };
    let bits = |device: CudaDevice| -> Vec<u32> {
        let update = bodies::update(&Kernels::new(device));
        update.into_iter().map(f32::to_bits).collect()
    };
    let alone = bits(device.beside().unwrap());
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| bits(device.beside().unwrap())))
            .collect();
        for one in all {
            assert!(one.join().unwrap() == alone, "streams disturb each other");
        }
    });
}

#[test]
fn launches_that_are_timed_are_the_launches() {
    let Some(device) = gpu() else { return };
    let profile = Kernels::new(Profile::new(device.beside().unwrap(), By::Launch));
    let timed = bodies::update(&profile);
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert!(bits(timed) == bits(bodies::update(&Kernels::new(device))));
    let spans = profile.device().take();
    assert!(spans.len() >= 32, "{} launches", spans.len());
    assert!(spans.iter().all(|span| span.seconds >= 0.0), "{spans:?}");
    assert!(profile.device().take().is_empty());
}
