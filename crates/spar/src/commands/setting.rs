//! One hyper-parameter of a command line.

use super::numbers::integral;

/// `key=value`; what is no TOML value is text.
pub(super) fn setting(text: &str) -> Result<(String, toml::Value), String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err("expected a name and a value, as in critic.expectile=0.9".to_owned());
    };
    let key = key.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key
        .split('.')
        .all(|part| !part.is_empty() && part.chars().all(plain))
    {
        return Err(format!(
            "`{}` is no name of a setting; expected one as in critic.expectile",
            key.escape_debug()
        ));
    }
    let parsed: Result<toml::Table, _> = toml::from_str(&format!("value = {value}"));
    let value = match parsed {
        Ok(mut table) if table.len() == 1 => table.remove("value"),
        _ => None,
    }
    .unwrap_or_else(|| value.trim().to_owned().into());
    // `1e5` is a float to TOML, and a count to people.
    let value = match value.as_float().and_then(integral) {
        Some(count) if text.contains(['e', 'E']) => toml::Value::Integer(count as i64),
        _ => value,
    };
    Ok((key.to_owned(), value))
}
