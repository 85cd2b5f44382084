use proptest::prelude::*;

use super::*;

const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_valid_traceparent_is_read_and_written_unchanged() {
    let context = TraceContext::parse(GOOD, Some("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"));
    let context = context.expect("valid");
    assert_eq!(context.traceparent(), GOOD);
    assert_eq!(
        context.tracestate(),
        Some("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
    );
    assert!(context.is_sampled());
    let json = serde_json::to_string(&context).unwrap();
    assert_eq!(
        serde_json::from_str::<TraceContext>(&json).unwrap(),
        context
    );
}

#[test]
fn a_malformed_traceparent_is_ignored() {
    let upper = GOOD.to_uppercase();
    let cases = [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
        "00-0af7651916cd43dd8448eb211c80319\u{e9}-b7ad6b7169203331-01",
        &upper,
    ];
    for text in cases {
        assert_eq!(TraceContext::parse(text, None), None, "{text:?}");
    }
}

#[test]
fn a_later_version_is_read_as_version_00_and_unknown_flags_are_dropped() {
    let later = GOOD
        .replacen("00", "cc", 1)
        .replace("-01", "-ff-what-follows");
    let context = TraceContext::parse(&later, None).expect("a later version");
    assert_eq!(context.traceparent(), GOOD.replace("-01", "-03"));
}

#[test]
fn a_malformed_tracestate_is_left_out_and_the_trace_is_kept() {
    let many: Vec<_> = (0..33).map(|n| format!("k{n}=v")).collect();
    let (many, long) = (many.join(","), format!("k={}", "v".repeat(256)));
    let too_long = [long.as_str(); 3].join(",");
    for state in [
        "", ",", "k", "=v", "K=v", "k=", "k=a=b", "k=\u{e9}", "k=a\n", &many, &too_long,
    ] {
        let context = TraceContext::parse(GOOD, Some(state)).expect("the trace is kept");
        assert_eq!(context.tracestate(), None, "{state:?}");
    }
}

#[test]
fn headers_give_the_context_unless_there_are_two_parents() {
    let mut headers = HeaderMap::new();
    assert_eq!(TraceContext::from_headers(&headers), None);
    headers.append(TRACEPARENT, GOOD.parse().unwrap());
    headers.append(TRACESTATE, "a=1".parse().unwrap());
    headers.append(TRACESTATE, "b=2".parse().unwrap());
    let context = TraceContext::from_headers(&headers).expect("one parent");
    assert_eq!(context.tracestate(), Some("a=1,b=2"));
    let mut other = HeaderMap::new();
    other.insert(TRACESTATE, "stale=1".parse().unwrap());
    context.with_span([7; 8]).set_headers(&mut other);
    assert_eq!(other[TRACESTATE], "a=1,b=2");
    assert_eq!(
        other[TRACEPARENT],
        GOOD.replace("b7ad6b7169203331", "0707070707070707")
    );
    headers.append(TRACEPARENT, GOOD.parse().unwrap());
    assert_eq!(TraceContext::from_headers(&headers), None);
}

proptest! {
    #[test]
    fn every_valid_context_survives_its_texts(
        trace in any::<[u8; 16]>(), span in any::<[u8; 8]>(), sampled in any::<bool>(),
    ) {
        if let Some(context) = TraceContext::root(trace, span, sampled) {
            let again = TraceContext::parse(&context.traceparent(), None);
            prop_assert_eq!(again, Some(context));
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(parent in ".{0,80}", state in ".{0,80}") {
        if let Some(context) = TraceContext::parse(&parent, Some(&state)) {
            prop_assert!(context.traceparent().len() == LENGTH);
        }
    }
}
