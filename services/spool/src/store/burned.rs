//! The files that remember burned ids, which a client cancelled before their execution was
//! accepted. Such an id is refused for an hour. Each file is empty; its modification time is the
//! time of the last cancel.
//!
//! A burn has an owner, because any principal can burn any id: the burn of one must not refuse the
//! execution of another. The file's name is the id and the owner, `{id}.{owner}`. Without an owner
//! it is the id alone, as before owners existed.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    time::SystemTime,
};

use uuid::Uuid;

use super::{Store, name};
use crate::{
    files::{private, sync_together},
    owner::Owner,
};

impl Store {
    /// Whether this id is refused now because a client of this owner cancelled it before its
    /// execution was accepted.
    pub(crate) fn is_burned(&self, id: Uuid, owner: Owner) -> io::Result<bool> {
        self.burned_path(id, owner).try_exists()
    }

    /// Returns all ids that are refused because a client cancelled them before their execution was
    /// accepted, each with the owner of the burn.
    pub(crate) fn burned(&self) -> io::Result<Vec<(Uuid, Owner)>> {
        let mut burned = Vec::new();
        for entry in fs::read_dir(self.dir.join("burned"))? {
            burned.extend(entry?.file_name().to_str().and_then(parse));
        }
        Ok(burned)
    }

    /// Creates the file by which an id is refused to an owner, or sets the time of an existing one
    /// to now. Waits until the file is on disk.
    pub(crate) fn write_burned(&self, id: Uuid, owner: Owner) -> io::Result<()> {
        let file = private()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.burned_path(id, owner))?;
        file.set_modified(SystemTime::now())?;
        sync_together(&file, &[File::open(self.dir.join("burned"))?])
    }

    /// Returns the path of the file by which an id is refused to an owner after a cancel before its
    /// acceptance.
    pub(crate) fn burned_path(&self, id: Uuid, owner: Owner) -> PathBuf {
        self.dir.join("burned").join(burned_name(id, owner))
    }
}

/// Returns the name of the file by which an id is refused to an owner.
fn burned_name(id: Uuid, owner: Owner) -> String {
    match owner {
        Owner::NONE => name(id),
        owner => format!("{}.{owner}", name(id)),
    }
}

/// Parses the name of a file in the folder of burned ids. `None` for a name that [`burned_name`]
/// never returns.
fn parse(text: &str) -> Option<(Uuid, Owner)> {
    let (id, owner) = match text.split_once('.') {
        None => (text, Owner::NONE),
        Some((id, owner)) => (id, Owner::parse(owner)?),
    };
    let id = Uuid::try_parse(id).ok()?;
    (burned_name(id, owner) == text).then_some((id, owner))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parse_returns_the_id_and_owner_of_a_name(id: u128, bytes: [u8; 16], no_owner: bool) {
            let owner = if no_owner { Owner::NONE } else { Owner::from_bytes(bytes) };
            let id = Uuid::from_u128(id);
            prop_assert_eq!(parse(&burned_name(id, owner)), Some((id, owner)));
        }
    }

    #[test]
    fn parse_rejects_names_that_no_burn_has() {
        let id = "00000000-0000-0000-0000-000000000405";
        assert_eq!(parse(id), Some((Uuid::from_u128(0x405), Owner::NONE)));
        let names = [
            "left over".to_owned(),
            id.replace('-', ""),
            format!("{id}."),
            format!("{id}.{}", "0".repeat(32)),
            format!("{id}.{}", "A".repeat(32)),
            format!("{id}.{}", "a".repeat(31)),
            format!("{id}.{}.{}", "a".repeat(32), "a".repeat(32)),
        ];
        for name in names {
            assert_eq!(parse(&name), None, "{name}");
        }
    }
}
