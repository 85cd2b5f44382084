//! Request bodies: read with a limit, whatever the client sends.

use axum::body::Body as HttpBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use protocol::{Body, Limits, Problem, ProblemType};

/// What JSON may add to a text: `\u0000` for a byte.
const ESCAPED: u64 = 6;
/// Room for everything but the three texts, bytes.
const OTHER_FIELDS_BYTES: u64 = 1024 * 1024;

/// Reads bytes as they are, at most `most`.
///
/// # Errors
/// `too-large`, or `invalid-body` when they did not arrive whole.
pub(crate) async fn bytes(body: HttpBody, most: u64) -> Result<bytes::Bytes, Problem> {
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Err(Problem::new(
            ProblemType::TooLarge,
            format!(
                "one request may bring {most} bytes; send the rest in another, at its own offset"
            ),
        )),
        Err(error) => Err(Problem::new(
            ProblemType::InvalidBody,
            format!("the body did not arrive whole: {error}"),
        )),
    }
}

/// Reads an execution's body.
///
/// # Errors
/// `too-large`, or `invalid-body` with what is wrong.
pub(crate) async fn read(body: HttpBody, limits: &Limits) -> Result<Body, Problem> {
    let most =
        ESCAPED * (limits.prompt_bytes + 2 * limits.system_prompt_bytes) + OTHER_FIELDS_BYTES;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let bytes = match Limited::new(body, most).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            return Err(Problem::new(
                ProblemType::TooLarge,
                format!(
                    "the body has more than {most} bytes; a prompt may have {}",
                    limits.prompt_bytes
                ),
            ));
        }
        Err(error) => {
            return Err(Problem::new(
                ProblemType::InvalidBody,
                format!("the body did not arrive whole: {error}"),
            ));
        }
    };
    Body::from_json(&bytes).map_err(|e| Problem::new(e.kind(), e.to_string()))
}
