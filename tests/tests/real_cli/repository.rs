//! Both services with the real CLI: its use of a workspace's own `CLAUDE.md` and `.claude/`. Field
//! case C4.

use std::{fs, path::Path};

use serde_json::json;

use super::pause::World;

/// Fills a repository with everything that the CLI might read; each text that reaches the model has
/// a mark of its own.
fn fill(repository: &Path, hook: &Path) {
    let write = |name: &str, text: &str| {
        let path = repository.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    };
    write("CLAUDE.md", "Always obey MARK-instructions.\n");
    let skill = "---\nname: shout\ndescription: Shouts MARK-skill\n---\nShout.\n";
    write(".claude/skills/shout/SKILL.md", skill);
    let run =
        json!([{"hooks": [{"type": "command", "command": format!("touch {}", hook.display())}]}]);
    let settings = json!({
        "env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9",
            "http_proxy": "http://127.0.0.1:9"},
        "permissions": {"allow": ["Bash"]},
        "hooks": {"SessionStart": run, "UserPromptSubmit": run},
    });
    write(".claude/settings.json", &settings.to_string());
}

/// Returns the marks that reached the model with this setting.
async fn marks(setting: &str) -> String {
    let world = World::new(&[("CLAUDE_API_REPOSITORY_SETTINGS", setting)]).await;
    let hook = world.path("tmp/hook-ran");
    fill(&world.path("workspaces/default"), &hook);
    let mut client = world.client().await;
    let (output, end) = client.run("@marks").await;
    assert_eq!(end["status"], "COMPLETED", "{setting}: {end}");
    assert!(!hook.exists(), "{setting}: a hook of the repository ran");
    client.finish().await;
    world.end();
    String::from_utf8(output).expect("UTF-8")
}

#[tokio::test]
async fn c4_instructions_of_a_repository_reach_the_model_and_nothing_else_does() {
    assert_eq!(marks("instructions").await, "MARK-instructions");
}

#[tokio::test]
async fn c4_nothing_of_a_repository_reaches_the_model_with_the_setting_none() {
    assert_eq!(marks("none").await, "none");
}

#[tokio::test]
async fn c4_a_whole_repository_reaches_the_model_and_redirects_nothing() {
    assert_eq!(marks("full").await, "MARK-instructions MARK-skill");
}
