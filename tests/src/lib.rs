//! Support for the end-to-end tests: a real Bitcoin Core, node processes, accounts, an RPC client.

pub mod bridge;
mod challenger;
pub mod devnet;
pub mod dispute;
pub mod fraud;
mod hand;
pub mod load;
pub mod lying_node;
mod network;
mod node;
mod precompiles;
mod rpc;
mod traffic;
mod wallet;
pub mod withholding;

pub use challenger::ChallengerListener;
pub use hand::{HandPoster, batch_on, underivable};
pub use network::{Network, NetworkOptions, assert_same};
pub use node::{Node, Role, program};
pub use precompiles::every_precompile;
pub use rpc::{Rpc, RpcFault, number};
pub use traffic::every_kind;
pub use wallet::Wallet;

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything may stand still before a test gives up on it; a busy CI machine is slow.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The pause between two questions to another process, which has no event to wait for.
const POLL: Duration = Duration::from_millis(50);

/// Asks until the answer is there. What says another reason why not, goes on: a slow machine takes its time.
///
/// # Panics
/// When the same reason stays too long, or reasons never end; the message says what was waited for.
pub async fn until<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let start = Instant::now();
    let mut last = String::new();
    let mut since = start;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(reason) if reason != last => (last, since) = (reason, Instant::now()),
            Err(_) => {}
        }
        let in_vain = since.elapsed() >= PATIENCE || start.elapsed() >= PATIENCE * 5;
        assert!(!in_vain, "waited in vain for {what}: {last}");
        tokio::time::sleep(POLL).await;
    }
}
