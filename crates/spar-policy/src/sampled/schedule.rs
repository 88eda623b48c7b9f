//! How much noise each step of a diffusion chain stands for.

/// The noise schedule of a diffusion chain: `alpha_t` of each step `t`, from zero, which
/// is the last one of sampling. `beta = 1 - alpha`, and `abar_t` is the product of all
/// `alpha` up to `t`: noising an action `a` by `t` gives
/// `sqrt(abar) a + sqrt(1 - abar) noise`.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// `alpha_t`, each in `(0, 1)`; never empty.
    pub alphas: Vec<f32>,
}

/// The factors of one step of a [`Schedule`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// `sqrt(abar)`: how much of the action is left.
    pub signal: f32,
    /// `sqrt(1 - abar)`: how much noise there is.
    pub noise: f32,
    /// `1 / sqrt(abar)` and `sqrt(1 / abar - 1)`: the action is guessed to be the first
    /// times the sample less the second times the noise.
    pub start: [f32; 2],
    /// Weights of the guessed action and of the sample in the mean of the sample before.
    pub mean: [f32; 2],
    /// Standard deviation around that mean: the root of `beta (1 - abar_before) / (1 - abar)`.
    pub posterior_std: f32,
    /// `1 / sqrt(alpha)` and `beta / sqrt(1 - abar)`: the same mean, of the sample and the
    /// noise, is the first times (the sample less the second times the noise).
    pub direct: [f32; 2],
    /// `sqrt(beta)`: the larger of the two usual deviations.
    pub beta_std: f32,
}

impl Schedule {
    /// The variance-preserving schedule of Diffusion-QL and IDQL, of `steps` steps:
    /// `alpha_t = exp(-b_min / T - (b_max - b_min) (2 t + 1) / (2 T^2))` for `t` from zero,
    /// `b_min = 0.1`, `b_max = 10`.
    pub fn variance_preserving(steps: usize) -> Self {
        let (low, high, n) = (0.1f64, 10.0f64, steps as f64);
        let alpha = |t: usize| {
            let odd = (2 * t + 1) as f64;
            (-low / n - 0.5 * (high - low) * odd / (n * n)).exp() as f32
        };
        Self {
            alphas: (0..steps).map(alpha).collect(),
        }
    }

    /// How many steps there are.
    pub fn steps(&self) -> usize {
        self.alphas.len()
    }

    /// The factors of step `t`, from zero.
    ///
    /// # Panics
    /// If there is no such step.
    pub fn step(&self, t: usize) -> Step {
        let product =
            |n: usize| -> f64 { self.alphas[..n].iter().map(|&a| f64::from(a)).product() };
        let (alpha, abar, before) = (f64::from(self.alphas[t]), product(t + 1), product(t));
        let (beta, left) = (1.0 - alpha, 1.0 - abar);
        let factors = |a: f64, b: f64| [a as f32, b as f32];
        Step {
            signal: abar.sqrt() as f32,
            noise: left.sqrt() as f32,
            start: factors(1.0 / abar.sqrt(), (1.0 / abar - 1.0).sqrt()),
            mean: factors(
                beta * before.sqrt() / left,
                (1.0 - before) * alpha.sqrt() / left,
            ),
            posterior_std: (beta * (1.0 - before) / left).sqrt() as f32,
            direct: factors(1.0 / alpha.sqrt(), beta / left.sqrt()),
            beta_std: beta.sqrt() as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed apart from this code, from the formula: T = 5.
    #[test]
    fn five_steps_are_those_of_the_table() {
        let schedule = Schedule::variance_preserving(5);
        let table: [[f32; 12]; 5] = [
            [
                0.804125, 0.896730, 0.442577, 1.115162, 0.493545, 1.0, 0.0, 0.0, 1.115162,
                0.442577, 0.442577, 0.0,
            ],
            [
                0.541182, 0.659680, 0.751546, 1.515886, 1.139259, 0.728435, 0.255116, 0.398890,
                1.359341, 0.610499, 0.677361, 1.0,
            ],
            [
                0.364219, 0.398121, 0.917333, 2.511801, 2.304158, 0.498410, 0.405078, 0.653255,
                1.656986, 0.693075, 0.797359, 2.0,
            ],
            [
                0.245122, 0.197109, 0.980382, 5.073343, 4.973812, 0.312681, 0.433466, 0.812962,
                2.019803, 0.769984, 0.868837, 3.0,
            ],
            [
                0.164969, 0.080058, 0.996790, 12.490895, 12.450802, 0.165654, 0.392901, 0.898758,
                2.462064, 0.837720, 0.913801, 4.0,
            ],
        ];
        for (t, want) in table.into_iter().enumerate() {
            let step = schedule.step(t);
            let got = [
                schedule.alphas[t],
                step.signal,
                step.noise,
                step.start[0],
                step.start[1],
                step.mean[0],
                step.mean[1],
                step.posterior_std,
                step.direct[0],
                step.direct[1],
                step.beta_std,
                t as f32,
            ];
            for (got, want) in got.iter().zip(want) {
                assert!(
                    (got - want).abs() < 2e-6 * want.max(1.0),
                    "{t}: {got}, {want}"
                );
            }
        }
    }

    #[test]
    fn both_forms_of_the_mean_are_one_and_the_mean_of_no_noise_is_the_action_left() {
        let schedule = Schedule::variance_preserving(7);
        for t in 0..7 {
            let step = schedule.step(t);
            let (x, noise) = (0.7, -0.3);
            let start = step.start[0] * x - step.start[1] * noise;
            let mean = step.mean[0] * start + step.mean[1] * x;
            let direct = step.direct[0] * (x - step.direct[1] * noise);
            assert!((mean - direct).abs() < 2e-5, "{t}: {mean}, {direct}");
            let before = if t == 0 {
                1.0
            } else {
                schedule.step(t - 1).signal
            };
            let left = step.mean[0] + step.mean[1] * step.signal;
            assert!((left - before).abs() < 1e-6, "{t}: {left}, {before}");
        }
    }
}
