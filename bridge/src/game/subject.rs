//! What is read and written where a subject is opened: places, contents, and what becomes of them.

use alloy_primitives::B256;
use bitsect_judge::leaf::Value;
use bitsect_judge::path::Field;
use bitsect_judge::step::StepClaim;
use bitsect_judge::step::gate::Access;
use bitsect_machine::address::{A0, A1, A7, CONTROL, KEY, MAX_CALL_LEVEL, REGISTERS};
use bitsect_vm::chain::hash_pair;
use bitsect_vm::state::hash_node;

use super::position::{Position, Published};
use super::stage::{Item, Part, Stage, Subject};
use super::truth::Place;

/// The status of a machine that halted.
const HALTED: u8 = 1;

/// What lies at a place, as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A leaf.
    Leaf([u8; 64]),
    /// The key leaf.
    Key([u8; 64]),
    /// A node.
    Node(B256),
    /// The key leaf, and what compresses to the key.
    Preimage {
        /// The key leaf.
        key: [u8; 64],
        /// The chaining value.
        chaining: B256,
        /// The block.
        block: [u8; 64],
    },
}

impl Content {
    /// Reads what was published.
    pub fn published(position: &Position, part: Part) -> Option<Self> {
        let bytes = |value| position.value(Stage::Content(part), value);
        let leaf = |value| -> Option<[u8; 64]> { bytes(value)?.try_into().ok() };
        let hash = |value| bytes(value).and_then(|bytes| B256::try_from(bytes).ok());
        let subject = match part {
            Part::Link => return leaf(Value::Leaf).map(Self::Leaf),
            Part::Step => position.subject()?,
        };
        Some(match subject {
            Subject::NodeFromHash => Self::Key(leaf(Value::Key)?),
            Subject::HashOfNode => Self::Node(hash(Value::Node)?),
            Subject::Preimage => Self::Preimage {
                key: leaf(Value::Key)?,
                chaining: hash(Value::Chaining)?,
                block: leaf(Value::Block)?,
            },
            _ => Self::Leaf(leaf(Value::Leaf)?),
        })
    }

    /// Gives the items as they are published.
    pub fn items(&self) -> Published {
        let values = match self {
            Self::Leaf(leaf) => vec![(Value::Leaf, leaf.to_vec())],
            Self::Key(key) => vec![(Value::Key, key.to_vec())],
            Self::Node(node) => vec![(Value::Node, node.to_vec())],
            Self::Preimage { key, chaining, block } => vec![
                (Value::Key, key.to_vec()),
                (Value::Chaining, chaining.to_vec()),
                (Value::Block, block.to_vec()),
            ],
        };
        values
            .into_iter()
            .map(|(value, bytes)| (Item::Value(value), bytes))
            .collect()
    }

    /// Gives the two hashes that are published with the first nodes of a preimage's write.
    pub fn preimage_hashes(&self) -> Option<(B256, B256)> {
        match self {
            Self::Preimage { chaining, block, .. } => {
                Some((hash_pair(chaining, &B256::ZERO), hash_node(block)))
            }
            _ => None,
        }
    }
}

/// Gives a word of a leaf.
pub fn word_at(leaf: &[u8; 64], address: u32) -> u32 {
    let at = word_index(address);
    leaf.as_chunks::<4>()
        .0
        .get(at)
        .map_or(0, |word| u32::from_le_bytes(*word))
}

fn with_word(mut leaf: [u8; 64], address: u32, word: u32) -> [u8; 64] {
    if let Some(to) = leaf.as_chunks_mut::<4>().0.get_mut(word_index(address)) {
        *to = word.to_le_bytes();
    }
    leaf
}

const fn word_index(address: u32) -> usize {
    (address as usize % 64) / 4
}

/// Gives the address of a register's word.
pub const fn register(number: u32) -> u32 {
    REGISTERS + 4 * (number % 32)
}

impl Subject {
    /// Gives what the judge's gates call it; `None` of what any step has.
    const fn access(self) -> Option<Access> {
        Some(match self {
            Self::Control => return None,
            Self::Instruction => Access::Instruction,
            Self::First => Access::First,
            Self::Second => Access::Second,
            Self::Word => Access::Word,
            Self::CallNumber => Access::CallNumber,
            Self::CallAddress => Access::CallAddress,
            Self::CallLevel => Access::CallLevel,
            Self::WriteRegister => Access::WriteRegister,
            Self::WriteMemory => Access::WriteMemory,
            Self::WriteControl => Access::WriteControl,
            Self::NodeFromHash => Access::WriteNode,
            Self::HashOfNode => Access::WriteKey,
            Self::Preimage => Access::WritePreimage,
        })
    }

    /// Whether a step of this claim makes it: whether the challenger can open it.
    pub fn is_open(self, claim: &StepClaim) -> bool {
        self.access().is_none_or(|access| access.is_open(claim))
    }

    /// Gives where its content lies before the step.
    pub fn read_place(self, claim: &StepClaim) -> Place {
        let field = |field: Field| Place::leaf(register(field.number(claim.instruction)));
        match self {
            Self::Control | Self::WriteControl => Place::leaf(CONTROL),
            Self::Instruction => Place::leaf(claim.pc),
            Self::First => field(Field::Rs1),
            Self::Second => field(Field::Rs2),
            Self::Word | Self::WriteMemory => Place::leaf(claim.address),
            Self::CallNumber => Place::leaf(register(u32::from(A7))),
            Self::CallAddress => Place::leaf(register(u32::from(A0))),
            Self::CallLevel => Place::leaf(register(u32::from(A1))),
            Self::WriteRegister => field(Field::Rd),
            Self::NodeFromHash | Self::Preimage => Place::leaf(KEY),
            Self::HashOfNode => call_place(claim),
        }
    }

    /// Gives where it writes; `None` where it only reads.
    pub fn write_place(self, claim: &StepClaim) -> Option<Place> {
        Some(match self {
            Self::WriteRegister | Self::WriteMemory | Self::WriteControl => self.read_place(claim),
            Self::NodeFromHash => call_place(claim),
            Self::HashOfNode => Place::leaf(KEY),
            Self::Preimage => Place {
                address: KEY,
                level: 1,
            },
            _ => return None,
        })
    }

    /// Gives the word of the claim that it reads from a leaf, and where in memory that word is.
    pub fn word(self, claim: &StepClaim) -> Option<(u32, u32)> {
        let word = match self {
            Self::Instruction => claim.instruction,
            Self::First | Self::CallNumber => claim.first,
            Self::Second | Self::CallAddress => claim.second,
            Self::Word | Self::CallLevel => claim.word,
            _ => return None,
        };
        let address = match self {
            Self::Word => claim.address,
            _ => self.read_place(claim).address,
        };
        Some((address, word))
    }

    /// Gives the hash of the node that the step writes, by its claim and what lay there; `None` where it only reads.
    pub fn written(self, claim: &StepClaim, content: &Content) -> Option<B256> {
        Some(match (self, content) {
            (Self::WriteRegister, Content::Leaf(leaf)) => {
                let address = self.read_place(claim).address;
                hash_node(&with_word(*leaf, address, claim.written))
            }
            (Self::WriteMemory, Content::Leaf(leaf)) => {
                hash_node(&with_word(*leaf, claim.address, claim.written))
            }
            (Self::WriteControl, Content::Leaf(leaf)) => {
                let leaf = with_word(*leaf, CONTROL, claim.next);
                let leaf = with_word(leaf, CONTROL + 4, u32::from(claim.status_after));
                if claim.status_after == HALTED {
                    hash_node(&with_word(leaf, CONTROL + 8, claim.second))
                } else {
                    hash_node(&leaf)
                }
            }
            (Self::NodeFromHash, Content::Key(key)) => B256::from_slice(key.split_at(32).0),
            (Self::HashOfNode, Content::Node(node)) => hash_pair(node, &B256::ZERO),
            (Self::Preimage, Content::Preimage { .. }) => {
                let (key, block) = content.preimage_hashes()?;
                hash_pair(&key, &block)
            }
            _ => return None,
        })
    }
}

/// The node that a call names. A call that is made has a level of 20 at most.
fn call_place(claim: &StepClaim) -> Place {
    Place {
        address: claim.second,
        level: claim.word.min(MAX_CALL_LEVEL),
    }
}
