//! The files of an operator who opens a stack to other machines: tokens, and a certificate for TLS.

use std::{
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use protocol::access::{Role, Token};
use tempfile::TempDir;

use super::{Plan, project::root};

/// The name by which other machines reach the services.
pub const PUBLIC_NAME: &str = "agents.example.test";
/// The ids of the services when root runs the tests: the services never run as root.
const IDS: (u32, u32) = (12_345, 12_346);

/// A token for each role, and a certificate for [`PUBLIC_NAME`], in folders that the services' user
/// may read. Dropping it removes them.
#[derive(Debug)]
pub struct Operator {
    folder: TempDir,
    ids: (u32, u32),
    tls_port: u16,
    tokens: Vec<(Role, String)>,
}

impl Operator {
    /// Makes the tokens and the certificate, as `ccb token new` and `scripts/up --self-signed` do.
    ///
    /// # Panics
    /// If a file cannot be written, or openssl fails.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let owner = std::fs::metadata(folder.path()).expect("a folder");
        let ids = match owner.uid() {
            0 => IDS,
            uid => (uid, owner.gid()),
        };
        let listener = TcpListener::bind("0.0.0.0:0").expect("a free port");
        let tls_port = listener.local_addr().expect("bound").port();
        let mut operator = Self {
            folder,
            ids,
            tls_port,
            tokens: Vec::new(),
        };
        for name in ["access", "tls", "client"] {
            let path = operator.folder.path().join(name);
            std::fs::create_dir(&path).expect("a folder");
            operator.hand_over(&path, 0o700);
        }
        operator.make_tokens();
        operator.make_certificate();
        operator
    }

    /// Gives a file or folder to the services' user.
    fn hand_over(&self, path: &Path, mode: u32) {
        let (uid, gid) = self.ids;
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
        chown(path, Some(uid), Some(gid)).expect("the tests run as root or as this user");
    }

    fn make_tokens(&mut self) {
        let mut file = String::new();
        for role in Role::ALL {
            let token = Token::generate().expect("random numbers");
            let (secret, name) = (token.secret(), role.as_str());
            file += &format!(
                "[[token]]\nname = \"{name}\"\nsha256 = \"{}\"\nrole = \"{name}\"\n\n",
                secret.hash()
            );
            let path = self.token_file(role);
            std::fs::write(&path, format!("{}\n", secret.expose())).expect("a token");
            self.hand_over(&path, 0o600);
            self.tokens.push((role, secret.expose().to_owned()));
        }
        let path = self.folder.path().join("access/tokens.toml");
        std::fs::write(&path, file).expect("a token file");
        self.hand_over(&path, 0o600);
    }

    fn make_certificate(&self) {
        let (uid, gid) = self.ids;
        let tls = self.folder.path().join("tls");
        let script = ". scripts/lib/common.sh; . scripts/lib/access.sh; self_signed";
        let output = Command::new("bash")
            .args(["-c", script])
            .current_dir(root())
            .env("CCB_ENV_FILE", "none")
            .env("CCB_TLS_DIR", &tls)
            .env("CCB_PUBLIC_NAME", PUBLIC_NAME)
            .env("CCB_UID", uid.to_string())
            .env("CCB_GID", gid.to_string())
            .output()
            .expect("bash runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "no certificate: {said}");
        let ca = self.client_folder().join("ca.pem");
        std::fs::copy(tls.join("ca.pem"), &ca).expect("a CA");
        self.hand_over(&ca, 0o644);
    }

    /// Returns the text of the token with this role.
    ///
    /// # Panics
    /// Never: there is a token for each role.
    #[must_use]
    pub fn token(&self, role: Role) -> &str {
        let found = self.tokens.iter().find(|(of, _)| *of == role);
        &found.expect("a token for each role").1
    }

    /// Returns the folder with the files of a client: `ca.pem`, and `ROLE.token` for each role.
    #[must_use]
    pub fn client_folder(&self) -> PathBuf {
        self.folder.path().join("client")
    }

    fn token_file(&self, role: Role) -> PathBuf {
        self.client_folder()
            .join(format!("{}.token", role.as_str()))
    }

    /// Returns the user and the group of the services, who may read all files.
    #[must_use]
    pub fn ids(&self) -> (u32, u32) {
        self.ids
    }

    /// Returns the port of this machine on which TLS is published, at every address.
    #[must_use]
    pub fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// Returns the plan of a stack with these tokens and with TLS.
    ///
    /// # Panics
    /// If compose.tls.yaml cannot be read.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let overlay = std::fs::read_to_string(root().join("compose.tls.yaml"));
        let (uid, gid) = self.ids;
        Plan::default()
            .overlay(overlay.expect("compose.tls.yaml"))
            .env(
                "CCB_ACCESS_DIR",
                self.folder.path().join("access").display(),
            )
            .env("CCB_TLS_DIR", self.folder.path().join("tls").display())
            .env("CCB_PUBLIC_NAME", PUBLIC_NAME)
            .env("CCB_TLS_PORT", self.tls_port)
            .env("CCB_UID", uid)
            .env("CCB_GID", gid)
    }
}

impl Default for Operator {
    fn default() -> Self {
        Self::new()
    }
}
