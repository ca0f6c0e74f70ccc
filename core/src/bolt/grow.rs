//! A tree as it is written: it grows to the right, and a page is written when it is full.

use super::{BRANCH, ELEMENT, HEADER, LEAF};

/// The count is a `u16` whose last number means something else on other pages.
const MOST_ELEMENTS: usize = 65534;

/// The pages that are written.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) size: usize,
    pub(super) next: u64,
    pub(super) out: Vec<u8>,
}

impl Pages {
    fn append(&mut self, node: &Node) -> u64 {
        let (id, count) = (self.next, node.pages(self.size));
        self.next += count as u64;
        let end = self.out.len() + count * self.size;
        node.print(id, count - 1, &mut self.out);
        self.out.resize(end, 0);
        id
    }
}

/// A tree that grows to the right: an unfinished page for each level, leaves first.
#[derive(Debug)]
pub(super) struct Tree {
    levels: Vec<Node>,
    /// The last key.
    pub(super) last: Vec<u8>,
    flags: u32,
}

impl Tree {
    pub(super) fn new(flags: u32) -> Self {
        Self {
            levels: vec![Node::new(LEAF)],
            last: Vec::new(),
            flags,
        }
    }

    /// The tree, if it is one unfinished leaf; a bucket of buckets is never one.
    pub(super) fn only_leaf(&self) -> Option<&Node> {
        match self.levels.as_slice() {
            [leaf] if self.flags == 0 => Some(leaf),
            _ => None,
        }
    }

    pub(super) fn add(&mut self, level: usize, item: &Item<'_>, pages: &mut Pages) {
        let Some(node) = self.levels.get_mut(level) else {
            let mut node = Node::new(BRANCH);
            node.push(item);
            return self.levels.push(node);
        };
        if node.is_full_for(item, pages.size) {
            self.close(level, pages);
        }
        if let Some(node) = self.levels.get_mut(level) {
            node.push(item);
        }
    }

    /// Writes the unfinished page of a level and tells the level above.
    fn close(&mut self, level: usize, pages: &mut Pages) {
        let Some(node) = self.levels.get_mut(level) else {
            return;
        };
        let id = pages.append(node);
        let key = std::mem::take(&mut node.first);
        node.clear();
        self.add(level + 1, &Item::branch(&key, id), pages);
    }

    /// Writes what is unfinished; the last page that is written is the root.
    pub(super) fn finish(mut self, pages: &mut Pages) -> u64 {
        let mut level = 0;
        while level + 1 < self.levels.len() {
            self.close(level, pages);
            level += 1;
        }
        self.levels.pop().map_or(0, |top| pages.append(&top))
    }
}

/// An element with its data.
pub(super) struct Item<'a> {
    key: &'a [u8],
    value: &'a [u8],
    flags: u32,
    child: u64,
}

impl<'a> Item<'a> {
    pub(super) fn leaf(flags: u32, key: &'a [u8], value: &'a [u8]) -> Self {
        Self {
            key,
            value,
            flags,
            child: 0,
        }
    }

    fn branch(key: &'a [u8], child: u64) -> Self {
        Self {
            key,
            value: &[],
            flags: 0,
            child,
        }
    }

    fn length(&self) -> usize {
        ELEMENT + self.key.len() + self.value.len()
    }
}

/// A page before it is written.
#[derive(Debug)]
pub(super) struct Node {
    kind: u16,
    first: Vec<u8>,
    /// Flags, length of the key, length of the value, child.
    elements: Vec<(u32, u32, u32, u64)>,
    data: Vec<u8>,
}

impl Node {
    fn new(kind: u16) -> Self {
        Self {
            kind,
            first: Vec::new(),
            elements: Vec::new(),
            data: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.first.clear();
        self.elements.clear();
        self.data.clear();
    }

    pub(super) fn length(&self) -> usize {
        HEADER + self.elements.len() * ELEMENT + self.data.len()
    }

    fn pages(&self, size: usize) -> usize {
        self.length().div_ceil(size)
    }

    /// Whether the item would begin one more page of overflow. A branch has at least two children,
    /// or the levels would have no end.
    fn is_full_for(&self, item: &Item<'_>, size: usize) -> bool {
        let least = if self.kind == LEAF { 1 } else { 2 };
        let with = (self.length() + item.length()).div_ceil(size);
        let count = self.elements.len();
        count == MOST_ELEMENTS || count >= least && with > self.pages(size)
    }

    fn push(&mut self, item: &Item<'_>) {
        if self.elements.is_empty() {
            self.first.extend_from_slice(item.key);
        }
        let lengths = (length(item.key.len()), length(item.value.len()));
        self.elements
            .push((item.flags, lengths.0, lengths.1, item.child));
        self.data.extend_from_slice(item.key);
        self.data.extend_from_slice(item.value);
    }

    pub(super) fn print(&self, id: u64, overflow: usize, out: &mut Vec<u8>) {
        let count = u16::try_from(self.elements.len()).unwrap_or(u16::MAX);
        header(out, id, self.kind, count, length(overflow));
        let mut position = length(self.elements.len() * ELEMENT);
        for (flags, key, value, child) in &self.elements {
            if self.kind == LEAF {
                for word in [flags, &position, key, value] {
                    out.extend(word.to_le_bytes());
                }
            } else {
                out.extend(position.to_le_bytes());
                out.extend(key.to_le_bytes());
                out.extend(child.to_le_bytes());
            }
            // The next element is nearer to its data.
            position = position + key + value - length(ELEMENT);
        }
        out.extend_from_slice(&self.data);
    }
}

pub(super) fn header(out: &mut Vec<u8>, id: u64, flags: u16, count: u16, overflow: u32) {
    out.extend(id.to_le_bytes());
    out.extend(flags.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(overflow.to_le_bytes());
}

/// Keys, values and pages are shorter than 4 GiB by what is taken.
pub(super) fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
