//! What a function of the guest is for, by its path.

/// Paths by what they are for; the first that a function's path begins with counts.
const SUBJECTS: [(&str, &[&str]); 7] = [
    (
        "signature recovery",
        &[
            "bitsect_vm::crypto",
            "bitsect_guest::machine::recover",
            "k256",
            "subtle",
        ],
    ),
    ("keccak", &["bitsect_guest::keccak"]),
    ("state tree", &["bitsect_vm::state", "bitsect_vm::oracle"]),
    (
        "L1 blocks",
        &[
            "bitsect_guest::block",
            "bitsect_guest::merkle",
            "bitsect_guest::message",
            "bitsect_vm::derive::bitcoin",
            "bitsect_vm::derive::scan",
        ],
    ),
    (
        "decoding",
        &[
            "bitsect_vm::derive",
            "bitsect_vm::chain",
            "alloy_",
            "op_alloy_",
            "brotli_",
            "bytes",
        ],
    ),
    (
        "precompiles",
        &[
            "revm_precompile",
            "ark_",
            "num_bigint",
            "p256",
            "primeorder",
            "crypto_bigint",
            "aurora_",
            "sha2",
            "ripemd",
        ],
    ),
    (
        "interpreter",
        &["revm", "ruint", "bitsect_vm::execute", "hashbrown", "foldhash"],
    ),
];
/// What is of no subject: copies of memory, the heap, formatting, the entry.
const OTHER: &str = "other";

/// Gives the subject of a symbol, by the crate and module it is of: a trait's method is of the type's.
pub fn subject(symbol: &str) -> &'static str {
    let name = format!("{:#}", rustc_demangle::demangle(symbol));
    let path = path(&name);
    let found = SUBJECTS
        .iter()
        .find(|(_, prefixes)| prefixes.iter().any(|prefix| path.starts_with(prefix)));
    found.map_or(OTHER, |(subject, _)| subject)
}

/// A demangled name without what comes before its first path, as `<&mut [`.
fn path(name: &str) -> &str {
    let mut path = name;
    loop {
        let rest = path.trim_start_matches(['<', '&', '[', '(', '*']);
        let rest = rest.trim_start_matches("mut ").trim_start_matches("const ");
        if rest.len() == path.len() {
            return path;
        }
        path = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_of_its_type() {
        for (name, expected) in [
            (
                "<k256::arithmetic::field::FieldElement as core::ops::Mul>::mul",
                "k256",
            ),
            ("<&mut [bytes::bytes::Bytes] as core::fmt::Debug>::fmt", "bytes"),
            ("bitsect_vm::state::update::walk", "bitsect_vm::state"),
            ("memcpy", "memcpy"),
        ] {
            assert!(path(name).starts_with(expected), "{name}");
        }
    }

    #[test]
    fn the_first_prefix_counts() {
        assert_eq!(subject("bitsect_vm::derive::bitcoin::block::decode"), "L1 blocks");
        assert_eq!(subject("bitsect_vm::derive::payload::decode"), "decoding");
        assert_eq!(subject("revm_precompile::bn254::pair"), "precompiles");
        assert_eq!(subject("revm_interpreter::gas::Gas::new"), "interpreter");
        assert_eq!(subject("_RNvNtCs2KiPgqInbIA_13bitsect_guest7machine4main"), OTHER);
    }
}
