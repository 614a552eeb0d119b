// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// The least ERC-20 that wallets would take; balances are slot 0's mapping. Token.hex is its runtime code by solc with
/// evmVersion osaka, optimizer 200 runs, no metadata.
contract Token {
    mapping(address => uint256) public balanceOf;

    event Transfer(address indexed from, address indexed to, uint256 value);

    function transfer(address to, uint256 value) external returns (bool) {
        balanceOf[msg.sender] -= value;
        unchecked {
            balanceOf[to] += value;
        }
        emit Transfer(msg.sender, to, value);
        return true;
    }
}
