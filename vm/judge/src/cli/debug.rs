//! Shows a leaf, and runs it with names on its stack.

use std::collections::BTreeMap;
use std::path::Path;

use bitsect_judge::leaf::{Leaf, Rule, Value, Values};
use bitsect_judge::rules;
use bitsect_judge::script::{Mark, Rules, Stacks, run};
use bitsect_judge::table::{self, TEXT};
use bitsect_judge::winternitz::Signature;
use eyre::{OptionExt, WrapErr, bail};
use serde::Deserialize;

/// What a witness file holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    values: BTreeMap<String, String>,
    hints: Option<Vec<i64>>,
}

/// Shows a leaf; with a witness file, runs it.
pub fn leaf(name: &str, file: Option<&Path>, trace: bool) -> eyre::Result<()> {
    let rule = rules(&TEXT).into_iter().find(|rule| rule.name == name);
    let rule = rule.ok_or_eyre(format!("no leaf {name}: see bitsect-judge list"))?;
    let leaf = rule.leaf(&table::keys());
    println!("{}", table::row(&rule).describe());
    for input in &leaf.inputs {
        println!("  witness: {input:?}");
    }
    let Some(path) = file else {
        return Ok(());
    };
    let file =
        std::fs::read_to_string(path).wrap_err_with(|| format!("failed to read {}", path.display()))?;
    let file: File =
        serde_json::from_str(&file).wrap_err_with(|| format!("failed to parse {}", path.display()))?;
    execute(&rule, &leaf, &file, trace)
}

fn execute(rule: &Rule, leaf: &Leaf, file: &File, trace: bool) -> eyre::Result<()> {
    let (values, signatures) = published(rule, &file.values)?;
    let refuted = rule.refute(&values);
    let verdict = refuted
        .as_ref()
        .map_or("are not false in this way", |_| "are false in this way");
    println!("the values {verdict}");
    let none = vec![0; rule.hints.len()];
    let hints = file.hints.clone().or(refuted).unwrap_or(none);
    if hints.len() != rule.hints.len() {
        bail!(
            "{} hints, the leaf takes {}: {:?}",
            hints.len(),
            rule.hints.len(),
            rule.hints
        );
    }
    for (name, hint) in rule.hints.iter().zip(&hints) {
        println!("  hint {name} = {hint}");
    }
    let witness = leaf
        .witness(&hints, &signatures)
        .ok_or_eyre("a value is missing")?;
    let mut marks = leaf.marks.iter().peekable();
    let result = run(&leaf.script, &witness, Rules::Standard, |offset, stacks| {
        while let Some(mark) = marks.next_if(|mark| mark.offset == offset) {
            if trace {
                show(mark, stacks);
            }
        }
    });
    match result {
        Ok(run) => println!("taken: {} opcodes, {} items at most", run.executed, run.deepest),
        Err(fault) => println!("not taken: {fault}"),
    }
    Ok(())
}

/// Reads the values that the rule wants, and signs them.
fn published(
    rule: &Rule,
    given: &BTreeMap<String, String>,
) -> eyre::Result<(Values, BTreeMap<Value, Signature>)> {
    let mut values = Values::new();
    let mut signatures = BTreeMap::new();
    for (value, _) in &rule.reads {
        let name = format!("{value:?}");
        let hex = given.get(&name).ok_or_eyre(format!("value {name} is missing"))?;
        let bytes = hex::decode(hex.trim_start_matches("0x")).wrap_err_with(|| format!("{name}: no hex"))?;
        if bytes.len() != value.bytes() {
            bail!("{name}: {} bytes, it has {}", bytes.len(), value.bytes());
        }
        signatures.insert(*value, table::sign(*value, &bytes));
        values.insert(*value, bytes);
    }
    Ok((values, signatures))
}

/// Prints both stacks, top first; digits of one value that lie in a row are one number, highest digit first.
fn show(mark: &Mark, stacks: &Stacks) {
    println!("byte {}: {}", mark.offset, mark.label);
    for (title, names, items) in [
        ("main", &mark.main, &stacks.main),
        ("alt", &mark.alt, &stacks.alt),
    ] {
        if items.is_empty() {
            continue;
        }
        println!("  {title}, {} items, top first:", items.len());
        let mut rows: Vec<(String, Vec<String>)> = Vec::new();
        for (name, item) in names.iter().zip(items).rev() {
            let (stem, digit) = match name.rsplit_once('.') {
                Some((stem, digit)) if digit.parse::<usize>().is_ok() => (stem, true),
                _ => (name.as_str(), false),
            };
            let shown = number(item);
            match rows.last_mut().filter(|(last, _)| digit && last == stem) {
                Some((_, items)) => items.push(shown),
                None => rows.push((stem.to_owned(), vec![shown])),
            }
        }
        for (stem, items) in rows {
            println!("    {stem} = {}", items.join(" "));
        }
    }
}

/// Shows a number, or the start of any other item.
fn number(item: &[u8]) -> String {
    match bitcoin::script::read_scriptint_non_minimal(item) {
        Ok(number) => number.to_string(),
        Err(_) => format!("{}..", hex::encode(&item[..4])),
    }
}
