//! Recognises a `python3 -c` command and plain Python code in a prompt.

/// Code longer than this goes through a here-document: one argument may have 128 KiB.
const ARGUMENT_BYTES: usize = 64 * 1024;

/// The words that open a Python statement. As the first word of a line they rarely open English
/// prose if the line also ends or continues as in Python.
const BLOCKS: [&str; 7] = ["for ", "while ", "if ", "def ", "class ", "with ", "try"];

/// Returns the shell command of a prompt that is a `python3 -c` command or plain Python code.
#[must_use]
pub fn command(prompt: &str) -> Option<String> {
    let text = prompt.trim();
    if is_command(text) {
        return Some(text.to_owned());
    }
    let code = unfenced(text);
    is_code(code).then(|| run(code))
}

fn is_command(text: &str) -> bool {
    ["python3 -c ", "python -c ", "python3 -c\"", "python3 -c'"]
        .iter()
        .any(|head| text.starts_with(head))
}

/// Returns the code in a Markdown fence, if the fence is the whole prompt.
fn unfenced(text: &str) -> &str {
    text.strip_prefix("```")
        .and_then(|rest| rest.strip_suffix("```"))
        .and_then(|rest| rest.split_once('\n'))
        .filter(|(language, _)| matches!(language.trim(), "" | "python" | "python3" | "py"))
        .map_or(text, |(_, code)| code)
}

/// Returns whether text is Python code. The first line decides, because code cannot begin with
/// prose. The code must also print something, which becomes the answer.
fn is_code(text: &str) -> bool {
    let mut lines = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let Some(first) = lines.next() else {
        return false;
    };
    is_statement(first) && (text.contains("print(") || text.contains(".write("))
}

fn is_statement(line: &str) -> bool {
    if line.starts_with("import ") || (line.starts_with("from ") && line.contains(" import ")) {
        return true;
    }
    if BLOCKS.iter().any(|word| line.starts_with(word)) {
        return line.contains(':');
    }
    let name: &str = &line[..line
        .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.')))
        .unwrap_or(line.len())];
    let rest = &line[name.len()..];
    let called = rest.starts_with('(');
    let spaced = rest.trim_start();
    let assigned = (spaced.starts_with('=') || spaced.starts_with(", ")) && rest.contains('=');
    !name.is_empty() && (called || assigned)
}

fn run(code: &str) -> String {
    if code.len() <= ARGUMENT_BYTES {
        return format!("python3 -c '{}'", code.replace('\'', r"'\''"));
    }
    let mut mark = String::from("CODE");
    while code.contains(&mark) {
        mark.push('_');
    }
    format!("python3 - <<'{mark}'\n{code}\n{mark}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_stays_as_it_is() {
        let prompt = r#"python3 -c "print('RESULT:::' + str(24 * 7))""#;
        assert_eq!(command(prompt).as_deref(), Some(prompt));
        let lines = "python3 -c \"\nimport sys\nprint(1)\n\"";
        assert_eq!(command(lines).as_deref(), Some(lines));
    }

    #[test]
    fn code_becomes_a_command() {
        assert_eq!(
            command("print(42*17)").as_deref(),
            Some("python3 -c 'print(42*17)'")
        );
        assert_eq!(
            command("a = 'x'\nfor i in range(3):\n    print(a, i)\n").as_deref(),
            Some("python3 -c 'a = '\\''x'\\''\nfor i in range(3):\n    print(a, i)'")
        );
        assert!(command("import time\nfor i in range(3): print(i, flush=True)").is_some());
        assert!(command("x, y = 1, 2\nprint(x + y)").is_some());
        assert!(command("# count\nprint(1)").is_some());
        assert_eq!(
            command("```python\nprint(1)\n```").as_deref(),
            Some("python3 -c 'print(1)\n'")
        );
        assert!(command("sys.stdout.write('x')").is_some());
    }

    #[test]
    fn long_code_goes_through_a_here_document() {
        let code = format!("x = '{}'\nprint(len(x))", "CODE".repeat(20_000));
        let command = command(&code).expect("is code");
        assert!(
            command.starts_with("python3 - <<'CODE_'\n"),
            "{}",
            &command[..40]
        );
        assert!(command.ends_with("\nCODE_"));
    }

    #[test]
    fn prose_is_no_code() {
        for prose in [
            "hello",
            "What does print(1) do?",
            "for me this is strange",
            "if you can, call print(1)",
            "import this module and tell me about print(",
            "Please run python3 -c 'print(1)'",
            "--help",
            "/cost",
            "@/etc/passwd",
            "with love",
        ] {
            let expected = prose.starts_with("import ");
            assert_eq!(command(prose).is_some(), expected, "{prose}");
        }
    }
}
