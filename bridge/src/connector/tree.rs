//! Taproot outputs with thousands of leaves, of which only the hashes are kept (BIP-0341).

use bitcoin::key::Secp256k1;
use bitcoin::secp256k1::{All, Parity};
use bitcoin::taproot::{LeafVersion, TapLeafHash, TapNodeHash, TapTweakHash};
use bitcoin::{Script, ScriptBuf, Witness, XOnlyPublicKey};

use super::nobody;

/// An output that Scripts alone spend. The first leaves are near the root, because every game spends some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptTree {
    near: Vec<TapLeafHash>,
    far: Vec<TapLeafHash>,
    root: TapNodeHash,
    output_key: XOnlyPublicKey,
    parity: Parity,
}

/// Gives a leaf's hash.
pub fn leaf_hash(script: &Script) -> TapLeafHash {
    TapLeafHash::from_script(script, LeafVersion::TapScript)
}

/// Gives the root of a list, and what lies beside the way from a leaf to it.
fn merkle(leaves: &[TapLeafHash], of: Option<usize>) -> (Option<TapNodeHash>, Vec<TapNodeHash>) {
    let mut level: Vec<TapNodeHash> = leaves.iter().copied().map(TapNodeHash::from).collect();
    let (mut at, mut beside) = (of, Vec::new());
    while level.len() > 1 {
        if let Some(index) = at {
            beside.extend(level.get(index ^ 1));
            at = Some(index / 2);
        }
        // The last of an odd number goes up as it is.
        let pairs = level.chunks(2);
        level = pairs
            .map(|pair| match pair {
                [left, right] => TapNodeHash::from_node_hashes(*left, *right),
                rest => rest[0],
            })
            .collect();
    }
    (level.first().copied(), beside)
}

impl ScriptTree {
    /// Makes the output of these leaves.
    ///
    /// # Panics
    /// Where there is no leaf near the root: outputs of the graph have one.
    pub fn new(secp: &Secp256k1<All>, near: Vec<TapLeafHash>, far: Vec<TapLeafHash>) -> Self {
        let (first, _) = merkle(&near, None);
        let first = first.expect("an output has a leaf");
        let root = match merkle(&far, None) {
            (Some(second), _) => TapNodeHash::from_node_hashes(first, second),
            (None, _) => first,
        };
        let tweak = TapTweakHash::from_key_and_tweak(nobody(), Some(root)).to_scalar();
        let tweaked = nobody().add_tweak(secp, &tweak);
        let (output_key, parity) =
            tweaked.expect("a hash is the tweak that gives zero with probability 2^-256");
        Self {
            near,
            far,
            root,
            output_key,
            parity,
        }
    }

    /// Gives what the output holds.
    pub fn script_pubkey(&self) -> ScriptBuf {
        ScriptBuf::new_p2tr_tweaked(bitcoin::key::TweakedPublicKey::dangerous_assume_tweaked(
            self.output_key,
        ))
    }

    /// Gives the hash of a leaf: those near the root first.
    pub fn leaf(&self, index: usize) -> Option<TapLeafHash> {
        self.near.iter().chain(&self.far).nth(index).copied()
    }

    /// Gives the number of leaves.
    pub fn len(&self) -> usize {
        self.near.len() + self.far.len()
    }

    /// Whether there are no leaves: never.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds a Script among the leaves.
    pub fn position(&self, script: &Script) -> Option<usize> {
        let wanted = leaf_hash(script);
        self.near.iter().chain(&self.far).position(|leaf| *leaf == wanted)
    }

    /// Puts the Script of a leaf and the proof that it is one behind what satisfies it, bottom first.
    ///
    /// # Panics
    /// Where the Script is not that leaf's: our own fault.
    pub fn witness(&self, index: usize, script: &Script, items: Vec<Vec<u8>>) -> Witness {
        assert_eq!(
            self.leaf(index),
            Some(leaf_hash(script)),
            "the Script of leaf {index}"
        );
        let mut witness = Witness::from_slice(&items);
        witness.push(script);
        witness.push(self.control_block(index));
        witness
    }

    fn control_block(&self, index: usize) -> Vec<u8> {
        let is_near = index < self.near.len();
        let (leaves, others, at) = if is_near {
            (&self.near, &self.far, index)
        } else {
            (&self.far, &self.near, index - self.near.len())
        };
        let (_, mut beside) = merkle(leaves, Some(at));
        beside.extend(merkle(others, None).0);
        let version = LeafVersion::TapScript.to_consensus() | self.parity.to_u8();
        let mut block = vec![version];
        block.extend(nobody().serialize());
        for node in beside {
            block.extend(AsRef::<[u8]>::as_ref(&node));
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::opcodes::all::OP_DROP;
    use bitcoin::script::Builder;
    use bitcoin::taproot::ControlBlock;

    #[test]
    fn every_leaf_is_proven() {
        let secp = Secp256k1::new();
        for (near, far) in [(1, 0), (2, 0), (1, 1), (3, 7), (2, 100)] {
            let script = |number: i64| Builder::new().push_int(number).push_opcode(OP_DROP).into_script();
            let hashes =
                |range: core::ops::Range<i64>| range.map(|number| leaf_hash(&script(number))).collect();
            let tree = ScriptTree::new(&secp, hashes(0..near), hashes(near..near + far));
            for index in 0..tree.len() {
                let script = script(index as i64);
                assert_eq!(tree.position(&script), Some(index));
                let block = ControlBlock::decode(&tree.control_block(index)).unwrap();
                assert!(block.verify_taproot_commitment(&secp, tree.output_key, &script));
            }
            assert!(tree.script_pubkey().is_p2tr());
        }
    }
}
