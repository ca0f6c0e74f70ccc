//! Writing a delta.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::{Change, DeltaDamage, Event, Sequence, Summary};

/// Writes events as Go would, byte for byte. It keeps nothing but the digest.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    sequence: Sequence,
    digest: Sha256,
    text: String,
}

impl Encoder {
    /// One without events.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an event. It has to be of the last revision or of the one after; one that is not
    /// changes nothing.
    pub fn push(&mut self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), DeltaDamage> {
        let first = self.sequence.0.is_none();
        self.sequence.admit(event.revision)?;
        self.text.clear();
        self.text.push(if first { '[' } else { ',' });
        element(event, &mut self.text);
        self.digest.update(self.text.as_bytes());
        out.extend_from_slice(self.text.as_bytes());
        Ok(())
    }

    /// Ends the array and appends the digest. Without events there is nothing to write.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<Summary, DeltaDamage> {
        let summary = self.sequence.0.ok_or(DeltaDamage::Empty)?;
        self.digest.update(b"]");
        out.push(b']');
        out.extend_from_slice(&self.digest.finalize());
        Ok(summary)
    }
}

fn element(event: &Event<'_>, text: &mut String) {
    text.push_str(match event.change {
        Change::Put { .. } => r#"{"etcdEvent":{"kv":{"key":""#,
        Change::Delete => r#"{"etcdEvent":{"type":1,"kv":{"key":""#,
    });
    BASE64_STANDARD.encode_string(event.key, text);
    text.push('"');
    match event.change {
        Change::Put {
            created,
            version,
            value,
            lease,
            lease_ttl: _,
        } => {
            number(text, "create_revision", created.get());
            number(text, "mod_revision", event.revision.get());
            number(text, "version", version);
            if !value.is_empty() {
                text.push_str(r#","value":""#);
                BASE64_STANDARD.encode_string(value, text);
                text.push('"');
            }
            number(text, "lease", lease);
        }
        Change::Delete => number(text, "mod_revision", event.revision.get()),
    }
    // Writing to a string cannot fail.
    let _ = write!(text, r#"}}}},"time":"{}""#, event.time);
    if let Change::Put {
        lease_ttl: Some(ttl),
        lease,
        ..
    } = event.change
        && lease != 0
    {
        number(text, "leaseTTL", ttl);
    }
    text.push('}');
}

/// Go leaves zeros out.
fn number(text: &mut String, name: &str, value: i64) {
    if value != 0 {
        let _ = write!(text, r#","{name}":{value}"#);
    }
}
