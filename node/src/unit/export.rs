//! Writes what a dispute over a unit needs: its record, and the program with the chain's parameters in it.

use std::path::PathBuf;

use alloy_primitives::Bytes;
use bitsect_vm::chain::ChainParams;
use bitsect_vm::record::UnitRecord;
use clap::Args;
use eyre::{WrapErr, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What `rollup_unitRecord` gives.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordAnswer {
    /// The encoded record.
    pub record: Bytes,
    /// The chain's encoded parameters.
    pub params: Bytes,
}

/// The command's arguments.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// The unit: the one that leads from chain state S_k to S_{k+1}.
    #[arg(value_name = "K", required_unless_present = "block")]
    unit: Option<u64>,
    /// The unit that executed this L2 block, instead.
    #[arg(long, conflicts_with = "unit")]
    block: Option<u64>,
    /// The folder that gets unit-K.bin, and program.elf with --guest.
    #[arg(long, value_name = "DIR")]
    export: PathBuf,
    /// The program as .ci/guest built it; the chain's parameters are written into the copy.
    #[arg(long, value_name = "ELF")]
    guest: Option<PathBuf>,
    /// The JSON-RPC of a node that has derived the unit.
    #[arg(long, default_value = "http://127.0.0.1:8546")]
    rpc_url: String,
}

/// Exports a unit, and prints what it is.
///
/// # Errors
/// When the node does not give the unit, or a file cannot be written.
pub async fn export(args: ExportArgs) -> eyre::Result<()> {
    let unit = match (args.unit, args.block) {
        (Some(unit), _) => unit,
        (None, Some(block)) => {
            let after: Option<u64> = ask(&args.rpc_url, "rollup_unitOf", json!([block])).await?;
            let Some(unit) = after.and_then(|after| after.checked_sub(1)) else {
                bail!("failed to find block {block}: no unit has executed it yet");
            };
            unit
        }
        (None, None) => bail!("failed to choose a unit: give its number or --block"),
    };
    let answer: Option<RecordAnswer> = ask(&args.rpc_url, "rollup_unitRecord", json!([unit])).await?;
    let Some(answer) = answer else {
        bail!("failed to record unit {unit}: the node has not derived it yet");
    };
    let record = UnitRecord::decode(&answer.record).wrap_err("failed to decode the node's record")?;
    std::fs::create_dir_all(&args.export)
        .wrap_err_with(|| format!("failed to make {}", args.export.display()))?;
    let path = args.export.join(format!("unit-{unit}.bin"));
    write(&path, &answer.record)?;
    println!("unit     {unit}");
    println!("before   {}", record.before);
    println!("advice   {}", record.advice);
    println!("after    {}", record.after);
    println!("nodes    {}", record.nodes.len());
    println!("blobs    {}", record.blobs.len());
    println!("record   {}", path.display());
    if let Some(guest) = &args.guest {
        let program = std::fs::read(guest).wrap_err_with(|| format!("failed to read {}", guest.display()))?;
        let params =
            ChainParams::decode(&answer.params).wrap_err("failed to decode the chain's parameters")?;
        let program = bitsect_guest::params::write(&program, &params)
            .wrap_err_with(|| format!("failed to write the parameters into {}", guest.display()))?;
        let path = args.export.join("program.elf");
        write(&path, &program)?;
        println!("program  {}", path.display());
    }
    Ok(())
}

fn write(path: &std::path::Path, bytes: &[u8]) -> eyre::Result<()> {
    std::fs::write(path, bytes).wrap_err_with(|| format!("failed to write {}", path.display()))
}

/// A JSON-RPC answer.
#[derive(Deserialize)]
struct Answer<T> {
    result: Option<T>,
    error: Option<serde_json::Value>,
}

pub(crate) async fn ask<T: serde::de::DeserializeOwned>(
    url: &str,
    method: &str,
    params: serde_json::Value,
) -> eyre::Result<T> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let response = reqwest::Client::new().post(url).json(&request).send().await;
    let response = response.wrap_err_with(|| format!("failed to reach {url}"))?;
    let answer = response.json::<Answer<serde_json::Value>>().await;
    let answer = answer.wrap_err_with(|| format!("failed to read the answer of {url}"))?;
    ensure!(
        answer.error.is_none(),
        "{method}: {}",
        answer.error.unwrap_or_default()
    );
    serde_json::from_value(answer.result.unwrap_or_default())
        .wrap_err_with(|| format!("failed to read the result of {method}"))
}
