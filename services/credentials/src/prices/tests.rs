use crate::usage::facts::Counts;

use super::*;

/// Returns the cost of a million tokens of each kind, rounded to cents.
fn cents(prices: &Prices, model: &str) -> [i64; 5] {
    let million = 1_000_000;
    let kinds = [
        Counts {
            input: million,
            ..Counts::default()
        },
        Counts {
            output: million,
            ..Counts::default()
        },
        Counts {
            cache_read: million,
            ..Counts::default()
        },
        Counts {
            cache_write: million,
            ..Counts::default()
        },
        Counts {
            cache_write: million,
            cache_write_1h: million,
            ..Counts::default()
        },
    ];
    kinds.map(|counts| {
        let model = Some(model.to_owned());
        let facts = Facts {
            model,
            counts,
            ..Facts::default()
        };
        #[allow(clippy::cast_possible_truncation, reason = "a few thousand cents")]
        let cents = (prices.cost_usd(&facts) * 100.0).round() as i64;
        cents
    })
}

#[test]
fn a_model_has_the_price_of_its_own_name() {
    let prices = Prices::default();
    for (model, expected) in [
        ("claude-opus-4-1-20250805", [1500, 7500, 150, 1875, 3000]),
        ("claude-opus-4-20250514", [1500, 7500, 150, 1875, 3000]),
        ("claude-opus-4-5-20251101", [500, 2500, 50, 625, 1000]),
        ("claude-opus-5", [500, 2500, 50, 625, 1000]),
        ("claude-opus-5-5", [400, 2000, 20, 500, 800]),
        ("claude-sonnet-4-6", [300, 1500, 30, 375, 600]),
        ("claude-sonnet-5-5", [200, 1000, 20, 250, 400]),
        ("claude-haiku-4-5-20251001", [100, 500, 10, 125, 200]),
        ("claude-fable-5-1", [1000, 5000, 25, 1250, 2000]),
        ("claude-fable-5", [1000, 5000, 100, 1250, 2000]),
    ] {
        assert_eq!(cents(&prices, model), expected, "{model}");
    }
}

#[test]
fn an_unknown_model_has_the_highest_price_of_each_kind() {
    let prices = Prices::default();
    for model in ["", "scripted", "claude-opus-9", "Claude-haiku-4-5"] {
        assert_eq!(
            cents(&prices, model),
            [1500, 7500, 150, 1875, 3000],
            "{model}"
        );
    }
}

#[test]
fn a_longer_name_precedes_its_beginning() {
    for (at, (name, ..)) in LIST.iter().enumerate() {
        let hidden = LIST[..at]
            .iter()
            .find(|(earlier, ..)| name.starts_with(earlier));
        assert_eq!(hidden, None, "{name} is never found");
    }
}

#[test]
fn fast_mode_costs_twice_as_much() {
    let facts = Facts {
        model: Some("claude-opus-5".to_owned()),
        counts: Counts {
            output: 1_000_000,
            ..Counts::default()
        },
        ..Facts::default()
    };
    assert!((Prices::default().cost_usd(&facts) - 25.0).abs() < 1e-9);
    let fast = Facts {
        is_fast: true,
        ..facts
    };
    assert!((Prices::default().cost_usd(&fast) - 50.0).abs() < 1e-9);
}

#[test]
fn searches_have_a_price_of_their_own() {
    let counts = Counts {
        web_searches: 3,
        ..Counts::default()
    };
    let facts = Facts {
        counts,
        ..Facts::default()
    };
    assert!((Prices::default().cost_usd(&facts) - 0.03).abs() < 1e-9);
}

#[test]
fn a_file_replaces_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prices.toml");
    let price = "[[price]]\nmodel = \"own\"\ninput = 1\noutput = 2.5\ncache_read = 0\n\
                 cache_write_5m = 3\ncache_write_1h = 4\n";
    std::fs::write(&path, price).unwrap();
    let prices = Prices::read(&path).unwrap();
    assert_eq!(cents(&prices, "own-model"), [100, 250, 0, 300, 400]);
    for bad in [
        String::new(),
        price.replace("input", "inputs"),
        price.replace("2.5", "-1"),
        price.replace("2.5", "nan"),
        format!("{price}x = 1\n"),
        "price = []\n".to_owned(),
    ] {
        std::fs::write(&path, &bad).unwrap();
        assert!(Prices::read(&path).is_err(), "{bad}");
    }
}
