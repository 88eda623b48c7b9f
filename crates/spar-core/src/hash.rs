//! SHA-256 of what is in memory: of names that seed streams, of what a file says of itself.
//!
//! By a library without dependencies, so that whoever only acts by a policy compiles
//! little; files, which may be gigabytes, are hashed by the processor's own instructions
//! (`files`).

use hmac_sha256::Hash;

/// SHA-256 of the concatenation of `parts`.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Hash::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize()
}

/// SHA-256 of "spar", the little-endian bytes of `values` and `name`.
pub(crate) fn sha256_of_values(values: &[f32], name: &str) -> [u8; 32] {
    let mut hash = Hash::new();
    hash.update(b"spar");
    for value in values {
        hash.update(value.to_le_bytes());
    }
    hash.update(name.as_bytes());
    hash.finalize()
}

/// SHA-256 of `bytes` in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&sha256(&[bytes]))
}

/// `bytes` in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_fips_180() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), abc);
        assert_eq!(sha256(&[b"a", b"", b"bc"]), sha256(&[b"abc"]));
    }
}
