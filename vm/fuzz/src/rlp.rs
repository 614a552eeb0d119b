//! Encodings with single items replaced: what the fuzzer makes stays RLP, and gets past the outer list.

use alloy_rlp::Header;
use libfuzzer_sys::arbitrary::{self, Arbitrary};

/// Most replacements in one input.
const MAX_EDITS: usize = 4;
/// Deepest list, so that bytes of list headers alone do not overflow the stack.
const MAX_DEPTH: usize = 32;

/// An RLP item.
#[derive(Clone, Debug)]
enum Tree {
    String(Vec<u8>),
    List(Vec<Tree>),
}

/// What an item becomes.
#[derive(Arbitrary, Debug)]
enum Change {
    String(Vec<u8>),
    Number(u64),
    Filled { byte: u8, len: u8 },
    EmptyList,
    Wrapped,
    Twice,
    Gone,
}

/// Changes of single items, each named by its number in the order of the bytes.
#[derive(Arbitrary, Debug)]
pub struct Edits(Vec<(u8, Change)>);

impl Edits {
    /// Makes no change.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Gives the encoding with the changes made. `template` is one RLP item.
    pub fn apply(self, template: &[u8]) -> Vec<u8> {
        let mut rest = template;
        let mut tree = parse(&mut rest, 0).expect("templates are RLP");
        for (at, change) in self.0.into_iter().take(MAX_EDITS) {
            let items = count(&tree);
            edit(&mut tree, usize::from(at) % items, &change);
        }
        let mut out = Vec::new();
        write(&tree, &mut out);
        out
    }
}

fn parse(bytes: &mut &[u8], depth: usize) -> Option<Tree> {
    let header = Header::decode(bytes).ok()?;
    let (mut payload, rest) = bytes.split_at_checked(header.payload_length)?;
    *bytes = rest;
    if !header.list || depth >= MAX_DEPTH {
        return Some(Tree::String(payload.to_vec()));
    }
    let mut items = Vec::new();
    while !payload.is_empty() {
        items.push(parse(&mut payload, depth + 1)?);
    }
    Some(Tree::List(items))
}

fn write(tree: &Tree, out: &mut Vec<u8>) {
    let (list, payload) = match tree {
        Tree::String(bytes) if matches!(bytes.as_slice(), [0..=0x7f]) => return out.extend(bytes),
        Tree::String(bytes) => (false, bytes.clone()),
        Tree::List(items) => {
            let mut payload = Vec::new();
            items.iter().for_each(|item| write(item, &mut payload));
            (true, payload)
        }
    };
    let payload_length = payload.len();
    Header { list, payload_length }.encode(out);
    out.extend(payload);
}

fn count(tree: &Tree) -> usize {
    match tree {
        Tree::String(_) => 1,
        Tree::List(items) => 1 + items.iter().map(count).sum::<usize>(),
    }
}

/// Changes item `at` of the tree, which has that many.
fn edit(tree: &mut Tree, at: usize, change: &Change) {
    let Some(mut at) = at.checked_sub(1) else {
        if let Some(changed) = changed(tree, change).into_iter().next() {
            *tree = changed;
        }
        return;
    };
    let Tree::List(items) = tree else { return };
    for index in 0..items.len() {
        let size = count(&items[index]);
        if at == 0 {
            let new = changed(&items[index], change);
            items.splice(index..=index, new);
            return;
        }
        if at < size {
            return edit(&mut items[index], at, change);
        }
        at -= size;
    }
}

fn changed(item: &Tree, change: &Change) -> Vec<Tree> {
    match change {
        Change::String(bytes) => vec![Tree::String(bytes.clone())],
        Change::Number(number) => {
            let bytes = number.to_be_bytes();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            vec![Tree::String(bytes[zeros..].to_vec())]
        }
        Change::Filled { byte, len } => vec![Tree::String(vec![*byte; usize::from(*len)])],
        Change::EmptyList => vec![Tree::List(Vec::new())],
        Change::Wrapped => vec![Tree::List(vec![item.clone()])],
        Change::Twice => vec![item.clone(), item.clone()],
        Change::Gone => Vec::new(),
    }
}
