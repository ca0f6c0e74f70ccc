//! What the refusals of the providers mean. S3, OSS and ABS say it in XML, GCS in JSON, Swift in
//! plain words; the code is enough.

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::ErrorKind;

/// How much of what a store says is repeated, characters.
const MOST: usize = 300;

/// Codes that say that an object is held by a retention policy (ABS, OSS, GCS).
const HELD: [&str; 6] = [
    "BlobImmutableDueToLegalHold",
    "BlobImmutableDueToPolicy",
    "FileImmutable",
    "ObjectUnderActiveHold",
    "objectUnderActiveHold",
    "retentionPolicyNotMet",
];

/// Codes that say that the container is not there (S3 and OSS, ABS).
const NO_CONTAINER: [&str; 2] = ["NoSuchBucket", "ContainerNotFound"];

/// Codes of a 4xx that is worth another try.
const AGAIN: [&str; 4] = [
    "RequestTimeout",
    "OperationAborted",
    "SlowDown",
    "ServerBusy",
];

/// Why the same request may succeed when it is sent again.
pub(super) fn temporary(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let again = match status.as_u16() {
        408 | 425 | 429 | 499 | 500 | 502 | 503 | 504 => true,
        400..=498 => AGAIN.contains(&code(headers, body).as_str()),
        _ => false,
    };
    again.then(|| said(status, headers, body))
}

/// What a refusal means, where it means the same whatever was asked for.
pub(super) fn kind(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    container: &str,
) -> Option<ErrorKind> {
    if !status.is_client_error() {
        return None;
    }
    let code = code(headers, body);
    let said = || said(status, headers, body);
    if NO_CONTAINER.contains(&code.as_str()) {
        return Some(ErrorKind::NoContainer(container.to_owned()));
    }
    if HELD.contains(&code.as_str()) {
        return Some(ErrorKind::Immutable(said()));
    }
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    match status {
        // S3 has no code of its own for an object that is locked.
        StatusCode::FORBIDDEN if text.contains("object lock") || text.contains("worm") => {
            Some(ErrorKind::Immutable(said()))
        }
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Some(ErrorKind::Denied(said())),
        StatusCode::NOT_FOUND if text.contains("the specified bucket does not exist") => {
            Some(ErrorKind::NoContainer(container.to_owned()))
        }
        _ => None,
    }
}

/// The status, and what the store says of it, on one line.
fn said(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> String {
    let code = code(headers, body);
    let message = message(body);
    let mut said = status.to_string();
    for more in [code, message] {
        if !more.is_empty() && !said.contains(&more) {
            said = format!("{said}, {more}");
        }
    }
    said.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(MOST)
        .collect()
}

#[derive(Deserialize)]
struct Json {
    error: JsonError,
}

#[derive(Deserialize)]
struct JsonError {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<JsonReason>,
}

#[derive(Deserialize)]
struct JsonReason {
    #[serde(default)]
    reason: String,
}

/// The provider's code for it; empty if there is none.
fn code(headers: &HeaderMap, body: &[u8]) -> String {
    if let Some(code) = headers.get("x-ms-error-code") {
        return code.to_str().unwrap_or_default().to_owned();
    }
    if let Ok(json) = serde_json::from_slice::<Json>(body) {
        let reason = json.error.errors.into_iter().next();
        return reason.map(|it| it.reason).unwrap_or_default();
    }
    element(body, "Code")
}

fn message(body: &[u8]) -> String {
    if let Ok(json) = serde_json::from_slice::<Json>(body) {
        return json.error.message;
    }
    let message = element(body, "Message");
    match std::str::from_utf8(body) {
        Ok(plain) if message.is_empty() && !plain.contains('<') => {
            plain.chars().take(MOST).collect()
        }
        _ => message,
    }
}

/// The text of the first such element of an XML document, as it stands there.
fn element(body: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(body);
    let after = text.split_once(&format!("<{name}>")).map(|(_, it)| it);
    after
        .and_then(|it| it.split_once("</"))
        .map(|(inside, _)| inside.to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xml(code: &str, message: &str) -> Vec<u8> {
        format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        )
        .into_bytes()
    }

    fn kind_of(status: u16, body: &[u8]) -> Option<ErrorKind> {
        let status = StatusCode::from_u16(status).unwrap();
        kind(status, &HeaderMap::new(), body, "backups")
    }

    #[test]
    fn a_missing_bucket_is_told_from_a_missing_object() {
        let no_bucket = Some(ErrorKind::NoContainer("backups".to_owned()));
        assert_eq!(kind_of(404, &xml("NoSuchBucket", "x")), no_bucket);
        assert_eq!(kind_of(404, &xml("ContainerNotFound", "x")), no_bucket);
        let gcs = br#"{"error":{"code":404,"message":"The specified bucket does not exist."}}"#;
        assert_eq!(kind_of(404, gcs), no_bucket);
        assert_eq!(kind_of(404, &xml("NoSuchKey", "x")), None);
        assert_eq!(kind_of(404, b""), None);
    }

    #[test]
    fn a_refusal_says_what_the_store_said_on_one_line() {
        let body = xml("SignatureDoesNotMatch", "The request\n signature");
        assert_eq!(
            kind_of(403, &body),
            Some(ErrorKind::Denied(
                "403 Forbidden, SignatureDoesNotMatch, The request signature".to_owned()
            ))
        );
        let long = "x".repeat(5000);
        let Some(ErrorKind::Denied(said)) = kind_of(401, long.as_bytes()) else {
            panic!();
        };
        assert_eq!(said.len(), MOST);
    }

    #[test]
    fn an_object_that_is_held_is_immutable_whatever_the_provider_calls_it() {
        let gcs = br#"{"error":{"code":403,"message":"held","errors":[{"reason":"retentionPolicyNotMet"}]}}"#;
        for (status, body) in [
            (409, xml("BlobImmutableDueToPolicy", "x")),
            (409, xml("FileImmutable", "x")),
            (403, gcs.to_vec()),
            (403, xml("AccessDenied", "protected by object lock")),
        ] {
            assert!(
                matches!(kind_of(status, &body), Some(ErrorKind::Immutable(_))),
                "{}",
                String::from_utf8_lossy(&body)
            );
        }
        assert!(matches!(
            kind_of(403, &xml("AccessDenied", "Access Denied")),
            Some(ErrorKind::Denied(_))
        ));
    }

    #[test]
    fn only_what_can_succeed_later_is_tried_again() {
        let again = |status: u16, body: &[u8]| {
            temporary(
                StatusCode::from_u16(status).unwrap(),
                &HeaderMap::new(),
                body,
            )
            .is_some()
        };
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(again(status, b""), "{status}");
        }
        assert!(again(400, &xml("RequestTimeout", "x")));
        assert!(again(409, &xml("OperationAborted", "x")));
        for status in [200, 206, 301, 400, 401, 403, 404, 409, 412, 416, 501, 507] {
            assert!(!again(status, b""), "{status}");
        }
    }
}
