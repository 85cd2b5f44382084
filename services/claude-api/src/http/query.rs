//! Extractors for the execution id in a path and for the query string of a request. A malformed one
//! is answered with 400.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use protocol::{ExecutionId, Problem, ProblemType};

use super::reply::Reply;

/// How many characters of an unknown parameter's name an error text repeats. The limit keeps the
/// error short, whatever the client sent.
const SHOWN_CHARS: usize = 64;

/// Parses an execution id, a UUID, from a path or a query.
///
/// # Errors
/// 400 `invalid-id` if the text is no UUID in the hyphenated form.
pub(super) fn id(text: &str) -> Result<ExecutionId, Problem> {
    text.parse()
        .map_err(|e: protocol::id::BadId| Problem::new(ProblemType::InvalidId, e.to_string()))
}

/// The execution id in the path of a request, a UUID. Any other text is answered with 400
/// `invalid-id`.
pub(crate) struct Id(pub(crate) ExecutionId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Reply;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Reply> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        // The text is not UTF-8: the error shows a placeholder.
        let text = text.map_or_else(|_| "(not UTF-8)".to_owned(), |Path(text)| text);
        Ok(Self(id(&text)?))
    }
}

/// The parsed query string of a request that accepts `N` parameters. Each may be given once;
/// unknown parameters are refused.
#[derive(Debug)]
pub(crate) struct Query<const N: usize> {
    values: [Option<String>; N],
    names: [&'static str; N],
}

/// The extractor for requests without parameters. Any parameter is answered with 400
/// `invalid-query`.
pub(crate) struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Reply;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Reply> {
        Query::parse(parts.uri.query(), [])?;
        Ok(Self)
    }
}

impl<const N: usize> Query<N> {
    /// Parses a query string that may have the parameters `names`; `None` is a request without one.
    /// Names and values are percent-decoded.
    ///
    /// # Errors
    /// 400 `invalid-query` for an unknown parameter, or one that is given twice.
    pub(crate) fn parse(query: Option<&str>, names: [&'static str; N]) -> Result<Self, Problem> {
        let mut values = [const { None }; N];
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let Some(at) = names.iter().position(|n| *n == name) else {
                let known = if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                };
                let name: String = name.chars().take(SHOWN_CHARS).collect();
                return Err(invalid(format!(
                    "unknown parameter {name:?}; this path accepts {known}"
                )));
            };
            if values[at].replace(value.into_owned()).is_some() {
                return Err(invalid(format!("{name} is given twice; give it once")));
            }
        }
        Ok(Self { values, names })
    }

    /// Returns the value of a parameter; `None` if it is not given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let at = self.names.iter().position(|n| *n == name)?;
        self.values[at].as_deref()
    }

    /// Returns the value of the parameter `name`, a whole number in decimal digits; `None` if it is
    /// not given. Fails with 400 `invalid-query` for any other text, such as `+1`, and above 64
    /// bits.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits => Ok(Some(number)),
            _ => Err(invalid(format!(
                "{name}={text:?} is no whole number; give 0 or more, in digits"
            ))),
        }
    }

    /// Returns the value of the parameter `name`, `true` or `false`; `default` if it is not given.
    /// Fails with 400 `invalid-query` for any other text.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, Problem> {
        match self.get(name) {
            None => Ok(default),
            Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(text) => Err(invalid(format!(
                "{name}={text:?} is neither true nor false; give one of them"
            ))),
        }
    }

    /// Returns whether the parameter `name` is given with `word`, its only valid value. Fails with
    /// 400 `invalid-query` for any other value.
    pub(crate) fn keyword(&self, name: &str, word: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None => Ok(false),
            Some(text) if text == word => Ok(true),
            Some(text) => Err(invalid(format!(
                "{name}={text:?} is not {word:?}; give that, or leave {name} out"
            ))),
        }
    }

    /// Returns the value of the parameter `name`, an execution id; `None` if it is not given. Fails
    /// with 400 `invalid-id` for any other text.
    pub(crate) fn id(&self, name: &str) -> Result<Option<ExecutionId>, Problem> {
        self.get(name).map(id).transpose()
    }
}

/// Returns the problem 400 `invalid-query` with this text.
fn invalid(detail: String) -> Problem {
    Problem::new(ProblemType::InvalidQuery, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_flags_are_parsed_and_mistakes_are_refused() {
        let query = Query::parse(Some("offset=12&follow=true"), ["offset", "follow"]).unwrap();
        assert_eq!(query.number("offset").unwrap(), Some(12));
        assert!(query.flag("follow", false).unwrap());
        let query = Query::parse(None, ["follow"]).unwrap();
        assert!(query.flag("follow", true).unwrap() && !query.flag("follow", false).unwrap());
        let encoded = Query::parse(Some("%6Fffset=%312"), ["offset"]).unwrap();
        assert_eq!(encoded.number("offset").unwrap(), Some(12));
        assert_eq!(
            Query::parse(None, ["offset"])
                .unwrap()
                .number("offset")
                .unwrap(),
            None
        );
        for bad in [
            "offset=-1",
            "offset=+1",
            "offset=",
            "offset=x",
            "offset=99999999999999999999999",
        ] {
            let query = Query::parse(Some(bad), ["offset"]).unwrap();
            assert_eq!(
                query.number("offset").unwrap_err().kind,
                ProblemType::InvalidQuery,
                "{bad}"
            );
        }
        assert!(Query::parse(Some("offset=1&offset=2"), ["offset"]).is_err());
        assert!(Query::parse(Some("of=1"), ["offset"]).is_err());
        assert!(Query::parse(Some("offset=1&%6Fffset=2"), ["offset"]).is_err());
        assert!(Query::parse(Some("&&"), []).is_ok() && Query::parse(Some("x"), []).is_err());
    }
}
