//! The `.snap` file: members as of an index of raft's log, with a checksum. The data of etcd's v3
//! store is not in it; that is the database.

use thiserror::Error;

use super::TERM;
use super::identity::Identity;
use super::members;
use super::proto::Message;
use super::wal::conf_state;
use crate::mvcc::wire::{Fields, WireError};

/// The file name: term and index.
pub fn name(term: u64, index: u64) -> String {
    format!("{term:016x}-{index:016x}.snap")
}

/// The file that a restore writes: its name and its bytes.
pub fn restore_snap(identity: &Identity) -> (String, Vec<u8>) {
    let index = identity.cluster().count();
    let metadata = Message::default()
        .bytes(1, &conf_state(identity))
        .number(2, index)
        .number(3, TERM);
    let data = Message::default()
        .bytes(1, members::v2_tree(identity.cluster()).as_bytes())
        .bytes(2, &metadata.done())
        .done();
    let file = Message::default()
        .number(1, u64::from(crc32c::crc32c(&data)))
        .bytes(2, &data);
    (name(TERM, index), file.done())
}

/// A place in raft's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The term.
    pub term: u64,
    /// The index; 0 is before the first entry.
    pub index: u64,
}

/// Why a `.snap` file is not used. etcd puts such a file aside and takes the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SnapDamage {
    /// Its message is malformed or a part is missing.
    #[error("its fields are malformed")]
    Malformed,
    /// The checksum is another.
    #[error("its bytes do not match their checksum: says {says:08x}, has {has:08x}")]
    Checksum {
        /// What it says.
        says: u64,
        /// What it is.
        has: u32,
    },
}

/// Where in raft's log a file stands, if it is whole.
pub fn decode(file: &[u8]) -> Result<Position, SnapDamage> {
    let malformed = |_| SnapDamage::Malformed;
    let (says, data) = outer(file).map_err(malformed)?;
    if data.is_empty() {
        return Err(SnapDamage::Malformed);
    }
    let has = crc32c::crc32c(data);
    if says != u64::from(has) || says == 0 {
        return Err(SnapDamage::Checksum { says, has });
    }
    let (has_state, position) = inner(data).map_err(malformed)?;
    // Without the state every release refuses it.
    has_state.then_some(position).ok_or(SnapDamage::Malformed)
}

/// The checksum and what it is of.
fn outer(file: &[u8]) -> Result<(u64, &[u8]), WireError> {
    let (mut crc, mut data) = (0, &[][..]);
    let mut fields = Fields::of(file);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => crc = field.unsigned()?,
            2 => data = field.bytes()?,
            _ => {}
        }
    }
    Ok((crc, data))
}

/// Whether there are members, and where in raft's log.
fn inner(data: &[u8]) -> Result<(bool, Position), WireError> {
    let (mut has_state, mut position) = (false, Position::default());
    let mut fields = Fields::of(data);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => has_state = !field.bytes()?.is_empty(),
            2 => {
                let mut fields = Fields::of(field.bytes()?);
                while let Some(field) = fields.next()? {
                    match field.number {
                        2 => position.index = field.unsigned()?,
                        3 => position.term = field.unsigned()?,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok((has_state, position))
}

/// The position in the name of a `.snap` file; `None` if it is no such name.
pub fn position_of_name(name: &str) -> Option<Position> {
    let (term, index) = two_numbers(name.strip_suffix(".snap")?)?;
    Some(Position { term, index })
}

/// Two numbers of 16 lower-case hexadecimal digits and a dash between them.
pub(super) fn two_numbers(text: &str) -> Option<(u64, u64)> {
    let (first, second) = text.split_once('-')?;
    Some((number(first)?, number(second)?))
}

fn number(text: &str) -> Option<u64> {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let number = text.len() == 16 && text.bytes().all(digit);
    number.then(|| u64::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::InitialCluster;
    use super::*;

    fn restored() -> (String, Vec<u8>) {
        let flag = "a=http://a:1,b=http://b:1,c=http://c:1";
        let cluster = InitialCluster::parse(flag, "tok").unwrap();
        restore_snap(&cluster.member(&"b".into(), "http://b:1").unwrap())
    }

    #[test]
    fn what_is_written_is_read_again_and_agrees_with_its_name() {
        let (name, file) = restored();
        assert_eq!(name, "0000000000000001-0000000000000003.snap");
        let position = Position { term: 1, index: 3 };
        assert_eq!(decode(&file), Ok(position));
        assert_eq!(position_of_name(&name), Some(position));
    }

    #[test]
    fn those_that_etcd_wrote_are_read() {
        for file in [
            &include_bytes!("../../tests/data/data_dir/etcd-3.4.34.snap")[..],
            include_bytes!("../../tests/data/data_dir/etcd-3.5.27.snap"),
            include_bytes!("../../tests/data/data_dir/etcd-3.6.15.snap"),
        ] {
            let position = Position { term: 2, index: 31 };
            assert_eq!(decode(file), Ok(position));
        }
    }

    #[test]
    fn other_names_are_none() {
        for name in [
            "0000000000000001-0000000000000003.snap.db",
            "0000000000000001-0000000000000003.snap.broken",
            "000000000000000A-0000000000000003.snap",
            "+000000000000001-0000000000000003.snap",
            "1-3.snap",
            "0000000000000003.snap",
            "db",
        ] {
            assert_eq!(position_of_name(name), None, "{name}");
        }
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_seen() {
        let (_, file) = restored();
        for at in 0..file.len() {
            assert!(decode(&file[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut changed = file.clone();
                changed[at] ^= 1 << bit;
                assert!(decode(&changed).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }

        #[test]
        fn any_data_with_a_checksum_is_read_or_refused(data: Vec<u8>) {
            let file = Message::default().number(1, u64::from(crc32c::crc32c(&data)));
            let _ = decode(&file.bytes(2, &data).done());
        }
    }
}
