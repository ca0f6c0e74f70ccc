//! The members in the three places where etcd keeps them: bucket `members` of the database (what
//! 3.6 reads), the tree of the old v2 store (what 3.4 and 3.5 read), and the log's first entries.

use serde::Serialize;
use serde_json::{Value, json};

use super::TERM;
use super::identity::{InitialCluster, NewMember};
use crate::member::MemberId;

/// A row of a bucket: key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// A member as etcd writes it, with the fields in its order. The number is more than a float holds.
#[derive(Serialize)]
struct Json<'a> {
    id: u64,
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
    name: &'a str,
}

/// What a member is in a row, and in an entry of the log. It adds its client URLs itself when it
/// has started.
pub fn json(member: &NewMember) -> String {
    let NewMember {
        id,
        name,
        peer_urls,
    } = member;
    // Strings and a number: this cannot fail.
    serde_json::to_string(&Json {
        id: id.0,
        peer_urls,
        name: &name.0,
    })
    .unwrap_or_default()
}

/// A member as a row of bucket `members` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its id.
    pub id: MemberId,
    /// Whether it has a vote.
    pub votes: bool,
}

/// Reads a row of bucket `members`; `None` if no release writes such a one.
pub fn stored(key: &[u8], value: &[u8]) -> Option<Stored> {
    let id = u64::from_str_radix(std::str::from_utf8(key).ok()?, 16).ok()?;
    let value: Value = serde_json::from_slice(value).ok()?;
    let learner = value.as_object()?.get("isLearner");
    Some(Stored {
        id: MemberId(id),
        votes: learner != Some(&Value::Bool(true)),
    })
}

/// All rows of bucket `members` of a restored database, in ascending order of their keys. The
/// buckets `members_removed` and `cluster` have none.
pub fn rows(cluster: &InitialCluster) -> Vec<Row> {
    let row = |member: &NewMember| {
        let key = member.id.to_string().into_bytes();
        (key, json(member).into_bytes())
    };
    let mut rows: Vec<Row> = cluster.members().iter().map(row).collect();
    // Numbers are not padded, so that their order is not that of their texts.
    rows.sort_unstable();
    rows
}

/// The rows of bucket `meta` that say where the log goes on: `consistent_index` and `term`. Beside
/// them a restored database keeps the marks of compactions, and neither `confState` nor
/// `storageVersion`.
pub fn meta_rows(cluster: &InitialCluster) -> [Row; 2] {
    [("consistent_index", cluster.count()), ("term", TERM)]
        .map(|(key, number)| (key.as_bytes().to_vec(), number.to_be_bytes().to_vec()))
}

/// The tree of the v2 store with the members, as JSON. A part of what etcd writes, and enough for
/// every release.
pub(super) fn v2_tree(cluster: &InitialCluster) -> String {
    let members = cluster.members().iter().zip(1..);
    let members = members.map(|(member, index)| {
        let path = format!("/0/members/{}", member.id);
        let attributes = json!({ "peerURLs": member.peer_urls }).to_string();
        let leaf = node(
            &format!("{path}/raftAttributes"),
            index,
            &attributes,
            &Value::Null,
        );
        let children = json!({ "raftAttributes": leaf });
        (member.id.to_string(), node(&path, index, "", &children))
    });
    let members = node("/0/members", 1, "", &members.collect());
    let store = node("/0", 0, "", &json!({ "members": members }));
    let keys = node("/1", 0, "", &json!({}));
    let root = node("/", 0, "", &json!({ "0": store, "1": keys }));
    json!({ "Root": root }).to_string()
}

/// A node of the tree; `children` is null in one that has a value.
fn node(path: &str, index: u64, value: &str, children: &Value) -> Value {
    json!({
        "Path": path,
        "CreatedIndex": index,
        "ModifiedIndex": index,
        "ExpireTime": "0001-01-01T00:00:00Z",
        "Value": value,
        "Children": children,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_unpadded_keys_in_order_and_the_fields_in_etcds() {
        let flag = "b=http://127.0.0.1:2,a=http://127.0.0.1:1,c=http://127.0.0.1:3,c=http://h:3";
        let cluster = InitialCluster::parse(flag, "tok").unwrap();
        let rows = rows(&cluster);
        assert!(rows.is_sorted() && rows.len() == 3);
        for member in cluster.members() {
            let key = format!("{:x}", member.id.0).into_bytes();
            let (_, value) = rows.iter().find(|row| row.0 == key).unwrap();
            let urls = member.peer_urls.join(r#"",""#);
            let expected = format!(
                r#"{{"id":{},"peerURLs":["{urls}"],"name":"{}"}}"#,
                member.id.0, member.name
            );
            assert_eq!(value, expected.as_bytes());
        }
        let number = |number: u64| number.to_be_bytes().to_vec();
        let meta = [
            (b"consistent_index".to_vec(), number(3)),
            (b"term".to_vec(), number(1)),
        ];
        assert_eq!(meta_rows(&cluster), meta);
    }

    #[test]
    fn the_tree_has_directories_down_to_the_urls() {
        let cluster = InitialCluster::parse("default=http://localhost:2380", "etcd-cluster");
        let tree: Value = serde_json::from_str(&v2_tree(&cluster.unwrap())).unwrap();
        let member = "/Root/Children/0/Children/members/Children/8e9e05c52164694d";
        let leaf = tree
            .pointer(&format!("{member}/Children/raftAttributes"))
            .unwrap();
        assert_eq!(leaf["Value"], r#"{"peerURLs":["http://localhost:2380"]}"#);
        assert_eq!(leaf["Children"], Value::Null);
        let path = "/0/members/8e9e05c52164694d/raftAttributes";
        assert_eq!(leaf["Path"], path);
        assert_eq!(tree.pointer("/Root/Children/1/Children"), Some(&json!({})));
    }
}
