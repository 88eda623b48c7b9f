//! The CPU's matrix unit against its emulation, bit for bit, through whole passes. On a
//! machine without the unit it says so and passes. It reads no file and needs no argument,
//! so that the binary can be carried to a machine, or into an emulator, that has one.
#![allow(clippy::unwrap_used, missing_docs)]

use spar_kernels::{
    Activation, Head, MatrixUnit, MlpShape, Normalization, Precision, Workspace,
    mlp::{self, GradParams},
};

/// The unit if the process has one; else the reason is printed.
fn unit() -> Option<MatrixUnit> {
    match MatrixUnit::absent() {
        None => Some(MatrixUnit::Amx),
        Some(absent) => {
            println!("skipped: no matrix unit, {absent}");
            None
        }
    }
}

struct Draw(u64);

impl Draw {
    fn bits(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    /// Numbers from -1 to 1.
    fn numbers(&mut self, count: usize, scale: f32) -> Vec<f32> {
        let one = |_| (self.bits() as f32 / u32::MAX as f32 * 2.0 - 1.0) * scale;
        (0..count).map(one).collect()
    }

    /// Any bits whose exponent is one of these.
    fn kinds(&mut self, count: usize, least: u32, range: u32) -> Vec<f32> {
        let one = |_| {
            let exponent = least + self.bits() % range;
            f32::from_bits(self.bits() & 0x807f_ffff | exponent << 23)
        };
        (0..count).map(one).collect()
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    let one = |v: &f32| if v.is_nan() { 0x7fc0_0000 } else { v.to_bits() };
    values.iter().map(one).collect()
}

const PRECISIONS: [Precision; 2] = [Precision::Bf16x3, Precision::Bf16];

/// Output and both gradients of a pass on `unit`.
fn pass(
    unit: MatrixUnit,
    precision: Precision,
    (shape, rows): (&MlpShape, usize),
    (params, x, grad_out): (&[f32], &[f32], &[f32]),
) -> [Vec<u32>; 4] {
    unit.confine(|| {
        let work = &mut Workspace::default();
        let mut out = vec![0.0; rows * shape.output()];
        let mut only = out.clone();
        let (mut grad, mut grad_x) = (vec![0.0; params.len()], vec![0.0; x.len()]);
        mlp::forward(precision, shape, params, x, rows, work, &mut out);
        let (to, to_x) = (GradParams::over(&mut grad), Some(&mut grad_x[..]));
        mlp::backward(shape, params, x, rows, work, grad_out, Some(to), to_x);
        mlp::forward_only(precision, shape, params, x, rows, work, &mut only);
        [bits(&out), bits(&only), bits(&grad), bits(&grad_x)]
    })
}

#[test]
fn amx_hardware_passes_have_the_bits_of_the_emulation() {
    let Some(unit) = unit() else { return };
    let shapes = [
        MlpShape::relu(23, [64, 64], 1).unwrap(),
        MlpShape::relu(11, [33], 3)
            .unwrap()
            .with_layer_norm(true)
            .with_activation(Activation::Gelu),
        MlpShape::relu(111, [40, 72], 8)
            .unwrap()
            .with_head(Head::Tanh)
            .with_activation(Activation::Mish),
        MlpShape::relu(17, [50, 50], 24)
            .unwrap()
            .with_normalization(Normalization::After)
            .with_input_norm(true),
    ];
    for (seed, shape) in shapes.iter().enumerate() {
        for rows in [1, 31, 300] {
            let mut draw = Draw(seed as u64 + 7);
            let params = draw.numbers(shape.parameters(), 0.2);
            let x = draw.numbers(rows * shape.input(), 1.0);
            let grad_out = draw.numbers(rows * shape.output(), 1.0);
            for precision in PRECISIONS {
                let run = |unit| pass(unit, precision, (shape, rows), (&params, &x, &grad_out));
                let (got, want) = (run(unit), run(MatrixUnit::Emulated));
                assert!(got == want, "{shape:?}, {rows} rows, {precision:?}");
            }
        }
    }
}

/// A network of one layer is a product: numbers near the least and the largest, infinities
/// and what is no number.
#[test]
fn amx_hardware_products_of_any_numbers_have_the_bits_of_the_emulation() {
    let Some(unit) = unit() else { return };
    let shape = MlpShape::relu(70, [], 40).unwrap();
    for (seed, (least, range)) in [(0, 130), (0, 256), (50, 20), (240, 15), (120, 14)]
        .into_iter()
        .enumerate()
    {
        let mut draw = Draw(seed as u64 + 1);
        let params = draw.kinds(shape.parameters(), least, range);
        let x = draw.kinds(33 * 70, least, range);
        let grad_out = draw.kinds(33 * 40, least, range);
        for precision in PRECISIONS {
            let run = |unit| pass(unit, precision, (&shape, 33), (&params, &x, &grad_out));
            let (got, want) = (run(unit), run(MatrixUnit::Emulated));
            assert!(got == want, "kind {seed}, {precision:?}");
        }
    }
}

/// Tiles are configured for each thread, and survive that the system switches them.
#[test]
fn amx_hardware_threads_side_by_side_give_the_bits_of_one() {
    let Some(unit) = unit() else { return };
    let shape = MlpShape::relu(23, [64, 64], 1).unwrap();
    let mut draw = Draw(99);
    let params = draw.numbers(shape.parameters(), 0.2);
    let (x, grad_out) = (draw.numbers(64 * 23, 1.0), draw.numbers(64, 1.0));
    let run = || {
        pass(
            unit,
            Precision::Bf16x3,
            (&shape, 64),
            (&params, &x, &grad_out),
        )
    };
    let want = run();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..20).all(|_| run() == want)))
            .collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    });
}
