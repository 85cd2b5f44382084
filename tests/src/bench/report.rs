//! The figures, as a table and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

/// One figure.
#[derive(Debug, Clone)]
pub struct Figure {
    /// The name of the measurement.
    pub name: String,
    /// The value.
    pub value: f64,
    /// The unit of the value.
    pub unit: &'static str,
    /// The target: a minimum, or a maximum if `at_most`.
    pub target: Option<f64>,
    /// Whether less is better.
    pub at_most: bool,
    /// The value of the baseline.
    pub floor: Option<f64>,
}

impl Figure {
    /// Returns whether the figure meets its target; `None` without a target.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        let target = self.target?;
        Some(if self.at_most {
            self.value <= target
        } else {
            self.value >= target
        })
    }
}

/// All figures.
pub struct Report {
    /// The figures in the order of measurement.
    pub figures: Vec<Figure>,
    say: Box<dyn Fn(&str)>,
}

impl Report {
    pub(super) fn new(say: impl Fn(&str) + 'static) -> Self {
        Self {
            figures: Vec::new(),
            say: Box::new(say),
        }
    }

    pub(super) fn add(&mut self, figure: Figure) {
        (self.say)(&line(&figure));
        self.figures.push(figure);
    }

    /// Adds a figure that should be large.
    pub(super) fn rate(
        &mut self,
        name: &str,
        value: f64,
        unit: &'static str,
        target: Option<f64>,
        floor: Option<f64>,
    ) {
        self.add(Figure {
            name: name.to_owned(),
            value,
            unit,
            target,
            at_most: false,
            floor,
        });
    }

    /// Adds a figure that should be small.
    pub(super) fn cost(
        &mut self,
        name: &str,
        value: f64,
        unit: &'static str,
        target: Option<f64>,
        floor: Option<f64>,
    ) {
        self.add(Figure {
            name: name.to_owned(),
            value,
            unit,
            target,
            at_most: true,
            floor,
        });
    }

    /// Returns an earlier figure.
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        self.figures
            .iter()
            .find(|figure| figure.name == name)
            .map(|figure| figure.value)
    }

    /// Formats the figures as a table.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<52} {:>12} {:<9} {:>12} {:>8} {:>12}\n",
            "", "value", "", "target", "", "floor"
        );
        for figure in &self.figures {
            let _ = writeln!(text, "{}", line(figure));
        }
        text
    }

    /// Formats the figures as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                json!({
                    "name": figure.name, "value": figure.value, "unit": figure.unit,
                    "target": figure.target,
                    "atMost": figure.at_most, "met": figure.is_met(), "floor": figure.floor,
                })
            })
            .collect();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        json!({"cores": cores, "figures": figures})
    }
}

fn line(figure: &Figure) -> String {
    let sign = if figure.at_most { "<=" } else { ">=" };
    let number = |value: f64| {
        if value.abs() >= 1000.0 {
            format!("{value:.0}")
        } else {
            format!("{value:.2}")
        }
    };
    let target = figure
        .target
        .map_or_else(String::new, |target| format!("{sign} {}", number(target)));
    let verdict = match figure.is_met() {
        None => "",
        Some(true) => "met",
        Some(false) => "MISSED",
    };
    let floor = figure.floor.map_or_else(String::new, number);
    format!(
        "{:<52} {:>12} {:<9} {:>12} {:>8} {:>12}",
        figure.name,
        number(figure.value),
        figure.unit,
        target,
        verdict,
        floor
    )
    .trim_end()
    .to_owned()
}

/// Returns the quantile `share` of the values, and sorts them.
pub(super) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into few values"
    )]
    let at = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len().max(1)) - 1;
    values.get(at).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_verdicts() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert!((percentile(&mut values, 0.5) - 50.0).abs() < 0.1);
        assert!((percentile(&mut values, 0.99) - 99.0).abs() < 0.1);
        assert!(percentile(&mut [], 0.5).is_nan());
        let figure = |value, at_most| Figure {
            name: String::new(),
            value,
            unit: "",
            target: Some(5.0),
            at_most,
            floor: None,
        };
        assert_eq!(figure(4.0, true).is_met(), Some(true));
        assert_eq!(figure(4.0, false).is_met(), Some(false));
    }
}
