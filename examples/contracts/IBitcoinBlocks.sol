// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @notice The part of the system contract at 0x4200000000000000000000000000000000000001 that dApps use.
/// Hashes are in internal byte order.
interface IBitcoinBlocks {
    struct Origin {
        bytes32 hash;
        bytes32 merkleRoot;
        uint32 time;
        uint32 medianTimePast;
        uint64 feeRate;
    }

    function height() external view returns (uint32);
    function blockAt(uint32 height) external view returns (Origin memory);
    function verifyRawTransaction(
        bytes calldata transaction,
        uint32 height,
        uint256 index,
        bytes32[] calldata path
    ) external view returns (bool);
}
