//! What the tests of Minari's layout share.

use serde_json::{Value, json};
use spar_data::Dataset;

/// The arrays of `data`, episode by episode, as the script prints them; of the
/// infos nothing.
pub(crate) fn arrays_of(data: &Dataset) -> Vec<Value> {
    let episode = |episode: spar_data::Episode| {
        let rows = episode.rows;
        let last = data.observation_after(rows.end - 1, true);
        let observations: Vec<_> = rows
            .clone()
            .map(|r| data.observation(r))
            .chain(last)
            .collect();
        let actions: Vec<_> = rows.clone().map(|r| data.action(r)).collect();
        json!({
            "observations": observations,
            "actions": actions,
            "rewards": data.rewards[rows.clone()],
            "terminations": data.terminals[rows.clone()],
            "truncations": data.timeouts.as_ref().unwrap()[rows],
        })
    };
    data.episodes(1000).map(episode).collect()
}

/// The script's episodes without infos, their numbers as the `f32` that a
/// [`Dataset`] holds.
pub(crate) fn narrowed(episodes: &Value) -> Vec<Value> {
    fn narrow(value: &Value) -> Value {
        match value {
            Value::Array(values) => values.iter().map(narrow).collect(),
            Value::Object(fields) => {
                let narrowed = fields
                    .iter()
                    .map(|(key, value)| (key.clone(), narrow(value)));
                narrowed.collect()
            }
            Value::Number(x) => json!(x.as_f64().unwrap() as f32),
            other => other.clone(),
        }
    }
    let mut episodes = episodes.as_array().unwrap().clone();
    for episode in &mut episodes {
        episode.as_object_mut().unwrap().remove("infos");
        *episode = narrow(episode);
    }
    episodes
}
