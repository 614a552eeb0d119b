//! Writes Script and keeps a model of the stack beside it, so that no depth is ever counted by hand.

use std::collections::HashMap;

use bitcoin::ScriptBuf;
use bitcoin::opcodes::Opcode;
use bitcoin::opcodes::all::*;

use super::number;

/// A value on the stack. A copy is another item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Item(u32);

/// What the model says of both stacks at one place of the code, bottom first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The offset in the code, in bytes: the mark is before the opcode there.
    pub offset: usize,
    /// What has just been done.
    pub label: String,
    /// The names of the main stack's items.
    pub main: Vec<String>,
    /// The names of the alt stack's items.
    pub alt: Vec<String>,
}

/// Script with a model of the stack.
///
/// Every method panics where the model says that the Script would fail for its shape: an item that is not there, a stack
/// that is too short, branches that end with different stacks. Scripts are made of constants, so that is our own fault.
#[derive(Clone, Debug, Default)]
pub struct Assembler {
    code: Vec<u8>,
    main: Vec<Item>,
    alt: Vec<Item>,
    items: u32,
    names: HashMap<Item, String>,
    deepest: usize,
    marks: Vec<Mark>,
    /// The opcodes at the end of the code that may be merged with the next one; pushes and branches end it.
    last: Option<Opcode>,
}

/// How many items an opcode takes and gives, where it neither moves nor copies items.
const fn effect(opcode: Opcode) -> Option<(usize, usize)> {
    Some(match opcode {
        OP_VERIFY => (1, 0),
        OP_EQUALVERIFY | OP_NUMEQUALVERIFY => (2, 0),
        OP_1ADD | OP_1SUB | OP_NEGATE | OP_ABS | OP_NOT | OP_0NOTEQUAL => (1, 1),
        OP_HASH160 | OP_SHA256 | OP_RIPEMD160 => (1, 1),
        OP_ADD | OP_SUB | OP_BOOLAND | OP_BOOLOR | OP_EQUAL | OP_NUMEQUAL | OP_NUMNOTEQUAL => (2, 1),
        OP_LESSTHAN | OP_GREATERTHAN | OP_LESSTHANOREQUAL | OP_GREATERTHANOREQUAL => (2, 1),
        OP_MIN | OP_MAX => (2, 1),
        OP_WITHIN => (3, 1),
        OP_SIZE => (0, 1),
        _ => return None,
    })
}

/// How many items from the top an opcode moves or copies, and where they come from, counted from the bottom of those.
pub(super) const fn movement(opcode: Opcode) -> Option<(usize, &'static [usize])> {
    Some(match opcode {
        OP_DROP => (1, &[]),
        OP_2DROP => (2, &[]),
        OP_DUP => (1, &[0, 0]),
        OP_2DUP => (2, &[0, 1, 0, 1]),
        OP_3DUP => (3, &[0, 1, 2, 0, 1, 2]),
        OP_NIP => (2, &[1]),
        OP_OVER => (2, &[0, 1, 0]),
        OP_2OVER => (4, &[0, 1, 2, 3, 0, 1]),
        OP_ROT => (3, &[1, 2, 0]),
        OP_2ROT => (6, &[2, 3, 4, 5, 0, 1]),
        OP_SWAP => (2, &[1, 0]),
        OP_2SWAP => (4, &[2, 3, 0, 1]),
        OP_TUCK => (2, &[1, 0, 1]),
        _ => return None,
    })
}

/// Whether the order of the two operands does not matter.
const fn commutes(opcode: Opcode) -> bool {
    matches!(
        opcode,
        OP_ADD
            | OP_BOOLAND
            | OP_BOOLOR
            | OP_EQUAL
            | OP_EQUALVERIFY
            | OP_NUMEQUAL
            | OP_NUMEQUALVERIFY
            | OP_NUMNOTEQUAL
            | OP_MIN
            | OP_MAX
    )
}

/// The one opcode that does what two do, or `None` in the inner option where both do nothing.
const fn merged(first: Opcode, second: Opcode) -> Option<Option<Opcode>> {
    Some(match (first, second) {
        (OP_OVER, OP_OVER) => Some(OP_2DUP),
        (OP_DROP, OP_DROP) => Some(OP_2DROP),
        (OP_SWAP, OP_OVER) => Some(OP_TUCK),
        (OP_SWAP, OP_DROP) => Some(OP_NIP),
        (OP_SWAP, OP_SWAP) | (OP_DUP, OP_DROP) => None,
        (OP_EQUAL, OP_VERIFY) => Some(OP_EQUALVERIFY),
        (OP_NUMEQUAL, OP_VERIFY) => Some(OP_NUMEQUALVERIFY),
        (OP_NUMEQUAL, OP_NOT) => Some(OP_NUMNOTEQUAL),
        (OP_SWAP, second) if commutes(second) => Some(second),
        _ => return None,
    })
}

impl Assembler {
    /// Starts with an empty stack.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an item of the witness on top of the model; only before the first opcode.
    pub fn witness(&mut self, name: &str) -> Item {
        assert!(self.code.is_empty(), "witness {name} after the first opcode");
        let item = self.fresh();
        self.name(item, name);
        self.put(item);
        item
    }

    /// Names an item for the debugger. Copies have the name too.
    pub fn name(&mut self, item: Item, name: &str) {
        self.names.insert(item, name.to_owned());
    }

    /// Notes the stack as it is, for the debugger.
    pub fn mark(&mut self, label: &str) {
        let named = |items: &[Item]| items.iter().map(|item| self.name_of(*item)).collect();
        self.marks.push(Mark {
            offset: self.code.len(),
            label: label.to_owned(),
            main: named(&self.main),
            alt: named(&self.alt),
        });
        self.last = None;
    }

    /// Pushes a number.
    pub fn push(&mut self, value: i64) -> Item {
        number::push(&mut self.code, value);
        self.last = None;
        let item = self.fresh();
        self.name(item, &value.to_string());
        self.put(item);
        item
    }

    /// Pushes bytes of no number; at most 75.
    pub fn push_bytes(&mut self, bytes: &[u8]) -> Item {
        let length = u8::try_from(bytes.len()).expect("a short push");
        assert!((2..=75).contains(&length), "push of {length} bytes");
        self.code.push(length);
        self.code.extend_from_slice(bytes);
        self.last = None;
        let item = self.fresh();
        self.put(item);
        item
    }

    /// Appends an opcode that takes its operands from the top; gives the new top where there is one.
    pub fn op(&mut self, opcode: Opcode) -> Option<Item> {
        match (opcode, effect(opcode), movement(opcode)) {
            (OP_TOALTSTACK, ..) => {
                let item = self.pop();
                self.alt.push(item);
            }
            (OP_FROMALTSTACK, ..) => {
                let item = self.alt.pop().expect("an item on the alt stack");
                self.put(item);
            }
            (_, Some((takes, gives)), _) => {
                let left = self.main.len().checked_sub(takes).expect("operands on the stack");
                self.main.truncate(left);
                for _ in 0..gives {
                    let item = self.fresh();
                    self.put(item);
                }
            }
            (_, _, Some((takes, sources))) => {
                let left = self.main.len().checked_sub(takes).expect("operands on the stack");
                let taken = self.main.split_off(left);
                let mut seen = vec![false; takes];
                for source in sources {
                    let item = taken[*source];
                    let item = if seen[*source] { self.twin(item) } else { item };
                    seen[*source] = true;
                    self.put(item);
                }
            }
            _ => panic!("{opcode} has a method of its own"),
        }
        self.append(opcode);
        self.main.last().copied()
    }

    /// Appends several opcodes; gives the new top where there is one.
    pub fn ops(&mut self, opcodes: &[Opcode]) -> Option<Item> {
        for opcode in opcodes {
            self.op(*opcode);
        }
        self.main.last().copied()
    }

    /// Pushes a copy of an item.
    pub fn copy(&mut self, item: Item) -> Item {
        match self.depth(item) {
            0 => self.op(OP_DUP),
            1 => self.op(OP_OVER),
            depth => {
                number::push(&mut self.code, depth as i64);
                self.code.push(OP_PICK.to_u8());
                self.last = None;
                // The depth itself stood on the stack.
                self.deepest = self.deepest.max(self.main.len() + self.alt.len() + 1);
                let twin = self.twin(item);
                self.put(twin);
                Some(twin)
            }
        }
        .expect("a copy on top")
    }

    /// Moves an item to the top.
    pub fn take(&mut self, item: Item) -> Item {
        match self.depth(item) {
            0 => {}
            1 => drop(self.op(OP_SWAP)),
            2 => drop(self.op(OP_ROT)),
            depth => {
                number::push(&mut self.code, depth as i64);
                self.code.push(OP_ROLL.to_u8());
                self.last = None;
                self.deepest = self.deepest.max(self.main.len() + self.alt.len() + 1);
                let at = self.main.len() - 1 - depth;
                self.main.remove(at);
                self.put(item);
            }
        }
        item
    }

    /// Takes a number from the top and pushes a copy of the item at that depth below it, known only at run time.
    ///
    /// Whoever uses it says why the number stays within the items that are meant.
    pub fn pick(&mut self) -> Item {
        self.pop();
        self.code.push(OP_PICK.to_u8());
        self.last = None;
        let item = self.fresh();
        self.put(item);
        item
    }

    /// Takes a number `n` from the top and pushes entry `n` of a table that lies on the stack, entry 0 uppermost.
    pub fn look_up(&mut self, first: Item) -> Item {
        // Without the index itself.
        match self.depth(first) - 1 {
            0 => {}
            1 => drop(self.op(OP_1ADD)),
            depth => {
                self.push(depth as i64);
                self.op(OP_ADD);
            }
        }
        self.pick()
    }

    /// Drops the items from the top down to and with this one.
    pub fn drop_through(&mut self, item: Item) {
        for _ in 0..=self.depth(item) {
            self.op(OP_DROP);
        }
    }

    /// Drops all that is left and ends with a true item.
    pub fn succeed(&mut self) {
        let left = self.main.len();
        let last = self.last.filter(|_| left == 0);
        let bare = match last {
            Some(OP_EQUALVERIFY) => Some(OP_EQUAL),
            Some(OP_NUMEQUALVERIFY) => Some(OP_NUMEQUAL),
            _ => None,
        };
        if let Some(bare) = bare {
            self.code.pop();
            self.append(bare);
            let item = self.fresh();
            self.put(item);
            return;
        }
        if last == Some(OP_VERIFY) {
            self.code.pop();
            let item = self.fresh();
            self.put(item);
            return;
        }
        for _ in 0..left {
            self.op(OP_DROP);
        }
        self.push(1);
    }

    /// Takes a truth value from the top: minimal, as tapscript has it (BIP-0342). Both branches leave stacks of one shape.
    pub fn branch(&mut self, then: impl FnOnce(&mut Self), otherwise: impl FnOnce(&mut Self)) {
        self.pop();
        self.code.push(OP_IF.to_u8());
        self.last = None;
        let (main, alt) = (self.main.clone(), self.alt.clone());
        then(self);
        self.last = None;
        let (then_main, then_alt) = (
            core::mem::replace(&mut self.main, main),
            core::mem::replace(&mut self.alt, alt),
        );
        let before = self.code.len();
        self.code.push(OP_ELSE.to_u8());
        otherwise(self);
        if self.code.len() == before + 1 {
            self.code.pop();
        }
        self.code.push(OP_ENDIF.to_u8());
        self.last = None;
        self.unify(then_main, then_alt);
    }

    /// Takes a truth value from the top, and runs the code where it holds.
    pub fn when(&mut self, then: impl FnOnce(&mut Self)) {
        self.branch(then, |_| {});
    }

    /// Runs a generator that declares how many items it takes from the top and gives, and touches no other.
    pub fn routine<T>(
        &mut self,
        name: &str,
        takes: usize,
        gives: usize,
        body: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let left = self.main.len().checked_sub(takes).expect("operands on the stack");
        let (below, alt) = (self.main[..left].to_vec(), self.alt.clone());
        let result = body(self);
        assert_eq!(
            self.main.len(),
            left + gives,
            "{name} takes {takes} and gives {gives}"
        );
        assert!(self.main.starts_with(&below), "{name} moved what is not its own");
        assert_eq!(self.alt, alt, "{name} changed the alt stack");
        result
    }

    /// Gives the item at a depth, 0 for the top.
    pub fn at(&self, depth: usize) -> Item {
        let index = self
            .main
            .len()
            .checked_sub(depth + 1)
            .expect("an item at that depth");
        self.main[index]
    }

    /// Gives how many items lie above this one.
    pub fn depth(&self, item: Item) -> usize {
        let from_top = self.main.iter().rev().position(|other| *other == item);
        from_top.unwrap_or_else(|| panic!("{} is not on the stack", self.name_of(item)))
    }

    /// Gives the number of items on the main stack.
    pub fn len(&self) -> usize {
        self.main.len()
    }

    /// Whether the main stack is empty.
    pub fn is_empty(&self) -> bool {
        self.main.is_empty()
    }

    /// Gives the code's length in bytes.
    pub fn size(&self) -> usize {
        self.code.len()
    }

    /// Gives the largest number of items on both stacks, as the model has it.
    pub fn deepest(&self) -> usize {
        self.deepest
    }

    /// Gives the Script and the marks.
    pub fn finish(self) -> (ScriptBuf, Vec<Mark>) {
        (ScriptBuf::from_bytes(self.code), self.marks)
    }

    fn fresh(&mut self) -> Item {
        self.items += 1;
        Item(self.items)
    }

    fn twin(&mut self, item: Item) -> Item {
        let twin = self.fresh();
        if let Some(name) = self.names.get(&item) {
            self.names.insert(twin, name.clone());
        }
        twin
    }

    fn put(&mut self, item: Item) {
        self.main.push(item);
        self.deepest = self.deepest.max(self.main.len() + self.alt.len());
    }

    fn pop(&mut self) -> Item {
        self.main.pop().expect("an item on the stack")
    }

    fn name_of(&self, item: Item) -> String {
        self.names
            .get(&item)
            .map_or_else(|| format!("#{}", item.0), Clone::clone)
    }

    /// Appends an opcode, or changes the last one so that it does both.
    fn append(&mut self, opcode: Opcode) {
        match self.last.and_then(|last| merged(last, opcode)) {
            Some(Some(both)) => {
                self.code.pop();
                self.code.push(both.to_u8());
                self.last = Some(both);
            }
            Some(None) => {
                self.code.pop();
                self.last = None;
            }
            None => {
                self.code.push(opcode.to_u8());
                self.last = Some(opcode);
            }
        }
    }

    /// Makes the items fresh in which the two branches differ.
    fn unify(&mut self, then_main: Vec<Item>, then_alt: Vec<Item>) {
        let (main, alt) = (core::mem::take(&mut self.main), core::mem::take(&mut self.alt));
        self.main = self.unified(then_main, main);
        self.alt = self.unified(then_alt, alt);
    }

    fn unified(&mut self, then: Vec<Item>, otherwise: Vec<Item>) -> Vec<Item> {
        assert_eq!(then.len(), otherwise.len(), "branches leave stacks of one size");
        let pairs = then.into_iter().zip(otherwise);
        pairs
            .map(|(then, otherwise)| if then == otherwise { then } else { self.twin(then) })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_follow_the_stack() {
        let mut a = Assembler::new();
        let items: Vec<Item> = (0..20).map(|index| a.witness(&index.to_string())).collect();
        a.copy(items[0]);
        a.take(items[18]);
        assert_eq!(a.at(0), items[18]);
        let (script, _) = a.finish();
        assert_eq!(script.as_bytes(), [0x01, 19, 0x79, 0x7b].as_slice());
    }

    #[test]
    fn two_opcodes_become_one() {
        let mut a = Assembler::new();
        for name in ["a", "b", "c", "d"] {
            a.witness(name);
        }
        a.ops(&[OP_SWAP, OP_ADD, OP_DROP, OP_DROP]);
        let (script, _) = a.finish();
        assert_eq!(script.as_bytes(), [OP_ADD.to_u8(), OP_2DROP.to_u8()].as_slice());
    }

    #[test]
    #[should_panic(expected = "branches leave stacks of one size")]
    fn branches_must_agree() {
        let mut a = Assembler::new();
        a.witness("condition");
        a.branch(
            |a| {
                a.push(1);
            },
            |_| {},
        );
    }

    #[test]
    #[should_panic(expected = "moved what is not its own")]
    fn a_routine_keeps_to_its_operands() {
        let mut a = Assembler::new();
        a.witness("a");
        a.witness("b");
        a.routine("thief", 1, 1, |a| a.op(OP_SWAP));
    }
}
