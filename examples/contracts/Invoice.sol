// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IBitcoinBlocks} from "./IBitcoinBlocks.sol";

/// @title Invoice
/// @notice Is settled by a payment on Bitcoin: anyone may show the transaction and its place in a block.
///
/// The payee must use a fresh Bitcoin script for every invoice. A script that is used twice lets one payment
/// settle both invoices.
contract Invoice {
    IBitcoinBlocks private constant BITCOIN_BLOCKS = IBitcoinBlocks(0x4200000000000000000000000000000000000001);

    /// The script to be paid to.
    bytes public scriptPubKey;
    /// The least amount of one output, in sat.
    uint64 public immutable amount;
    /// Blocks that must be on the payment, its own included.
    uint32 public immutable confirmations;
    /// The block that has the payment; zero while the invoice is open.
    uint32 public settledAt;

    event Settled(bytes32 indexed blockHash, uint32 height, uint64 value);

    error AlreadySettled(uint32 height);
    error TooFewConfirmations(uint32 height, uint32 newest);
    error NotInBitcoin();
    error WrongScript();
    error TooLittle(uint64 value, uint64 amount);
    error NoSuchOutput(uint256 vout);
    error MalformedTransaction();

    constructor(bytes memory scriptPubKey_, uint64 amount_, uint32 confirmations_) {
        scriptPubKey = scriptPubKey_;
        amount = amount_;
        confirmations = confirmations_;
    }

    /// Settles the invoice by output `vout` of a transaction, serialised without witness.
    function settle(
        bytes calldata transaction,
        uint256 vout,
        uint32 height,
        uint256 index,
        bytes32[] calldata path
    ) external {
        if (settledAt != 0) revert AlreadySettled(settledAt);
        uint32 newest = BITCOIN_BLOCKS.height();
        if (uint256(height) + confirmations > uint256(newest) + 1) revert TooFewConfirmations(height, newest);
        if (!BITCOIN_BLOCKS.verifyRawTransaction(transaction, height, index, path)) revert NotInBitcoin();
        (uint64 value, uint256 start, uint256 end) = output(transaction, vout);
        if (keccak256(transaction[start:end]) != keccak256(scriptPubKey)) revert WrongScript();
        if (value < amount) revert TooLittle(value, amount);
        settledAt = height;
        emit Settled(BITCOIN_BLOCKS.blockAt(height).hash, height, value);
    }

    /// An output's value, and where its script is.
    function output(bytes calldata t, uint256 vout)
        private
        pure
        returns (uint64 value, uint256 start, uint256 end)
    {
        (uint256 count, uint256 offset) = compactSize(t, 4);
        for (; count > 0; count--) {
            // Outpoint, script with its length, sequence.
            (uint256 size, uint256 script) = compactSize(t, offset + 36);
            offset = script + size + 4;
        }
        (count, offset) = compactSize(t, offset);
        if (vout >= count) revert NoSuchOutput(vout);
        for (uint256 i = 0; i <= vout; i++) {
            // Value, script with its length.
            value = uint64(littleEndian(t, offset, 8));
            (end, start) = compactSize(t, offset + 8);
            end += start;
            offset = end;
        }
        if (end > t.length) revert MalformedTransaction();
    }

    /// A length as Bitcoin writes it, and where the next field starts.
    function compactSize(bytes calldata t, uint256 offset) private pure returns (uint256 value, uint256 next) {
        value = littleEndian(t, offset, 1);
        if (value < 0xfd) return (value, offset + 1);
        uint256 size = value == 0xfd ? 2 : value == 0xfe ? 4 : 8;
        return (littleEndian(t, offset + 1, size), offset + 1 + size);
    }

    function littleEndian(bytes calldata t, uint256 offset, uint256 size) private pure returns (uint256 value) {
        if (offset + size > t.length) revert MalformedTransaction();
        for (uint256 i = size; i > 0; i--) value = (value << 8) | uint8(t[offset + i - 1]);
    }
}
