//! Tests of the header of a record.

use proptest::prelude::*;

use super::*;

#[test]
fn decode_returns_the_encoded_header_and_rejects_any_changed_byte() {
    let header = Header {
        id: Uuid::from_u128(7),
        sequence: 42,
        digest: [9; 32],
        body_len: 5,
        body_crc: 6,
        owner: Owner::of("team-a"),
    };
    let bytes = header.encode();
    assert_eq!(Header::decode(&bytes), Some(header));
    for at in 0..bytes.len() {
        let mut damaged = bytes;
        damaged[at] ^= 1;
        assert_eq!(Header::decode(&damaged), None, "byte {at}");
    }
}

proptest! {
    #[test]
    fn decode_returns_the_encoded_header(
        id: u128,
        sequence: u64,
        digest: [u8; 32],
        body_len: u64,
        body_crc: u32,
        owner: [u8; 16],
    ) {
        let header = Header {
            id: Uuid::from_u128(id),
            sequence,
            digest,
            body_len,
            body_crc,
            owner: Owner::from_bytes(owner),
        };
        prop_assert_eq!(Header::decode(&header.encode()), Some(header));
    }
}
