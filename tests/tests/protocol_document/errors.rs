//! Error codes, their reasons, close codes, warnings and notices.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ProblemType;

use crate::page::Page;
use crate::sources::{Source, arguments};
use crate::{compare, constants};

/// Returns the value of each constant in `code`, by its path.
fn codes() -> BTreeMap<String, String> {
    let codes = Source::read("protocol/src/rpc.rs").constants(Some("code"));
    let path = |(name, value)| (format!("code::{name}"), value);
    codes.into_iter().map(path).collect()
}

#[test]
fn error_codes_agree() {
    let code = codes().into_values().collect();
    compare("error codes", &code, &Page::read().first("Error codes"));
}

#[test]
fn error_reasons_agree() {
    let codes = codes();
    let mut code = refusals(&codes);
    for source in Source::folder("bridge/src") {
        code.extend(own_errors(&source, &codes));
    }
    let page = Page::read().names::<2>("Error reasons");
    compare("error reasons", &code, &page);
}

/// Returns the errors that a file of the bridge creates, as code and reason.
fn own_errors(source: &Source, codes: &BTreeMap<String, String>) -> Vec<[String; 2]> {
    let errors = source.calls("RpcError::new");
    // A function that takes the reason as an argument.
    let with_reason = errors.iter().find(|call| call[1] == "reason");
    let full = source.calls("full").into_iter().filter_map(|call| {
        let code = with_reason?.first()?.clone();
        Some(vec![code, call.first()?.clone()])
    });
    // A session beyond a limit is refused with the name of the limit.
    let sessions = source.calls("SlotRefusal").into_iter();
    let sessions = sessions.filter_map(|call| {
        Some(vec![
            "code::TOO_MANY_SESSIONS".to_owned(),
            call.first()?.clone(),
        ])
    });
    let pairs = source.text.match_indices("(code::");
    let pairs = pairs.map(|(at, _)| arguments(&source.text[at + 1..]));
    let pairs = pairs.filter(|pair| pair.len() == 2);
    let all = errors
        .iter()
        .cloned()
        .chain(full)
        .chain(sessions)
        .chain(pairs);
    all.filter_map(|call| {
        let reason = source.string(&call[1])?;
        let code = codes.get(&call[0]);
        let code = code.unwrap_or_else(|| panic!("{:?} is no error code", call[0]));
        Some([code.clone(), reason])
    })
    .collect()
}

/// Returns the errors that the bridge derives from answers of claude-api, as code and reason.
fn refusals(codes: &BTreeMap<String, String>) -> BTreeSet<[String; 2]> {
    let source = Source::read("bridge/src/upstream/errors.rs");
    let arms = source.between("let code = match problem.kind {", "};");
    let mut by_variant = BTreeMap::new();
    let mut variants = Vec::new();
    for word in arms.split([' ', '\n', '|', ',']) {
        if let Some(variant) = word.strip_prefix("P::") {
            variants.push(variant.to_owned());
        } else if let Some(code) = codes.get(word) {
            by_variant.extend(variants.drain(..).map(|variant| (variant, code.clone())));
        }
    }
    let kinds = ProblemType::ALL.iter();
    kinds
        .map(|kind| {
            let code = by_variant.get(&format!("{kind:?}"));
            let code = code.unwrap_or_else(|| panic!("{kind:?} has no error code"));
            [code.clone(), kind.as_str().replace('-', "_")]
        })
        .collect()
}

#[test]
fn close_codes_agree() {
    let mut code = constants("protocol/src/rpc.rs", "close");
    let socket = Source::read("bridge/src/session/wire/socket.rs");
    let broken = socket.between("fn close_code(", "\n}\n");
    let broken = broken.split("Some(").skip(1);
    let numbers = broken.filter_map(|text| text.split(')').next()?.parse::<u16>().ok());
    code.extend(numbers.map(|number| number.to_string()));
    compare("close codes", &code, &Page::read().first("Close codes"));
}

/// Returns the first string among the first two arguments of each call of `name`: a code may follow
/// an id or a time.
fn text_codes(sources: &[Source], name: &str) -> Vec<String> {
    let calls = sources.iter().flat_map(|source| {
        let calls = source.calls(name).into_iter();
        calls.filter_map(move |call| call.iter().take(2).find_map(|a| source.string(a)))
    });
    calls.collect()
}

#[test]
fn warnings_agree() {
    let mut code = BTreeSet::new();
    code.extend(text_codes(&Source::folder("claude-api/src"), ".warn"));
    code.extend(text_codes(&Source::folder("runner/src"), "Event::warning"));
    // The code of the last warning, which stands for all further ones.
    let status = Source::read("protocol/src/status.rs");
    let (last, _) = status
        .between("code: \"", "to_owned")
        .split_once('"')
        .expect("a code");
    code.insert(last.to_owned());
    compare("warnings", &code, &Page::read().first("Warnings"));
}

#[test]
fn notices_agree() {
    let bridge = Source::folder("bridge/src");
    let mut code = BTreeSet::new();
    for name in ["notice", ".notify"] {
        code.extend(text_codes(&bridge, name));
    }
    compare("notices", &code, &Page::read().first("Notices"));
}
