// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title BitcoinBlocks
/// @notice Every Bitcoin block that is an origin of this chain, and proofs that a transaction is in one.
///
/// Hashes, merkle roots and transaction ids are in internal byte order: as SHA-256 puts them out, the
/// reverse of what explorers show.
///
/// A Bitcoin reorganisation that drops an origin also drops every L2 block since, so the blocks here are
/// always those of one Bitcoin chain. How deep a block is buried is the caller's business: compare its
/// height with `height()`.
contract BitcoinBlocks {
    /// What is kept of a Bitcoin block.
    struct Origin {
        bytes32 hash;
        bytes32 merkleRoot;
        uint32 time;
        uint32 medianTimePast;
        uint64 feeRate;
    }

    /// The caller of the system call at the start of a block, as in EIP-2935 and EIP-4788.
    address public constant SYSTEM = 0xffffFFFfFFffffffffffffffFfFFFfffFFFfFFfE;

    /// The longest merkle path: 4,000,000 weight units hold at most 16,666 transactions of the smallest
    /// weight (240), and 2^14 < 16,666 <= 2^15.
    uint256 public constant MAX_PATH = 15;

    // Slot 0, from the low end, and slot 1: the node reads these two directly (vm/src/chain/predeploys.rs).

    /// The newest origin's fee rate, in sat per 1,000 vB.
    uint64 public feeRate;
    /// The newest origin's height.
    uint32 public height;
    /// The newest origin's header time, in seconds since 1970.
    uint32 public time;
    /// The newest origin's median time past (BIP-0113), in seconds since 1970.
    uint32 public medianTimePast;
    /// The newest origin's hash.
    bytes32 public hash;

    mapping(uint32 => Origin) private origins;

    /// Someone other than the chain itself called `setL1Block`.
    error OnlySystem(address caller);
    /// The block is not an origin of this chain: older than its first, or newer than its newest.
    error UnknownBlock(uint32 height);
    /// A serialised transaction of 64 bytes could as well be an inner node of a merkle tree.
    error SixtyFourByteTransaction();

    /// Records a new origin. The chain calls this first in the first L2 block of an origin. Derivation has
    /// checked everything, so nothing is checked again: a revert here would only stop the chain.
    function setL1Block(
        uint32 height_,
        bytes32 hash_,
        bytes32 merkleRoot_,
        uint32 time_,
        uint32 medianTimePast_,
        uint64 feeRate_
    ) external {
        if (msg.sender != SYSTEM) revert OnlySystem(msg.sender);
        feeRate = feeRate_;
        height = height_;
        time = time_;
        medianTimePast = medianTimePast_;
        hash = hash_;
        origins[height_] = Origin(hash_, merkleRoot_, time_, medianTimePast_, feeRate_);
    }

    /// The origin at a height. Reverts with `UnknownBlock` where there is none.
    function blockAt(uint32 height_) public view returns (Origin memory origin) {
        origin = origins[height_];
        if (origin.hash == bytes32(0)) revert UnknownBlock(height_);
    }

    /// The id of a transaction from its serialisation without witness. Refuses 64 bytes: see
    /// `verifyTransaction`.
    function transactionId(bytes calldata transaction) public pure returns (bytes32) {
        if (transaction.length == 64) revert SixtyFourByteTransaction();
        return doubleSha256(transaction);
    }

    /// Whether the transaction is in the Bitcoin block at this height, at this index, by this merkle path
    /// (siblings from the leaf up). Reverts with `UnknownBlock` when the height is not an origin.
    ///
    /// Bitcoin's tree does not tell leaves from inner nodes, nor a real last leaf from its copy. So:
    ///
    /// - CVE-2017-12842, path too long: a 64-byte transaction in the block is taken for an inner node, and
    ///   half of it for a transaction id. Refused here: no step of the path may hash 64 bytes that could
    ///   be a valid transaction. (An honest inner node looks like one with a chance of about 2^-42.)
    /// - The same, path too short: an inner node is taken for a transaction of 64 bytes. The id alone does
    ///   not show this. Callers that read a transaction's content must get its id from `transactionId`,
    ///   which refuses 64 bytes, or call `verifyRawTransaction`.
    /// - CVE-2012-2459: an odd level repeats its last node, so a path can also lead to an index past the
    ///   end. Refused here: a node is never the right one of two equal ones. A transaction thus has
    ///   exactly one index.
    function verifyTransaction(bytes32 txid, uint32 height_, uint256 index, bytes32[] calldata path)
        public
        view
        returns (bool)
    {
        bytes32 root = blockAt(height_).merkleRoot;
        if (path.length > MAX_PATH || index >> path.length != 0) return false;
        bytes32 node = txid;
        for (uint256 level = 0; level < path.length; level++) {
            bytes32 sibling = path[level];
            bool isRight = (index >> level) & 1 == 1;
            if (isRight && sibling == node) return false;
            bytes memory pair = isRight ? bytes.concat(sibling, node) : bytes.concat(node, sibling);
            if (couldBeTransaction(pair)) return false;
            node = doubleSha256(pair);
        }
        return node == root;
    }

    /// `verifyTransaction` for a whole transaction, serialised without witness.
    function verifyRawTransaction(
        bytes calldata transaction,
        uint32 height_,
        uint256 index,
        bytes32[] calldata path
    ) external view returns (bool) {
        return verifyTransaction(transactionId(transaction), height_, index, path);
    }

    /// Whether 64 bytes have the form of a valid transaction. Only one input and one output fit, with four
    /// script bytes between them: version 4, count 1, outpoint 36, length, script, sequence 4, count 1,
    /// value 8, length, script, lock time 4. Consensus wants a value below 2^51 sat and shortest lengths.
    function couldBeTransaction(bytes memory pair) private pure returns (bool) {
        uint256 script = uint8(pair[41]);
        return pair[4] == 0x01 && script <= 4 && pair[46 + script] == 0x01
            && uint8(pair[53 + script]) < 8 && pair[54 + script] == 0x00
            && uint8(pair[55 + script]) == 4 - script;
    }

    function doubleSha256(bytes memory data) private pure returns (bytes32) {
        return sha256(bytes.concat(sha256(data)));
    }
}
