//! The OpenAPI document and the JSON Schema document against the routers, the types and the page.

use std::collections::BTreeSet;

use descriptions::openapi;
use descriptions::shared::{limit_texts, problems};
use descriptions::websocket::{self, close_codes, errors, notifications};
use protocol::message::Request;
use protocol::{ProblemType, trailers};
use serde_json::Value;

use crate::page::{Page, name};
use crate::sources::Source;
use crate::{compare, constants, routes};

/// Returns the names of the members at this place of a document.
fn names(document: &Value, pointer: &str) -> BTreeSet<String> {
    let members = document.pointer(pointer).and_then(Value::as_object);
    let members = members.unwrap_or_else(|| panic!("no object at {pointer}"));
    members.keys().cloned().collect()
}

/// Returns the method and the path of each operation.
fn operations(document: &Value) -> BTreeSet<[String; 2]> {
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("methods").keys();
        methods.map(|method| [method.to_uppercase(), path.clone()])
    });
    operations.collect()
}

#[test]
fn every_route_of_claude_api_is_an_operation() {
    let described = operations(&openapi::document());
    compare("operations", &routes("claude-api/src/http.rs"), &described);
}

#[test]
fn every_parameter_of_a_query_is_described() {
    let folder = Source::folder("claude-api/src/http");
    let parsed = folder
        .iter()
        .flat_map(|source| source.calls("Query::parse"));
    // The second argument is the list of names.
    let words = parsed.flat_map(|call| {
        let words: Vec<_> = call[1].split('"').skip(1).step_by(2).collect();
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    });
    let document = openapi::document();
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.values().filter_map(Value::as_object);
    let parameters = operations
        .flat_map(|item| item.values())
        .filter_map(|operation| operation["parameters"].as_array());
    let of_query = parameters.flatten().filter(|one| one["in"] == "query");
    let described = of_query.filter_map(|one| one["name"].as_str().map(str::to_owned));
    compare("parameters", &words.collect(), &described.collect());
}

#[test]
fn headers_and_trailers_are_described() {
    let document = openapi::document();
    let all = trailers::ALL.split(", ").map(str::to_owned).collect();
    compare("trailers", &all, &names(&document, "/x-trailers"));
    let text = document.to_string();
    let constants = Source::read("protocol/src/trailers.rs").constants(None);
    let constants = constants.into_iter().filter(|(name, _)| name != "ALL");
    for (_, header) in constants {
        assert!(text.contains(&format!("\"{header}\"")), "{header}");
    }
}

#[test]
fn every_problem_type_has_the_meaning_of_the_page() {
    let page = Page::read();
    let rows = page.rows("Problem types").iter();
    let shown = rows.map(|row| [name(&row[0]), row[2].clone()]);
    let kinds = ProblemType::ALL.iter();
    let code = kinds.map(|kind| [kind.as_str(), problems::meaning(*kind)].map(str::to_owned));
    compare("meanings of problems", &code.collect(), &shown.collect());
}

#[test]
fn every_problem_type_but_those_of_no_call_is_an_answer() {
    let document = openapi::document().to_string();
    for kind in ProblemType::ALL {
        let reference = format!("#/components/schemas/{}\"", problems::schema_name(*kind));
        let is_answer = document.contains(&reference);
        assert_eq!(is_answer, !problems::ELSEWHERE.contains(kind), "{kind:?}");
    }
}

#[test]
fn limits_have_the_meaning_of_the_page() {
    let page = Page::read();
    let rows = page.rows("Limits").iter();
    let shown = rows.map(|row| [name(&row[0]), without_links(&row[2])]);
    let shown = shown.filter(|[limit, _]| limit != "views");
    let code = limit_texts().iter();
    let code = code.map(|(limit, text)| [*limit, *text].map(str::to_owned));
    compare("meanings of limits", &code.collect(), &shown.collect());
}

/// Returns a text with the words of its links in place of the links.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let (words, after) = link.split_once("](").expect("a link");
        plain.push_str(before);
        plain.push_str(words);
        rest = after.split_once(')').expect("the end of a link").1;
    }
    plain + rest
}

#[test]
fn every_method_and_every_notification_has_its_schemas() {
    let document = websocket::document();
    let constants = constants("protocol/src/rpc.rs", "method");
    let is_request = |name: &String| Request::METHODS.contains(&name.as_str());
    let (requests, others): (BTreeSet<_>, BTreeSet<_>) =
        constants.into_iter().partition(is_request);
    compare("methods", &requests, &names(&document, "/x-methods"));
    let described = notifications::names().map(str::to_owned);
    compare("notifications", &others, &described.into());
    let schemas = names(&document, "/$defs");
    for method in &requests {
        let own = [
            websocket::request_schema(method),
            websocket::result_schema(method),
        ];
        assert!(own.iter().all(|name| schemas.contains(name)), "{method}");
    }
    for name in &others {
        let own = websocket::notification_schema(name);
        assert!(schemas.contains(&own), "{name}");
    }
}

#[test]
fn error_reasons_agree_with_the_page() {
    let reasons = errors::reasons().into_iter();
    let code = reasons.map(|error| {
        let errors::ErrorReason {
            code,
            reason,
            meaning,
        } = error;
        [code.to_string(), reason.to_owned(), meaning.to_owned()]
    });
    let page = Page::read();
    let rows = page.rows("Error reasons").iter();
    let shown = rows.map(|row| [name(&row[0]), name(&row[1]), row[3].clone()]);
    compare("error reasons", &code.collect(), &shown.collect());
}

#[test]
fn codes_of_notices_and_closes_agree_with_the_page() {
    let page = Page::read();
    let mut shown = page.first("Notices");
    shown.extend(page.first("Warnings"));
    let document = websocket::document();
    let codes = document["x-noticeCodes"].as_array().expect("codes");
    let codes = codes.iter().filter_map(Value::as_str).map(str::to_owned);
    compare("notices", &codes.collect(), &shown);
    let rows = page.rows("Close codes").iter();
    let shown = rows.map(|row| [name(&row[0]), row[2].clone()]);
    let codes = close_codes().iter();
    let codes = codes.map(|(code, text)| [code.to_string(), (*text).to_owned()]);
    compare("close codes", &codes.collect(), &shown.collect());
}
