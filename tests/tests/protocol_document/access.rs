//! Access: the roles, the fields of the token file, and the objects of the calls about tokens.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Role;
use protocol::access::{Me, Redeem, Redeemed, ShareRequest, ShareRole, Ticket, TicketRequest};

use crate::messages::braced;
use crate::page::{self, Page, name};
use crate::sources::Source;
use crate::{compare, members};

/// Returns the rows below a heading that begin with a name in backticks, by that name, with their
/// other cells.
fn named_rows(heading: &str) -> BTreeMap<String, Vec<String>> {
    let page = Page::read();
    let rows = page.rows(heading).iter();
    let rows = rows.map(|row| (name(&row[0]), row[1..].to_vec()));
    rows.collect()
}

#[test]
fn roles_and_their_rights_agree() {
    let word = |may: bool| if may { "yes" } else { "no" }.to_owned();
    let rights = Role::ALL.map(|role| {
        let rights = [role.may_view(), role.may_control(), role.may_read_metrics()];
        (role.as_str().to_owned(), rights.map(word))
    });
    let rows = named_rows("Roles");
    let shown = rows.iter().filter_map(|(role, cells)| {
        let is_role = role.parse::<Role>().is_ok();
        is_role.then(|| (role.clone(), [0, 1, 2].map(|column| cells[column].clone())))
    });
    compare("roles", &rights.into_iter().collect(), &shown.collect());
}

#[test]
fn fields_of_the_token_file_agree() {
    let source = Source::read("claude-api/src/access/token_file.rs");
    let fields = source.between("struct Block {", "}").split(',');
    let fields = fields.filter_map(|field| {
        let (name, kind) = field.trim().split_once(": ")?;
        let mut words = name.split('_');
        let mut camel = words.next()?.to_owned();
        for word in words {
            camel.push_str(&word[..1].to_uppercase());
            camel.push_str(&word[1..]);
        }
        Some((camel, !kind.starts_with("Option")))
    });
    let rows = named_rows("Token file");
    let shown = rows.iter();
    let shown = shown.map(|(field, cells)| (field.clone(), cells[1] == "required"));
    compare("the token file", &fields.collect(), &shown.collect());
}

#[test]
fn the_example_of_a_token_file_has_every_field() {
    let text = page::text();
    let (_, rest) = text.split_once("[[token]]\n").expect("an example");
    let lines = rest.lines().take_while(|line| !line.starts_with("```"));
    let fields = lines.filter_map(|line| Some(line.split_once(" = ")?.0.to_owned()));
    let table = named_rows("Token file").into_keys().collect();
    compare("the example", &table, &fields.collect());
}

/// Returns the answer of a call of claude-api, as the page describes it.
fn answer(path: &str) -> String {
    let page = Page::read();
    let is_row = |row: &&Vec<String>| name(&row[1]) == path && row[0] != "`DELETE`";
    let row = page.rows("Calls").iter().find(is_row);
    row.unwrap_or_else(|| panic!("no call {path}"))[3].clone()
}

#[test]
fn objects_of_the_calls_about_tokens_agree() {
    let me = Me::without_tokens();
    let ticket = Ticket {
        ticket: String::new(),
        expires_seconds: 30,
    };
    let redeemed = Redeemed {
        token: String::new(),
        renewal: String::new(),
        me: me.clone(),
    };
    for (path, members) in [
        ("/v1/me", members(&me)),
        ("/v1/tickets", members(&ticket)),
        ("/v1/tickets/redeem", members(&redeemed)),
    ] {
        compare(path, &members, &braced(&answer(path)));
    }
    let redeem = Redeem {
        ticket: String::new(),
        origin: None,
    };
    for (path, members) in [
        (
            "/v1/executions/{id}/share",
            members(&ShareRequest::default()),
        ),
        ("/v1/tickets", members(&TicketRequest::default())),
        ("/v1/tickets/redeem", members(&redeem)),
    ] {
        let page = Page::read();
        let row = page.rows("Calls").iter().find(|row| name(&row[1]) == path);
        let body = &row.expect("a call")[2];
        let missing: Vec<_> = members
            .iter()
            .filter(|member| !body.contains(&format!("`{member}`")))
            .collect();
        assert!(missing.is_empty(), "the body of {path} lacks {missing:?}");
    }
}

#[test]
fn the_lifetimes_and_roles_of_shares_agree() {
    let page = Page::read();
    let row = |field: &str| {
        let mut rows = page.rows("Request parameters").iter();
        let row = rows.find(|row| name(&row[0]) == "share" && name(&row[1]) == field);
        row.expect("a field of `share`").clone()
    };
    let number = |text: &str| text.replace(',', "").parse::<u64>().expect("a number");
    let seconds = row("expiresSeconds");
    assert_eq!(number(&seconds[3]), ShareRequest::DEFAULT_SECONDS);
    let (_, most) = seconds[2].split_once(" to ").expect("a range");
    assert_eq!(number(most), ShareRequest::MAX_SECONDS);
    let roles: BTreeSet<_> = row("role")[2].split(", ").map(name).collect();
    let known = [ShareRole::View, ShareRole::Control].map(|role| role.role().as_str().to_owned());
    assert_eq!(roles, BTreeSet::from(known));
    let default = ShareRole::default().role().as_str();
    assert_eq!(name(&row("role")[3]), default);
}
