//! Recordings: what is launched once is repeated on what the buffers hold by
//! then.

use spar_kernels::{
    MlpShape,
    cuda::{
        AdamStep, Bootstrap, CudaError, Device, Gradient, GradientWork, Head, Kernels, Loss,
        Network, Part, Rows, Saved, pack,
    },
    optim::{AdamConfig, adam_factors},
};

use super::{draw, fresh, shape};

const ROWS: usize = 130;
const NETS: usize = 2;
const STEPS: u64 = 4;
const LR: f32 = 1e-2;

/// A critic that learns, with all its buffers.
struct Critic<B> {
    shape: MlpShape,
    params: B,
    target: B,
    moments: [B; 2],
    factors: B,
    grad: Gradient<B>,
    inputs: [B; 4],
    out: B,
    y: B,
    loss: B,
    grad_out: B,
    saved: Saved<B>,
    work: GradientWork<B>,
}

impl<B: std::fmt::Debug> Critic<B> {
    fn new<D: Device<Buffer = B>>(kernels: &Kernels<D>, start: &[f32], shape: MlpShape) -> Self {
        let device = kernels.device();
        let zeros = vec![0.0; start.len()];
        let alloc = |len| device.alloc(len).unwrap();
        Self {
            params: device.upload(start).unwrap(),
            target: device.upload(start).unwrap(),
            moments: [(); 2].map(|()| device.upload(&zeros).unwrap()),
            factors: alloc(2),
            grad: kernels.gradient(&shape, NETS, ROWS).unwrap(),
            inputs: [ROWS * shape.input(), ROWS, ROWS, ROWS].map(alloc),
            out: alloc(NETS * ROWS),
            y: alloc(ROWS),
            loss: alloc(ROWS),
            grad_out: alloc(NETS * ROWS),
            saved: kernels.saved(&shape, NETS, ROWS).unwrap(),
            work: kernels.gradient_work(&shape, NETS, ROWS).unwrap(),
            shape,
        }
    }

    fn step<D: Device<Buffer = B>>(&mut self, kernels: &Kernels<D>) -> Result<(), CudaError> {
        let [x, next, rewards, not_terminal] = &self.inputs;
        let parts = [Part {
            values: x,
            width: self.shape.input(),
            repeat: 1,
        }];
        let rows = Rows {
            rows: ROWS,
            parts: &parts,
        };
        let network = Network {
            shape: &self.shape,
            head: Head::Linear,
            nets: NETS,
            params: &self.params,
        };
        kernels.forward(&network, &rows, Some(&mut self.saved), &mut self.out, None)?;
        let from = Bootstrap {
            next,
            nets: 1,
            rewards,
            not_terminal,
            discount: 0.9,
        };
        let into = Loss {
            grad: &mut self.grad_out,
            loss: &mut self.loss,
        };
        kernels.temporal_difference(&from, &self.out, NETS, &mut self.y, into)?;
        kernels.backward(
            &network,
            &rows,
            &self.saved,
            &self.out,
            &self.grad_out,
            &mut self.work,
            Some(&mut self.grad),
            None,
        )?;
        let step = AdamStep {
            config: AdamConfig::new(LR),
            factors: &self.factors,
        };
        let [m, v] = &mut self.moments;
        let average = Some((0.1, &mut self.target));
        kernels.adam(&step, &mut self.params, &[&self.grad], m, v, average)
    }
}

/// A critic that learns by itself.
#[derive(Clone, Copy)]
pub struct Training {
    /// Of its start and its data.
    pub seed: u64,
    pub steps: u64,
    /// Widths of its two hidden layers.
    pub hidden: [usize; 2],
    /// Whether its steps are recorded.
    pub repeated: bool,
    /// Whether its losses are read after each step, which waits for it.
    pub read: bool,
}

impl Training {
    /// The losses that were read, then what it learned.
    pub fn run<D: Device>(&self, kernels: &Kernels<D>) -> Result<Vec<f32>, CudaError> {
        let device = kernels.device();
        let shape = shape(9, &self.hidden, 1, true);
        let mut stream = fresh(1 + 2 * self.seed, "repeat");
        let start = draw(&mut stream, 0.3, NETS * shape.parameters());
        let start = pack(&shape, &start);
        let mut critic = Critic::new(kernels, &start, shape);
        let mut stream = fresh(2 + 2 * self.seed, "repeat");
        let mut recording = None;
        let mut losses = Vec::new();
        for step in 1..=self.steps {
            for input in &mut critic.inputs {
                let values = draw(&mut stream, 1.0, device.len(input));
                device.write(&values, input)?;
            }
            let factors = adam_factors(&AdamConfig::new(LR), step);
            device.write(&factors, &mut critic.factors)?;
            if self.repeated {
                device.repeat(&mut recording, &mut || critic.step(kernels))?;
            } else {
                critic.step(kernels)?;
            }
            if self.read {
                losses.extend(device.read(&critic.loss)?);
            }
        }
        losses.extend(device.read(&critic.params)?);
        losses.extend(device.read(&critic.target)?);
        Ok(losses)
    }
}

pub fn repeat<D: Device>(kernels: &Kernels<D>) -> Vec<f32> {
    let device = kernels.device();
    let train = |repeated| {
        let training = Training {
            seed: 0,
            steps: STEPS,
            hidden: [20, 17],
            repeated,
            read: true,
        };
        training.run(kernels).unwrap()
    };
    let direct = train(false);
    // What fails while it is recorded leaves no recording, and the device usable.
    let mut recording = None;
    let failure = CudaError::Shape("as asked".to_owned());
    let failed = device.repeat(&mut recording, &mut || Err(failure.clone()));
    assert_eq!(failed, Err(failure.clone()));
    assert!(recording.is_none());
    let repeated = train(true);
    let steps: Vec<_> = direct.chunks(ROWS).take(STEPS as usize).collect();
    assert!(steps.windows(2).all(|pair| pair[0] != pair[1]));
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert!(bits(&direct) == bits(&repeated), "a recording is not it");
    direct
}
