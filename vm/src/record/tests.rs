use super::*;
use proptest::prelude::*;

fn record() -> impl Strategy<Value = UnitRecord> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
    let nodes = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 64), 0..5);
    (
        any::<[[u8; 32]; 3]>(),
        bytes(),
        nodes,
        proptest::collection::vec(bytes(), 0..4),
        proptest::option::of(bytes()),
    )
        .prop_map(
            |([before, advice, after], state, nodes, blobs, block)| UnitRecord {
                before: before.into(),
                advice: advice.into(),
                after: after.into(),
                state,
                nodes: nodes.into_iter().map(|node| node.try_into().unwrap()).collect(),
                blobs,
                block,
            },
        )
}

proptest! {
    #[test]
    fn encoding_round_trips(record in record()) {
        prop_assert_eq!(UnitRecord::decode(&record.encode()).unwrap(), record);
    }

    #[test]
    fn a_changed_file_is_refused(record in record(), at in any::<usize>(), flip in 1..=u8::MAX) {
        let mut bytes = record.encode();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        prop_assert!(UnitRecord::decode(&bytes).is_err());
        bytes.truncate(at);
        prop_assert!(UnitRecord::decode(&bytes).is_err());
    }

    #[test]
    fn only_encodings_decode(content in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = [&MAGIC[..], &content].concat();
        let checksum = blake3::hash(&bytes);
        bytes.extend(checksum.as_bytes());
        if let Ok(record) = UnitRecord::decode(&bytes) {
            prop_assert_eq!(record.encode(), bytes);
        }
    }
}
