//! What costs gas by a formula, and might take more steps for it than anything else: every precompile, with the
//! inputs that are dear, and the EVM's own arithmetic.

use alloy_primitives::hex;
use k256::ecdsa::SigningKey;

use super::code::{CALL_GAS, Loop};

/// One thing to measure.
pub struct Case {
    pub name: String,
    pub work: Loop,
    /// Gas of a round beside the loop's own.
    pub gas: u64,
    /// Rounds of a block that is compared with one of twice as many.
    pub rounds: u16,
}

impl Case {
    fn call(name: impl Into<String>, precompile: u16, gas: u64, input: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            work: Loop::call(precompile, input),
            gas: gas + CALL_GAS,
            // More gas than the input costs at least (EIP-7623), so that every round shows in what is used.
            rounds: u16::try_from(1_000_000 / (gas + CALL_GAS)).unwrap().clamp(1, 500),
        }
    }
}

/// `data[i % len]` for all `i` below `len`, which no table of zeros makes cheaper.
fn filler(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 167 + 13) as u8 | 1).collect()
}

fn padded(field: &str) -> Vec<u8> {
    [vec![0; 16], hex::decode(field).unwrap()].concat()
}

/// The generator of BLS12-381's first group.
fn bls_g1() -> Vec<u8> {
    [
        "17f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb",
        "08b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1",
    ]
    .map(padded)
    .concat()
}

/// The generator of its second group.
fn bls_g2() -> Vec<u8> {
    [
        "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8",
        "13e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e",
        "0ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801",
        "0606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be",
    ]
    .map(padded)
    .concat()
}

/// The generator of BN254's first group.
fn bn_g1() -> Vec<u8> {
    let mut point = vec![0; 64];
    (point[31], point[63]) = (1, 2);
    point
}

/// The generator of its second group, imaginary parts first.
fn bn_g2() -> Vec<u8> {
    hex::decode(concat!(
        "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2",
        "1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed",
        "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b",
        "12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa",
    ))
    .unwrap()
}

/// The hash, and a signature of it, as `ecrecover` takes it.
fn recovery() -> Vec<u8> {
    let key = SigningKey::from_slice(&[9; 32]).unwrap();
    let (signature, parity) = key.sign_prehash_recoverable(&[5; 32]).unwrap();
    let (r, s) = signature.split_bytes();
    let mut v = [0; 32];
    v[31] = 27 + u8::from(parity.is_y_odd());
    [[5; 32], v, r.into(), s.into()].concat()
}

/// EIP-7883.
fn modexp(size: usize, exponent: &[u8]) -> Case {
    let bits = exponent.len() as u64 * 8 - u64::from(exponent[0].leading_zeros());
    let words = size.div_ceil(8) as u64;
    let complexity = if size <= 32 { 16 } else { 2 * words * words };
    let gas = (complexity * (bits - 1).max(1)).max(500);
    let mut input = Vec::new();
    for len in [size, exponent.len(), size] {
        input.extend([0; 24]);
        input.extend((len as u64).to_be_bytes());
    }
    input.extend(filler(size));
    input.extend(exponent);
    let mut modulus = filler(size);
    modulus[0] = 0xff;
    // An even number is slightly dearer than an odd one.
    modulus[size - 1] = 0xf0;
    input.extend(modulus);
    let name = format!("modexp, {size} bytes, {bits} bits of exponent");
    Case::call(name, 5, gas, input)
}

/// EIP-4844's example of a proof, and one call's gas.
fn point_evaluation() -> Case {
    let input = hex::decode(concat!(
        "01e798154708fe7789429634053cbf9f99b619f9f084048927333fce637f549b",
        "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000000",
        "1522a4a7f34e1ea350ae07c29c96c7e79655aa926122e95fe69fcbd932ca49e9",
        "8f59a8d2a1a625a17f3fea0fe5eb8c896db3764f3185481bc22f91b4aaffcca25f26936857bc3a7c2539ea8ec3a952b7",
        "a62ad71d14c5719385c0686f1871430475bf3a00f0aa3f7b8dd99a9abc2160744faf0070725e00b60ad9a026a15b1a8c",
    ));
    Case::call("point evaluation", 10, 50_000, input.unwrap())
}

/// The last call of blake2f with so many rounds, on a state of nothing in particular.
fn blake2f(rounds: u32) -> Case {
    let mut input = rounds.to_be_bytes().to_vec();
    input.extend(filler(64 + 128 + 16));
    input.push(1);
    let name = format!("blake2f, {rounds} rounds");
    Case::call(name, 9, rounds.into(), input)
}

fn p256_verify() -> Case {
    // Any signature: what is refused at the end has been computed. The generator is a public key, too.
    let mut input = [[5_u8; 32], [6; 32], [7; 32]].concat();
    input.extend(
        hex::decode(concat!(
            "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
            "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
        ))
        .unwrap(),
    );
    Case::call("p256verify", 0x100, 6_900, input)
}

fn hashes() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in [64_usize, 1_024, 32_768] {
        let words = size as u64 / 32;
        let mut add = |name: &str, precompile, base, word| {
            cases.push(Case::call(
                format!("{name} of {size} bytes"),
                precompile,
                base + word * words,
                filler(size),
            ));
        };
        add("sha256", 2, 60, 12);
        add("ripemd160", 3, 600, 120);
        add("identity", 4, 15, 3);
    }
    cases
}

fn bn254() -> Vec<Case> {
    let double = [bn_g1(), bn_g1()].concat();
    let scalar = [bn_g1(), filler(32)].concat();
    let mut cases = vec![
        Case::call("BN254 addition", 6, 150, double),
        Case::call("BN254 multiplication", 7, 6_000, scalar),
    ];
    for pairs in [1_usize, 2, 8] {
        let input = [bn_g1(), bn_g2()].concat().repeat(pairs);
        let gas = 45_000 + 34_000 * pairs as u64;
        cases.push(Case::call(format!("BN254 pairing of {pairs}"), 8, gas, input));
    }
    cases
}

/// EIP-2537; the discounts are those of 128 terms.
fn bls12_381() -> Vec<Case> {
    let mut cases = vec![
        Case::call("BLS12-381 G1 addition", 0x0b, 375, bls_g1().repeat(2)),
        Case::call("BLS12-381 G2 addition", 0x0d, 600, bls_g2().repeat(2)),
        Case::call("BLS12-381 map to G1", 0x10, 5_500, padded(&"07".repeat(48))),
        Case::call(
            "BLS12-381 map to G2",
            0x11,
            23_800,
            padded(&"07".repeat(48)).repeat(2),
        ),
    ];
    for (terms, discounts) in [(1_usize, [1_000, 1_000]), (128, [519, 524])] {
        let mut add = |group: u8, precompile, gas: u64, discount: u64, point: Vec<u8>| {
            let scalar = |i: usize| filler(32 + i).split_off(i);
            let input = (0..terms).flat_map(|i| [point.clone(), scalar(i)].concat());
            cases.push(Case::call(
                format!("BLS12-381 G{group} sum of {terms} products"),
                precompile,
                terms as u64 * gas * discount / 1_000,
                input.collect(),
            ));
        };
        add(1, 0x0c, 12_000, discounts[0], bls_g1());
        add(2, 0x0e, 22_500, discounts[1], bls_g2());
    }
    for pairs in [1_usize, 2, 8] {
        let input = [bls_g1(), bls_g2()].concat().repeat(pairs);
        let gas = 37_700 + 32_600 * pairs as u64;
        cases.push(Case::call(
            format!("BLS12-381 pairing of {pairs}"),
            0x0f,
            gas,
            input,
        ));
    }
    cases
}

/// Every precompile.
pub fn precompiles() -> Vec<Case> {
    let mut cases = vec![Case::call("ecrecover", 1, 3_000, recovery())];
    cases.extend(hashes());
    // The gas goes with the number of multiplications: what comes before and after them counts where they are few.
    cases.extend([8, 32, 128, 256, 1_024].map(|size| modexp(size, &[3])));
    cases.extend([8, 32, 256].map(|size| modexp(size, &[0xff; 32])));
    cases.extend(bn254());
    cases.extend([12, 100_000].map(blake2f));
    cases.push(point_evaluation());
    cases.extend(bls12_381());
    cases.push(p256_verify());
    cases
}

/// Arithmetic of the EVM, on operands that are copied before and a result that is dropped.
pub fn opcodes() -> Vec<Case> {
    const TIMES: usize = 50;
    let mut setup = Vec::new();
    for first in [0xf1, 0x93, 0xe7] {
        setup.push(0x7f);
        setup.extend(filler(32));
        let at = setup.len() - 32;
        setup[at] = first;
    }
    // The first operand lies deepest; its gas is that of the operation.
    let case = |name: &str, opcode: u8, operands: usize, gas: u64| {
        // The counter is on top; each copy moves what is below it down by one.
        let copies = [0x81, 0x83, 0x85];
        let body = [&copies[..operands], &[opcode, 0x50]].concat();
        Case {
            name: name.to_owned(),
            work: Loop {
                memory: Vec::new(),
                setup: setup.clone(),
                body: body.repeat(TIMES),
            },
            gas: (operands as u64 * 3 + gas + 2) * TIMES as u64,
            rounds: 20,
        }
    };
    let mut cases = vec![
        case("DIV", 0x04, 2, 5),
        case("SMOD", 0x07, 2, 5),
        case("MUL", 0x02, 2, 5),
        case("ADDMOD", 0x08, 3, 8),
        case("MULMOD", 0x09, 3, 8),
        case("EXP of 32 bytes", 0x0a, 2, 10 + 50 * 32),
    ];
    for size in [0_u16, 136, 8_160] {
        let [high, low] = size.to_be_bytes();
        let words = u64::from(size).div_ceil(32);
        cases.push(Case {
            name: format!("KECCAK256 of {size} bytes"),
            work: Loop {
                memory: filler(size.into()),
                setup: Vec::new(),
                body: vec![0x61, high, low, 0x5f, 0x20, 0x50],
            },
            gas: 30 + 6 * words + 3 + 2 + 2,
            rounds: 200,
        });
    }
    cases
}
