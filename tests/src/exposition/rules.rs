//! The rules for a page of metrics: those of `promtool check metrics` (promlint of
//! prometheus/client_golang), of OpenMetrics 1.0.0, and of this project (no id in a label).

use std::collections::HashSet;

use super::{Family, Format, Page, Sample};

/// Forbidden parts of a name: wrong units and abbreviations of units (promlint, `MetricUnits` and
/// `UnitAbbreviations`).
const UNITS: [&str; 28] = [
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "minutes",
    "hours",
    "days",
    "weeks",
    "kilobytes",
    "megabytes",
    "gigabytes",
    "bits",
    "percent",
    "s",
    "ms",
    "us",
    "ns",
    "sec",
    "min",
    "b",
    "kb",
    "mb",
    "gb",
    "tb",
    "m",
    "h",
    "d",
    "ratio",
    "dollars",
];
/// The units that the services use: a name that ends in one has the unit.
const BASE: [&str; 3] = ["seconds", "bytes", "usd"];
/// Names of types, which a metric's name must not contain (promlint, `MetricTypeInName`).
const TYPES: [&str; 4] = ["counter", "gauge", "histogram", "summary"];
/// Endings that belong to other types (promlint, `Counter` and `HistogramSummaryReserved`).
const RESERVED: [&str; 4] = ["_total", "_bucket", "_count", "_sum"];

pub(super) fn faults(page: &Page) -> Vec<String> {
    let mut faults = Vec::new();
    let mut names = HashSet::new();
    let mut series = HashSet::new();
    for family in &page.families {
        let mut say = |what: &str| faults.push(format!("{}: {what}", family.name));
        if !names.insert(&family.name) {
            say("it is there twice");
        }
        of_name(family, page.format, &mut say);
        if family.help.len() < 8 || !family.help.ends_with('.') {
            say("no help text that is a sentence");
        }
        if family.samples.is_empty() {
            say("no sample");
        }
        for sample in &family.samples {
            if !series.insert(sample.to_string()) {
                say(&format!("{sample} is there twice"));
            }
            of_sample(family, sample, &mut say);
        }
        if family.kind == "histogram" {
            of_histogram(family, &mut say);
        }
    }
    faults
}

fn of_name(family: &Family, format: Format, say: &mut impl FnMut(&str)) {
    let counter = family.kind == "counter";
    let mut name = family.name.as_str();
    match (format, name.strip_suffix("_total")) {
        (Format::Text, Some(stem)) if counter => name = stem,
        (Format::Text, None) if counter => say("a counter ends in _total"),
        _ => {}
    }
    if let Some(ending) = RESERVED.iter().find(|ending| name.ends_with(**ending)) {
        say(&format!("{ending} is for another type"));
    }
    if !is_plain(name) {
        say("a name has lower-case letters, digits and _");
    }
    let parts: Vec<_> = name.split('_').collect();
    if let Some(part) = parts.iter().find(|part| UNITS.contains(part)) {
        say(&format!("{part} is no base unit"));
    }
    if let Some(part) = parts.iter().find(|part| TYPES.contains(part)) {
        say(&format!("{part} is a type"));
    }
    let last = BASE.into_iter().find(|unit| parts.last() == Some(unit));
    if format == Format::OpenMetrics && family.unit.as_deref() != last {
        say(&format!(
            "the unit is {:?}, the name says {last:?}",
            family.unit
        ));
    }
}

fn of_sample(family: &Family, sample: &Sample, say: &mut impl FnMut(&str)) {
    for (name, value) in &sample.labels {
        if !is_plain(name) || name.starts_with("__") {
            say(&format!("{name} is no label"));
        }
        if (name == "le" && family.kind != "histogram") || name == "quantile" {
            say(&format!("{name} is for another type"));
        }
        // States, reasons and codes are shorter than any id.
        let digits = value.bytes().filter(u8::is_ascii_digit).count();
        if uuid::Uuid::try_parse(value).is_ok() || (name != "le" && digits > 4) {
            say(&format!("{name}={value:?} looks like an id"));
        }
    }
    if !sample.value.is_finite() || (family.kind != "gauge" && sample.value < 0.0) {
        say(&format!("{sample} is {}", sample.value));
    }
}

fn of_histogram(family: &Family, say: &mut impl FnMut(&str)) {
    let of = |ending: &str| {
        let name = format!("{}{ending}", family.name);
        let samples = family.samples.iter().filter(move |s| s.name == name);
        samples.collect::<Vec<_>>()
    };
    let buckets = of("_bucket");
    if !buckets.is_sorted_by(|one, next| one.value <= next.value) {
        say("a bucket holds less than the one before");
    }
    let last = buckets.last().map(|last| (&last.labels[..], last.value));
    let all = [("le".to_owned(), "+Inf".to_owned())];
    match (&of("_count")[..], &of("_sum")[..]) {
        ([count], [_]) if last == Some((&all[..], count.value)) => {}
        _ => say("no sum and count that agree with the last bucket"),
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP a_bytes Bytes of it.\n# TYPE a_bytes counter\n\
        # UNIT a_bytes bytes\na_bytes_total{x=\"y\"} 1\n\
        # HELP wait_seconds Time of it.\n# TYPE wait_seconds histogram\n\
        # UNIT wait_seconds seconds\n\
        wait_seconds_sum 0.5\nwait_seconds_count 1\n\
        wait_seconds_bucket{le=\"0.25\"} 0\nwait_seconds_bucket{le=\"+Inf\"} 1\n\
        # HELP c How many now.\n# TYPE c gauge\nc -7\n# EOF\n";

    fn faults(text: &str) -> Vec<String> {
        Page::parse(text, Format::OpenMetrics).unwrap().faults()
    }

    #[test]
    fn a_good_page_has_no_fault_and_each_bad_page_has_the_expected_one() {
        assert_eq!(faults(GOOD), Vec::<String>::new());
        for (from, to, fault) in [
            ("c -7\n", "c -7\nc 8\n", "c: c{} is there twice"),
            (
                "How many now.",
                "How.",
                "c: no help text that is a sentence",
            ),
            ("c -7\n", "", "c: no sample"),
            ("c -7\n", "c NaN\n", "c: c{} is NaN"),
            (
                "} 1\n# HELP wait",
                "} -1\n# HELP wait",
                "a_bytes: a_bytes_total{x=\"y\"} is -1",
            ),
            (
                "# UNIT a_bytes bytes\n",
                "",
                "a_bytes: the unit is None, the name says Some(\"bytes\")",
            ),
            ("x=\"y\"", "le=\"y\"", "a_bytes: le is for another type"),
            ("x=\"y\"", "X=\"y\"", "a_bytes: X is no label"),
            (
                "x=\"y\"",
                "x=\"6f1c1a60-9d3e-4a6e-8a54-0f2d1f0b7c11\"",
                "a_bytes: x=\"6f1c1a60-9d3e-4a6e-8a54-0f2d1f0b7c11\" looks like an id",
            ),
            (
                "0.25\"} 0",
                "0.25\"} 2",
                "wait_seconds: a bucket holds less than the one before",
            ),
            (
                "count 1",
                "count 2",
                "wait_seconds: no sum and count that agree with the last bucket",
            ),
        ] {
            assert!(GOOD.contains(from), "{from}");
            assert_eq!(faults(&GOOD.replace(from, to)), [fault], "{from} {to}");
        }
        let named = |name: &str| {
            let page = "# HELP c How many now.\n# TYPE c gauge\nc 7\n# EOF\n";
            faults(
                &page
                    .replace("P c", &format!("P {name}"))
                    .replace("E c", &format!("E {name}"))
                    .replace("\nc", &format!("\n{name}")),
            )
        };
        for (name, fault) in [
            ("c_total", "_total is for another type"),
            ("c_count", "_count is for another type"),
            ("cC", "a name has lower-case letters, digits and _"),
            ("c:c", "a name has lower-case letters, digits and _"),
            ("c_ms", "ms is no base unit"),
            ("c_gauge", "gauge is a type"),
        ] {
            assert_eq!(named(name), [format!("{name}: {fault}")]);
        }
    }

    #[test]
    fn a_page_of_the_other_format_is_refused() {
        let text = "# HELP a_total All of it.\n# TYPE a_total counter\na_total 1\n";
        assert!(Page::parse(text, Format::Text).unwrap().faults().is_empty());
        assert!(Page::parse(text, Format::OpenMetrics).is_err());
        assert!(Page::parse(GOOD, Format::Text).is_err());
        let unnamed = text.replace("_total", "");
        let faults = Page::parse(&unnamed, Format::Text).unwrap().faults();
        assert_eq!(faults, ["a: a counter ends in _total"]);
        assert!(Page::parse(text.trim_end(), Format::Text).is_err());
        assert!(Page::parse("a 1\n", Format::Text).is_err());
    }
}
