//! One page of a tree, as it is read.

use super::{BRANCH, BoltDamage, ELEMENT, HEADER, LEAF, u16_at, u32_at, u64_at};

/// A branch or leaf page; `id` is, for a leaf inside a value, the page that the value is on.
pub(super) struct Page<'a> {
    bytes: &'a [u8],
    id: u64,
    /// Where it begins in the file.
    at: u64,
    pub(super) flags: u16,
    count: u16,
}

/// A leaf element.
pub(super) struct Element<'a> {
    pub(super) page: u64,
    pub(super) number: u16,
    pub(super) flags: u32,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) value_at: u64,
}

impl<'a> Page<'a> {
    pub(super) fn new(bytes: &'a [u8], id: u64, at: u64) -> Result<Self, BoltDamage> {
        let too_long = BoltDamage::PageLength { page: id };
        let (Some(flags), Some(count)) = (u16_at(bytes, 8), u16_at(bytes, 10)) else {
            return Err(too_long);
        };
        if flags != BRANCH && flags != LEAF {
            return Err(BoltDamage::PageKind { page: id, flags });
        }
        if bytes.len() < HEADER + usize::from(count) * ELEMENT {
            return Err(too_long);
        }
        Ok(Self {
            bytes,
            id,
            at,
            flags,
            count,
        })
    }

    pub(super) fn expect_leaf(self) -> Result<Self, BoltDamage> {
        if self.flags == LEAF {
            Ok(self)
        } else {
            Err(BoltDamage::PageKind {
                page: self.id,
                flags: self.flags,
            })
        }
    }

    fn element_at(number: u16) -> usize {
        HEADER + usize::from(number) * ELEMENT
    }

    /// Bytes of this page, given by an element, a distance from it and a length.
    fn slice(&self, number: u16, distance: usize, length: usize) -> Result<&'a [u8], BoltDamage> {
        Self::element_at(number)
            .checked_add(distance)
            .and_then(|start| self.bytes.get(start..start.checked_add(length)?))
            .ok_or(BoltDamage::ElementBounds {
                page: self.id,
                element: number,
            })
    }

    fn number(&self, number: u16, field: usize) -> Result<usize, BoltDamage> {
        let bytes = self.slice(number, field, 4)?;
        Ok(u32_at(bytes, 0).unwrap_or(0) as usize)
    }

    fn out_of_order(&self, number: u16) -> BoltDamage {
        BoltDamage::KeyOrder {
            page: self.id,
            element: number,
        }
    }

    /// Visits the elements. `before` is the key before the first one, empty if there is none; the
    /// answer is the key of the last one.
    pub(super) fn elements<E: From<BoltDamage>>(
        &self,
        before: &[u8],
        visit: &mut impl FnMut(Element<'a>) -> Result<(), E>,
    ) -> Result<Option<&'a [u8]>, E> {
        let mut last: Option<&[u8]> = None;
        for number in 0..self.count {
            let flags = u32_at(self.slice(number, 0, 4)?, 0).unwrap_or(0);
            let position = self.number(number, 4)?;
            let key_length = self.number(number, 8)?;
            let value_length = self.number(number, 12)?;
            let key = self.slice(number, position, key_length)?;
            let distance = position.saturating_add(key_length);
            let value = self.slice(number, distance, value_length)?;
            // bbolt has no empty keys, so none is the first either.
            if key <= last.unwrap_or(before) {
                return Err(self.out_of_order(number).into());
            }
            last = Some(key);
            visit(Element {
                page: self.id,
                number,
                flags,
                key,
                value,
                value_at: self.at + (Self::element_at(number) + distance) as u64,
            })?;
        }
        Ok(last)
    }

    /// Appends its children.
    pub(super) fn children(&self, into: &mut Vec<u64>) -> Result<(), BoltDamage> {
        if self.count == 0 {
            return Err(BoltDamage::EmptyBranch { page: self.id });
        }
        let mut last: Option<&[u8]> = None;
        into.reserve(usize::from(self.count));
        for number in 0..self.count {
            let position = self.number(number, 0)?;
            let key_length = self.number(number, 4)?;
            let key = self.slice(number, position, key_length)?;
            if last.is_some_and(|last| key <= last) {
                return Err(self.out_of_order(number));
            }
            last = Some(key);
            into.push(u64_at(self.slice(number, 8, 8)?, 0).unwrap_or(0));
        }
        Ok(())
    }
}
