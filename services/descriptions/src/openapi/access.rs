//! Operations about tokens: who the client is, shares and tickets (docs/protocol.md, "Access").

use protocol::ProblemType as P;
use serde_json::json;

use super::operation::Operation;
use crate::schema::{described, reference};

const TAG: &str = "access";

/// Returns the operations of this module.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        me(),
        share(),
        end_share(),
        create_ticket(),
        redeem_ticket(),
        renew_session(),
        end_session(),
    ]
}

fn me() -> Operation {
    let text = "Describes the client of the token.";
    Operation::new(("GET", "/v1/me"), "getMe", TAG, text)
        .json(200, "The client.", reference("Me"))
        .problems(&[P::InvalidQuery])
}

fn share() -> Operation {
    let text = "Makes a token that opens this one execution to somebody without a token. Without \
        a token file: 409 `wrong-state`.";
    let operation = Operation::new(
        ("POST", "/v1/executions/{id}/share"),
        "shareExecution",
        TAG,
        text,
    );
    secret(
        operation
            .body("application/json", reference("ShareRequest"), false)
            .json(201, "The share.", reference("Share"))
            .link(
                201,
                "endShare",
                &[
                    ("id", "$request.path.id"),
                    ("share", "$response.body#/shareId"),
                ],
            ),
        201,
    )
    .problems(&[
        P::InvalidBody,
        P::InvalidQuery,
        P::NotFound,
        P::WrongState,
        P::Deleted,
        P::SpoolUnwritable,
    ])
}

fn end_share() -> Operation {
    let share = json!({ "type": "string", "format": "uuid" });
    let text = "Ends a share. Without a token file: 409 `wrong-state`.";
    Operation::new(
        ("DELETE", "/v1/executions/{id}/share/{share}"),
        "endShare",
        TAG,
        text,
    )
    .path_parameter("share", described(share, "`shareId` of the share."))
    .answer(204, "The share has ended.", &[])
    .problems(&[
        P::InvalidQuery,
        P::NotFound,
        P::WrongState,
        P::Deleted,
        P::SpoolUnwritable,
    ])
}

fn create_ticket() -> Operation {
    let text = "Makes a ticket for a client of a bridge. Clients call `POST /ws-ticket` of the \
        bridge. Without a token file: 409 `wrong-state`.";
    let operation = Operation::new(("POST", "/v1/tickets"), "createTicket", TAG, text)
        .body("application/json", reference("TicketRequest"), false)
        .json(201, "The ticket.", reference("Ticket"))
        .problems(&[P::InvalidBody, P::InvalidQuery, P::WrongState]);
    secret(operation, 201)
}

fn redeem_ticket() -> Operation {
    let text = "Redeems a ticket, which stands for a token. Only bridges call this.";
    let operation = Operation::new(("POST", "/v1/tickets/redeem"), "redeemTicket", TAG, text)
        .public()
        .body("application/json", reference("Redeem"), true)
        .json(200, "The token of the session.", reference("Redeemed"))
        .problems(&[
            P::InvalidBody,
            P::InvalidQuery,
            P::Unauthorized,
            P::TooManyAttempts,
        ]);
    secret(operation, 200)
}

fn renew_session() -> Operation {
    let text = "Renews the token of a session for 2 min, for bridges. The renewal secret stands in \
        place of a token.";
    Operation::new(("PUT", "/v1/tickets/session"), "renewSession", TAG, text)
        .public()
        .answer(204, "The token is renewed.", &[])
        .problems(&[P::InvalidQuery, P::Unauthorized, P::TooManyAttempts])
}

fn end_session() -> Operation {
    let text = "Ends the token of a session, for bridges. The renewal secret stands in place of a \
        token.";
    Operation::new(("DELETE", "/v1/tickets/session"), "endSession", TAG, text)
        .public()
        .answer(204, "The token has ended.", &[])
        .problems(&[P::InvalidQuery, P::Unauthorized])
}

/// Adds the header of an answer with a secret, which no cache may store.
fn secret(operation: Operation, code: u16) -> Operation {
    let no_store = json!({ "type": "string", "const": "no-store" });
    operation.header(code, "Cache-Control", no_store, "The answer has a secret.")
}
