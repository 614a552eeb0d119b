//! The work: hashing, sorting, multiplication of 256-bit numbers, in about equal parts. Nothing is allocated.

/// Rounds of work: about 10^9 instructions of rv32im.
pub const ROUNDS: u32 = 5_000;

/// Runs `rounds` rounds, and gives a digest of all results.
pub fn work(rounds: u32) -> u32 {
    let mut digest = 0x9e37_79b9_u32;
    let mut keccak = [0_u64; 25];
    let mut sha = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 1, 2, 3, 4];
    let mut number = [3_u32; 8];
    let mut table = [0_u32; 512];
    for round in 0..rounds {
        keccak[0] ^= u64::from(digest) << 7 | u64::from(round);
        keccak_f(&mut keccak);
        let mut block = [0_u32; 16];
        for (word, lane) in block.iter_mut().zip(&keccak) {
            *word = (*lane >> 9) as u32;
        }
        for _ in 0..4 {
            compress(&mut sha, &block);
        }
        for (word, digit) in number.iter_mut().zip(&sha) {
            *word ^= *digit;
        }
        for _ in 0..64 {
            number = multiply(&number, &number);
        }
        for entry in &mut table {
            digest = digest.wrapping_mul(1_664_525).wrapping_add(number[0] | 1);
            *entry = digest;
        }
        sort(&mut table);
        digest ^= table[17] ^ table[500];
    }
    digest
}

const KECCAK: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// Keccak-f[1600] (FIPS 202, 3.3).
fn keccak_f(state: &mut [u64; 25]) {
    for constant in KECCAK {
        let mut parity = [0; 5];
        for x in 0..5 {
            parity[x] = state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20];
        }
        for x in 0..5 {
            let mix = parity[(x + 4) % 5] ^ parity[(x + 1) % 5].rotate_left(1);
            for y in 0..5 {
                state[x + 5 * y] ^= mix;
            }
        }
        let (mut x, mut y, mut lane) = (1, 0, state[1]);
        for t in 0..24 {
            (x, y) = (y, (2 * x + 3 * y) % 5);
            let next = state[x + 5 * y];
            state[x + 5 * y] = lane.rotate_left((t + 1) * (t + 2) / 2 % 64);
            lane = next;
        }
        for y in 0..5 {
            let row: [u64; 5] = core::array::from_fn(|x| state[x + 5 * y]);
            for x in 0..5 {
                state[x + 5 * y] = row[x] ^ (!row[(x + 1) % 5] & row[(x + 2) % 5]);
            }
        }
        state[0] ^= constant;
    }
}

/// A compression of SHA-256's shape, with a round constant that needs no table.
fn compress(state: &mut [u32; 8], block: &[u32; 16]) {
    let mut words = [0_u32; 64];
    words[..16].copy_from_slice(block);
    for t in 16..64 {
        let (a, b) = (words[t - 15], words[t - 2]);
        let low = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
        let high = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
        words[t] = words[t - 16]
            .wrapping_add(low)
            .wrapping_add(words[t - 7])
            .wrapping_add(high);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (t, word) in words.iter().enumerate() {
        let mix = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & f) ^ (!e & g);
        let constant = (t as u32).wrapping_mul(0x428a_2f98);
        let first = h
            .wrapping_add(mix)
            .wrapping_add(choice)
            .wrapping_add(constant)
            .wrapping_add(*word);
        let spread = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let second = spread.wrapping_add((a & b) ^ (a & c) ^ (b & c));
        (h, g, f, e) = (g, f, e, d.wrapping_add(first));
        (d, c, b, a) = (c, b, a, first.wrapping_add(second));
    }
    for (to, value) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *to = to.wrapping_add(value);
    }
}

/// The product of two numbers of 256 bits, with its halves added.
fn multiply(a: &[u32; 8], b: &[u32; 8]) -> [u32; 8] {
    let mut product = [0_u32; 16];
    for (i, x) in a.iter().enumerate() {
        let mut carry = 0_u64;
        for (j, y) in b.iter().enumerate() {
            carry += u64::from(*x) * u64::from(*y) + u64::from(product[i + j]);
            product[i + j] = carry as u32;
            carry >>= 32;
        }
        product[i + 8] = carry as u32;
    }
    core::array::from_fn(|i| product[i].wrapping_add(product[i + 8]))
}

/// Heap sort: loads, stores and branches that nobody predicts.
fn sort(table: &mut [u32]) {
    let mut end = table.len();
    let mut start = end / 2;
    while end > 1 {
        if start > 0 {
            start -= 1;
        } else {
            end -= 1;
            table.swap(0, end);
        }
        let mut root = start;
        while 2 * root + 1 < end {
            let mut child = 2 * root + 1;
            if child + 1 < end && table[child] < table[child + 1] {
                child += 1;
            }
            if table[root] >= table[child] {
                break;
            }
            table.swap(root, child);
            root = child;
        }
    }
}
