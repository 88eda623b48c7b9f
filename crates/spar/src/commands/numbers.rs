//! Whole numbers as people write them: `100000`, `100_000`, `1e5`.

use std::fmt::Display;

/// A whole number of the type that is asked for.
pub(crate) fn whole<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let number = parse(text)?;
    T::try_from(number).map_err(|_| format!("{number} is more than there can be"))
}

/// The same from one on.
pub(crate) fn positive(text: &str) -> Result<u64, String> {
    match parse(text)? {
        0 => Err("0 is not in 1.., expected at least one".to_owned()),
        number => Ok(number),
    }
}

/// The same from one to `most`, whose range is in the message otherwise.
pub(crate) fn counts(most: u32) -> impl Fn(&str) -> Result<u32, String> + Clone {
    move |text| {
        let number = parse(text)?;
        let fits = u32::try_from(number)
            .ok()
            .filter(|n| (1..=most).contains(n));
        fits.ok_or_else(|| format!("{number} is not in 1..={most}"))
    }
}

/// How much something may deviate: nothing is checked by what is no number, or without end.
pub(crate) fn tolerance(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|e| format!("{e}"))?;
    match number >= 0.0 && number.is_finite() {
        true => Ok(number),
        false => Err(format!("{number} is no finite number from 0 on")),
    }
}

/// The whole number that `value`, as in `1e5`, is; `None` if it is none.
pub(crate) fn integral(value: f64) -> Option<u64> {
    // Every whole number up to here has its own value.
    const MOST: f64 = (1u64 << 53) as f64;
    (value.fract() == 0.0 && (0.0..=MOST).contains(&value)).then_some(value as u64)
}

fn parse(text: &str) -> Result<u64, String> {
    let wrong =
        |why: &dyn Display| format!("{why}; expected a whole number, as in 100000, 100_000 or 1e5");
    let outside = text.starts_with('_') || text.ends_with('_') || text.contains("__");
    if outside {
        return Err(wrong(&"`_` stands between digits"));
    }
    let plain = text.replace('_', "");
    if !plain.contains(['e', 'E']) {
        return plain.parse().map_err(|e| wrong(&e));
    }
    let number = plain
        .bytes()
        .all(|b| b.is_ascii_digit() || b"eE+.".contains(&b));
    let value = plain.parse().ok().filter(|_| number);
    value
        .and_then(integral)
        .ok_or_else(|| wrong(&"no whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (text, expected) in [
            ("0", 0),
            ("100000", 100_000),
            ("100_000", 100_000),
            ("1_0", 10),
            ("1e5", 100_000),
            ("2.5E3", 2500),
            ("1e+2", 100),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(whole::<u64>(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "_1",
            "1_",
            "1__0",
            "1.5",
            "1.5e0",
            "-1",
            "1e-2",
            "1e30",
            "nan",
            "inf",
            "e5",
            "1e",
            "0x10",
            "1e5_",
            "18446744073709551616",
            "1,000",
        ] {
            assert!(whole::<u64>(text).is_err(), "{text}");
        }
        assert!(whole::<u32>("1e10").is_err());
        assert_eq!(counts(100)("1e2"), Ok(100));
        let wrong = counts(100)("101").err();
        assert_eq!(wrong.as_deref(), Some("101 is not in 1..=100"));
        assert!(counts(100)("0").is_err());
        assert_eq!(tolerance("1e-3"), Ok(1e-3));
        for text in ["nan", "inf", "-1", "much"] {
            assert!(tolerance(text).is_err(), "{text}");
        }
    }
}
