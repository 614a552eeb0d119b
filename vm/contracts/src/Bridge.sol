// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BitcoinBlocks} from "./BitcoinBlocks.sol";

/// @title Bridge
/// @notice Takes BTC out of this chain: a withdrawal is a request that an operator pays on Bitcoin.
contract Bridge {
    /// A request to be paid on Bitcoin.
    struct Withdrawal {
        /// Who asked.
        address sender;
        /// The amount, in sat.
        uint64 amount;
        /// The origin's height when it was asked.
        uint32 l1Height;
        /// The Bitcoin script to pay to.
        bytes scriptPubKey;
    }

    /// Wei per sat: BTC has 18 decimals here.
    uint256 public constant SAT = 1e10;

    /// The smallest withdrawal, in sat: the highest dust limit among the accepted scripts (P2PKH) at
    /// Bitcoin Core's default dust relay fee.
    uint64 public constant MIN_AMOUNT = 546;

    /// The longest accepted script, in bytes: P2TR and P2WSH.
    uint256 public constant MAX_SCRIPT_SIZE = 34;

    BitcoinBlocks private constant BITCOIN_BLOCKS = BitcoinBlocks(0x4200000000000000000000000000000000000001);

    /// How many withdrawals there are: their ids are 0 up to this.
    uint64 public withdrawalCount;

    mapping(uint64 => Withdrawal) private withdrawals;

    /// A withdrawal was asked for.
    event WithdrawalRequested(
        uint64 indexed id, address indexed sender, uint64 amount, bytes scriptPubKey
    );

    /// Bitcoin has no smaller unit than 1 sat = 10^10 wei.
    error NotWholeSats(uint256 value);
    /// Nodes would not relay the payment.
    error BelowDustLimit(uint256 sats, uint256 minimum);
    /// More than 2^64 - 1 sat.
    error AmountTooLarge(uint256 sats);
    /// The script is longer than any accepted one.
    error ScriptTooLong(uint256 size, uint256 maximum);
    /// Not P2PKH, P2SH, P2WPKH, P2WSH or P2TR: the payment might not be relayed, or be lost.
    error UnsupportedScript(bytes scriptPubKey);
    /// There is no withdrawal with this id.
    error UnknownWithdrawal(uint64 id);

    /// Asks for the sent value to be paid to a script on Bitcoin. Returns the withdrawal's id.
    function withdraw(bytes calldata scriptPubKey) external payable returns (uint64 id) {
        if (msg.value % SAT != 0) revert NotWholeSats(msg.value);
        uint256 sats = msg.value / SAT;
        if (sats < MIN_AMOUNT) revert BelowDustLimit(sats, MIN_AMOUNT);
        if (sats > type(uint64).max) revert AmountTooLarge(sats);
        if (scriptPubKey.length > MAX_SCRIPT_SIZE) {
            revert ScriptTooLong(scriptPubKey.length, MAX_SCRIPT_SIZE);
        }
        if (!isSupported(scriptPubKey)) revert UnsupportedScript(scriptPubKey);
        id = withdrawalCount;
        withdrawalCount = id + 1;
        // casting is safe: compared with the largest uint64 above
        withdrawals[id] = Withdrawal(msg.sender, uint64(sats), BITCOIN_BLOCKS.height(), scriptPubKey);
        emit WithdrawalRequested(id, msg.sender, uint64(sats), scriptPubKey);
    }

    /// A withdrawal by its id. Reverts with `UnknownWithdrawal` where there is none.
    function withdrawal(uint64 id) external view returns (Withdrawal memory) {
        if (id >= withdrawalCount) revert UnknownWithdrawal(id);
        return withdrawals[id];
    }

    /// Whether the script is of a type that every node relays and someone can spend today.
    function isSupported(bytes calldata s) public pure returns (bool) {
        if (s.length == 22) return s[0] == 0x00 && s[1] == 0x14; // P2WPKH
        if (s.length == 34) return (s[0] == 0x00 || s[0] == 0x51) && s[1] == 0x20; // P2WSH, P2TR
        if (s.length == 23) return s[0] == 0xa9 && s[1] == 0x14 && s[22] == 0x87; // P2SH
        if (s.length != 25) return false;
        // P2PKH
        return s[0] == 0x76 && s[1] == 0xa9 && s[2] == 0x14 && s[23] == 0x88 && s[24] == 0xac;
    }
}
