//! The program's own memcpy and its like, called on the machine.

use alloy_primitives::B256;
use bitsect_machine::{Engine, Interpreter, Machine, Preimages, Program, Status, address};
use bitsect_vm::chain::blob_root;
use proptest::prelude::*;

use super::built;

/// Where the calling code is: below the program's text.
const CALLER: u32 = 0x400;
/// Where the bytes are: in memory that the program does not use.
const DATA: u32 = 0x5000_0000;
const SIZE: usize = 1024;
/// What SIZE is as a node.
const LEVEL: u32 = 4;
/// Instructions for a byte, at most.
const STEPS: u64 = 10_000;

const A0: u32 = 10;
const S0: u32 = 8;
const T0: u32 = 5;

/// Sets a register: `lui`, `addi`.
fn load_immediate(register: u32, value: u32) -> [u32; 2] {
    let high = value.wrapping_add(0x800) & 0xffff_f000;
    [
        high | register << 7 | 0x37,
        value.wrapping_sub(high) << 20 | register << 15 | register << 7 | 0x13,
    ]
}

/// Calls a function with these arguments, puts the hash of the data into the output, ends with the result.
fn caller(function: u32, arguments: [u32; 3]) -> Vec<u32> {
    let mut code = Vec::new();
    for (register, value) in (A0..).zip(arguments).chain([(T0, function)]) {
        code.extend(load_immediate(register, value));
    }
    code.push(T0 << 15 | 1 << 7 | 0x67); // jalr ra, t0
    code.push(A0 << 15 | S0 << 7 | 0x13); // mv s0, a0
    for (register, value) in [(A0, DATA), (11, LEVEL), (17, address::HASH_OF_NODE)] {
        code.extend(load_immediate(register, value));
    }
    code.push(0x73);
    code.extend(load_immediate(T0, address::KEY));
    for word in 0..8_u32 {
        let output = address::OUTPUT - address::KEY + word * 4;
        code.push((word * 4) << 20 | T0 << 15 | 2 << 12 | 6 << 7 | 0x03); // lw t1
        code.push((output >> 5) << 25 | 6 << 20 | T0 << 15 | 2 << 12 | (output & 31) << 7 | 0x23); // sw t1
    }
    code.push(S0 << 15 | A0 << 7 | 0x13); // mv a0, s0
    code.extend(load_immediate(17, address::EXIT));
    code.push(0x73);
    code
}

/// Calls a function over the data; gives what is there afterwards (as a hash), and the result.
fn call(program: &Program, function: &str, arguments: [u32; 3], data: &[u8]) -> (B256, u32) {
    let address = program.symbols.iter().find(|symbol| symbol.name == function);
    let code = caller(address.unwrap().address, arguments);
    let mut program = program.clone();
    program
        .segments
        .push((CALLER, code.iter().flat_map(|word| word.to_le_bytes()).collect()));
    program.segments.push((DATA, data.to_vec()));
    program.entry = CALLER;
    program.text.start = 0;
    let mut machine = Machine::new(&program, &[0; 64]).unwrap();
    Interpreter
        .run_to(&mut machine, STEPS, &Preimages::default())
        .unwrap();
    let Status::Halted { exit_code } = machine.status() else {
        panic!("{:?} at {:x}", machine.status(), machine.pc())
    };
    (machine.output(), exit_code)
}

/// The program's functions alone: what they need of it is its text.
fn functions() -> Program {
    let mut program = Program::from_elf(&std::fs::read(built()).unwrap()).unwrap();
    program.segments.truncate(1);
    program
}

#[test]
fn memory_functions_do_what_they_should() {
    let program = functions();
    let data: Vec<u8> = (0..SIZE).map(|i| (i * 7 + i / 256) as u8).collect();
    let strategy = (0..8_usize, 0..8_usize, 0..140_usize, any::<u8>(), 0..500_usize);
    proptest!(ProptestConfig::with_cases(64), |((to, from, len, byte, near) in strategy)| {
        let at = |offset: usize| DATA + offset as u32;
        let (to, far) = (512 + to, from);
        let mut expected = data.clone();
        expected.copy_within(far..far + len, to);
        let (hash, result) = call(&program, "memcpy", [at(to), at(far), len as u32], &data);
        prop_assert_eq!((hash, result), (blob_root(&expected), at(to)));

        let near = 300 + near;
        let mut expected = data.clone();
        expected.copy_within(near..near + len, to);
        let (hash, result) = call(&program, "memmove", [at(to), at(near), len as u32], &data);
        prop_assert_eq!((hash, result), (blob_root(&expected), at(to)));

        let mut expected = data.clone();
        expected[to..to + len].fill(byte);
        let (hash, result) = call(&program, "memset", [at(to), 0xab00 | u32::from(byte), len as u32], &data);
        prop_assert_eq!((hash, result), (blob_root(&expected), at(to)));
    });
}

#[test]
fn memory_compares() {
    let program = functions();
    let strategy = (0..8_usize, 0..8_usize, 0..100_usize, 0..100_usize, any::<u8>());
    proptest!(ProptestConfig::with_cases(64), |((left, right, len, changed, to) in strategy)| {
        let mut data: Vec<u8> = vec![0; SIZE];
        let right = 512 + right;
        for i in 0..len {
            data[left + i] = i as u8;
            data[right + i] = i as u8;
        }
        if changed < len {
            data[right + changed] = to;
        }
        let expected = data[left..left + len].cmp(&data[right..right + len]) as i32;
        let arguments = [DATA + left as u32, DATA + right as u32, len as u32];
        // memcmp is the same function.
        let (_, result) = call(&program, "bcmp", arguments, &data);
        prop_assert_eq!(result.cast_signed().signum(), expected);
    });
}
