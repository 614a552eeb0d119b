//! A staged fraud on a devnet: a lying operator posts a false claim, a challenger defeats it on Bitcoin.

use clap::Parser;

fn main() -> eyre::Result<()> {
    let args = bitsect_tests::fraud::FraudArgs::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(bitsect_tests::fraud::run(args))
}
