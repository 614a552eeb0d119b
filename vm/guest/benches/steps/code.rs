//! Init code that does one thing many times.

/// A loop: where it reads from, and what it does. The stack is as it was after every round.
#[derive(Clone, Default)]
pub struct Loop {
    /// Put at the beginning of memory.
    pub memory: Vec<u8>,
    /// Runs once, before the loop: what it pushes lies below the counter.
    pub setup: Vec<u8>,
    pub body: Vec<u8>,
}

/// Gas of a call of a warm account with four pushes of nothing, two pushes, GAS and POP.
pub const CALL_GAS: u64 = 100 + 3 * 2 + 2 * 3 + 2 + 2;

impl Loop {
    /// Calls a precompile on these bytes. What it returns stays where it is.
    pub fn call(precompile: u16, input: Vec<u8>) -> Self {
        let [size, address] = [input.len() as u16, precompile].map(u16::to_be_bytes);
        let body = [
            &[0x5f, 0x5f, 0x61][..],
            &size,
            &[0x5f, 0x61],
            &address,
            &[0x5a, 0xfa, 0x50],
        ];
        Self {
            body: body.concat(),
            memory: input,
            ..Self::default()
        }
    }

    /// The code of so many rounds.
    pub fn rounds(&self, rounds: u16) -> Vec<u8> {
        let [high, low] = rounds.to_be_bytes();
        let setup = [&self.setup[..], &[0x61, high, low]].concat();
        // Counts down, and stops at zero.
        self.code(&setup, |[high, low]| {
            vec![0x60, 1, 0x90, 0x03, 0x80, 0x61, high, low, 0x57, 0x00]
        })
    }

    /// The code of rounds until all gas is used.
    pub fn endless(&self) -> Vec<u8> {
        self.code(&self.setup, |[high, low]| vec![0x61, high, low, 0x56])
    }

    fn code(&self, setup: &[u8], end: impl Fn([u8; 2]) -> Vec<u8>) -> Vec<u8> {
        // PUSH2 size, PUSH2 offset, PUSH0, CODECOPY.
        let start = 8 + setup.len();
        let end = end(u16::try_from(start).expect("a short setup").to_be_bytes());
        let offset = start + 1 + self.body.len() + end.len();
        let [size, offset] =
            [self.memory.len(), offset].map(|n| u16::try_from(n).expect("of one init code").to_be_bytes());
        let parts = [
            &[0x61][..],
            &size,
            &[0x61],
            &offset,
            &[0x5f, 0x39],
            setup,
            &[0x5b],
            &self.body,
            &end,
            &self.memory,
        ];
        parts.concat()
    }
}
