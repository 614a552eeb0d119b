//! The batch payload: bytes and Bitcoin fees per transaction, codecs compared, speed.
//!
//! `cargo bench -p bitsect-vm --bench payload`; `-- --sizes` leaves out codecs and speed.

mod traffic;

use std::hint::black_box;
use std::time::Instant;

use bitsect_vm::derive::payload::{Batch, Codec, HEADER_BYTES, PayloadHeader, decode, encode};
use traffic::{Amounts, Call, Traffic};

const TRANSACTIONS: usize = 10_000;
const MAX_BODY: u32 = 8 << 20;

/// Data pushes in an envelope: 520 bytes behind an opcode and a length of two bytes.
const PUSH_BYTES: f64 = 520.0;
const PUSH_OVERHEAD: f64 = 3.0;
/// Payload bytes in a reveal of 390,000 weight units.
const FRAME_BYTES: f64 = 386_000.0;
/// Weight of a reveal without its frame: version, one input, one output, lock time, signature, control
/// block, key and opcodes.
const REVEAL_WEIGHT: f64 = 4.0 * 94.0 + 2.0 + 1.0 + 65.0 + 34.0 + 45.0;
/// Weight of a commit: two key-path inputs, the baton, the tag, change.
const COMMIT_WEIGHT: f64 = 4.0 * 235.0 + 132.0;
/// Weight of a commit's output for one frame.
const COMMIT_OUTPUT_WEIGHT: f64 = 4.0 * 43.0;

/// The traffic that the targets are about: 10,000 transactions of 50 or 1,000 senders.
fn scenarios() -> Vec<(String, Traffic)> {
    let mut all = Vec::new();
    for call in [Call::Transfer, Call::Erc20] {
        for receivers in [None, Some(1_000)] {
            for senders in [50, 1_000] {
                let to = receivers.map_or("fresh".to_owned(), |count| count.to_string());
                let name = format!("{call:?} to {to}, {senders} senders");
                let amounts = Amounts::Mixed;
                all.push((
                    name,
                    Traffic {
                        transactions: TRANSACTIONS,
                        senders,
                        receivers,
                        call,
                        amounts,
                    },
                ));
            }
        }
    }
    let random = Traffic {
        transactions: TRANSACTIONS,
        senders: 1_000,
        receivers: None,
        call: Call::Erc20,
        amounts: Amounts::Random,
    };
    all.push(("Erc20 to fresh, random amounts".to_owned(), random));
    all
}

/// Virtual bytes on Bitcoin that a payload takes, with its commit and reveals.
fn virtual_bytes(payload: usize) -> f64 {
    let payload = payload as f64;
    let frames = (payload / FRAME_BYTES).ceil();
    let data = payload * (1.0 + PUSH_OVERHEAD / PUSH_BYTES);
    (data + frames * (REVEAL_WEIGHT + COMMIT_OUTPUT_WEIGHT) + COMMIT_WEIGHT) / 4.0
}

/// The body of a payload, decompressed.
fn body(payload: &[u8]) -> Vec<u8> {
    let header = PayloadHeader::decode(payload).unwrap();
    let mut stored = &payload[HEADER_BYTES..HEADER_BYTES + header.stored_bytes as usize];
    match header.codec {
        Codec::Stored => stored.to_vec(),
        Codec::Brotli => {
            let mut body = Vec::new();
            brotli::BrotliDecompress(&mut stored, &mut body).unwrap();
            body
        }
    }
}

fn brotli(mut body: &[u8], quality: i32) -> Vec<u8> {
    let params = brotli::enc::BrotliEncoderParams {
        quality,
        size_hint: body.len(),
        ..Default::default()
    };
    let mut out = Vec::new();
    brotli::BrotliCompress(&mut body, &mut out, &params).unwrap();
    out
}

fn print_sizes(batches: &[(String, Batch, Vec<u8>)]) {
    println!(
        "{:<34} {:>8} {:>8} {:>24}",
        "10,000 transactions", "bytes/tx", "vB/tx", "sat/tx at 1, 10, 50"
    );
    for (name, _, payload) in batches {
        let bytes = payload.len() as f64 / TRANSACTIONS as f64;
        let size = virtual_bytes(payload.len()) / TRANSACTIONS as f64;
        let [a, b, c] = [1.0, 10.0, 50.0].map(|rate| size * rate);
        println!("{name:<34} {bytes:>8.2} {size:>8.2} {a:>8.1}{b:>8.0}{c:>8.0}");
    }
}

fn print_codecs(batches: &[(String, Batch, Vec<u8>)]) {
    println!(
        "\n{:<34} {:>8} {:>10} {:>10}",
        "codec: body of", "bytes", "bytes/tx", "ms"
    );
    for (name, _, payload) in batches.iter().step_by(2) {
        let body = body(payload);
        println!("{name:<34} {:>8}", body.len());
        let line = |codec: &str, level: i32, compress: &dyn Fn(i32) -> Vec<u8>| {
            let start = Instant::now();
            let bytes = compress(level).len();
            let (per, ms) = (bytes as f64 / TRANSACTIONS as f64, start.elapsed().as_millis());
            println!(
                "{:<34} {bytes:>8} {per:>10.3} {ms:>10}",
                format!("  {codec} {level}")
            );
        };
        for level in [5, 9, 10, 11] {
            line("brotli", level, &|level| brotli(&body, level));
        }
        for level in [3, 9, 19, 22] {
            line("zstd", level, &|level| {
                zstd::bulk::compress(&body, level).unwrap()
            });
        }
    }
}

/// The fastest of a few runs, in transactions a second.
fn speed<T>(mut run: impl FnMut() -> T) -> f64 {
    const RUNS: usize = 5;
    let times = (0..RUNS).map(|_| {
        let start = Instant::now();
        black_box(run());
        start.elapsed().as_secs_f64()
    });
    TRANSACTIONS as f64 / times.fold(f64::INFINITY, f64::min)
}

fn print_speed(batches: &[(String, Batch, Vec<u8>)]) {
    println!("\n{:<34} {:>12} {:>12}", "speed, tx/s", "encode", "decode");
    for (name, batch, payload) in batches {
        let encoding = speed(|| encode(black_box(batch)));
        let decoding = speed(|| decode(black_box(payload), MAX_BODY));
        println!("{name:<34} {encoding:>12.0} {decoding:>12.0}");
    }
}

fn main() {
    let batches: Vec<_> = scenarios()
        .into_iter()
        .map(|(name, traffic)| {
            let batch = traffic.batch();
            let payload = encode(&batch).unwrap();
            assert_eq!(decode(&payload, MAX_BODY).as_ref(), Ok(&batch));
            (name, batch, payload)
        })
        .collect();
    print_sizes(&batches);
    if std::env::args().all(|argument| argument != "--sizes") {
        print_codecs(&batches);
        print_speed(&batches);
    }
}
