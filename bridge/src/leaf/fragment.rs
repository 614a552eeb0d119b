//! Pieces of Script that leaves share: locks, signatures, lock times.

use bitcoin::hashes::Hash;
use bitcoin::opcodes::all::*;
use bitcoin::script::Builder;
use bitcoin::{ScriptBuf, Sequence, XOnlyPublicKey};

use crate::secret::Lock;

/// Only this key's owner spends, at any time. Witness: its signature.
pub fn key_script(key: XOnlyPublicKey) -> ScriptBuf {
    Builder::new()
        .push_x_only_key(&key)
        .push_opcode(OP_CHECKSIG)
        .into_script()
}

/// This key's owner spends once the output is old enough (BIP-0112). Witness: its signature.
pub fn timeout_script(after: Sequence, key: XOnlyPublicKey) -> ScriptBuf {
    Builder::new()
        .push_sequence(after)
        .push_opcode(OP_CSV)
        .push_opcode(OP_DROP)
        .push_x_only_key(&key)
        .push_opcode(OP_CHECKSIG)
        .into_script()
}

/// Takes a secret that opens one of these locks.
pub fn open_one(mut script: Builder, locks: &[Lock]) -> Builder {
    script = script.push_opcode(OP_HASH160);
    let Some((last, others)) = locks.split_last() else {
        unreachable!("a choice has an option");
    };
    if others.is_empty() {
        return script
            .push_slice(last.as_byte_array())
            .push_opcode(OP_EQUALVERIFY);
    }
    // Behind each: whether one was met, and above it the hash.
    for (number, lock) in others.iter().enumerate() {
        script = script
            .push_opcode(OP_DUP)
            .push_slice(lock.as_byte_array())
            .push_opcode(OP_EQUAL);
        if number > 0 {
            script = script.push_opcode(OP_ROT).push_opcode(OP_BOOLOR);
        }
        script = script.push_opcode(OP_SWAP);
    }
    script
        .push_slice(last.as_byte_array())
        .push_opcode(OP_EQUAL)
        .push_opcode(OP_BOOLOR)
        .push_opcode(OP_VERIFY)
}

/// Takes the prover's secret from the top and the challenger's below it, that open locks of one and the same option.
pub fn open_both(mut script: Builder, pairs: &[(Lock, Lock)]) -> Builder {
    script = script
        .push_opcode(OP_HASH160)
        .push_opcode(OP_SWAP)
        .push_opcode(OP_HASH160);
    if let [(prover, challenger)] = pairs {
        return script
            .push_slice(challenger.as_byte_array())
            .push_opcode(OP_EQUALVERIFY)
            .push_slice(prover.as_byte_array())
            .push_opcode(OP_EQUALVERIFY);
    }
    // Behind each: whether one was met, then the prover's hash and above it the challenger's.
    for (number, (prover, challenger)) in pairs.iter().enumerate() {
        script = script
            .push_opcode(OP_2DUP)
            .push_slice(challenger.as_byte_array())
            .push_opcode(OP_EQUAL)
            .push_opcode(OP_SWAP)
            .push_slice(prover.as_byte_array())
            .push_opcode(OP_EQUAL)
            .push_opcode(OP_BOOLAND);
        if number > 0 {
            script = script.push_int(3).push_opcode(OP_ROLL).push_opcode(OP_BOOLOR);
        }
        script = script.push_opcode(OP_ROT).push_opcode(OP_ROT);
    }
    script.push_opcode(OP_2DROP).push_opcode(OP_VERIFY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use bitsect_judge::script::{Rules, run};

    fn secret(number: u8) -> Secret {
        Secret([number; 20])
    }

    fn takes(script: Builder, witness: &[Secret]) -> bool {
        let script = script.push_int(1).into_script();
        let witness: Vec<Vec<u8>> = witness.iter().map(|secret| secret.0.to_vec()).collect();
        run(&script, &witness, Rules::Standard, |_, _| {}).is_ok()
    }

    #[test]
    fn one_of_the_locks_opens() {
        for count in 1..6_u8 {
            let locks: Vec<Lock> = (0..count).map(|number| secret(number).lock()).collect();
            for number in 0..7 {
                let opens = takes(open_one(Builder::new(), &locks), &[secret(number)]);
                assert_eq!(opens, number < count, "{number} of {count}");
            }
        }
    }

    #[test]
    fn both_open_the_same_option() {
        for count in 1..6_u8 {
            let pairs = (0..count).map(|option| (secret(option).lock(), secret(100 + option).lock()));
            let pairs: Vec<(Lock, Lock)> = pairs.collect();
            for prover in 0..7 {
                for challenger in 0..7 {
                    let witness = [secret(100 + challenger), secret(prover)];
                    let opens = takes(open_both(Builder::new(), &pairs), &witness);
                    assert_eq!(opens, prover == challenger && prover < count);
                }
            }
        }
    }
}
