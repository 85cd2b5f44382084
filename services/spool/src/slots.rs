//! The status of an execution, stored in three places (slots) of its record file. Statuses are
//! written to the slots in turn, each with a checksum, so a write that is cut off leaves the
//! previous status.
//!
//! Two slots would be enough for a kill of the service. The third is for a power cut: statuses that
//! do not wait for fsync(2) are written in turn into two slots, never over the last durable status.

use std::{fs::File, io, os::unix::fs::FileExt};

use crate::{
    files::{u32_at, u64_at},
    layout::{SLOT_BYTES, SLOTS, SLOTS_AT},
};

/// The length of a slot's head before the status, in bytes: checksum, number, length and flags.
const HEAD_BYTES: usize = 32;
/// The largest status of an execution that can be stored, in bytes of JSON (72 KiB less a head of
/// 32 bytes). Each status has a place of fixed size, so that it can be overwritten on a full disk.
pub const STATUS_BYTES_MAX: usize = SLOT_BYTES - HEAD_BYTES;

/// The flag of a terminal (final) status.
const TERMINAL: u8 = 1;
/// The flag of a status whose write waited for the disk.
const DURABLE: u8 = 2;

/// One written status of an execution with its number and flags, as stored in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// The number of the write, from 1. The intact version with the highest number is the present
    /// status.
    pub(crate) number: u64,
    /// Whether the status is terminal (final).
    pub(crate) terminal: bool,
    /// Whether the write waited until the status was on disk.
    pub(crate) durable: bool,
    /// The status, as the JSON bytes that were written.
    pub(crate) json: Vec<u8>,
}

impl Version {
    /// Returns the bytes of a slot: CRC-32 of the rest, number, length, flags, then the status. The
    /// checksum covers the number too, so a torn write is noticed.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self {
            number,
            terminal,
            durable,
            json,
        } = self;
        let mut bytes = vec![0; HEAD_BYTES + json.len()];
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        bytes[16..20].copy_from_slice(&(json.len() as u32).to_le_bytes());
        bytes[20] = if *terminal { TERMINAL } else { 0 } | if *durable { DURABLE } else { 0 };
        bytes[HEAD_BYTES..].copy_from_slice(json);
        let crc = crc32fast::hash(&bytes[8..]);
        bytes[0..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Parses the status in a slot read from disk. `None` if the slot is empty or its checksum is
    /// wrong.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEAD_BYTES {
            return None;
        }
        let number = u64_at(bytes, 8);
        let end = HEAD_BYTES + u32_at(bytes, 16) as usize;
        let body = bytes.get(8..end)?;
        (number > 0 && crc32fast::hash(body) == u32_at(bytes, 0)).then(|| Self {
            number,
            terminal: bytes[20] & TERMINAL != 0,
            durable: bytes[20] & DURABLE != 0,
            json: bytes[HEAD_BYTES..end].to_vec(),
        })
    }
}

/// Which status is in which of the three status slots of a record file. Finds the newest status and
/// the slot to overwrite next. The statuses themselves stay on disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Slots {
    /// The number of the status in each slot; 0 if the slot is empty or damaged.
    numbers: [u64; SLOTS],
    /// The slot of the newest status whose write waited for the disk; `None` if no slot holds one.
    durable: Option<usize>,
    /// Whether the newest status is terminal (final).
    terminal: bool,
}

impl Slots {
    /// Returns the state of a record file that was just accepted. It has one status, which is on
    /// disk and not terminal.
    pub(crate) fn first() -> Self {
        Self {
            numbers: [1, 0, 0],
            durable: Some(0),
            terminal: false,
        }
    }

    /// Reads which statuses the three slots of a record file hold.
    ///
    /// # Errors
    /// `InvalidData` if no slot has an intact status, or the error of the operating system.
    pub(crate) fn load(file: &File) -> io::Result<Self> {
        let mut slots = Self::default();
        let mut newest = 0;
        let mut newest_durable = 0;
        for slot in 0..SLOTS {
            let Some(version) = read_slot(file, slot)? else {
                continue;
            };
            slots.numbers[slot] = version.number;
            if version.number > newest {
                newest = version.number;
                slots.terminal = version.terminal;
            }
            if version.durable && version.number > newest_durable {
                newest_durable = version.number;
                slots.durable = Some(slot);
            }
        }
        if newest == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "no status slot is whole",
            ));
        }
        Ok(slots)
    }

    /// Whether the newest status is terminal (final), so that the execution has ended.
    pub(crate) fn terminal(&self) -> bool {
        self.terminal
    }

    /// Returns the number of the newest status, which is how many statuses were written so far.
    pub(crate) fn newest_number(&self) -> u64 {
        self.numbers[self.newest()]
    }

    /// Returns the slot of the newest status.
    fn newest(&self) -> usize {
        (0..SLOTS)
            .max_by_key(|slot| self.numbers[*slot])
            .unwrap_or(0)
    }

    /// Returns the slot to overwrite next. It is the oldest one that holds neither the newest
    /// status nor the newest one that is certainly on disk.
    fn next(&self) -> usize {
        let newest = self.newest();
        (0..SLOTS)
            .filter(|slot| *slot != newest && Some(*slot) != self.durable)
            .min_by_key(|slot| self.numbers[*slot])
            .unwrap_or(0)
    }

    /// Reads the newest status, as the JSON bytes that were written.
    ///
    /// # Errors
    /// `InvalidData` if the slot was damaged since it was written, or the error of the operating
    /// system.
    pub(crate) fn read(&self, file: &File) -> io::Result<Vec<u8>> {
        read_slot(file, self.newest())?
            .map(|version| version.json)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the status slot is damaged"))
    }

    /// Writes the next status `json` into the record file. With `durable`, waits until it is on
    /// disk. Once a terminal status was written, later ones are terminal too.
    ///
    /// # Errors
    /// `InvalidInput` if `json` is longer than [`STATUS_BYTES_MAX`], or the error of the operating
    /// system. The previous status then stays.
    pub(crate) fn write(
        &mut self,
        file: &File,
        json: &[u8],
        durable: bool,
        terminal: bool,
    ) -> io::Result<()> {
        if json.len() > STATUS_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the status is larger than its slot",
            ));
        }
        let terminal = terminal || self.terminal;
        let slot = self.next();
        let number = self.numbers[self.newest()] + 1;
        let version = Version {
            number,
            terminal,
            durable,
            json: json.to_vec(),
        };
        file.write_all_at(&version.encode(), slot_at(slot))?;
        if durable {
            file.sync_data()?;
            self.durable = Some(slot);
        }
        self.numbers[slot] = number;
        self.terminal = terminal;
        Ok(())
    }
}

/// Returns the offset of a slot in the record file.
fn slot_at(slot: usize) -> u64 {
    SLOTS_AT + (slot * SLOT_BYTES) as u64
}

/// Reads the status in one slot. `None` if the slot is empty or its checksum is wrong.
fn read_slot(file: &File, slot: usize) -> io::Result<Option<Version>> {
    let mut head = [0; HEAD_BYTES];
    file.read_exact_at(&mut head, slot_at(slot))?;
    let len = u32_at(&head, 16) as usize;
    if len > STATUS_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; HEAD_BYTES + len];
    file.read_exact_at(&mut bytes, slot_at(slot))?;
    Ok(Version::decode(&bytes))
}

#[cfg(test)]
mod tests;
