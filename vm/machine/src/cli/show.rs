//! How states, steps and witnesses are printed.

use bitsect_machine::{
    Access, Instruction, Machine, NodeWrite, Program, REGISTER_NAMES, Status, StepWitness, address,
};

pub fn status(status: Status) -> String {
    match status {
        Status::Running => "running".to_owned(),
        Status::Halted { exit_code } => format!("halted, exit code {exit_code}"),
        Status::Trapped(trap) => format!("trapped: {trap:?} (status {})", trap as u32),
    }
}

/// The instruction at pc, disassembled.
pub fn instruction(machine: &Machine) -> String {
    match machine.instruction_word() {
        None => "(pc is not in the text)".to_owned(),
        Some(word) => {
            Instruction::decode(word).map_or_else(|| format!(".word {word:#010x}"), |known| known.to_string())
        }
    }
}

/// Registers that differ.
pub fn changes(before: &[u32; 32], after: &[u32; 32]) -> String {
    let mut text = String::new();
    for (name, (before, after)) in REGISTER_NAMES.iter().zip(before.iter().zip(after)) {
        if before != after {
            text += &format!("{name}={after:#x} ");
        }
    }
    text
}

/// The function that an address is in.
pub fn place(program: &Program, pc: u32) -> String {
    program.symbol(pc).map_or_else(String::new, |symbol| {
        format!("<{}+{:#x}>", symbol.name, pc - symbol.address)
    })
}

pub fn witness(step: u64, instruction: &str, witness: &StepWitness) {
    println!("step     {step}: {instruction}");
    println!("before   {}", witness.before);
    println!("middle   {}", witness.middle);
    println!("after    {}", witness.after);
    for access in &witness.reads {
        read(access);
    }
    if let Some(node) = &witness.node {
        write("hash of", node);
    }
    if let Some(preimage) = &witness.preimage {
        println!("block    {}", alloy_primitives::hex::encode(preimage.block));
        println!("chaining {}", preimage.chaining);
    }
    for (part, node) in [("data", &witness.data), ("control", &witness.control)] {
        if let Some(node) = node {
            write(part, node);
        }
    }
}

fn read(access: &Access) {
    println!(
        "read     {:08x} {:<8} {:#010x}  leaf {}",
        access.address,
        name(access.address),
        access.word(),
        alloy_primitives::hex::encode(access.leaf)
    );
    path(&access.siblings);
}

fn write(part: &str, node: &NodeWrite) {
    println!(
        "{part:<8} {:08x} level {}  {} -> {}",
        node.address, node.level, node.old, node.new
    );
    path(&node.siblings);
}

fn path(siblings: &[alloy_primitives::B256]) {
    for (level, sibling) in siblings.iter().enumerate() {
        println!("         sibling {level:>2}  {sibling}");
    }
}

/// What is kept at an address that is the machine's own.
fn name(at: u32) -> &'static str {
    match at {
        address::CONTROL => "pc",
        address::REGISTERS..address::CONTROL => REGISTER_NAMES
            .get(((at - address::REGISTERS) / 4) as usize)
            .copied()
            .unwrap_or(""),
        address::KEY..address::BLOCK => "key",
        _ => "",
    }
}
