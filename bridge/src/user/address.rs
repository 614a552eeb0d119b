//! Addresses as users write them, of both layers.

use alloy_primitives::Address as L2Address;
use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Network, Script};

use super::UserError;

/// Reads an L2 address. One with letters of both cases has to have the checksum of EIP-55.
///
/// # Errors
/// [`UserError::Refused`], also for the zero address, from which nothing comes back.
pub fn parse_l2_address(field: &'static str, text: &str) -> Result<L2Address, UserError> {
    let refused = |rule| UserError::refused(field, rule, format!("{text:?}"));
    let digits = text
        .strip_prefix("0x")
        .ok_or_else(|| refused("0x and 40 hexadecimal digits"))?;
    let address: L2Address = digits
        .parse()
        .map_err(|_| refused("0x and 40 hexadecimal digits"))?;
    let has = |of: fn(&u8) -> bool| digits.as_bytes().iter().any(of);
    if has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && address.to_checksum(None) != text {
        return Err(refused("the checksum of EIP-55: a letter is wrong"));
    }
    if address == L2Address::ZERO {
        return Err(refused("an address that somebody has"));
    }
    Ok(address)
}

/// Reads a Bitcoin address of a network, of a type that `Bridge` pays to (docs/contracts.md).
///
/// # Errors
/// [`UserError::Refused`] names the network or the type.
pub fn parse_l1_address(field: &'static str, text: &str, network: Network) -> Result<Address, UserError> {
    let refused = |rule: &str| UserError::refused(field, rule, format!("{text:?}"));
    let address: Address<NetworkUnchecked> = text
        .parse()
        .map_err(|error: bitcoin::address::ParseError| refused(&format!("a Bitcoin address ({error})")))?;
    let address = address
        .require_network(network)
        .map_err(|_| refused(&format!("an address of the network {network}")))?;
    if !is_supported(&address.script_pubkey()) {
        return Err(refused("an address of type P2PKH, P2SH, P2WPKH, P2WSH or P2TR"));
    }
    Ok(address)
}

/// Whether `Bridge` takes a script: every node relays payments to it, and somebody can spend it today.
pub fn is_supported(script: &Script) -> bool {
    script.is_p2pkh() || script.is_p2sh() || script.is_p2wpkh() || script.is_p2wsh() || script.is_p2tr()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn l2_addresses_are_checked() {
        const GOOD: &str = "0x52908400098527886E0F7030069857D2E4169EE7";
        let read = |text: &str| parse_l2_address("to", text);
        assert!(read(GOOD).is_ok());
        assert!(read(&GOOD.to_lowercase()).is_ok());
        let mixed = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
        assert!(read(mixed).is_ok());
        for (text, rule) in [
            (mixed.replace('B', "b"), "EIP-55"),
            (GOOD[2..].to_owned(), "0x and 40"),
            (GOOD[..41].to_owned(), "0x and 40"),
            (format!("{GOOD}0"), "0x and 40"),
            (format!("0x{}", "0".repeat(40)), "somebody has"),
            ("alice.eth".to_owned(), "0x and 40"),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(
                error.starts_with("to: expected ") && error.contains(rule),
                "{error}"
            );
        }
    }

    #[test]
    fn l1_addresses_are_of_the_network_and_of_a_type_that_is_paid() {
        const TAPROOT: &str = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr";
        let read = |text: &str, network| parse_l1_address("to", text, network);
        for text in [
            TAPROOT,
            "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
            "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
            "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        ] {
            assert!(read(text, Network::Bitcoin).is_ok(), "{text}");
            for network in [Network::Regtest, Network::Signet, Network::Testnet4] {
                let error = read(text, network).unwrap_err().to_string();
                let rule = format!("to: expected an address of the network {network}");
                assert!(error.starts_with(&rule), "{error}");
            }
        }
        // A future witness version, and the output that anybody spends.
        for text in ["bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", "bc1pfeessrawgf"] {
            let error = read(text, Network::Bitcoin).unwrap_err().to_string();
            assert!(error.contains("of type P2PKH, P2SH"), "{error}");
        }
        for text in ["", "bc1", &TAPROOT.replace("p5", "p6"), &TAPROOT[..40]] {
            let error = read(text, Network::Bitcoin).unwrap_err().to_string();
            assert!(error.contains("a Bitcoin address"), "{error}");
        }
    }

    proptest! {
        /// `Bridge.isSupported` (Bridge.sol), by lengths and bytes.
        #[test]
        fn scripts_are_told_apart_as_the_contract_does(bytes in proptest::collection::vec(any::<u8>(), 0..40), shape in 0..6_usize) {
            let mut s = bytes;
            let shapes: [(usize, &[(usize, u8)]); 5] = [
                (22, &[(0, 0), (1, 0x14)]),
                (34, &[(0, 0), (1, 0x20)]),
                (34, &[(0, 0x51), (1, 0x20)]),
                (23, &[(0, 0xa9), (1, 0x14), (22, 0x87)]),
                (25, &[(0, 0x76), (1, 0xa9), (2, 0x14), (23, 0x88), (24, 0xac)]),
            ];
            if let Some((length, fixed)) = shapes.get(shape) {
                s.resize(*length, 7);
                fixed.iter().for_each(|(place, byte)| s[*place] = *byte);
            }
            let fits = |(length, fixed): &(usize, &[(usize, u8)])| {
                s.len() == *length && fixed.iter().all(|(place, byte)| s[*place] == *byte)
            };
            prop_assert_eq!(is_supported(Script::from_bytes(&s)), shapes.iter().any(fits));
        }
    }
}
