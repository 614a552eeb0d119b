//! One read or write under a root: the leaves that refute it where the prover's path to it is wrong.
//!
//! A search over the levels ends with two adjacent nodes of the prover's, *top* at level `l + 1` and *bottom* at `l`, the
//! one true and the other false. Then the prover publishes *sibling*, the other child of top. Nodes are whole, because
//! they are inputs of a hash: bytes that nobody compares could be anything. Only where top is the root it is *root*, a
//! state of 24 bytes. Which move a value's key belongs to is the graph's business; a rule has the keys of its level.
//!
//! In a write each node has a second value, after the write, and both have the same sibling. The search is for the level
//! at which the pair is wrong below and right above; where the node before is wrong, it is played as in a read.
//!
//! A node that a call names may be above level 0. Below its level the search goes on, and its values repeat: bottom is
//! top, and sibling is anything. Whether an access is made at all is decided by the move that opens
//! its search: that is the *gate* of which rules speak.

mod call;
mod constant;
mod content;
mod digits;
mod hash;
mod index;
mod node;
mod place;
mod state;
mod word;

use std::collections::BTreeSet;

use bitsect_machine::DEPTH;
use bitsect_machine::address::{CONTROL, KEY};

use crate::leaf::Rule;

pub use constant::{differs_from_constant, equals_constant, not_halted};
pub use node::Time;
pub use place::{Direction, Field, Place, Side};

/// Gives the rules that end a search for the node at a place: they are for the keys of the level `level` and of the one
/// above. In a read `writes` is false.
pub fn level_rules(place: Place, level: usize, writes: bool) -> Vec<Rule> {
    let times = if writes { &Time::BOTH[..] } else { &Time::BOTH[..1] };
    let rules = times.iter().flat_map(|time| {
        let mut rules = node::equations(place, level, *time);
        rules.extend(node::repeat(place, level, *time));
        rules
    });
    rules.collect()
}

/// Gives the rules of what is below a search: states, hashes of contents, words, and what a step writes.
pub fn content_rules() -> Vec<Rule> {
    let mut rules = state::rules();
    rules.extend(word::rules());
    rules.extend(content::rules());
    rules.extend(call::rules());
    rules
}

/// Gives all rules, each once.
pub fn rules() -> Vec<Rule> {
    let places = [
        (Place::Constant(CONTROL), true),
        (Place::Constant(KEY), true),
        (Place::Pc, false),
        (Place::Address, true),
        (Place::Register(Field::Rs1), false),
        (Place::Register(Field::Rs2), false),
        (Place::Register(Field::Rd), true),
        (Place::Call, true),
        (Place::KeyAndBlock, true),
    ];
    let mut rules = content_rules();
    let mut names: BTreeSet<String> = BTreeSet::new();
    for (place, writes) in places {
        let levels = (0..DEPTH as usize).flat_map(|level| level_rules(place, level, writes));
        rules.extend(levels.filter(|rule| names.insert(rule.name.clone())));
    }
    rules
}
