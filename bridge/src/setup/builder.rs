//! Contributions, and the graphs of all slots that are made of them.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;
use bitcoin::key::{Secp256k1, TapTweak};
use bitcoin::secp256k1::All;
use bitcoin::{Address, Amount, OutPoint, ScriptBuf, TxOut, XOnlyPublicKey};
use bitsect_judge::step::cut;

use super::contribution::{Challenged, Contribution, ContributionError, Operated, Shape};
use super::party::{PartySecrets, path};
use super::section::{Section, SectionError, challengers, program_hash};
use super::spec::put_slot;
use crate::committee::{
    Aggregate, AggregateError, Builder, Deployment, DeploymentError, Digest, Graph, MemberId, Role, Signing,
    Tweak,
};
use crate::connector::{Bond, Path, Ticket};
use crate::graph::{GraphError, PairSpec, SigningId, SlotGraph, SlotSpec};
use crate::keys::{ClaimKeys, ProverKeys, locks};
use crate::leaf::{Program, ProgramError};
use crate::params::CONNECTOR_VALUE;

/// Why there is no contribution, or no graph.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The deployment cannot be.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// Its `graph` table cannot be.
    #[error(transparent)]
    Section(#[from] SectionError),
    /// The members' keys do not aggregate.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// The program is another one than the deployment names.
    #[error("program: expected the file of SHA-256 {expected}, got {got}")]
    OtherProgram {
        /// What the deployment names.
        expected: Digest,
        /// The file's hash.
        got: Digest,
    },
    /// The program cannot be used.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Who builds is no member, or has not made its outputs.
    #[error("there is nothing to contribute: no key and no outputs were given")]
    Nothing,
    /// Other outputs were made than the member needs.
    #[error("outputs: expected {expected}, bonds, tickets and stakes, got {got}")]
    Outputs {
        /// How many it needs.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// A contribution is wrong.
    #[error(transparent)]
    Contribution(#[from] ContributionError),
    /// A contribution is missing.
    #[error("the contribution of member {member} is missing")]
    Missing {
        /// Whose.
        member: MemberId,
    },
    /// Two members, or two slots, have the same.
    #[error("{what} {value} of member {member} is contributed twice")]
    Twice {
        /// What.
        what: &'static str,
        /// Which.
        value: String,
        /// Who has the second one.
        member: MemberId,
    },
    /// A member wants to be paid to the vault.
    #[error("payout of member {member}: expected another address than the vault's, got {payout}")]
    Payout {
        /// Who.
        member: MemberId,
        /// The address.
        payout: Address,
    },
    /// A slot's graph cannot be built.
    #[error("slot {slot}: {source}")]
    Slot {
        /// The slot.
        slot: usize,
        /// Why.
        source: GraphError,
    },
}

/// What a member makes an output for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An operator's collateral.
    Bond,
    /// With it an operator's claim gets a vault output.
    Ticket,
    /// A challenger's collateral.
    Stake,
}

/// An output that a member makes before it contributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The slot.
    pub slot: usize,
    /// What it is for.
    pub purpose: Purpose,
    /// The output.
    pub output: TxOut,
}

/// Makes the graph of all slots of a deployment.
#[expect(
    missing_debug_implementations,
    reason = "it holds a curve's tables and a program"
)]
pub struct SetupBuilder {
    secp: Secp256k1<All>,
    deployment: Deployment,
    hash: Digest,
    section: Section,
    program: Program,
    committee: XOnlyPublicKey,
    ours: Option<Vec<u8>>,
}

/// The graphs of all slots.
#[derive(Debug)]
pub struct SetupGraph {
    /// The deployment's hash.
    deployment: Digest,
    /// The program's.
    program: Digest,
    /// The slots.
    pub slots: Vec<SlotGraph>,
}

impl SetupBuilder {
    /// Makes the builder of a deployment, of the program's file.
    ///
    /// # Errors
    /// Where the deployment cannot be, or names another program.
    pub fn new(deployment: &Deployment, program: &[u8]) -> Result<Self, BuildError> {
        deployment.verify()?;
        let section = Section::of(deployment)?;
        let (expected, got) = (section.program, program_hash(program));
        if got != expected {
            return Err(BuildError::OtherProgram { expected, got });
        }
        Ok(Self {
            secp: Secp256k1::new(),
            hash: deployment.hash()?,
            section,
            committee: Aggregate::new(deployment)?.key(),
            deployment: deployment.clone(),
            program: Program::new(program)?,
            ours: None,
        })
    }

    /// Gives the `graph` table.
    pub const fn section(&self) -> &Section {
        &self.section
    }

    fn shape(&self, member: MemberId) -> Shape {
        shape(&self.deployment, &self.section, member)
    }

    /// Gives the outputs that a member makes: the bonds of its slots, their tickets, then its stakes, in the order of slots.
    pub fn wanted(&self, member: MemberId, secrets: &PartySecrets) -> Vec<Wanted> {
        let key = secrets.key.x_only_public_key().0;
        let own = self.section.operates(&self.deployment, member);
        let bonds = own.iter().map(|slot| Wanted {
            slot: *slot,
            purpose: Purpose::Bond,
            output: self.bond(
                key,
                &ClaimKeys::derive(&secrets.seed, &path(&self.hash, *slot, 0)),
            ),
        });
        let ticket = Ticket::new(&self.secp, key, self.committee).output();
        let tickets = own.iter().map(|slot| Wanted {
            slot: *slot,
            purpose: Purpose::Ticket,
            output: ticket.clone(),
        });
        let stakes = (0..self.shape(member).challenged).map(|slot| Wanted {
            slot,
            purpose: Purpose::Stake,
            output: self.stake(key),
        });
        bonds.chain(tickets).chain(stakes).collect()
    }

    /// Gives the outputs behind those: one for each of the member's slots, which it alone spends, each to redeem credit once.
    /// They are not contributed.
    pub fn redemptions(&self, member: MemberId, secrets: &PartySecrets) -> Vec<TxOut> {
        let output = redemption_output(&self.secp, secrets.key.x_only_public_key().0);
        vec![output; self.section.operates(&self.deployment, member).len()]
    }

    fn bond(&self, operator: XOnlyPublicKey, claim: &ClaimKeys) -> TxOut {
        let params = &self.section.params;
        let bond = Bond::new(&self.secp, claim, self.committee, operator, params.rounds);
        TxOut {
            value: Amount::from_sat(params.bond_sats),
            script_pubkey: bond.script_pubkey(),
        }
    }

    fn stake(&self, challenger: XOnlyPublicKey) -> TxOut {
        let (key, _) = challenger.tap_tweak(&self.secp, None);
        TxOut {
            value: Amount::from_sat(self.section.params.stake_sats),
            script_pubkey: ScriptBuf::new_p2tr_tweaked(key),
        }
    }

    /// Contributes for a member whose outputs are made: `made` are their places, in the order of [`Self::wanted`].
    ///
    /// # Errors
    /// [`BuildError::Outputs`] where there are more or fewer.
    pub fn contribute(
        &mut self,
        member: MemberId,
        secrets: &PartySecrets,
        payout: Address,
        made: &[OutPoint],
    ) -> Result<(), BuildError> {
        let (shape, rounds) = (self.shape(member), self.section.params.rounds);
        let expected = 2 * shape.operated + shape.challenged;
        if made.len() != expected {
            let got = made.len();
            return Err(BuildError::Outputs { expected, got });
        }
        let (bonds, rest) = made.split_at(shape.operated);
        let (tickets, stakes) = rest.split_at(shape.operated);
        let slots = self.section.operates(&self.deployment, member);
        let operated = slots
            .into_iter()
            .zip(bonds.iter().zip(tickets))
            .map(|(slot, (bond, ticket))| {
                let pairs = 0..shape.challengers;
                let keys = |pair| ProverKeys::derive(&secrets.seed, &path(&self.hash, slot, pair), rounds);
                Operated {
                    bond: *bond,
                    ticket: *ticket,
                    claim: ClaimKeys::derive(&secrets.seed, &path(&self.hash, slot, 0)),
                    pairs: pairs.map(keys).collect(),
                }
            });
        let pair = challengers(&self.deployment).iter().position(|id| *id == member);
        let challenged = stakes.iter().enumerate().map(|(slot, stake)| Challenged {
            stake: *stake,
            locks: locks(
                &secrets.seed,
                &path(&self.hash, slot, pair.unwrap_or_default()),
                rounds,
            ),
        });
        let contribution = Contribution {
            key: secrets.key.x_only_public_key().0,
            payout,
            operated: operated.collect(),
            challenged: challenged.collect(),
        };
        let bytes = contribution.encode(rounds);
        // What others would refuse must not be signed and fixed; a payout of another network, say.
        self.decode(member, &bytes)?;
        self.ours = Some(bytes);
        Ok(())
    }

    fn decode(&self, member: MemberId, bytes: &[u8]) -> Result<Contribution, BuildError> {
        let contribution = Contribution::decode(bytes, &self.shape(member))?;
        let vault = ScriptBuf::new_p2tr(&self.secp, self.committee, None);
        // What it is paid would be of the vault again, and nobody has signed ways out of it.
        if contribution.payout.script_pubkey() == vault {
            let payout = contribution.payout;
            return Err(BuildError::Payout { member, payout });
        }
        Ok(contribution)
    }

    fn read(
        &self,
        contributions: &BTreeMap<MemberId, Vec<u8>>,
    ) -> Result<BTreeMap<MemberId, Contribution>, BuildError> {
        let mut read = BTreeMap::new();
        for member in self.deployment.ids() {
            let bytes = contributions.get(&member).ok_or(BuildError::Missing { member })?;
            read.insert(member, self.decode(member, bytes)?);
        }
        verify_distinct(&read)?;
        Ok(read)
    }

    fn spec(
        &self,
        slot: usize,
        contributions: &BTreeMap<MemberId, Contribution>,
    ) -> Result<SlotSpec, BuildError> {
        let operator = self.section.operator(&self.deployment, slot);
        let of = |member: MemberId| {
            let found = contributions.get(&member);
            found.ok_or(BuildError::Missing { member })
        };
        let side = of(operator)?;
        let missing = BuildError::Missing { member: operator };
        let own = self.section.operates(&self.deployment, operator);
        let place = own.iter().position(|own| *own == slot);
        let operated = place.and_then(|place| side.operated.get(place)).ok_or(missing)?;
        let members = challengers(&self.deployment);
        let pairs = members.into_iter().zip(&operated.pairs);
        let pairs = pairs.map(|(member, prover)| {
            let challenger = of(member)?;
            let challenged = challenger.challenged.get(slot);
            let Challenged { stake, locks } = challenged.ok_or(BuildError::Missing { member })?;
            Ok::<_, BuildError>(PairSpec {
                key: challenger.key,
                payout: challenger.payout.script_pubkey(),
                stake: (*stake, self.stake(challenger.key)),
                locks: locks.clone(),
                prover: prover.clone(),
            })
        });
        Ok(SlotSpec {
            committee: self.committee,
            operator: side.key,
            payout: side.payout.script_pubkey(),
            bond: operated.bond,
            ticket: self.section.slots[slot].vault.then_some(operated.ticket),
            start: cut(&B256::new(self.section.slots[slot].start_state.0)),
            claim: operated.claim.clone(),
            pairs: pairs.collect::<Result<_, _>>()?,
        })
    }
}

/// Gives the output with which an operator redeems credit: to its key in the graph, which its wallet does not know, so that
/// nothing else spends it.
pub fn redemption_output(secp: &Secp256k1<All>, operator: XOnlyPublicKey) -> TxOut {
    let (key, _) = operator.tap_tweak(secp, None);
    TxOut {
        value: CONNECTOR_VALUE,
        script_pubkey: ScriptBuf::new_p2tr_tweaked(key),
    }
}

fn shape(deployment: &Deployment, section: &Section, member: MemberId) -> Shape {
    let is_challenger = deployment.member(member).role == Role::Challenger;
    Shape {
        network: deployment.network,
        rounds: section.params.rounds,
        operated: section.operates(deployment, member).len(),
        challengers: challengers(deployment).len(),
        challenged: if is_challenger { section.slots.len() } else { 0 },
    }
}

/// Gives the tickets of a deployment's slots, of what their operators have contributed; none where a slot takes no vault output.
///
/// # Errors
/// Where an operator's contribution is missing, or is none.
pub fn tickets(
    deployment: &Deployment,
    contributions: &BTreeMap<MemberId, Vec<u8>>,
) -> Result<Vec<Option<OutPoint>>, BuildError> {
    let section = Section::of(deployment)?;
    let made = made_tickets(deployment, contributions)?;
    let slots = section.slots.iter().zip(made);
    Ok(slots
        .map(|(slot, ticket)| ticket.filter(|_| slot.vault))
        .collect())
}

/// Gives the tickets of a deployment's slots, also of those that take no vault output.
///
/// # Errors
/// Where an operator's contribution is missing, or is none.
pub fn made_tickets(
    deployment: &Deployment,
    contributions: &BTreeMap<MemberId, Vec<u8>>,
) -> Result<Vec<Option<OutPoint>>, BuildError> {
    let section = Section::of(deployment)?;
    let mut tickets = vec![None; section.slots.len()];
    for member in deployment.ids() {
        let own = section.operates(deployment, member);
        if own.is_empty() {
            continue;
        }
        let bytes = contributions.get(&member).ok_or(BuildError::Missing { member })?;
        let contribution = Contribution::decode(bytes, &shape(deployment, &section, member))?;
        for (slot, operated) in own.into_iter().zip(contribution.operated) {
            tickets[slot] = Some(operated.ticket);
        }
    }
    Ok(tickets)
}

/// Checks that no key and no output is contributed twice: transactions that spend the same exclude each other.
fn verify_distinct(contributions: &BTreeMap<MemberId, Contribution>) -> Result<(), BuildError> {
    let (mut keys, mut outputs) = (BTreeSet::new(), BTreeSet::new());
    for (member, contribution) in contributions {
        let twice = |what, value: String| BuildError::Twice {
            what,
            value,
            member: *member,
        };
        if !keys.insert(contribution.key) {
            return Err(twice("key", contribution.key.to_string()));
        }
        let bonds = contribution
            .operated
            .iter()
            .flat_map(|slot| [slot.bond, slot.ticket]);
        let stakes = contribution.challenged.iter().map(|slot| slot.stake);
        for output in bonds.chain(stakes) {
            if !outputs.insert(output) {
                return Err(twice("output", output.to_string()));
            }
        }
    }
    Ok(())
}

impl Builder for SetupBuilder {
    type Graph = SetupGraph;
    type Error = BuildError;

    fn contribution(&self) -> Result<Vec<u8>, BuildError> {
        self.ours.clone().ok_or(BuildError::Nothing)
    }

    fn verify_contribution(&self, member: MemberId, contribution: &[u8]) -> Result<(), BuildError> {
        self.decode(member, contribution).map(drop)
    }

    fn build(&self, contributions: &BTreeMap<MemberId, Vec<u8>>) -> Result<SetupGraph, BuildError> {
        let contributions = self.read(contributions)?;
        let slots = (0..self.section.slots.len()).map(|slot| {
            let spec = self.spec(slot, &contributions)?;
            let built = SlotGraph::build(&self.secp, &self.program, self.section.params, spec);
            built.map_err(|source| BuildError::Slot { slot, source })
        });
        Ok(SetupGraph {
            deployment: self.hash,
            program: self.section.program,
            slots: slots.collect::<Result<_, _>>()?,
        })
    }
}

/// Gives the form of the committee's key that signs for a way of spending.
pub const fn tweak(path: Path) -> Tweak {
    match path {
        Path::Leaf(_) => Tweak::Leaf,
        Path::Key(root) => Tweak::KeyPath(root),
    }
}

impl Graph for SetupGraph {
    fn signings(&self) -> Vec<Signing> {
        let slots = self.slots.iter().enumerate();
        let signings = slots.flat_map(|(slot, graph)| {
            let signings = graph.signings().into_iter();
            signings.map(move |signing| Signing {
                label: label(slot, signing.id),
                message: signing.message,
                tweak: tweak(signing.path),
            })
        });
        signings.collect()
    }

    fn hash(&self) -> [u8; 32] {
        let mut bytes = [self.deployment.0, self.program.0].concat();
        for graph in &self.slots {
            put_slot(graph, &mut bytes);
        }
        Digest::tagged("bitsect/setup/graph", &[&bytes]).0
    }
}

/// Says what a signature is of.
pub fn label(slot: usize, id: SigningId) -> String {
    let branch = |pair: u32, what: String| format!("slot {slot}, challenger {pair}: {what}");
    match id {
        SigningId::Claim => format!("slot {slot}: claim"),
        SigningId::FinaliseFast(input) => format!("slot {slot}: fast end, input {input}"),
        SigningId::FinaliseSlow => format!("slot {slot}: slow end"),
        SigningId::Challenge(pair) => branch(pair, "challenge".to_owned()),
        SigningId::Ask(pair, stage, leaf) => branch(pair, format!("ask {stage:?} by leaf {leaf}")),
        SigningId::Answer(pair, stage, form) => branch(pair, format!("answer {stage:?} ({form:?})")),
        SigningId::Timeout(pair, stage) => branch(pair, format!("timeout {stage:?}, main")),
        SigningId::Verdict(pair, stage) => branch(pair, format!("verdict {stage:?}, main")),
    }
}
