//! 32-byte words: a form byte, then only the bytes that the form leaves open.
//!
//! | form | word | bytes |
//! | --- | --- | --- |
//! | 0 | zero | none |
//! | 1 + 8 * e + (n - 1) | m * 10^e, e below 24, m of n bytes (1 to 8) | m, big endian |
//! | 193 | an address | by reference, see `address` |
//! | 185 + n | a number of n bytes (9 to 31) | the number, big endian |
//! | 217 | any | 32 |
//! | 217 + n | n bytes (1 to 31), then zeros | n |
//! | 248 + n | 0xff bytes, then n bytes (1 to 4) | n |

use alloy_primitives::{B256, U256};

use super::PayloadError;
use super::wire::Reader;

const EXPONENTS: u8 = 24;
const MANTISSA_MAX: u8 = 8;
const LAST_DECIMAL: u8 = EXPONENTS * MANTISSA_MAX;
/// The form of a word that is an address.
pub(super) const ADDRESS: u8 = LAST_DECIMAL + 1;
const NUMBER_BASE: u8 = 185;
const RAW: u8 = 217;
const PADDED_BASE: u8 = RAW;
const FIRST_PADDED: u8 = PADDED_BASE + 1;
const LAST_PADDED: u8 = PADDED_BASE + 31;
const NEGATIVE_BASE: u8 = LAST_PADDED;
const FIRST_NEGATIVE: u8 = NEGATIVE_BASE + 1;
const LAST_NEGATIVE: u8 = NEGATIVE_BASE + 4;

const _: () = assert!(ADDRESS == NUMBER_BASE + 8 && NUMBER_BASE + 32 == RAW);

/// Reads the rest of a word whose form is known: a mantissa's top byte from `top`, all else from `rest`.
/// The form of an address is invalid here.
pub(super) fn read(form: u8, top: &mut Reader<'_>, rest: &mut Reader<'_>) -> Result<B256, PayloadError> {
    let mut word = [0u8; 32];
    match form {
        0 => {}
        1..=LAST_DECIMAL => return decimal(form, top, rest),
        RAW => word = rest.array()?,
        ADDRESS..RAW => {
            let length = usize::from(form.saturating_sub(NUMBER_BASE));
            if form == ADDRESS {
                return Err(rest.invalid());
            }
            put_low(&mut word, rest.take(length)?);
        }
        FIRST_PADDED..=LAST_PADDED => {
            let bytes = rest.take(usize::from(form.saturating_sub(PADDED_BASE)))?;
            word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        }
        FIRST_NEGATIVE..=LAST_NEGATIVE => {
            word = [0xff; 32];
            put_low(
                &mut word,
                rest.take(usize::from(form.saturating_sub(NEGATIVE_BASE)))?,
            );
        }
        _ => return Err(rest.invalid()),
    }
    Ok(B256::new(word))
}

fn put_low(word: &mut [u8; 32], bytes: &[u8]) {
    word.iter_mut()
        .rev()
        .zip(bytes.iter().rev())
        .for_each(|(to, from)| *to = *from);
}

fn decimal(form: u8, top: &mut Reader<'_>, rest: &mut Reader<'_>) -> Result<B256, PayloadError> {
    let place = form.saturating_sub(1);
    let (exponent, low_bytes) = (place / MANTISSA_MAX, place % MANTISSA_MAX);
    let mut mantissa = u64::from(top.byte()?);
    for byte in rest.take(usize::from(low_bytes))? {
        mantissa = (mantissa << 8) | u64::from(*byte);
    }
    let power = 10u128
        .checked_pow(u32::from(exponent))
        .ok_or_else(|| top.invalid())?;
    let value = U256::from(mantissa)
        .checked_mul(U256::from(power))
        .ok_or_else(|| top.invalid())?;
    Ok(B256::new(value.to_be_bytes()))
}

/// Reads a word with its form and all bytes from one column.
pub(super) fn read_inline(column: &mut Reader<'_>) -> Result<B256, PayloadError> {
    let form = column.byte()?;
    let mut top = Reader::new(column.column(), &[]);
    if (1..=LAST_DECIMAL).contains(&form) {
        top = Reader::new(column.column(), column.take(1)?);
    }
    read(form, &mut top, column)
}

#[cfg(feature = "std")]
pub(super) use writer::{form, put_inline, write};

#[cfg(feature = "std")]
mod writer {
    use alloc::vec::Vec;

    use alloy_primitives::{B256, U256};

    use super::{
        ADDRESS, EXPONENTS, FIRST_PADDED, LAST_DECIMAL, LAST_PADDED, MANTISSA_MAX, NEGATIVE_BASE,
        NUMBER_BASE, PADDED_BASE, RAW,
    };

    /// The shortest form of a word.
    pub(in super::super) fn form(word: &B256) -> u8 {
        if word.is_zero() {
            return 0;
        }
        if let Some((exponent, mantissa)) = decimal(word) {
            let low_bytes = small(mantissa_bytes(mantissa).saturating_sub(1));
            return exponent
                .saturating_mul(MANTISSA_MAX)
                .saturating_add(low_bytes)
                .saturating_add(1);
        }
        let fill = |value: u8| word.iter().take_while(|byte| **byte == value).count();
        let zeros_behind = word.iter().rev().take_while(|byte| **byte == 0).count();
        let (zeros, ones) = (fill(0), fill(0xff));
        if ones >= 28 {
            NEGATIVE_BASE.saturating_add(small(32usize.saturating_sub(ones).max(1)))
        } else if zeros > 0 && zeros >= zeros_behind {
            NUMBER_BASE.saturating_add(small(32usize.saturating_sub(zeros)))
        } else if zeros_behind > 0 {
            PADDED_BASE.saturating_add(small(32usize.saturating_sub(zeros_behind)))
        } else {
            RAW
        }
    }

    /// Writes what the form leaves open: a mantissa's top byte to `top`, all else to `rest`.
    pub(in super::super) fn write(form: u8, word: &B256, top: &mut Vec<u8>, rest: &mut Vec<u8>) {
        let low = |length: u8| word.iter().skip(32usize.saturating_sub(usize::from(length)));
        match form {
            0 => {}
            1..=LAST_DECIMAL => {
                let (_, mantissa) = decimal(word).unwrap_or_default();
                let bytes = mantissa.to_be_bytes();
                let mut used = bytes
                    .into_iter()
                    .skip(8usize.saturating_sub(mantissa_bytes(mantissa)));
                top.extend(used.next());
                rest.extend(used);
            }
            ADDRESS..RAW => rest.extend(low(form.saturating_sub(NUMBER_BASE))),
            RAW => rest.extend(word.iter()),
            FIRST_PADDED..=LAST_PADDED => {
                rest.extend(word.iter().take(usize::from(form.saturating_sub(PADDED_BASE))))
            }
            _ => rest.extend(low(form.saturating_sub(NEGATIVE_BASE))),
        }
    }

    fn small(count: usize) -> u8 {
        u8::try_from(count).unwrap_or(u8::MAX)
    }

    fn mantissa_bytes(mantissa: u64) -> usize {
        mantissa
            .to_be_bytes()
            .iter()
            .skip_while(|byte| **byte == 0)
            .count()
    }

    /// Writes a word with its form and all bytes to one column.
    pub(in super::super) fn put_inline(word: &B256, out: &mut Vec<u8>) {
        let (mut top, mut rest) = (Vec::new(), Vec::new());
        let form = form(word);
        write(form, word, &mut top, &mut rest);
        out.push(form);
        out.append(&mut top);
        out.append(&mut rest);
    }

    /// The exponent and mantissa with the fewest mantissa bytes, and among those the smallest exponent, so
    /// that amounts of like size share a form. `None` when no mantissa has 8 bytes or fewer.
    fn decimal(word: &B256) -> Option<(u8, u64)> {
        let value = U256::from_be_bytes(word.0);
        let mut best: Option<(u8, u64)> = None;
        let mut reduced = u128::try_from(value)
            .ok()
            .filter(|_| word.iter().skip(16).any(|byte| *byte != 0));
        for exponent in 0..EXPONENTS {
            let current = reduced?;
            if let Ok(mantissa) = u64::try_from(current)
                && best.is_none_or(|(_, so_far)| mantissa_bytes(mantissa) < mantissa_bytes(so_far))
            {
                best = Some((exponent, mantissa));
            }
            if current % 10 != 0 {
                break;
            }
            reduced = Some(current / 10);
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::Column;
    use super::*;
    use proptest::prelude::*;

    fn forms(word: B256) -> (u8, usize) {
        let (mut top, mut rest) = (Vec::new(), Vec::new());
        let form = form(&word);
        write(form, &word, &mut top, &mut rest);
        let mut top_reader = Reader::new(Column::WordTop, &top);
        let mut rest_reader = Reader::new(Column::WordRest, &rest);
        assert_eq!(read(form, &mut top_reader, &mut rest_reader), Ok(word));
        top_reader.end().unwrap();
        rest_reader.end().unwrap();

        let mut inline = Vec::new();
        put_inline(&word, &mut inline);
        let mut reader = Reader::new(Column::AccessList, &inline);
        assert_eq!(read_inline(&mut reader), Ok(word));
        reader.end().unwrap();
        (form, top.len() + rest.len())
    }

    fn number(value: u128) -> B256 {
        B256::new(U256::from(value).to_be_bytes())
    }

    #[test]
    fn amounts_are_short() {
        assert_eq!(forms(B256::ZERO), (0, 0));
        assert_eq!(forms(number(1)), (1, 1));
        assert_eq!(forms(number(100)), (1, 1));
        assert_eq!(forms(number(10u128.pow(18))).1, 1);
        assert_eq!(forms(number(1_230_000_000_000_000_000)).1, 1);
        assert_eq!(forms(number(12_345_600_000_000_000_000)).1, 3);
        assert_eq!(forms(number(u128::from(u64::MAX))), (8, 8));
        assert_eq!(forms(number(u128::MAX)), (NUMBER_BASE + 16, 16));
        assert_eq!(
            forms(number(123 * 10u128.pow(30))).1,
            4,
            "7 zeros stay in the mantissa"
        );
    }

    #[test]
    fn other_words_have_forms_too() {
        assert_eq!(forms(B256::repeat_byte(0xff)), (NEGATIVE_BASE + 1, 1));
        assert_eq!(forms(B256::new((-887_220i128).to_be_bytes_word())).1, 3);
        assert_eq!(forms(B256::right_padding_from(b"hello")), (PADDED_BASE + 5, 5));
        assert_eq!(forms(B256::repeat_byte(7)), (RAW, 32));
        let mut almost = B256::repeat_byte(7);
        almost.0[31] = 0;
        assert_eq!(forms(almost), (PADDED_BASE + 31, 31));
        almost.0.reverse();
        assert_eq!(forms(almost), (NUMBER_BASE + 31, 31));
        assert_eq!(
            forms(B256::new(U256::from(1).wrapping_shl(248).to_be_bytes())),
            (PADDED_BASE + 1, 1)
        );
    }

    trait Word {
        fn to_be_bytes_word(self) -> [u8; 32];
    }

    impl Word for i128 {
        fn to_be_bytes_word(self) -> [u8; 32] {
            let mut word = [if self < 0 { 0xff } else { 0 }; 32];
            word[16..].copy_from_slice(&self.to_be_bytes());
            word
        }
    }

    #[test]
    fn unknown_forms_are_refused() {
        let bytes = [1u8; 40];
        for form in [ADDRESS].into_iter().chain(LAST_NEGATIVE + 1..=255) {
            let mut top = Reader::new(Column::WordTop, &bytes);
            let mut rest = Reader::new(Column::WordRest, &bytes);
            assert_eq!(
                read(form, &mut top, &mut rest),
                Err(PayloadError::Invalid {
                    column: Column::WordRest
                })
            );
        }
        for form in 0..=255 {
            let mut top = Reader::new(Column::WordTop, &[]);
            let mut rest = Reader::new(Column::WordRest, &[]);
            assert_eq!(read(form, &mut top, &mut rest).is_ok(), form == 0);
        }
    }

    proptest! {
        #[test]
        fn any_word_round_trips(bytes in any::<[u8; 32]>(), from in 0usize..=32, until in 0usize..=32, fill: bool) {
            let mut word = bytes;
            word[..from].fill(if fill { 0xff } else { 0 });
            word[until..].fill(0);
            forms(B256::new(word));
        }

        #[test]
        fn any_amount_round_trips(mantissa: u64, exponent in 0u32..57) {
            let value = U256::from(mantissa).wrapping_mul(U256::from(10).pow(U256::from(exponent)));
            forms(B256::new(value.to_be_bytes()));
        }
    }
}
