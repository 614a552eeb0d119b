//! What a member contributes to the graph, and its one encoding.
//!
//! `version (1) || key (32) || length (1) || payout address`, then for each slot in which the member claims
//! `bond (36) || ticket (36) || claim keys || prover's keys of each pair`, then, of a challenger, for each slot `stake (36) || locks`. An
//! outpoint is its txid in internal byte order and its index, 4 bytes, little-endian. Keys and locks have lengths that the
//! parameters fix.

use bitcoin::address::NetworkUnchecked;
use bitcoin::hashes::Hash;
use bitcoin::{Address, Network, OutPoint, Txid, XOnlyPublicKey};

use super::section::OUTPOINT_BYTES;
use crate::keys::{ClaimKeys, KeysError, Locks, ProverKeys, decode_locks, encode_locks, locks_bytes};
use crate::params::Rounds;

const VERSION: u8 = 1;
/// Bytes of an address at most: BIP-0173 has 90.
const MAX_ADDRESS: usize = 90;
/// Bytes before the slots at most.
pub(super) const HEAD_BYTES: usize = 1 + 32 + 1 + MAX_ADDRESS;

/// A member's side of a slot in which it claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operated {
    /// The bond.
    pub bond: OutPoint,
    /// The ticket.
    pub ticket: OutPoint,
    /// The claim's keys.
    pub claim: ClaimKeys,
    /// Its keys in each pair.
    pub pairs: Vec<ProverKeys>,
}

/// A member's side of a slot that it challenges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenged {
    /// Its stake.
    pub stake: OutPoint,
    /// Its locks.
    pub locks: Locks,
}

/// What a member contributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// Its key in the graph.
    pub key: XOnlyPublicKey,
    /// Where it is paid.
    pub payout: Address,
    /// The slots in which it claims.
    pub operated: Vec<Operated>,
    /// The slots that it challenges.
    pub challenged: Vec<Challenged>,
}

/// What a contribution has to be like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The network of the payout's address.
    pub network: Network,
    /// Rounds of the searches.
    pub rounds: Rounds,
    /// Slots in which the member claims.
    pub operated: usize,
    /// Challengers of each.
    pub challengers: usize,
    /// Slots that it challenges.
    pub challenged: usize,
}

/// Why bytes are no contribution.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContributionError {
    /// A field is not what it has to be.
    #[error("contribution: {field}: expected {expected}, got {got}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it has to be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// Keys or locks have another length.
    #[error("contribution: {0}")]
    Keys(#[from] KeysError),
}

fn wrong(field: &'static str, expected: impl ToString, got: impl ToString) -> ContributionError {
    ContributionError::Field {
        field,
        expected: expected.to_string(),
        got: got.to_string(),
    }
}

/// Takes fields from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], ContributionError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| wrong(field, format!("{count} bytes"), format!("{} bytes", self.0.len())))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], ContributionError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(field, N)?);
        Ok(bytes)
    }

    fn outpoint(&mut self, field: &'static str) -> Result<OutPoint, ContributionError> {
        let txid = Txid::from_byte_array(self.array(field)?);
        let vout = u32::from_le_bytes(self.array(field)?);
        Ok(OutPoint { txid, vout })
    }

    fn payout(&mut self, network: Network) -> Result<Address, ContributionError> {
        let [length] = self.array("payout")?;
        if usize::from(length) > MAX_ADDRESS {
            return Err(wrong("payout", format!("at most {MAX_ADDRESS} bytes"), length));
        }
        let bytes = self.take("payout", length.into())?;
        let text = String::from_utf8_lossy(bytes);
        let failed = || wrong("payout", format!("an address of {network}"), format!("{text:?}"));
        let address: Address<NetworkUnchecked> = text.parse().map_err(|_| failed())?;
        let address = address.require_network(network).map_err(|_| failed())?;
        // An address can be written in capitals, too; a contribution has one encoding.
        if address.to_string().as_bytes() != bytes {
            return Err(wrong("payout", address, format!("{text:?}")));
        }
        Ok(address)
    }
}

impl Contribution {
    /// Writes it.
    pub fn encode(&self, rounds: Rounds) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.key.serialize());
        let payout = self.payout.to_string();
        let length = u8::try_from(payout.len()).expect("no address has more than 90 characters");
        bytes.push(length);
        bytes.extend(payout.as_bytes());
        for slot in &self.operated {
            put_outpoint(&slot.bond, &mut bytes);
            put_outpoint(&slot.ticket, &mut bytes);
            bytes.extend(slot.claim.encode());
            bytes.extend(slot.pairs.iter().flat_map(|keys| keys.encode(rounds)));
        }
        for slot in &self.challenged {
            put_outpoint(&slot.stake, &mut bytes);
            bytes.extend(encode_locks(&slot.locks, rounds));
        }
        bytes
    }

    /// Reads one of a shape.
    ///
    /// # Errors
    /// [`ContributionError`] names the first field that is wrong.
    pub fn decode(bytes: &[u8], shape: &Shape) -> Result<Self, ContributionError> {
        let mut reader = Reader(bytes);
        let [version] = reader.array("version")?;
        if version != VERSION {
            return Err(wrong("version", VERSION, version));
        }
        let key: [u8; 32] = reader.array("key")?;
        let key = XOnlyPublicKey::from_slice(&key)
            .map_err(|_| wrong("key", "a point of the curve", hex::encode(key)))?;
        let payout = reader.payout(shape.network)?;
        let operated = (0..shape.operated).map(|_| Self::operated(&mut reader, shape));
        let operated = operated.collect::<Result<_, _>>()?;
        let challenged = (0..shape.challenged).map(|_| {
            Ok::<_, ContributionError>(Challenged {
                stake: reader.outpoint("stake")?,
                locks: decode_locks(reader.take("locks", locks_bytes(shape.rounds))?, shape.rounds)?,
            })
        });
        let challenged = challenged.collect::<Result<_, _>>()?;
        if !reader.0.is_empty() {
            return Err(wrong("end", "no more bytes", reader.0.len()));
        }
        Ok(Self {
            key,
            payout,
            operated,
            challenged,
        })
    }

    fn operated(reader: &mut Reader<'_>, shape: &Shape) -> Result<Operated, ContributionError> {
        let bond = reader.outpoint("bond")?;
        let ticket = reader.outpoint("ticket")?;
        // The chain takes the ticket's transaction for the operator: of another one it would spend another's credit.
        if ticket.txid != bond.txid {
            return Err(wrong("ticket", format!("an output of {}", bond.txid), ticket));
        }
        let claim = ClaimKeys::decode(reader.take("claim keys", ClaimKeys::bytes())?)?;
        let length = ProverKeys::bytes(shape.rounds);
        let pairs = (0..shape.challengers).map(|_| {
            let keys = reader.take("prover's keys", length)?;
            Ok::<_, ContributionError>(ProverKeys::decode(keys, shape.rounds)?)
        });
        Ok(Operated {
            bond,
            ticket,
            claim,
            pairs: pairs.collect::<Result<_, _>>()?,
        })
    }
}

const _: () = assert!(OUTPOINT_BYTES == 32 + 4);

pub(super) fn put_outpoint(outpoint: &OutPoint, out: &mut Vec<u8>) {
    out.extend(outpoint.txid.to_byte_array());
    out.extend(outpoint.vout.to_le_bytes());
}
