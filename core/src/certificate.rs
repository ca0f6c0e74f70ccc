//! When certificates expire. Of X.509 (RFC 5280, section 4.1) no more is read than it takes to get there:
//! signatures and names are the business of TLS.

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode as _, Header, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

/// These are no bytes of a certificate, and why not.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a certificate: {0}")]
pub struct NoCertificate(der::Error);

/// What certificates in one place are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// To show who one is: one's own, and those that lead from it to an authority. All are needed.
    Own,
    /// To trust: authorities. One that was replaced stays among them until nobody needs it.
    Trust,
}

/// So long before it expires, a certificate is expected to be renewed at any time.
const RENEWED: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How often one looks then.
const AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// When certificates in one place expire: the first one of one's own, the last authority. `None` without
/// any.
pub fn expiry(of: Use, each: impl Iterator<Item = Timestamp>) -> Option<Timestamp> {
    match of {
        Use::Own => each.min(),
        Use::Trust => each.max(),
    }
}

/// When to look at certificates again of which nothing is heard. `first`: when the first of them expires.
pub fn look_again(first: Timestamp, now: Timestamp) -> Timestamp {
    let renewed = first.saturating_sub(RENEWED).unwrap_or(Timestamp::MIN);
    let after = |time| now.saturating_add(time).unwrap_or(Timestamp::MAX);
    renewed.clamp(after(AGAIN), after(RENEWED))
}

/// `notAfter` of a certificate in DER. What never expires (RFC 5280: 9999-12-31) does so at the last moment
/// that there is.
///
/// # Errors
/// It is none.
pub fn not_after(certificate: &[u8]) -> Result<Timestamp, NoCertificate> {
    let seconds = validity(certificate).map_err(NoCertificate)?;
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Ok(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
}

/// The end of it, seconds since 1970.
fn validity(certificate: &[u8]) -> der::Result<u64> {
    let mut reader = SliceReader::new(certificate)?;
    // The certificate, and what is signed of it.
    enter(&mut reader)?;
    enter(&mut reader)?;
    let version = Tag::ContextSpecific {
        constructed: true,
        number: TagNumber::N0,
    };
    // The oldest ones have none, and begin with the serial number.
    if AnyRef::decode(&mut reader)?.tag() == version {
        AnyRef::decode(&mut reader)?;
    }
    // The algorithm of the signature, and the issuer.
    AnyRef::decode(&mut reader)?;
    AnyRef::decode(&mut reader)?;
    enter(&mut reader)?;
    // `notBefore`.
    AnyRef::decode(&mut reader)?;
    let since = if reader.peek_header()?.tag == Tag::UtcTime {
        UtcTime::decode(&mut reader)?.to_unix_duration()
    } else {
        GeneralizedTime::decode(&mut reader)?.to_unix_duration()
    };
    Ok(since.as_secs())
}

/// Goes on with what is in a sequence.
fn enter(reader: &mut SliceReader<'_>) -> der::Result<()> {
    Header::decode(reader)?.tag.assert_eq(Tag::Sequence)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    /// `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=a -days 30000`, and the
    /// same with `-days 10`.
    const LATE: &str = "MIIBbjCCARWgAwIBAgIUVs7Kw7/ph0Ojzi2EflDZfXroekIwCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBYTAg\
        Fw0yNjExMjkxNzQ3MDBaGA8yMTA5MDExODE3NDcwMFowDDEKMAgGA1UEAwwBYTBZMBMGByqGSM49AgEGCCqG\
        SM49AwEHA0IABCnt93H/evOva7s82ZlFf3aWZcbz6VYk/C4VXYD8AjnQ7iPEe9J3dtJz30BQJG+IucX40962\
        d0Ohiy9ywLOW6OOjUzBRMB0GA1UdDgQWBBQrc77KcWLT9ELpz2yHV5Xfsi1AxDAfBgNVHSMEGDAWgBQrc77K\
        cWLT9ELpz2yHV5Xfsi1AxDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCIEPYYUqaTHPOViPt\
        KNowRyuOMLiPW/UZx8b5sBchqdvAAiBZsG4jwhm6Tj2TWShkSwgDR9SZFYw+LTTiDKvVi6nLBQ==";
    const EARLY: &str = "MIIBbDCCAROgAwIBAgIUU75FERaY4LY0qVGnA+oXpmBtVTQwCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBYTAe\
        Fw0yNjExMjkxNzQ2NTlaFw0yNjEyMDkxNzQ2NTlaMAwxCjAIBgNVBAMMAWEwWTATBgcqhkjOPQIBBggqhkjO\
        PQMBBwNCAATCEj+HEpGrfhDYBuMcHEgpgaiCXBPaM1emCtw8NCM2mSxn4+NuEnKFOmf8Io966JiogySSIRBr\
        VCOJqqTbUXq+o1MwUTAdBgNVHQ4EFgQUEdB3HfZRSPXWRg4qfEy4eB8/g8QwHwYDVR0jBBgwFoAUEdB3HfZR\
        SPXWRg4qfEy4eB8/g8QwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiAN0byPeifgnJrAOKlc\
        j2izOGqo8wqY2eaVgGzy0PZJowIgD1k5zKj8fShMcaXew8T9PTMKTdcHWXElrNk/TbLdEsE=";

    fn der(text: &str) -> Vec<u8> {
        STANDARD.decode(text).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn both_forms_of_a_date_are_read() {
        // Until 2049 years have two digits.
        assert_eq!(not_after(&der(EARLY)), Ok(at("2026-12-09T17:46:59Z")));
        assert_eq!(not_after(&der(LATE)), Ok(at("2109-01-18T17:47:00Z")));
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        for bytes in [&b""[..], b"0", b"\x30\x80", b"\x30\x03\x02\x01\x00"] {
            assert!(not_after(bytes).is_err(), "{bytes:?}");
        }
        let whole = der(EARLY);
        assert!(not_after(&whole[..60]).is_err());
    }

    #[test]
    fn all_of_ones_own_are_needed_and_one_authority() {
        let both = [at("2027-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z")];
        assert_eq!(expiry(Use::Own, both.into_iter()), Some(both[1]));
        assert_eq!(expiry(Use::Trust, both.into_iter()), Some(both[0]));
        assert_eq!(expiry(Use::Own, std::iter::empty()), None);
    }

    #[test]
    fn one_that_may_be_renewed_is_looked_at_every_hour_and_others_hardly_ever() {
        let now = at("2026-11-24T10:00:00Z");
        for (first, again) in [
            ("2026-12-30T00:00:00Z", "2026-11-30T00:00:00Z"),
            ("2026-12-01T00:00:00Z", "2026-11-24T11:00:00Z"),
            ("1970-01-01T00:00:00Z", "2026-11-24T11:00:00Z"),
            ("4096-01-01T00:00:00Z", "2026-12-24T10:00:00Z"),
        ] {
            assert_eq!(look_again(at(first), now), at(again), "{first}");
        }
        assert_eq!(look_again(Timestamp::MIN, Timestamp::MAX), Timestamp::MAX);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0..200_usize, byte: u8, cut in 0..400_usize) {
            let mut bytes = der(EARLY);
            if let Some(it) = bytes.get_mut(at) {
                *it = byte;
            }
            bytes.truncate(cut);
            let _ = not_after(&bytes);
        }
    }
}
