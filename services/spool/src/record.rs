//! Reading, writing and repairing the `record` file of an execution, which holds its id, statuses
//! and request body. `layout` lists what is stored at which offset.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use uuid::Uuid;

use crate::{
    files::{array_at, create_or_open, is_damage, private, u32_at, u64_at},
    layout::{BODY_AT, HEADER_BYTES, SLOTS_AT},
    owner::Owner,
    slots::Slots,
};

/// The first eight bytes of every record file; they also name the version of the format.
const MAGIC: [u8; 8] = *b"ccspool1";

/// The facts of an execution that never change, stored at the start of its record file. A deletion
/// keeps them, so that the deleted id is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// The id that the client chose for the execution.
    pub(crate) id: Uuid,
    /// The execution's position in the index. Positions ascend in the order of acceptance.
    pub(crate) sequence: u64,
    /// The digest of the request body, given by the caller. A repeated request is recognised by it.
    /// All zeros, the digest of no body, if the body was damaged.
    pub(crate) digest: [u8; 32],
    /// The length of the request body, in bytes.
    pub(crate) body_len: u64,
    /// The CRC-32 of the request body, to notice damage on disk.
    pub(crate) body_crc: u32,
    /// The principal that started the execution. Records from before owners existed have zeros in
    /// its place, and so no owner.
    pub(crate) owner: Owner,
}

impl Header {
    /// Returns the header as it is stored on disk, with a checksum at the end.
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let Self {
            id,
            sequence,
            digest,
            body_len,
            body_crc,
            owner,
        } = self;
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..24].copy_from_slice(id.as_bytes());
        bytes[24..32].copy_from_slice(&sequence.to_le_bytes());
        bytes[32..64].copy_from_slice(digest);
        bytes[64..72].copy_from_slice(&body_len.to_le_bytes());
        bytes[72..76].copy_from_slice(&body_crc.to_le_bytes());
        bytes[76..92].copy_from_slice(owner.as_bytes());
        let crc = crc32fast::hash(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Parses a header read from disk. `None` if the checksum or the magic number is wrong.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let whole = crc32fast::hash(&bytes[..HEADER_BYTES - 4]) == u32_at(bytes, HEADER_BYTES - 4);
        (whole && bytes[0..8] == MAGIC).then(|| Self {
            id: Uuid::from_bytes(array_at(bytes, 8)),
            sequence: u64_at(bytes, 24),
            digest: array_at(bytes, 32),
            body_len: u64_at(bytes, 64),
            body_crc: u32_at(bytes, 72),
            owner: Owner::from_bytes(array_at(bytes, 76)),
        })
    }

    /// Reads the header at the start of `file`, which is a record or a tombstone (what remains of
    /// the record after a deletion).
    ///
    /// # Errors
    /// `InvalidData` if the checksum is wrong, `UnexpectedEof` if the file is too short, or the
    /// error of the operating system.
    pub(crate) fn read(file: &File) -> io::Result<Self> {
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, 0)?;
        Self::decode(&bytes).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the record's header is damaged")
        })
    }

    /// Reads the header of the record or tombstone at `path`. `None` if there is no such file.
    ///
    /// # Errors
    /// `InvalidData` or `UnexpectedEof` if the header is damaged, or the error of the operating
    /// system.
    pub(crate) fn read_path(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Self::read(&file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Creates the record file of a new execution at `path`, with `first_slot` as its first status, and
/// returns it open for reading and writing. Does not wait for the disk; the caller syncs the file.
///
/// Unused places are written as zeros and not only reserved. Writing into a reserved place later
/// could need a disk block that a full disk does not have.
pub(crate) fn write_new(
    path: &Path,
    header: &Header,
    first_slot: &[u8],
    body: &[u8],
) -> io::Result<File> {
    let file = private()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    let mut front = vec![0; BODY_AT as usize];
    let encoded = header.encode();
    front[..encoded.len()].copy_from_slice(&encoded);
    let slots_at = SLOTS_AT as usize;
    front[slots_at..slots_at + first_slot.len()].copy_from_slice(first_slot);
    file.write_all_at(&front, 0)?;
    file.write_all_at(body, BODY_AT)?;
    Ok(file)
}

/// Turns an error that means damaged or truncated data into `None`, so that the caller can repair
/// it. Other errors, such as a failing disk, are returned unchanged.
pub(crate) fn if_intact<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Repairs the damaged record file at `path` enough to open it, and returns its header and the
/// state of its status slots. A damaged header is rebuilt from the body. If no status slot is
/// readable, the slots are treated as if only a first status was ever written. The status itself
/// may still be missing.
///
/// `sequence` and `owner` are the execution's position and owner according to the index; an intact
/// header wins over both. `digest_of` computes the digest of a body, and returns `None` for a
/// damaged one.
pub(crate) fn restore(
    path: &Path,
    id: Uuid,
    sequence: u64,
    owner: Owner,
    digest_of: impl FnOnce(&[u8]) -> Option<[u8; 32]>,
) -> io::Result<(File, Header, Slots)> {
    let file = create_or_open(path)?;
    let len = file.metadata()?.len();
    if len < BODY_AT {
        file.set_len(BODY_AT)?;
    }
    let header = match if_intact(Header::read(&file))? {
        Some(header) if header.id == id => header,
        _ => {
            let body_len = len.saturating_sub(BODY_AT);
            let mut body = vec![0; usize::try_from(body_len).map_err(io::Error::other)?];
            file.read_exact_at(&mut body, BODY_AT)?;
            let header = Header {
                id,
                sequence,
                // No body has the default digest, so a repeated acceptance is refused and never
                // runs.
                digest: digest_of(&body).unwrap_or_default(),
                body_len,
                body_crc: crc32fast::hash(&body),
                owner,
            };
            file.write_all_at(&header.encode(), 0)?;
            header
        }
    };
    // Pretend a first version, so that the entry's next version is never treated as an unfinished
    // acceptance after a power cut.
    let slots = if_intact(Slots::load(&file))?.unwrap_or_else(Slots::first);
    Ok((file, header, slots))
}

/// Reads the request body (the client's prompt and settings) from a record file, and verifies its
/// CRC-32.
///
/// # Errors
/// `InvalidData` if the checksum is wrong, `UnexpectedEof` if the file is too short, or the error
/// of the operating system.
pub(crate) fn read_body(file: &File, header: &Header) -> io::Result<Vec<u8>> {
    let len = usize::try_from(header.body_len).map_err(io::Error::other)?;
    let mut body = vec![0; len];
    file.read_exact_at(&mut body, BODY_AT)?;
    if crc32fast::hash(&body) != header.body_crc {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the body is damaged",
        ));
    }
    Ok(body)
}

#[cfg(test)]
mod tests;
