//! One row of the index file: the id, the owner and the end of one execution in 64 bytes.
//!
//! ```text
//! 0   the id
//! 16  1: queued or running; 2: ended
//! 24  the time of the end
//! 32  the disk space
//! 40  the owner; zeros in rows from before owners existed
//! 60  the CRC-32 of all bytes before
//! ```

use uuid::Uuid;

use crate::{
    files::{array_at, u32_at, u64_at},
    owner::Owner,
};

/// The length of one row of the index file, in bytes.
pub(crate) const ROW_BYTES: u64 = 64;

/// The row of one execution in the index file: its id, its owner, and its end once it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// The id of the execution.
    pub(crate) id: Uuid,
    /// The principal whose execution this is, so that a list of one principal opens no folder of
    /// another.
    pub(crate) owner: Owner,
    /// The end of the execution; `None` while it is queued or running.
    pub(crate) ended: Option<EndFacts>,
}

/// The time of the end and the disk space of an execution that has ended. Deletion by age and size
/// decides by them what to delete next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndFacts {
    /// The time of the execution's end, in milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
    /// The disk space of the execution's files after its end, in bytes.
    pub(crate) bytes: u64,
}

/// The content of one position in the index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Zeros: the position was never used, or its execution was deleted.
    Free,
    /// Bytes whose checksum is wrong.
    Damaged,
    /// The row of an execution.
    Row(Row),
}

impl Row {
    /// Returns the row as it is stored on disk, with a checksum at the end.
    pub(crate) fn encode(&self) -> [u8; ROW_BYTES as usize] {
        let Self { id, owner, ended } = self;
        let mut bytes = [0; ROW_BYTES as usize];
        bytes[0..16].copy_from_slice(id.as_bytes());
        bytes[16] = if ended.is_some() { 2 } else { 1 };
        if let Some(EndFacts { at_ms, bytes: size }) = ended {
            bytes[24..32].copy_from_slice(&at_ms.to_le_bytes());
            bytes[32..40].copy_from_slice(&size.to_le_bytes());
        }
        bytes[40..56].copy_from_slice(owner.as_bytes());
        let check = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Parses one row read from disk. Zeros are a free position; a wrong checksum is a damaged one.
    pub(crate) fn decode(bytes: &[u8]) -> Slot {
        if bytes.iter().all(|byte| *byte == 0) {
            return Slot::Free;
        }
        if crc32fast::hash(&bytes[..60]) != u32_at(bytes, 60) {
            return Slot::Damaged;
        }
        Slot::Row(Self {
            id: Uuid::from_bytes(array_at(bytes, 0)),
            owner: Owner::from_bytes(array_at(bytes, 40)),
            ended: (bytes[16] == 2).then(|| EndFacts {
                at_ms: u64_at(bytes, 24),
                bytes: u64_at(bytes, 32),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decode_returns_the_encoded_row_and_rejects_a_changed_bit(
            id: u128,
            owner: [u8; 16],
            ended: Option<(u64, u64)>,
            at in 0_usize..ROW_BYTES as usize,
            bit in 0_u8..8,
        ) {
            let row = Row {
                id: Uuid::from_u128(id),
                owner: Owner::from_bytes(owner),
                ended: ended.map(|(at_ms, bytes)| EndFacts { at_ms, bytes }),
            };
            let mut bytes = row.encode();
            prop_assert_eq!(Row::decode(&bytes), Slot::Row(row));
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(Row::decode(&bytes), Slot::Damaged);
        }
    }
}
