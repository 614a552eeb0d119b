//! A chain at genesis that calls are made on.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, Log, U256};
use alloy_sol_types::{SolCall, sol};
use bitsect_vm::chain::predeploys::{BITCOIN_BLOCKS, SYSTEM_CALLER, set_l1_block_input};
use bitsect_vm::chain::{GenesisConfig, L1Info, Transaction, genesis_alloc};
use bitsect_vm::derive::InboxItem;
use revm::context::TxEnv;
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::TxKind;
use revm::primitives::hardfork::SpecId;
use revm::state::{AccountInfo, Bytecode};
use revm::{Context, DatabaseRef, ExecuteCommitEvm, MainBuilder, MainContext, SystemCallCommitEvm};

sol! {
    contract BitcoinBlocks {
        error OnlySystem(address caller);
        error UnknownBlock(uint32 height);
        error SixtyFourByteTransaction();
        struct Origin { bytes32 hash; bytes32 merkleRoot; uint32 time; uint32 medianTimePast; uint64 feeRate; }
        function SYSTEM() view returns (address);
        function height() view returns (uint32);
        function time() view returns (uint32);
        function hash() view returns (bytes32);
        function blockAt(uint32 height) view returns (Origin);
        function transactionId(bytes transaction) pure returns (bytes32);
        function verifyTransaction(bytes32 txid, uint32 height, uint256 index, bytes32[] path)
            view returns (bool);
        function verifyRawTransaction(bytes transaction, uint32 height, uint256 index, bytes32[] path)
            view returns (bool);
    }

    contract Bridge {
        event WithdrawalRequested(
            uint64 indexed id, address indexed sender, uint64 amount, uint64 fee, bytes scriptPubKey
        );
        event WithdrawalPaid(uint64 indexed id, bytes32 indexed operator, bytes32 txid, uint32 vout);
        event PayoutRefused(uint64 indexed id, bytes32 indexed operator, bytes32 txid, uint8 reason);
        event DepositAccepted(
            address indexed recipient, bytes32 indexed txid, uint32 vout, uint64 amount, bool called
        );
        event DepositUnclaimed(address indexed recipient, uint64 amount);
        event VaultOutputAdded(bytes32 indexed txid, uint32 vout, uint64 amount);
        event VaultOutputSpent(bytes32 indexed txid, uint32 vout, uint64 amount, bytes32 spentBy);
        event Unassigned(bytes32 indexed operator, bytes32 vaultTxid, uint32 vaultVout, uint64 amount);
        event VaultBroken(bytes32 indexed txid, uint64 spent, uint64 added);
        event Assigned(
            bytes32 indexed operator, uint32 ticketVout, bytes32 vaultTxid, uint32 vaultVout, uint64 amount
        );
        event AssignmentRefused(
            bytes32 indexed operator, uint32 ticketVout, bytes32 vaultTxid, uint32 vaultVout, uint8 reason
        );
        event Redeemed(bytes32 indexed operator, address indexed to, uint64 amount);
        error OnlySystem(address caller);
        error NothingToClaim(address caller);
        error FeeTooHigh(uint256 fee, uint256 sats);
        error NotWholeSats(uint256 value);
        error BelowDustLimit(uint256 sats, uint256 minimum);
        error AmountTooLarge(uint256 sats);
        error ScriptTooLong(uint256 size, uint256 maximum);
        error UnsupportedScript(bytes scriptPubKey);
        error UnknownWithdrawal(uint64 id);
        struct Withdrawal {
            address sender; uint64 amount; uint32 l1Height; uint64 fee; uint32 paidL1Height; bytes scriptPubKey;
        }
        function totals() view returns (uint64 vault, uint64 pending, uint64 credit, uint64 inFlight);
        function settled() view returns (uint64);
        function unclaimedTotal() view returns (uint64);
        function unclaimed(address) view returns (uint64);
        function creditOf(bytes32) view returns (uint64);
        function claim(address to);
        function outputId(bytes32 txid, uint32 vout) pure returns (bytes24);
        function withdraw(bytes scriptPubKey, uint64 fee) payable returns (uint64 id);
        function withdrawal(uint64 id) view returns (Withdrawal);
        function withdrawalCount() view returns (uint64);
    }

    contract FeeVault {
        error OnlyOwner(address caller);
        error OnlyPendingOwner(address caller);
        error InsufficientFees(uint256 asked, uint256 balance);
        function owner() view returns (address);
        function pendingOwner() view returns (address);
        function withdraw(bytes scriptPubKey, uint256 amount, uint64 fee) returns (uint64);
        function offerOwnership(address newOwner);
        function acceptOwnership();
    }

    contract Multicall3 {
        struct Call { address target; bytes callData; }
        function aggregate(Call[] calls) returns (uint256 blockNumber, bytes[] returnData);
    }
}

/// Owns the fee vault.
pub const OWNER: Address = Address::repeat_byte(0xaa);
/// Has more wei than any test sends.
pub const USER: Address = Address::repeat_byte(0xbb);

/// Gives an origin with this height and merkle root, and all other fields different from each other.
pub fn origin(height: u32, merkle_root: B256) -> L1Info {
    L1Info {
        height,
        hash: B256::left_padding_from(&[0x55, height as u8]),
        merkle_root,
        time: 1_700_000_000 + height,
        median_time_past: 1_600_000_000 + height,
        fee_rate: 7_000 + u64::from(height),
    }
}

/// The state, changed by every call that succeeds.
pub struct Chain {
    state: CacheDB<EmptyDB>,
}

impl Chain {
    /// Starts from the genesis state, at origin 100.
    pub fn new() -> Self {
        let config = GenesisConfig {
            origin: origin(100, B256::ZERO),
            timestamp: 0,
            gas_limit: 30_000_000,
            base_fee: 0,
            fee_vault_owner: OWNER,
            balances: BTreeMap::from([(USER, U256::from(u128::MAX))]),
        };
        let mut state = CacheDB::new(EmptyDB::new());
        for (address, change) in genesis_alloc(&config).accounts {
            let account = change.after.unwrap();
            let info = AccountInfo {
                balance: account.balance,
                nonce: account.nonce,
                code_hash: account.code_hash,
                code: change.code.map(Bytecode::new_raw),
                ..Default::default()
            };
            state.insert_account_info(address, info);
            for (slot, (_, value)) in change.storage {
                state.insert_account_storage(address, slot, value).unwrap();
            }
        }
        Self { state }
    }

    /// Makes the system call that records an origin.
    pub fn set_l1_block(&mut self, origin: &L1Info) {
        let mut evm = Context::mainnet().with_db(&mut self.state).build_mainnet();
        evm.ctx.cfg.set_spec_and_mainnet_gas_params(SpecId::OSAKA);
        let input = set_l1_block_input(origin).into();
        let result = evm
            .system_call_with_caller_commit(SYSTEM_CALLER, BITCOIN_BLOCKS, input)
            .unwrap();
        assert!(result.is_success(), "{result:?}");
    }

    /// Calls with raw input: output and logs, or the revert data.
    pub fn call_raw(
        &mut self,
        caller: Address,
        to: Address,
        value: U256,
        data: Bytes,
    ) -> Result<(Bytes, Vec<Log>), Bytes> {
        let mut evm = Context::mainnet().with_db(&mut self.state).build_mainnet();
        evm.ctx.cfg.set_spec_and_mainnet_gas_params(SpecId::OSAKA);
        evm.ctx.cfg.disable_nonce_check = true;
        let tx = TxEnv::builder()
            .caller(caller)
            .kind(TxKind::Call(to))
            .value(value)
            .data(data)
            .gas_limit(10_000_000)
            .gas_price(0)
            .build()
            .unwrap();
        let result = evm.transact_commit(tx).unwrap();
        let output = result.output().cloned().unwrap_or_default();
        if result.is_success() {
            Ok((output, result.into_logs()))
        } else {
            Err(output)
        }
    }

    /// Has the protocol record what came from Bitcoin, within the gas that it gives: logs and the gas used.
    pub fn record(&mut self, item: &InboxItem, blob: &[u8]) -> (Vec<Log>, u64) {
        let Some(Transaction::Deposit(deposit)) = item.transaction(&B256::ZERO, blob) else {
            panic!("{item:?} makes a call of the protocol");
        };
        let mut account = self.state.basic_ref(deposit.from).unwrap().unwrap_or_default();
        account.balance += U256::from(deposit.mint);
        self.state.insert_account_info(deposit.from, account);
        let mut evm = Context::mainnet().with_db(&mut self.state).build_mainnet();
        evm.ctx.cfg.set_spec_and_mainnet_gas_params(SpecId::OSAKA);
        evm.ctx.cfg.disable_nonce_check = true;
        let tx = TxEnv::builder()
            .caller(deposit.from)
            .kind(deposit.to)
            .value(deposit.value)
            .data(deposit.input.clone())
            .gas_limit(deposit.gas_limit)
            .gas_price(0)
            .build()
            .unwrap();
        let result = evm.transact_commit(tx).unwrap();
        assert!(result.is_success(), "{item:?}: {result:?}");
        let used = result.tx_gas_used();
        (result.into_logs(), used)
    }

    /// Puts code at an address.
    pub fn deploy(&mut self, address: Address, code: &[u8]) {
        let code = Bytecode::new_raw(Bytes::copy_from_slice(code));
        let info = AccountInfo {
            code_hash: code.hash_slow(),
            code: Some(code),
            ..Default::default()
        };
        self.state.insert_account_info(address, info);
    }

    /// Calls a function: its return value and logs, or the revert data.
    pub fn call<C: SolCall>(
        &mut self,
        caller: Address,
        to: Address,
        value: U256,
        call: &C,
    ) -> Result<(C::Return, Vec<Log>), Bytes> {
        let (output, logs) = self.call_raw(caller, to, value, call.abi_encode().into())?;
        Ok((C::abi_decode_returns_validate(&output).unwrap(), logs))
    }

    /// Calls a function that must revert: its revert data.
    pub fn refused<C: SolCall>(&mut self, caller: Address, to: Address, value: U256, call: &C) -> Bytes {
        self.call(caller, to, value, call)
            .err()
            .expect("the call must revert")
    }

    /// Calls a view function, which must succeed.
    pub fn view<C: SolCall>(&mut self, to: Address, call: &C) -> C::Return {
        match self.call(USER, to, U256::ZERO, call) {
            Ok((value, _)) => value,
            Err(data) => panic!("{} reverted: {data}", C::SIGNATURE),
        }
    }

    /// Reads a slot.
    pub fn storage(&self, address: Address, slot: U256) -> U256 {
        self.state.storage_ref(address, slot).unwrap()
    }

    /// Reads a balance in wei.
    pub fn balance(&self, address: Address) -> U256 {
        self.state.basic_ref(address).unwrap().unwrap_or_default().balance
    }
}
