//! Extractors for the id in a path and for query strings, which answer mistakes with a problem.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use protocol::{ExecutionId, Problem, ProblemType};

use super::reply::Reply;

/// The maximum number of characters that an error repeats of an unknown parameter's name.
const SHOWN_CHARS: usize = 64;

/// Parses an execution id from a path or a query.
///
/// # Errors
/// `invalid-id`.
fn id(text: &str) -> Result<ExecutionId, Problem> {
    text.parse()
        .map_err(|e: protocol::id::BadId| Problem::new(ProblemType::InvalidId, e.to_string()))
}

/// The extractor for the id in the path. Any other text is answered with `invalid-id`.
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

/// The values of a query string's `N` known parameters, each given at most once. Unknown parameters
/// are refused.
#[derive(Debug)]
pub(crate) struct Query<const N: usize> {
    values: [Option<String>; N],
    names: [&'static str; N],
}

/// The extractor for paths without parameters, which refuses any query.
pub(crate) struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Reply;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Reply> {
        Query::parse(parts.uri.query(), [])?;
        Ok(Self)
    }
}

impl<const N: usize> Query<N> {
    /// Parses a query string that may have the parameters `names`. Names and values are
    /// percent-decoded.
    ///
    /// # Errors
    /// `invalid-query` for an unknown parameter, or one that is given twice.
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

    fn get(&self, name: &str) -> Option<&str> {
        let at = self.names.iter().position(|n| *n == name)?;
        self.values[at].as_deref()
    }

    /// Returns a parameter that is a whole number of at least 0; `None` without the parameter.
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

    /// Returns a parameter that is `true` or `false`; `default` without the parameter.
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

    /// Returns whether the parameter `name` is given; `word` is its only valid value.
    pub(crate) fn keyword(&self, name: &str, word: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None => Ok(false),
            Some(text) if text == word => Ok(true),
            Some(text) => Err(invalid(format!(
                "{name}={text:?} is not {word:?}; give that, or leave {name} out"
            ))),
        }
    }

    /// Returns a parameter that is an execution id; `None` without the parameter.
    pub(crate) fn id(&self, name: &str) -> Result<Option<ExecutionId>, Problem> {
        self.get(name).map(id).transpose()
    }
}

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
