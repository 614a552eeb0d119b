//! Messages of the feed of fresh blocks: what decodes has one encoding, and only the sequencer's own is opened.
//!
//! The decoder is bitsect-node's source file: depending on the node would double the crates of this build.
//!
//! - 0: a message as it is,
//! - 1: a block that is signed, then with a byte, then with items of its encoding changed.
#![no_main]

use std::sync::LazyLock;

use bitcoin::key::{Keypair, Secp256k1};
use bitsect_vm::chain::{Header, Transaction};
use bitsect_vm_fuzz::chain::{CHAIN_ID, genesis, params, transaction};
use bitsect_vm_fuzz::rlp::Edits;
use bitsect_vm_fuzz::typed;
use engine::FreshBlock;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use message::{Message, MessageError};

#[path = "../../../node/src/feed/message.rs"]
#[allow(dead_code, reason = "the node uses the rest")]
mod message;

/// What the decoder takes from the node.
mod engine {
    use super::{Header, Transaction};

    /// As in `bitsect_node::engine`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct FreshBlock {
        pub header: Header,
        pub sequenced: Vec<Transaction>,
    }
}

mod run {
    /// As in `bitsect_node::run`.
    pub(crate) const MAX_BLOCK_BYTES: usize = 2_000_000;
}

/// Where the RLP begins: after version and signature.
const BODY: usize = 65;

static KEY: LazyLock<Keypair> =
    LazyLock::new(|| Keypair::from_seckey_slice(&Secp256k1::new(), &[7; 32]).expect("a secret key"));

/// A block, and what becomes of its message.
#[derive(Arbitrary, Debug)]
struct Input {
    number: u64,
    chain_id: u64,
    kinds: Vec<(u8, u64)>,
    edits: Edits,
    damage: Option<(u16, u8)>,
}

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((0, bytes)) => drop(check(bytes)),
        Some((_, rest)) => {
            if let Some(input) = typed::<Input>(rest) {
                run(input);
            }
        }
        None => {}
    }
});

fn check(bytes: &[u8]) -> Option<Message> {
    let message = Message::decode(bytes).ok();
    if let Some(message) = &message {
        assert_eq!(message.encode(), bytes, "a message has one encoding");
    }
    message
}

fn run(input: Input) {
    let key = KEY.x_only_public_key().0;
    let mut header = genesis(&params()).tip.header;
    header.number = input.number;
    let one = |(kind, gas): &(u8, u64)| transaction(*kind, CHAIN_ID, *gas);
    let sequenced = input.kinds.iter().take(8).map(one).collect();
    let block = FreshBlock { header, sequenced };
    let signed = Message::sign(input.chain_id, block.clone(), &KEY);
    let mut bytes = signed.encode();
    assert_eq!(check(&bytes), Some(signed));
    assert_eq!(Message::open(&bytes, input.chain_id, &key), Ok(block));
    let other = Message::open(&bytes, input.chain_id ^ 1, &key);
    assert!(matches!(other, Err(MessageError::Chain { .. })));
    if let Some((at, flip)) = input.damage.filter(|(_, flip)| *flip != 0) {
        let at = usize::from(at) % bytes.len();
        bytes[at] ^= flip;
        check(&bytes);
        assert!(
            Message::open(&bytes, input.chain_id, &key).is_err(),
            "what is signed cannot be changed"
        );
        bytes[at] ^= flip;
    }
    let body = bytes.split_off(BODY);
    let edited = input.edits.apply(&body);
    bytes.extend(&edited);
    check(&bytes);
    assert_eq!(
        Message::open(&bytes, input.chain_id, &key).is_ok(),
        edited == body
    );
}
