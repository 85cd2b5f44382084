//! The names in a PromQL query: metrics, labels and the values of matchers.
//!
//! [`Query::parse`] reads only what the dashboard and the alerts of this project use. It computes
//! nothing and checks no types: promtool and Prometheus do that.

/// The words that group or join series by labels, which follow in parentheses.
const GROUPINGS: [&str; 6] = [
    "by",
    "group_left",
    "group_right",
    "ignoring",
    "on",
    "without",
];
/// The words between two expressions, and those that aggregate.
const WORDS: [&str; 16] = [
    "and", "avg", "bool", "bottomk", "count", "group", "max", "min", "offset", "or", "quantile",
    "stddev", "stdvar", "sum", "topk", "unless",
];

/// The names in a query.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    /// The series that the query reads.
    pub selectors: Vec<Selector>,
    /// The labels by which the query groups or joins series.
    pub labels: Vec<String>,
}

/// A metric with its matchers, such as `up{job="bridge"}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    /// The name of the metric.
    pub metric: String,
    /// The conditions for the labels.
    pub matchers: Vec<Matcher>,
}

/// A condition for a label, such as `state=~"queued|running"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Matcher {
    /// The name of the label.
    pub label: String,
    /// The text between the quotes, which is an expression if `is_pattern`.
    pub value: String,
    /// Whether the operator is `=~` or `!~`.
    pub is_pattern: bool,
}

impl Query {
    /// Reads the names of a query.
    ///
    /// # Errors
    /// The text has a selector without a name, or a part without its end.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut query = Self::default();
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            if is_name_start(first) {
                rest = query.name(rest)?;
            } else if first == '[' {
                rest = after(rest, ']')?;
            } else if first == '"' {
                rest = after(&rest[1..], '"')?;
            } else if first.is_ascii_digit() {
                // A number or a duration, such as 5e9 or 24h.
                rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
            } else if first == '{' {
                return Err(format!("a selector has no name: {rest}"));
            } else {
                rest = &rest[first.len_utf8()..];
            }
            rest = rest.trim_start();
        }
        Ok(query)
    }

    /// Reads a name at the beginning of `text`, with what belongs to it. Returns the rest.
    fn name<'a>(&mut self, text: &'a str) -> Result<&'a str, String> {
        let end = text.find(|c: char| !is_name_start(c) && !c.is_ascii_digit());
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        let rest = rest.trim_start();
        if GROUPINGS.contains(&name) {
            let Some(list) = rest.strip_prefix('(') else {
                return Ok(rest);
            };
            let tail = after(list, ')')?;
            let list = &list[..list.len() - tail.len() - 1];
            let labels = list.split(',').map(str::trim).filter(|l| !l.is_empty());
            self.labels.extend(labels.map(str::to_owned));
            return Ok(tail);
        }
        if WORDS.contains(&name) || rest.starts_with('(') {
            return Ok(rest);
        }
        let (matchers, rest) = match rest.strip_prefix('{') {
            Some(list) => matchers(list)?,
            None => (Vec::new(), rest),
        };
        let metric = name.to_owned();
        self.selectors.push(Selector { metric, matchers });
        Ok(rest)
    }
}

/// Reads matchers up to their closing brace. Returns them and the text behind the brace.
fn matchers(mut text: &str) -> Result<(Vec<Matcher>, &str), String> {
    let mut matchers = Vec::new();
    loop {
        text = text.trim_start_matches([' ', ',']);
        if let Some(rest) = text.strip_prefix('}') {
            return Ok((matchers, rest));
        }
        let open = text.find('"').ok_or("a matcher has no value")?;
        let (head, value) = text.split_at(open);
        let rest = after(&value[1..], '"')?;
        let value = &value[1..value.len() - rest.len() - 1];
        let label = head.trim_end().trim_end_matches(['=', '!', '~']);
        matchers.push(Matcher {
            label: label.trim_end().to_owned(),
            value: value.to_owned(),
            is_pattern: head.trim_end().ends_with('~'),
        });
        text = rest;
    }
}

impl Matcher {
    /// Returns the values that the matcher names. Of a pattern these are its alternatives, of which
    /// one group in parentheses may be a part.
    #[must_use]
    pub fn alternatives(&self) -> Vec<String> {
        if !self.is_pattern {
            return vec![self.value.clone()];
        }
        let (before, group) = self.value.split_once('(').unwrap_or(("", &self.value));
        let (group, behind) = group.split_once(')').unwrap_or((group, ""));
        let whole = group.split('|');
        whole.map(|one| format!("{before}{one}{behind}")).collect()
    }
}

/// Returns whether a value is an alternative, whose last characters may be `.+` or `.*`.
#[must_use]
pub fn is_matched(alternative: &str, value: &str) -> bool {
    let open = alternative.strip_suffix(".+");
    match open.or_else(|| alternative.strip_suffix(".*")) {
        Some(start) => value.starts_with(start),
        None => value == alternative,
    }
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

/// Returns the text behind the first `end`.
fn after(text: &str, end: char) -> Result<&str, String> {
    let behind = text.split_once(end).map(|(_, behind)| behind);
    behind.ok_or_else(|| format!("there is no {end} in {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(query: &Query) -> Vec<&str> {
        let selectors = query.selectors.iter();
        selectors.map(|selector| selector.metric.as_str()).collect()
    }

    #[test]
    fn a_query_has_its_metrics_labels_and_values() {
        let text = "histogram_quantile(0.9, sum by (le, job) (rate(a_bucket[$__rate_interval])))\n\
            / on (job) group_left max without(x) (b{state=\"q\", reason!~\"c_(d|e)|f\"}) > 5e9 \
            and time() - c offset 1h";
        let query = Query::parse(text).unwrap();
        assert_eq!(metrics(&query), ["a_bucket", "b", "c"]);
        assert_eq!(query.labels, ["le", "job", "job", "x"]);
        let matchers = &query.selectors[1].matchers;
        let named: Vec<_> = matchers.iter().map(|m| (&*m.label, m.is_pattern)).collect();
        assert_eq!(named, [("state", false), ("reason", true)]);
        assert_eq!(matchers[0].alternatives(), ["q"]);
    }

    #[test]
    fn a_pattern_has_its_alternatives() {
        let of = |value: &str| {
            let matcher = Matcher {
                label: "reason".to_owned(),
                value: value.to_owned(),
                is_pattern: true,
            };
            matcher.alternatives()
        };
        assert_eq!(of("output|follow"), ["output", "follow"]);
        assert_eq!(of("c_(missing|bad)"), ["c_missing", "c_bad"]);
        assert_eq!(of("c_.+"), ["c_.+"]);
        assert!(is_matched("c_.+", "c_missing") && !is_matched("c_.+", "d_missing"));
        assert!(is_matched("c", "c") && !is_matched("c", "cc"));
    }

    #[test]
    fn a_query_without_a_name_or_an_end_is_refused() {
        for text in ["sum({job=\"a\"})", "rate(a[5m", "a{b=\"c", "sum by (a"] {
            assert!(Query::parse(text).is_err(), "{text}");
        }
    }
}
