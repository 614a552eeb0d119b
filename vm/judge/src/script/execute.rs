//! Runs the part of tapscript (BIP-0342) that leaves use, so that a debugger can look inside. Bitcoin Core is the judge;
//! tests compare the two.

use bitcoin::hashes::{Hash, hash160, ripemd160, sha256};
use bitcoin::opcodes::Opcode;
use bitcoin::opcodes::all::*;
use bitcoin::script::{Instruction, Script, read_scriptint_non_minimal};

use super::assembler::movement;
use super::number;

/// Items on both stacks together, by consensus.
pub const MAX_STACK: usize = 1_000;
/// Bytes of an item of the witness, by Bitcoin Core's relay policy.
pub const MAX_WITNESS_ITEM: usize = 80;

/// Which rules hold beside consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// None.
    Consensus,
    /// Relay policy: minimal numbers and pushes, no item of the witness above 80 bytes.
    Standard,
}

/// Why a Script fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}, {opcode}: {rule}")]
pub struct Fault {
    /// The opcode's offset in bytes.
    pub offset: usize,
    /// The opcode.
    pub opcode: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

/// A Script that was run to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The largest number of items on both stacks.
    pub deepest: usize,
    /// The opcodes that were executed.
    pub executed: usize,
}

/// Both stacks while a Script runs, bottom first.
#[derive(Clone, Debug, Default)]
pub struct Stacks {
    /// The main stack.
    pub main: Vec<Vec<u8>>,
    /// The alt stack.
    pub alt: Vec<Vec<u8>>,
}

type Step<T = ()> = Result<T, &'static str>;

/// Runs a Script with a witness, bottom first; `watch` sees the stacks before each opcode, by its offset in bytes.
///
/// # Errors
/// The opcode that fails, and the rule. A Script that ends with anything but one true item fails at its end.
pub fn run(
    script: &Script,
    witness: &[Vec<u8>],
    rules: Rules,
    mut watch: impl FnMut(usize, &Stacks),
) -> Result<Run, Fault> {
    let mut machine = Execution {
        rules,
        stacks: Stacks {
            main: witness.to_vec(),
            alt: Vec::new(),
        },
        branches: Vec::new(),
        run: Run {
            deepest: witness.len(),
            executed: 0,
        },
    };
    let fault = |offset: usize, opcode: &str, rule| Fault {
        offset,
        opcode: opcode.to_owned(),
        rule,
    };
    if witness.len() > MAX_STACK {
        return Err(fault(0, "witness", "more items than a stack may have"));
    }
    if rules == Rules::Standard && witness.iter().any(|item| item.len() > MAX_WITNESS_ITEM) {
        return Err(fault(0, "witness", "an item above 80 bytes"));
    }
    for instruction in script.instruction_indices() {
        let (offset, instruction) = instruction.map_err(|_| fault(script.len(), "push", "it has no end"))?;
        watch(offset, &machine.stacks);
        let done = machine.step(&instruction);
        done.map_err(|rule| fault(offset, &shown(&instruction), rule))?;
    }
    watch(script.len(), &machine.stacks);
    machine.end().map_err(|rule| fault(script.len(), "end", rule))?;
    Ok(machine.run)
}

fn shown(instruction: &Instruction<'_>) -> String {
    match instruction {
        Instruction::Op(opcode) => opcode.to_string(),
        Instruction::PushBytes(bytes) => format!("push of {} bytes", bytes.len()),
    }
}

struct Execution {
    rules: Rules,
    stacks: Stacks,
    branches: Vec<bool>,
    run: Run,
}

impl Execution {
    fn step(&mut self, instruction: &Instruction<'_>) -> Step {
        let running = self.branches.iter().all(|taken| *taken);
        match instruction {
            Instruction::PushBytes(bytes) if running => {
                let bytes = bytes.as_bytes();
                if self.rules == Rules::Standard && number::has_opcode(bytes) {
                    return Err("a push that an opcode does");
                }
                self.put(bytes.to_vec());
            }
            Instruction::PushBytes(_) => {}
            Instruction::Op(opcode) => match *opcode {
                OP_IF | OP_NOTIF if running => {
                    let condition = self.truth()?;
                    self.branches.push(condition == (*opcode == OP_IF));
                }
                OP_IF | OP_NOTIF => self.branches.push(false),
                OP_ELSE => {
                    let taken = self.branches.last_mut().ok_or("no branch is open")?;
                    *taken = !*taken;
                }
                OP_ENDIF => drop(self.branches.pop().ok_or("no branch is open")?),
                opcode if running => self.opcode(opcode)?,
                _ => {}
            },
        }
        let deep = self.stacks.main.len() + self.stacks.alt.len();
        self.run.deepest = self.run.deepest.max(deep);
        self.run.executed += usize::from(running);
        if deep > MAX_STACK {
            return Err("more items than a stack may have");
        }
        Ok(())
    }

    fn end(&self) -> Step {
        match &*self.stacks.main {
            _ if !self.branches.is_empty() => Err("a branch is open"),
            [] => Err("the stack is empty"),
            [item] if is_true(item) => Ok(()),
            [_] => Err("the last item is false"),
            _ => Err("more than one item is left"),
        }
    }

    fn opcode(&mut self, opcode: Opcode) -> Step {
        match opcode {
            OP_TOALTSTACK => {
                let item = self.pop()?;
                self.stacks.alt.push(item);
            }
            OP_FROMALTSTACK => {
                let item = self.stacks.alt.pop().ok_or("the alt stack is empty")?;
                self.put(item);
            }
            OP_PICK | OP_ROLL => self.reach(opcode)?,
            OP_VERIFY => self.verify()?,
            OP_EQUAL | OP_EQUALVERIFY => {
                let equal = self.pop()? == self.pop()?;
                self.put_number(i64::from(equal));
                if opcode == OP_EQUALVERIFY {
                    self.verify()?;
                }
            }
            OP_SIZE => {
                let size = self.stacks.main.last().ok_or("the stack is too short")?.len();
                self.put_number(size as i64);
            }
            OP_DEPTH => self.put_number(self.stacks.main.len() as i64),
            OP_HASH160 => self.hash(|item| hash160::Hash::hash(item).to_byte_array().to_vec())?,
            OP_SHA256 => self.hash(|item| sha256::Hash::hash(item).to_byte_array().to_vec())?,
            OP_RIPEMD160 => self.hash(|item| ripemd160::Hash::hash(item).to_byte_array().to_vec())?,
            OP_PUSHNUM_NEG1 => self.put_number(-1),
            _ if (OP_PUSHNUM_1.to_u8()..=OP_PUSHNUM_16.to_u8()).contains(&opcode.to_u8()) => {
                self.put_number(i64::from(opcode.to_u8() - OP_PUSHNUM_1.to_u8() + 1));
            }
            _ => {
                if !self.rearrange(opcode)? && !self.unary(opcode)? {
                    self.arithmetic(opcode)?;
                }
            }
        }
        Ok(())
    }

    /// Moves and copies items.
    fn rearrange(&mut self, opcode: Opcode) -> Step<bool> {
        let Some((takes, sources)) = movement(opcode) else {
            return Ok(false);
        };
        let main = &mut self.stacks.main;
        let left = main.len().checked_sub(takes).ok_or("the stack is too short")?;
        let taken = main.split_off(left);
        main.extend(sources.iter().map(|source| taken[*source].clone()));
        Ok(true)
    }

    fn reach(&mut self, opcode: Opcode) -> Step {
        let depth = self.number()?;
        let main = &mut self.stacks.main;
        let depth = usize::try_from(depth).map_err(|_| "a negative depth")?;
        let at = main.len().checked_sub(depth + 1).ok_or("deeper than the stack")?;
        let item = if opcode == OP_ROLL {
            main.remove(at)
        } else {
            main[at].clone()
        };
        self.put(item);
        Ok(())
    }

    fn unary(&mut self, opcode: Opcode) -> Step<bool> {
        let function: fn(i64) -> i64 = match opcode {
            OP_1ADD => |a| a + 1,
            OP_1SUB => |a| a - 1,
            OP_NEGATE => |a| -a,
            OP_ABS => i64::abs,
            OP_NOT => |a| i64::from(a == 0),
            OP_0NOTEQUAL => |a| i64::from(a != 0),
            _ => return Ok(false),
        };
        let a = self.number()?;
        self.put_number(function(a));
        Ok(true)
    }

    fn arithmetic(&mut self, opcode: Opcode) -> Step {
        if opcode == OP_WITHIN {
            let (max, min, value) = (self.number()?, self.number()?, self.number()?);
            self.put_number(i64::from((min..max).contains(&value)));
            return Ok(());
        }
        let function: fn(i64, i64) -> i64 = match opcode {
            OP_ADD => |a, b| a + b,
            OP_SUB => |a, b| a - b,
            OP_BOOLAND => |a, b| i64::from(a != 0 && b != 0),
            OP_BOOLOR => |a, b| i64::from(a != 0 || b != 0),
            OP_NUMEQUAL | OP_NUMEQUALVERIFY => |a, b| i64::from(a == b),
            OP_NUMNOTEQUAL => |a, b| i64::from(a != b),
            OP_LESSTHAN => |a, b| i64::from(a < b),
            OP_GREATERTHAN => |a, b| i64::from(a > b),
            OP_LESSTHANOREQUAL => |a, b| i64::from(a <= b),
            OP_GREATERTHANOREQUAL => |a, b| i64::from(a >= b),
            OP_MIN => i64::min,
            OP_MAX => i64::max,
            _ => return Err("leaves do not use it"),
        };
        let (b, a) = (self.number()?, self.number()?);
        self.put_number(function(a, b));
        if opcode == OP_NUMEQUALVERIFY {
            self.verify()?;
        }
        Ok(())
    }

    fn hash(&mut self, function: impl Fn(&[u8]) -> Vec<u8>) -> Step {
        let item = self.pop()?;
        self.put(function(&item));
        Ok(())
    }

    fn verify(&mut self) -> Step {
        is_true(&self.pop()?).then_some(()).ok_or("it does not hold")
    }

    /// Takes the condition of a branch: empty or one byte 1, by consensus (BIP-0342).
    fn truth(&mut self) -> Step<bool> {
        match &*self.pop()? {
            [] => Ok(false),
            [1] => Ok(true),
            _ => Err("a condition that is not minimal"),
        }
    }

    fn number(&mut self) -> Step<i64> {
        let item = self.pop()?;
        match self.rules {
            Rules::Standard => number::decode(&item).ok_or("no minimal number of four bytes"),
            Rules::Consensus => {
                read_scriptint_non_minimal(&item).map_err(|_| "no number of at most four bytes")
            }
        }
    }

    fn put(&mut self, item: Vec<u8>) {
        self.stacks.main.push(item);
    }

    fn put_number(&mut self, value: i64) {
        self.put(number::encode(value));
    }

    fn pop(&mut self) -> Step<Vec<u8>> {
        self.stacks.main.pop().ok_or("the stack is too short")
    }
}

/// Whether an item is neither zero nor negative zero.
fn is_true(item: &[u8]) -> bool {
    match item.split_last() {
        None => false,
        Some((last, rest)) => rest.iter().any(|byte| *byte != 0) || !matches!(last, 0 | 0x80),
    }
}
