//! Who we are to a registry: the credentials that `docker login` left in Docker's config.json. Runs on the build
//! machine and on the host; credential helpers are programs, and neither runs any.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Docker's own name of its registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Why the credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// config.json.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not JSON, or not as Docker writes it.
    #[error("{path} is malformed")]
    Json {
        /// config.json.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Not what `docker login` writes.
    #[error(
        "{path} has an entry for {registry} that cannot be read: expected auth to be base64 of USER:PASSWORD"
    )]
    Malformed {
        /// config.json.
        path: PathBuf,
        /// As it was asked for.
        registry: String,
    },
    /// We know passwords alone.
    #[error(
        "{path} has an identity token for {registry}, which is not supported: log in with a name and a password"
    )]
    IdentityToken {
        /// config.json.
        path: PathBuf,
        /// As it was asked for.
        registry: String,
    },
}

/// What to tell a registry.
#[derive(Debug)]
pub struct Credentials {
    /// User and password; nobody without.
    pub login: Option<(String, String)>,
    /// A helper that Docker would ask for this registry.
    pub helper: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigFile {
    #[serde(default)]
    auths: HashMap<String, Entry>,
    #[serde(default)]
    cred_helpers: HashMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl Credentials {
    /// Looks a registry (`host[:port]`) up in `config.json` of a directory. Without one, we are nobody.
    ///
    /// # Errors
    /// When the file is there and cannot be used.
    pub fn find(folder: Option<&Path>, registry: &str) -> Result<Self, CredentialsError> {
        let Some(path) = folder.map(|folder| folder.join("config.json")) else {
            return Ok(Self { login: None, helper: None });
        };
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => "{}".to_owned(),
            text => text.map_err(|source| CredentialsError::Read { path: path.clone(), source })?,
        };
        let config: ConfigFile = serde_json::from_str(&text)
            .map_err(|source| CredentialsError::Json { path: path.clone(), source })?;
        let is_same = |key: &str| host_of(key) == host_of(registry);
        let entry = config.auths.iter().find(|(key, _)| is_same(key)).map(|(_, entry)| entry);
        let login = entry.map(|entry| entry.login(&path, registry)).transpose()?.flatten();
        let own = config.cred_helpers.iter().find(|(key, _)| is_same(key)).map(|(_, helper)| helper.clone());
        let helper = own.or(config.creds_store).filter(|_| login.is_none());
        Ok(Self { login, helper })
    }
}

impl Entry {
    fn login(&self, path: &Path, registry: &str) -> Result<Option<(String, String)>, CredentialsError> {
        let (path, registry) = (path.to_owned(), registry.to_owned());
        if self.identitytoken.as_ref().is_some_and(|token| !token.is_empty()) {
            return Err(CredentialsError::IdentityToken { path, registry });
        }
        let text = match self.auth.as_deref().filter(|auth| !auth.is_empty()) {
            Some(auth) => STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok()),
            // Where a helper keeps the secret, the entry is empty.
            None => match (&self.username, &self.password) {
                (Some(user), Some(password)) => Some(format!("{user}:{password}")),
                _ => return Ok(None),
            },
        };
        let pair = text.as_deref().and_then(|text| text.split_once(':'));
        let (user, password) = pair.ok_or(CredentialsError::Malformed { path, registry })?;
        Ok(Some((user.to_owned(), password.trim_end_matches('\0').to_owned())))
    }
}

/// Keys are hosts, URLs of hosts, or Docker's own name of its registry.
fn host_of(key: &str) -> &str {
    if matches!(key, DOCKER_HUB | "index.docker.io" | "docker.io" | "registry-1.docker.io") {
        return "docker.io";
    }
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(json: &str, registry: &str) -> Result<Credentials, CredentialsError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), json).unwrap();
        Credentials::find(Some(folder.path()), registry)
    }

    fn login(user: &str, password: &str) -> Option<(String, String)> {
        Some((user.to_owned(), password.to_owned()))
    }

    #[test]
    fn finds_what_docker_login_left() {
        let json = r#"{ "auths": { "https://index.docker.io/v1/": { "auth": "aHViOnNlY3JldDp4" },
            "reg.example:5000": { "auth": "dTpw" }, "https://other.example": { "username": "a", "password": "b" } } }"#;
        assert_eq!(find(json, "docker.io").unwrap().login, login("hub", "secret:x"));
        assert_eq!(find(json, "reg.example:5000").unwrap().login, login("u", "p"));
        assert_eq!(find(json, "other.example").unwrap().login, login("a", "b"));
        assert_eq!(find(json, "reg.example").unwrap().login, None);
        assert_eq!(Credentials::find(None, "docker.io").unwrap().login, None);
    }

    #[test]
    fn names_helpers_and_refuses_what_it_cannot_use() {
        let json = r#"{ "auths": { "gcr.io": {} }, "credHelpers": { "gcr.io": "gcloud" }, "credsStore": "desktop" }"#;
        assert_eq!(find(json, "gcr.io").unwrap().helper.as_deref(), Some("gcloud"));
        assert_eq!(find(json, "quay.io").unwrap().helper.as_deref(), Some("desktop"));
        let token = r#"{ "auths": { "a.io": { "auth": "eDp4", "identitytoken": "t" } } }"#;
        assert!(matches!(find(token, "a.io"), Err(CredentialsError::IdentityToken { .. })));
        let odd = r#"{ "auths": { "a.io": { "auth": "!" } } }"#;
        assert!(matches!(find(odd, "a.io"), Err(CredentialsError::Malformed { .. })));
        assert!(matches!(find("{", "a.io"), Err(CredentialsError::Json { .. })));
    }
}
