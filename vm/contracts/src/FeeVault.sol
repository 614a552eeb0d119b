// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Bridge} from "./Bridge.sol";

/// @title FeeVault
/// @notice Holds the chain's fees. The protocol credits base fees, tips and L1 fees without a call; its owner
/// takes them out to Bitcoin.
contract FeeVault {
    Bridge private constant BRIDGE = Bridge(0x4200000000000000000000000000000000000002);

    /// Who may withdraw. Genesis sets it (slot 0).
    address public owner;
    /// Who becomes the owner by calling `acceptOwnership`: a mistyped address cannot take the vault away.
    address public pendingOwner;

    /// The owner offers the vault to another address.
    event OwnershipOffered(address indexed owner, address indexed pendingOwner);
    /// The vault has a new owner.
    event OwnershipAccepted(address indexed previousOwner, address indexed owner);

    /// The caller is not the owner.
    error OnlyOwner(address caller);
    /// The caller is not the address to which the owner offered the vault.
    error OnlyPendingOwner(address caller);
    /// The vault holds less than what was asked for.
    error InsufficientFees(uint256 asked, uint256 balance);

    modifier onlyOwner() {
        if (msg.sender != owner) revert OnlyOwner(msg.sender);
        _;
    }

    /// Takes fees that are paid by a transfer.
    receive() external payable {}

    /// Withdraws `amount` wei to a Bitcoin script, less a fee in sat for the operator. Returns the withdrawal's id; the rules are the Bridge's.
    function withdraw(bytes calldata scriptPubKey, uint256 amount, uint64 fee)
        external
        onlyOwner
        returns (uint64)
    {
        if (amount > address(this).balance) revert InsufficientFees(amount, address(this).balance);
        return BRIDGE.withdraw{value: amount}(scriptPubKey, fee);
    }

    /// Offers the vault to another address; the zero address takes an offer back.
    function offerOwnership(address newOwner) external onlyOwner {
        pendingOwner = newOwner;
        emit OwnershipOffered(msg.sender, newOwner);
    }

    /// Takes the vault that was offered to the caller.
    function acceptOwnership() external {
        if (msg.sender != pendingOwner) revert OnlyPendingOwner(msg.sender);
        emit OwnershipAccepted(owner, msg.sender);
        owner = msg.sender;
        pendingOwner = address(0);
    }
}
