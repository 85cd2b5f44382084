//! Another machine that uses a project through its TLS proxy.

use std::process::Stdio;

use tokio::process::Command;

use super::{
    Operator, Project,
    browser::Browser,
    docker::{self, Ran, docker},
};

fn label(project: &str) -> String {
    format!("com.docker.compose.project={project}")
}

/// Another machine, played by containers. Their network has nothing else but the TLS proxy of the
/// project. Their folder `/m` has the files of a client ([`Operator::client_folder`]).
#[derive(Debug)]
pub struct Machine<'a> {
    operator: &'a Operator,
    /// The name of the project, which removes the containers and the network.
    project: String,
    network: String,
}

impl<'a> Machine<'a> {
    /// Adds the machine, which reaches the TLS proxy by these names. The project removes its
    /// network.
    ///
    /// # Panics
    /// If the network cannot be made.
    pub async fn join(project: &Project, operator: &'a Operator, names: &[&str]) -> Self {
        let network = format!("{}_lan", project.name());
        let label = label(project.name());
        docker(&["network", "create", "--label", &label, &network])
            .await
            .unwrap_or_else(|error| panic!("{error:#}"));
        let machine = Self {
            operator,
            project: project.name().to_owned(),
            network,
        };
        machine.connect(project, names).await;
        machine
    }

    /// Connects the TLS proxy with the machine again, after Compose has made another container.
    ///
    /// # Panics
    /// If it is connected already.
    pub async fn connect(&self, project: &Project, names: &[&str]) {
        project.network("connect", "lan", "tls-proxy", names).await;
    }

    /// Returns the command of a program in an image of this project.
    fn command(&self, image: &str, program: &str, arguments: &[&str]) -> Command {
        let or = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.into());
        let (images, tag) = (or("CCB_IMAGES", "cc-bridge"), or("CCB_TAG", "local"));
        let (uid, gid) = self.operator.ids();
        let folder = self.operator.client_folder();
        let mut command = docker::command(["run", "--rm", "--interactive", "--init"]);
        command
            .args([
                "--log-driver=none",
                "--cap-drop=ALL",
                "--network",
                &self.network,
            ])
            .args(["--label", &label(&self.project)])
            .args([
                "--user",
                &format!("{uid}:{gid}"),
                "--tmpfs",
                "/tmp:mode=1777,exec",
            ])
            .args([
                "--env",
                "HOME=/tmp",
                "--volume",
                &format!("{}:/m:ro", folder.display()),
            ])
            .args(["--entrypoint", program, &format!("{images}/{image}:{tag}")])
            .args(arguments);
        command
    }

    /// Runs a program of an image with this standard input to its end.
    ///
    /// # Panics
    /// If it cannot be started, or does not end in time.
    pub async fn run(&self, image: &str, program: &str, arguments: &[&str], stdin: &str) -> Ran {
        let command = self.command(image, program, arguments);
        let ran = docker::ran(command, stdin.as_bytes()).await;
        ran.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Runs ccb.
    pub async fn ccb(&self, arguments: &[&str]) -> Ran {
        self.run("bridge", "ccb", arguments, "").await
    }

    /// Runs curl, which prints the body and then the status.
    pub async fn curl(&self, arguments: &[&str]) -> Ran {
        let usual = ["--silent", "--show-error", "--max-time", "30"];
        let arguments = [&usual[..], &["--write-out", "\n%{http_code}"], arguments].concat();
        self.run("claude-api", "curl", &arguments, "").await
    }

    /// Runs a program in Python.
    pub async fn python(&self, program: &str, arguments: &[&str]) -> Ran {
        let arguments = [&["-"], arguments].concat();
        self.run("claude-api", "python3", &arguments, program).await
    }

    /// Starts a browser, which trusts the CA of the certificate if `with_ca`.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn browser(&self, with_ca: bool) -> Browser {
        let trust = if with_ca {
            "certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n ca -i /m/ca.pem"
        } else {
            "true"
        };
        // The browser speaks its debugging protocol on the descriptors 3 and 4.
        let script = format!(
            "mkdir -p $HOME/.pki/nssdb && certutil -d sql:$HOME/.pki/nssdb -N --empty-password && \
             {trust} && exec chromium-headless-shell --no-sandbox --disable-dev-shm-usage \
             --disable-gpu --remote-debugging-pipe --user-data-dir=/tmp/profile about:blank \
             3<&0 4>&1 >/dev/null 2>&1 </dev/null"
        );
        let mut command = self.command("browser", "sh", &["-c", &script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Browser::start(command).await
    }
}
