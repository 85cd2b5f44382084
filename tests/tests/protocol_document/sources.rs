//! Items of the code, found in the text of its sources: names of constants, and arguments of calls.
//! A search of the text is enough, and it includes macros such as `select!`.

use std::path::{Path, PathBuf};

/// A source file without comments and tests.
pub(crate) struct Source {
    pub(crate) text: String,
}

impl Source {
    /// Reads a file below `services`.
    pub(crate) fn read(path: &str) -> Self {
        Self::load(&services().join(path))
    }

    fn load(path: &Path) -> Self {
        let text = std::fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let code = text.split("#[cfg(test)]\nmod tests").next();
        let lines = code.unwrap_or_default().lines();
        let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
        let text = lines.map(|line| format!("{line}\n")).collect();
        Self { text }
    }

    /// Reads all files below a folder of `services`, except those of tests.
    pub(crate) fn folder(path: &str) -> Vec<Self> {
        let mut paths = Vec::new();
        find(&services().join(path), &mut paths);
        assert!(!paths.is_empty(), "{path} has no sources");
        paths.iter().map(|path| Self::load(path)).collect()
    }

    /// Returns the text after `start`, up to the next `end`.
    pub(crate) fn between(&self, start: &str, end: &str) -> &str {
        let from = self.text.split_once(start);
        let (_, from) = from.unwrap_or_else(|| panic!("the source has no {start:?}"));
        from.split(end).next().unwrap_or_default()
    }

    /// Returns the names and values of the public constants of a module of this file, or of the
    /// whole file.
    pub(crate) fn constants(&self, module: Option<&str>) -> Vec<(String, String)> {
        let text = match module {
            Some(module) => self.between(&format!("pub mod {module} {{"), "\n}"),
            None => &self.text,
        };
        let constant = |line: &str| {
            let (name, rest) = line.trim().strip_prefix("pub const ")?.split_once(':')?;
            let value = rest.split_once('=')?.1.trim().trim_end_matches(';');
            Some((name.to_owned(), value.trim_matches('"').to_owned()))
        };
        text.lines().filter_map(constant).collect()
    }

    /// Returns the arguments of each call of `name`, which may be a path.
    pub(crate) fn calls(&self, name: &str) -> Vec<Vec<String>> {
        let pattern = format!("{name}(");
        let matches = self.text.match_indices(&pattern);
        let is_whole = |at: usize| {
            let before = &self.text[..at];
            name.starts_with('.')
                || !(before.ends_with("fn ")
                    || before.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        };
        let whole = matches.filter(|(at, _)| is_whole(*at));
        whole
            .map(|(at, _)| arguments(&self.text[at + pattern.len()..]))
            .collect()
    }

    /// Returns an argument. If it begins with a variable of this file, the value of the variable is
    /// added.
    pub(crate) fn with_value(&self, argument: &str) -> String {
        let end = argument.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        let variable = &argument[..end.unwrap_or(argument.len())];
        let value = self.text.split_once(&format!("let {variable} = "));
        let value = value.and_then(|(_, rest)| rest.split(';').next());
        format!("{argument} {}", value.unwrap_or_default())
    }

    /// Returns the string that an argument is: a literal, or a constant of this file.
    pub(crate) fn string(&self, argument: &str) -> Option<String> {
        let literal = |text: &str| Some(text.strip_prefix('"')?.strip_suffix('"')?.to_owned());
        literal(argument).or_else(|| {
            let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
            if argument.is_empty() || !argument.chars().all(is_name) {
                return None;
            }
            let (_, value) = self
                .text
                .split_once(&format!("const {argument}: &str = "))?;
            literal(value.split(';').next()?)
        })
    }
}

fn services() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../services")
}

fn find(folder: &Path, paths: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder can be read").path();
        let stem = path.file_stem().unwrap_or_default();
        if ["tests", "testing"].iter().any(|name| stem == *name) {
            continue;
        }
        if path.is_dir() {
            find(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Returns the arguments in a text that begins after the opening parenthesis of a call.
pub(crate) fn arguments(text: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for c in text.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else {
            match c {
                '"' => in_string = true,
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' if depth == 0 => break,
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => {
                    arguments.push(String::new());
                    continue;
                }
                _ => {}
            }
        }
        arguments.last_mut().expect("at least one").push(c);
    }
    let arguments = arguments.iter().map(|text| text.trim().to_owned());
    arguments.filter(|text| !text.is_empty()).collect()
}

#[test]
fn arguments_end_at_their_parenthesis_and_strings_are_whole() {
    let seen = arguments("code::X, \"a, (b\\\" \", f(1, 2), [3]) .with(4)");
    assert_eq!(seen, ["code::X", "\"a, (b\\\" \"", "f(1, 2)", "[3]"]);
}

#[test]
fn calls_are_whole_names_outside_of_comments_and_tests() {
    let source = Source::parse(
        "const NAME: &str = \"c\";\n// full(\"x\")\nfn full(a: u8) {}\nis_full(1);\nfull(NAME);\n\
         x.warn(at, \"w\");\n#[cfg(test)]\nmod tests {\nfull(2);\n",
    );
    assert_eq!(source.calls("full"), [["NAME"]]);
    assert_eq!(source.string("NAME").as_deref(), Some("c"));
    assert_eq!(source.calls(".warn"), [["at", "\"w\""]]);
    assert_eq!(source.string("at"), None);
}

#[test]
fn a_variable_is_followed_by_its_value() {
    let source = Source::parse("let page = get(a).post(b);\nroute(page.layer(c));\n");
    let seen = source.with_value("page.layer(c)");
    assert_eq!(seen, "page.layer(c) get(a).post(b)");
    assert_eq!(source.with_value("get(x)"), "get(x) ");
}
