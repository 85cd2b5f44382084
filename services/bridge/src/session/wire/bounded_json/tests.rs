use super::*;

#[test]
fn items_beyond_the_limit_are_counted_and_not_kept() {
    let text = format!("[{}0]", "0,".repeat(99_999));
    let read = items(&text, 50).unwrap();
    assert_eq!((read.items.len(), read.count), (50, 100_000));
    assert_eq!(items("[]", 50).unwrap().count, 0);
    assert!(items("[1] 2", 50).is_err() && items("[1,", 0).is_err());
}

/// Returns the CPU time of this thread in nanoseconds, which does not depend on the machine's load.
/// `/proc` shows the time at the last tick, which can be 0.
fn cpu_time() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// A deeply nested value takes about as long as a flat one of the same length.
#[test]
fn each_byte_is_read_once() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let text = format!("{open}{}0{close}", "0,".repeat(200_000));
        let value = serde_json::from_str::<Box<RawValue>>(&text).unwrap();
        let start = cpu_time();
        check(&value).unwrap();
        cpu_time() - start
    };
    let (flat, deep) = (nested(1), nested(DEPTH));
    assert!(deep < flat * 10, "{deep} ns and {flat} ns");
}

#[test]
fn a_check_finds_duplicate_members_bad_escapes_and_deep_nesting() {
    let check = |text: &str| check(serde_json::from_str(text).unwrap());
    let once = r#"{"a":[{"b":"a"},{"b":"a","c":"\"b\":\\"}],"b":[1e400,true,"a","a"]}"#;
    assert!(!check(once).unwrap());
    for twice in [
        r#"{"a":1,"b":[],"a":2}"#,
        r#"[{"x":{"a":{},"\u0061":"a"}}]"#,
        r#"{"":"","":""}"#,
    ] {
        assert!(check(twice).unwrap(), "{twice}");
    }
    for bad in [
        r#""\ud83d""#,
        r#"["x",{"\udc00":1}]"#,
        r#"{"a":"\\\ud83d"}"#,
    ] {
        assert!(check(bad).is_err(), "{bad}");
    }
    for (depth, good) in [(DEPTH, true), (DEPTH + 1, false)] {
        let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(&text).is_ok(), good);
    }
}

#[test]
fn members_are_bounded_and_duplicates_are_refused() {
    let members = |text: &str| serde_json::from_str::<Members<'_>>(text).map(Members::values);
    for twice in [r#"{"a":1,"a":2}"#, r#"{"b":[{"a":1,"\u0061":1}]}"#] {
        assert!(matches!(
            members(twice).unwrap(),
            Err(MembersError::Refused(_))
        ));
    }
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(1000), "]".repeat(1000));
    assert!(matches!(
        members(&deep).unwrap(),
        Err(MembersError::Syntax(_))
    ));
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(STRUCTURED_BYTES * 2));
    assert!(members(&long).unwrap().is_ok());
    let wide = format!(r#"{{"a":[{}0]}}"#, "0,".repeat(STRUCTURED_BYTES));
    assert!(matches!(
        members(&wide).unwrap(),
        Err(MembersError::Refused(_))
    ));
    let names: Vec<_> = (0..1000).map(|n| format!(r#""{n}":0"#)).collect();
    let many = format!("{{{}}}", names.join(","));
    assert!(matches!(
        members(&many).unwrap(),
        Err(MembersError::Refused(_))
    ));
    let lone = members(r#"{"a":{"b":"\ud83d"}}"#).unwrap();
    assert!(matches!(lone, Err(MembersError::Syntax(_))));
}
