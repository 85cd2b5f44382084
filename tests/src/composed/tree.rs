//! The process tree for tests of pause and cancel: the real CLI, its Bash tool, and a grandchild of
//! that tool in its own session, forked twice, with a cleared environment. Tool and grandchild each
//! count in a file. The grandchild is a child of the runner, the tool is deep below the CLI: a
//! pause or cancel may miss only one of them.

use std::time::Duration;

use super::{Project, until};

/// The program that the tool starts; its count shows whether it runs.
const PROGRAM: &str = r#"import os,sys,time
path,mark=sys.argv[1],sys.argv[2]
if os.fork()==0:
    os.setsid()
    if os.fork():
        os._exit(0)
    null=os.open("/dev/null",os.O_RDWR)
    for fd in (0,1,2):
        os.dup2(null,fd)
    count="n=0; while :; do n=$((n+1)); echo $n >$0; sleep 0.05; done"
    os.execve("/bin/sh",["sh","-c",count,path,mark],{"PATH":"/usr/bin:/bin"})
print("started",flush=True)
for n in range(6000):
    with open(path+".tool","w") as file:
        file.write(str(n))
    time.sleep(0.05)
"#;
/// The time in which a running process counts several times.
const LOOK: Duration = Duration::from_millis(600);
const PATIENCE: Duration = Duration::from_secs(60);
/// The time in which the processes of an execution end after a cancel (docs/protocol.md,
/// "Controls").
const GONE: Duration = Duration::from_secs(5);

/// The workspace of the tool.
const FOLDER: &str = "/workspace/default";

/// One such tree, by its own mark.
#[derive(Debug, Clone)]
pub struct Tree {
    mark: String,
}

impl Tree {
    /// Puts its program into the container.
    pub async fn prepare(project: &Project) -> Self {
        let mark = format!("tree-{}", uuid::Uuid::new_v4().simple());
        project
            .write("claude-api", &format!("{FOLDER}/{mark}.py"), PROGRAM)
            .await;
        Self { mark }
    }

    /// The prompt that starts it.
    #[must_use]
    pub fn prompt(&self) -> String {
        let mark = &self.mark;
        format!("@say begun\n@bash python3 {FOLDER}/{mark}.py {FOLDER}/{mark}.count {mark}")
    }

    /// Returns the counts of the grandchild and of the tool; a file that is being written has none.
    async fn counts(&self, project: &Project) -> [Option<u64>; 2] {
        let script = format!(
            "cd {FOLDER}; for f in {0}.count {0}.count.tool; do echo \"$(cat $f)\"; done",
            self.mark
        );
        let text = project.exec("claude-api", &["sh", "-c", &script]).await;
        let text = text.expect("the container answers");
        let mut lines = text.lines().map(|line| line.trim().parse().ok());
        [lines.next().flatten(), lines.next().flatten()]
    }

    /// Waits until both counts increase.
    ///
    /// # Panics
    /// If a count does not increase.
    pub async fn wait_counting(&self, project: &Project) {
        let mut before = [None; 2];
        until(
            "the tool and its grandchild to count",
            PATIENCE,
            async || {
                let now = self.counts(project).await;
                for (before, now) in before.iter_mut().zip(now) {
                    *before = before.or(now);
                }
                (now[0] > before[0] && now[1] > before[1]).then_some(())
            },
        )
        .await;
    }

    /// Asserts that both counts stay unchanged for a while.
    ///
    /// # Panics
    /// If a count changes.
    pub async fn assert_still(&self, project: &Project) {
        let before = self.counts(project).await;
        tokio::time::sleep(LOOK).await;
        assert_eq!(
            self.counts(project).await,
            before,
            "the grandchild or the tool still counts"
        );
    }

    /// Returns the processes of the tree, found by its mark.
    ///
    /// # Panics
    /// If the container does not answer, which would look like no process.
    pub async fn processes(&self, project: &Project) -> Vec<String> {
        let all = project
            .exec("claude-api", &["ps", "-eo", "pid,ppid,stat,args"])
            .await
            .expect("the container answers");
        all.lines()
            .filter(|line| line.contains(&self.mark))
            .map(str::to_owned)
            .collect()
    }

    /// Waits until no process of the tree is left.
    ///
    /// # Panics
    /// If a process is left after 5 s.
    pub async fn assert_gone(&self, project: &Project) {
        until("the tree to be gone", GONE, async || {
            self.processes(project).await.is_empty().then_some(())
        })
        .await;
        self.assert_still(project).await;
    }
}
