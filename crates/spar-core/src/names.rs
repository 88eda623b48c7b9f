//! Names that become folders, columns and words of a command line: which may be given,
//! and which are taken by the methods there are.

/// The name of a method on command lines and in files, and the literature's.
pub type MethodName = (&'static str, &'static str);

macro_rules! methods {
    ($($constant:ident = $name:literal, $title:literal;)*) => {
        /// Every method. `spar-train` and `spar-baselines`, which define them, take their names
        /// from here; what only reads them, as a suite or a report, asks nobody else.
        pub const METHODS: [MethodName; [$($name),*].len()] = [$(($name, $title)),*];

        $(
            #[doc = $title]
            pub const $constant: MethodName = ($name, $title);
        )*
    };
}

methods! {
    SPAR = "spar", "SPAR";
    BC = "bc", "BC";
    BC10 = "bc10", "10%BC";
    TD3BC = "td3bc", "TD3+BC";
    REBRAC = "rebrac", "ReBRAC";
    IQL = "iql", "IQL";
    AWAC = "awac", "AWAC";
    CQL = "cql", "CQL";
    BRAC_P = "brac-p", "BRAC-p";
    BRAC_V = "brac-v", "BRAC-v";
    BCQ = "bcq", "BCQ";
    PLAS = "plas", "PLAS";
    PLAS_P = "plas-p", "PLAS+P";
    AWR = "awr", "AWR";
    INAC = "inac", "InAC";
    RPL = "rpl", "RPL";
    SAC_N = "sac-n", "SAC-N";
    EDAC = "edac", "EDAC";
    LAPO = "lapo", "LAPO";
    HUBL_TD3BC = "hubl-td3bc", "HUBL TD3+BC";
    HUBL_IQL = "hubl-iql", "HUBL IQL";
    BC_DIFFUSION = "bc-diffusion", "BC-Diffusion";
    DIFFUSION_QL = "diffusion-ql", "Diffusion-QL";
    IDQL = "idql", "IDQL";
    SRPO = "srpo", "SRPO";
    BC_FLOW = "bc-flow", "BC (flow)";
    FQL = "fql", "FQL";
    IFQL = "ifql", "IFQL";
    FAC = "fac", "FAC";
}

/// Words that mean something else where a name may stand: every method, and no suite.
const RESERVED: [&str; 2] = ["all", "none"];

/// Longest name: a part of a file's name has at most 255 bytes, and others are put
/// beside it.
const LONGEST: usize = 64;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{got}` {why}; expected a name of at most {LONGEST} letters (a-z, A-Z), digits, `.`, `_` and `-`, of which `.` and `-` are not the first", got = got.escape_debug())]
pub struct NotAName {
    /// What was to be named, as in `variant`.
    pub what: &'static str,
    /// The text.
    pub got: String,
    /// What is wrong with it.
    pub why: String,
}

/// Whether `name` may name `what`: it becomes a folder's name, a column's and an argument.
///
/// # Errors
/// If it is empty, too long, begins with a dot or a dash, means something else, or holds
/// anything but ASCII letters, digits, `.`, `_` and `-`.
pub fn check(what: &'static str, name: &str) -> Result<(), NotAName> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let why = match name.chars().find(|&c| !fits(c)) {
        Some(other) => format!("holds `{}`", other.escape_debug()),
        None if name.is_empty() => "is empty".to_owned(),
        None if name.len() > LONGEST => format!("has {} characters", name.len()),
        None if name.starts_with(['.', '-']) => format!("begins with `{}`", &name[..1]),
        None if RESERVED.contains(&name) => "means something else".to_owned(),
        None => return Ok(()),
    };
    Err(NotAName {
        what,
        got: name.to_owned(),
        why,
    })
}

/// Whether there is a method called `name`.
pub fn is_method(name: &str) -> bool {
    METHODS.iter().any(|(known, _)| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_folder_or_break_a_line() {
        for name in [
            "mujoco",
            "fit-0_5",
            "v1.2",
            "K.2-x",
            "_own",
            &"n".repeat(LONGEST),
        ] {
            assert_eq!(check("suite", name), Ok(()), "{name}");
        }
        let long = "n".repeat(LONGEST + 1);
        for name in [
            "",
            ".",
            "..",
            ".hidden",
            "../up",
            "a/b",
            "a\\b",
            "/root",
            "-x",
            "--help",
            "a b",
            "a\nb",
            "a\0",
            "a\u{1b}[31m",
            "é",
            "a|b",
            "<b>",
            "a,b",
            "all",
            "none",
            &long,
        ] {
            let error = check("variant", name).map_err(|e| e.to_string());
            let Err(error) = error else {
                panic!("{name:?} passes for a name");
            };
            assert!(error.starts_with("variant `"), "{error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
    }
}
