//! The CUDA kernels on a GPU, where there is one: the same bodies as on the
//! stand-in. Where there is none, the error that says so.
//!
//! `SPAR_CUDA_SEED` gives other random inputs. With `SPAR_CUDA_REQUIRED` set, or on a CI
//! machine that has a GPU, a test that would be skipped fails.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "cuda/bodies/mod.rs"]
mod bodies;

use std::{env, io::Write, path::Path};

use bodies::repeat::Training;
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
    assert!(spans.len() >= 31, "{} launches", spans.len());
    assert!(spans.iter().all(|span| span.seconds >= 0.0), "{spans:?}");
    assert!(profile.device().take().is_empty());
}

/// What runs of these trainings give: each by itself, or all sharing their launches.
fn trained(
    device: &CudaDevice,
    trainings: &[Training],
    together: bool,
) -> Vec<Result<Vec<u32>, CudaError>> {
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    if !together {
        let alone = |training: &Training| {
            let kernels = Kernels::new(device.beside().unwrap());
            training.run(&kernels).map(bits)
        };
        return trainings.iter().map(alone).collect();
    }
    let floats = trainings.iter().map(|training| {
        let tally = Kernels::new(device.tally());
        training.run(&tally).unwrap();
        tally.device().floats()
    });
    let lanes = device
        .lanes(trainings.len(), floats.max().unwrap())
        .unwrap();
    std::thread::scope(|scope| {
        let runs: Vec<_> = lanes
            .into_iter()
            .zip(trainings)
            .map(|(lane, training)| {
                scope.spawn(move || training.run(&Kernels::new(lane)).map(bits))
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    })
}

/// More steps than there are places for what is to be copied.
const TRAINING: Training = Training {
    seed: 0,
    steps: 6,
    hidden: [20, 17],
    repeated: true,
    read: false,
};

#[test]
fn runs_that_share_launches_give_the_bits_of_each_alone() {
    let Some(device) = gpu() else { return };
    for (runs, reader) in [(2, None), (3, Some(1))] {
        // Who reads sends what it wrote by itself.
        let trainings: Vec<_> = (0..runs)
            .map(|seed| Training {
                seed,
                read: Some(seed) == reader,
                ..TRAINING
            })
            .collect();
        let alone = trained(&device, &trainings, false);
        assert!(
            trained(&device, &trainings, true) == alone,
            "{runs} runs disturb each other"
        );
        let learned: Vec<_> = alone.into_iter().map(Result::unwrap).collect();
        assert!(learned.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

/// The first, the last, and one between others.
#[test]
fn a_run_that_ends_leaves_the_others_to_themselves() {
    let Some(device) = gpu() else { return };
    for steps in [[2, 6, 6], [6, 6, 1], [6, 3, 6], [3, 4, 2]] {
        let trainings: Vec<_> = (0..)
            .zip(steps)
            .map(|(seed, steps)| Training {
                seed,
                steps,
                ..TRAINING
            })
            .collect();
        let together = trained(&device, &trainings, true);
        assert!(together == trained(&device, &trainings, false), "{steps:?}");
    }
}

#[test]
fn runs_of_other_launches_are_refused() {
    let Some(device) = gpu() else { return };
    let other = Training {
        hidden: [20, 18],
        ..TRAINING
    };
    for result in trained(&device, &[TRAINING, TRAINING, other], true) {
        let error = result.unwrap_err();
        assert!(matches!(error, CudaError::Lanes(_)), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("run 2 repeats other launches than run 0: launch 0, mlp_forward_"),
            "{text}"
        );
    }
}

#[test]
fn a_run_stays_within_its_own_share() {
    let Some(device) = gpu() else { return };
    let lanes = device.lanes(2, 100).unwrap();
    let mut first = lanes[0].upload(&[1.0, 2.0]).unwrap();
    for refused in [
        lanes[1].read(&first).map(drop),
        lanes[1].write(&[3.0, 4.0], &mut first),
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("a buffer of another device"), "{error}");
    }
    assert_eq!(lanes[0].read(&first).unwrap(), [1.0, 2.0]);
    let error = lanes[0].alloc(65).unwrap_err().to_string();
    let text = "a buffer of 65 floats where 64 of 192 are left of a run's share";
    assert!(error.contains(text), "{error}");
    // More than goes over with the others'.
    let many: Vec<f32> = (0..300_000).map(|i| i as f32).collect();
    let lanes = device.lanes(2, 400_000).unwrap();
    let mut large = lanes[1].upload(&many).unwrap();
    let small = lanes[1].upload(&[5.0]).unwrap();
    assert_eq!(lanes[1].read(&large).unwrap(), many);
    assert_eq!(lanes[1].read(&small).unwrap(), [5.0]);
    lanes[1].write(&many, &mut large).unwrap();
    assert_eq!(lanes[1].read(&small).unwrap(), [5.0]);
}
