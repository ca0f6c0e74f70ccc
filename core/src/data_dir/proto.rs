//! Writes the protocol-buffer messages of etcd's files.

/// A message that is being written. Zeros are written too, unlike in the rows of a database.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn number(mut self, field: u32, value: u64) -> Self {
        self.varint(u64::from(field) << 3);
        self.varint(value);
        self
    }

    pub(super) fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push((value & 0x7f) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mvcc::wire::Fields;

    #[test]
    fn what_is_written_is_read_again() {
        let message = Message::default().number(1, 0).number(100, u64::MAX);
        let message = message.bytes(3, b"x").bytes(4, b"").done();
        let mut fields = Fields::of(&message);
        let mut next = || fields.next().unwrap();
        let first = next().unwrap();
        assert_eq!((first.number, first.unsigned()), (1, Ok(0)));
        let second = next().unwrap();
        assert_eq!((second.number, second.unsigned()), (100, Ok(u64::MAX)));
        for (number, bytes) in [(3, &b"x"[..]), (4, b"")] {
            let field = next().unwrap();
            assert_eq!((field.number, field.bytes()), (number, Ok(bytes)));
        }
        assert_eq!(next(), None);
    }
}
