//! The tables of docs/protocol.md, by their headings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One row, as the texts of its cells.
pub(crate) type Row = Vec<String>;

/// The tables of the page.
pub(crate) struct Page {
    /// The rows below each heading, without the head of the table.
    tables: BTreeMap<String, Vec<Row>>,
    headings: BTreeSet<String>,
}

impl Page {
    /// Reads the page of this checkout.
    pub(crate) fn read() -> Self {
        Self::parse(&text())
    }

    fn parse(text: &str) -> Self {
        let mut tables: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        let mut headings = BTreeSet::new();
        let mut heading = String::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if line.starts_with('#') {
                line.trim_start_matches('#').trim().clone_into(&mut heading);
                headings.insert(heading.clone());
            }
            let is_head = lines.peek().is_some_and(|next| next.starts_with("|---"));
            if !line.starts_with('|') || line.starts_with("|---") || is_head {
                continue;
            }
            let cells = line.trim_matches('|').split('|');
            let row = cells.map(|cell| cell.trim().to_owned()).collect();
            tables.entry(heading.clone()).or_default().push(row);
        }
        Self { tables, headings }
    }

    /// Returns all headings.
    pub(crate) fn headings(&self) -> &BTreeSet<String> {
        &self.headings
    }

    /// Returns the rows of the table below this heading.
    pub(crate) fn rows(&self, heading: &str) -> &[Row] {
        let rows = self.tables.get(heading);
        rows.unwrap_or_else(|| panic!("the page has no table below {heading:?}"))
    }

    /// Returns the names in the first `COUNT` columns of each row.
    pub(crate) fn names<const COUNT: usize>(&self, heading: &str) -> BTreeSet<[String; COUNT]> {
        let rows = self.rows(heading).iter();
        let mut names = BTreeSet::new();
        for row in rows {
            let columns = std::array::from_fn(|column| name(&row[column]));
            let is_new = names.insert(columns);
            assert!(is_new, "{heading}: the row {row:?} appears twice");
        }
        names
    }

    /// Returns the names in the first column.
    pub(crate) fn first(&self, heading: &str) -> BTreeSet<String> {
        let names = self.names::<1>(heading);
        names.into_iter().map(|[name]| name).collect()
    }
}

/// Returns the whole text of the page of this checkout.
pub(crate) fn text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the text of a cell without its backticks.
pub(crate) fn name(cell: &str) -> String {
    let inner = cell.strip_prefix('`').and_then(|c| c.strip_suffix('`'));
    inner.unwrap_or(cell).to_owned()
}

#[test]
fn rows_are_found_by_their_heading_and_heads_are_left_out() {
    let text = "# A\n| n | m |\n|---|---|\n| `x` | 1 |\n\n## B\ntext\n| n |\n|---|\n| `y` |\n";
    let page = Page::parse(text);
    assert_eq!(page.rows("A"), [["`x`", "1"]]);
    assert_eq!(page.first("B"), BTreeSet::from(["y".to_owned()]));
}
