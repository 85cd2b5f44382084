use super::super::flags::FLAGS;
use super::*;

/// Returns the usual name and the value of each argument.
fn parsed(words: &[&str]) -> Result<Vec<(&'static str, Option<String>)>, String> {
    let arguments = parse(words.iter().map(|word| (*word).to_owned()))?;
    Ok(arguments
        .into_iter()
        .map(|argument| (argument.name(), argument.value))
        .collect())
}

#[test]
fn each_flag_with_a_value_has_two_forms() {
    for flag in FLAGS {
        let is_long = |name: &&&str| name.starts_with("--");
        for name in flag.names.iter().filter(is_long) {
            if flag.takes == Takes::Nothing {
                assert_eq!(parsed(&[name]).unwrap(), [(flag.names[0], None)]);
                assert!(parsed(&[&format!("{name}=v")]).is_err(), "{name}");
                continue;
            }
            let expected = [(flag.names[0], Some("v".to_owned()))];
            assert_eq!(parsed(&[name, "v"]).unwrap(), expected);
            assert_eq!(parsed(&[&format!("{name}=v")]).unwrap(), expected);
            let empty = [(flag.names[0], Some(String::new()))];
            assert_eq!(parsed(&[name, ""]).unwrap(), empty);
            assert_eq!(parsed(&[&format!("{name}=")]).unwrap(), empty);
        }
    }
}

#[test]
fn each_flag_is_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/agent-sdk.md");
    let document = std::fs::read_to_string(path).unwrap();
    for flag in FLAGS {
        let name = format!("`{}`", flag.names[0]);
        assert!(document.contains(&name), "{path} lacks {name}");
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = FLAGS.iter().flat_map(|flag| flag.names).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
}

#[test]
fn a_required_value_may_begin_with_a_dash() {
    let parsed = parsed(&["--system-prompt", "--model", "--tools", "-x", "y"]).unwrap();
    let value = |text: &str| Some(text.to_owned());
    assert_eq!(
        parsed,
        [
            ("--system-prompt", value("--model")),
            ("--tools", value("-x")),
            ("--tools", value("y")),
        ]
    );
    let error = super::parse(["--model".to_owned()]).unwrap_err();
    assert!(error.contains("--model needs a value"), "{error}");
}

#[test]
fn an_optional_value_does_not_begin_with_a_dash() {
    let expected = [("--resume", None), ("--verbose", None)];
    assert_eq!(parsed(&["--resume", "--verbose"]).unwrap(), expected);
    assert_eq!(parsed(&["-r", "--verbose"]).unwrap(), expected);
    let with = [("--resume", Some("a".to_owned())), ("--verbose", None)];
    assert_eq!(parsed(&["-r", "a", "--verbose"]).unwrap(), with);
    assert_eq!(parsed(&["-ra", "--verbose"]).unwrap(), with);
    let dash = [("--resume", Some("-x".to_owned()))];
    assert_eq!(parsed(&["--resume=-x"]).unwrap(), dash);
}

#[test]
fn several_values_end_at_the_next_flag_and_follow_only_the_form_without_equals() {
    let tools = |text: &str| ("--tools", Some(text.to_owned()));
    assert_eq!(
        parsed(&["--tools", "A", "B", "-p", "--tools=C"]).unwrap(),
        [tools("A"), tools("B"), ("--print", None), tools("C")]
    );
    assert!(parsed(&["--tools=A", "B"]).is_err());
    assert!(parsed(&["--tools", "A", "-p", "B"]).is_err());
}

#[test]
fn short_flags_can_be_joined() {
    assert_eq!(
        parsed(&["-pc"]).unwrap(),
        [("--print", None), ("--continue", None)]
    );
    assert!(parsed(&["-px"]).unwrap_err().contains("-x"));
}

#[test]
fn an_unknown_flag_is_named_with_advice() {
    for word in ["--frob", "--frob=secret", "-z", "--printx", "--Model"] {
        let error = parsed(&[word, "v"]).unwrap_err();
        let name = word.split('=').next().unwrap();
        assert!(error.contains(&format!("flag {name};")), "{error}");
        assert!(
            error.contains("--help") && !error.contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn a_prompt_as_an_argument_is_refused_with_advice() {
    for words in [
        &["-p", "hello"][..],
        &["mcp", "list"],
        &["--", "--x"],
        &["-"],
    ] {
        let error = parsed(words).unwrap_err();
        assert!(error.contains("ccb exec"), "{error}");
    }
    assert!(parsed(&["-p", "--"]).is_ok());
}
