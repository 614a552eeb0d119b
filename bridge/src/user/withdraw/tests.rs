use alloy_primitives::hex;
use bitcoin::Network;

use super::super::address::parse_l1_address;
use super::*;

#[test]
fn dust_and_high_fees_are_refused_by_number() {
    let to = parse_l1_address(
        "to",
        "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
        Network::Regtest,
    );
    let to = to.unwrap();
    let verify = |amount, fee| {
        let (amount, fee) = (Amount::from_sat(amount), Amount::from_sat(fee));
        let request = WithdrawRequest {
            to: to.clone(),
            amount,
            fee,
        };
        request
            .verify(Amount::from_sat(1_000))
            .map_err(|error| error.to_string())
    };
    assert_eq!(verify(546, 0), Ok(()));
    assert_eq!(verify(1_546, 1_000), Ok(()));
    for (amount, fee) in [(545, 0), (1_545, 1_000), (5, 6)] {
        let error = verify(amount, fee).unwrap_err();
        assert!(
            error.starts_with("amount: expected at least 0.00000546 BTC, the dust limit"),
            "{error}"
        );
    }
    let error = verify(100_000, 1_001).unwrap_err();
    assert!(
        error.starts_with("fee: expected at most max_fee_sats, 0.00001000 BTC"),
        "{error}"
    );
}

#[test]
fn wei_are_rounded_against_the_user() {
    let one = U256::from(WEI_PER_SAT);
    assert_eq!(sats_up(one + U256::ONE), Amount::from_sat(2));
    assert_eq!(sats_down(one + one - U256::ONE), Amount::from_sat(1));
    assert_eq!(sats_up(wei(Amount::MAX_MONEY)), Amount::MAX_MONEY);
    assert_eq!(sats_up(U256::MAX), Amount::from_sat(u64::MAX));
}

#[test]
fn the_abi_is_the_contracts() {
    assert_eq!(withdrawCall::SIGNATURE, "withdraw(bytes,uint64)");
    let signature = "WithdrawalRequested(uint64,address,uint64,uint64,bytes)";
    assert_eq!(WithdrawalRequested::SIGNATURE, signature);
    let event = WithdrawalRequested {
        id: 7,
        sender: L2Address::repeat_byte(2),
        amount: 5,
        fee: 1,
        scriptPubKey: hex!("0014").into(),
    };
    let data = event.encode_log_data();
    let mut log = Log {
        address: BRIDGE,
        topics: data.topics().to_vec(),
        data: data.data,
        transaction_hash: B256::ZERO,
    };
    assert_eq!(requested_id(&log), Some(7));
    log.address = L2Address::ZERO;
    assert_eq!(requested_id(&log), None);
}
