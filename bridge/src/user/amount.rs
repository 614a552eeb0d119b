//! Amounts as users write them: always with a unit.

use bitcoin::{Amount, Denomination};

use super::UserError;

/// What an amount may look like.
const FORM: &str = "an amount with its unit, as 0.01BTC or 1000000sats";

/// Reads an amount: `0.01BTC`, `0.01 btc`, `1000000sats`, `1 sat`. Without a unit it is refused, because a factor of 10^8
/// lies between the two.
///
/// # Errors
/// [`UserError::Refused`], also for parts of sats and for more than all money.
pub fn parse_amount(field: &'static str, text: &str) -> Result<Amount, UserError> {
    let refused = |rule: &str| UserError::refused(field, rule, format!("{text:?}"));
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = (text[..split].trim(), text[split..].trim());
    let denomination = match unit.to_ascii_lowercase().as_str() {
        "btc" => Denomination::Bitcoin,
        "sat" | "sats" => Denomination::Satoshi,
        _ => return Err(refused(FORM)),
    };
    // The library takes signs; money to be sent has none.
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(refused(FORM));
    }
    let decimals = number
        .split_once('.')
        .map_or(0, |(_, decimals)| decimals.trim_end_matches('0').len());
    let most = if denomination == Denomination::Bitcoin {
        8
    } else {
        0
    };
    if decimals > most {
        return Err(refused("whole sats: a bitcoin has 8 decimals"));
    }
    // Zeros behind the last decimal say nothing.
    let number = match number.split_once('.') {
        Some((whole, part)) => format!("{whole}.{}", &part[..decimals]),
        None => number.to_owned(),
    };
    let number = number.strip_suffix('.').unwrap_or(&number);
    let amount = Amount::from_str_in(number, denomination).map_err(|_| refused(FORM))?;
    if amount > Amount::MAX_MONEY {
        return Err(refused("at most 21000000BTC"));
    }
    Ok(amount)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_need_a_unit_and_whole_sats() {
        for (text, sats) in [
            ("0.01BTC", 1_000_000),
            ("0.01 btc", 1_000_000),
            ("1BTC", 100_000_000),
            ("1.BTC", 100_000_000),
            (".5 BTC", 50_000_000),
            ("0.100000000000BTC", 10_000_000),
            ("546sats", 546),
            ("1 sat", 1),
            ("5.0sats", 5),
            ("21000000BTC", 2_100_000_000_000_000),
            ("0sats", 0),
        ] {
            assert_eq!(
                parse_amount("amount", text).unwrap(),
                Amount::from_sat(sats),
                "{text}"
            );
        }
        for (text, rule) in [
            ("1000", FORM),
            ("", FORM),
            ("BTC", FORM),
            ("-1BTC", FORM),
            ("+1BTC", FORM),
            ("1e3sats", FORM),
            ("1mBTC", FORM),
            ("1,5BTC", FORM),
            (".BTC", FORM),
            ("1.1.1BTC", FORM),
            ("1 000 sats", FORM),
            ("1BTC1", FORM),
            ("99999999999999999999999BTC", FORM),
            ("\u{663}BTC", FORM),
            ("0.000000001BTC", "whole sats"),
            ("0.5sats", "whole sats"),
            ("21000000.00000001BTC", "at most 21000000BTC"),
        ] {
            let error = parse_amount("amount", text).unwrap_err();
            assert!(error.to_string().starts_with("amount: expected "), "{error}");
            assert!(error.to_string().contains(rule), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read(sats in 0..=Amount::MAX_MONEY.to_sat()) {
            let amount = Amount::from_sat(sats);
            prop_assert_eq!(parse_amount("amount", &amount.to_string()).unwrap(), amount);
            prop_assert_eq!(parse_amount("amount", &format!("{sats}sats")).unwrap(), amount);
        }

        #[test]
        fn no_text_makes_it_panic(text: String, number in "[0-9.]{0,30}", unit in "(BTC|sats|x)?") {
            let _ = parse_amount("amount", &text);
            let _ = parse_amount("amount", &format!("{number}{unit}"));
        }
    }
}
