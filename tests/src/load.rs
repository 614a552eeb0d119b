//! The load of the benchmarks: transfers of many accounts, signed beforehand.

use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex, keccak256};
use serde_json::json;

use crate::{Rpc, Wallet, number, until};

/// Accounts that send at once, each on a connection of its own.
pub const ACCOUNTS: usize = 50;

/// Gives the code of the token that `vm/benches/Token.sol` is. Its first slot maps owners to balances.
///
/// # Panics
/// When the file is not hexadecimal.
pub fn token_runtime() -> Bytes {
    let text = include_str!("../../vm/benches/Token.hex");
    hex::decode(text.trim()).expect("hexadecimal").into()
}

/// Gives the token's creation code: its creator owns 2^255.
fn token_code() -> Bytes {
    let runtime = token_runtime();
    let size = u16::try_from(runtime.len())
        .expect("a small contract")
        .to_be_bytes();
    // balanceOf[caller] = 1 << 255; return the code behind these 23 bytes.
    let constructor = hex!("335f52600160ff1b60405f2055");
    [
        &constructor[..],
        &[0x61, size[0], size[1], 0x80, 0x60, 0x17, 0x5f, 0x39, 0x5f, 0xf3],
        &runtime,
    ]
    .concat()
    .into()
}

/// A kind of transfer.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// Of the chain's coin.
    Eth,
    /// Of the token at this address.
    Erc20(Address),
}

impl Load {
    /// Signs a transfer of one unit.
    pub fn sign(self, wallet: &mut Wallet, to: Address) -> Vec<u8> {
        match self {
            Self::Eth => wallet.transfer(to, 1),
            Self::Erc20(token) => {
                let mut input = hex!("a9059cbb").to_vec();
                input.extend(to.into_word());
                input.extend(U256::from(1).to_be_bytes::<32>());
                wallet.call(TxKind::Call(token), U256::ZERO, input.into(), 100_000)
            }
        }
    }
}

/// Gives an address that nobody used before.
pub fn recipient(index: usize) -> Address {
    Address::from_word(keccak256(index.to_be_bytes()))
}

/// Gives the accounts and the token, funded by the first devnet account, each with a share of the token.
///
/// # Panics
/// When the node refuses something.
pub async fn prepare(rpc: &Rpc) -> (Vec<Wallet>, Address) {
    let mut rich = Wallet::funded(0);
    let chain_id = bitsect_node::devnet::CHAIN_ID;
    let hash = rpc.sent(&rich.create(token_code())).await;
    let receipt = rpc.included(&hash).await;
    assert_eq!(receipt["status"], "0x1", "{receipt}");
    let token: Address = receipt["contractAddress"]
        .as_str()
        .expect("an address")
        .parse()
        .expect("an address");
    let wallets: Vec<Wallet> = (0..ACCOUNTS)
        .map(|index| Wallet::new(&B256::with_last_byte(index as u8 + 1), chain_id))
        .collect();
    let mut last = String::new();
    for wallet in &wallets {
        let value = U256::from(10).pow(U256::from(20));
        let fund = rich.call(TxKind::Call(wallet.address), value, Bytes::new(), 21_000);
        rpc.sent(&fund).await;
        let mut input = hex!("a9059cbb").to_vec();
        input.extend(wallet.address.into_word());
        input.extend(U256::from(1_000_000_000).to_be_bytes::<32>());
        let share = rich.call(TxKind::Call(token), U256::ZERO, input.into(), 100_000);
        last = rpc.sent(&share).await;
    }
    assert_eq!(rpc.included(&last).await["status"], "0x1");
    (wallets, token)
}

/// Signs `each` transfers of every account, all to fresh addresses.
pub fn sign_all(wallets: &mut [Wallet], load: Load, each: usize) -> Vec<Vec<Vec<u8>>> {
    let accounts = wallets.iter_mut().enumerate();
    let sign = |(account, wallet): (usize, &mut Wallet)| {
        let sent = usize::try_from(wallet.nonce).expect("a nonce fits");
        let to = |i| recipient(account * 1_000_000 + sent + i);
        (0..each).map(|i| load.sign(wallet, to(i))).collect()
    };
    accounts.map(sign).collect()
}

/// Sends signed transactions, one connection an account; returns when all are acknowledged.
///
/// # Panics
/// When one is refused.
pub async fn send_all(rpc: &Rpc, signed: Vec<Vec<Vec<u8>>>) {
    let senders = signed.into_iter().map(|transactions| {
        let rpc = Rpc::new(rpc.url().to_owned());
        tokio::spawn(async move {
            for raw in transactions {
                rpc.sent(&raw).await;
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("a sender ends well");
    }
}

/// Waits until everything that the accounts signed is included.
///
/// # Panics
/// When it does not come.
pub async fn wait_included(rpc: &Rpc, wallets: &[Wallet]) {
    for wallet in wallets {
        until("all transactions to be included", || async {
            let params = json!([wallet.address, "latest"]);
            let nonce = number(&rpc.get("eth_getTransactionCount", params).await);
            if nonce == wallet.nonce {
                Ok(())
            } else {
                Err(format!("nonce {nonce} of {}", wallet.nonce))
            }
        })
        .await;
    }
}
