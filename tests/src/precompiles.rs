//! A call of every precompile that the chain has, with input that it takes.

use alloy_primitives::{Address, Bytes, U256, U512, hex};
use bitcoin::hashes::{Hash, sha256};
use k256::ecdsa::SigningKey;

/// BLAKE2's F: twelve rounds of the block "abc" (EIP-152).
const BLAKE2F_STATE: [u8; 68] = hex!(
    "0000000c48c9bdf267e6096a3ba7ca8485ae67bb2bf894fe72f36e3cf1361d5f3af54fa5"
    "d182e6ad7f520e511f6c3e2b8c68059b6bbd41fbabd9831f79217e1319cde05b"
);
/// BN254: the prime, and the second group's generator.
const BN254_PRIME: [u8; 32] = hex!("30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47");
const BN254_G2: [u8; 128] = hex!(
    "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2"
    "1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed"
    "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b"
    "12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa"
);
/// BLS12-381: the prime, and both groups' generators.
const BLS_PRIME: [u8; 48] =
    hex!("1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab");
const BLS_G1: [[u8; 48]; 2] = [
    hex!("17f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"),
    hex!("08b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1"),
];
const BLS_G2: [[u8; 48]; 4] = [
    hex!("024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"),
    hex!("13e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"),
    hex!("0ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801"),
    hex!("0606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be"),
];
/// Point evaluation (EIP-4844): z and y, commitment, proof.
const KZG_POINT: [u8; 64] = hex!(
    "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000000"
    "1522a4a7f34e1ea350ae07c29c96c7e79655aa926122e95fe69fcbd932ca49e9"
);
const KZG_COMMITMENT: [u8; 48] =
    hex!("8f59a8d2a1a625a17f3fea0fe5eb8c896db3764f3185481bc22f91b4aaffcca25f26936857bc3a7c2539ea8ec3a952b7");
const KZG_PROOF: [u8; 48] =
    hex!("a62ad71d14c5719385c0686f1871430475bf3a00f0aa3f7b8dd99a9abc2160744faf0070725e00b60ad9a026a15b1a8c");
/// A signature on P-256 (EIP-7951): hash, r, s, x, y.
const P256_SIGNATURE: [u8; 160] = hex!(
    "4cee90eb86eaa050036147a12d49004b6b9c72bd725d39d4785011fe190f0b4d"
    "a73bd4903f0ce3b639bbbf6e8e80d16931ff4bcf5993d58468e8fb19086e8cac"
    "36dbcd03009df8c59286b162af3bd7fcc0450c9aa81be5d10d312af6c66b1d60"
    "4aebd3099c618202fcfe16ae7770b0c49ab5eadf74b754204a3bb6060e44eff3"
    "7618b065f9832de4ca6ca971a7a1adc826d0f7c00181a5fb2ddf79ae00b4e10e"
);

/// Addresses and inputs. Every call succeeds with up to 250,000 gas, and gives some output.
///
/// # Panics
/// Never: the numbers are fixed.
pub fn every_precompile() -> Vec<(Address, Bytes)> {
    let generator = BLS_G1.map(padded).concat();
    let double_generator = [&generator[..], &generator].concat();
    let twist = BLS_G2.map(padded).concat();
    let calls: [(u16, Vec<u8>); 18] = [
        (0x01, signature()),
        (0x02, vec![1; 100]),
        (0x03, vec![2; 100]),
        (0x04, vec![3; 100]),
        (0x05, modular_power()),
        (0x06, [bn254_generator(), bn254_generator()].concat()),
        (0x07, [bn254_generator(), vec![0x77; 32]].concat()),
        (0x08, bn254_pairs()),
        (
            0x09,
            [&BLAKE2F_STATE[..], b"abc", &[0; 125], &[3], &[0; 15], &[1]].concat(),
        ),
        (0x0a, point_evaluation()),
        (0x0b, double_generator.clone()),
        (0x0c, [&generator[..], &[0x77; 32]].concat()),
        (0x0d, [&twist[..], &twist].concat()),
        (0x0e, [&twist[..], &[0x77; 32]].concat()),
        (0x0f, bls_pairs()),
        (0x10, generator[..64].to_vec()),
        (0x11, twist[..128].to_vec()),
        (0x100, P256_SIGNATURE.to_vec()),
    ];
    calls
        .into_iter()
        .map(|(number, input)| (Address::from_word(U256::from(number).into()), input.into()))
        .collect()
}

/// Hash, v, r and s.
fn signature() -> Vec<u8> {
    let key = SigningKey::from_slice(&[9; 32]).expect("a secret key");
    let (signature, parity) = key
        .sign_prehash_recoverable(&[5; 32])
        .expect("signing does not fail");
    let v = U256::from(27 + u8::from(parity.is_y_odd())).to_be_bytes::<32>();
    [&[5; 32][..], &v, &signature.to_bytes()].concat()
}

/// 3^65537 modulo an odd number of 256 bits.
fn modular_power() -> Vec<u8> {
    let length = |bytes: u8| U256::from(bytes).to_be_bytes::<32>();
    let numbers = [&[3, 1, 0, 1][..], &[0xf1; 32]].concat();
    [&length(1)[..], &length(3), &length(32), &numbers].concat()
}

fn bn254_generator() -> Vec<u8> {
    [U256::from(1), U256::from(2)]
        .map(|number| number.to_be_bytes::<32>())
        .concat()
}

/// A pairing and its inverse.
fn bn254_pairs() -> Vec<u8> {
    let negative = U256::from_be_bytes(BN254_PRIME) - U256::from(2);
    let (x, negative) = (U256::from(1).to_be_bytes::<32>(), negative.to_be_bytes::<32>());
    [&bn254_generator()[..], &BN254_G2, &x, &negative, &BN254_G2].concat()
}

/// A pairing and its inverse.
fn bls_pairs() -> Vec<u8> {
    let [x, y] = BLS_G1.map(padded);
    let negative = U512::from_be_bytes(padded(BLS_PRIME)) - U512::from_be_bytes(y);
    let twist = BLS_G2.map(padded).concat();
    [&x[..], &y, &twist, &x, &negative.to_be_bytes::<64>(), &twist].concat()
}

fn point_evaluation() -> Vec<u8> {
    let mut hash = sha256::Hash::hash(&KZG_COMMITMENT).to_byte_array();
    hash[0] = 1;
    [&hash[..], &KZG_POINT, &KZG_COMMITMENT, &KZG_PROOF].concat()
}

/// A number of BLS12-381's field as precompiles take it (EIP-2537).
fn padded(number: [u8; 48]) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[16..].copy_from_slice(&number);
    bytes
}
