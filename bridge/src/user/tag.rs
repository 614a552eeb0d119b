//! A deposit's output and tag: the one place that knows how a deposit is written (docs/bridge.md, Deposit).

use alloy_primitives::{Address as L2Address, B256};
use bitcoin::key::Secp256k1;
use bitcoin::taproot::{LeafVersion, TapLeafHash, TapNodeHash, TaprootBuilder, TaprootSpendInfo};
use bitcoin::{Address, Amount, OutPoint, ScriptBuf, Transaction, TxOut, Txid, XOnlyPublicKey};
use bitsect_vm::derive::{DepositCall, DepositTag, MAX_DEPOSIT_CALL};

use super::{Terms, UserError};
use crate::connector::Funds;
use crate::transaction::{Spent, accept};

/// What a deposit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order(DepositTag);

impl Order {
    /// Makes the order to pay a recipient on L2, by a call where there is one.
    ///
    /// # Errors
    /// [`UserError::Refused`] where the call's data is too long.
    pub fn new(
        to: L2Address,
        refund_key: &XOnlyPublicKey,
        call: Option<DepositCall>,
    ) -> Result<Self, UserError> {
        if let Some(call) = &call
            && call.data.len() > MAX_DEPOSIT_CALL
        {
            let rule = format!("at most {MAX_DEPOSIT_CALL} bytes");
            return Err(UserError::refused("call_data", rule, call.data.len()));
        }
        Ok(Self(DepositTag {
            to,
            refund_key: B256::new(refund_key.serialize()),
            call,
        }))
    }

    /// Reads a tag output's script.
    pub fn of_script(script: &bitcoin::Script) -> Option<Self> {
        DepositTag::of_script(script.as_bytes()).map(Self)
    }

    /// Reads the first tag of a transaction, the only one that counts.
    pub fn of_transaction(transaction: &Transaction) -> Option<Self> {
        let mut scripts = transaction.output.iter().map(|output| &output.script_pubkey);
        scripts.find_map(|script| Self::of_script(script))
    }

    /// Gives the recipient.
    pub const fn to(&self) -> L2Address {
        self.0.to
    }

    /// Gives the call.
    pub const fn call(&self) -> Option<&DepositCall> {
        self.0.call.as_ref()
    }

    /// Gives the key that can take the deposit back.
    pub const fn refund_key(&self) -> B256 {
        self.0.refund_key
    }

    /// Gives the tag output's script.
    pub fn tag_script(&self) -> ScriptBuf {
        ScriptBuf::from_bytes(self.0.script())
    }

    /// Gives what the tag output's script pushes.
    ///
    /// # Panics
    /// Never: a tag is one push.
    pub fn tag_data(&self) -> Vec<u8> {
        let script = self.tag_script();
        let pushed = script.instructions().nth(1).and_then(Result::ok);
        let pushed = pushed.and_then(|push| push.push_bytes().map(|bytes| bytes.as_bytes().to_vec()));
        pushed.expect("a tag is OP_RETURN and one push")
    }

    /// Gives the leaf that takes the deposit back.
    pub fn leaf(&self, terms: &Terms) -> ScriptBuf {
        ScriptBuf::from_bytes(self.0.refund_script(terms.refund_delay))
    }

    /// Gives how the deposit output can be spent.
    ///
    /// # Panics
    /// Never: one leaf at the root is a tree.
    pub fn spend_info(&self, terms: &Terms) -> TaprootSpendInfo {
        let builder = TaprootBuilder::new().add_leaf(0, self.leaf(terms));
        builder
            .ok()
            .and_then(|builder| {
                builder
                    .finalize(&Secp256k1::verification_only(), terms.vault_key)
                    .ok()
            })
            .expect("one leaf at the root is a tree")
    }

    /// Gives the address that the deposit pays.
    pub fn address(&self, terms: &Terms) -> Address {
        let leaf = TapLeafHash::from_script(&self.leaf(terms), LeafVersion::TapScript);
        let root = TapNodeHash::from(leaf);
        Address::p2tr(
            &Secp256k1::verification_only(),
            terms.vault_key,
            Some(root),
            terms.network,
        )
    }

    /// Gives the deposit's outputs: the deposit, then its tag.
    pub fn outputs(&self, terms: &Terms, amount: Amount) -> Vec<TxOut> {
        let script_pubkey = self.address(terms).script_pubkey();
        let deposit = TxOut {
            value: amount,
            script_pubkey,
        };
        let tag = TxOut {
            value: Amount::ZERO,
            script_pubkey: self.tag_script(),
        };
        vec![deposit, tag]
    }
}

/// Gives the id that the accept of a deposit will have, which no script or witness of the deposit changes.
///
/// # Panics
/// Never: an accept moves the whole deposit.
pub fn accept_txid(terms: &Terms, deposit: OutPoint, amount: Amount) -> Txid {
    let output = TxOut {
        value: amount,
        script_pubkey: ScriptBuf::new(),
    };
    let funds = Funds::new(&Secp256k1::new(), terms.vault_key);
    let planned = accept(Spent::new(deposit, output), &funds);
    planned.expect("an accept moves the whole deposit").txid()
}

#[cfg(test)]
mod tests {
    use bitsect_vm::derive::bitcoin::{tap_leaf_hash, tweaked_script};
    use proptest::prelude::*;

    use super::super::keys::tests::keys;
    use super::super::terms::tests::terms;
    use super::*;

    /// What derivation looks for.
    fn derived(order: &Order) -> Vec<u8> {
        let terms = terms();
        let leaf = tap_leaf_hash(&order.0.refund_script(terms.refund_delay)).unwrap();
        tweaked_script(&terms.vault_key.serialize().into(), Some(&leaf)).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn derivation_knows_the_deposit(
            to: [u8; 20],
            index in 0..50_u16,
            call in proptest::option::of((any::<[u8; 20]>(), proptest::collection::vec(any::<u8>(), 0..=MAX_DEPOSIT_CALL))),
        ) {
            let (terms, keys) = (terms(), keys());
            let call = call.map(|(target, data)| DepositCall { target: target.into(), data: data.into() });
            let order = Order::new(to.into(), &keys.refund_key(index), call).unwrap();
            let script = order.address(&terms).script_pubkey();
            prop_assert_eq!(script.to_bytes(), derived(&order));
            let info = order.spend_info(&terms);
            prop_assert_eq!(&ScriptBuf::new_p2tr_tweaked(info.output_key()), &script);
            prop_assert!(info.control_block(&(order.leaf(&terms), LeafVersion::TapScript)).is_some());
            let outputs = order.outputs(&terms, Amount::from_sat(5));
            prop_assert_eq!(Order::of_script(&outputs[1].script_pubkey), Some(order.clone()));
            prop_assert_eq!(outputs[1].script_pubkey.clone(), ScriptBuf::new_op_return(
                bitcoin::script::PushBytesBuf::try_from(order.tag_data()).unwrap()));
        }
    }

    #[test]
    fn long_calls_are_refused_with_the_number() {
        let call = |bytes| DepositCall {
            target: L2Address::repeat_byte(1),
            data: vec![0; bytes].into(),
        };
        let error = Order::new(
            L2Address::repeat_byte(2),
            &keys().refund_key(0),
            Some(call(1_025)),
        );
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "call_data: expected at most 1024 bytes, got 1025");
    }
}
