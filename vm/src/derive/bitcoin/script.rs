//! Bitcoin Script, as far as derivation builds and reads it.

use alloc::vec::Vec;

pub(crate) const OP_PUSHDATA1: u8 = 0x4c;
pub(crate) const OP_PUSHDATA2: u8 = 0x4d;
pub(crate) const OP_PUSHDATA4: u8 = 0x4e;
pub(crate) const OP_1: u8 = 0x51;
pub(crate) const OP_IF: u8 = 0x63;
pub(crate) const OP_ENDIF: u8 = 0x68;
pub(crate) const OP_RETURN: u8 = 0x6a;
pub(crate) const OP_DROP: u8 = 0x75;
pub(crate) const OP_CHECKSIG: u8 = 0xac;
pub(crate) const OP_CSV: u8 = 0xb2;

/// One instruction of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction<'a> {
    /// Pushes these bytes.
    Push(&'a [u8]),
    /// Any other opcode.
    Op(u8),
}

/// Iterates over a script; `Err` once where a push runs past its end.
#[derive(Clone)]
pub struct Instructions<'a> {
    rest: &'a [u8],
}

/// A push runs past the script's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TruncatedPush;

impl<'a> Instructions<'a> {
    /// Starts at the script's first byte.
    pub const fn new(script: &'a [u8]) -> Self {
        Self { rest: script }
    }

    fn push(&mut self, len: usize) -> Option<Instruction<'a>> {
        let (data, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(Instruction::Push(data))
    }

    fn length<const N: usize>(&mut self) -> Option<usize> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        let mut wide = [0; 4];
        wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        usize::try_from(u32::from_le_bytes(wide)).ok()
    }

    fn instruction(&mut self, opcode: u8) -> Option<Instruction<'a>> {
        match opcode {
            0..OP_PUSHDATA1 => self.push(opcode.into()),
            OP_PUSHDATA1 => self.length::<1>().and_then(|len| self.push(len)),
            OP_PUSHDATA2 => self.length::<2>().and_then(|len| self.push(len)),
            OP_PUSHDATA4 => self.length::<4>().and_then(|len| self.push(len)),
            other => Some(Instruction::Op(other)),
        }
    }
}

impl<'a> Iterator for Instructions<'a> {
    type Item = Result<Instruction<'a>, TruncatedPush>;

    fn next(&mut self) -> Option<Self::Item> {
        let (opcode, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(self.instruction(*opcode).ok_or_else(|| {
            self.rest = &[];
            TruncatedPush
        }))
    }
}

/// Appends the shortest push of `data` by length (numbers have no special opcode here). At most 65,535 bytes.
pub fn push_bytes(script: &mut Vec<u8>, data: &[u8]) {
    let len = data.len();
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short), _) if short < OP_PUSHDATA1 => script.push(short),
        (Ok(byte), _) => script.extend([OP_PUSHDATA1, byte]),
        (_, Ok(word)) => {
            script.push(OP_PUSHDATA2);
            script.extend(word.to_le_bytes());
        }
        _ => {
            script.push(OP_PUSHDATA4);
            script.extend(u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        }
    }
    script.extend(data);
}

/// Gives what an `OP_RETURN` output carries after `magic`: its pushes joined. `None` for any other script.
pub fn op_return_data(script: &[u8], magic: &[u8]) -> Option<Vec<u8>> {
    let mut instructions = Instructions::new(script);
    if instructions.next()? != Ok(Instruction::Op(OP_RETURN)) {
        return None;
    }
    let mut data = Vec::new();
    for instruction in instructions {
        match instruction {
            Ok(Instruction::Push(bytes)) => data.extend_from_slice(bytes),
            _ => return None,
        }
    }
    data.strip_prefix(magic).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pushes_round_trip(data in proptest::collection::vec(any::<u8>(), 0..70_000)) {
            let mut script = Vec::new();
            push_bytes(&mut script, &data);
            let read: Vec<_> = Instructions::new(&script).collect();
            prop_assert_eq!(read, vec![Ok(Instruction::Push(&data))]);
        }

        #[test]
        fn agrees_with_rust_bitcoin(script in proptest::collection::vec(any::<u8>(), 0..200)) {
            let theirs: Vec<_> = bitcoin::Script::from_bytes(&script).instructions().collect();
            let ours: Vec<_> = Instructions::new(&script).collect();
            prop_assert_eq!(ours.len(), theirs.len());
            for (ours, theirs) in ours.iter().zip(&theirs) {
                match (ours, theirs) {
                    (Ok(Instruction::Push(a)), Ok(bitcoin::script::Instruction::PushBytes(b))) => prop_assert_eq!(*a, b.as_bytes()),
                    (Ok(Instruction::Op(a)), Ok(bitcoin::script::Instruction::Op(b))) => prop_assert_eq!(*a, b.to_u8()),
                    (Err(_), Err(_)) => {}
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
    }
}
