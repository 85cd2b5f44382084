//! The parts of a Markdown document that the checks need: headings, links, code spans and code
//! blocks. The parser knows the Markdown that the documents use, not all of CommonMark.

/// A part of a document, with the number of its first line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) line: usize,
    pub(crate) value: T,
}

/// A code block, fenced or indented.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The first word behind the fence, in lower case. Empty for an indented block.
    pub(crate) language: String,
    pub(crate) text: String,
    /// Whether the closing fence was found.
    pub(crate) is_closed: bool,
}

/// One document.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// The path from the root of the repository.
    pub(crate) path: String,
    /// The anchors of the headings, as GitHub makes them.
    pub(crate) anchors: Vec<String>,
    /// The targets of links.
    pub(crate) links: Vec<At<String>>,
    /// The texts in backticks.
    pub(crate) spans: Vec<At<String>>,
    pub(crate) blocks: Vec<At<Block>>,
    /// The whole text.
    pub(crate) text: String,
}

impl Document {
    /// Parses the text of a document.
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let mut document = Self {
            path: path.to_owned(),
            text: text.to_owned(),
            ..Self::default()
        };
        let lines: Vec<&str> = text.lines().collect();
        let mut paragraph: Vec<&str> = Vec::new();
        let mut is_list = false;
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at];
            let trimmed = line.trim_start();
            let is_blank = trimmed.is_empty();
            let is_item = is_list_item(trimmed);
            let is_indented = line.starts_with("    ");
            let ends_paragraph = is_blank
                || is_item
                || trimmed.starts_with('#')
                || trimmed.starts_with('|')
                || fence(trimmed).is_some();
            if ends_paragraph {
                document.paragraph(at + 1 - paragraph.len(), &paragraph);
                paragraph.clear();
            }
            if let Some(fence) = fence(trimmed) {
                at = document.fenced(&lines, at, fence);
                continue;
            }
            if is_indented && paragraph.is_empty() && !is_blank && !is_list {
                at = document.indented(&lines, at);
                continue;
            }
            if trimmed.starts_with('#') && !is_indented {
                document.heading(trimmed);
            }
            if !is_blank {
                is_list = is_item || (is_list && (line.starts_with(' ') || !paragraph.is_empty()));
                paragraph.push(line);
            }
            at += 1;
        }
        document.paragraph(lines.len() + 1 - paragraph.len(), &paragraph);
        document
    }

    /// The place of a part, for a report.
    pub(crate) fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }

    /// Adds the anchor of a heading. A heading that stands twice gets a number.
    fn heading(&mut self, line: &str) {
        let slug = slug(line.trim_matches('#').trim());
        let numbered = (0..).map(|number| match number {
            0 => slug.clone(),
            number => format!("{slug}-{number}"),
        });
        let mut free = numbered.filter(|anchor| !self.anchors.contains(anchor));
        let anchor = free.next().expect("some number is free");
        self.anchors.push(anchor);
    }

    /// Adds a fenced block; returns the index of the line after it.
    fn fenced(&mut self, lines: &[&str], start: usize, fence: &str) -> usize {
        let info = lines[start].trim_start().trim_start_matches(['`', '~']);
        let language = info.split_whitespace().next().unwrap_or_default();
        let body = &lines[start + 1..];
        let is_end = |line: &&str| {
            let line = line.trim();
            line.starts_with(fence) && line.trim_matches(['`', '~']).is_empty()
        };
        let length = body.iter().position(is_end);
        let text = &body[..length.unwrap_or(body.len())];
        self.blocks.push(At {
            line: start + 1,
            value: Block {
                language: language.to_lowercase(),
                text: text.join("\n"),
                is_closed: length.is_some(),
            },
        });
        start + 1 + text.len() + usize::from(length.is_some())
    }

    /// Adds an indented block; returns the index of the line after it.
    fn indented(&mut self, lines: &[&str], start: usize) -> usize {
        let is_inside = |line: &&&str| line.starts_with("    ") || line.trim().is_empty();
        let length = lines[start..].iter().take_while(is_inside).count();
        let text = lines[start..start + length].iter();
        let text: Vec<&str> = text
            .map(|line| line.strip_prefix("    ").unwrap_or_default())
            .collect();
        self.blocks.push(At {
            line: start + 1,
            value: Block {
                language: String::new(),
                text: text.join("\n"),
                is_closed: true,
            },
        });
        start + length
    }

    /// Adds the code spans and links of a paragraph. A span may continue in the next line.
    fn paragraph(&mut self, first_line: usize, lines: &[&str]) {
        let text = lines.join("\n");
        let line_at = |at: usize| first_line + text[..at].matches('\n').count();
        // The text without its spans, of the same length, so that places stay as they are.
        let mut prose = text.clone();
        let mut from = 0;
        while let Some(start) = text[from..].find('`').map(|at| at + from) {
            let ticks = text[start..].chars().take_while(|c| *c == '`').count();
            let inner = start + ticks;
            let fence = "`".repeat(ticks);
            let Some(length) = text[inner..].find(&fence) else {
                break;
            };
            let span = &text[inner..inner + length];
            self.spans.push(At {
                line: line_at(start),
                value: span.trim().replace('\n', " "),
            });
            from = inner + length + ticks;
            prose.replace_range(start..from, &"x".repeat(from - start));
        }
        let inline = prose
            .match_indices("](")
            .map(|(at, found)| at + found.len());
        for at in inline {
            let target = prose[at..].split([')', ' ', '\n']).next();
            self.links.push(At {
                line: line_at(at),
                value: target.unwrap_or_default().to_owned(),
            });
        }
        if let Some(target) = definition(&prose) {
            self.links.push(At {
                line: first_line,
                value: target.to_owned(),
            });
        }
    }
}

/// The target of a link definition such as `[name]: target`.
fn definition(text: &str) -> Option<&str> {
    let (_, target) = text.strip_prefix('[')?.split_once("]: ")?;
    target.split_whitespace().next()
}

/// The opening fence of a code block.
fn fence(line: &str) -> Option<&str> {
    let length = |mark| line.chars().take_while(|c| *c == mark).count();
    let length = length('`').max(length('~'));
    (length >= 3).then(|| &line[..length])
}

fn is_list_item(line: &str) -> bool {
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_numbered = number.len() < line.len() && number.starts_with(". ");
    is_numbered || line.starts_with("- ") || line.starts_with("* ")
}

/// The anchor that GitHub makes of a heading: lower case, without punctuation, a hyphen for each
/// space.
fn slug(heading: &str) -> String {
    // The text of a link, without its target.
    let mut text = String::new();
    let mut rest = heading;
    while let Some((before, after)) = rest.split_once("](") {
        text.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    let lower = text.chars().flat_map(char::to_lowercase);
    let kept = lower.filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn anchors_are_those_of_github() {
    let anchor = |heading| slug(heading);
    assert_eq!(anchor("Health and metrics"), "health-and-metrics");
    assert_eq!(anchor("claude-api: limits"), "claude-api-limits");
    assert_eq!(
        anchor("Under fire (`scripts/soak`)"),
        "under-fire-scriptssoak"
    );
    assert_eq!(anchor("A [link](b.md) in it"), "a-link-in-it");
    let document = Document::parse("a.md", "# A\n## B\n## B\n```\n# no heading\n```\n");
    assert_eq!(document.anchors, ["a", "b", "b-1"]);
}

#[test]
fn links_and_spans_may_wrap_and_code_has_no_links() {
    let text = "One [two\nthree](four.md#five) and `six\nseven` and `[x](y)`.\n\n[e]: eight.md\n";
    let document = Document::parse("a.md", text);
    let links: Vec<_> = document
        .links
        .iter()
        .map(|l| (l.line, l.value.as_str()))
        .collect();
    assert_eq!(links, [(2, "four.md#five"), (5, "eight.md")]);
    let spans: Vec<_> = document
        .spans
        .iter()
        .map(|s| (s.line, s.value.as_str()))
        .collect();
    assert_eq!(spans, [(2, "six seven"), (3, "[x](y)")]);
}

#[test]
fn blocks_are_fenced_or_indented_and_lists_have_none() {
    let text =
        "a\n\n    one\n\n    two\n\n```Rust no_run\nthree\n```\n- b\n\n    c `d`\n\n```\nend";
    let document = Document::parse("a.md", text);
    let blocks = document.blocks.iter();
    let blocks: Vec<_> = blocks
        .map(|b| {
            (
                b.line,
                b.value.language.as_str(),
                b.value.text.trim_end(),
                b.value.is_closed,
            )
        })
        .collect();
    let expected = [
        (3, "", "one\n\ntwo", true),
        (7, "rust", "three", true),
        (14, "", "end", false),
    ];
    assert_eq!(blocks, expected);
    assert_eq!(document.spans.len(), 1);
}
