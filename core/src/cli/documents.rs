//! What a watch tells programs: one document for each change.

use std::collections::BTreeMap;

use serde::Serialize;

use super::progress::Progress;
use super::reconciliation::Reconciliation;
use super::target::Key;
use super::tasks::TaskRow;

/// A row about an object of this name.
pub trait Named: PartialEq {
    /// Its namespace and name.
    fn key(&self) -> Key;

    /// Whether it says the same as before.
    fn is_same(&self, before: &Self) -> bool {
        self == before
    }
}

impl Named for Progress {
    fn key(&self) -> Key {
        (self.namespace.clone(), self.name.clone())
    }
}

impl Named for TaskRow {
    fn key(&self) -> Key {
        (self.namespace.clone(), self.name.clone())
    }
}

impl Named for Reconciliation {
    fn key(&self) -> Key {
        (self.namespace.clone(), self.name.clone())
    }

    /// That time has passed is no news.
    fn is_same(&self, before: &Self) -> bool {
        let mut then = self.clone();
        then.seconds = before.seconds;
        then == *before
    }
}

/// A change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Document<T> {
    /// It is so now.
    Now(T),
    /// It is there no more.
    Gone {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Always so.
        deleted: bool,
    },
}

/// Turns what is seen, one time after the other, into what is new.
#[derive(Clone, Debug)]
pub struct Documents<T> {
    known: BTreeMap<Key, T>,
}

impl<T> Default for Documents<T> {
    fn default() -> Self {
        let known = BTreeMap::new();
        Self { known }
    }
}

impl<T: Named + Clone> Documents<T> {
    /// What is new since the last time, in the order of the rows; then what is gone.
    pub fn next(&mut self, rows: &[T]) -> Vec<Document<T>> {
        let is_new = |it: &&T| {
            let before = self.known.get(&it.key());
            !before.is_some_and(|before| it.is_same(before))
        };
        let new = rows.iter().filter(is_new);
        let mut all: Vec<_> = new.cloned().map(Document::Now).collect();
        let now: BTreeMap<_, _> = rows.iter().map(|it| (it.key(), it.clone())).collect();
        let gone = self.known.keys().filter(|it| !now.contains_key(it));
        all.extend(gone.cloned().map(|(namespace, name)| Document::Gone {
            namespace,
            name,
            deleted: true,
        }));
        self.known = now;
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Standing;

    #[test]
    fn a_document_says_what_is_new_and_what_is_gone() {
        let key = |name: &str| ("shoot".to_owned(), name.to_owned());
        let (mut a, b) = (
            Reconciliation::triggered(&key("a")),
            Reconciliation::triggered(&key("b")),
        );
        let mut documents = Documents::default();
        let mut next = |rows: &[Reconciliation]| documents.next(rows);
        assert_eq!(next(&[a.clone(), b.clone()]).len(), 2);
        a.looked(&Standing::Asked, 1);
        assert_eq!(next(&[a.clone(), b.clone()]), [Document::Now(a.clone())]);
        a.looked(&Standing::Asked, 2);
        assert_eq!(next(&[a.clone(), b]), [], "time alone is no news");
        a.looked(&Standing::Done, 3);
        let gone = Document::Gone {
            namespace: "shoot".to_owned(),
            name: "b".to_owned(),
            deleted: true,
        };
        let told = next(&[a.clone()]);
        assert_eq!(told, [Document::Now(a), gone]);
        let json = serde_json::to_string(&told[1]).unwrap();
        assert_eq!(json, r#"{"namespace":"shoot","name":"b","deleted":true}"#);
    }
}
