//! Until when an object is kept, as providers say it in the answer to the question what is known of it.
//! The library does not hand it on, so it is noted while the answer passes.
//!
//! S3 and Azure have a header (of `HeadObject` and Get Blob Properties), Google a field of the object's
//! resource.

use std::cell::Cell;

use http::HeaderMap;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::Deserialize;

tokio::task_local! {
    static NOTED: Cell<Option<Timestamp>>;
}

/// What a question comes to, and until when the object that it is about is kept.
pub(super) async fn noting<T>(question: impl Future<Output = T>) -> (T, Option<Timestamp>) {
    let noted = NOTED.scope(Cell::new(None), async {
        let answer = question.await;
        (answer, NOTED.with(Cell::get))
    });
    noted.await
}

/// Looks at an answer that passes. Where nobody wants to know it does nothing.
pub(super) fn note(headers: &HeaderMap, body: &[u8]) {
    let note = |noted: &Cell<Option<Timestamp>>| noted.set(until(headers, body));
    // That nobody wants to know is all that can fail.
    let _ = NOTED.try_with(note);
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "retentionExpirationTime")]
    until: Option<Timestamp>,
}

fn until(headers: &HeaderMap, body: &[u8]) -> Option<Timestamp> {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    if let Some(until) = header("x-amz-object-lock-retain-until-date") {
        return until.parse().ok();
    }
    if let Some(until) = header("x-ms-immutability-policy-until-date") {
        return Some(rfc2822::parse(until).ok()?.timestamp());
    }
    serde_json::from_slice::<Resource>(body).ok()?.until
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn each_provider_says_it_in_its_own_way() {
        let at: Timestamp = "2026-01-03T10:00:00Z".parse().unwrap();
        let s3 = headers(
            "x-amz-object-lock-retain-until-date",
            "2026-01-03T10:00:00.000Z",
        );
        let azure = headers(
            "x-ms-immutability-policy-until-date",
            "Sat, 03 Jan 2026 10:00:00 GMT",
        );
        let google = br#"{"name": "a", "retentionExpirationTime": "2026-01-03T10:00:00.000Z"}"#;
        let none = HeaderMap::new();
        for (headers, body, expected) in [
            (&s3, &b""[..], Some(at)),
            (&azure, b"", Some(at)),
            (&none, google, Some(at)),
            (&none, br#"{"name": "a"}"#, None),
            (&none, b"not JSON", None),
        ] {
            let question = async { note(headers, body) };
            assert_eq!(noting(question).await.1, expected);
        }
        note(&s3, b"");
    }
}
