//! Statistics of observations and bounds of actions under other programs' names.

use super::{Taken, Tensor};
use crate::file::{Meaning, SCALE, SHIFT, words};

/// What a file holds beside its layers.
#[derive(Default)]
pub(super) struct Numbers {
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    scale: Option<Vec<f32>>,
    shift: Option<Vec<f32>>,
    low: Option<Vec<f32>>,
    high: Option<Vec<f32>>,
    /// A scale that is called a deviation: without a mean beside it, it may be that of
    /// exploration.
    deviation: Option<String>,
}

/// A row for each of observations and actions: a first and a second number of each.
type Pair = (Vec<f32>, Vec<f32>);

impl Numbers {
    /// Takes the tensor called `name` for what it means.
    ///
    /// # Errors
    /// If there was one of the same meaning before, or its values cannot be.
    pub(super) fn take(
        &mut self,
        meaning: Meaning,
        name: &str,
        tensor: &Tensor,
    ) -> Result<Taken, String> {
        let mut values = tensor.values.clone();
        if meaning == Meaning::ActionScale && words(name).iter().any(|word| word == "std") {
            self.deviation = Some(name.to_owned());
        }
        let (slot, to, how) = match meaning {
            Meaning::ObsMean => (&mut self.mean, "obs_mean", None),
            Meaning::ObsStd => (&mut self.std, "obs_std", None),
            Meaning::ObsVariance => {
                values.iter_mut().for_each(|v| *v = v.sqrt());
                (&mut self.std, "obs_std", Some("its square root"))
            }
            Meaning::ActionScale => (&mut self.scale, SCALE, None),
            Meaning::ActionShift => (&mut self.shift, SHIFT, None),
            Meaning::ActionLow => (&mut self.low, SHIFT, Some("the lower bound of actions")),
            Meaning::ActionHigh => (&mut self.high, SCALE, Some("the upper bound of actions")),
            Meaning::Spread | Meaning::Bookkeeping => {
                return Err(format!("`{name}` is nothing a policy acts by"));
            }
        };
        if to == "obs_std" && values.iter().any(|v| v.is_nan() || *v <= 0.0) {
            return Err(format!("`{name}` holds a value that is not above zero"));
        }
        if slot.replace(values).is_some() {
            return Err(format!(
                "`{name}` is the second tensor that would be `{to}`; remove one of them"
            ));
        }
        Ok(Taken {
            from: name.to_owned(),
            to: to.to_owned(),
            shape: tensor.shape.clone(),
            how: how.map(str::to_owned),
        })
    }

    /// Mean and standard deviation of observations, if there are any.
    pub(super) fn normalizer(&self, obs_dim: usize) -> Result<Option<Pair>, String> {
        let (mean, std) = match (&self.mean, &self.std) {
            (None, None) => return Ok(None),
            (Some(mean), Some(std)) => (mean, std),
            (Some(_), None) => return Err("has a mean of observations but no deviation".into()),
            (None, Some(_)) => return Err("has a deviation of observations but no mean".into()),
        };
        let mean = spread_over(mean, obs_dim, "the observations' mean")?;
        let std = spread_over(std, obs_dim, "the observations' deviation")?;
        Ok(Some((mean, std)))
    }

    /// Scale and shift of actions, unless they change nothing.
    pub(super) fn affine(&self, act_dim: usize) -> Result<Option<Pair>, String> {
        if let (Some(name), None) = (&self.deviation, &self.shift) {
            return Err(format!(
                "`{name}` may be what actions are multiplied by, or the spread of exploration; \
                 rename it to `action_scale`, or remove it"
            ));
        }
        let (scale, shift) = match (&self.low, &self.high) {
            (None, None) if self.scale.is_none() && self.shift.is_none() => return Ok(None),
            (None, None) => {
                let of = |values: &Option<Vec<f32>>, usual| values.clone().unwrap_or(vec![usual]);
                (of(&self.scale, 1.0), of(&self.shift, 0.0))
            }
            (Some(low), Some(high)) if self.scale.is_none() && self.shift.is_none() => {
                let low = spread_over(low, act_dim, "the lower bound of actions")?;
                let high = spread_over(high, act_dim, "the upper bound of actions")?;
                let half = |sign: f32| {
                    let bounds = low.iter().zip(&high);
                    bounds.map(|(l, h)| 0.5 * (h + sign * l)).collect()
                };
                (half(-1.0), half(1.0))
            }
            _ => {
                return Err("has a half of an action's bounds, or bounds and scales; \
                            remove what is not used"
                    .to_owned());
            }
        };
        let scale = spread_over(&scale, act_dim, "the actions' scale")?;
        let shift = spread_over(&shift, act_dim, "the actions' shift")?;
        if scale.contains(&0.0) {
            return Err("has an action scale of zero".to_owned());
        }
        let none = scale.iter().all(|s| *s == 1.0) && shift.iter().all(|s| *s == 0.0);
        Ok((!none).then_some((scale, shift)))
    }
}

/// `values` as `width` of them: as they are, or one for all.
fn spread_over(values: &[f32], width: usize, what: &str) -> Result<Vec<f32>, String> {
    match values {
        [one] => Ok(vec![*one; width]),
        _ if values.len() == width => Ok(values.to_vec()),
        _ => Err(format!(
            "{what} has {} values, expected {width}",
            values.len()
        )),
    }
}
