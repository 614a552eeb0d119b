//! What transactions of one kind have: receivers, values, calldata, lists.

use alloc::vec::Vec;

use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::U256;

use super::address::Addresses;
use super::charge::{ACCESS_CHARGE, AUTHORISATION_CHARGE, KEY_CHARGE};
use super::columns::Readers;
use super::fields::Fields;
use super::kind::{Kind, Shape, TypeCode};
use super::wire::{Allowance, Reader};
use super::{PayloadError, word};

/// The transactions of one kind.
pub(super) struct Members<'a> {
    pub(super) all: &'a mut [Fields],
    pub(super) group: &'a [usize],
}

impl Members<'_> {
    /// Calls `read` for each transaction, in the order of the chain.
    fn each(
        &mut self,
        mut read: impl FnMut(&mut Fields) -> Result<(), PayloadError>,
    ) -> Result<(), PayloadError> {
        for place in self.group {
            if let Some(fields) = self.all.get_mut(*place) {
                read(fields)?;
            }
        }
        Ok(())
    }

    pub(super) fn read_receivers(
        &mut self,
        kind: &Kind,
        columns: &mut Readers<'_>,
        addresses: &mut Addresses<'_>,
    ) -> Result<(), PayloadError> {
        if kind.creates {
            return Ok(());
        }
        self.each(|fields| {
            fields.to = addresses.next(&mut columns.to_low, &mut columns.to_high)?;
            Ok(())
        })
    }

    /// Reads a word's form for each transaction, then calls `read` for each, those of a form together.
    fn each_form(
        &mut self,
        forms: &mut Reader<'_>,
        mut read: impl FnMut(u8, &mut Fields) -> Result<(), PayloadError>,
    ) -> Result<(), PayloadError> {
        let forms = forms.take(self.group.len())?;
        let mut order: Vec<(u8, usize)> = forms.iter().copied().zip(self.group.iter().copied()).collect();
        order.sort_by_key(|(form, _)| *form);
        for (form, place) in order {
            if let Some(fields) = self.all.get_mut(place) {
                read(form, fields)?;
            }
        }
        Ok(())
    }

    pub(super) fn read_values(&mut self, columns: &mut Readers<'_>) -> Result<(), PayloadError> {
        let Readers {
            value_form,
            value_top,
            value_rest,
            ..
        } = columns;
        self.each_form(value_form, |form, fields| {
            fields.value = U256::from_be_bytes(word::read(form, value_top, value_rest)?.0);
            Ok(())
        })
    }

    pub(super) fn read_data(
        &mut self,
        kind: &Kind,
        columns: &mut Readers<'_>,
        addresses: &mut Addresses<'_>,
    ) -> Result<(), PayloadError> {
        match kind.shape {
            Shape::Empty => Ok(()),
            Shape::Bytes { length } => {
                let length = usize::try_from(length).map_err(|_| columns.data.invalid())?;
                self.each(|fields| {
                    fields.input.extend_from_slice(columns.data.take(length)?);
                    Ok(())
                })
            }
            Shape::Words { selector, words } => {
                self.each(|fields| {
                    fields.input.extend_from_slice(&selector);
                    Ok(())
                })?;
                if self.group.is_empty() {
                    return Ok(());
                }
                (0..words).try_for_each(|_| self.read_words(columns, addresses))
            }
        }
    }

    /// Reads the next word of calldata for each transaction.
    fn read_words(
        &mut self,
        columns: &mut Readers<'_>,
        addresses: &mut Addresses<'_>,
    ) -> Result<(), PayloadError> {
        let Readers {
            word_form,
            word_top,
            word_rest,
            word_address_low,
            word_address_high,
            ..
        } = columns;
        self.each_form(word_form, |form, fields| {
            let word = match form {
                word::ADDRESS => addresses.next(word_address_low, word_address_high)?.into_word(),
                form => word::read(form, word_top, word_rest)?,
            };
            fields.input.extend_from_slice(word.as_slice());
            Ok(())
        })
    }

    pub(super) fn read_lists(
        &mut self,
        kind: &Kind,
        columns: &mut Readers<'_>,
        addresses: &mut Addresses<'_>,
        allowance: &mut Allowance,
    ) -> Result<(), PayloadError> {
        self.each(|fields| {
            if kind.has_access_list {
                fields.access_list = read_access_list(&mut columns.access_list, addresses, allowance)?;
            }
            if kind.type_code == TypeCode::SetCode {
                fields.authorisations =
                    read_authorisations(&mut columns.authorisation, addresses, allowance)?;
            }
            Ok(())
        })
    }
}

fn read_access_list(
    column: &mut Reader<'_>,
    addresses: &mut Addresses<'_>,
    allowance: &mut Allowance,
) -> Result<AccessList, PayloadError> {
    let mut items = Vec::new();
    let count = column.count(column.remaining())?;
    if count == 0 {
        return Err(column.invalid());
    }
    for _ in 0..count {
        allowance.take(1, ACCESS_CHARGE)?;
        let address = addresses.next_varint(column)?;
        let mut storage_keys = Vec::new();
        for _ in 0..column.count(column.remaining())? {
            allowance.take(1, KEY_CHARGE)?;
            storage_keys.push(word::read_inline(column)?);
        }
        items.push(AccessListItem {
            address,
            storage_keys,
        });
    }
    Ok(AccessList(items))
}

fn read_authorisations(
    column: &mut Reader<'_>,
    addresses: &mut Addresses<'_>,
    allowance: &mut Allowance,
) -> Result<Vec<SignedAuthorization>, PayloadError> {
    let mut list = Vec::new();
    for _ in 0..column.count(column.remaining())? {
        allowance.take(1, AUTHORISATION_CHARGE)?;
        let inner = Authorization {
            chain_id: U256::from_be_bytes(word::read_inline(column)?.0),
            address: addresses.next_varint(column)?,
            nonce: column.varint()?,
        };
        let parity = column.byte()?;
        let r = U256::from_be_bytes(column.array::<32>()?);
        let s = U256::from_be_bytes(column.array::<32>()?);
        list.push(SignedAuthorization::new_unchecked(inner, parity, r, s));
    }
    Ok(list)
}
