//! The write-ahead log: how it is framed, and the one that a restore writes. That one is, byte for
//! byte, what etcd's own tools (3.5 and later) write for the same flags.

use super::TERM;
use super::identity::Identity;
use super::members;
use super::proto::Message;

/// How long etcd makes a segment before it writes to it; zeros follow the last record.
pub const SEGMENT_BYTES: u64 = 64_000_000;

/// Kinds of records.
pub(super) mod kind {
    pub(in crate::data_dir) const METADATA: u64 = 1;
    pub(in crate::data_dir) const ENTRY: u64 = 2;
    pub(in crate::data_dir) const STATE: u64 = 3;
    pub(in crate::data_dir) const CRC: u64 = 4;
    pub(in crate::data_dir) const SNAPSHOT: u64 = 5;
}

/// Kinds of entries.
pub(super) mod entry {
    pub(in crate::data_dir) const NORMAL: u64 = 0;
    pub(in crate::data_dir) const CONF_CHANGE: u64 = 1;
    pub(in crate::data_dir) const CONF_CHANGE_V2: u64 = 2;
}

/// Records are padded to a multiple of this.
pub(super) const ALIGN: usize = 8;

/// The file name of a segment: its number, and the index of the first entry that may be in it.
pub fn segment_name(number: u64, index: u64) -> String {
    format!("{number:016x}-{index:016x}.wal")
}

/// Writes records one after another. The checksum of each goes on from the one before it.
#[derive(Debug, Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
    crc: u32,
}

impl Records {
    /// That follow others, of which this is the checksum.
    pub(super) fn after(crc: u32) -> Self {
        let bytes = Vec::new();
        Self { bytes, crc }
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn record(&mut self, kind: u64, data: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, data);
        let head = Message::default()
            .number(1, kind)
            .number(2, u64::from(self.crc));
        let record = match data {
            [] => head,
            data => head.bytes(3, data),
        };
        let record = record.done();
        let padding = (ALIGN - record.len() % ALIGN) % ALIGN;
        let mark = if padding == 0 {
            0
        } else {
            0x80 | padding as u64
        };
        let frame = mark << 56 | record.len() as u64;
        self.bytes.extend(frame.to_le_bytes());
        self.bytes.extend(record);
        self.bytes.resize(self.bytes.len() + padding, 0);
    }
}

/// The used bytes of the first segment of a restored member, [`segment_name`]`(0, 0)`; zeros up to
/// [`SEGMENT_BYTES`] follow them.
///
/// The founders stand in it as the first entries too, and not in the `.snap` file alone: so a member
/// whose `.snap` file is lost can still start.
pub fn restore_wal(identity: &Identity) -> Vec<u8> {
    let (cluster, own) = (identity.cluster(), identity.own());
    let mut wal = Records::default();
    wal.record(kind::CRC, &[]);
    let metadata = Message::default().number(1, own.id.0);
    wal.record(kind::METADATA, &metadata.number(2, cluster.id().0).done());
    let nothing = Message::default().number(1, 0).number(2, 0);
    wal.record(kind::SNAPSHOT, &nothing.done());
    for (member, index) in cluster.members().iter().zip(1..) {
        let change = Message::default()
            .number(1, 0)
            .number(2, 0)
            .number(3, member.id.0)
            .bytes(4, members::json(member).as_bytes());
        let entry = Message::default()
            .number(1, entry::CONF_CHANGE)
            .number(2, TERM)
            .number(3, index)
            .bytes(4, &change.done());
        wal.record(kind::ENTRY, &entry.done());
    }
    let voted = cluster.members().first().map_or(0, |first| first.id.0);
    let state = Message::default().number(1, TERM).number(2, voted);
    wal.record(kind::STATE, &state.number(3, cluster.count()).done());
    let snapshot = Message::default()
        .number(1, cluster.count())
        .number(2, TERM);
    let snapshot = snapshot.bytes(3, &conf_state(identity));
    wal.record(kind::SNAPSHOT, &snapshot.done());
    wal.done()
}

/// Every founder votes.
pub(super) fn conf_state(identity: &Identity) -> Vec<u8> {
    let members = identity.cluster().members().iter();
    let voters = members.fold(Message::default(), |state, it| state.number(1, it.id.0));
    voters.number(5, 0).done()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use sha2::{Digest as _, Sha256};

    use super::super::InitialCluster;
    use super::*;

    fn restored(flag: &str, token: &str, name: &str, own: &str) -> Vec<u8> {
        let cluster = InitialCluster::parse(flag, token).unwrap();
        restore_wal(&cluster.member(&name.into(), own).unwrap())
    }

    fn hash_of_the_whole_file(used: &[u8]) -> String {
        let mut hash = Sha256::new();
        hash.update(used);
        let mut left = usize::try_from(SEGMENT_BYTES).unwrap() - used.len();
        while left > 0 {
            let zeros = [0; 4096];
            let some = &zeros[..left.min(zeros.len())];
            hash.update(some);
            left -= some.len();
        }
        hash.finalize()
            .iter()
            .fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            })
    }

    #[test]
    fn the_log_is_that_of_the_genuine_tools() {
        let url = "http://localhost:2380";
        let one = restored(&format!("default={url}"), "etcd-cluster", "default", url);
        assert_eq!(one.len(), 288);
        assert_eq!(
            hash_of_the_whole_file(&one),
            "0b4a5ce53d6a11fb4489ae93ea6c2c717bd5ba3889821561512ef36598e10221"
        );

        let three = "m0=http://127.0.0.1:1000,m1=http://127.0.0.1:1001,m2=http://127.0.0.1:1002";
        let one_of_three = restored(three, "tok", "m1", "http://127.0.0.1:1001");
        assert_eq!(one_of_three.len(), 544);
        assert_eq!(
            hash_of_the_whole_file(&one_of_three),
            "3af2864e0651915bede9940fb039f97cb51085bf51f0a2b66ff728eed6a8cd4e"
        );
    }

    #[test]
    fn names_are_padded_to_16_digits() {
        let name = "000000000000000a-00000000000000ff.wal";
        assert_eq!(segment_name(10, 255), name);
    }
}
