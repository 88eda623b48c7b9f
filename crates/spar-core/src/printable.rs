//! Foreign text on a terminal.
//!
//! Names, metadata and messages of files that others wrote may hold escape sequences,
//! line ends, or marks that reverse the direction of text: printed as they are, they
//! move the cursor, forge lines or show other words than there are. Whatever comes from
//! outside passes through [`printable`] before it is shown.

use std::{borrow::Cow, fmt::Write};

/// `text` with every character that a terminal acts on, or that shows nothing and
/// changes what is shown, written as its escape, as in `\u{1b}`: control characters
/// (line ends and tabs among them), separators of lines and paragraphs, marks of the
/// direction of writing, and the invisible ones of Unicode's category Cf.
///
/// Borrowed where there is none.
///
/// ```
/// use spar_core::printable;
/// assert_eq!(printable("plain"), "plain");
/// assert_eq!(printable("\u{1b}[2Jgone\n"), r"\u{1b}[2Jgone\n");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_active, |out, c| {
        let _ = write!(out, "{}", c.escape_debug());
    })
}

/// [`printable`] for text of several lines that is our own but for what stands in it:
/// line ends stay.
///
/// ```
/// assert_eq!(spar_core::printable_lines("a\u{7}\nb"), "a\\u{7}\nb");
/// ```
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |c| c != '\n' && is_active(c),
        |out, c| {
            let _ = write!(out, "{}", c.escape_debug());
        },
    )
}

/// JSON whose strings hold no character that a terminal acts on, and mean the same:
/// the escapes are JSON's. JSON itself only demands it of those below U+0020.
///
/// ```
/// assert_eq!(spar_core::printable_json("\"\u{9b}2J\""), r#""\u009b2J""#);
/// ```
pub fn printable_json(json: &str) -> Cow<'_, str> {
    escaped(
        json,
        |c| !c.is_ascii_whitespace() && is_active(c),
        |out, c| {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        },
    )
}

/// `text` with what `put` writes for each character that is to `go`.
fn escaped(text: &str, go: impl Fn(char) -> bool, put: impl Fn(&mut String, char)) -> Cow<'_, str> {
    let Some(first) = text.find(&go) else {
        return text.into();
    };
    let mut out = String::with_capacity(text.len() + 8);
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        if go(c) {
            put(&mut out, c);
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// Whether `c` is of Unicode's categories Cc, Zl, Zp or Cf (version 16; the joiners that
/// emoji and Indic scripts are written with are of it too).
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

/// `word` as a POSIX shell reads it back: as it is where that is safe, else in single quotes.
pub fn shell_word(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_shown_and_not_done() {
        for (foreign, shown) in [
            ("\u{1b}]0;title\u{7}", r"\u{1b}]0;title\u{7}"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("one\r\ntwo\tthree", r"one\r\ntwo\tthree"),
            ("txt.\u{202e}5fdh", r"txt.\u{202e}5fdh"),
            ("a\u{200b}b\u{7f}\0", r"a\u{200b}b\u{7f}\0"),
            ("\u{e0041}", r"\u{e0041}"),
        ] {
            assert_eq!(printable(foreign), shown);
            assert!(!printable(foreign).chars().any(is_active));
        }
        // Letters of any script stay, and nothing is copied.
        for plain in [
            "hopper-medium-v2",
            "größe ± 1 µm – 数据",
            "back\\slash \"quoted\"",
        ] {
            assert!(matches!(printable(plain), Cow::Borrowed(same) if same == plain));
        }
    }

    #[test]
    fn json_says_the_same_without_them() {
        let foreign = "a\u{9b}b\u{202e}\u{7f}\u{e0041}\n\u{1b}";
        let json = serde_json::to_string(&[foreign]).unwrap();
        let shown = printable_json(&json);
        assert!(!shown.chars().any(is_active), "{shown}");
        let back: [String; 1] = serde_json::from_str(&shown).unwrap();
        assert_eq!(back, [foreign]);
    }

    #[cfg(unix)]
    #[test]
    fn words_survive_a_shell() {
        for word in ["a b", "", "it's", "$HOME", "plain-1.hdf5", "*", "\\"] {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", shell_word(word))])
                .output();
            assert_eq!(output.map(|o| o.stdout).ok(), Some(word.into()));
        }
    }
}
