//! What is to be signed, checked and made ready for signing.

use bitcoin::XOnlyPublicKey;
use bitcoin::hashes::Hash;
use bitcoin::key::Secp256k1;
use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::secp256k1::{Message, VerifyOnly};
use musig2::KeyAggContext;

use super::payload::GraphHashes;
use super::{Aggregate, AggregateError, Digest, Graph, Signing, Tweak};

/// Signatures of one plan at most.
pub const MAX_SIGNINGS: usize = 1 << 17;
/// Bytes of a label at most.
const MAX_LABEL: usize = 200;

/// Why a graph cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Nothing to sign, or too much.
    #[error("signings: expected 1 to {MAX_SIGNINGS}, got {got}")]
    Count {
        /// How many there are.
        got: usize,
    },
    /// A label is too long.
    #[error("label of signing {index}: expected at most {MAX_LABEL} bytes, got {got}")]
    Label {
        /// Which, from 0.
        index: usize,
        /// Its length.
        got: usize,
    },
    /// A tweak is none.
    #[error(transparent)]
    Tweak(#[from] AggregateError),
}

/// One form of the committee's key.
struct Form {
    tweak: Tweak,
    context: KeyAggContext,
    key: XOnlyPublicKey,
}

/// What is signed together.
pub(super) struct Plan {
    digest: Digest,
    signings: Vec<Signing>,
    forms: Vec<Form>,
    /// Of each signing, its place in `forms`.
    form: Vec<usize>,
    secp: Secp256k1<VerifyOnly>,
}

impl Plan {
    /// Takes the signings of a graph, with the hashes that its members compare.
    ///
    /// # Errors
    /// [`PlanError`].
    pub(super) fn of_graph<G: Graph>(
        graph: &G,
        aggregate: &Aggregate,
    ) -> Result<(GraphHashes, Self), PlanError> {
        let signings = graph.signings();
        let hashes = GraphHashes {
            graph: Digest(graph.hash()),
            plan: Digest::tagged("bitsect/committee/signings", &[&encode(&signings, true)]),
        };
        let digest = Digest::tagged("bitsect/committee/plan", &[&hashes.encode()]);
        Ok((hashes, Self::new(digest, signings, aggregate)?))
    }

    /// Takes signings that are asked for after the set-up. Their labels are not hashed: they are for people.
    ///
    /// # Errors
    /// [`PlanError`].
    pub(super) fn of_list(
        deployment: &Digest,
        signings: Vec<Signing>,
        aggregate: &Aggregate,
    ) -> Result<Self, PlanError> {
        let list = encode(&signings, false);
        let digest = Digest::tagged("bitsect/committee/list", &[deployment.as_bytes(), &list]);
        Self::new(digest, signings, aggregate)
    }

    fn new(digest: Digest, signings: Vec<Signing>, aggregate: &Aggregate) -> Result<Self, PlanError> {
        if !(1..=MAX_SIGNINGS).contains(&signings.len()) {
            return Err(PlanError::Count { got: signings.len() });
        }
        let long = |(_, signing): &(usize, &Signing)| signing.label.len() > MAX_LABEL;
        if let Some((index, signing)) = signings.iter().enumerate().find(long) {
            let got = signing.label.len();
            return Err(PlanError::Label { index, got });
        }
        let mut tweaks: Vec<_> = signings.iter().map(|signing| signing.tweak).collect();
        tweaks.sort();
        tweaks.dedup();
        let form = |tweak: &Tweak| {
            Ok::<_, AggregateError>(Form {
                tweak: *tweak,
                context: aggregate.context(*tweak)?,
                key: aggregate.output_key(*tweak),
            })
        };
        let forms = tweaks.iter().map(form).collect::<Result<Vec<_>, _>>()?;
        let place = |signing: &Signing| {
            forms
                .binary_search_by_key(&signing.tweak, |form| form.tweak)
                .expect("every tweak has a form, in order")
        };
        Ok(Self {
            digest,
            form: signings.iter().map(place).collect(),
            signings,
            forms,
            secp: Secp256k1::verification_only(),
        })
    }

    /// Returns the hash that sessions and signatures belong to.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) fn len(&self) -> usize {
        self.signings.len()
    }

    pub(super) fn signings(&self) -> &[Signing] {
        &self.signings
    }

    pub(super) fn context(&self, index: usize) -> &KeyAggContext {
        &self.forms[self.form[index]].context
    }

    /// Checks a signature as Bitcoin does.
    pub(super) fn is_signature(&self, index: usize, signature: &Signature) -> bool {
        let message = Message::from_digest(self.signings[index].message);
        let key = &self.forms[self.form[index]].key;
        self.secp.verify_schnorr(signature, &message, key).is_ok()
    }

    /// Finds the first signature that is none, and returns its signing's label.
    pub(super) fn wrong_signature(&self, signatures: &[Signature]) -> Option<String> {
        let good = spread(signatures.iter().collect(), |index, signature| {
            self.is_signature(index, signature)
        });
        self.label_of_first(&good)
    }

    /// Returns the label of the first signing for which something is false.
    pub(super) fn label_of_first(&self, good: &[bool]) -> Option<String> {
        let first = good.iter().position(|good| !good)?;
        Some(self.signings[first].label.clone())
    }
}

/// Encodes signings so that no two lists have the same bytes, with their labels or without.
fn encode(signings: &[Signing], labels: bool) -> Vec<u8> {
    let mut bytes = (signings.len() as u64).to_le_bytes().to_vec();
    for Signing {
        label,
        message,
        tweak,
    } in signings
    {
        if labels {
            bytes.extend_from_slice(&(label.len() as u64).to_le_bytes());
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.extend_from_slice(message);
        match tweak {
            Tweak::Leaf => bytes.push(0),
            Tweak::KeyPath(None) => bytes.push(1),
            Tweak::KeyPath(Some(root)) => {
                bytes.push(2);
                bytes.extend_from_slice(root.as_byte_array());
            }
        }
    }
    bytes
}

/// Does work on all items, on all processors, and returns the results in order. Takes the items by value.
pub(super) fn spread<T: Send, R: Send>(items: Vec<T>, work: impl Fn(usize, T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(threads).max(1);
    let mut shares = Vec::new();
    let mut items = items.into_iter().enumerate();
    loop {
        let next: Vec<_> = items.by_ref().take(share).collect();
        if next.is_empty() {
            break;
        }
        shares.push(next);
    }
    let work = &work;
    std::thread::scope(|scope| {
        let start = |share: Vec<(usize, T)>| {
            scope.spawn(move || {
                share
                    .into_iter()
                    .map(|(index, item)| work(index, item))
                    .collect::<Vec<R>>()
            })
        };
        let started: Vec<_> = shares.into_iter().map(start).collect();
        started
            .into_iter()
            .flat_map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use bitcoin::taproot::TapNodeHash;

    use super::*;
    use crate::committee::tests::harness::deployment;

    struct Signings(Vec<Signing>);

    impl Graph for Signings {
        fn signings(&self) -> Vec<Signing> {
            self.0.clone()
        }

        fn hash(&self) -> [u8; 32] {
            [3; 32]
        }
    }

    fn signing(label: &str, message: u8, tweak: Tweak) -> Signing {
        Signing {
            label: label.into(),
            message: [message; 32],
            tweak,
        }
    }

    #[test]
    fn the_encoding_covers_every_field() {
        let root = |byte| Tweak::KeyPath(Some(TapNodeHash::from_byte_array([byte; 32])));
        let lists = [
            vec![],
            vec![signing("a", 1, Tweak::Leaf)],
            vec![signing("b", 1, Tweak::Leaf)],
            vec![signing("a", 2, Tweak::Leaf)],
            vec![signing("a", 1, Tweak::KeyPath(None))],
            vec![signing("a", 1, root(1))],
            vec![signing("a", 1, root(2))],
            vec![signing("a", 1, Tweak::Leaf), signing("a", 1, Tweak::Leaf)],
        ];
        let encoded: std::collections::BTreeSet<_> = lists.iter().map(|list| encode(list, true)).collect();
        assert_eq!(encoded.len(), lists.len());
        let unlabelled: std::collections::BTreeSet<_> =
            lists.iter().map(|list| encode(list, false)).collect();
        assert_eq!(unlabelled.len(), lists.len() - 1);
    }

    /// A list is of one deployment, and never the plan of a graph.
    #[test]
    fn plans_of_lists_and_graphs_differ() {
        let aggregate = Aggregate::new(&deployment(3)).unwrap();
        let list = vec![signing("a", 1, Tweak::Leaf)];
        let of_list = |byte, list: &[Signing]| {
            let plan = Plan::of_list(&Digest([byte; 32]), list.to_vec(), &aggregate);
            plan.unwrap().digest()
        };
        let (_, graph) = Plan::of_graph(&Signings(list.clone()), &aggregate).unwrap();
        assert_ne!(of_list(1, &list), of_list(2, &list));
        assert_ne!(of_list(1, &list), graph.digest());
        let renamed = vec![signing("b", 1, Tweak::Leaf)];
        assert_eq!(of_list(1, &list), of_list(1, &renamed));
    }

    #[test]
    fn what_cannot_be_signed_is_named() {
        let aggregate = Aggregate::new(&deployment(3)).unwrap();
        let plan = |list| Plan::of_graph(&Signings(list), &aggregate).map(|_| ());
        assert!(matches!(plan(vec![]), Err(PlanError::Count { got: 0 })));
        let long = signing(&"x".repeat(MAX_LABEL + 1), 1, Tweak::Leaf);
        assert!(matches!(
            plan(vec![signing("a", 1, Tweak::Leaf), long]),
            Err(PlanError::Label { index: 1, .. })
        ));
        let many = vec![signing("a", 1, Tweak::Leaf); MAX_SIGNINGS + 1];
        assert!(matches!(plan(many), Err(PlanError::Count { .. })));
    }

    #[test]
    fn work_is_spread_in_order() {
        for count in [0, 1, 2, 3, 100] {
            let items: Vec<usize> = (0..count).collect();
            let done = spread(items.clone(), |index, item| (index, item * 2));
            let expected: Vec<_> = items.into_iter().map(|item| (item, item * 2)).collect();
            assert_eq!(done, expected);
        }
    }
}
