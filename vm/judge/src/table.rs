//! The table of all leaves: what each costs on Bitcoin (docs/judge-leaves.md).

use core::fmt::Write as _;
use core::ops::Range;

use alloy_primitives::B256;
use bitcoin::VarInt;

use crate::leaf::{Input, Keys, Rule, Value};
use crate::rules;
use crate::winternitz::{KeyPath, MemoryStore, Seed, Signature, Signer};

/// A text for the table: the constants of another are as long.
pub const TEXT: Range<u32> = 0x1000..0x0020_0000;

/// Bytes that every leaf's input has beside its witness and Script: the control block of a tree of 1,024 leaves and its
/// length, the number of items.
const AROUND: usize = 1 + 33 + 32 * 10 + 3;

/// One leaf's figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name; of leaves that differ in a level only, the name without it.
    pub name: String,
    /// How many leaves the row is for.
    pub count: usize,
    /// Bytes of the Script without signatures.
    pub bare: usize,
    /// Bytes of the Script.
    pub script: usize,
    /// Bytes of the witness at most.
    pub witness: usize,
    /// Weight of the input in weight units, beyond what every input has.
    pub weight: usize,
    /// The largest number of items on both stacks.
    pub deepest: usize,
}

impl Row {
    /// Gives the figures in a line.
    pub fn describe(&self) -> String {
        let Self {
            name,
            bare,
            script,
            witness,
            weight,
            deepest,
            ..
        } = self;
        format!(
            "{name}: Script {script} bytes ({bare} without signatures), witness {witness} bytes, weight {weight} WU, {deepest} items"
        )
    }
}

fn signer() -> Signer<MemoryStore> {
    Signer::new(
        Seed::new(*b"bitsect: demonstration, no money"),
        MemoryStore::default(),
    )
}

fn path(value: Value) -> KeyPath {
    KeyPath {
        deployment: B256::ZERO,
        slot: 0,
        pair: 0,
        step: 0,
        value: value as u32,
    }
}

/// Gives keys of a seed that everybody knows, for demonstrations and figures.
pub fn keys() -> Keys {
    let signer = signer();
    let values = Value::ALL.into_iter();
    values
        .map(|value| (value, signer.public_key(&path(value), value.bytes())))
        .collect()
}

/// Signs a value with those keys.
///
/// # Panics
/// Where the value's length is another.
pub fn sign(value: Value, bytes: &[u8]) -> Signature {
    let signature = signer().sign(&path(value), bytes);
    signature.expect("a new store has signed nothing")
}

/// Gives a leaf's figures.
pub fn row(rule: &Rule) -> Row {
    row_with(rule, &keys())
}

fn row_with(rule: &Rule, keys: &Keys) -> Row {
    let leaf = rule.leaf(keys);
    let sizes = leaf.inputs.iter().map(|input| match input {
        // A number of at most four bytes, and its length.
        Input::Hint(_) => 5,
        // 20 bytes of hash and one of digit, and their lengths.
        Input::Signature(value) => keys[value].ends().len() * (21 + 2),
    });
    let (script, witness) = (leaf.script.len(), sizes.sum());
    Row {
        name: rule.name.clone(),
        count: 1,
        bare: rule.bare().script.len(),
        script,
        witness,
        weight: AROUND + witness + VarInt::from(script).size() + script,
        deepest: leaf.deepest,
    }
}

/// Gives all rows; leaves that differ in a level only share one, with the largest figures.
pub fn rows() -> Vec<Row> {
    let keys = keys();
    let mut rows: Vec<Row> = Vec::new();
    for rule in rules(&TEXT) {
        let mut row = row_with(&rule, &keys);
        if let Some((stem, level)) = row.name.rsplit_once('-')
            && level.parse::<u32>().is_ok()
        {
            row.name = stem.to_owned();
        }
        match rows.iter_mut().find(|other| other.name == row.name) {
            None => rows.push(row),
            Some(other) => {
                other.count += 1;
                other.bare = other.bare.max(row.bare);
                other.script = other.script.max(row.script);
                other.witness = other.witness.max(row.witness);
                other.weight = other.weight.max(row.weight);
                other.deepest = other.deepest.max(row.deepest);
            }
        }
    }
    rows
}

/// Writes the table in Markdown.
pub fn render() -> String {
    let rows = rows();
    let mut text = String::from(
        "# Leaves\n\nMade by `make judge-table`; a test compares. Bytes of Script without and with the verification of \
         signatures, bytes of\nthe witness at most, weight of the input with a control block of ten levels (WU), items \
         on both stacks at most.\nA name with `-N` is a leaf for each level or place; its figures are the largest.\n\n\
         | leaf | leaves | Script alone | Script | witness | weight | items |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for row in &rows {
        let suffix = if row.count > 1 { "-N" } else { "" };
        let Row {
            name,
            count,
            bare,
            script,
            witness,
            weight,
            deepest,
        } = row;
        let line =
            format!("| `{name}{suffix}` | {count} | {bare} | {script} | {witness} | {weight} | {deepest} |");
        let _ = writeln!(text, "{line}");
    }
    let total: usize = rows.iter().map(|row| row.count).sum();
    let bare: usize = rows.iter().map(|row| row.bare).sum();
    let _ = writeln!(
        text,
        "\n{total} leaves in {} rows; {bare} bytes of Script alone in all rows.",
        rows.len()
    );
    text
}
