//! What the names of a policy file's tensors mean: those of the format, and those
//! that other programs give to the same things. A tensor that is not read would
//! change how a policy acts without a word, so every name has to be known.

/// What a tensor or metadata entry of another program holds, as far as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Mean of the observations: `obs_mean`.
    ObsMean,
    /// Standard deviation of the observations: `obs_std`.
    ObsStd,
    /// Variance of the observations, whose root is `obs_std`.
    ObsVariance,
    /// What the output is multiplied by: `output.scale`.
    ActionScale,
    /// What is added to it then: `output.shift`.
    ActionShift,
    /// The least and the greatest action, from which both follow.
    ActionLow,
    /// See [`Self::ActionLow`].
    ActionHigh,
    /// The spread of a stochastic policy, of which a deterministic one has none.
    Spread,
    /// Statistics of rewards or returns, or a count: nothing acts by them.
    Bookkeeping,
}

impl Meaning {
    /// Where it goes in a policy file, for people.
    pub(super) fn documented(self) -> &'static str {
        match self {
            Self::ObsMean => "the observations' mean is `obs_mean`",
            Self::ObsStd => "the observations' standard deviation is `obs_std`",
            Self::ObsVariance => {
                "the observations' standard deviation is `obs_std`: this one's square root"
            }
            Self::ActionScale => "what outputs are multiplied by is `output.scale`",
            Self::ActionShift => "what is added to scaled outputs is `output.shift`",
            Self::ActionLow | Self::ActionHigh => {
                "bounds of actions are `output.scale`, half their distance, and `output.shift`, \
                 their middle"
            }
            Self::Spread => "a policy file acts by the mean: leave the spread out",
            Self::Bookkeeping => "nothing acts by it: leave it out",
        }
    }
}

/// The words of a name in lower case.
pub(crate) fn words(name: &str) -> Vec<String> {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect()
}

/// What `name` holds, where it is obvious. Weights and biases of layers are not
/// looked at: their place among the others says what they are.
pub(crate) fn meaning(name: &str) -> Option<Meaning> {
    let (_, own) = name.rsplit_once(['.', '/']).unwrap_or(("", name));
    let own = words(own);
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let all = words(name);
    let of = |kinds: &[&str]| all.iter().any(|word| kinds.contains(&word.as_str()));
    let last = *own.last()?;
    if own
        .iter()
        .any(|w| matches!(*w, "logstd" | "lstd" | "logsigma"))
        || own.starts_with(&["log"])
        || own == ["sigma", "param"]
    {
        return Some(Meaning::Spread);
    }
    let of_actions = of(&["action", "actions", "act"]);
    if of(&["ret", "return", "returns", "reward", "rewards"])
        || matches!(last, "count" | "tracked" | "step" | "steps")
    {
        return Some(Meaning::Bookkeeping);
    }
    let statistic = match last {
        "mean" | "means" => Meaning::ObsMean,
        "std" | "stds" | "stddev" => Meaning::ObsStd,
        "var" | "variance" => Meaning::ObsVariance,
        "low" | "min" if of_actions || own.len() == 1 => return Some(Meaning::ActionLow),
        "high" | "max" if of_actions || own.len() == 1 => return Some(Meaning::ActionHigh),
        "scale" | "scaling" if of_actions => return Some(Meaning::ActionScale),
        "action" if own.contains(&"max") => return Some(Meaning::ActionScale),
        "bias" | "shift" | "offset" if own.len() > 1 && of_actions => {
            return Some(Meaning::ActionShift);
        }
        _ => return None,
    };
    Some(match (statistic, of_actions) {
        (Meaning::ObsMean, true) => Meaning::ActionShift,
        (Meaning::ObsStd, true) => Meaning::ActionScale,
        (Meaning::ObsVariance, true) => return None,
        (statistic, _) => statistic,
    })
}

/// A few of `names`, and how many more there are.
pub(crate) fn some(names: &[&str]) -> String {
    const SHOWN: usize = 6;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect();
    let shown = shown.join(", ");
    match names.len() {
        0 => "none".to_owned(),
        n if n > SHOWN => format!("{shown} and {} more", n - SHOWN),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_programs_mean_what_they_say() {
        use Meaning::*;
        for (name, expected) in [
            ("mean", Some(ObsMean)),
            ("state_mean", Some(ObsMean)),
            ("obs_rms.mean", Some(ObsMean)),
            ("_obs_scaler.std", Some(ObsStd)),
            ("normalizer.running_var", Some(ObsVariance)),
            ("obs_rms.count", Some(Bookkeeping)),
            ("ret_rms.var", Some(Bookkeeping)),
            ("action_scale", Some(ActionScale)),
            ("actor.action_bias", Some(ActionShift)),
            ("max_action", Some(ActionScale)),
            ("action_scaler.mean", Some(ActionShift)),
            ("action_high", Some(ActionHigh)),
            ("log_std", Some(Spread)),
            ("actor_logstd", Some(Spread)),
            ("sigma_param", Some(Spread)),
            // Heads and layers are no statistics.
            ("mean.weight", None),
            ("action_net.bias", None),
            ("layers.1.bias", None),
            ("sigma.model.0.weight", None),
            ("scale", None),
        ] {
            assert_eq!(meaning(name), expected, "{name}");
        }
    }
}
