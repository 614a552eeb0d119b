// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BitcoinBlocks} from "./BitcoinBlocks.sol";

/// @title Bridge
/// @notice Takes BTC into this chain and out of it. What happened on Bitcoin the protocol records here
/// (docs/bridge.md); a withdrawal is a request that an operator pays on Bitcoin.
contract Bridge {
    /// A request to be paid on Bitcoin.
    struct Withdrawal {
        /// Who asked.
        address sender;
        /// The amount that was given, in sat.
        uint64 amount;
        /// The origin's height when it was asked.
        uint32 l1Height;
        /// What the operator keeps of the amount, in sat.
        uint64 fee;
        /// The origin's height when its payout was recorded; 0 before.
        uint32 paidL1Height;
        /// The Bitcoin script to pay to.
        bytes scriptPubKey;
    }

    /// Sums of sat, in one slot.
    struct Totals {
        /// In vault outputs.
        uint64 vault;
        /// In withdrawals that are not paid.
        uint64 pending;
        /// What operators have paid and not yet got a vault output for.
        uint64 credit;
        /// In vault outputs that are assigned and not yet taken.
        uint64 inFlight;
    }

    /// An output of the vault, in one slot.
    struct VaultOutput {
        /// Its amount, in sat; 0 where it is none.
        uint64 amount;
        /// The ticket that it is assigned to; 0 before.
        bytes24 ticket;
    }

    /// What a ticket was spent for.
    struct Assignment {
        /// The vault output.
        bytes24 vaultOutput;
        /// The origin's height when it was recorded.
        uint32 l1Height;
        /// Whose credit was spent.
        bytes32 operator;
    }

    /// Why something on Bitcoin earns nothing.
    enum Refusal {
        UnknownWithdrawal,
        PaidBefore,
        OtherAmount,
        OtherScript,
        NotInVault,
        AssignedBefore,
        TicketSpent,
        CreditTooSmall
    }

    /// Wei per sat: BTC has 18 decimals here.
    uint256 public constant SAT = 1e10;

    /// The smallest payout, in sat: the highest dust limit among the accepted scripts (P2PKH) at Bitcoin Core's
    /// default dust relay fee.
    uint64 public constant MIN_AMOUNT = 546;

    /// The longest accepted script, in bytes: P2TR and P2WSH.
    uint256 public constant MAX_SCRIPT_SIZE = 34;

    /// Gas that a deposit's call gets.
    uint256 public constant CALL_GAS = 300_000;

    /// Gas that a recipient gets that is a contract.
    uint256 public constant RECIPIENT_GAS = 30_000;

    BitcoinBlocks private constant BITCOIN_BLOCKS = BitcoinBlocks(0x4200000000000000000000000000000000000001);
    address private constant SYSTEM = 0xffffFFFfFFffffffffffffffFfFFFfffFFFfFFfE;

    /// How many withdrawals there are: their ids are 0 up to this.
    uint64 public withdrawalCount;
    /// All that was assigned and not given back, in sat. Its wei stay here.
    uint64 public settled;
    /// All that recipients of deposits did not take, in sat.
    uint64 public unclaimedTotal;

    mapping(uint64 => Withdrawal) private withdrawals;

    /// What the bridge owes and holds.
    Totals public totals;

    /// An operator's credit, in sat. An operator is the id of the transaction that made its tickets.
    mapping(bytes32 => uint64) public creditOf;

    /// Vault outputs by `outputId`.
    mapping(bytes24 => VaultOutput) public vaultOutputs;

    /// Assignments by the ticket's `outputId`.
    mapping(bytes24 => Assignment) public assignments;

    /// What a deposit's recipient did not take, in sat.
    mapping(address => uint64) public unclaimed;

    /// A withdrawal was asked for.
    event WithdrawalRequested(
        uint64 indexed id, address indexed sender, uint64 amount, uint64 fee, bytes scriptPubKey
    );
    /// A withdrawal was paid on Bitcoin by output `vout` of `txid`.
    event WithdrawalPaid(uint64 indexed id, bytes32 indexed operator, bytes32 txid, uint32 vout);
    /// A payout on Bitcoin that earns nothing.
    event PayoutRefused(uint64 indexed id, bytes32 indexed operator, bytes32 txid, Refusal reason);
    /// A deposit was accepted. `called` tells whether its call, where it has one, succeeded.
    event DepositAccepted(
        address indexed recipient, bytes32 indexed txid, uint32 vout, uint64 amount, bool called
    );
    /// A deposit's recipient did not take it: it can be claimed.
    event DepositUnclaimed(address indexed recipient, uint64 amount);
    /// The vault has a new output.
    event VaultOutputAdded(bytes32 indexed txid, uint32 vout, uint64 amount);
    /// A vault output was spent.
    event VaultOutputSpent(bytes32 indexed txid, uint32 vout, uint64 amount, bytes32 spentBy);
    /// A vault output that was assigned went on in the vault: the operator has its credit again.
    event Unassigned(bytes32 indexed operator, bytes32 vaultTxid, uint32 vaultVout, uint64 amount);
    /// Vault outputs that stay in the vault were spent to others of another sum: members broke the rules.
    event VaultBroken(bytes32 indexed txid, uint64 spent, uint64 added);
    /// A vault output was assigned to an operator's ticket.
    event Assigned(
        bytes32 indexed operator, uint32 ticketVout, bytes32 vaultTxid, uint32 vaultVout, uint64 amount
    );
    /// A ticket was spent for nothing.
    event AssignmentRefused(
        bytes32 indexed operator, uint32 ticketVout, bytes32 vaultTxid, uint32 vaultVout, Refusal reason
    );
    /// An operator took its credit on this chain.
    event Redeemed(bytes32 indexed operator, address indexed to, uint64 amount);

    /// Bitcoin has no smaller unit than 1 sat = 10^10 wei.
    error NotWholeSats(uint256 value);
    /// Nodes would not relay the payment.
    error BelowDustLimit(uint256 sats, uint256 minimum);
    /// The fee is more than what is withdrawn.
    error FeeTooHigh(uint256 fee, uint256 sats);
    /// More than 2^64 - 1 sat.
    error AmountTooLarge(uint256 sats);
    /// The script is longer than any accepted one.
    error ScriptTooLong(uint256 size, uint256 maximum);
    /// Not P2PKH, P2SH, P2WPKH, P2WSH or P2TR: the payment might not be relayed, or be lost.
    error UnsupportedScript(bytes scriptPubKey);
    /// There is no withdrawal with this id.
    error UnknownWithdrawal(uint64 id);
    /// The caller is not the protocol.
    error OnlySystem(address caller);
    /// There is nothing to claim for this address.
    error NothingToClaim(address caller);
    /// The caller does not take the money.
    error NotTaken(address to);

    modifier onlySystem() {
        if (msg.sender != SYSTEM) revert OnlySystem(msg.sender);
        _;
    }

    /// Asks for the sent value to be paid to a script on Bitcoin, less a fee in sat that the operator keeps.
    /// Returns the withdrawal's id.
    function withdraw(bytes calldata scriptPubKey, uint64 fee) external payable returns (uint64 id) {
        if (msg.value % SAT != 0) revert NotWholeSats(msg.value);
        uint256 sats = msg.value / SAT;
        if (sats > type(uint64).max) revert AmountTooLarge(sats);
        if (fee > sats) revert FeeTooHigh(fee, sats);
        if (sats - fee < MIN_AMOUNT) revert BelowDustLimit(sats - fee, MIN_AMOUNT);
        if (scriptPubKey.length > MAX_SCRIPT_SIZE) {
            revert ScriptTooLong(scriptPubKey.length, MAX_SCRIPT_SIZE);
        }
        if (!isSupported(scriptPubKey)) revert UnsupportedScript(scriptPubKey);
        id = withdrawalCount;
        withdrawalCount = id + 1;
        // casting is safe: compared with the largest uint64 above
        uint64 amount = uint64(sats);
        totals.pending += amount;
        withdrawals[id] = Withdrawal(msg.sender, amount, BITCOIN_BLOCKS.height(), fee, 0, scriptPubKey);
        emit WithdrawalRequested(id, msg.sender, amount, fee, scriptPubKey);
    }

    /// A withdrawal by its id. Reverts with `UnknownWithdrawal` where there is none.
    function withdrawal(uint64 id) external view returns (Withdrawal memory) {
        if (id >= withdrawalCount) revert UnknownWithdrawal(id);
        return withdrawals[id];
    }

    /// Takes what a deposit's recipient, the caller, did not take.
    function claim(address payable to) external {
        uint64 amount = unclaimed[msg.sender];
        if (amount == 0) revert NothingToClaim(msg.sender);
        unclaimed[msg.sender] = 0;
        unclaimedTotal -= amount;
        (bool taken,) = to.call{value: amount * SAT}("");
        if (!taken) revert NotTaken(to);
    }

    /// The name of a Bitcoin output, its txid in internal byte order.
    function outputId(bytes32 txid, uint32 vout) public pure returns (bytes24) {
        return bytes24(keccak256(abi.encodePacked(txid, vout)));
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

    // What the protocol records. None of these may revert, whatever Bitcoin holds: a deposit's wei, and an
    // operator's payout, would be lost.

    /// A deposit reached the vault. `call` is empty, or a target and the calldata for it.
    function recordDeposit(bytes32 txid, uint32 vout, address recipient, bytes calldata call)
        external
        payable
        onlySystem
    {
        // casting is safe: all the bitcoin there will be is less than 2^51 sat
        uint64 amount = uint64(msg.value / SAT);
        totals.vault += amount;
        vaultOutputs[outputId(txid, vout)] = VaultOutput(amount, 0);
        emit VaultOutputAdded(txid, vout, amount);
        bool called = false;
        if (call.length >= 20) {
            address target = address(bytes20(call[:20]));
            // The bridge's own functions are for others.
            if (target != address(this)) {
                called = send(target, amount, CALL_GAS, call[20:]);
            }
        }
        emit DepositAccepted(recipient, txid, vout, amount, called);
        if (!called) pay(recipient, amount);
    }

    /// A transaction that pays withdrawals. `paid` has of each its id (8 bytes), amount (8), the script's length (1)
    /// and the script: output `i` is the `i`-th.
    function recordPayout(bytes32 txid, bytes32 operator, bytes calldata paid) external onlySystem {
        uint64 earned = 0;
        uint256 i = 0;
        for (uint32 vout = 0; i + 17 <= paid.length; vout++) {
            uint64 id = uint64(bytes8(paid[i:i + 8]));
            uint64 amount = uint64(bytes8(paid[i + 8:i + 16]));
            uint256 end = i + 17 + uint8(paid[i + 16]);
            (bool holds, Refusal reason) = checkPayout(id, amount, paid[i + 17:end]);
            if (holds) {
                withdrawals[id].paidL1Height = BITCOIN_BLOCKS.height();
                earned += withdrawals[id].amount;
                emit WithdrawalPaid(id, operator, txid, vout);
            } else {
                emit PayoutRefused(id, operator, txid, reason);
            }
            i = end;
        }
        if (earned == 0) return;
        totals.pending -= earned;
        totals.credit += earned;
        creditOf[operator] += earned;
    }

    function checkPayout(uint64 id, uint64 amount, bytes calldata script)
        private
        view
        returns (bool holds, Refusal reason)
    {
        if (id >= withdrawalCount) return (false, Refusal.UnknownWithdrawal);
        Withdrawal storage asked = withdrawals[id];
        if (asked.paidL1Height != 0) return (false, Refusal.PaidBefore);
        if (amount != asked.amount - asked.fee) return (false, Refusal.OtherAmount);
        if (keccak256(script) != keccak256(asked.scriptPubKey)) return (false, Refusal.OtherScript);
        return (true, Refusal.UnknownWithdrawal);
    }

    /// A ticket was spent for a vault output.
    function recordAssignment(bytes32 operator, uint32 ticketVout, bytes32 vaultTxid, uint32 vaultVout)
        external
        onlySystem
    {
        bytes24 ticket = outputId(operator, ticketVout);
        bytes24 id = outputId(vaultTxid, vaultVout);
        VaultOutput memory output = vaultOutputs[id];
        Refusal reason;
        if (assignments[ticket].l1Height != 0) reason = Refusal.TicketSpent;
        else if (output.amount == 0) reason = Refusal.NotInVault;
        else if (output.ticket != 0) reason = Refusal.AssignedBefore;
        else if (creditOf[operator] < output.amount) reason = Refusal.CreditTooSmall;
        else {
            creditOf[operator] -= output.amount;
            totals.credit -= output.amount;
            totals.inFlight += output.amount;
            settled += output.amount;
            vaultOutputs[id].ticket = ticket;
            assignments[ticket] = Assignment(id, BITCOIN_BLOCKS.height(), operator);
            emit Assigned(operator, ticketVout, vaultTxid, vaultVout, output.amount);
            return;
        }
        emit AssignmentRefused(operator, ticketVout, vaultTxid, vaultVout, reason);
    }

    /// A transaction that spends vault outputs. `inputs` has of each input its txid (32 bytes) and vout (4), `outputs`
    /// of each output to the vault its vout (4) and amount (8).
    function recordVaultSpend(bytes32 txid, bytes calldata inputs, bytes calldata outputs)
        external
        onlySystem
    {
        uint64 added = 0;
        for (uint256 i = 0; i + 12 <= outputs.length; i += 12) {
            added += uint64(bytes8(outputs[i + 4:i + 12]));
        }
        // Who takes an output may pay the vault with it. It has taken it: only what is spent to the sat was moved.
        (bool isOurs, uint64 kept) = spendVault(txid, inputs, added == heldBy(inputs));
        // Only all members can spend a vault output: nobody else adds one.
        if (!isOurs) return;
        for (uint256 i = 0; i + 12 <= outputs.length; i += 12) {
            uint32 vout = uint32(bytes4(outputs[i:i + 4]));
            uint64 amount = uint64(bytes8(outputs[i + 4:i + 12]));
            vaultOutputs[outputId(txid, vout)] = VaultOutput(amount, 0);
            emit VaultOutputAdded(txid, vout, amount);
        }
        totals.vault += added;
        if (added != kept) emit VaultBroken(txid, kept, added);
    }

    /// The sum of the vault outputs among inputs.
    function heldBy(bytes calldata inputs) private view returns (uint64 held) {
        for (uint256 i = 0; i + 36 <= inputs.length; i += 36) {
            held += vaultOutputs[outputId(bytes32(inputs[i:i + 32]), uint32(bytes4(inputs[i + 32:i + 36])))].amount;
        }
    }

    /// Takes outputs from the vault: with `isMove` all of it stays there in others, without an operator takes what it was
    /// assigned. Gives whether there were any, and the sum that stays.
    function spendVault(bytes32 txid, bytes calldata inputs, bool isMove)
        private
        returns (bool isOurs, uint64 kept)
    {
        for (uint256 i = 0; i + 36 <= inputs.length; i += 36) {
            bytes32 spent = bytes32(inputs[i:i + 32]);
            uint32 vout = uint32(bytes4(inputs[i + 32:i + 36]));
            bytes24 id = outputId(spent, vout);
            VaultOutput memory output = vaultOutputs[id];
            if (output.amount == 0) continue;
            isOurs = true;
            totals.vault -= output.amount;
            if (output.ticket != 0) totals.inFlight -= output.amount;
            if (output.ticket == 0 || isMove) kept += output.amount;
            if (output.ticket != 0 && isMove) unassign(output, spent, vout);
            delete vaultOutputs[id];
            emit VaultOutputSpent(spent, vout, output.amount, txid);
        }
    }

    /// Gives an operator its credit back: members move outputs by signatures that may be older than the assignment.
    function unassign(VaultOutput memory output, bytes32 txid, uint32 vout) private {
        bytes32 operator = assignments[output.ticket].operator;
        delete assignments[output.ticket];
        settled -= output.amount;
        totals.credit += output.amount;
        creditOf[operator] += output.amount;
        emit Unassigned(operator, txid, vout, output.amount);
    }

    /// An operator wants its credit on this chain.
    function recordRedemption(bytes32 operator, address to) external onlySystem {
        uint64 amount = creditOf[operator];
        if (amount == 0) return;
        creditOf[operator] = 0;
        totals.credit -= amount;
        emit Redeemed(operator, to, amount);
        pay(to, amount);
    }

    function send(address to, uint64 amount, uint256 gasLimit, bytes calldata data)
        private
        returns (bool taken)
    {
        uint256 value = amount * SAT;
        bytes memory input = data;
        // What the target returns is not copied: it could cost more gas than there is.
        assembly ("memory-safe") {
            taken := call(gasLimit, to, value, add(input, 32), mload(input), 0, 0)
        }
    }

    function pay(address to, uint64 amount) private {
        if (to != address(this) && send(to, amount, RECIPIENT_GAS, msg.data[:0])) return;
        unclaimed[to] += amount;
        unclaimedTotal += amount;
        emit DepositUnclaimed(to, amount);
    }
}
