//! A strict reader of `/metrics` pages.
//!
//! [`Page::parse`] reads both formats as far as the services use them. [`Page::faults`] checks the
//! rules for names, units and labels: those of `promtool check metrics`, and those of this project.

mod rules;

use std::fmt;

/// The two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// The Prometheus text format 0.0.4.
    Text,
}

impl Format {
    /// Returns the value of `Content-Type`, which also requests this format as `Accept`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All metrics of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    format: Format,
    families: Vec<Family>,
}

/// The samples of one metric.
#[derive(Debug, Clone, PartialEq, Default)]
struct Family {
    name: String,
    help: String,
    kind: String,
    unit: Option<String>,
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.labels.iter();
        let labels: Vec<_> = labels
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        write!(f, "{}{{{}}}", self.name, labels.join(","))
    }
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// The first line that is not in this format.
    pub fn parse(text: &str, format: Format) -> Result<Self, String> {
        let body = match format {
            Format::OpenMetrics => text
                .strip_suffix("# EOF\n")
                .ok_or("there is no # EOF at the end"),
            Format::Text => Ok(text),
        }?;
        let mut families: Vec<Family> = Vec::new();
        for line in body.lines() {
            read(line, format, &mut families)
                .ok_or_else(|| format!("no line of this format: {line:?}"))?;
        }
        if body.ends_with('\n') {
            Ok(Self { format, families })
        } else {
            Err("the last line has no end".to_owned())
        }
    }

    /// Returns the sum of all samples of this name with these labels, and possibly others.
    ///
    /// # Panics
    /// If there is no such sample.
    #[must_use]
    #[track_caller]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.families.iter().flat_map(|family| &family.samples);
        let has = |sample: &Sample| {
            let mut labels = labels.iter();
            let given = |(name, value): &(&str, &str)| {
                let mut all = sample.labels.iter();
                all.any(|(n, v)| n == name && v == value)
            };
            sample.name == name && labels.all(given)
        };
        let values: Vec<_> = samples
            .filter(|sample| has(sample))
            .map(|s| s.value)
            .collect();
        assert!(!values.is_empty(), "there is no {name} with {labels:?}");
        values.iter().sum()
    }

    /// Returns the names of all metrics, in the order of the page. In OpenMetrics the name of a
    /// counter is without `_total`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.families.iter().map(|family| family.name.as_str())
    }

    /// Returns the labels of each sample of this name; empty if there is no such sample.
    #[must_use]
    pub fn labels(&self, name: &str) -> Vec<&[(String, String)]> {
        let samples = self.families.iter().flat_map(|family| &family.samples);
        let samples = samples.filter(|sample| sample.name == name);
        samples.map(|sample| sample.labels.as_slice()).collect()
    }

    /// Returns all violations of the rules in the private module `rules`.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        rules::faults(self)
    }
}

/// Adds one line to the families; `None` when the line is not valid there.
fn read(line: &str, format: Format, families: &mut Vec<Family>) -> Option<()> {
    if let Some(rest) = line.strip_prefix("# HELP ") {
        let (name, help) = rest.split_once(' ')?;
        families.push(Family {
            name: name.to_owned(),
            help: help.to_owned(),
            ..Family::default()
        });
        return Some(());
    }
    let family = families.last_mut()?;
    let open_metrics = format == Format::OpenMetrics;
    if let Some(kind) = line.strip_prefix(&format!("# TYPE {} ", family.name)) {
        let first = family.kind.is_empty() && family.samples.is_empty();
        family.kind = first.then(|| kind.to_owned())?;
    } else if let Some(unit) = line.strip_prefix(&format!("# UNIT {} ", family.name)) {
        let first = family.unit.is_none() && family.samples.is_empty() && open_metrics;
        family.unit = Some(first.then(|| unit.to_owned())?);
    } else {
        let sample = sample(line)?;
        let suffix = sample.name.strip_prefix(&family.name)?;
        let belongs = match (family.kind.as_str(), suffix) {
            ("counter", "_total") => open_metrics,
            ("counter", "") => !open_metrics,
            ("gauge", "") | ("histogram", "_bucket" | "_sum" | "_count") => true,
            _ => false,
        };
        belongs.then(|| family.samples.push(sample))?;
    }
    Some(())
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        value => value.parse().ok()?,
    };
    let (name, labels) = match series.split_once('{') {
        None => (series, Vec::new()),
        Some((name, labels)) => {
            let labels = labels.strip_suffix('}')?.split(',');
            // No label value of the services has a comma, a quote or a backslash.
            let label = |label: &str| {
                let (name, value) = label.split_once('=')?;
                let value = value.strip_prefix('"')?.strip_suffix('"')?;
                let plain = !value.contains(['"', '\\', '\n']);
                plain.then(|| (name.to_owned(), value.to_owned()))
            };
            (name, labels.map(label).collect::<Option<_>>()?)
        }
    };
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}
