use std::convert::Infallible;

use super::*;

/// Returns the tokens of a text that arrives in pieces of this size, or the mistake.
fn tokens(text: &[u8], piece: usize) -> Result<Vec<String>, String> {
    let mut lexer = Lexer::default();
    let mut tokens = Vec::new();
    let mut take = |token: Token<'_>| {
        tokens.push(match token {
            Token::Name(text) => format!("{}:", text.whole().unwrap_or("?")),
            Token::String(text) => format!("{:?}", text.whole().unwrap_or("?")),
            Token::Number(number) => number.to_owned(),
            token => format!("{token:?}"),
        });
        Ok::<(), Infallible>(())
    };
    let mistake = |stop| match stop {
        Stop::Malformed(malformed) => Malformed::to_string(&malformed),
        Stop::Refused(never) => match never {},
    };
    for piece in text.chunks(piece) {
        lexer.push(piece, &mut take).map_err(mistake)?;
    }
    lexer.finish(&mut take).map_err(mistake)?;
    Ok(tokens)
}

#[test]
fn pieces_do_not_change_the_tokens() {
    let text = r#" {"a" : [1, -0.5e+7, "x\n\u00e9é", true,null ], "\u0062":{}} "#;
    let expected = [
        "ObjectStart",
        "a:",
        "ArrayStart",
        "1",
        "-0.5e+7",
        "\"x\\néé\"",
        "Literal",
        "Literal",
        "ArrayEnd",
        "b:",
        "ObjectStart",
        "ObjectEnd",
        "ObjectEnd",
    ];
    for piece in 1..text.len() {
        assert_eq!(
            tokens(text.as_bytes(), piece).unwrap(),
            expected,
            "by {piece}"
        );
    }
}

#[test]
fn surrogates_become_characters_or_a_replacement() {
    for (text, expected) in [
        (r#""\ud83d\ude00""#, "\"😀\""),
        (r#""\ud83d""#, "\"\u{fffd}\""),
        (r#""\ude00""#, "\"\u{fffd}\""),
        (r#""\ud83dx\ude00""#, "\"\u{fffd}x\u{fffd}\""),
        (r#""\ud83d\ud83d\ude00""#, "\"\u{fffd}😀\""),
        (r#""\ud83d\u0041""#, "\"\u{fffd}A\""),
        (r#""\ud83d\n""#, "\"\u{fffd}\\n\""),
    ] {
        assert_eq!(tokens(text.as_bytes(), 3).unwrap(), [expected], "{text}");
    }
}

#[test]
fn a_number_at_the_end_of_the_text_is_given() {
    assert_eq!(tokens(b"12", 1).unwrap(), ["12"]);
    assert!(tokens(b"1.", 1).is_err());
    assert!(tokens(b"-", 1).is_err());
}

#[test]
fn a_mistake_has_its_place() {
    assert_eq!(
        tokens(b"{\"a\" 1}", 2).unwrap_err(),
        "this byte cannot be here (at byte 5)"
    );
}
