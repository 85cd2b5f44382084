use super::*;

/// The vector of the reference libraries of Standard Webhooks.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const SECONDS: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn vector() -> (WebhookSecret, SignedHeaders) {
    let headers = SignedHeaders {
        id: ID.to_owned(),
        timestamp: SECONDS.to_string(),
        signature: SIGNATURE.to_owned(),
    };
    (SECRET.parse().unwrap(), headers)
}

#[test]
fn the_vector_of_the_specification_is_signed_and_verified() {
    let (secret, headers) = vector();
    let secrets = [secret];
    assert_eq!(
        SignedHeaders::sign(&secrets, ID, at(SECONDS), BODY),
        headers
    );
    assert_eq!(
        verify(&secrets, &headers, BODY, at(SECONDS), TOLERANCE),
        Ok(())
    );
}

#[test]
fn both_secrets_sign_while_one_replaces_the_other() {
    let old: WebhookSecret = SECRET.parse().unwrap();
    let new: WebhookSecret = WebhookSecret::generate().unwrap().parse().unwrap();
    let both = [new.clone(), old.clone()];
    let headers = SignedHeaders::sign(&both, ID, at(SECONDS), BODY);
    assert!(headers.signature.ends_with(&format!(" {SIGNATURE}")));
    for secrets in [&[new][..], &[old], &both] {
        assert_eq!(
            verify(secrets, &headers, BODY, at(SECONDS), TOLERANCE),
            Ok(())
        );
    }
}

#[test]
fn a_webhook_that_is_not_genuine_is_refused() {
    use NotVerified as E;
    let (secret, good) = vector();
    let other: WebhookSecret = WebhookSecret::generate().unwrap().parse().unwrap();
    let change = |change: fn(&mut SignedHeaders)| {
        let mut headers = good.clone();
        change(&mut headers);
        headers
    };
    for (headers, expected) in [
        (change(|h| h.id.clear()), E::NoId),
        (change(|h| h.id.push('x')), E::WrongSignature),
        (change(|h| h.timestamp.clear()), E::BadTimestamp),
        (
            change(|h| h.timestamp = "1614265330.0".into()),
            E::BadTimestamp,
        ),
        (
            change(|h| h.timestamp = "1614265331".into()),
            E::WrongSignature,
        ),
        (
            change(|h| h.timestamp = "9223372036854775807".into()),
            E::TooNew,
        ),
        (
            change(|h| h.timestamp = "-9223372036854775808".into()),
            E::TooOld,
        ),
        (change(|h| h.signature.clear()), E::NoSignature),
        (
            change(|h| h.signature = h.signature.replace("v1,", "v2,")),
            E::NoSignature,
        ),
        (
            change(|h| h.signature = "v1,AAAA".into()),
            E::WrongSignature,
        ),
        (change(|h| h.signature = "v1,".into()), E::WrongSignature),
        (change(|h| h.signature.truncate(30)), E::WrongSignature),
    ] {
        let secrets = std::slice::from_ref(&secret);
        let result = verify(secrets, &headers, BODY, at(SECONDS), TOLERANCE);
        assert_eq!(result, Err(expected), "{headers:?}");
    }
    for (secrets, body) in [(&[other][..], BODY), (&[], BODY), (&[secret], b"{}")] {
        let result = verify(secrets, &good, body, at(SECONDS), TOLERANCE);
        assert_eq!(result, Err(E::WrongSignature));
    }
}

#[test]
fn the_timestamp_may_be_five_minutes_away() {
    let (secret, headers) = vector();
    for (difference, expected) in [
        (-301, Err(NotVerified::TooNew)),
        (-300, Ok(())),
        (300, Ok(())),
        (301, Err(NotVerified::TooOld)),
    ] {
        let secrets = std::slice::from_ref(&secret);
        let now = at(SECONDS + difference);
        let result = verify(secrets, &headers, BODY, now, TOLERANCE);
        assert_eq!(result, expected, "{difference}");
    }
}

#[test]
fn one_good_signature_among_others_is_enough() {
    let (secret, mut headers) = vector();
    headers.signature = format!("v1a,xyz v1,%%% v1,AAAA {SIGNATURE} v9,z");
    let result = verify(&[secret], &headers, BODY, at(SECONDS), TOLERANCE);
    assert_eq!(result, Ok(()));
}
