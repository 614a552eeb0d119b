//! Derivation: from Bitcoin blocks to L2 blocks.

pub mod bitcoin;
mod cursor;
mod deposit;
mod envelope;
mod inbox;
pub mod payload;
mod plan;
mod record;
mod scan;

pub use cursor::{HeaderError, L1Cursor, MEDIAN_WINDOW};
pub use deposit::{DEPOSIT_TAG, DepositCall, DepositTag, MAX_DEPOSIT_CALL, deposit_keep, vault_script};
pub use envelope::{
    COMMIT_TAG, MAX_FRAME, MAX_FRAMES, commit_frames, commit_tag_script, frame_of_script, frame_script,
};
pub use inbox::{
    AcceptedDeposit, DEPOSIT_CALL_GAS, DEPOSIT_GAS, FORCED_TAG, InboxItem, LEAST_FORCED_GAS, MAX_FORCED_SIZE,
    decode_items, encode_items, forced_script,
};
pub use plan::{
    BatchFault, PlanError, PlannedBlock, UnitKind, plan_batch_block, plan_forced_block, read_batch,
    verify_batch,
};
pub use record::{
    ASSIGNMENT_TAG, AddedOutput, Assignment, BridgeRecord, MAX_PAYOUT_IDS, MAX_RECORD_GAS, MAX_VAULT_OUTPUTS,
    PAYOUT_TAG, Paid, Payout, REDEMPTION_TAG, Redemption, VAULT_SPEND_TAG, VaultSpend, assignment_script,
    payout_script, redemption_script, vault_spend_script,
};
pub use scan::{L1UnitError, MAX_OPEN_DEPOSITS, process_l1_block};
