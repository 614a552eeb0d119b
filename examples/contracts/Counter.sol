// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Counter
/// @notice The contract of the client examples: state, an event, a custom error, and value.
contract Counter {
    uint256 public number;
    mapping(address => uint256) public addedBy;

    event Added(address indexed by, uint256 amount, uint256 number);

    error TooMuch(uint256 amount, uint256 maximum);

    constructor(uint256 start) payable {
        number = start;
    }

    function add(uint256 amount) external {
        if (amount > 1000) revert TooMuch(amount, 1000);
        number += amount;
        addedBy[msg.sender] += amount;
        emit Added(msg.sender, amount, number);
    }
}
